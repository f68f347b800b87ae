"""A directory with a jobs.toml, the command run in it, and a supervisor that does as it is told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from unittest.mock import patch

from jobctl.cli.start import start
from jobctl.client.open import Session
from jobctl.config import cache
from jobctl.store import membership, queries, settling, transitions
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobctl.model.run import Run
    from jobctl.store.transitions import Claim

JOBS = """
[jobctl]
redis = "unix://{socket}"
namespace = "{namespace}"
state_dir = "{state}"
timezone = "Europe/Berlin"
{settings}

[queues.nobody]
max_length = 1000

[jobs.hello]
command = "echo hello"

[jobs.other]
command = ["/bin/true"]
queue = "slow"
priority = 7
timeout = "1m"
retries = 2
tags = {{ team = "ops" }}

[jobs.single]
command = "sleep 1"
unique = "args"

[jobs.alone]
command = "sleep 1"
overlap = "skip"

[jobs.typed]
command = "true"
params.path = {{ type = "str" }}
params.width = {{ type = "int", default = 320, min = 16 }}
params.token = {{ type = "str", default = "none", secret = true }}

[jobs.nightly]
command = "true"
schedule = "30 2 * * *"
jitter = "10m"

[jobs.limited]
command = "true"
max_running = 1

{more}
"""


class Result(NamedTuple):
    """What one command wrote and exited with."""

    out: str
    err: str
    code: int

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err)["error"]

    @property
    def id(self) -> str:
        return self.out.strip()


class Project:
    """One namespace of the test server, with its configuration."""

    def __init__(self, directory: Path, socket: str, *, settings: str = "", more: str = "") -> None:
        self.directory = directory
        self.state = directory / "state"
        self.path = directory / "jobs.toml"
        self.path.write_text(
            JOBS.format(
                socket=socket, namespace="t", state=self.state, settings=settings, more=more
            )
        )
        # What is made of the file is kept, though it is new: each command would validate it again.
        with patch.object(cache, "_SETTLED_NS", 0):
            self.session = Session.open(str(self.path))
        self.keys = self.session.keys

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def jobctl(self, *words: str, stdin: bytes = b"") -> Result:
        """Run the command in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        before = sys.stdin
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = start(["-c", str(self.path), *words])
        finally:
            sys.stdin = before
        return Result(text_of(out), text_of(err), int(code))

    def command(self, *words: str | bytes) -> list[str | bytes]:
        """The command as a process of its own."""
        return [sys.executable, "-m", "jobctl", "-c", str(self.path), *words]

    def process(self, *words: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(*words), capture_output=True, check=False, timeout=30, **options
        )

    def submit(self, *words: str) -> str:
        result = self.jobctl("submit", *words)
        assert result.code == 0, result.err
        return result.id

    def until_cached(self) -> None:
        """Return when the plain form of the configuration is kept: not while it is brand-new."""
        deadline = time.monotonic() + 5
        cache = Path(os.environ["XDG_CACHE_HOME"]) / "jobctl"
        while not any(cache.glob("config-*.json")):
            assert time.monotonic() < deadline
            self.submit("hello")

    def run(self, run_id: str) -> Run:
        found = self.session.run(queries.run(self.keys, run_id))
        assert found is not None
        return found

    def log(self, run_id: str, data: bytes, *, attempt: int = 1) -> Path:
        """Write an attempt's output where the daemon would."""
        path = self.state / "logs" / self.run(run_id).job / f"{run_id}.{attempt}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)
        return path


class Worker:
    """A supervisor with one pool that claims, starts and settles when told to."""

    def __init__(
        self, project: Project, host: str = "h1", queues: tuple[str, ...] = ("default", "slow")
    ) -> None:
        self.project = project
        self.keys = project.keys
        self.store = project.session.store
        self.sid = f"{host}~a"
        self.owner = f"{self.sid}/default.1"
        self.queues = queues
        facts = {
            "host": host,
            "pid": "4711",
            "version": "0.1.0",
            "started": "1700000000.0",
            "zone": "Europe/Berlin",
            "pools": json.dumps({"default": {"slots": 4, "queues": list(queues)}}),
        }
        self.store.run(membership.register(self.keys, supervisor=self.sid, facts=facts))
        self.store.run(membership.add_pool(self.keys, supervisor=self.sid, owner=self.owner))
        self.beat()

    def beat(self, running: int = 0, **more: object) -> tuple[str, ...]:
        """Show life; return the messages of the mailbox."""
        load = json.dumps({"pools": {"default": {"running": running, "slots": 4}}} | more)
        call = membership.beat(self.keys, supervisor=self.sid, load=load, owners=[self.owner])
        return self.store.run(call).messages

    def says(self, **facts: str) -> None:
        """Change what the supervisor says of itself."""
        self.store.run(membership.register(self.keys, supervisor=self.sid, facts=facts))

    def reloads(self, **facts: str) -> None:
        """Say that it has reloaded once it is told to: before, the command would not wait for it."""
        limit = time.monotonic() + 10
        while "reload" not in self.beat():
            assert time.monotonic() < limit, "nobody told it to reload"
            time.sleep(0.01)
        self.says(reloads="1", **facts)

    def resizes(self, slots: int) -> None:
        """Say that its pool has so many slots once it is told to change them."""
        limit = time.monotonic() + 10
        while not any(message.startswith("pool:") for message in self.beat()):
            assert time.monotonic() < limit, "nobody told it to change its slots"
            time.sleep(0.01)
        self.beat(pools={"default": {"running": 0, "slots": slots}})

    def leave(self) -> None:
        self.store.run(membership.leave(self.keys, supervisor=self.sid))

    def claim(self) -> Claim:
        call = transitions.claim(
            self.keys, supervisor=self.sid, owner=self.owner, want=1, queues=self.queues
        )
        return self.store.run(call).claims[0]

    def start(self) -> Claim:
        """Claim the next run and mark it as started."""
        claim = self.claim()
        mark = (claim.id, claim.epoch, claim.attempt + 1, time.time(), 99)
        self.store.run(transitions.start(self.keys, owner=self.owner, marks=[mark]))
        return claim

    def settle(
        self,
        claim: Claim,
        letter: str = "k",
        *,
        reason: str = "",
        delay: float = 0.0,
        **fields: Any,
    ) -> None:
        """End a claimed run; ``fields`` are record fields such as ``rc`` and ``re``."""
        flat = [
            part for pair in {"at": claim.attempt + 1, "du": 0.5, **fields}.items() for part in pair
        ]
        item = Settlement(
            claim.id, claim.epoch, letter, reason, delay, tuple(str(part) for part in flat)
        )
        self.store.run(settling.settle(self.keys, owner=self.owner, items=[item]))

    def finish(self, letter: str = "k", **options: Any) -> str:
        """Claim, start and end the next run; return its id."""
        claim = self.start()
        self.settle(claim, letter, **options)
        return claim.id

    @contextmanager
    def soon(self, work: Callable[[Worker], None], delay: float = 0.1) -> Iterator[None]:
        """Do something in the background, with a connection of its own."""

        def do() -> None:
            time.sleep(delay)
            other = Worker.__new__(Worker)
            other.__dict__.update(self.__dict__)
            with Session.open(str(self.project.path)) as session:
                other.store = session.store
                work(other)

        thread = threading.Thread(target=do)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def text_of(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8", "backslashreplace")  # type: ignore[attr-defined]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}
