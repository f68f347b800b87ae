"""``jobctl demo``: the main things once, with the real daemon, shown as they would be typed."""

from __future__ import annotations

import shlex
import signal
import subprocess

from jobctl.cli.stage import Stage
from jobctl.errors import ExitCode, JobctlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

    from jobctl.cli.console import Console
    from jobctl.cli.invocation import Invocation

JOB = ("backup", "files=5")
"""A job that takes two seconds, prints, and tells how far it is."""
FLAKY = "flaky-upload"


class FailedError(JobctlError):
    """Raised when a command of the demonstration does not end as it should."""


class Terminated(BaseException):
    """Raised by SIGTERM and SIGHUP, so that everything is tidied up on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def demo(call: Invocation, *, keep: bool) -> int:
    """Play it; the exit code is 0 only when the run that was submitted succeeded."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    try:
        with Stage(keep=keep) as stage:
            _play(call.console, stage)
    except Terminated as end:
        return 128 + end.number
    if keep:
        call.console.note(f"kept {stage.directory}; there, `jobctl daemon` goes on")
    return ExitCode.OK


def _play(console: Console, stage: Stage) -> None:
    show = _Show(console, stage)
    show.say("A daemon with the jobs of jobs.toml, and its own private store:")
    show.typed("daemon", "&")
    stage.start_daemon()
    show.say("Ask for a run of a job. Its id comes back once it is safe on disk:")
    run = show.read("submit", *JOB)
    show.say("Follow its output until it ends; here, on another host, or tomorrow:")
    show.run("logs", "-f", JOB[0])
    show.say("What it returned:")
    show.run("result", JOB[0])
    show.say("A job that fails twice and is tried again, as its retry policy says:")
    show.run("submit", FLAKY, "--follow")
    show.say("Everything on one screen:")
    show.run("status")
    show.say("Stop in order: what runs may finish, what waits is kept.")
    show.run("stop", needs_daemon=False)
    stage.wait_for_daemon()
    console.data(f"\nRun {run} succeeded. Next: `jobctl init` writes a jobs.toml of your own.")


class _Show:
    """Shows each command, then runs it."""

    def __init__(self, console: Console, stage: Stage) -> None:
        self._console = console
        self._stage = stage

    def say(self, text: str) -> None:
        self._console.data("\n" + self._console.style(f"# {text}", "dim"))

    def typed(self, *words: str) -> None:
        line = " ".join(word if word == "&" else shlex.quote(word) for word in words)
        self._console.data(self._console.style(f"$ jobctl {line}", "bold"))
        self._console.flush()

    def run(self, *words: str, needs_daemon: bool = True) -> None:
        """Run a command whose output is shown; raises ``FailedError``."""
        self.typed(*words)
        code, _ = self._stage.call(*words, needs_daemon=needs_daemon)
        self._require(words, code)

    def read(self, *words: str) -> str:
        """Run a command that prints one word; show and return it."""
        self.typed(*words)
        code, said = self._stage.call(*words, output=subprocess.PIPE)
        self._require(words, code)
        self._console.data(said.strip())
        return said.strip()

    def _require(self, words: tuple[str, ...], code: int) -> None:
        if code:
            raise FailedError(
                f"`jobctl {shlex.join(words)}` ended with {code}; the daemon said:\n"
                f"{self._stage.daemon_log}"
            )


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated(number)
