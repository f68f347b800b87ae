"""Options of a submit, from the values of a Python program to what is sent."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from jobctl.api.many import name_of
from jobctl.api.options import wish_for

if TYPE_CHECKING:
    from jobctl.client.open import Session

nobody = cast("Session", None)


class Number(enum.IntEnum):
    NINE = 9


class Word(str, enum.Enum):  # noqa: UP042 - what programs have
    FAST = "fast"


class Marked(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "marked"


@pytest.mark.parametrize("name", ["priority", "retries", "timeout"])
def test_number_of_an_enum_is_taken_as_the_number(name: str) -> None:
    found = getattr(wish_for(nobody, "a", {f"_{name}": Number.NINE}), name)
    assert (found, type(found) in (int, float)) == (9, True)


@pytest.mark.parametrize("text", [Word.FAST, Marked("fast")])
def test_text_of_an_enum_is_taken_as_the_text(text: str) -> None:
    wish = wish_for(nobody, "a", {"_queue": text, "_id": text, "_tags": {"a": text, text: "b"}})
    found = (wish.queue, wish.id, *wish.tags.items(), name_of(text))
    assert repr(found) == repr(("fast", "fast", ("a", "fast"), ("fast", "b"), "fast"))


@pytest.mark.parametrize(
    ("local", "fold", "instant"),
    [
        # The hour that Berlin has twice, and the one that it does not have.
        ("2027-10-31T02:30", 0, "2027-10-31T00:30"),
        ("2027-10-31T02:30", 1, "2027-10-31T01:30"),
        ("2027-03-28T02:30", 0, "2027-03-28T01:30"),
        ("2027-03-28T02:30", 1, "2027-03-28T00:30"),
        ("2027-07-01T12:00", 0, "2027-07-01T10:00"),
    ],
)
def test_local_time_is_the_one_that_its_fold_says(local: str, fold: int, instant: str) -> None:
    berlin = cast("Session", SimpleNamespace(settings=SimpleNamespace(timezone="Europe/Berlin")))
    wish = wish_for(berlin, "a", {"_at": datetime.fromisoformat(local).replace(fold=fold)})
    assert wish.start_at == datetime.fromisoformat(instant).replace(tzinfo=UTC).timestamp()
