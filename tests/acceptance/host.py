"""A host for acceptance tests: a scratch directory, a real daemon, and the command line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from jobctl.errors import NotAcceptedError, UnreachableError
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.keys import Keys
from jobctl.store.verify import confirmed
from tests.acceptance.within import PLAIN, Within

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 30.0
"""Seconds; also on a machine where others leave a test little time."""
OF_SERVICES = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC"})
PACKAGE = str(Path(__file__).parents[2])


def wait_until(condition: Callable[[], Any], *, deadline: float = DEADLINE, what: str = "") -> Any:
    """Return the first true value of ``condition``; fail after ``deadline`` seconds."""
    limit = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"not within {deadline:g} s: {what or condition}")
        time.sleep(0.02)


@dataclass
class Host:
    """One host: its directory, its jobs.toml and its daemon."""

    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="jch")))
    redis: str | None = None
    name: str = "host-a"
    extra: dict[str, str] = field(default_factory=dict)
    """More of the environment of the daemon and of commands."""
    daemons: list[subprocess.Popen[str]] = field(default_factory=list)
    within: Within = field(init=False)
    validated: bool = True
    """Whether a command has validated jobs.toml before the daemon, or another command, starts."""
    tampered: bool = False
    """The story changed the store by hand, so what that holds in the end proves nothing."""

    def __post_init__(self) -> None:
        self.within = Within(self.config)

    @property
    def usual(self) -> bool:
        """Whether nothing in the environment makes a command other than the same within a story."""
        return self.extra.keys() <= OF_SERVICES

    @property
    def config(self) -> Path:
        return self.directory / "jobs.toml"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def log(self) -> str:
        """What the daemon said."""
        path = self.directory / "daemon.log"
        return path.read_text() if path.exists() else ""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.directory),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": PACKAGE,
            "JOBCTL_CONFIG": str(self.config),
        }

    def write(self, text: str, *, settings: str = "") -> None:
        """Write jobs.toml with a ``[jobctl]`` table of this host's own."""
        redis = f'redis = "{self.redis}"\n' if self.redis else ""
        head = f'[jobctl]\nname = "{self.name}"\nstate_dir = "{self.state}"\n{redis}{settings}\n'
        self.config.write_text(head + text)

    def start(self, *options: str, ready: bool = True) -> subprocess.Popen[str]:
        """Start the daemon; with ``ready`` wait until it says so."""
        before = self.log.count(" is ready ")
        self._keep()
        with (self.directory / "daemon.log").open("a") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "jobctl", "daemon", *options],
                env={**self.environment, **self.extra},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.daemons.append(daemon)
        if ready:
            wait_until(
                lambda: self.log.count(" is ready ") > before or daemon.poll() is not None,
                what="daemon ready",
            )
            assert daemon.poll() is None, self.log
        return daemon

    def stop(self, daemon: subprocess.Popen[str] | None = None) -> int:
        """Stop the (last) daemon in order; return its exit code."""
        daemon = daemon or self.daemons[-1]
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
        return daemon.wait(DEADLINE)

    def run(self, *words: str, code: int | None = 0, **options: Any) -> str:
        """Run ``jobctl`` and return its standard output; ``code=None`` accepts any exit code."""
        done = self.call(*words, **options)
        if code is not None:
            assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        self._keep()
        return subprocess.run(
            [sys.executable, "-m", "jobctl", *words],
            env={**self.environment, **self.extra},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )

    def _keep(self) -> None:
        if self.validated and self.config.exists():
            self.within.keep({**self.environment, **self.extra})

    def submit(self, *words: str) -> str:
        """Submit and return the run id."""
        if self.usual and not any(word.startswith("-") for word in words):
            return self.within.submit(*words)
        return self.run("submit", *words).strip()

    def inspect(self, run: str) -> dict[str, Any]:
        """Return the run's record."""
        if self.usual:
            return self.within.inspect(run)
        return dict(json.loads(self.run("inspect", run, "--json"))["run"])

    def runs(self, *filters: str) -> list[dict[str, Any]]:
        if self.usual and PLAIN.issuperset(filters[::2]):
            return self.within.runs(filters)
        return list(json.loads(self.run("list", "--json", "-n", "1000", *filters))["runs"])

    def wait_state(self, run: str, *states: str, deadline: float = DEADLINE) -> dict[str, Any]:
        """Return the record of ``run`` once it is in one of ``states`` (default: a final one)."""
        wanted = states or ("succeeded", "failed", "revoked", "expired", "skipped")
        found: dict[str, Any] = {}

        def there() -> bool:
            found.clear()
            found.update(self.inspect(run))
            return found["state"] in wanted

        wait_until(there, deadline=deadline, what=f"{run} in {wanted}, not {found}")
        return found

    def wait_pid(self, run: str) -> int:
        """Return the process of ``run`` once it is known: a claimed run counts as running, too."""
        found: dict[str, Any] = {}

        def there() -> bool:
            found.update(self.inspect(run))
            return found["state"] == "running" and found["pid"] is not None

        wait_until(there, what=f"{run} runs, not {found}")
        return int(found["pid"])

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file that jobs write to."""
        path = self.directory / name
        return path.read_text().splitlines() if path.exists() else []

    def processes(self) -> list[psutil.Process]:
        """Return every process that has to do with this host's directory."""
        mark = os.fsencode(self.directory)
        found = []
        for entry in Path("/proc").iterdir():
            # Every process of the machine is looked at: that has to be cheap.
            if not entry.name.isdecimal():
                continue
            with contextlib.suppress(OSError, psutil.Error):
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if mark in words + os.fsencode((entry / "cwd").readlink()):
                    process = psutil.Process(int(entry.name))
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
        return found

    def named(self, *words: str) -> list[psutil.Process]:
        """Return its processes whose name has one of these words in it; not those that are just gone."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(word in process.name() for word in words):
                    found.append(process)
        return found

    def server(self) -> psutil.Process:
        """Return the process of the embedded store."""
        return self.named("valkey-server", "redis")[0]

    def check(self) -> None:
        """Fail on what the embedded store contradicts, if a daemon is still there to serve it."""
        up = any(daemon.poll() is None for daemon in self.daemons)
        if not up or self.tampered or self.redis is not None:
            return
        with contextlib.suppress(UnreachableError, NotAcceptedError):
            with BlockingStore(Address.of_embedded(self.state)) as store:
                found = confirmed(store, Keys("default"))
            assert not found, "\n".join(found)

    def close(self) -> None:
        """End everything and remove the directory."""
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        for process in self.processes():
            if process.pid != os.getpid():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
