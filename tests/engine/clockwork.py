"""Schedulers that live on while the test moves their clock and changes their configuration."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobctl.clock import Clock
from jobctl.engine.identity import Identity
from jobctl.engine.scheduler import Scheduler
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef, ScheduleDef
from jobctl.model.rules import schedule_entries
from jobctl.store import decisions, queries
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys
from jobctl.store.live import sealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.model.overlay import LiveSchedule
    from jobctl.model.sealing import Ring
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore
    from jobctl.store.queries import Decision

NOON = datetime(2021, 6, 1, 12, 0, tzinfo=UTC).timestamp()


class SetClock(Clock):
    """A clock that stands until it is moved; times are epoch seconds."""

    def __init__(self, at: float = NOON) -> None:
        self.at = at
        self.up = 0.0

    def boottime(self) -> float:
        return self.up

    def pass_to(self, at: float) -> None:
        """Let time go by; back it can only be set."""
        self.up += max(at - self.at, 0.0)
        self.at = at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def epoch(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def a_job(rule: str = "*/10 * * * *", name: str = "j", **keys: Any) -> JobDef:
    own = {key: keys.pop(key) for key in ("not_before", "not_after", "max_runs") if key in keys}
    schedule = ScheduleDef(name=name, rule=rule, **own)
    return JobDef(name=name, command="true", timezone=keys.pop("timezone", "UTC"), schedules=(schedule,), **keys)  # fmt: skip


def an_identity(
    supervisor: str, *, host: str = "h", timezone: str = "UTC", boot_id: str = "boot"
) -> Identity:
    return Identity(
        supervisor=supervisor, host=host, timezone=timezone, boot_id=boot_id, start_id=supervisor
    )


class Clockwork:
    """One namespace; supervisors are made when they are first asked to tick."""

    def __init__(self, store: BlockingStore, server: EmbeddedStore, *jobs: JobDef) -> None:
        self.store = store
        self.server = server
        self.clock = SetClock()
        self.config = Config(
            settings=Settings(namespace="clockwork"), jobs={job.name: job for job in jobs}
        )
        self.keys = Keys("clockwork")
        self.ring: Ring | None = None
        self.boot_id = "boot"
        self._schedulers: dict[str, Scheduler] = {}
        self._stores: list[AsyncStore] = []
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        for store in self._stores:
            self._loop.run_until_complete(store.close())
        self._loop.close()

    def raw(self, *words: str | int) -> Any:
        return self.store.run(Call(words, lambda reply: reply))

    def decided(self, last: float, name: str = "j") -> None:
        """Let a schedule have been decided up to then."""
        entry = next(
            entry
            for entry in schedule_entries(self.config, host="h", timezone="UTC")
            if entry.name == name
        )
        key = self.keys.schedule(name)
        self.raw("HSET", key, "gen", entry.generation, "last", round(last * 1000))

    def scheduler(self, name: str = "s1") -> Scheduler:
        if name not in self._schedulers:
            store = AsyncStore(self.server.address)
            self._stores.append(store)
            made = Scheduler(
                store, self.keys, an_identity(name, boot_id=self.boot_id),
                peers=list, clock=self.clock, ring=lambda: self.ring,
            )  # fmt: skip
            made.configure(self.config)
            self._schedulers[name] = made
        return self._schedulers[name]

    def tick(self, at: float | None = None, *names: str) -> float:
        """Let supervisors look at their clock, which says ``at``; return the first one's pause."""
        if at is not None:
            self.clock.pass_to(at)

        async def together() -> list[float]:
            return await asyncio.gather(*(self.scheduler(name).tick() for name in names or ("s1",)))

        return self._loop.run_until_complete(together())[0]

    def reload(self, *jobs: JobDef, names: tuple[str, ...] = ("s1",)) -> None:
        """Have supervisors take over another configuration."""
        self.config = replace(self.config, jobs={job.name: job for job in jobs})
        for name in names:
            self.scheduler(name).configure(self.config)

    def restart(self) -> None:
        """Let all supervisors be killed; the next tick is of new ones."""
        self._schedulers.clear()

    def live(self, live: LiveSchedule | None, name: str, order: Callable[[str, str], str]) -> int:
        """Put a live schedule into the store, or remove it; return the version after it."""
        before = self.store.run(decisions.live_schedules(self.keys)).get(name, "")
        after = "" if live is None else sealed(live, order)
        what = "rm" if live is None else "add" if live.own else "set"
        call = decisions.change_live(
            self.keys, name, what=what, before=before, after=after, who="me"
        )
        assert self.store.run(call)
        return self.store.run(decisions.live_version(self.keys))

    def decisions(self, name: str = "j") -> list[Decision]:
        return self.store.run(queries.schedule_history(self.keys, name, newest=200))[::-1]

    def story(self, name: str = "j") -> list[str]:
        """What was decided, oldest first, as "12:10 fire ok"."""
        return [
            f"{datetime.fromtimestamp(one.instant, UTC):%H:%M} {one.kind} {one.answer.split(' ')[0]}"
            for one in self.decisions(name)
        ]

    def runs(self, queue: str = "default") -> list[str]:
        """Ids of the runs that are ready."""
        return self.store.run(queries.ready_ids(self.keys, queue, 5, newest=1000))
