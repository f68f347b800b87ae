"""A real daemon with a store of its own, for one test or for many."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from jobctl.api.client import Client
from jobctl.client.listing import Filter, list_runs
from jobctl.client.open import Session
from jobctl.client.results import UnreadableError
from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.own_daemon import ReadySocket, command, own_environment
from jobctl.errors import JobctlError, JobFailed, NoSuchRun, UnreachableError
from jobctl.model.run import FINAL_STATES, RunState
from jobctl.testing import guardian
from jobctl.testing.private_config import private_text
from jobctl.testing.waiting import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

READY_DEADLINE = 60.0
"""Seconds until the daemon must have said that it is ready; it takes less than one."""
STOP_DEADLINE = guardian.STOP_DEADLINE + guardian.REST_DEADLINE + 5
"""Seconds; the guardian kills whatever does not end sooner."""
TAIL_LINES = 30
SLOTS = 2
MANY = 100_000
UNFINISHED = frozenset(RunState) - FINAL_STATES


class PrivateDaemon:
    """A supervisor with an embedded store, both in a temporary directory that goes with them.

    ::

        with PrivateDaemon(Path("jobs.toml")) as daemon:
            run = daemon.client.submit("thumbnail", path="cat.jpg")
            assert run.wait("10s") == {"width": 320}

    Nothing of it is left afterwards, also when the test process is killed.
    """

    def __init__(
        self,
        jobs: str | os.PathLike[str],
        *,
        slots: int = SLOTS,
        scheduler: bool = False,
        root: str | os.PathLike[str] | None = None,
        settings: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """``jobs`` is the path of the application's jobs.toml, or the text of one as a ``str``.

        Of a file, jobs, pools, queues, limits and defaults are taken; its store, keys, mails and
        pings are not, and jobs run as the user of the test. In a text, ``root`` (default: the
        working directory) is where relative paths begin, and where jobs run that name no ``cwd``.
        ``slots`` are those of pools that do not say. Schedules start nothing unless
        ``scheduler`` is set. ``settings`` are more keys of ``[jobctl]``; ``env`` are variables of
        the daemon, which jobs do not see, any more than in production.

        Nothing is started yet. Raises ``ConfigError`` for a file that cannot be read.
        """
        root = os.path.abspath("." if root is None else root)  # noqa: PTH100 (texts)
        self.directory = Path(tempfile.mkdtemp(prefix="jobctl-test-"))
        """Where everything of it is: ``jobs.toml``, ``daemon.log`` and ``state``."""
        self._scheduler = scheduler
        self._guardians: list[subprocess.Popen[bytes]] = []
        """The last is that of the supervisor; others look after what killed ones left."""
        self._client: Client | None = None
        self._said = ""
        self.pid = 0
        """The supervisor's process id; 0 while there is none."""
        own = {
            "name": "test",
            "state_dir": str(self.directory / "state"),
            "drain_timeout": 0,
            **(settings or {}),
        }
        self.environment = {**own_environment(str(self.directory)), **(env or {})}
        """Of the daemon and of :meth:`run`."""
        self.environment["JOBCTL_CONFIG"] = str(self.config)
        try:
            text = private_text(jobs, root=root, settings=own, slots=slots, config=str(self.config))
            self.config.write_text(text)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    @property
    def config(self) -> Path:
        """The private jobs.toml; ``Client(daemon.config)`` uses this daemon."""
        return self.directory / "jobs.toml"

    @property
    def log(self) -> str:
        """What the daemon said so far, or had said when it was closed."""
        with contextlib.suppress(OSError):
            self._said = (self.directory / "daemon.log").read_text(errors="replace")
        return self._said

    @property
    def client(self) -> Client:
        """A client of this daemon, made when first asked for; it is closed with the daemon."""
        if self._client is None:
            self._client = Client(self.config, store_wait=DEADLINE)
        return self._client

    def start(self) -> Self:
        """Start it and return when it is ready; raises ``UnreachableError`` with its last words.

        After :meth:`kill` it takes over what the killed one left, as after a crash.
        """
        if self._guardians and not self._ended():
            raise JobctlError("this daemon was started already; stop() it first")
        if not self.directory.is_dir():
            raise JobctlError("this daemon was closed; make another PrivateDaemon")
        words = () if self._scheduler else ("--no-scheduler",)
        with ReadySocket() as ears, (self.directory / "daemon.log").open("ab") as log:
            started = subprocess.Popen(  # noqa: S603 - our own program
                [
                    *(sys.executable, "-I", "-S", guardian.__file__, str(self.directory), "--"),
                    *command("daemon", *words),
                ],
                cwd=self.directory,
                env=self.environment | ears.variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C is for the test, whose end ends the guardian.
                start_new_session=True,
            )
            self._guardians.append(started)
            self.pid = self._read_pid(started)
            deadline = SYSTEM_CLOCK.monotonic() + READY_DEADLINE
            while not ears.heard():
                if self._ended() or SYSTEM_CLOCK.monotonic() > deadline:
                    said = self._tail()
                    self.close()
                    raise UnreachableError(f"the private daemon did not start; it said:\n{said}")
        return self

    def stop(self) -> int:
        """Stop it and what it runs, in order, and return its exit code.

        What it holds is there again after another :meth:`start`.
        """
        return self._end(keep=True)

    def kill(self) -> None:
        """Kill the supervisor as a crash would; what it ran goes on, as after a real one."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            wait_until(self._ended, what="the supervisor is gone")
            self.pid = 0

    def close(self) -> None:
        """Stop it and remove its directory; the second time nothing happens."""
        self.log  # noqa: B018 - keeps what it said
        if self._client is not None:
            self._client.close()
        self._end(keep=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def clear(self, *, deadline: float = DEADLINE) -> None:
        """Revoke every run that has not ended, and wait until they have: so tests can share it.

        What runs is stopped as its job says. Raises ``WaitTimeout`` after ``deadline`` seconds.
        """
        with Session.open(str(self.config)) as session:
            found = list_runs(session, Filter(states=UNFINISHED), most=MANY)
        ids = [run.id for run in found]
        # A run may have ended meanwhile, and its record be gone by ``keep_runs``.
        with contextlib.suppress(NoSuchRun):
            self.client.revoke(ids)
        limit = SYSTEM_CLOCK.monotonic() + deadline
        for run_id in ids:
            # How it ended, and whether its result can be read here, is not asked.
            with contextlib.suppress(JobFailed, NoSuchRun, UnreadableError):
                self.client.run(run_id).wait(max(0.0, limit - SYSTEM_CLOCK.monotonic()))

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a ``jobctl`` command with this daemon's configuration; its output is text.

        With ``check`` raises ``AssertionError`` for an exit code that is not 0.
        """
        done = subprocess.run(  # noqa: S603 - our own program
            command(*words),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            check=False,
        )
        if check and done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise AssertionError(f"jobctl {' '.join(words)} exited with {done.returncode}: {said}")
        return done

    def inspect(self, run: str) -> dict[str, Any]:
        """Return everything about a run, as ``jobctl inspect --json`` prints it."""
        found: dict[str, Any] = json.loads(self.run("inspect", run, "--json").stdout)["run"]
        return found

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PrivateDaemon({str(self.directory)!r}, pid={self.pid})"

    @staticmethod
    def _read_pid(process: subprocess.Popen[bytes]) -> int:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        line = process.stdout.readline()
        return int(line) if line else 0

    def _ended(self) -> bool:
        """Tell whether the supervisor is gone; its guardian has not reaped it."""
        try:
            return self.pid == 0 or psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def _end(self, *, keep: bool) -> int:
        self.pid = 0
        codes = []
        while self._guardians:
            codes.append(self._end_of(self._guardians.pop(), keep=keep))
        return codes[0] if codes else 0

    def _end_of(self, process: subprocess.Popen[bytes], *, keep: bool) -> int:
        try:
            process.communicate(b"k" if keep else b"", timeout=STOP_DEADLINE)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise JobctlError(
                f"the private daemon did not stop; it said:\n{self._tail()}"
            ) from error
        return process.returncode

    def _tail(self) -> str:
        return "\n".join(self.log.splitlines()[-TAIL_LINES:])
