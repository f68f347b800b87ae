"""Frozen dataclasses without the price of making them.

Everything a ``jobctl submit`` imports counts, and ``dataclasses`` was half of that: it pulls in
``inspect``, and compiles five functions for each class. A record behaves the same, ``replace``,
``fields`` and ``asdict`` included, and is to a type checker the dataclass it stands for; its class
is made without compiling anything. A class of which many records are made gets a compiled
initialiser then, which takes a third of the time.

Only what records need is there: frozen, with slots, compared by value, without inheritance.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as record
    from dataclasses import field
    from typing import Any, ParamSpec, TypeVar

    _Given = ParamSpec("_Given")
    _Made = TypeVar("_Made")

__all__ = ["copier", "differing", "field", "is_record", "maker", "record"]

MANY = 200
"""Records of one class after which compiling its initialiser, some 0.3 ms, is soon paid back."""
_REQUIRED = object()
_set = object.__setattr__


class _Factory:
    """The default of a field that is made anew for each record."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def is_record(value: object) -> bool:
    """Return whether ``value`` is a record."""
    return hasattr(type(value), "__record__")


def differing(value: object) -> dict[str, object]:
    """Return the fields of a record that are not what they are by default."""
    out: dict[str, object] = {}
    for name, default in type(value).__record__.items():  # type: ignore[attr-defined]  # a record
        item = getattr(value, name)
        if default is item or (isinstance(default, _Factory) and item == default.make()):
            continue
        out[name] = item
    return out


class _Fields:
    """``__dataclass_fields__`` of a record, made by ``dataclasses`` when somebody asks for it."""

    def __get__(self, instance: object, owner: Any) -> object:  # noqa: ANN401 - any record's class
        import dataclasses  # noqa: PLC0415 (this is what records avoid)

        rows = []
        for name, default in owner.__record__.items():
            if isinstance(default, _Factory):
                spec = dataclasses.field(default_factory=default.make)
            elif default is _REQUIRED:
                spec = dataclasses.field()
            else:
                spec = dataclasses.field(default=default)
            rows.append((name, owner.__annotations__[name], spec))
        shadow: Any = dataclasses.make_dataclass(owner.__name__, rows, frozen=True, kw_only=True)
        owner.__dataclass_fields__ = shadow.__dataclass_fields__
        return shadow.__dataclass_fields__


def _record(*, frozen: bool, slots: bool, kw_only: bool = False) -> Callable[[type], type]:
    """Return a class decorator; both ``frozen`` and ``slots`` must be asked for."""
    if not (frozen and slots):
        raise TypeError("a record is frozen and has slots")
    return lambda cls: _build(cls, positional=not kw_only)


def _build(cls: type, *, positional: bool) -> type:
    names = tuple(name for name, kind in cls.__annotations__.items() if "ClassVar" not in kind)
    defaults = {name: cls.__dict__.get(name, _REQUIRED) for name in names}
    left_out = {*names, "__dict__", "__weakref__"}
    body = {name: item for name, item in cls.__dict__.items() if name not in left_out}
    body.update(
        __slots__=names,
        __record__=defaults,
        __dataclass_fields__=_Fields(),
        __match_args__=names if positional else (),
        __setattr__=_refuse,
        __delattr__=_refuse,
        __getstate__=_values,
        __setstate__=_restore,
    )
    made = _initialiser(defaults, names if positional else ())
    body["__init__"] = _counted(made, defaults, positional=positional)
    usual = {"__eq__": _equal, "__hash__": _hash, "__repr__": _shown}
    body.update({name: item for name, item in usual.items() if cls.__dict__.get(name) is None})
    return type(cls.__name__, cls.__bases__, body)


def _initialiser(defaults: dict[str, Any], positional: tuple[str, ...]) -> Callable[..., None]:
    required = [name for name, item in defaults.items() if item is _REQUIRED]
    plain = {
        name: item
        for name, item in defaults.items()
        if item is not _REQUIRED and not isinstance(item, _Factory)
    }
    made = [(name, item.make) for name, item in defaults.items() if isinstance(item, _Factory)]

    def initialise(self: Any, *args: Any, **given: Any) -> None:  # noqa: ANN401 - any record
        if args:
            given = {**_by_name(type(self), positional, args, given), **given}
        values = {**plain, **{name: make() for name, make in made if name not in given}, **given}
        try:
            for name in required:
                _set(self, name, values.pop(name))
            for name, value in values.items():
                _set(self, name, value)
        except (KeyError, AttributeError) as error:
            wrong = sorted({*given} - {*defaults} | {*required} - {*given})
            raise TypeError(
                f"{type(self).__name__}: wrong or missing: {', '.join(wrong)}"
            ) from error

    return initialise


def _counted(
    initialise: Callable[..., None], defaults: dict[str, Any], *, positional: bool
) -> Callable[..., None]:
    """Return an initialiser that gives its class a compiled one once it was called often."""
    left = MANY

    def counted(self: Any, *args: Any, **given: Any) -> None:  # noqa: ANN401 - any record
        nonlocal left
        initialise(self, *args, **given)
        left -= 1
        if left == 0:
            cls = type(self)
            cls.__init__ = _compiled(cls, defaults, positional=positional)

    return counted


def _compiled(cls: type, defaults: dict[str, Any], *, positional: bool) -> Callable[..., None]:
    """Return an initialiser that takes the fields by name, and sets them without looking any up."""
    known: dict[str, Any] = {"_made": _REQUIRED}
    words = ["self"] if positional else ["self", "*"]
    lines = []
    for index, (name, default) in enumerate(defaults.items()):
        known[f"_set{index}"] = cls.__dict__[name].__set__
        words.append(_word(name, index, default, known))
        if isinstance(default, _Factory):
            lines.append(f" if {name} is _made: {name} = _make{index}()")
        lines.append(f" _set{index}(self, {name})")
    source = f"def __init__({', '.join(words)}):\n" + "\n".join(lines or [" pass"])
    exec(source, known)  # noqa: S102 - names of fields of our own classes, as dataclasses does
    made: Callable[..., None] = known["__init__"]
    return made


def maker(cls: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Return what makes records of a class as calling it does, in less than half the time.

    For where thousands are made a second. The fields of a record that is being made are set as
    those of an open twin of its class, which costs less than going past its guard with each; and
    the call of a function takes its words as they come, where that of a class gathers them first.
    """
    record_: Any = cls
    twin = type(record_.__name__, (), {"__slots__": record_.__slots__})
    known: dict[str, Any] = {
        "_made": _REQUIRED,
        "_new": object.__new__,
        "_twin": twin,
        "_become": object.__dict__["__class__"].__set__,
        "_cls": record_,
    }
    words = [] if record_.__match_args__ else ["*"]
    lines = ["made = _new(_twin)"]
    for index, (name, default) in enumerate(record_.__record__.items()):
        words.append(_word(name, index, default, known))
        if isinstance(default, _Factory):
            lines.append(f"if {name} is _made: {name} = _make{index}()")
        lines.append(f"made.{name} = {name}")
    lines += ["_become(made, _cls)", "return made"]
    source = f"def make({', '.join(words)}):\n " + "\n ".join(lines)
    exec(source, known)  # noqa: S102 - as in _compiled
    made: Callable[_Given, _Made] = known["make"]
    return made


def copier(cls: Callable[_Given, _Made], name: str) -> Callable[[_Made, object], _Made]:
    """Return what makes a copy of a record with another value of one field, as :func:`maker` would."""
    record_: Any = cls
    known: dict[str, Any] = {
        "_new": object.__new__,
        "_twin": type(record_.__name__, (), {"__slots__": record_.__slots__}),
        "_become": object.__dict__["__class__"].__set__,
        "_cls": record_,
    }
    lines = ["made = _new(_twin)", f"made.{name} = value"]
    lines += [f"made.{other} = like.{other}" for other in record_.__record__ if other != name]
    lines += ["_become(made, _cls)", "return made"]
    source = "def copy(like, value):\n " + "\n ".join(lines)
    exec(source, known)  # noqa: S102 - as in _compiled
    made: Callable[[_Made, object], _Made] = known["copy"]
    return made


def _word(name: str, index: int, default: Any, known: dict[str, Any]) -> str:  # noqa: ANN401
    """Return how a field stands among the parameters; what it needs is put into ``known``."""
    if default is _REQUIRED:
        return name
    if isinstance(default, _Factory):
        known[f"_make{index}"] = default.make
        return f"{name}=_made"
    known[f"_default{index}"] = default
    return f"{name}=_default{index}"


def _by_name(
    cls: type, names: tuple[str, ...], args: tuple[object, ...], given: dict[str, object]
) -> dict[str, object]:
    if len(args) > len(names) or not given.keys().isdisjoint(names[: len(args)]):
        raise TypeError(f"{cls.__name__}: more positional values than it takes, or one given twice")
    return dict(zip(names, args, strict=False))


def _refuse(self: object, name: str, *_: object) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 (this is what records avoid)

    raise FrozenInstanceError(f"{type(self).__name__}.{name} cannot be changed")


def _values(self: Any) -> tuple[object, ...]:  # noqa: ANN401 - any record
    return tuple([getattr(self, name) for name in self.__slots__])


def _equal(self: object, other: object) -> bool:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: object) -> int:
    return hash(_values(self))


def _shown(self: Any) -> str:  # noqa: ANN401 - any record
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{type(self).__name__}({shown})"


def _restore(self: Any, state: tuple[object, ...]) -> None:  # noqa: ANN401 - any record
    for name, value in zip(self.__slots__, state, strict=True):
        _set(self, name, value)


def _field(*, default_factory: Callable[[], object]) -> Any:  # noqa: ANN401 - stands for any value
    return _Factory(default_factory)


if not TYPE_CHECKING:
    record, field = _record, _field
