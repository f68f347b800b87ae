"""Schedules: several supervisors decide the same instants, late, twice and with old settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.store import decisions
from tests.fuzz.cast import JOBS, SCHEDULED, Schedule
from tests.fuzz.wire import Wire
from tests.store.store_world import new_run

if TYPE_CHECKING:
    from jobctl.store.blocking import BlockingStore

EVERY = 0.010
"""Seconds between a schedule's instants."""


class Timing(Wire):
    def __init__(self, store: BlockingStore, seed: int) -> None:
        super().__init__(store, seed)
        self.schedules = [
            Schedule(f"{job}.1", job, most=5 if job == "plain" else None) for job in SCHEDULED
        ]
        self.boots = 0
        self.booted: set[tuple[str, str]] = set()
        for schedule in self.schedules:
            self.introduce(schedule)

    def introduce(self, schedule: Schedule) -> None:
        names = {schedule.name: schedule.generation}
        for _ in range(2):
            (schedule.last,) = self.carry_out(decisions.introduce_schedules(self.keys, names))

    def tick(self) -> None:
        schedule = self.random.choice(self.schedules)
        instant = schedule.last + self.random.choice((1, 1, 2)) * EVERY
        early = self.random.random() < 0.1
        if early:
            instant += 60
        missed = self.random.random() < 0.2
        options = {"queue": "default", **JOBS[schedule.job]}
        run = None if missed else new_run(job=schedule.job, **options)
        if run is not None:
            self.ids.append(run.request.id)
        call = decisions.tick(
            self.keys,
            schedule=schedule.name,
            generation=schedule.generation,
            previous=schedule.last,
            instant=instant,
            following=instant + EVERY,
            kind="missed" if missed else "fire",
            who="h1",
            run=run,
            max_runs=schedule.most,
        )
        reply = self.send(call)
        if early:
            assert reply is None or reply.answer.kind in ("early", "moved")
        if reply is not None and reply.answer.kind != "early":
            assert reply.last is not None
            schedule.last = reply.last
        if reply is None:
            # Whoever does not know reads what was decided.
            last = self.world.raw("HGET", self.keys.schedule(schedule.name), "last")
            schedule.last = float(last) / 1000

    def boot(self) -> None:
        """Each host fires once per boot, however often it says that it booted."""
        schedule, host = self.random.choice(self.schedules), self.random.choice(("a", "b"))
        self.boots += self.random.random() < 0.3
        boot_id = str(self.boots)
        run = new_run(job=schedule.job, **JOBS[schedule.job])
        self.ids.append(run.request.id)
        call = decisions.boot(
            self.keys, schedule=schedule.name, host=host, boot_id=boot_id, who=host, run=run
        )
        reply = self.carry_out(call)
        if reply is None:
            return
        known = (f"{schedule.name} {host}", boot_id)
        assert (reply.kind == "moved") == (known in self.booted)
        self.booted.add(known)

    def reload(self) -> None:
        """The rule of a schedule changes: what was decided by the old one is not decided again."""
        schedule = self.random.choice(self.schedules)
        old, schedule.generation = schedule.generation, str(int(schedule.generation) + 1)
        before = schedule.last
        self.introduce(schedule)
        call = decisions.tick(
            self.keys, schedule=schedule.name, generation=old, previous=before,
            instant=before + EVERY, following=None, kind="missed", who="h1", run=None,
        )  # fmt: skip
        assert self.carry_out(call).answer.kind == "foreign"

    def switch(self) -> None:
        """Somebody switches schedules off, until a moment later or for an instant, or on."""
        what = self.random.choice(("off", "off", "on", "on", "once"))
        until = None
        if what == "off" and self.random.random() < 0.5:
            until = self.world.now() + self.random.choice((0.001, 0.02, 60.0))
        chosen = self.random.sample(self.schedules, k=self.random.choice((1, 2)))
        names = [schedule.name for schedule in chosen]
        self.send(decisions.switch(self.keys, names, what=what, until=until, who="me"))

    def skip(self) -> None:
        """Somebody moves a cursor, as he has seen it or as it was."""
        schedule = self.random.choice(self.schedules)
        before = schedule.last
        target = before + self.random.choice((-1, 1, 3)) * EVERY
        call = decisions.skip_to(self.keys, schedule.name, last=before, target=target, who="me")
        reply = self.send(call)
        if reply is not None and reply[0] == "ok":
            assert abs(reply[1] - target) < 0.001
            assert target > before

    def change_live(self) -> None:
        """Two people change a live schedule; each change is made on what was read."""
        before = self.world.raw("HGET", self.keys.live_schedules, "live.1") or b""
        seen = self.random.choice((before.decode(), "nobody has read this"))
        after = self.random.choice(("", "a", "b"))
        version = self.world.raw("GET", self.keys.live_version) or b"0"
        call = decisions.change_live(
            self.keys, "live.1", what="set" if after else "rm", before=seen, after=after, who="me"
        )
        done = self.carry_out(call)
        if done is not None:
            assert done == (seen == before.decode())
            now = self.world.raw("GET", self.keys.live_version) or b"0"
            assert int(now) - int(version) == done
