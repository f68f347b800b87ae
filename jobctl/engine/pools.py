"""The supervisor's side of its pools: starting, configuring, replacing and draining them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jobctl
from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.channel import Channel, Message
from jobctl.errors import JobctlError
from jobctl.model.config import to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobctl.engine.identity import Identity
    from jobctl.engine.roster import PoolFiles
    from jobctl.model.config import Config
    from jobctl.store.address import Address

log = logging.getLogger(__name__)

PART = 100
"""Jobs in one message."""

ALL_QUEUES = "*"
KEEPER = str(Path(__file__).with_name("keeper.py"))
UNANSWERED_MOST = 3
"""Questions in a row that a pool may leave unanswered."""
LINE_PATIENCE = 10.0
"""Seconds a pool may live without a line to its supervisor before it is killed."""
LOOK_EVERY = 0.01
KEEPER_PATIENCE = 0.2
"""Seconds in which the keeper of a pool that is gone tells how; it may be gone as well."""


class PoolAliveError(JobctlError):
    """Raised when a pool that is to be started has a living process."""


_batches = itertools.count(int(SYSTEM_CLOCK.monotonic() * 1e6))
"""Numbers of sets of jobs: those of one process grow, and those of its successor go on."""


def _definitions(config: Config, batch: int) -> Iterator[Message]:
    """Yield the jobs in messages of bounded size; when they are due is not the pool's business."""
    jobs = list(config.jobs.values())
    for start in range(0, len(jobs), PART):
        plain: list[dict[str, object]] = [to_plain(job) for job in jobs[start : start + PART]]  # type: ignore[misc]
        for one in plain:
            one.pop("schedules", None)
        yield {"do": "define", "batch": batch, "define": plain}


def queues_of(config: Config, pool: str) -> list[str]:
    """Return the queues a pool serves, in order; ``*`` stands for all that are not named."""
    named = [queue for queue in config.pools[pool].queues if queue != ALL_QUEUES]
    if ALL_QUEUES not in config.pools[pool].queues:
        return named
    known = {job.queue for job in config.jobs.values()} | set(config.queues) | {"default"}
    known |= {item.queue for job in config.jobs.values() for item in job.schedules if item.queue}
    return named + sorted(known - set(named))


class PoolHandle:
    """One pool process as its supervisor sees it.

    ``address`` is that of the store. ``on_end`` is called once with the handle when the process is gone, ``on_load`` whenever it
    says how much it runs, ``on_fenced`` when the store refuses it.
    """

    def __init__(
        self,
        files: PoolFiles,
        *,
        address: Address,
        on_end: Callable[[PoolHandle], None],
        on_load: Callable[[PoolHandle], None],
        on_fenced: Callable[[], None],
    ) -> None:
        self.files = files
        self.pid = 0
        """Process id; 0 until it has said so."""
        self.born = 0.0
        """Monotonic seconds; 0 for a process that was found alive."""
        self.running = 0
        self.unrecorded = 0
        self.slots = 0
        """How many take new attempts; 0 until it has said so."""
        self.children = 0
        """Python interpreters it keeps."""
        self.ordered = 0
        """Orders about its slots that it has carried out."""
        self.finished = False
        """True once it said that everything is settled."""
        self.reserved = 0
        """Slots it was told to keep idle."""
        self._unanswered = 0
        self._exits_before = 0
        """Bytes that were told of earlier processes of this pool."""
        self._address = address
        self.ended = asyncio.Event()
        self._on_end = on_end
        self._on_load = on_load
        self._on_fenced = on_fenced
        self._channel: Channel | None = None
        self._awaiting: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The pool's name in jobs.toml."""
        return self.files.name

    @property
    def owner(self) -> str:
        """The owner id under which it claims."""
        return self.files.owner

    async def start(self, config: Config, identity: Identity, *, inherits: bool) -> None:
        """Start the process under its keeper, and hand it its work.

        ``inherits`` says that it goes on for a dead process of the same pool.

        Raises ``PoolAliveError`` when a process of this pool lives already, and ``OSError``.
        """
        lock = self.files.lock()
        if lock is None:
            raise PoolAliveError(f"pool {self.owner} has a process already")
        with contextlib.suppress(OSError):
            self._exits_before = self.files.exits.stat().st_size
        ours, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), lock)
        try:
            keeper = subprocess.Popen(  # noqa: ASYNC220, S603 - a vfork of 1 ms; our own interpreter
                [sys.executable, "-I", "-S", KEEPER, str(self.files.exits), *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
                start_new_session=True,
                env=_environment(),
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(lock)
        # It ends long after the pool, maybe, and is then collected like any orphan.
        keeper.returncode = 0
        ours.setblocking(False)  # noqa: FBT003 - the only form it has
        self.born = SYSTEM_CLOCK.monotonic()
        self._channel = await Channel.open(ours, self._on_message, self._on_close)
        batch = await self._define(config)
        work = self._work("start", config, identity)
        self._channel.send({**work, "batch": batch, "inherits": inherits})

    def attach(self, channel: Channel, hello: Message, config: Config, identity: Identity) -> None:
        """Take over a running process that called; it claims again from now on."""
        self._greet(channel, hello)
        batch = next(_batches)
        for part in _definitions(config, batch):
            channel.send(part)
        channel.send({**self._work("attach", config, identity), "batch": batch})

    async def configure(self, config: Config) -> None:
        """Have the process use another configuration from now on."""
        batch = await self._define(config)
        self.send(
            {
                "do": "configure",
                "batch": batch,
                "config": to_plain(config.without_jobs()),
                "queues": queues_of(config, self.name),
            }
        )

    async def _define(self, config: Config) -> int:
        """Say a configuration's jobs, let others run meanwhile, and return what names them."""
        channel, batch = self._channel, next(_batches)
        for part in _definitions(config, batch):
            if channel is not None:
                channel.send(part)
            await asyncio.sleep(0)
        return batch

    def expect(self) -> None:
        """Wait for a process that lives to call; one that does not is killed in the end."""
        self._on_close()

    def take(self, channel: Channel, hello: Message) -> None:
        """Take over a running process that called, only to see it end."""
        self._greet(channel, hello)

    def _greet(self, channel: Channel, hello: Message) -> None:
        if self._awaiting is not None:
            self._awaiting.cancel()
            self._awaiting = None
        if self._channel is not None:
            self._channel.redirect(lambda _: None, lambda: None)
            self._channel.close()
        self._channel = channel
        channel.redirect(self._on_message, self._on_close)
        self.pid = int(str(hello["pid"]))
        self.running = int(str(hello["running"]))

    def _work(self, word: str, config: Config, identity: Identity) -> Message:
        return {
            "do": word,
            "pool": self.name,
            "owner": self.owner,
            "supervisor": identity.supervisor,
            "host": identity.host,
            "timezone": identity.timezone,
            "address": self._address.facts(),
            "config": to_plain(config.without_jobs()),
            "queues": queues_of(config, self.name),
        }

    def send(self, message: Message) -> None:
        """Send a control message."""
        if self._channel is not None:
            self._channel.send(message)

    def ask(self) -> None:
        """Ask for a sign of life; a process that was asked too often in vain is ended by force.

        What it runs goes on, and is adopted by the process that follows it.
        """
        if self._channel is None:
            return
        if self._unanswered and self._unanswered % UNANSWERED_MOST == 0:
            log.error("pool %s does not answer any more; killing it", self.label())
            self.kill()
        self._unanswered += 1
        self.send({"do": "ping"})

    def kill(self) -> None:
        """End the process by force, if it is known and still is a pool."""
        if not self.pid or not self.files.alive():
            return
        with contextlib.suppress(OSError):
            if b"pool_main" in Path(f"/proc/{self.pid}/cmdline").read_bytes():
                os.kill(self.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """Close the line; the pool goes on, and calls whoever is supervisor next."""
        if self._awaiting is not None:
            self._awaiting.cancel()
        if self._channel is not None:
            self._channel.redirect(lambda _: None, lambda: None)
            self._channel.close()

    @property
    def killed(self) -> bool:
        """Whether somebody ended the process by force."""
        return self.how() == f"signal {int(signal.SIGKILL)}"

    def label(self) -> str:
        """Return its name with its process id, as far as that is known."""
        end = self._end()
        pid = self.pid or (0 if end is None else end[0])
        return f"{self.name} (pid {pid})" if pid else self.name

    def how(self) -> str:
        """Say how the process ended, as far as its keeper has told."""
        end = self._end()
        if end is None:
            return "nobody knows how"
        code = os.waitstatus_to_exitcode(end[1])
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _end(self) -> tuple[int, int] | None:
        """Return process id and wait status of the process, once its keeper has told."""
        with contextlib.suppress(OSError, ValueError):
            told = self.files.exits.read_bytes()[self._exits_before :]
            for line in reversed(told.decode("ascii").splitlines()):
                words = line.split()
                if words[:1] == ["pool"] and self.pid in {0, int(words[1])}:
                    return int(words[1]), int(words[2])
        return None

    def _on_message(self, message: Message) -> None:
        self._unanswered = 0
        match message.get("say"):
            case "ready":
                self.pid = int(str(message["pid"]))
                self._on_load(self)
            case "load":
                self.running = int(str(message["running"]))
                self.unrecorded = int(str(message["unrecorded"]))
                self.slots = int(str(message.get("slots", 0)))
                self.children = int(str(message.get("children", 0)))
                self.ordered = int(str(message.get("ordered", 0)))
                self._on_load(self)
            case "done":
                self.finished = True
            case "fenced":
                self._on_fenced()

    def _on_close(self) -> None:
        if self._awaiting is None:
            self._awaiting = asyncio.ensure_future(self._await_end())

    async def _await_end(self) -> None:
        """Wait until the process is gone: its line is closed, so that takes no time at all.

        One that lives without a line is on its way back to us; if it does not come it is killed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LINE_PATIENCE
        while self.files.alive():
            if loop.time() > deadline:
                log.error("pool %s lives and does not answer; killing it", self.owner)
                self.kill()
                deadline += LINE_PATIENCE
            await asyncio.sleep(LOOK_EVERY)
        if not self.finished:
            await self._hear_keeper()
        self.running = 0
        self.ended.set()
        self._on_end(self)

    async def _hear_keeper(self) -> None:
        """Let the keeper say how the process ended: that is told a moment later than it shows."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KEEPER_PATIENCE):
                while self._end() is None:  # noqa: ASYNC110 - it writes a file
                    await asyncio.sleep(LOOK_EVERY)


def _environment() -> dict[str, str]:
    """Return the daemon's environment with this very package first on the path."""
    package = str(Path(jobctl.__file__).resolve().parent.parent)
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{known}" if known else package}
