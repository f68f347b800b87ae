"""The place where ``jobctl demo`` plays: a scratch directory and a real daemon in it.

Whatever happens to the demonstration, nothing of it is left: orphans of its daemon come to this
process, which ends them.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil

import jobctl
from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.own_daemon import ReadySocket, command, own_environment
from jobctl.engine.processes import become_subreaper
from jobctl.errors import ConfigError, JobctlError, NotPermittedError, UnreachableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

FILES = ("jobs.toml", "examples/reports.py")
"""What the demonstration uses, packaged below ``jobctl/demo`` and at the top of a clone."""
SETTINGS = """
[jobctl]                            # Added by `jobctl demo`.
state_dir = "state"
name = "demo"
"""
READY_DEADLINE = 60.0
"""Seconds until the daemon must have said that it is ready; it takes less than one."""
STOP_DEADLINE = 10.0
"""Seconds that processes get to end in order, before they are killed."""
LOOK_EVERY = 0.1
TAIL_LINES = 15

_PR_SET_PDEATHSIG = 1


class Stage:
    """A scratch directory with a jobs.toml, in which ``jobctl`` commands are run."""

    def __init__(self, *, keep: bool) -> None:
        """Copy the files; ``keep`` leaves the directory when all is over.

        Raises ``ConfigError`` when they are not there, ``NotPermittedError`` without a place.
        """
        source = find_files()
        self._keep = keep
        try:
            self.directory = Path(tempfile.mkdtemp(prefix="jobctl-demo-"))
            for name in FILES:
                target = self.directory / name
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source / name, target)
            with (self.directory / "jobs.toml").open("a") as file:
                file.write(SETTINGS)
        except OSError as error:
            raise NotPermittedError(
                f"no scratch directory can be made: {error.strerror}; "
                "free some space, or set TMPDIR to a directory you can write to"
            ) from error
        self.environment = own_environment(str(self.directory))
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            become_subreaper()
        return self

    def __exit__(self, *_: object) -> None:
        # A second Ctrl-C must not keep us from tidying up.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        end_children()
        if not self._keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def start_daemon(self) -> None:
        """Start ``jobctl daemon`` and return when it is ready; raises ``UnreachableError``."""
        with ReadySocket() as ears:
            with (self.directory / "daemon.log").open("wb") as log:
                self._daemon = subprocess.Popen(  # noqa: S603 - our own program
                    command("daemon"),
                    cwd=self.directory,
                    env=self.environment | ears.variables,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C is for us: we stop it.
                    start_new_session=True,
                    preexec_fn=_end_with_parent,  # noqa: PLW1509 - there are no threads
                )
            deadline = SYSTEM_CLOCK.monotonic() + READY_DEADLINE
            while not ears.heard():
                if self._daemon.poll() is not None or SYSTEM_CLOCK.monotonic() > deadline:
                    raise UnreachableError(f"the daemon did not start; it said:\n{self.daemon_log}")

    def call(
        self, *words: str, output: int | None = None, needs_daemon: bool = True
    ) -> tuple[int, str]:
        """Run a command; return its exit code, and its standard output if ``output`` is PIPE.

        Raises ``UnreachableError`` when the daemon ends meanwhile, unless ``needs_daemon`` is
        False: some commands would wait for another one.
        """
        with subprocess.Popen(  # noqa: S603 - our own program
            command(*words),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            text=True,
        ) as process:
            while True:
                try:
                    said, _ = process.communicate(timeout=LOOK_EVERY)
                except subprocess.TimeoutExpired:
                    if (
                        needs_daemon
                        and self._daemon is not None
                        and self._daemon.poll() is not None
                    ):
                        process.kill()
                        raise UnreachableError(
                            f"the daemon ended ({self._daemon.returncode}); it said:\n{self.daemon_log}"
                        ) from None
                except BaseException:
                    process.kill()
                    raise
                else:
                    return process.returncode, said or ""

    def wait_for_daemon(self) -> int:
        """Return how the daemon ended; raises ``JobctlError`` when it does not."""
        if self._daemon is None:
            return 0
        try:
            return self._daemon.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired as error:
            raise JobctlError(f"the daemon did not stop; it said:\n{self.daemon_log}") from error

    @property
    def daemon_log(self) -> str:
        """The last lines of what the daemon said."""
        try:
            text = (self.directory / "daemon.log").read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-TAIL_LINES:])


def find_files() -> Path:
    """Return the directory with :data:`FILES`: in the package, or the clone around it."""
    package = Path(jobctl.__file__).parent
    for place in (package / "demo", package.parent):
        if all((place / name).is_file() for name in FILES):
            return place
    raise ConfigError(f"the files of the demonstration are not in {package}; install jobctl again")


def end_children() -> None:
    """End all processes below this one: in order, then by force."""
    deadline = SYSTEM_CLOCK.monotonic() + STOP_DEADLINE
    while children := _living():
        late = SYSTEM_CLOCK.monotonic() > deadline
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill() if late else child.terminate()
        # The store goes last, and orphans may turn up: look again.
        psutil.wait_procs(children, timeout=LOOK_EVERY * (1 if late else 10))


def _living() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


def _end_with_parent() -> None:
    """Have the kernel stop the daemon when this process is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
