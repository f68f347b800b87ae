"""Whether the command of a job can see arguments in order: what it ignores, it ignores silently.

This module is on the way of every submit, so it does without regular expressions.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.model.job import JobDef

SHELLS = ("sh", "ash", "bash", "dash", "ksh", "mksh", "zsh")
"""Programs whose ``-c`` takes arguments as ``$1``; of others nothing is known."""
_NAMES = tuple(f"${brace}{name}" for brace in ("", "{", "{#", "{!") for name in "@*#123456789")
_READERS = frozenset((".", "eval", "getopts", "set", "shift", "source"))
"""Shell commands that use arguments without naming them, or whose text is not to be seen here."""
_BETWEEN = str.maketrans(dict.fromkeys(";&|(){}\n", " "))


def ignored(job: JobDef) -> str:
    """Return the sentence that says that a job ignores arguments in order, or nothing when it does not.

    A list is executed with the arguments behind it. A text gets them as ``"$@"``, and with declared
    parameters by name as well. In doubt they count as used.
    """
    command = job.command
    if not isinstance(command, str) or job.params or job.shell.rpartition("/")[2] not in SHELLS:
        return ""
    if any(name in command for name in _NAMES):
        return ""
    words = command.translate(_BETWEEN).split()
    if _READERS.intersection(words) or _loops_over_arguments(words):
        return ""
    return (
        f"job {job.name}: its command uses no arguments in order, so they are ignored; write "
        '"$@" or $1 into it, or pass them by name and write $JOBCTL_ARG_NAME'
    )


def _loops_over_arguments(words: list[str]) -> bool:
    """Tell whether there is a ``for NAME`` without ``in``."""
    return any(word == "for" and words[at + 2 : at + 3] != ["in"] for at, word in enumerate(words))
