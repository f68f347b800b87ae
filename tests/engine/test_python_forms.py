"""Results in the form that a job asks for, written by a real child and read as their readers do."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

import pytest
from python_children import VERSIONS, Bench, find_python, staged

from jobctl.client.results import UnreadableError, as_json, read_result, result_for_view
from jobctl.errors import NotPermittedError
from jobctl.model.run import Reason

if TYPE_CHECKING:
    from pathlib import Path

VALUES = """
import datetime, decimal, enum, uuid, dataclasses
class Size(enum.Enum):
    LARGE = "l"
@dataclasses.dataclass
class Item:
    name: str
    at: datetime.date
def rich():
    return {
        "at": datetime.datetime(2026, 3, 1, 2, 30, tzinfo=datetime.timezone.utc),
        "day": datetime.date(2026, 3, 1), "time": datetime.time(2, 30),
        "took": datetime.timedelta(minutes=1.5), "id": uuid.UUID(int=7),
        "price": decimal.Decimal("1.10"), "size": Size.LARGE, "raw": b"\\x00\\xff",
        "set": {3, 1, 2}, "item": Item("a", datetime.date(2026, 3, 2)),
    }
def large(): return ["the same words"] * 1000
def small(): return [1]
def lookalike(): return {"$jobctl": "pickle", "data": "gASVAAAAAA=="}
def opaque(): return object()
"""
RICH = {
    "at": "2026-03-01T02:30:00+00:00", "day": "2026-03-01", "time": "02:30:00", "took": 90.0,
    "id": "00000000-0000-0000-0000-000000000007", "price": "1.10", "size": "l", "raw": "AP8=",
    "set": [1, 2, 3], "item": {"name": "a", "at": "2026-03-02"},
}  # fmt: skip


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    version = getattr(request, "param", None)
    interpreter = find_python(version) if version else None
    if version and interpreter is None:
        pytest.skip(f"no Python {version} on PATH or in pyenv")
    bench = Bench(tmp_path, interpreter) if interpreter else Bench(tmp_path)
    bench.write(VALUES)
    return bench


def form(name: str = "json", compression: str | None = None) -> dict[str, object]:
    wish = {"format": name, "compression": compression}
    return {"result": {key: value for key, value in wish.items() if value is not None}}


@pytest.mark.parametrize("bench", VERSIONS, indirect=True)
@staged
async def test_json_says_rich_values_and_zlib_brings_them_back(bench: Bench) -> None:
    assert json.loads((await bench.call("rich")).result) == RICH
    reply = await bench.call("large", limits=form(compression="zlib"))
    assert len(reply.result) < 1000
    assert read_result(reply.result) == ["the same words"] * 1000
    assert result_for_view(reply.result) == ["the same words"] * 1000
    assert (await bench.call("small", limits=form(compression="zlib"))).result == "[1]"


@pytest.mark.parametrize("bench", VERSIONS, indirect=True)
@staged
async def test_value_that_is_not_kept_is_dropped_and_not_checked(bench: Bench) -> None:
    reply = await bench.call("opaque", limits={"drop_result": True})
    assert (reply.ok, reply.result) == (True, None)
    assert (await bench.call("opaque")).reason is Reason.RESULT


@staged
async def test_number_that_msgpack_cannot_hold_is_told_with_the_way_out(bench: Bench) -> None:
    pytest.importorskip("msgpack")
    bench.write("def go(): return {'big': [2**64]}\n", name="big.py")
    reply = await bench.call("big:go", limits=form("msgpack"))
    assert reply.error.startswith(
        "the result cannot be stored as msgpack: it holds a whole number beyond 64 bits, "
        "which can be returned as text; "
    )


@staged
async def test_msgpack_keeps_bytes_and_reads_as_json(bench: Bench) -> None:
    pytest.importorskip("msgpack")
    reply = await bench.call("rich", limits=form("msgpack"))
    value = read_result(reply.result)
    assert value["raw"] == b"\x00\xff"
    assert as_json(value) == RICH == result_for_view(reply.result)
    both = await bench.call("large", limits=form("msgpack", "zlib"))
    assert read_result(both.result) == ["the same words"] * 1000


@staged
async def test_zstd_brings_back_what_it_took(bench: Bench) -> None:
    pytest.importorskip("zstandard")
    reply = await bench.call("large", limits=form(compression="zstd"))
    assert len(reply.result) < 1000
    assert read_result(reply.result) == ["the same words"] * 1000


@staged
async def test_pickle_is_read_only_where_it_is_allowed(bench: Bench) -> None:
    reply = await bench.call("rich", limits=form("pickle", "zlib"))
    with pytest.raises(NotPermittedError, match="allow_pickle = true"):
        read_result(reply.result)
    assert result_for_view(reply.result)["$jobctl"].startswith("pickle")
    with pytest.raises(UnreadableError, match="no module jobs"):
        read_result(reply.result, allow_pickle=True)
    reply = await bench.call("large", limits=form("pickle"))
    assert read_result(reply.result, allow_pickle=True) == ["the same words"] * 1000


@staged
async def test_a_result_that_looks_like_another_form_is_not_taken_for_one(bench: Bench) -> None:
    for limits in ({}, form(compression="zlib")):
        reply = await bench.call("lookalike", limits=limits)
        looks = {"$jobctl": "pickle", "data": "gASVAAAAAA=="}
        assert read_result(reply.result, allow_pickle=True) == looks


@staged
async def test_a_missing_package_is_told_before_the_function_runs(bench: Bench) -> None:
    bench.write("raise SystemExit('imported')\n", name="never.py")
    bench.write("", name="hide/msgpack.py")
    bench.write("raise ImportError('hidden')\n", name="msgpack.py")
    reply = await bench.call("never:go", limits=form("msgpack"))
    assert reply.reason is Reason.SPAWN
    assert reply.error.startswith("result_format needs the package msgpack, which ")
    assert "install it there" in reply.error


@staged
async def test_limit_and_complaint_are_of_the_form_that_is_kept(bench: Bench) -> None:
    reply = await bench.call("large", limits=form("pickle"), max_result=100)
    assert reply.reason is Reason.RESULT
    assert "bytes of pickle, the limit is 100" in reply.error
    reply = await bench.call("large", limits=form(compression="zlib"), max_result=1000)
    assert reply.ok
    reply = await bench.call("opaque", limits=form(compression="zlib"))
    assert "cannot be stored as json: it holds a value of type object" in reply.error


def test_forms_of_another_version_and_broken_ones_are_told() -> None:
    with pytest.raises(UnreadableError, match="does not know"):
        read_result('{"$jobctl":"cbor","data":""}')
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_result('{"$jobctl":"json+zlib","data":"AAAA"}')
    missing = '{"$jobctl":"msgpack","data":"kAA="}'
    if importlib.util.find_spec("msgpack") is not None:
        with pytest.raises(UnreadableError, match="cannot be read"):
            read_result(missing)
