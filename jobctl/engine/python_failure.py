"""How a call failed, for people and for the host. Loaded by a child at its first failure.

Standard library of CPython 3.9 on only, as all that runs in a child.
"""

from __future__ import annotations

import os
import sys
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any

WISHES = {
    "Skip": "skipped by its function",
    "Retry": "its function asked for another attempt",
    "Fatal": "its function failed for good, and gave no reason",
}
"""What is told of an exception by which a function says how its run goes on, if it says no more."""
MAX_ERROR = 4096
MAX_NAME = 200
MAX_BASES = 32
MAX_TRACE = 8192
"""Characters of a traceback that are kept with the attempt; the log has all of it."""
HEAD = 2048
"""Characters of a longer traceback that are kept from its beginning."""
MAX_PLACE = 500
"""Characters that are kept of where it was raised: lines of generated code have no end."""
HERE = os.path.dirname(__file__)
OURS = (
    os.path.join(HERE, "python_"),
    "<frozen importlib",
    os.path.dirname(os.__file__) + "/asyncio/",
)
"""Files whose frames lie between the child and the job's function."""


# As BaseException and type themselves have them: what a job's class puts in their place may raise.
TRACE: Any = BaseException.__dict__["__traceback__"]
MRO, QUALNAME, MODULE = (type.__dict__[name] for name in ("__mro__", "__qualname__", "__module__"))


def describe(
    error: BaseException,
    reply: dict[str, Any],
    *,
    expected: Sequence[str] = (),
    named: Sequence[str] = (),
) -> None:
    """Print ``error`` as a script would and fill ``reply`` with what the host needs of it.

    ``expected`` are names of exceptions of which one line says enough, ``named`` those that the job
    names besides: what ``error`` is among them is told as if its classes had these names too.
    Whatever ``error`` does when it is looked at, its name is told, where it was raised, and its
    message if that can be had.
    """
    classes = MRO.__get__(type(error))[:-1]
    names = [dotted(base) for base in classes][:MAX_BASES]
    special = next((n for n in names if n.partition(".")[0] == "jobctl"), "").rpartition(".")[2]
    also = [name for name in named if name not in names and _means(name, classes)]
    reply.update(reason="exception", exception=names[0], bases=names + also)
    reply.update(skip=special == "Skip", again=special == "Retry", fatal=special == "Fatal")
    if special == "SoftTimeout":
        reply["reason"] = "timeout"
    try:
        if special in ("Retry", "Skip"):
            _tell_wish(error, reply, special)
        elif any(name in expected or name.rpartition(".")[2] in expected for name in names) or any(
            _means(name, classes) for name in expected
        ):
            reply["error"] = f"{names[0]}: {error}"[:MAX_ERROR]
            _write(f"jobctl: {names[0]}: {error}\n")
        else:
            _tell(error, reply, fatal=special == "Fatal")
    except BaseException:  # noqa: BLE001 - SystemExit too: it is the job's code that is asked
        _tell_less(error, reply, names[0])


def _means(name: str, classes: Sequence[type]) -> bool:
    """Return whether ``name`` leads to one of ``classes`` here.

    The name under which a class is imported need not be that of the module which defines it.
    Nothing is imported for it, nor is code of the job called: what was raised is there already.
    """
    module, parts = "builtins", name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        if ".".join(parts[:count]) in sys.modules:
            module, parts = ".".join(parts[:count]), parts[count:]
            break
    found: Any = sys.modules.get(module)
    for part in parts:
        if isinstance(found, type):
            found = type.__dict__["__dict__"].__get__(found).get(part)
        elif isinstance(found, type(sys)):
            found = _attribute(found, part)
        else:
            return False
    return any(found is one for one in classes)


def _attribute(module: Any, name: str) -> Any:
    # Plain getattr would make modules that load lazily load.
    inside = object.__getattribute__(module, "__dict__")
    if name not in inside and module is sys.modules.get("jobctl"):
        # It gets its public names when they are first asked for.
        place, _, other = inside.get("_PLACES", {}).get(name, "").partition(":")
        return getattr(sys.modules.get("jobctl." + place), other or name, None)
    return inside.get(name)


def _tell_wish(error: BaseException, reply: dict[str, Any], special: str) -> None:
    """Tell of a Retry or Skip, which are no failures."""
    reply["retry_in"] = _seconds(getattr(error, "in_", None))
    line = f"jobctl: {special}: {error}"
    said = line.partition(f": {special}: ")[2]
    reply["error"] = said[:MAX_ERROR] or WISHES[special]
    _write((line if said else f"jobctl: {special}") + "\n")


def _tell(error: BaseException, reply: dict[str, Any], *, fatal: bool) -> None:
    trace = _user_part(TRACE.__get__(error))
    error = BaseException.with_traceback(error, trace)
    said = "".join(traceback.format_exception_only(type(error), error)).rstrip()
    name, end, notes = said.partition("\n")
    if fatal and name == reply["exception"]:  # it says nothing else
        said = f"{name}: {WISHES['Fatal']}{end}{notes}"
    text = "".join(traceback.format_exception(type(error), error, trace))
    reply["error"] = shortened_error(_place(trace) + said, MAX_ERROR)
    reply["traceback"] = shortened(text.rstrip())
    _print(error, trace, text)


def _tell_less(error: BaseException, reply: dict[str, Any], name: str) -> None:
    """Tell of an exception that cannot be shown as a script would show it."""
    try:
        said = f"{name}: {error}"[:MAX_ERROR]
    except BaseException:  # noqa: BLE001 - as above
        said = f"{name}: <its message cannot be shown>"
    try:
        trace = _user_part(TRACE.__get__(error))
        last = _place(trace)
        where = "".join(traceback.format_tb(trace))
    except BaseException:  # noqa: BLE001 - source lines are read by loaders, which may be the job's
        last = where = ""
    reply["error"] = last + said
    text = f"Traceback (most recent call last):\n{where}{said}" if where else said
    reply["traceback"] = shortened(text)
    _write(text + "\n")


def dotted(cls: type) -> str:
    """Return ``package.module.Name``, or ``Name`` for built-in classes."""
    name: str = QUALNAME.__get__(cls)
    module = MODULE.__get__(cls)
    if type(module) is not str or module == "builtins":
        return name[:MAX_NAME]
    return f"{module}.{name}"[:MAX_NAME]


def shortened(text: str, most: int = MAX_TRACE, head: int = HEAD) -> str:
    """Return ``text`` without its middle when it is longer than ``most`` characters.

    ``head`` of them are kept from its beginning.
    """
    if len(text) <= most:
        return text
    tail = text[head - most :]
    return f"{text[:head]}\n  … {len(text) - most} characters left out …\n{tail}"


def shortened_error(text: str, most: int) -> str:
    """Return what was raised where without its middle: the class comes first, notes come last."""
    return shortened(text, most, most * 3 // 4)


def _place(trace: TracebackType | None) -> str:
    """Return where it was raised, as a traceback says it."""
    text = "".join(traceback.format_list(traceback.extract_tb(trace)[-1:]))
    return text if len(text) <= MAX_PLACE else text[:MAX_PLACE] + "…\n"


def _seconds(value: Any) -> float | None:
    """Return a number or a timedelta as seconds; anything else is not a delay."""
    if hasattr(value, "total_seconds"):
        value = value.total_seconds()
    return float(value) if isinstance(value, (int, float)) else None


def _user_part(trace: TracebackType | None) -> TracebackType | None:
    """Return ``trace`` from the first frame that belongs to the job to the last one."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OURS):
        trace = trace.tb_next
    last, frame = None, trace
    while frame is not None:
        if not frame.tb_frame.f_code.co_filename.startswith(OURS[0]):
            last = frame
        frame = frame.tb_next
    if last is not None:
        last.tb_next = None  # below it is only the handler that raised a time limit
    return trace


def _print(error: BaseException, trace: TracebackType | None, text: str) -> None:
    """Print to wherever the job wants it; to the log if that does not work."""
    try:
        if sys.excepthook is not sys.__excepthook__:
            sys.excepthook(type(error), error, trace)
        else:
            sys.stderr.write(text)
    except BaseException:  # noqa: BLE001 - both may be any object of the job
        _write(text)


def _write(text: str) -> None:
    try:
        os.write(2, text.encode(errors="replace"))
    except OSError:
        return  # the disk is full: the reply carries it too
