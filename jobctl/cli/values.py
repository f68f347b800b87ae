"""Values of options: from words to types, with errors that name the option."""

from __future__ import annotations

from jobctl.cli import words
from jobctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.model.run import RunState

_SHOWN = 40
MOST_NUMBER = 100_000


def duration(option: str, word: str | None) -> float | None:
    """Return seconds."""
    return None if word is None else words.duration(option, word)


def integer(option: str, word: str | None, *, least: int = 0) -> int | None:
    """Return a whole number of at least ``least``."""
    if word is None:
        return None
    digits = word.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 9 or int(word) < least:  # noqa: PLR2004 (nobody needs a billion)
        raise UsageError(f"{option}: {word[:_SHOWN]!r} is not a whole number of {least} or more")
    return int(word)


def number(word: str | None, *, default: int) -> int:
    """Return how many are wanted: ``-n``."""
    found = integer("-n", word, least=1)
    if found is None:
        return default
    if found > MOST_NUMBER:
        raise UsageError(f"-n: {found} is more than {MOST_NUMBER}")
    return found


def pairs(option: str, given: Iterable[str]) -> dict[str, str]:
    """Return ``k=v`` words as a mapping; the last one of a name counts."""
    found: dict[str, str] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{option}: write NAME=VALUE, not {word[:_SHOWN]!r}")
        found[text(option, name)] = text(option, value)
    return found


def text(what: str, word: str) -> str:
    """Return a word that is text; the shell can pass bytes that are none."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{what}: {word[:_SHOWN]!r} is not UTF-8; put other data in a file and pass its name"
        ) from None
    return word


def states(word: str | None) -> frozenset[RunState]:
    """Return the states in a comma list; ``final`` and ``unfinished`` stand for all of theirs."""
    if word is None:
        return frozenset()
    from jobctl.model.run import FINAL_STATES, RunState

    groups = {"final": FINAL_STATES, "unfinished": frozenset(RunState) - FINAL_STATES}
    found: set[RunState] = set()
    for name in word.split(","):
        wanted = name.strip().lower()
        if wanted in groups:
            found |= groups[wanted]
        elif wanted in set(RunState):
            found.add(RunState(wanted))
        else:
            raise UsageError(
                f"--state: {name[:_SHOWN]!r} is no state; use {', '.join(RunState)}, "
                "final or unfinished"
            )
    return frozenset(found)


def counted(number: int, word: str) -> str:
    """Return ``1 job``, ``2 jobs``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
