"""Words of a command line as the arguments of a run."""

from __future__ import annotations

from jobctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def arguments(words: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Split words into positional arguments and ``name=value`` pairs.

    A word is a pair when what comes before its first ``=`` could name a variable.
    Raises ``UsageError`` for a name that is given twice.
    """
    args: list[str] = []
    kwargs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isascii() or not name.replace("-", "_").isidentifier():
            args.append(word)
        elif name in kwargs:
            raise UsageError(f"{name}: is given twice; give it once")
        else:
            kwargs[name] = value
    return args, kwargs


def duration(flag: str, text: str) -> float:
    """Return the seconds that ``text`` says; raise ``UsageError`` naming ``flag``."""
    from jobctl.model.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from error
