"""The arguments of a run, checked against the parameters its job declares.

Only the numbers, texts and lists that JSON knows travel to a run. No text with a NUL character
does, which no process can be given, and no dict with a key that is no text: JSON would make one of
it, and two that are the same then would be one. This module is on the way of every submit: what
costs time to import is imported where a job needs it.
"""

from __future__ import annotations

from jobctl.errors import InvalidArguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jobctl.model.job import JobDef, ParamSpec

_WORDS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_KINDS = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
    "list": "a list", "dict": "a table of names and values", "json": "JSON",
}  # fmt: skip
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "float": (int, float), "list": (list, tuple), "dict": dict,
    "json": object,
}  # fmt: skip
_LONGEST_SHOWN = 60
_NUL = "holds a NUL character, which no process can be given"
_MOST_DIGITS = 4300
"""As far as Python converts."""
_HARMLESS = frozenset({int, float, bool, type(None)})
"""Types of which every value travels, so that none has to be looked at."""


class ParamError(ValueError):
    """Raised when a value does not fit a parameter; the message continues "VALUE …"."""


def bind(
    job: JobDef, args: Sequence[object], kwargs: Mapping[str, object], *, text: bool
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return the positional and named arguments a run of ``job`` gets.

    Without declared parameters everything is passed on as it is, unless the function has said
    that it has none. With them, positional arguments fill the parameters in the order they are
    declared, every value is checked and converted, and defaults are filled in. A Python job then
    gets its parameters by name, but for those that its function takes in order only, and refuses
    further arguments. A shell job keeps all its positional arguments for ``"$@"`` and gets the
    parameters by name as well. What this returns can be bound again with the same result.

    ``text`` tells that the values are words of a command line, to be converted to the declared
    types; words for which nothing is declared stay text.

    Raises:
        InvalidArguments: the arguments do not fit; the message names every one that does not.

    """
    harmless = not kwargs and _HARMLESS.issuperset(map(type, args))
    problems = [] if harmless else _that_cannot_travel(job, args, kwargs)
    if not job.params:
        if job.of_function:
            _by_name(job, args, kwargs, problems=problems)
            _refuse(job, problems)
        elif not harmless:
            _refuse(job, problems + _bad_names(job, kwargs))
        return tuple(args), dict(kwargs)
    named = _by_name(job, args, kwargs, problems=problems)
    bound: dict[str, object] = {}
    for spec in job.params:
        if spec.name in named:
            try:
                bound[spec.name] = convert(spec, named[spec.name], text=text)
            except ParamError as error:
                problems.append(f"{spec.name}: {_shown(spec, named[spec.name])} {error}")
        elif not spec.required:
            # A parameter that may be left out and has no default is not passed at all.
            if spec.default is not None:
                bound[spec.name] = spec.default
        else:
            problems.append(f"{spec.name}: is missing; write {spec.name}=…")
    if not job.python:
        in_order = tuple(args)
    else:
        in_order = _in_order(job, bound, problems) if job.params[0].positional else ()
    _refuse(job, problems)
    return in_order, bound


def convert(spec: ParamSpec, value: object, *, text: bool) -> object:
    """Return ``value`` as the type ``spec`` declares, within its limits.

    Raises:
        ParamError: it is of another type, or breaks min, max, choices or pattern.

    """
    if value is None and spec.nullable:
        return None
    if text and isinstance(value, str):
        value = _from_text(spec.type, value)
    _check_type(spec.type, value)
    if spec.type == "float" and isinstance(value, int):
        value = _finite(value)
    if spec.choices and not any(_same(value, choice) for choice in spec.choices):
        raise ParamError(f"is none of {', '.join(map(str, spec.choices))}")
    _check_bounds(spec, value)
    if spec.pattern is not None and isinstance(value, str):
        import re  # noqa: PLC0415 (4 ms that only such a parameter needs)

        if not re.fullmatch(spec.pattern, value):
            raise ParamError(f"does not match the pattern {spec.pattern}")
    return value


def _from_text(kind: str, word: str) -> object:
    """Return what a word of the command line says in a type, or the word when it says nothing."""
    if kind == "int" and _is_integer(word):
        return int(word)
    if kind == "float":
        try:
            return float(word)
        except ValueError:
            return word
    if kind == "bool":
        return _WORDS.get(word.lower(), word)
    if kind in ("json", "list", "dict"):
        import json  # noqa: PLC0415 (7 ms that only such a parameter needs)

        try:
            return json.loads(word)
        except (ValueError, RecursionError):
            raise ParamError("is not JSON; put texts in double quotes") from None
    return word


def _is_integer(word: str) -> bool:
    """Tell what ``int()`` should take: it also takes blanks and underscores."""
    digits = word[1:] if word[:1] in ("+", "-") else word
    return digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS


def _check_type(kind: str, value: object) -> None:
    if kind == "bool" or isinstance(value, bool):
        fits = kind == "json" or (kind == "bool" and isinstance(value, bool))
    else:
        fits = isinstance(value, _TYPES[kind])
    if not fits:
        raise ParamError(f"is not {_KINDS[kind]}{_instead(kind, value)}")
    if isinstance(value, float):
        _finite(value)


def _instead(kind: str, value: object) -> str:
    """Return what to pass for a Python object that JSON does not have, where that is plain."""
    if value is None or isinstance(value, bool | int | float | str | list | tuple | dict):
        return ""
    if isinstance(value, bytes | bytearray):
        return "; pass value.decode() for it, or bytes as Base64" if kind == "str" else ""
    form = text_for(value)
    return f"; pass {form} for it" if kind == "str" or form == "value.value" else ""


def text_for(value: object) -> str:
    """Return the Python expression that makes of ``value``, an object, what JSON has."""
    if hasattr(type(value), "__members__"):
        return "value.value"
    return "value.isoformat()" if hasattr(value, "isoformat") else "str(value)"


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    # Neither infinities nor "not a number" can be written in JSON.
    if number - number != 0:
        raise ParamError("is not a finite number")
    return number


def _same(value: object, choice: object) -> bool:
    """Compare as JSON does: 1 is 1.0, but not true."""
    return isinstance(value, bool) == isinstance(choice, bool) and value == choice


def _check_bounds(spec: ParamSpec, value: object) -> None:
    if isinstance(value, str):
        size: float = len(value)
        less, more = "is shorter than {:g} characters", "is longer than {:g} characters"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        size = value
        less, more = "is less than {:g}", "is more than {:g}"
    else:
        return
    if spec.min is not None and size < spec.min:
        raise ParamError(less.format(spec.min))
    if spec.max is not None and size > spec.max:
        raise ParamError(more.format(spec.max))


def _by_name(
    job: JobDef, args: Sequence[object], kwargs: Mapping[str, object], *, problems: list[str]
) -> dict[str, object]:
    """Return the values given for each parameter, whether in order or by name."""
    specs = {spec.name: spec for spec in job.params}
    known = list(specs)
    ordered = [spec.name for spec in job.params if not (spec.keyword and job.python)]
    named = dict(zip(ordered, args, strict=False))
    if job.python and len(args) > len(ordered):
        count = f"{len(args)} arguments are" if len(args) > 1 else "1 argument is"
        problems.append(f"{count} too many; it takes {_taken(ordered, known)}")
    for name, value in kwargs.items():
        if name not in known:
            problems.append(f"{name}: unknown parameter; {_hint(name, known)}")
        elif name in named and (job.of_function or not _means(specs[name], named[name], value)):
            problems.append(f"{name}: is given in order and by name; give it once")
        else:
            named[name] = value
    return named


def _taken(ordered: list[str], known: list[str]) -> str:
    by_name = [name for name in known if name not in ordered]
    listed = ", ".join(ordered) or "none"
    return f"{listed} in order, and {', '.join(by_name)} by name" if by_name else listed


def _in_order(job: JobDef, bound: dict[str, object], problems: list[str]) -> tuple[object, ...]:
    """Take out of ``bound`` what a function takes in order only, and return it."""
    found: list[object] = []
    left_out: ParamSpec | None = None
    for spec in job.params:
        if not spec.positional:
            break
        if spec.name not in bound:
            left_out = left_out or spec
        elif left_out is None:
            found.append(bound.pop(spec.name))
        elif bound.pop(spec.name) != spec.default and not left_out.required:
            problems.append(f"{spec.name}: is given without {left_out.name}, which comes before it")
    return tuple(found)


def _means(spec: ParamSpec, word: object, value: object) -> bool:
    """Tell whether ``word`` says the same as ``value``, which may be converted already."""
    if word == value:
        return True
    try:
        return convert(spec, word, text=True) == value
    except ParamError:
        return False


def _bad_names(job: JobDef, kwargs: Mapping[str, object]) -> list[str]:
    """Return what is wrong with names that nothing declares; a shell job gets them as variables."""
    if job.python:
        return [f"{name!r} is no name for an argument" for name in kwargs if not name]
    problems = [
        f"{name!r} is no name for a variable; use letters, digits, '_' and '-'"
        for name in kwargs
        if not name.isascii() or not name.replace("-", "_").isidentifier()
    ]
    if len(kwargs) > 1:
        seen: dict[str, str] = {}
        for name in kwargs:
            first = seen.setdefault(name.upper().replace("-", "_"), name)
            if first != name:
                problems.append(f"{name}: is the same variable as {first}; rename one of them")
    return problems


def _that_cannot_travel(
    job: JobDef, args: Sequence[object], kwargs: Mapping[str, object]
) -> list[str]:
    """Return what is wrong with values; raises ``InvalidArguments`` for a name that is no text."""
    problems: list[str] = []
    for number, value in enumerate(args, 1):
        problems += _unpassable(f"argument {number}", value)
    for name, value in kwargs.items():
        if not isinstance(name, str):
            _refuse(job, [f"{name!r} is no name for an argument; names are texts"])
        problems += _unpassable(name, value)
    return problems


def _unpassable(name: str, value: object) -> Iterator[str]:
    try:
        if "\0" in name or not _travels(value):
            yield _why_not(name if name.isprintable() else repr(name), value)
    except RecursionError:
        yield f"{name!r}: is nested too deeply"


def _travels(value: object) -> bool:
    """Tell whether no text holds NUL and no dict has keys that JSON would turn into texts."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, dict):
        return all(
            isinstance(key, str) and "\0" not in key and _travels(item)
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return all(map(_travels, value))
    return True


def _why_not(where: str, value: object) -> str:
    """Return what keeps ``value`` from travelling, beginning with where in it that is."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                return (
                    f"{where}: the key {key!r} is no text, and JSON has no others; "
                    "pass str(key) for it, or a list of pairs"
                )
            if "\0" in key or not _travels(item):
                return _why_not(f"{where}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            if not _travels(item):
                return _why_not(f"{where}[{number}]", item)
    return f"{where}: {_NUL}"


def _hint(name: str, known: list[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 (7 ms, and only for a mistake)

    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"it takes {', '.join(known) or 'none'}"


def _shown(spec: ParamSpec, value: object) -> str:
    if spec.secret:
        return "the value"
    said = repr(value)
    return said if len(said) <= _LONGEST_SHOWN else said[: _LONGEST_SHOWN - 1] + "…"


def _refuse(job: JobDef, problems: list[str]) -> None:
    if len(problems) == 1:
        raise InvalidArguments(f"job {job.name}: {problems[0]}", job=job.name)
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise InvalidArguments(
            f"job {job.name}: {len(problems)} arguments do not fit:{listed}", job=job.name
        )
