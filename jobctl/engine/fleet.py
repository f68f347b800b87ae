"""All pools of a supervisor: keeps them running, replaces crashed ones, drains them at the end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.engine import takeover
from jobctl.engine.cards import card, with_definition
from jobctl.engine.crew import Crew
from jobctl.engine.pools import PoolHandle
from jobctl.engine.repairs import Repairs
from jobctl.engine.rescuer import take_back
from jobctl.engine.roster import PoolFiles
from jobctl.errors import JobctlError, NotAcceptedError
from jobctl.model.run import OutcomeKind
from jobctl.store import membership

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from jobctl.clock import Clock
    from jobctl.engine.channel import Channel, Message
    from jobctl.engine.identity import Identity
    from jobctl.model.config import Config
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

LOOK_EVERY = 0.01
ASK_EVERY = 10.0
"""Seconds between two questions to a pool whether it lives."""
HURRY_EXTRA = 30.0
"""Seconds beyond every grace after which a pool that does not end is killed."""


class Fleet:
    """The pools of one supervisor.

    ``state_dir`` is where they keep their files; ``code`` names the program they run, so that
    pools of an earlier version are replaced. ``on_fenced`` is called when the store refuses one,
    ``on_changed`` when one has another number of slots, or another process.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        state_dir: Path,
        code: str,
        store: AsyncStore,
        keys: Keys,
        on_fenced: Callable[[], None],
        on_changed: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._state_dir = state_dir
        self._code = code
        self._store = store
        self._keys = keys
        self._on_fenced = on_fenced
        self._on_changed = on_changed
        self._shown: dict[str, tuple[int, int, int]] = {}
        """By owner id: slots as last reported."""
        self._clock = clock
        self._config: Config | None = None
        self._crew = Crew()
        self._repairs = Repairs(
            again=self._again,
            give_up=self._give_up,
            relieve=self._relieve,
            ours=lambda pool: pool.files.supervisor == self._identity.supervisor,
            clock=clock,
        )
        self._serial = 0
        self._draining = False
        self._drain_by: float | None = None
        """When what runs is stopped, by the monotonic clock; ``None``: never."""

    @property
    def running(self) -> int:
        """Attempts that run now, as last reported."""
        return self._crew.running

    @property
    def unrecorded(self) -> int:
        """Outcomes that the store has not taken yet, as last reported."""
        return self._crew.unrecorded

    def load(self) -> dict[str, object]:
        """Return what each pool does, for the heartbeat."""
        assert self._config is not None  # noqa: S101 - set by start
        pools = self._config.pools
        return {
            "draining": self._draining,
            "unrecorded": self.unrecorded,
            "pools": {
                name: {
                    "running": pool.running,
                    "slots": pool.slots or (pools[name].first_slots if name in pools else 0),
                    "most": pools[name].max if name in pools else None,
                    "children": pool.children,
                    "ordered": pool.ordered,
                    "pid": pool.pid,
                }
                for name, pool in self._crew.serving.items()
            },
        }

    def owners(self) -> list[str]:
        """Owner ids of all pools, those that are being drained included."""
        return [pool.owner for pool in self._crew.all()]

    async def start(self, config: Config, inheritance: Iterable[PoolFiles] = ()) -> None:
        """Start a pool process for each ``[pools.*]``.

        ``inheritance`` are pools that an earlier process of this very supervisor left: those that
        live are expected to call, those that died are started again, to go on with their journal.
        """
        self._config = config
        for files in inheritance:
            self._serial = max(self._serial, files.number)
            await self._inherit(files, config)
        for name in config.pools:
            if name not in self._crew.serving:
                await self._start_one(name)

    async def _inherit(self, files: PoolFiles, config: Config) -> None:
        await self._admit(files)
        handle = self._handle(files)
        keep = files.name not in self._crew.serving and files.description() == card(
            config, files.name, code=self._code
        )
        if keep:
            self._crew.serving[files.name] = handle
        else:
            self._crew.leaving.add(handle)
        if files.alive():
            self._crew.expect(handle)
            return
        await handle.start(with_definition(config, files), self._identity, inherits=True)
        if not keep:
            handle.send({"do": "drain", "deadline": None})

    def greet(self, channel: Channel, hello: Message) -> None:
        """Take the line of a pool that calls."""
        assert self._config is not None  # noqa: S101 - nobody can call before the start
        owner = str(hello.get("owner"))
        handle = self._crew.caller(owner)
        if handle is None:
            # Born in the moment in which its supervisor died.
            handle = self._handle(PoolFiles(self._state_dir, owner))
            self._crew.leaving.add(handle)
        if handle in self._crew.leaving:
            handle.take(channel, hello)
            self._dismiss(handle)
        else:
            handle.attach(channel, hello, self._config, self._identity)
            self._catch_up(handle)
        log.info("pool %s is back, with %d attempts that went on", owner, handle.running)
        self._crew.balance()

    def banish(self, files: PoolFiles) -> None:
        """Expect a pool whose supervisor was taken for dead: what it runs is not its own any more."""
        handle = self._handle(files)
        self._crew.leaving.add(handle)
        self._crew.expect(handle)

    def _dismiss(self, handle: PoolHandle) -> None:
        """Let a pool finish what it runs, or stop it when others have taken that over."""
        if handle.files.supervisor == self._identity.supervisor:
            handle.send({"do": "drain", "deadline": None})
        else:
            handle.send({"do": "hurry", "kind": OutcomeKind.LOST.value})

    async def readmit(self) -> None:
        """Let all pools claim again, after the store forgot them."""
        for pool in self._crew.all():
            await self._admit(pool.files)
            if pool not in self._crew.leaving:
                pool.send({"do": "resume"})

    async def renew(self, identity: Identity) -> None:
        """Go on under another id: what ran under the old one has been taken over by others."""
        assert self._config is not None  # noqa: S101 - set by start
        self._identity = identity
        for name in list(self._crew.serving):
            self._dismiss(self._crew.retire(name))
        await self.start(self._config)

    def let_go(self) -> None:
        """Leave the pools to the next supervisor; they go on without any until then."""
        self._draining = True
        self._repairs.cancel()
        for pool in self._crew.all():
            pool.let_go()

    def keep_lease(self, sent: float) -> None:
        """Tell the pools that a beat sent at ``sent`` (seconds since boot) was answered."""
        for pool in self._crew.all():
            pool.send({"do": "lease", "sent": sent})

    async def watch(self) -> None:
        """Ask every pool for a sign of life, again and again."""
        while True:
            # By rounds, not by the clock: a supervisor that was itself stopped blames nobody.
            await asyncio.sleep(ASK_EVERY)
            for pool in self._crew.all():
                pool.ask()

    def check(self, owned: Sequence[int]) -> None:
        """Let idle pools look after claims the store says they have; as :meth:`owners` in order."""
        for pool, count in zip(self._crew.all(), owned, strict=False):
            if count > 0 and pool.running == 0:
                pool.send({"do": "check"})

    async def configure(self, config: Config) -> None:
        """Apply a new configuration: pools whose own definition changed are replaced gently."""
        old, self._config = self._config, config
        assert old is not None  # noqa: S101 - set by start
        for name, pool in list(self._crew.serving.items()):
            if name not in config.pools or card(config, name, code=self._code) != card(
                old, name, code=self._code
            ):
                self._crew.retire(name).send({"do": "drain", "deadline": None})
            else:
                await pool.configure(config)
        for name in config.pools:
            if name not in self._crew.serving:
                await self._start_one(name)
        self._crew.balance()

    async def order(self, action: str, name: str, slots: int) -> None:
        """Carry out an order about a pool: ``grow`` or ``shrink`` by ``slots``, or ``restart``."""
        pool = self._crew.serving.get(name)
        if pool is None or self._draining:
            log.warning("an order to %s pool %s was dropped: it does not run here", action, name)
        elif action == "restart":
            await self._replace(pool)
        elif action in {"grow", "shrink"}:
            pool.send({"do": "resize", "by": slots if action == "grow" else -slots})

    async def _replace(self, pool: PoolHandle) -> None:
        self._crew.retire(pool.name)
        try:
            await self._start_one(pool.name)
        except JobctlError as error:
            log.error("pool %s is not replaced: %s", pool.name, error)  # noqa: TRY400 - said whole
            self._crew.reinstate(pool)
        else:
            log.info("pool %s is replaced; what runs in it goes on to its end", pool.name)
            pool.send({"do": "drain", "deadline": None})
        self._crew.balance()

    def revoke(self, run_id: str, epoch: int, order: str) -> None:
        """Pass a stop order on; only the pool that holds the run acts on it."""
        for pool in self._crew.all():
            pool.send({"do": "revoke", "id": run_id, "epoch": epoch, "order": order})

    def hurry(self) -> None:
        """Stop everything that runs."""
        self._draining = True
        self._drain_by = self._clock.monotonic()
        for pool in self._crew.all():
            pool.send({"do": "hurry"})

    async def drain(self, deadline: float | None) -> None:
        """Let what runs finish for ``deadline`` seconds (``None``: for ever), then stop it; wait for the end."""
        self._draining = True
        self._drain_by = None if deadline is None else self._clock.monotonic() + deadline
        for pool in self._crew.all():
            pool.send({"do": "drain", "deadline": deadline})
        limit = None if deadline is None else deadline + self._longest_grace() + HURRY_EXTRA
        try:
            async with asyncio.timeout(limit):
                while self._crew.all():  # noqa: ASYNC110 - pools are replaced meanwhile
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError:
            await self._break_off()

    async def _break_off(self) -> None:
        """Kill the pools that do not end, and end what they run."""
        self._repairs.close()
        for pool in self._crew.all():
            await takeover.break_off(pool, store=self._store, keys=self._keys)

    def _longest_grace(self) -> float:
        assert self._config is not None  # noqa: S101 - set by start
        return max((job.stop_timeout for job in self._config.jobs.values()), default=0.0)

    async def _start_one(self, name: str) -> None:
        """Start a pool in the place of the one that serves.

        Raises JobctlError when it cannot, also for want of memory, processes or room, and changes nothing.
        """
        assert self._config is not None  # noqa: S101 - set by start
        self._serial += 1
        owner = f"{self._identity.supervisor}/{name}.{self._serial}"
        files = PoolFiles(self._state_dir, owner)
        await self._admit(files)
        before = self._crew.serving.get(name)
        self._crew.serving[name] = handle = self._handle(files)
        try:
            files.describe(card(self._config, name, code=self._code))
            await handle.start(self._config, self._identity, inherits=False)
        except JobctlError:
            self._crew.withdraw(handle, before)
            raise
        except OSError as error:
            self._crew.withdraw(handle, before)
            files.remove()
            raise NotAcceptedError(f"pool {name} cannot be started: {error.strerror}") from error
        self._catch_up(handle)

    def _catch_up(self, pool: PoolHandle) -> None:
        """Tell a pool that has just begun, or come back, what the others were told meanwhile."""
        if pool in self._crew.leaving or self._draining:
            left = self._drain_by and max(0.0, self._drain_by - self._clock.monotonic())
            pool.send({"do": "drain", "deadline": left})

    async def _admit(self, files: PoolFiles) -> None:
        """Let a pool claim."""
        await self._store.run(
            membership.add_pool(self._keys, supervisor=files.supervisor, owner=files.owner)
        )

    def _handle(self, files: PoolFiles) -> PoolHandle:
        return PoolHandle(
            files,
            address=self._store.address,
            on_end=self._on_end,
            on_load=self._on_load,
            on_fenced=self._on_fenced,
        )

    def _on_load(self, pool: PoolHandle) -> None:
        self._crew.balance()
        shown = pool.slots, pool.pid, pool.ordered
        before, self._shown[pool.owner] = self._shown.get(pool.owner), shown
        if before != shown and pool.slots and pool.pid:
            self._on_changed()

    def _on_end(self, pool: PoolHandle) -> None:
        self._shown.pop(pool.owner, None)
        self._crew.ended(pool)
        if pool.finished and (pool in self._crew.leaving or self._draining):
            self._crew.remove(pool)
            self._repairs.forget(pool)
            if not self._draining:  # else the store is asked for all of them at the end
                self._repairs.follow_up(pool)
        else:
            self._repairs.begin(pool)

    async def _again(self, pool: PoolHandle) -> None:
        """Start a crashed pool again under the same owner id, to go on with its journal."""
        assert self._config is not None  # noqa: S101 - set by start
        await self._admit(pool.files)
        successor = self._handle(pool.files)
        await successor.start(
            with_definition(self._config, pool.files), self._identity, inherits=True
        )
        self._crew.succeed(pool, successor)
        self._catch_up(successor)

    async def _relieve(self, pool: PoolHandle) -> None:
        """Give back what a pool had claimed when it ended in order.

        The store may carry out a claim that nobody waits for any more: the one with the bells.
        """
        moved = await take_back(
            self._store, self._keys, supervisor=pool.files.supervisor, owner=pool.owner
        )
        if moved:
            log.info("pool %s had claimed %d more when it ended; they wait again", pool.name, moved)

    async def _give_up(self, pool: PoolHandle) -> None:
        """End and take back what a pool left that crashes again and again; another one begins."""
        await takeover.abandon(pool.files, store=self._store, keys=self._keys)
        if self._crew.serving.get(pool.name) is pool and not self._draining:
            # It keeps its place until that has worked, for else nobody would try again.
            await self._start_one(pool.name)
        self._crew.remove(pool)
        self._repairs.forget(pool)
