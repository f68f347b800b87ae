"""What single values of a job may be, beyond texts, numbers, durations and sizes."""

from __future__ import annotations

import re
import signal

from jobctl.config.values import Wrong, filled, nearest, several, text, whole
from jobctl.model.run import Reason

_IDENTIFIER = r"[^\W\d]\w*"
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(\.\*)?")
_TARGET = re.compile(rf"{_IDENTIFIER}(\.{_IDENTIFIER})*:{_IDENTIFIER}(\.{_IDENTIFIER})*")
_DOTTED = re.compile(rf"{_IDENTIFIER}(\.{_IDENTIFIER})*")
REASONS = tuple(
    one.value
    for one in (
        Reason.EXCEPTION, Reason.EXIT, Reason.LOST, Reason.MEMORY, Reason.RESULT, Reason.SIGNAL,
        Reason.SPAWN, Reason.TIMEOUT,
    )
)  # fmt: skip
"""The reasons of a failure that ``retry_on`` and ``no_retry_on`` may name."""


def command(value: object) -> str | tuple[str, ...]:
    """Check a command: a text for the shell, or a list of program and arguments."""
    if not isinstance(value, list):
        return filled(value)
    if not value:
        raise Wrong("names no program", remedy='write ["program", "argument"]')
    words = several(text)(value)
    if not words[0]:
        raise Wrong("is no program", remedy="put the program first").within(0)
    return words


def _fits(value: object, form: re.Pattern[str], *, thing: str, code: str, remedy: str) -> str:
    """Check a name that Python code has; the forms differ, and what is to be written."""
    said = text(value)
    if not form.fullmatch(said):
        raise Wrong(f"does not name {thing}", code=code, remedy=remedy)
    return said


def target(value: object) -> str:
    """Check a Python function: ``package.module:function``."""
    remedy = 'write python = "package.module:function"'
    return _fits(value, _TARGET, thing="a Python function", code="target", remedy=remedy)


def hook(value: object) -> str:
    """Check a function that each child calls: ``package.module:function``."""
    remedy = 'write "package.module:function"'
    return _fits(value, _TARGET, thing="a Python function", code="target", remedy=remedy)


def module_name(value: object) -> str:
    """Check the dotted name of a Python module."""
    remedy = 'write names as in an import statement, e.g. "shop.models"'
    return _fits(value, _DOTTED, thing="a Python module", code="module", remedy=remedy)


def module(value: object) -> str:
    """Check the name of a module, or of a package and all below it: ``shop.*``."""
    remedy = 'write for example "shop.jobs", or "shop.*" for all modules of a package'
    return _fits(value, _MODULE, thing="a module", code="target", remedy=remedy)


def exception_name(value: object) -> str:
    """Check the name of an exception, dotted or its last part alone."""
    remedy = 'write a class such as "shop.errors.OutOfStock"'
    return _fits(value, _DOTTED, thing="an exception", code="exception", remedy=remedy)


def stop_signal(value: object) -> str:
    """Check the name of a signal; returns it without ``SIG``."""
    word = text(value).upper().removeprefix("SIG")
    known = [one.name.removeprefix("SIG") for one in signal.Signals]
    if word not in known:
        close = nearest(word, known)
        hint = f"did you mean '{close}'?" if close else "write for example TERM, INT or QUIT"
        raise Wrong("is not a signal", code="choice", remedy=hint)
    return word


def umask(value: object) -> int:
    """Check file mode bits: octal digits as a text, or a number TOML was given as ``0o…``."""
    remedy = 'write octal digits, for example "022"'
    if isinstance(value, str) and re.fullmatch(r"(0o)?[0-7]{1,4}", value):
        value = int(value.removeprefix("0o"), 8)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0o777:  # noqa: PLR2004 (nine bits)
        raise Wrong("is not a file mode mask", code="value", remedy=remedy)
    return value


def retry_case(value: object) -> int | str:
    """Check an exit code, a reason or the name of an exception."""
    if isinstance(value, int):
        return whole(0, 255)(value)
    said = text(value)
    if said in REASONS or (_DOTTED.fullmatch(said) and (not said.islower() or "." in said)):
        return said
    close = nearest(said, REASONS)
    raise Wrong(
        "is no exit code, reason or exception",
        code="choice",
        remedy=f"did you mean '{close}'?"
        if close
        else f"write a number, one of {', '.join(REASONS)}, or a class such as 'ConnectionError'",
    )


def rate(value: object) -> str:
    """Check a rate such as ``10/m``."""
    said = text(value).replace(" ", "")
    if not re.fullmatch(r"[1-9][0-9]{0,8}/[smhd]", said):
        raise Wrong(
            "is not a rate", code="rate", remedy='write a number per s, m, h or d, e.g. "10/m"'
        )
    return said


def unique(value: object) -> str:
    """Check what makes a run the same as another: ``args``, ``job`` or ``key:…``."""
    said = text(value)
    if said in ("args", "job") or (said.startswith("key:") and len(said) > len("key:")):
        return said
    raise Wrong("is none of args, job, key:…", code="choice", remedy='write for example "args"')
