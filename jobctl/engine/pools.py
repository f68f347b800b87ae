"""The supervisor's side of its pools: starting, configuring, replacing and draining them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jobctl
from jobctl.engine.channel import Channel, Message
from jobctl.model.config import to_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.model.config import Config
    from jobctl.store.address import Address

log = logging.getLogger(__name__)

ALL_QUEUES = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a supervisor is, as its pools must know it."""

    supervisor: str
    host: str
    timezone: str
    address: Address
    pools_lock: int
    """Descriptor each pool inherits and so holds, see :mod:`jobctl.engine.lock`."""


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

    ``on_end`` is called once with the handle when the process is gone.
    """

    def __init__(
        self,
        name: str,
        owner: str,
        *,
        on_end: Callable[[PoolHandle], None],
        on_fenced: Callable[[], None],
    ) -> None:
        self.name = name
        self.owner = owner
        self.running = 0
        self.unrecorded = 0
        self.finished = False
        """True once it said that everything is settled."""
        self.ended = asyncio.Event()
        self._on_end = on_end
        self._on_fenced = on_fenced
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._pidfd = -1

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._process.pid if self._process is not None else 0

    @property
    def returncode(self) -> int | None:
        """How it ended, as in :mod:`subprocess`."""
        return self._process.returncode if self._process is not None else None

    async def start(self, config: Config, identity: Identity) -> None:
        """Start the process and hand it its work."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - a vfork of 1 ms; our own interpreter
                [sys.executable, "-P", "-m", "jobctl.engine.pool_main", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), identity.pools_lock),
                start_new_session=True,
                env=_environment(),
            )
        loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._reap)
        ours.setblocking(False)  # noqa: FBT003 - the only form it has
        self._channel = await Channel.open(ours, self._on_message, lambda: None)
        self._channel.send(
            {
                "do": "start",
                "pool": self.name,
                "owner": self.owner,
                "supervisor": identity.supervisor,
                "host": identity.host,
                "timezone": identity.timezone,
                "address": {
                    name: getattr(identity.address, name) for name in identity.address.__slots__
                },
                "config": to_plain(config),
                "queues": queues_of(config, self.name),
            }
        )

    def send(self, message: Message) -> None:
        """Send a control message."""
        if self._channel is not None:
            self._channel.send(message)

    def kill(self) -> None:
        """End the process by force."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def _on_message(self, message: Message) -> None:
        match message.get("say"):
            case "load":
                self.running = int(str(message["running"]))
                self.unrecorded = int(str(message["unrecorded"]))
            case "done":
                self.finished = True
            case "fenced":
                self._on_fenced()

    def _reap(self) -> None:
        assert self._process is not None  # noqa: S101 - only read after the start
        if self._process.poll() is None:
            return
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._channel is not None:
            self._channel.close()
        self.running = self.unrecorded = 0
        self.ended.set()
        self._on_end(self)


def _environment() -> dict[str, str]:
    """Return the daemon's environment with this very package first on the path."""
    package = str(Path(jobctl.__file__).resolve().parent.parent)
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{known}" if known else package}
