"""Records behave as the frozen dataclasses they stand for."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from jobctl.model.records import MANY, copier, differing, field, is_record, record
from jobctl.model.run import Request


@record(frozen=True, slots=True, kw_only=True)
class Point:
    """A record."""

    x: int
    y: int = 2
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def sum(self) -> int:
        return self.x + self.y


@record(frozen=True, slots=True)
class Pair:
    left: object
    right: object = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    x: int
    y: int = 2
    tags: dict[str, str] = dataclasses.field(default_factory=dict)


def test_values_and_defaults():
    point = Point(x=1)
    assert (point.x, point.y, point.tags, point.sum) == (1, 2, {}, 3)
    assert point.tags is not Point(x=1).tags


def test_positional_values_only_where_allowed():
    assert Pair(1, right=2) == Pair(1, 2)
    for wrong in (lambda: Point(1), lambda: Pair(1, 2, 3), lambda: Pair(1, left=2)):
        with pytest.raises(TypeError):
            wrong()


def test_missing_and_unknown_values_are_named():
    with pytest.raises(TypeError, match="x"):
        Point()
    with pytest.raises(TypeError, match="z"):
        Point(x=1, z=2)


def test_nothing_can_be_changed():
    point = Point(x=1)
    for change in (
        lambda: setattr(point, "x", 2),
        lambda: delattr(point, "x"),
        lambda: setattr(point, "new", 2),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    assert not hasattr(point, "__dict__")


def test_compared_hashed_and_shown_by_value():
    assert Pair(1, "a") == Pair(1, "a") != Pair(2, "a")
    assert len({Pair(1), Pair(1), Pair(2)}) == 2
    assert Point(x=1) != Plain(x=1)
    assert repr(Point(x=1)) == repr(Plain(x=1)).replace("Plain", "Point")


def test_dataclasses_work_on_records():
    point = Point(x=1)
    assert dataclasses.is_dataclass(point)
    assert dataclasses.replace(point, y=5) == Point(x=1, y=5)
    assert dataclasses.asdict(Pair(point)) == {"left": {"x": 1, "y": 2, "tags": {}}, "right": None}
    assert [(item.name, item.default) for item in dataclasses.fields(Point)][:2] == [
        (item.name, item.default) for item in dataclasses.fields(Plain)
    ][:2]


def test_copies_and_pickles_are_equal():
    point = Point(x=1, tags={"a": "b"})
    assert copy.copy(point) == copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point


def test_what_differs_from_the_defaults():
    assert differing(Point(x=1)) == {"x": 1}
    assert differing(Point(x=1, y=3, tags={"a": "b"})) == {"x": 1, "y": 3, "tags": {"a": "b"}}
    assert is_record(Point(x=1))
    assert not is_record(Plain(x=1))


def test_patterns_match():
    match Pair(1, 2):
        case Pair(left, right):
            assert (left, right) == (1, 2)


def test_records_made_often_behave_as_the_first_ones():
    often = _fresh_class()
    for number in range(3 * MANY):
        one = often(number, tags={"n": str(number)})
        assert (one.x, one.y, one.tags) == (number, 2, {"n": str(number)})
        assert often(1) == often(x=1, y=2)
        assert often(1).tags is not often(1).tags
        for wrong in ({}, {"x": 1, "z": 2}):
            with pytest.raises(TypeError):
                often(**wrong)
        with pytest.raises(dataclasses.FrozenInstanceError):
            one.x = 5
    assert dataclasses.replace(often(1), y=5) == often(1, 5)


def _fresh_class():
    @record(frozen=True, slots=True)
    class Often:
        x: int
        y: int = 2
        tags: dict = field(default_factory=dict)

    return Often


def test_a_copy_has_one_other_value():
    made = copier(Request, "id")
    request = Request(id="a", job="j", args=(1,), kwargs={"k": 2}, timeout=3.0)
    other = made(request, "b")

    assert other == dataclasses.replace(request, id="b")
    assert request.id == "a"
    with pytest.raises(AttributeError):
        other.id = "c"
