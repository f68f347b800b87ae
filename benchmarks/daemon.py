"""A real daemon on its own embedded store, and what can be seen of it from outside."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

import jobctl
from jobctl.model.admission import NewRun, admission_for
from jobctl.model.config import Security, Settings
from jobctl.model.ids import new_id
from jobctl.model.job import JobDef
from jobctl.model.run import Request
from jobctl.store import queries, transitions
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.keyring import Signing, own_path
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Sequence

READY_WITHIN = 60.0
BATCH = 500
"""Runs in one submit call."""
SERVERS = ("valkey-server", "redis-server")
STARTER = (
    "import sys; from jobctl.engine.daemon import run_daemon; sys.exit(run_daemon(sys.argv[1]))"
)
KINDS = ("supervisor", "keeper", "pool", "children", "store")
"""What a daemon's tree consists of; children are whatever runs jobs."""


def _kind(process: psutil.Process, *, supervisor: int) -> str:
    if process.pid == supervisor:
        return "supervisor"
    if process.name() in SERVERS:
        return "store"
    words = process.cmdline()
    if "jobctl.engine.pool_main" in words:
        return "pool"
    if any(word.endswith("/engine/keeper.py") for word in words):
        return "keeper"
    return "children"


def environment() -> dict[str, str]:
    """Return this process' environment with this very package first on the path.

    Bytecode is cached, as in any installation: compiling costs more than the rest of a submit.
    """
    known = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**known, "PYTHONPATH": str(Path(jobctl.__file__).parents[1])}


def command_line() -> list[str] | None:
    """Return the words that start the command line, ``None`` while there is none.

    The installed script if it is there: ``python -m`` alone costs some milliseconds.
    """
    script = Path(sys.executable).with_name("jobctl")
    if script.exists():
        return [str(script)]
    if importlib.util.find_spec("jobctl.__main__") is None:
        return None
    return [sys.executable, "-c", "import sys; from jobctl.__main__ import main; sys.exit(main())"]


def new_run(job: str, *, queue: str = "default", priority: int = 5) -> NewRun:
    """Return a plain request, as ``jobctl submit`` would make it."""
    request = Request(id=new_id(), job=job, queue=queue, priority=priority, submitter="bench@here")
    return NewRun(request=request, admission=admission_for(JobDef(name=job, command="true")))


class Daemon:
    """Runs ``jobctl daemon`` on a configuration; a context manager that leaves nothing behind."""

    def __init__(self, directory: Path, jobs: str, *, slots: int = 4) -> None:
        """``jobs`` is TOML that follows ``[jobctl]`` and ``[pools.default]``."""
        self.directory = directory
        self.state_dir = directory / "state"
        self.config = directory / "jobs.toml"
        self.keys = Keys("default")
        self.store = BlockingStore(Address.of_embedded(str(self.state_dir)), timeout=30.0)
        directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f"[jobctl]\nstate_dir = {json.dumps(str(self.state_dir))}\n\n"
            f"[pools.default]\nslots = {slots}\n\n{jobs}"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._signing = Signing(
            Security(key_file=own_path(str(self.state_dir))),
            Settings(state_dir=str(self.state_dir)),
            now=time.time,
            on_trouble=lambda error: sys.exit(str(error)),
        )

    def __enter__(self) -> Self:
        log = (self.directory / "daemon.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", STARTER, str(self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment(), start_new_session=True,
            )  # fmt: skip
        self._wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process is not None
        tree = self.tree()
        self.thaw()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            for one in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait()
        self.store.close()
        self._report_trouble()
        shutil.rmtree(self.directory)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            if b"is ready" in (self.directory / "daemon.log").read_bytes():
                return
            time.sleep(0.02)
        raise SystemExit(
            "the daemon did not start:\n" + (self.directory / "daemon.log").read_text()
        )

    def _report_trouble(self) -> None:
        """Show what the daemon complained of: its figures are not worth much then."""
        lines = (self.directory / "daemon.log").read_text().splitlines()
        bad = [line for line in lines if "ERROR" in line or "CRITICAL" in line]
        for line in bad[:5]:
            print(f"  ! {line}")

    # Processes

    @property
    def supervisor(self) -> psutil.Process:
        """The supervisor process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def tree(self) -> list[psutil.Process]:
        """Return all processes of the daemon, the store's included."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.supervisor, *self.supervisor.children(recursive=True)]
        return []

    def split(self) -> tuple[list[psutil.Process], list[psutil.Process]]:
        """Return the tree without the store, and the store."""
        tree = self.tree()
        servers = [one for one in tree if one.name() in SERVERS]
        return [one for one in tree if one not in servers], servers

    def freeze(self) -> None:
        """Stop the pools where they are, so that something else can be measured."""
        deadline = time.monotonic() + READY_WITHIN
        while not (pools := self.pools()):
            if time.monotonic() > deadline:
                raise SystemExit("the daemon has no pool process to stand still")
            time.sleep(0.02)
        for one in pools:
            one.suspend()

    def thaw(self) -> None:
        """Let frozen pools go on."""
        for one in self.pools():
            one.resume()

    def pools(self) -> list[psutil.Process]:
        """Return the pool processes; each is below a keeper, or the supervisor itself."""
        return self.parts()["pool"]

    def parts(self) -> dict[str, list[psutil.Process]]:
        """Return the tree by kind of process: supervisor, keeper, pool, children, store."""
        found: dict[str, list[psutil.Process]] = {kind: [] for kind in KINDS}
        for one in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                found[_kind(one, supervisor=self.supervisor.pid)].append(one)
        return found

    # Runs

    def submission(self, runs: Sequence[NewRun]) -> Call[tuple[transitions.Answer, ...]]:
        """Return the call that submits runs, signed as commands sign them."""
        return transitions.submit(self.keys, runs, seal=self._signing.seal)

    def submit(self, runs: Sequence[NewRun]) -> None:
        """Submit in batches, all of which must be accepted."""
        for start in range(0, len(runs), BATCH):
            answers = self.store.run(self.submission(runs[start : start + BATCH]))
            refused = [answer for answer in answers if answer.kind != "ok"]
            if refused:
                raise SystemExit(f"a run was not accepted: {refused[0]}")

    def ended(self) -> int:
        """Count the runs that succeeded so far, and stop at the first that did not."""
        counters = self.store.run(queries.counters(self.keys))
        if "x" in counters:
            raise SystemExit(f"{counters['x']} runs failed; see {self.directory}")
        return int(counters.get("k", "0"))

    def wait_ended(self, count: int, *, every: float = 0.01, within: float = 600.0) -> float:
        """Wait until ``count`` runs have succeeded; return the moment in ``perf_counter`` seconds."""
        deadline = time.monotonic() + within
        while self.ended() < count:
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"after {within:g} s only {self.ended()} of {count} runs have ended"
                )
            time.sleep(every)
        return time.perf_counter()

    def complete(self, runs: Sequence[NewRun]) -> int:
        """Count the runs whose record, history and log size are all there."""
        job = runs[0].request.job
        history = set(self.store.run(queries.history(self.keys, job, newest=1_000_000)))
        found = 0
        for start in range(0, len(runs), BATCH):
            part = runs[start : start + BATCH]
            for run in self.store.run_many(
                [queries.run(self.keys, one.request.id) for one in part]
            ):
                found += (
                    run is not None
                    and run.request.id in history
                    and run.letter == "k"
                    and run.exit_code == 0
                    and run.pid is not None
                    and run.started_at is not None
                    and run.finished_at is not None
                    and len(run.attempts) == 1
                    and run.attempts[0].duration > 0
                )
        return found

    def info(self, section: str) -> dict[str, str]:
        """Return a section of the store's INFO."""
        reply = self.store.run(Call(("INFO", section), lambda reply: reply))
        assert isinstance(reply, bytes)
        lines = reply.decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)
