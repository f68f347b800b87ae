"""Load of every kind: shell and Python jobs, schedules, retries, revokes and limits.

The load is a thread of the playing process. What the store did not answer is sent again, with the
same ids, until it has answered: so every run it has made is accepted in the end, and counts.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Self

from jobctl.client.control import revoke
from jobctl.client.open import Session
from jobctl.client.sending import send_many
from jobctl.client.submit import Wish, prepare
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from chaos.world import World
    from jobctl.model.admission import NewRun
    from tests.acceptance.host import Host

SCHEDULES = """
[jobs.steady]
command = 'exec /bin/sh "$CHAOS_DIR/work.sh" 0'
schedule = "@every 2s"
[jobs.careful]
command = 'exec /bin/sh "$CHAOS_DIR/work.sh" 0.5'
schedule = "@every 3s"
overlap = "queue"
missed = "once"
"""
"""Tables for ``World.host(jobs=…)``: what a load has besides submits. Set ``world.strangers``."""
KINDS: tuple[tuple[str, tuple[object, ...], int], ...] = (
    ("work", (0,), 8),
    ("work", (0.3,), 3),
    ("work", (0.1, 3), 1),
    ("again", (0, "2:5"), 2),
    ("pair", (0.2,), 2),
    ("single", (0.1,), 1),
    ("only", (0.2,), 1),
    ("python", (0.1,), 3),
    ("strict", (0.1,), 1),
)
"""Job, arguments and weight."""
REVOKED_ONE_IN = 12
MOST_WAITING = 200
"""Unfinished runs at which the load pauses, so that a fault's backlog stays countable."""


class Load:
    """Submits ``rate`` runs a second by way of ``host`` until stopped; drawn from ``seed``."""

    def __init__(
        self, world: World, host: Host, *, rate: float = 10.0, seed: int | None = None
    ) -> None:
        self._world = world
        self._session = Session.open(str(host.config))
        self._random = random.Random(world.seed if seed is None else seed)
        self._rate = rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._own: list[str] = []
        self.submitted = 0
        """Runs that were accepted."""
        self.revoked: set[str] = set()
        """Runs that a revoke was tried for."""
        self.refused = 0
        """Calls that met an error, and were repeated."""
        self.crashed: BaseException | None = None
        """What ended the load, if it was not :meth:`stop`."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, *, within: float = 60.0) -> None:
        """End the load when everything it sent was answered; ``within`` in seconds."""
        self._over.set()
        self._thread.join(within)
        if self.crashed is not None:
            raise self.crashed
        if self._thread.is_alive():
            raise TimeoutError("the load got no answer from the store")
        self._world.measured["submits repeated"] = self.refused

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                begin = time.monotonic()
                count = self._random.randint(1, max(1, round(self._rate / 2)))
                self._send([self._wish() for _ in range(count)])
                self._revoke_some()
                rest = count / self._rate - (time.monotonic() - begin)
                self._over.wait(max(0.0, rest))
                self._wait_for_room()
        except BaseException as error:  # noqa: BLE001 - told by stop()
            self.crashed = error

    def _wish(self) -> NewRun:
        weights = [weight for _, _, weight in KINDS]
        job, args, _ = self._random.choices(KINDS, weights)[0]
        wish = Wish(
            job,
            args=[str(arg) for arg in args],
            text=True,
            priority=self._random.choice([4, 5, 5, 5, 6]),
            start_in=self._random.choice([None, None, None, 1.0]),
        )
        return prepare(self._session, wish)

    def _send(self, runs: list[NewRun]) -> None:
        """Repeat until the store has answered; ids make that safe."""
        while True:
            try:
                receipts = list(send_many(self._session, runs))
            except JobctlError:
                self.refused += 1
                time.sleep(0.2)
                if self._over.is_set() and self.refused > 10_000:
                    raise
                continue
            for receipt in receipts:
                if receipt.accepted:
                    self._world.accepted[receipt.id] = receipt.job
                    self._own.append(receipt.id)
                    self.submitted += 1
            return

    def _revoke_some(self) -> None:
        newest = self._own[-20:]
        if self._random.randrange(REVOKED_ONE_IN) or not newest:
            return
        run = self._random.choice(newest)
        self.revoked.add(run)
        try:
            revoke(self._session, [run])
        except JobctlError:
            self.refused += 1

    def _wait_for_room(self) -> None:
        """Hold while more runs wait than a fault needs."""
        while not self._over.is_set() and self.waiting() > MOST_WAITING:
            self._over.wait(0.5)

    def waiting(self) -> int:
        """Return how many accepted runs have not begun yet, by the log of executions."""
        begun = {line.run for line in self._world.executions.lines(word="begin")}
        return len(self._world.accepted.keys() - begun - self.revoked)
