from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.store.compact import dump, encode, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_text_is_that_of_the_standard_encoder_and_comes_back(value: object) -> None:
    assert encode(value) == json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert parse(encode(value)) == value
    assert parse(f" {encode(value)}\n") == value
    dump(value).encode()


def test_circle_is_told_from_depth_and_costs_nothing_later() -> None:
    circle: list[object] = []
    circle.append(circle)
    deep: object = None
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="Circular"):
        encode(circle)
    with pytest.raises(RecursionError):
        encode(deep)
    with pytest.raises(TypeError):
        encode(object())
    assert encode([1, {"a": None}]) == '[1,{"a":null}]'


def test_text_that_is_no_utf8_can_be_sent() -> None:
    assert json.loads(dump(["\udcff", "ü"]).encode()) == ["\udcff", "ü"]


@pytest.mark.parametrize("text", ["", "{", "[1]]", "nul", '{"a":1} x', "\ufeff1"])
def test_what_is_no_json_raises(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        parse(text)
