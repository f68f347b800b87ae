"""One participant at work: its private store, its workers, its submitter, and what they did."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from benchmarks.daemon import environment
from benchmarks.peers.participants import HALVES, Place
from benchmarks.peers.processes import cpu, tree
from jobctl.store import keyring
from jobctl.store.binary import find_binary
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.embedded import EmbeddedStore

if TYPE_CHECKING:
    from benchmarks.peers.participants import Participant

APPS = Path(__file__).with_name("apps")
ENTRY = struct.Struct("=qq")
"""As ``apps/counting.py`` writes them: number, nanoseconds of CLOCK_MONOTONIC."""
LOOK = 0.005
"""Seconds between two looks at how many were entered; one look is a `stat`."""
STOP_WITHIN = 5.0
"""Seconds for workers to end by themselves; some wait for connections that never end."""
LINGER = 5.0
"""Seconds for what the workers started to follow them."""
SUBMIT_WITHIN = 600.0
SLOWEST = 40
"""Functions a second below which a participant is given up."""
PATIENCE = 60.0
"""Seconds on top of that, for start-up."""


class PeerError(Exception):
    """Raised when a participant did not do what was asked: its figure would not be true."""


class Stand:
    """A context manager; leaves no process and no file behind."""

    def __init__(
        self,
        participant: Participant,
        directory: Path,
        programs: Path,
        *,
        slots: int,
        fsync: str,
    ) -> None:
        """``fsync`` is the store's ``appendfsync``: always, everysec or no."""
        self.participant = participant
        self.directory = directory
        self.slots = slots
        self._fsync = fsync
        self._state = directory / "state"
        self._place = Place(directory / "code", directory / "jobs.toml", programs)
        # In memory where that can be: what is counted should not wait for a disk.
        shm = Path("/dev/shm")
        self._counts = Path(tempfile.mkdtemp(prefix="jcb-", dir=shm if shm.is_dir() else None))
        self._entries = self._counts / "entries"
        self._server = EmbeddedStore(self._state / "store", find_binary(None))
        self._store: BlockingStore | None = None
        self._workers: subprocess.Popen[bytes] | None = None
        self._env: dict[str, str] = {}
        self.submitted = 0
        """Functions asked for so far."""

    # Life

    def __enter__(self) -> Self:
        shutil.copytree(APPS, self._place.code)
        self._state.mkdir()
        self._entries.touch()
        asyncio.run(self._server.start())
        self._store = BlockingStore(self._server.address, timeout=30.0)
        self._run("CONFIG", "SET", "appendfsync", self._fsync)
        concurrency = self.slots // HALVES if self.participant.divided else self.slots
        known, path = dict(os.environ), [str(self._place.code)]
        if self.participant.ours:
            known = environment()
            path.append(known["PYTHONPATH"])
        # Bytecode is cached, as in any installation.
        known.pop("PYTHONDONTWRITEBYTECODE", None)
        self._env = {
            **known,
            "PYTHONPATH": os.pathsep.join(path),
            "PEER_SOCKET": self._server.address.path,
            "PEER_ENTRIES": str(self._entries),
            "PEER_CONFIG": str(self._place.config),
            "PEER_CONCURRENCY": str(max(1, concurrency)),
        }
        if self.participant.ours:
            self._configure()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._store is not None:
            self._store.close()
        asyncio.run(self._server.stop())
        shutil.rmtree(self._counts)
        shutil.rmtree(self.directory)

    def _configure(self) -> None:
        """Write what somebody who tries jobctl would write, and nothing more."""
        self._place.config.write_text(
            f"[jobctl]\nstate_dir = {json.dumps(str(self._state))}\n\n"
            f'[pools.default]\nslots = {self.slots}\npython = "process"\n\n'
            f'[jobs.noop]\npython = "jobctl_job:noop"\ncwd = {json.dumps(str(self._place.code))}\n'
            f"env = {{ PEER_ENTRIES = {json.dumps(str(self._entries))} }}\n"
        )
        # The daemon would make it at its first start, and runs are queued before that.
        keyring.ensure(keyring.own_path(str(self._state)), day="20260101")

    def start(self) -> None:
        """Start the workers unless they are there; they go at once at what is queued."""
        if self._workers is not None:
            return
        with (self.directory / "workers.log").open("ab") as log:
            self._workers = subprocess.Popen(
                self.participant.worker(self._place, self.slots),
                cwd=self._place.code, env=self._env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        """End the workers in order, and by force what does not."""
        if self._workers is None:
            return
        left = self.workers()
        self._workers.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._workers.wait(STOP_WITHIN)
        _, alive = psutil.wait_procs(left, timeout=LINGER)
        for one in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(alive, timeout=LINGER)
        self._workers.wait()
        self._workers = None

    # Submitting

    def submit_many(self, count: int) -> dict[str, float]:
        """Submit in bulk; return the seconds it took, and of CPU, without start-up."""
        found: dict[str, float] = json.loads(self._drive("many", str(count)))
        self.submitted += count
        return found

    def submit_paced(self, count: int, apart: float) -> list[int]:
        """Submit one every ``apart`` seconds; return the moment before each in nanoseconds."""
        found: list[int] = json.loads(self._drive("paced", str(count), str(apart)))
        self.submitted += count
        return found

    def submit_once(self) -> float:
        """Return the seconds a whole process takes that imports and submits one."""
        started = time.perf_counter()
        self._drive("once")
        self.submitted += 1
        return time.perf_counter() - started

    def _drive(self, *words: str) -> str:
        done = subprocess.run(
            [self._place.bin / "python", self._place.code / "driver.py", self.participant.app, *words],
            cwd=self._place.code, env=self._env, capture_output=True, text=True,
            timeout=SUBMIT_WITHIN, check=False,
        )  # fmt: skip
        if done.returncode:
            raise PeerError(f"{self.participant.name} did not submit:\n{done.stderr[-2000:]}")
        return done.stdout

    # What happened

    def entered(self) -> int:
        """Count the functions entered so far."""
        return self._entries.stat().st_size // ENTRY.size

    def wait_entered(self) -> None:
        """Wait until all that was submitted was entered; raises PeerError."""
        within = PATIENCE + self.submitted / SLOWEST
        deadline = time.monotonic() + within
        while self.entered() < self.submitted:
            if time.monotonic() > deadline:
                raise self._trouble(
                    f"after {within:.0f} s {self.entered()} of {self.submitted} were entered"
                )
            if self._workers is not None and self._workers.poll() is not None:
                raise self._trouble("the workers ended")
            time.sleep(LOOK)

    def entries(self) -> list[tuple[int, int]]:
        """Return number and moment (ns) of every entry so far, in order."""
        return list(ENTRY.iter_unpack(self._entries.read_bytes()))

    def check_count(self) -> None:
        """Raise PeerError unless exactly as many were entered as were submitted."""
        if self.entered() != self.submitted:
            raise self._trouble(f"{self.entered()} entered for {self.submitted} submitted")

    def _trouble(self, what: str) -> PeerError:
        log = self.directory / "workers.log"
        said = log.read_text(errors="replace")[-1500:] if log.exists() else ""
        return PeerError(f"{self.participant.name}: {what}\n{said}")

    # Costs

    def workers(self) -> list[psutil.Process]:
        """Return the tree of the workers, without the store."""
        if self._workers is None:
            return []
        return [one for one in tree(self._workers.pid) if one.pid != self._server.pid]

    def used(self) -> float:
        """Return the CPU seconds of workers and store so far."""
        return cpu([*self.workers(), psutil.Process(self._server.pid)])

    def data_bytes(self) -> int:
        """Return what the store needs for its data, without buffers and overhead."""
        return int(self._info("memory")["used_memory_dataset"])

    def commands(self) -> int:
        """Count the commands that the store carried out, those inside scripts included."""
        stats = self._info("commandstats")
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in stats.values())

    def _info(self, section: str) -> dict[str, str]:
        lines = self._run("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _run(self, *words: str) -> Any:  # noqa: ANN401 - a reply
        assert self._store is not None
        return self._store.run(Call(words, lambda reply: reply))
