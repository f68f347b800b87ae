"""Schedules that are kept in the store, as supervisors see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from clockwork import NOON, a_job

from jobctl.errors import UnreachableError
from jobctl.model.job import Missed, Overlap
from jobctl.model.overlay import LiveSchedule
from jobctl.model.sealing import Key, Ring
from jobctl.store import decisions, queries
from jobctl.store.aio import AsyncStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from clockwork import Clockwork

    from jobctl.store.calls import Call

    Make = Callable[..., Clockwork]

MINUTE = 60
KEY = Key("k1", b"\1" * 32)


def a_ring(*keys: Key) -> Ring:
    return Ring(keys or (KEY,), namespace="clockwork", signer=(keys or (KEY,))[0], valid_for=1e9)


def signed(words: str, target: str) -> str:
    return a_ring().order(words, target, now=NOON)


def unsigned(words: str, target: str) -> str:
    del target
    return words


def a_live(
    name: str = "extra", *, job: str = "j", own: bool = True, **keys: object
) -> LiveSchedule:
    return LiveSchedule(name=name, job=job, own=own, keys=keys, by="me@h", at=NOON)


@pytest.fixture
def here(clockwork: Make) -> Clockwork:
    """A job without schedule and one with; two supervisors are at work."""
    idle = a_job("0 0 1 1 *", name="file", overlap=Overlap.ALLOW)
    made = clockwork(a_job("*/10 * * * *", overlap=Overlap.ALLOW, missed=Missed.ALL), idle)
    made.ring = a_ring()
    made.decided(NOON)
    made.decided(NOON, "file")
    made.tick(NOON, "s1", "s2")
    return made


def told(here: Clockwork, version: int) -> None:
    for name in ("s1", "s2"):
        here.scheduler(name).note_live(version)


def since(here: Clockwork, name: str = "extra") -> None:
    """Let a live schedule be one since noon."""
    here.restart()
    here.tick(NOON, "s1", "s2")
    here.raw("HSET", here.keys.schedule(name), "last", round(NOON * 1000))
    here.restart()


def test_live_schedule_is_known_to_every_supervisor_and_fires_once(here: Clockwork):
    told(here, here.live(a_live(rule="*/5 * * * *", queue="slow"), "extra", signed))
    since(here)
    here.tick(NOON + 5 * MINUTE, "s1", "s2")
    assert here.story("extra")[1:] == ["12:05 fire ok"]
    assert len(here.runs("slow")) == 1


def test_supervisor_that_starts_later_knows_it_too(here: Clockwork):
    here.live(a_live(rule="*/5 * * * *"), "extra", signed)
    since(here)
    here.tick(NOON + 5 * MINUTE, "s3")
    assert here.story("extra")[1:] == ["12:05 fire ok"]


def test_new_live_schedule_replays_no_past(here: Clockwork):
    told(here, here.live(a_live(rule="* * * * *", missed="all"), "extra", signed))
    here.tick(NOON + 60 * MINUTE, "s1")
    assert here.story("extra")[1:] == []


def test_change_of_one_job_leaves_the_others_where_they_are(here: Clockwork):
    here.tick(NOON + 10 * MINUTE, "s1")
    told(here, here.live(a_live(job="file", rule="*/5 * * * *"), "extra", signed))
    here.tick(NOON + 10 * MINUTE, "s1", "s2")
    here.tick(NOON + 20 * MINUTE, "s1", "s2")
    assert here.story() == ["12:10 fire ok", "12:20 fire ok"]


def test_removed_live_schedule_vanishes_also_for_who_was_not_told(here: Clockwork):
    told(here, here.live(a_live(rule="*/5 * * * *"), "extra", signed))
    since(here)
    here.tick(NOON, "s1", "s2")
    here.live(None, "extra", signed)
    here.tick(NOON + 5 * MINUTE, "s1", "s2")
    here.tick(NOON + 5 * MINUTE + 1, "s1", "s2")
    here.tick(NOON + 10 * MINUTE, "s1", "s2")
    assert here.decisions("extra") == []
    assert here.raw("EXISTS", here.keys.schedule("extra")) == 0
    assert here.story() == ["12:10 fire ok"]


def test_schedule_of_the_file_is_changed_and_changed_back(here: Clockwork):
    told(here, here.live(a_live("j", own=False, priority=9), "j", signed))
    here.tick(NOON + 10 * MINUTE, "s1")
    run = here.store.run(queries.run(here.keys, here.decisions()[-1].run_id))
    assert run is not None
    assert run.request.priority == 9
    before = here.store.run(decisions.live_schedules(here.keys))["j"]
    here.store.run(
        decisions.change_live(here.keys, "j", what="unset", before=before, after="", who="me")
    )
    told(here, 2)
    here.tick(NOON + 20 * MINUTE, "s1")
    run = here.store.run(queries.run(here.keys, here.decisions()[-1].run_id))
    assert run is not None
    assert run.request.priority == 5


def test_changed_rule_of_the_file_starts_from_then(here: Clockwork):
    told(here, here.live(a_live("j", own=False, rule="*/7 * * * *"), "j", signed))
    here.tick(NOON + 60 * MINUTE, "s1")
    assert [line.split()[1] for line in here.story()] == ["set", "changed"]


@pytest.mark.parametrize(
    "record",
    [
        "{}", "x", '{"j":"j","o":true,"k":{"rule":"*\\u0020*\\u0020*\\u0020*\\u0020*"},"b":"x","t":1}',
        "[" * 5000,
    ],
)  # fmt: skip
def test_live_schedule_that_is_not_signed_is_never_used(here: Clockwork, record: str):
    here.raw("HSET", here.keys.live_schedules, "extra", record)
    told(here, 1)
    here.tick(NOON + 60 * MINUTE, "s1", "s2")
    assert here.raw("EXISTS", here.keys.schedule("extra")) == 0
    assert here.raw("HGET", here.keys.live_schedules, "extra") == record.encode()
    assert here.store.run(queries.counters(here.keys))["forged"] == "2"


@pytest.mark.parametrize("what", ["other name", "other key", "changed"])
def test_live_schedule_with_a_wrong_signature_is_never_used(here: Clockwork, what: str):
    def order(words: str, target: str) -> str:
        if what == "other name":
            return signed(words, "schedule another")
        if what == "other key":
            return a_ring(Key("k2", b"\2" * 32)).order(words, target, now=NOON)
        return signed(words, target).replace("*/5", "*/1")

    told(here, here.live(a_live(rule="*/5 * * * *"), "extra", order))
    here.tick(NOON + 60 * MINUTE, "s1", "s2")
    assert here.raw("EXISTS", here.keys.run("x"), here.keys.schedule("extra")) <= 1
    assert [one.kind for one in here.decisions("extra")] == ["add"]


def test_without_signing_live_schedules_need_none(here: Clockwork):
    here.ring = None
    told(here, here.live(a_live(rule="*/5 * * * *"), "extra", unsigned))
    since(here)
    here.tick(NOON + 5 * MINUTE, "s1")
    assert here.story("extra")[1:] == ["12:05 fire ok"]


@pytest.mark.parametrize(
    "live",
    [
        a_live(job="nosuch", rule="* * * * *"),
        a_live(rule="61 * * * *"),
        a_live(rule="* * * * *", timezone="Nowhere/City"),
        a_live(rule="* * * * *", jitter=60.0),
        a_live(rule="* * * * *", missed="never"),
        a_live(),
        a_live("file", rule="* * * * *"),
        a_live("file", job="j", own=False, rule="* * * * *"),
        a_live("other", own=False, rule="* * * * *"),
        a_live(rule=5),
        a_live(rule="* * * * *", kwargs=7),
        a_live(rule="* * * * *", max_runs="many"),
        a_live(rule="* * * * *", max_runs=0),
        a_live(rule="* * * * *", priority=10),
        a_live(rule="* * * * *", jitter="1"),
        a_live(rule="* * * * *", expires=-1),
        a_live(rule="* * * * *", queue=["x"]),
        a_live(rule="* * * * *", not_after="soon"),
        a_live(rule="* * * * *", not_before="2030-01-01T00:00:00"),
    ],
)
def test_live_schedule_that_does_not_fit_is_told_and_not_used(
    here: Clockwork, live: LiveSchedule, caplog: pytest.LogCaptureFixture
):
    told(here, here.live(live, live.name, signed))
    here.tick(NOON + 5 * MINUTE, "s1")
    here.tick(NOON + 10 * MINUTE, "s1")
    assert caplog.text.count(f"live schedule {live.name} is not used") == 1
    assert [one.kind for one in here.decisions(live.name)] == ["add" if live.own else "set"]
    assert here.story() == ["12:10 fire ok"]


def test_change_is_taken_up_although_the_store_fails_meanwhile(
    here: Clockwork, monkeypatch: pytest.MonkeyPatch
):
    version = here.live(a_live(rule="*/5 * * * *"), "extra", signed)
    real = AsyncStore.run

    async def away(self: AsyncStore, call: Call[object]) -> object:
        if call.script == "schedule":
            raise UnreachableError("the store is away")
        return await real(self, call)

    with monkeypatch.context() as patch:
        patch.setattr(AsyncStore, "run", away)
        here.scheduler().note_live(version)
        with pytest.raises(UnreachableError):
            here.tick(NOON)
    here.tick(NOON)
    here.tick(NOON)
    assert here.raw("EXISTS", here.keys.schedule("extra")) == 1
    assert here.raw("HEXISTS", here.keys.schedule("extra"), "gen") == 1
