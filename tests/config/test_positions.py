"""Where keys and values are, in every way TOML has to write them."""

from __future__ import annotations

import tomllib
from textwrap import dedent
from typing import TYPE_CHECKING

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from jobctl.config.positions import Place, locate

if TYPE_CHECKING:
    from jobctl.config.positions import Path

TEXT = dedent(
    """\
    top = 1
    "ö ä".x = "ü", # not TOML, and no reason to fail
    [a.b."c d"]
    e.f = { g = 1, h.i = [1, { j = 2 }] }
    [[s]]
    q = 1
    [[s]]
    q = [
      # nothing
      2,
    ]
    [[s.t]]
    r = 1
    [s.u]
    k = 1
    """
)


def test_every_way_to_write_a_key_is_found() -> None:
    keys = locate(TEXT.replace(", # not", " # not")).keys

    assert {path: (place.line, place.column) for path, place in keys.items()} == {
        ("top",): (1, 1),
        ("ö ä",): (2, 1),
        ("ö ä", "x"): (2, 7),
        ("a",): (3, 2),
        ("a", "b"): (3, 4),
        ("a", "b", "c d"): (3, 6),
        ("a", "b", "c d", "e"): (4, 1),
        ("a", "b", "c d", "e", "f"): (4, 3),
        ("a", "b", "c d", "e", "f", "g"): (4, 9),
        ("a", "b", "c d", "e", "f", "h"): (4, 16),
        ("a", "b", "c d", "e", "f", "h", "i"): (4, 18),
        ("a", "b", "c d", "e", "f", "h", "i", 1, "j"): (4, 28),
        ("s",): (5, 3),
        ("s", 0): (5, 3),
        ("s", 0, "q"): (6, 1),
        ("s", 1): (7, 3),
        ("s", 1, "q"): (8, 1),
        ("s", 1, "t"): (12, 5),
        ("s", 1, "t", 0): (12, 5),
        ("s", 1, "t", 0, "r"): (13, 1),
        ("s", 1, "u"): (14, 4),
        ("s", 1, "u", "k"): (15, 1),
    }


def test_values_are_found_and_others_are_near_their_key() -> None:
    found = locate(TEXT)

    assert found.value(("s", 1, "q", 0)) == Place(10, 3)
    assert found.value(("s", 1, "nothing")) == Place(7, 3)
    assert found.value(("nothing",)) == Place(1, 1)
    assert found.key(("a", "b", "c d", "e", "f", "h", "i", 0)) == Place(4, 18)


def test_what_is_written_twice_is_found() -> None:
    found = locate("a = 1\na = 2\n[t]\n[t]\n[u]\nx.y = 1\nx.y = 2\n")

    assert [(path, first.line, second.line) for path, first, second in found.twice] == [
        (("a",), 1, 2), (("t",), 3, 4), (("u", "x", "y"), 6, 7),
    ]  # fmt: skip


def leaves(value: object, path: Path = ()) -> list[Path]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [path]


values = st.recursive(
    st.integers(0, 9) | st.booleans() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_every_value_of_any_document_has_its_place(document: dict[str, object]) -> None:
    text = tomli_w.dumps(document)
    found = locate(text)

    assert set(found.values) >= set(leaves(tomllib.loads(text)))
    assert found.twice == []


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    locate(text)
