"""Entry point of a pool process: ``python -m jobctl.engine.pool_main FD``.

Everything it needs comes over the channel from its supervisor; it never reads jobs.toml, so it
stays small and uses exactly what the supervisor checked.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.attempt import AttemptDirs
from jobctl.engine.channel import Channel, Message
from jobctl.engine.journal import configure_logging
from jobctl.engine.pool import Pool
from jobctl.engine.shipper import Shipper
from jobctl.engine.slot import Slot
from jobctl.engine.workplace import Workplace
from jobctl.model.config import config_from_plain
from jobctl.model.run import OutcomeKind
from jobctl.store.address import Address
from jobctl.store.aio import AsyncStore
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

REPORT_EVERY = 2.0
ORPHAN_GRACE = 10.0
"""Seconds attempts get to end when the supervisor is gone; well below the time after which other
hosts take its runs over."""


class PoolProcess:
    """Connects a :class:`Pool` with its supervisor."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._place: Workplace | None = None
        self._channel: Channel | None = None
        self._done = asyncio.Event()
        self._drain: asyncio.Task[None] | None = None
        self._reports: asyncio.Task[None] | None = None
        self._reported: object = None

    async def run(self, sock: socket.socket) -> int:
        """Serve until drained, or until the supervisor is gone."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal, number)
        self._channel = await Channel.open(sock, self._on_message, self._on_supervisor_gone)
        await self._done.wait()
        if self._reports is not None:
            self._reports.cancel()
        if self._pool is not None:
            await self._pool.close()
        if self._place is not None:
            self._place.close()
        self._channel.send({"say": "done"})
        self._channel.close()
        return 0

    def _on_stop_signal(self, number: signal.Signals) -> None:
        """Go on: pools stop when their supervisor says so, or is gone.

        A job has its pool's id as ``$PPID``, and what the other slots run is none of its business.
        A handler, because jobs would inherit that the signal is ignored.
        """
        log.warning("pool: %s is of no use here; stop the daemon instead", number.name)

    def _on_message(self, message: Message) -> None:
        match message.get("do"):
            case "start":
                self._start(message)
            case "revoke" if self._pool is not None:
                self._pool.revoke(
                    str(message["id"]), int(str(message["epoch"])), str(message["order"])
                )
            case "configure" if self._pool is not None:
                plain: Mapping[str, object] = message["config"]  # type: ignore[assignment]
                queues: list[str] = message["queues"]  # type: ignore[assignment]
                self._pool.configure(config_from_plain(plain), tuple(queues))
            case "resume" if self._pool is not None:
                self._pool.resume()
            case "drain":
                deadline = message.get("deadline")
                self._begin_drain(None if deadline is None else float(str(deadline)))
            case "hurry":
                self._hurry()

    def _start(self, message: Message) -> None:
        plain: Mapping[str, object] = message["config"]  # type: ignore[assignment]
        config = config_from_plain(plain)
        address_facts: Mapping[str, object] = message["address"]  # type: ignore[assignment]
        address = Address(**address_facts)  # type: ignore[arg-type]
        keys = Keys(config.settings.namespace)
        name = str(message["pool"])
        definition = config.pools[name]
        serial = str(message["owner"]).rpartition("/")[2]
        place = Workplace.open(
            dirs=AttemptDirs.under(Path(config.settings.state_dir)), clock=SYSTEM_CLOCK
        )
        store = AsyncStore(address, name=f"jobctl-{name}")
        queues: list[str] = message["queues"]  # type: ignore[assignment]
        pool = Pool(
            config=config,
            queues=tuple(queues),
            supervisor=str(message["supervisor"]),
            owner=str(message["owner"]),
            host=str(message["host"]),
            timezone=str(message["timezone"]),
            store=store,
            ears=AsyncStore(address, name=f"jobctl-{name}-ears"),
            keys=keys,
            slots=[
                Slot(
                    # Not the pool's name alone: its successor starts while it drains.
                    name=f"{serial}-{index}",
                    workplace=place,
                    max_runs_per_child=definition.max_runs_per_child,
                    max_rss_per_child=definition.max_rss_per_child,
                )
                for index in range(definition.slots)
            ],
            tidy=place.processes.tidy,
            clock=SYSTEM_CLOCK,
        )
        if config.settings.redis is not None:
            pool.shipper = Shipper(keys, send=pool.send, tail=config.settings.log_tail)
        self._pool = pool
        self._place = place
        pool.start()
        self._reports = asyncio.create_task(self._report())

    async def _report(self) -> None:
        """Tell the supervisor what runs, when that changed."""
        assert self._pool is not None  # noqa: S101 - started before
        assert self._channel is not None  # noqa: S101
        self._channel.send({"say": "ready"})
        while True:
            load = {"running": len(self._pool.running), "unrecorded": self._pool.unrecorded}
            if load != self._reported:
                self._reported = load
                self._channel.send({"say": "load", **load})
            if self._pool.fenced.is_set():
                self._channel.send({"say": "fenced"})
                self._pool.fenced.clear()
            await asyncio.sleep(REPORT_EVERY)

    def _begin_drain(self, deadline: float | None) -> None:
        if self._pool is None:
            self._done.set()
        elif self._drain is None:
            self._drain = asyncio.create_task(self._drained(deadline))

    async def _drained(self, deadline: float | None) -> None:
        assert self._pool is not None  # noqa: S101 - started before
        await self._pool.drain(deadline)
        self._done.set()

    def _hurry(self, kind: OutcomeKind = OutcomeKind.INTERRUPTED) -> None:
        if self._pool is not None:
            self._begin_drain(None)
            self._pool.hurry(kind)
        else:
            self._done.set()

    def _on_supervisor_gone(self) -> None:
        if not self._done.is_set():
            log.warning("pool: the supervisor is gone; stopping what runs")
            self._hurry(OutcomeKind.LOST)
            asyncio.get_running_loop().call_later(ORPHAN_GRACE * 2, self._done.set)


def main() -> None:
    """Serve one pool; the argument is the descriptor of the channel."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    configure_logging()
    os.umask(0o077)
    raise SystemExit(asyncio.run(PoolProcess().run(sock)))


if __name__ == "__main__":
    main()
