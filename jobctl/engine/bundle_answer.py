"""What a Python child answers to one run of a bundle, as its pool reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobctl.engine.python_host import answered
from jobctl.model.records import maker
from jobctl.model.run import Usage

if TYPE_CHECKING:
    from jobctl.engine.python_call import PythonReply

_usage = maker(Usage)


@dataclass(slots=True)
class Answer:
    """What a child said of one run of a bundle; most say only that it returned, and what it used."""

    words: list[Any]
    placed: bool
    """Whether its output has its lasting name."""
    started_at: float
    """Epoch seconds."""
    duration: float
    """Seconds."""
    usage: Usage
    log_bytes: int
    files: bool
    """Whether there is a result file or a progress file."""
    plain: bool
    """Whether the function returned ``None``, and there is nothing more to say."""

    @classmethod
    def of(cls, words: list[Any], *, placed: bool) -> Answer:
        """Return an answer; raises one of ``MALFORMED``."""
        _, started, duration, user, system, rss, read, wrote, log_bytes, files, result, more = words
        if not type(started) is type(duration) is float:
            raise ValueError("it has not the form of an answer")
        if more is not None:
            answered(words)  # whatever is wrong with it shows now
        usage = _usage(
            user=user + 0.0,
            system=system + 0.0,
            max_rss=int(rss),
            read_blocks=int(read),
            write_blocks=int(wrote),
        )
        plain = result is None and more is None
        return cls(words, placed, started, duration, usage, int(log_bytes), bool(files), plain)

    @property
    def reply(self) -> PythonReply:
        """All of it."""
        return answered(self.words)
