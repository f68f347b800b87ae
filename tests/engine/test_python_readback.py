"""Results that could be written but not read again are refused where they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from python_children import VERSIONS, Bench, find_python, staged

from jobctl.client.results import UnreadableError, as_json, read_result, result_for_view
from jobctl.model.run import Reason

if TYPE_CHECKING:
    from pathlib import Path

FORMS: list[dict[str, object]] = [
    {},
    {"result": {"compression": "zlib"}},
    {"result": {"format": "msgpack"}},
    {"result": {"format": "pickle"}},
]
JSON, ZLIB, MSGPACK, PICKLE = FORMS
VALUES = r"""
import collections, dataclasses, datetime, enum, sys

@dataclasses.dataclass
class Node:
    next: object = None
@dataclasses.dataclass(frozen=True)
class Point:
    x: int
class Color(enum.Enum):
    RED = "red"
class Ghost(Exception):
    def __init__(self, name, code): super().__init__(name)

def nested(depth, around=lambda inner: [inner]):
    value = None
    for _ in range(depth): value = around(value)
    return value
def deep(depth):
    sys.setrecursionlimit(20_000)
    return nested(depth)
def chain(depth):
    sys.setrecursionlimit(20_000)
    return nested(depth, Node)
def signs(): return [nested(499), "[" * 900, '"]}' * 900, "\\"]
def digits(count):
    if hasattr(sys, "set_int_max_str_digits"): sys.set_int_max_str_digits(0)
    return {"a": [-(10 ** (count - 1))]}
def twins(kind): return [kind([(7, "a"), ("7", "b")])]
def ordered_twins(): return [collections.OrderedDict([(7, "a"), ("7", "b")])]
def counter(): return collections.Counter("aab")
def pair(): return {"a": [{(1, 2): 1}]}
def point(): return {Point(1): 1}
def frozen(): return {frozenset([1]): 1}
def day(): return {datetime.date(2026, 3, 1): 1}
def days(): return {datetime.date(2026, 3, 1): 1, "2026-03-01": 2}
def color(): return {Color.RED: 1, b"red": 2}
def ghost(): return Ghost("a", 7)
def turned(): return {"data": "x", "$jobctl": "json"}
def surrogate(): return ["\ud800"] * 900
def bomb():
    sys.modules["_jobctl_python_forms"].LARGEST = 2 << 20
    return "a" * (2 << 20)
"""


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    version = getattr(request, "param", None)
    interpreter = find_python(version) if version else None
    if version and interpreter is None:
        pytest.skip(f"no Python {version} on PATH or in pyenv")
    bench = Bench(tmp_path, interpreter) if interpreter else Bench(tmp_path)
    bench.write(VALUES)
    return bench


async def refused(bench: Bench, name: str, *args: object, limits: dict[str, object]) -> str:
    reply = await bench.call(name, *args, limits=limits)
    assert (reply.reason, reply.result) == (Reason.RESULT, None)
    assert reply.error in bench.output
    return str(reply.error)


@staged
async def test_key_that_msgpack_gives_back_as_a_list_or_dict_is_refused(bench: Bench) -> None:
    pytest.importorskip("msgpack")
    words = "the result cannot be stored as msgpack: a key of a dict in it would be read as "
    for name, key in (("pair", "[1, 2]"), ("frozen", "[1]"), ("point", "{'x': 1}")):
        error = await refused(bench, name, limits=MSGPACK)
        assert error.startswith(f"{words}{key}, which cannot be one; use a text for it; ")
    reply = await bench.call("day", limits=MSGPACK)
    assert read_result(reply.result) == {"2026-03-01": 1}


@staged
async def test_keys_that_msgpack_makes_one_are_refused(bench: Bench) -> None:
    pytest.importorskip("msgpack")
    error = await refused(bench, "days", limits=MSGPACK)
    assert "two keys of a dict are both '2026-03-01' in it" in error
    reply = await bench.call("color", limits=MSGPACK)
    assert read_result(reply.result) == {"red": 1, b"red": 2}


@pytest.mark.parametrize("bench", VERSIONS, indirect=True)
@staged
async def test_keys_of_any_kind_of_dict_must_stay_different_in_json(bench: Bench) -> None:
    for limits in (JSON, ZLIB):
        assert "are both '7' in it" in await refused(bench, "ordered_twins", limits=limits)
        assert read_result((await bench.call("counter", limits=limits)).result) == {"a": 2, "b": 1}


@pytest.mark.parametrize("bench", VERSIONS, indirect=True)
@staged
async def test_results_nested_deeper_than_any_reader_goes_are_refused(bench: Bench) -> None:
    for limits in (JSON, ZLIB):
        for name in ("deep", "chain"):
            assert (await bench.call(name, 500, limits=limits)).error is None
            for depth in (501, 5000):
                error = await refused(bench, name, depth, limits=limits)
                assert "nested more than 500 levels deep" in error or "recursion" in error


@staged
async def test_depth_is_the_same_for_msgpack(bench: Bench) -> None:
    pytest.importorskip("msgpack")
    assert (await bench.call("deep", 500, limits=MSGPACK)).error is None
    error = await refused(bench, "deep", 501, limits=MSGPACK)
    assert "it is nested more than 500 levels deep" in error


@staged
async def test_brackets_in_texts_do_not_count_as_depth(bench: Bench) -> None:
    for limits in FORMS[:2]:
        reply = await bench.call("signs", limits=limits)
        assert reply.error is None
        assert read_result(reply.result)[1:] == ["[" * 900, '"]}' * 900, "\\"]


@pytest.mark.parametrize("bench", VERSIONS, indirect=True)
@staged
async def test_whole_numbers_longer_than_a_python_reads_are_refused(bench: Bench) -> None:
    for limits in (JSON, ZLIB):
        assert (await bench.call("digits", 4300, limits=limits)).error is None
        error = await refused(bench, "digits", 4301, limits=limits)
        assert "a whole number in it has more than 4300 digits" in error


@staged
async def test_pickle_that_cannot_be_loaded_is_refused(bench: Bench) -> None:
    error = await refused(bench, "ghost", limits=PICKLE)
    assert error.startswith("the result cannot be stored as pickle: it cannot be read back: ")
    assert "missing 1 required positional argument: 'code'" in error


@staged
async def test_compressed_result_larger_than_readers_open_is_refused(bench: Bench) -> None:
    error = await refused(bench, "bomb", limits=ZLIB)
    assert "it is larger than 2 MiB before it is compressed" in error


@staged
async def test_texts_that_utf_8_cannot_say_are_kept_compressed_too(bench: Bench) -> None:
    for limits in (JSON, ZLIB):
        reply = await bench.call("surrogate", limits=limits)
        assert read_result(reply.result) == ["\ud800"] * 900


@staged
async def test_dict_with_the_keys_of_a_wrapped_result_in_another_order_is_itself(
    bench: Bench,
) -> None:
    for limits in FORMS[:2]:
        reply = await bench.call("turned", limits=limits)
        assert read_result(reply.result) == {"data": "x", "$jobctl": "json"}


def test_stored_results_that_cannot_be_read_are_told_and_not_a_traceback() -> None:
    with pytest.raises(UnreadableError, match=r"cannot be read: .*base64"):
        read_result('{"$jobctl":"json","data":"x"}')
    deep = "[" * 100_000 + "]" * 100_000
    with pytest.raises(UnreadableError, match="nested too deeply"):
        read_result(deep)
    assert result_for_view(deep) == deep


def test_keys_that_are_one_as_texts_are_shown_as_pairs() -> None:
    assert as_json([{7: "a", "7": "b"}]) == [[[7, "a"], ["7", "b"]]]
    assert as_json({None: 1, "null": {True: 2, "true": [3]}}) == [
        [None, 1],
        ["null", [[True, 2], ["true", [3]]]],
    ]
    assert as_json({b"x": 1, "eA==": {1: 2}}) == [["eA==", 1], ["eA==", {"1": 2}]]
    assert as_json({1: 2, "x": {"y": 1}}) == {"1": 2, "x": {"y": 1}}


def test_what_json_has_no_word_for_is_shown_as_text() -> None:
    shown = as_json({b"x": [float("nan"), float("-inf")], (1, 2): {1: b"x"}, None: 1})
    assert shown == {"eA==": ["NaN", "-Infinity"], "[1, 2]": {"1": "eA=="}, "null": 1}
    stored = "[1e999, -1e999, 1e30, 0.5, 1%s.0, 7]" % ("0" * 400)
    shown = ["Infinity", "-Infinity", 1e30, 0.5, "Infinity", 7]
    assert result_for_view(stored) == read_result(stored) == shown
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(UnreadableError, match=r"cannot be shown as JSON: .*read it in Python"):
        as_json(endless)
