"""What the scheduler makes of clocks that jump, of downtime, and of changed configurations."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from clockwork import NOON, a_job

from jobctl.model.job import JobDef, Missed, Overlap, ScheduleDef
from jobctl.store import decisions, queries

if TYPE_CHECKING:
    from collections.abc import Callable

    from clockwork import Clockwork

    Make = Callable[..., Clockwork]

MINUTE, HOUR = 60, 3600


def free(rule: str = "*/10 * * * *", **keys: object):
    return a_job(rule, overlap=Overlap.ALLOW, **keys)


@pytest.mark.parametrize("step", [MINUTE, HOUR, 2.9 * HOUR])
def test_clock_set_back_a_little_repeats_nothing_and_goes_on(clockwork: Make, step: float):
    here = clockwork(free())
    here.decided(NOON)
    here.tick(NOON + 10 * MINUTE)
    here.tick(NOON + 10 * MINUTE - step)
    here.tick(NOON + 15 * MINUTE - step)
    here.tick(NOON + 20 * MINUTE)
    assert here.story() == ["12:10 fire ok", "12:20 fire ok"]


def test_clock_set_back_by_hours_is_believed(clockwork: Make):
    """The clock was wrong before, so what was decided by it does not stop the schedule."""
    here = clockwork(free("* * * * * *"))
    now = int(time.time()) - 30
    here.decided(now + 4 * HOUR)
    here.tick(now + 4 * HOUR)
    for second in range(4):
        here.tick(now + second)
    assert [round(one.instant) - now for one in here.decisions()] == [1, 2, 3]


def test_supervisors_agree_after_a_clock_was_set_back_by_hours(clockwork: Make):
    here = clockwork(free("* * * * * *"))
    now = int(time.time()) - 30
    here.decided(now + 4 * HOUR)
    here.tick(now + 4 * HOUR, "s1", "s2")
    for second in range(4):
        here.tick(now + second, "s1", "s2")
    assert [round(one.instant) - now for one in here.decisions()] == [1, 2, 3]
    assert len(here.runs()) == 3


@pytest.mark.parametrize(
    ("step", "kinds"),
    [
        (MINUTE, []),
        (11 * MINUTE, ["late ok"]),
        (HOUR, ["missed missed"] * 5 + ["fire ok"]),
        (4 * HOUR, ["missed missed"] * 23 + ["fire ok"]),
        (28 * HOUR, ["missed missed"] * 167 + ["fire ok"]),
    ],
)
def test_time_without_a_daemon_is_missed(clockwork: Make, step: float, kinds: list[str]):
    here = clockwork(free())
    here.decided(NOON)
    here.tick(NOON + step)
    assert [line.partition(" ")[2] for line in here.story()] == kinds


def test_clock_set_forward_by_hours_makes_up_for_nothing(clockwork: Make):
    """It was wrong before; the instants that it jumped over never were."""
    here = clockwork(free(missed=Missed.ALL))
    here.decided(NOON)
    here.tick(NOON)
    here.clock.at = NOON + 4 * HOUR
    here.tick()
    here.tick(NOON + 5 * HOUR)
    kinds = [one.kind for one in here.decisions()]
    assert kinds == ["missed"] * 23 + ["fire"] + ["catchup"] * 5 + ["fire"]


def test_clock_set_forward_by_less_is_downtime(clockwork: Make):
    here = clockwork(free(missed=Missed.ALL))
    here.decided(NOON)
    here.tick(NOON)
    here.clock.at = NOON + HOUR
    here.tick()
    assert [one.kind for one in here.decisions()] == ["catchup"] * 5 + ["fire"]


def test_sleep_of_28_hours_makes_up_once_within_the_window(clockwork: Make):
    here = clockwork(free("0 * * * *", missed=Missed.ONCE))
    here.decided(NOON)
    here.tick(NOON)
    here.tick(NOON + 28 * HOUR + 30 * MINUTE)
    made = [one for one in here.decisions() if one.kind != "missed"]
    assert [(one.kind, round((one.instant - NOON) / HOUR)) for one in made] == [("catchup", 28)]
    assert len(here.decisions()) == 28


def test_window_and_most_bound_what_is_made_up_for(clockwork: Make):
    here = clockwork(free(missed=Missed.ALL, catchup_window=2 * HOUR, catchup_max=3))
    here.decided(NOON)
    here.tick(NOON + 10 * HOUR)
    kinds = [one.kind for one in here.decisions()]
    assert kinds == ["missed"] * 56 + ["catchup"] * 3 + ["fire"]


def test_every_missed_instant_is_listed_or_counted(clockwork: Make):
    here = clockwork(free("* * * * *"))
    here.decided(NOON)
    here.tick(NOON + 10 * HOUR)
    found = here.decisions()
    counted = int(here.store.run(queries.schedule(here.keys, "j"))["cut"])
    assert counted + len(found) == 600
    assert {one.kind for one in found} == {"missed", "fire", "late"}


def test_made_up_runs_are_spread_by_jitter_from_when_they_are_decided(clockwork: Make):
    here = clockwork(free("0 * * * *", missed=Missed.ONCE, jitter=1800.0))
    now = float(int(time.time()))
    here.decided(now - 5 * HOUR)
    here.tick(now)
    catchup = next(one for one in here.decisions() if one.kind == "catchup")
    record = here.raw("HGET", here.keys.run(catchup.run_id), "nb")
    offset = float(record) / 1000 - now
    assert 0 < offset < 1800
    # Another boot does not push it out: it is decided.
    here.restart()
    here.tick(now + 60)
    assert here.raw("HGET", here.keys.run(catchup.run_id), "nb") == record
    assert [one.kind for one in here.decisions()].count("catchup") == 1


def test_made_up_run_that_is_too_late_to_start_expires(clockwork: Make):
    here = clockwork(free("0 * * * *", missed=Missed.ONCE, jitter=600.0, start_deadline=1200.0))
    now = (int(time.time()) // HOUR) * HOUR + 0.0
    here.decided(now - 5 * HOUR)
    here.tick(now - 10 * MINUTE)
    catchup = next(one for one in here.decisions() if one.kind == "catchup")
    due, expires = here.raw("HMGET", here.keys.run(catchup.run_id), "nb", "xp")
    assert float(expires) <= time.time() * 1000 < float(due) + 2 * HOUR * 1000


def test_instants_outside_the_window_of_a_schedule_hide_no_missed_one(clockwork: Make):
    """What is made up for is the newest instant that was one."""
    end = "2021-06-01T13:30:00+00:00"
    here = clockwork(free("0 * * * *", missed=Missed.ONCE, not_after=end))
    here.decided(NOON)
    here.tick(NOON + 5 * HOUR + MINUTE * 30)
    assert here.story() == ["13:00 catchup ok"]


def test_instants_before_the_window_are_none(clockwork: Make):
    start = "2021-06-01T13:30:00+00:00"
    here = clockwork(free("0 * * * *", missed=Missed.ALL, not_before=start))
    here.decided(NOON)
    here.tick(NOON + 3 * HOUR + 30 * MINUTE)
    assert here.story() == ["14:00 catchup ok", "15:00 catchup ok"]


def test_number_of_runs_counts_over_restarts(clockwork: Make):
    here = clockwork(free(max_runs=2))
    here.decided(NOON)
    for number in range(1, 5):
        here.tick(NOON + number * 10 * MINUTE)
        here.restart()
    assert [line.split()[2] for line in here.story()] == ["ok", "ok", "spent"]


# Gaps in the clock


def twice(*rules: str, **keys: Any) -> JobDef:
    """A job with several schedules in Berlin, where 2021-03-28 has no 02:00 to 03:00."""
    schedules = tuple(
        ScheduleDef(name=f"j#{number}", rule=rule, **keys.pop(f"of{number}", {}))
        for number, rule in enumerate(rules, 1)
    )
    return replace(free(timezone="Europe/Berlin", **keys), schedules=schedules)


GAP_END = datetime(2021, 3, 28, 1, tzinfo=UTC).timestamp()


def answers(here: Clockwork, *names: str) -> list[str]:
    return sorted(line.split()[2] for name in names for line in here.story(name))


def test_skipped_times_of_one_job_are_one_run(clockwork: Make):
    here = clockwork(twice("0 2 * * *", "30 2 * * *", "0 3 * * *"))
    for number in (1, 2, 3):
        here.decided(GAP_END - HOUR, f"j#{number}")
    here.tick(GAP_END)
    assert answers(here, "j#1", "j#2", "j#3") == ["dup", "dup", "ok"]
    for at in (23 * HOUR, 23 * HOUR + 30 * MINUTE, 24 * HOUR):
        here.tick(GAP_END + at)
    assert len(here.runs()) == 1 + 3


def test_skipped_times_that_ask_for_different_things_are_runs_of_their_own(clockwork: Make):
    here = clockwork(twice("0 2 * * *", "30 2 * * *", of2={"kwargs": {"full": True}}))
    for number in (1, 2):
        here.decided(GAP_END - HOUR, f"j#{number}")
    here.tick(GAP_END)
    assert answers(here, "j#1", "j#2") == ["ok", "ok"]


# Reloads


def test_reload_without_change_loses_and_doubles_nothing(clockwork: Make):
    here = clockwork(free())
    here.decided(NOON)
    here.tick(NOON + 10 * MINUTE)
    here.reload(free())
    here.tick(NOON + 10 * MINUTE)
    here.reload(free())
    here.tick(NOON + 20 * MINUTE)
    assert here.story() == ["12:10 fire ok", "12:20 fire ok"]


def test_changed_jitter_neither_repeats_nor_skips(clockwork: Make):
    here = clockwork(free(jitter=60.0))
    here.decided(NOON)
    here.tick(NOON + 10 * MINUTE)
    here.reload(free(jitter=300.0))
    here.tick(NOON + 10 * MINUTE + 1)
    here.tick(NOON + 20 * MINUTE)
    assert here.story() == ["12:10 fire ok", "12:20 fire ok"]


@pytest.mark.parametrize(
    "changed",
    [free("*/5 * * * *", missed=Missed.ALL), free(missed=Missed.ALL, timezone="Asia/Tokyo")],
)
def test_schedule_edited_while_it_has_to_make_up_replays_no_past(clockwork: Make, changed):
    here = clockwork(free(missed=Missed.ALL))
    here.decided(NOON)
    here.reload(changed)
    here.tick(NOON + 3 * HOUR)
    assert [line.split()[1] for line in here.story()] == ["changed"]


def test_rule_that_is_changed_back_starts_anew(clockwork: Make):
    here = clockwork(free(missed=Missed.ALL))
    here.decided(NOON)
    here.reload(free("*/5 * * * *", missed=Missed.ALL))
    here.tick(NOON + HOUR)
    here.reload(free(missed=Missed.ALL))
    here.tick(NOON + 2 * HOUR)
    assert [line.split()[1] for line in here.story()] == ["changed", "changed"]


def test_policy_changed_while_it_has_to_make_up_counts_from_then_on(clockwork: Make):
    here = clockwork(free(missed=Missed.ALL))
    here.decided(NOON)
    here.reload(free(missed=Missed.ONCE))
    here.tick(NOON + 31 * MINUTE)
    assert here.story() == ["12:10 missed missed", "12:20 catchup ok", "12:30 late ok"]


def test_removed_schedule_decides_nothing_more(clockwork: Make):
    here = clockwork(free())
    here.decided(NOON)
    here.tick(NOON + 10 * MINUTE)
    here.reload(free(name="k"))
    here.tick(NOON + 20 * MINUTE)
    assert [line.split()[1] for line in here.story()] == ["fire", "removed"]


def test_schedule_that_comes_back_replays_nothing_and_counts_anew(clockwork: Make):
    here = clockwork(free(missed=Missed.ALL, max_runs=9), free(name="k"))
    here.decided(NOON)
    here.tick(NOON + 10 * MINUTE)
    here.reload(free(name="k"))
    here.tick(NOON + 20 * MINUTE)
    here.restart()
    here.reload(free(missed=Missed.ALL, max_runs=9), free(name="k"))
    here.tick(NOON + 3 * HOUR)
    assert [line.split()[1] for line in here.story()] == ["fire", "removed", "changed"]
    assert "fired" not in here.store.run(queries.schedule(here.keys, "j"))


def test_schedule_that_is_removed_on_one_host_goes_on_where_it_is(clockwork: Make):
    here = clockwork(free("* * * * * *"))
    now = int(time.time()) - 10.0
    here.decided(now)
    here.tick(now + 1, "s1", "s2")
    here.reload(free(name="k"), names=("s2",))
    here.tick(now + 1, "s2")
    here.tick(now + 2, "s1")
    here.tick(now + 2, "s1")
    kinds = [line.split()[1] for line in here.story()]
    assert kinds == ["fire", "removed", "changed"]


# Off in the file


def test_schedule_switched_off_in_the_file_replays_nothing_when_it_is_on_again(clockwork: Make):
    here = clockwork(free(missed=Missed.ALL))
    here.decided(NOON)
    here.tick(NOON + 10 * MINUTE)
    here.reload(free(missed=Missed.ALL, enabled=False))
    here.tick(NOON + 20 * MINUTE)
    here.reload(free(missed=Missed.ALL))
    here.tick(NOON + 3 * HOUR)
    assert [line.split(" ", 1)[1] for line in here.story()] == [
        "fire ok", "changed restart", "changed restart",
    ]  # fmt: skip


def test_neither_does_it_when_the_daemon_was_down_meanwhile(clockwork: Make):
    here = clockwork(free(missed=Missed.ALL))
    here.decided(NOON)
    here.reload(free(missed=Missed.ALL, enabled=False))
    here.tick(NOON + 10 * MINUTE)
    here.restart()
    here.reload(free(missed=Missed.ALL))
    here.tick(NOON + 3 * HOUR)
    assert here.runs() == []


def test_number_of_runs_is_not_forgotten_by_switching_off_in_the_file(clockwork: Make):
    here = clockwork(free("* * * * * *", max_runs=1))
    now = int(time.time()) - 10.0
    here.decided(now)
    here.tick(now + 1)
    here.reload(free("* * * * * *", max_runs=1, enabled=False))
    here.tick(now + 1)
    here.reload(free("* * * * * *", max_runs=1))
    here.tick(now + 2)
    fired = here.store.run(queries.schedule(here.keys, "j"))["fired"]
    assert fired == "1"


def test_schedule_that_is_off_on_one_host_goes_on_where_it_is_on(
    clockwork: Make, caplog: pytest.LogCaptureFixture
):
    """Files may differ for a while; a host that starts must not stop the others silently."""
    here = clockwork(free("* * * * * *"))
    now = int(time.time()) - 10.0
    here.decided(now)
    here.tick(now + 1, "s1")
    here.reload(free("* * * * * *", enabled=False), names=("s2",))
    here.tick(now + 1, "s2")
    here.tick(now + 2, "s1")
    here.tick(now + 2, "s1")
    # It goes on from now; for this clock that is still to come.
    here.raw("HSET", here.keys.schedule("j"), "last", round((now + 2) * 1000))
    here.reload(free("* * * * * *"))
    here.tick(now + 3, "s1")
    assert [line.split()[1] for line in here.story()] == ["fire", "changed", "changed", "fire"]
    assert "is off in jobs.toml of another host" in caplog.text


# Off at run time


def test_disabled_schedule_is_decided_and_makes_no_run(clockwork: Make):
    here = clockwork(free(missed=Missed.ALL))
    here.decided(NOON)
    here.store.run(decisions.switch(here.keys, ["j"], what="off", who="me"))
    here.tick(NOON + 31 * MINUTE)
    assert here.runs() == []
    assert [line.split(" ", 1)[1] for line in here.story()[1:]] == [
        "catchup disabled", "catchup disabled", "late disabled",
    ]  # fmt: skip


def test_store_that_forgot_a_schedule_loses_no_instant_of_it(clockwork: Make):
    here = clockwork(free())
    here.decided(NOON)
    here.tick(NOON + 10 * MINUTE)
    here.raw("DEL", here.keys.schedule("j"))
    here.tick(NOON + 20 * MINUTE)
    here.tick(NOON + 20 * MINUTE + 1)
    assert here.story() == ["12:10 fire ok", "12:20 fire ok"]


# Boots


@pytest.mark.parametrize("rule", ["@reboot", "@start"])
def test_one_that_is_added_by_a_reload_waits_for_the_next(clockwork: Make, rule: str):
    here = clockwork(free())
    here.tick(NOON)
    here.reload(free(), free(rule, name="r"))
    here.tick(NOON)
    assert here.decisions("r") == []
    here.restart()
    here.tick(NOON)
    here.restart()
    here.boot_id = "another"
    here.tick(NOON, "s2")
    assert len(here.decisions("r")) == 1


def test_store_that_lost_its_data_repeats_no_boot(clockwork: Make):
    here = clockwork(free("@reboot", name="r"))
    here.tick(NOON)
    here.raw("DEL", here.keys.schedule("r"))
    here.scheduler().configure(here.config)
    here.tick(NOON)
    assert len(here.decisions("r")) == 1


def test_reboot_fires_once_a_boot_and_start_once_a_start(clockwork: Make):
    here = clockwork(free("@reboot", name="r"), free("@start", name="s"))
    here.tick(NOON, "s1")
    here.restart()
    here.tick(NOON, "s2")
    here.restart()
    here.boot_id = "another"
    here.tick(NOON, "s3")
    assert len(here.decisions("r")) == 2
    assert len(here.decisions("s")) == 3


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_each_instant_is_decided_once(clockwork: Make, seed: int):
    """Outages, kills, reloads and switches, seen by three supervisors."""
    rnd = random.Random(seed)
    policies = (Missed.SKIP, Missed.ONCE, Missed.ALL)
    here = clockwork(free("*/5 * * * *", missed=rnd.choice(policies)))
    now = (int(time.time()) // 300 - 170) * 300.0
    here.decided(now)
    first = now
    while now < first + 140 * 300:
        now += rnd.choice((1, 60, 299, 300, 301, 900, 4000))
        act = rnd.random()
        if act < 0.1:
            here.restart()
        elif act < 0.2:
            here.reload(free("*/5 * * * *", missed=rnd.choice(policies)), names=("s1", "s3"))
        elif act < 0.4:
            what = rnd.choice(("off", "on", "once"))
            here.store.run(decisions.switch(here.keys, ["j"], what=what, who="me"))
        here.tick(now, *rnd.sample(("s1", "s2", "s3"), k=rnd.choice((1, 2, 3))))
    here.tick(now)

    assert "cut" not in here.store.run(queries.schedule(here.keys, "j"))
    kinds = ("fire", "late", "catchup", "missed")
    found = [one for one in here.decisions() if one.kind in kinds]
    wanted = [first + 300 * n for n in range(1, int((now - first) // 300) + 1)]
    assert [one.instant for one in found] == wanted
    made = [one.run_id for one in found if one.answer == "ok"]
    assert len(set(made)) == len(made) <= len(here.runs())


# Foreign keys


@pytest.mark.parametrize("when", ["before", "after"])
def test_foreign_key_in_the_place_of_one_schedule_stops_no_other(
    clockwork: Make, caplog: pytest.LogCaptureFixture, when: str
):
    here = clockwork(free(name="bad"), free())
    here.decided(NOON, "bad")
    here.decided(NOON)
    if when == "after":
        here.tick(NOON)
    here.raw("DEL", here.keys.schedule("bad"))
    here.raw("SET", here.keys.schedule("bad"), "foreign")
    pauses = [here.tick(NOON + number * 10 * MINUTE) for number in (1, 2, 3)]
    assert here.story() == ["12:10 fire ok", "12:20 fire ok", "12:30 fire ok"]
    assert all(pause <= 15 for pause in pauses)
    assert caplog.text.count("bad cannot be decided") == 1

    here.raw("DEL", here.keys.schedule("bad"))
    here.decided(NOON + 30 * MINUTE, "bad")
    here.tick(NOON + 40 * MINUTE)
    here.tick(NOON + 40 * MINUTE + 20)
    assert here.story("bad")[-1].split()[0] == "12:40"
    assert here.story()[-1] == "12:40 fire ok"


def test_foreign_key_where_the_run_of_one_schedule_is_to_go_stops_no_other(clockwork: Make):
    bad = a_job("*/10 * * * *", name="bad", overlap=Overlap.SKIP)
    here = clockwork(bad, free())
    here.decided(NOON, "bad")
    here.decided(NOON)
    here.raw("SET", here.keys.live("bad"), "foreign")
    here.tick(NOON + 10 * MINUTE)
    here.tick(NOON + 20 * MINUTE)
    assert here.story() == ["12:10 fire ok", "12:20 fire ok"]
    here.raw("DEL", here.keys.live("bad"))
    here.tick(NOON + 20 * MINUTE + 20)
    here.tick(NOON + 20 * MINUTE + 20)
    assert [line.split()[0] for line in here.story("bad")] == ["12:10", "12:20"]


def test_reload_brings_back_what_was_set_aside_and_is_mended(clockwork: Make):
    here = clockwork(free("* * * * * *"))
    here.raw("SET", here.keys.schedule("j"), "foreign")
    here.tick(NOON)
    here.raw("DEL", here.keys.schedule("j"))
    here.decided(NOON)
    here.reload(free("* * * * * *"))
    for second in range(1, 5):
        here.tick(NOON + second)
    assert len(here.decisions()) == 4
