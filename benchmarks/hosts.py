"""Several daemons on one shared store, as on several hosts; they can be killed and frozen."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

import psutil

from benchmarks.daemon import STARTER, environment
from jobctl.errors import JobctlError
from jobctl.store import queries
from jobctl.store.address import Address
from jobctl.store.binary import find_binary
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobctl.store.queries import Decision

READY_WITHIN = 300.0
PART = 500
"""Calls in one round trip."""


class Hosts:
    """A server that syncs once a second, and daemons on it; a context manager that leaves nothing."""

    def __init__(self, directory: Path, jobs: str, *, count: int = 3, slots: int = 2) -> None:
        """``jobs`` is TOML that follows ``[jobctl]`` and ``[pools.default]``."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.keys = Keys("default")
        self.socket = directory / "s"
        self.address = Address(path=str(self.socket))
        self.store = BlockingStore(self.address, timeout=30.0)
        self.names = [f"h{number}" for number in range(count)]
        self._jobs = jobs
        self._slots = slots
        self._server: subprocess.Popen[bytes] | None = None
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._trees: list[psutil.Process] = []

    def __enter__(self) -> Self:
        with (self.directory / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [find_binary(None), "--port", "0", "--unixsocket", str(self.socket), "--save", "",
                 "--appendonly", "yes", "--appendfsync", "everysec"],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait(self._answers, "the server answers")
        for name in self.names:
            self.start(name)
        self._wait(lambda: all(map(self._ready, self.names)), "all daemons are ready")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            self._note_tree(name)
        for daemon in self._daemons.values():
            with contextlib.suppress(ProcessLookupError):
                daemon.send_signal(signal.SIGCONT)
                daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(20)
        for one in self._trees:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        for daemon in self._daemons.values():
            daemon.wait()
        self.store.close()
        assert self._server is not None
        self._server.kill()
        self._server.wait()
        shutil.rmtree(self.directory)

    def start(self, name: str) -> None:
        """Start a host's daemon."""
        home = self.directory / name
        home.mkdir(exist_ok=True)
        config = home / "jobs.toml"
        config.write_text(
            f"[jobctl]\nname = {json.dumps(name)}\nstate_dir = {json.dumps(str(home / 'state'))}\n"
            f'redis = "unix://{self.socket}"\n\n[security]\nsign = "none"\n\n'
            f"[pools.default]\nslots = {self._slots}\n\n{self._jobs}"
        )
        with (home / "daemon.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [sys.executable, "-c", STARTER, str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment(), start_new_session=True,
            )  # fmt: skip

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a host's supervisor alone."""
        self._note_tree(name)
        self._daemons[name].send_signal(number)

    def supervisor(self, name: str) -> psutil.Process:
        """Return a host's supervisor."""
        return psutil.Process(self._daemons[name].pid)

    def ticks(self) -> int:
        """Count the instants decided so far."""
        return int(self.store.run(queries.counters(self.keys)).get("ticks", "0"))

    def counters(self) -> dict[str, str]:
        """Return the counters of the namespace."""
        return self.store.run(queries.counters(self.keys))

    def wait_introduced(self, names: list[str]) -> None:
        """Wait until every supervisor has had the time to introduce these schedules."""
        last = [Call(("EXISTS", self.keys.schedule(name)), int) for name in names]  # type: ignore[arg-type]
        self._wait(lambda: all(self._many(last)), "all schedules are introduced")
        self._wait(lambda: all(self._still(name) for name in self.names), "supervisors are idle")

    def histories(self, names: list[str], *, newest: int) -> list[list[Decision]]:
        """Return the newest decisions of each schedule."""
        return self._many(
            [queries.schedule_history(self.keys, one, newest=newest) for one in names]
        )

    def runs(self, ids: list[str]) -> list[object]:
        """Return the records of runs, None where there is none."""
        return self._many([queries.run(self.keys, one) for one in ids])

    def complaints(self) -> list[str]:
        """Return what daemons complained of."""
        lines = []
        for name in self.names:
            text = (self.directory / name / "daemon.log").read_text()
            lines += [
                f"{name}: {line}"
                for line in text.splitlines()
                if "ERROR" in line or "CRITICAL" in line or "Traceback" in line
            ]
        return lines

    def _many(self, calls: list[Call]) -> list:  # type: ignore[type-arg]
        found: list[object] = []
        for start in range(0, len(calls), PART):
            found += self.store.run_many(calls[start : start + PART])
        return found

    def _still(self, name: str) -> bool:
        """Tell whether a supervisor used next to nothing during a fifth of a second."""
        process = self.supervisor(name)
        before = sum(process.cpu_times()[:2])
        time.sleep(0.2)
        return sum(process.cpu_times()[:2]) - before < 0.02

    def _answers(self) -> bool:
        with contextlib.suppress(JobctlError):
            return bool(self.store.run(Call(("PING",), lambda reply: reply)))
        return False

    def _ready(self, name: str) -> bool:
        log = self.directory / name / "daemon.log"
        if self._daemons[name].poll() is not None:
            raise SystemExit(f"the daemon of {name} did not start:\n{log.read_text()}")
        return b"is ready" in log.read_bytes()

    def _note_tree(self, name: str) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = self.supervisor(name)
            known = {one.pid for one in self._trees}
            tree = [process, *process.children(recursive=True)]
            self._trees += [one for one in tree if one.pid not in known]

    @staticmethod
    def _wait(condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"not within {READY_WITHIN:g} s: {what}")
            time.sleep(0.05)
