"""What a Python child answers to one run of a bundle, as its pool reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobctl.engine.python_answers import LATEST, LONGEST, answered
from jobctl.model.records import maker
from jobctl.model.run import Usage

if TYPE_CHECKING:
    from jobctl.engine.python_call import PythonReply

_usage = maker(Usage)


@dataclass(slots=True)
class Answer:
    """What a child said of one run of a bundle; most say only what it returned, and what it used."""

    words: list[Any]
    placed: bool
    """Whether its output has its lasting name."""
    started_at: float
    """Epoch seconds."""
    duration: float
    """Seconds."""
    cpu: float
    """Seconds, of user and system together."""
    log_bytes: int
    files: bool
    """Whether there is a result file or a progress file."""
    returned: bool
    """Whether the function returned, and there is nothing more to say than what: :attr:`result`."""
    result: str | None
    """JSON text."""

    @classmethod
    def of(cls, words: list[Any], *, placed: bool) -> Answer:
        """Return an answer; raises one of ``MALFORMED``."""
        _, started, duration, user, system, rss, read, wrote, log_bytes, files, result, more = words
        if not type(started) is type(duration) is float:
            raise ValueError("it has not the form of an answer")
        if not (0.0 <= started <= LATEST and 0.0 <= duration <= LONGEST):
            raise ValueError("it began or took what no record can hold")
        if result is not None and type(result) is not str:
            raise ValueError("its result is no text")
        # Whatever is wrong with it shows now, not when it is written down.
        if more is not None:
            answered(words)
        elif not (rss + read + wrote + log_bytes >= 0 <= user + system):
            raise ValueError("it used less than nothing")
        return cls(
            words, placed, started, duration, user + system, log_bytes, bool(files),
            more is None, result or None,
        )  # fmt: skip

    @property
    def used(self) -> tuple[float, float, int, int, int]:
        """The values of a :class:`Usage`, in their order."""
        return tuple(self.words[3:8])

    @property
    def usage(self) -> Usage:
        """What it used."""
        user, system, rss, read, wrote = self.used
        return _usage(
            user=user + 0.0,
            system=system + 0.0,
            max_rss=int(rss),
            read_blocks=int(read),
            write_blocks=int(wrote),
        )

    @property
    def reply(self) -> PythonReply:
        """All of it."""
        return answered(self.words)
