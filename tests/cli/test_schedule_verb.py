"""``jobctl schedule``: listings, orders to schedules, and schedules that are kept in the store."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.clock import Clock
from jobctl.engine.identity import Identity
from jobctl.engine.scheduler import Scheduler
from jobctl.host import host_name, host_zone
from jobctl.store import queries, transitions
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from project import Project, Worker

MORE = """
[jobs.often]
command = "true"
schedule = "* * * * * *"

[jobs.twice]
command = "true"
overlap = "allow"
schedule = ["0 3 * * *", "0 4 * * *"]

[jobs.hourly]
command = "true"
overlap = "allow"
schedule = "0 * * * *"

[jobs.alone-hourly]
command = "true"
schedule = "0 * * * *"

[jobs.every]
command = "true"
overlap = "allow"
schedule = "@every 10m"

[jobs.asleep]
command = "true"
schedule = "0 5 * * *"
enabled = false

[jobs.booted]
command = "true"
schedule = "@reboot"
"""


GIVING_WAY = """
[jobs.newest]
command = "true"
overlap = "queue"
schedule = "* * * * * *"

[jobs.instead]
command = "true"
overlap = "replace"
schedule = "* * * * * *"

[jobs.soon]
command = "true"
overlap = "allow"
start_deadline = "1s"
schedule = "* * * * * *"
"""


class SetClock(Clock):
    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def epoch(self) -> float:
        return self.at


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(more=MORE)


def decide(project: Project, *, at: float | None = None) -> None:
    """Let a supervisor look at the schedules once, at this time by its clock, or now.

    That is one moment: no second begins between two of its ticks.
    """
    at = time.time() if at is None else at

    async def once() -> None:
        store = AsyncStore(project.session.address)
        scheduler = Scheduler(
            store, project.keys,
            Identity.of_this_process(host=host_name(None), timezone=host_zone(), boot_id="b"), peers=list, clock=SetClock(at),
            seal=project.session.signing.seal, ring=lambda: project.session.signing.ring,
        )  # fmt: skip
        scheduler.configure(project.session.config)
        await scheduler.tick()
        await scheduler.tick()
        await store.close()

    asyncio.run(once())


def finish_all(project: Project, worker: Worker) -> None:
    """Let everything that waits run and succeed."""
    while project.session.run(queries.ready_length(project.keys, "default", 5)):
        worker.finish()


def since(project: Project, name: str, seconds: float) -> float:
    """Let a schedule have been decided up to so long ago; return when that was."""
    at = int(project.session.clock.epoch() - seconds) + 0.0
    key = project.keys.schedule(name)
    project.session.run(Call(("HSET", key, "last", round(at * 1000)), bool))
    return at


def rows(project: Project, *words: str) -> dict[str, dict[str, Any]]:
    result = project.jobctl("schedule", *words, "--json")
    assert result.code == 0, result.err
    return {row["schedule"]: row for row in result.json["schedules"]}


def outcomes(project: Project, name: str) -> list[str]:
    return [one["outcome"] for one in rows(project, "show", name)[name]["decisions"]]


def test_schedule_with_nothing_to_come_says_so(make_project: Callable[..., Project]):
    project = make_project(
        more="""
[jobs.past]
command = "true"
schedule = "@at 2021-01-01T00:00:00Z"

[jobs.season]
command = "true"
schedules = [{schedule = "0 * * * *", not_after = "2021-01-01T00:00:00Z"}]
"""
    )
    decide(project)
    found = rows(project)
    assert {name: found[name]["state"] for name in ("past", "season")} == {
        "past": "done", "season": "over",
    }  # fmt: skip


def test_instant_that_is_still_to_be_made_up_for_is_not_over(make_project: Callable[..., Project]):
    project = make_project(
        more='[jobs.past]\ncommand = "true"\nschedule = "@at 2021-01-01T00:00:00Z"\n'
    )
    decide(project)
    key = project.keys.schedule("past")
    project.session.run(Call(("HSET", key, "last", 1_600_000_000_000), bool))
    assert rows(project)["past"]["state"] == "on"


def test_runs_of_boots_are_counted(project: Project):
    decide(project)
    assert rows(project)["booted"]["runs"] == 1


def test_list_shows_every_schedule_and_where_it_is_from(project: Project):
    decide(project)
    result = project.jobctl("schedule")
    assert result.code == 0
    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert set(lines) == {
        "SCHEDULE", "nightly", "often", "twice", "twice#2", "hourly", "alone-hourly", "every",
        "asleep", "booted",
    }  # fmt: skip
    assert "jobs.toml:" in lines["hourly"]
    assert "off in file" in lines["asleep"]
    assert "Europe/Berlin" in lines["nightly"]
    assert " 02:30:00 + " in lines["nightly"]
    assert rows(project)["booted"]["next"] is None


def test_show_tells_what_became_of_each_instant_and_of_its_run(project: Project, worker: Worker):
    decide(project)
    finish_all(project, worker)
    at = since(project, "often", 4)
    decide(project, at=at + 2.5)
    row = rows(project, "show", "often")["often"]
    first, second = row["decisions"][::-1][:2]
    assert (first["outcome"], first["run_state"]) == ("late", "queued")
    assert (second["outcome"], second["run_state"]) == ("skipped", "skipped")
    assert first["run"] in second["reason"]
    text = project.jobctl("schedule", "show", "often", "-n", "1")
    assert "skipped" in text.out
    assert "1 older decisions are not shown" in text.err


@pytest.mark.parametrize(
    ("name", "state", "why"),
    [
        ("newest", "skipped", "a newer run took its place"),
        ("instead", "revoked", "replaced by a newer run"),
    ],
)
def test_show_tells_why_an_accepted_run_gave_way(
    make_project: Callable[..., Project], name: str, state: str, why: str
):
    project = make_project(more=GIVING_WAY)
    decide(project)
    at = since(project, name, 4)
    decide(project, at=at + 2.5)
    older = rows(project, "show", name)[name]["decisions"][1]
    assert (older["outcome"], older["run_state"]) == ("late", state)
    assert why in older["reason"]
    assert why in project.jobctl("schedule", "show", name).out


def test_show_tells_that_a_run_was_not_started_in_time(make_project: Callable[..., Project]):
    project = make_project(more=GIVING_WAY)
    decide(project)
    at = since(project, "soon", 4)
    decide(project, at=at + 1.5)
    project.session.run(transitions.promote(project.keys))
    (one, *_) = rows(project, "show", "soon")["soon"]["decisions"]
    assert (one["outcome"], one["run_state"]) == ("fired", "expired")
    assert one["reason"] == "not started within start_deadline"


def test_disabled_schedule_makes_no_run_until_it_is_enabled(project: Project, worker: Worker):
    decide(project)
    assert "is off" in project.jobctl("schedule", "disable", "often").err
    assert "was off already" in project.jobctl("schedule", "disable", "often").err
    row = rows(project, "list", "often")["often"]
    assert (row["state"], row["next"]) == ("off", None)
    at = since(project, "often", 3)
    decide(project, at=at + 1)
    assert outcomes(project, "often")[0] == "disabled"
    assert "is on" in project.jobctl("schedule", "enable", "often").err
    assert rows(project, "list", "often")["often"]["state"] == "on"


def test_disabled_until_a_time_tells_when_it_is_on_again(project: Project):
    decide(project)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2, minutes=30)
    assert project.jobctl("schedule", "disable", "hourly", "--until", until.isoformat()).code == 0
    row = rows(project, "list", "hourly")["hourly"]
    assert datetime.fromisoformat(row["off_until"]) == until
    assert datetime.fromisoformat(row["next"]) >= until
    assert project.jobctl("schedule", "disable", "hourly", "--until", "2h").code == 0
    assert "off until" in project.jobctl("schedule", "list", "hourly").out


def test_disabled_once_lets_the_next_instant_go(project: Project):
    decide(project)
    before = datetime.fromisoformat(rows(project, "list", "hourly")["hourly"]["next"])
    project.jobctl("schedule", "disable", "hourly", "--once")
    row = rows(project, "list", "hourly")["hourly"]
    assert row["state"] == "once"
    assert datetime.fromisoformat(row["next"]) - before == timedelta(hours=1)


def test_next_tells_when_it_is_to_run_as_things_are(project: Project):
    decide(project)

    def coming(*words: str) -> list[datetime]:
        found = project.jobctl("schedule", "next", *words, "--json").json["next"]
        return [datetime.fromisoformat(one) for one in found]

    before = coming("hourly", "-n", "3")
    project.jobctl("schedule", "disable", "hourly", "--once")
    assert coming("hourly", "-n", "2") == before[1:]
    project.jobctl("schedule", "set", "hourly", "--max-runs", "2")
    assert coming("hourly") == [before[1], before[2]]
    project.jobctl("schedule", "disable", "hourly")
    assert coming("hourly") == []
    assert "hourly is off" in project.jobctl("schedule", "next", "hourly").err
    both = project.jobctl("schedule", "next", "twice", "-n", "2", "--json").json
    assert sorted(both["schedules"]) == ["twice", "twice#2"]


def test_job_stands_for_all_its_schedules_and_number_one_for_the_first(project: Project):
    decide(project)
    result = project.jobctl("schedule", "disable", "twice", "--json")
    assert [row["schedule"] for row in result.json["schedules"]] == ["twice", "twice#2"]
    project.jobctl("schedule", "enable", "twice#1")
    found = rows(project, "list", "twice")
    assert (found["twice"]["state"], found["twice#2"]["state"]) == ("on", "off")
    assert project.jobctl("schedule", "trigger", "twice").code == 2


def test_all_schedules_are_switched_off_and_on_for_maintenance(project: Project):
    project.jobctl("schedule", "disable", "--all", "--until", "2h")
    states = {row["schedule"]: row["state"] for row in rows(project).values()}
    assert states.pop("asleep") == "off in file"
    assert set(states.values()) == {"off"}
    assert project.jobctl("schedule", "enable", "--all").code == 0
    assert {row["state"] for row in rows(project).values()} == {"on", "off in file"}
    assert project.jobctl("schedule", "enable", "--all", "hourly").code == 2
    assert project.jobctl("schedule", "disable").code == 2


def test_what_is_off_in_the_file_is_switched_on_there(project: Project):
    result = project.jobctl("schedule", "enable", "asleep")
    assert result.code == 75
    assert "jobs.toml:" in result.err


def test_trigger_makes_the_run_that_the_schedule_would(project: Project, worker: Worker):
    project.jobctl("schedule", "add", "wide", "--job", "typed", "--schedule", "0 7 * * *",
                   "--priority", "8", "--queue", "slow", "path=a", "width=640")  # fmt: skip
    result = project.jobctl("schedule", "trigger", "wide")
    assert result.code == 0, result.err
    run = project.run(result.id)
    assert (run.request.kwargs["width"], run.request.priority, run.request.queue) == (
        640,
        8,
        "slow",
    )
    assert (run.request.trigger, run.request.scheduled_at) == ("manual", None)


def test_schedule_for_a_queue_that_does_not_exist_is_refused(project: Project, worker: Worker):
    result = project.jobctl(
        "schedule", "add", "wide", "--job", "hello", "--schedule", "0 7 * * *", "--queue", "slo"
    )
    assert result.code == 2
    assert "no queue 'slo'" in result.err
    assert "did you mean slow" in result.err


def test_trigger_obeys_overlap_unless_forced(project: Project, worker: Worker):
    assert project.jobctl("schedule", "trigger", "often").code == 0
    result = project.jobctl("schedule", "trigger", "often")
    assert result.code == 75
    assert "has not ended" in result.err
    forced = project.jobctl("schedule", "trigger", "often", "--force")
    assert forced.code == 0
    assert project.run(forced.id).state == "queued"


def test_skip_to_now_lets_go_what_is_to_be_made_up_for(project: Project):
    decide(project)
    since(project, "hourly", 5 * 3600)
    assert "goes on after" in project.jobctl("schedule", "skip-to", "hourly", "now").err
    decide(project)
    assert outcomes(project, "hourly") == ["event"]
    assert project.jobctl("schedule", "skip-to", "hourly", "2030-01-01T00:00").code == 2
    assert (
        "nothing to let go"
        in project.jobctl("schedule", "skip-to", "hourly", "2020-01-01T00:00").err
    )


def test_interval_stays_in_step_when_it_skips(project: Project):
    decide(project)
    at = since(project, "every", 3700)
    result = project.jobctl("schedule", "skip-to", "every", "now", "--json")
    last = datetime.fromisoformat(result.json["last_decided"]).timestamp()
    assert (last - at) % 600 == 0
    assert 0 <= project.session.clock.epoch() - last < 600


# Backfill


def test_backfill_makes_one_run_for_each_instant_once(project: Project, worker: Worker):
    span = ("--from", "2026-01-01T00:00", "--to", "2026-01-01T05:00", "--json")
    shown = project.jobctl("schedule", "backfill", "hourly", *span, "--dry-run").json["runs"]
    assert [run["answer"] for run in shown] == ["new"] * 5
    made = project.jobctl("schedule", "backfill", "hourly", *span).json["runs"]
    assert [run["answer"] for run in made] == ["ok"] * 5
    assert [run["id"] for run in made] == [run["id"] for run in shown]
    again = project.jobctl("schedule", "backfill", "hourly", *span).json["runs"]
    assert [run["answer"] for run in again] == ["known"] * 5
    run = project.run(made[0]["id"])
    assert run.request.trigger == "catchup"
    assert run.request.scheduled_at == datetime(2025, 12, 31, 23, tzinfo=UTC).timestamp()
    assert project.session.run(queries.ready_length(project.keys, "default", 5)) == 5


def test_backfill_makes_one_run_of_times_that_the_clock_skipped(
    make_project: Callable[..., Project],
):
    project = make_project(
        more='[jobs.a]\ncommand = "true"\ntimezone = "Europe/Berlin"\n'
        'schedule = ["0 2 * * *", "30 2 * * *"]\n'
    )
    span = ("--from", "2025-03-30T00:00", "--to", "2025-03-31T00:00", "--json")
    for answer in ("ok", "known"):
        runs = project.jobctl("schedule", "backfill", "a", *span).json["runs"]
        assert [run["answer"] for run in runs] == [answer]


def test_backfill_shows_instants_in_the_zone_of_the_file(project: Project):
    span = ("--from", "2026-07-01T00:00", "--to", "2026-07-01T01:00", "--dry-run")
    assert (
        "2026-07-01 00:00:00+02:00" in project.jobctl("schedule", "backfill", "hourly", *span).out
    )


def test_show_lists_backfilled_instants_once(project: Project, worker: Worker):
    decide(project)
    span = ("--from", "2026-01-01T00:00", "--to", "2026-01-01T02:00")
    for _ in range(2):
        project.jobctl("schedule", "backfill", "hourly", *span)
    found = rows(project, "show", "hourly")["hourly"]["decisions"]
    assert [one["outcome"] for one in found] == ["backfilled"] * 2
    assert [one["scheduled_at"] for one in found] == [
        "2026-01-01T00:00:00.000Z", "2025-12-31T23:00:00.000Z",
    ]  # fmt: skip
    assert {one["run_state"] for one in found} == {"queued"}
    # What the schedule itself came to is another matter.
    line = project.jobctl("schedule", "list", "hourly").out.splitlines()[1]
    assert " backfilled " not in line


def test_backfill_leaves_what_has_run_and_repeats_what_was_skipped(
    project: Project, worker: Worker
):
    decide(project)
    finish_all(project, worker)
    at = since(project, "often", 5)
    decide(project, at=at + 2)
    ran = worker.finish()
    begin = datetime.fromtimestamp(at + 1, UTC).isoformat()
    end = datetime.fromtimestamp(at + 3, UTC).isoformat()
    result = project.jobctl("schedule", "backfill", "often", "--from", begin, "--to", end, "--json")
    assert result.code == 0, result.err
    found = result.json
    first, second = found["runs"]
    assert (first["id"], first["answer"], first["state"]) == (ran, "known", "succeeded")
    assert second["answer"] == "ok"
    assert project.run(second["id"]).state == "queued"


def test_backfilled_runs_of_a_job_that_must_not_overlap_follow_each_other(
    project: Project, worker: Worker
):
    span = ("--from", "2026-01-01T00:00", "--to", "2026-01-01T03:00")
    result = project.jobctl("schedule", "backfill", "alone-hourly", *span, "--json")
    ids = [run["id"] for run in result.json["runs"]]
    worker.start()
    with pytest.raises(IndexError):
        worker.claim()
    assert [project.run(one).state for one in ids].count("running") == 1
    assert "skipped" not in [project.run(one).state for one in ids]
    # And the schedule's own runs see them.
    skipped = project.jobctl("submit", "alone-hourly")
    assert skipped.code == 75


def test_backfill_does_not_overlap_with_what_runs(project: Project, worker: Worker):
    project.submit("alone-hourly")
    span = ("--from", "2026-01-01T00:00", "--to", "2026-01-01T03:00")
    result = project.jobctl("schedule", "backfill", "alone-hourly", *span)
    assert result.code == 75
    assert "must not overlap" in result.err


def test_backfill_of_an_interval_is_in_step_with_it(project: Project):
    assert project.jobctl("schedule", "backfill", "every", "--from", "2026-01-01T00:00").code == 66
    decide(project)
    at = since(project, "every", 60)
    begin = datetime.fromtimestamp(at - 3000, UTC).isoformat()
    found = project.jobctl(
        "schedule", "backfill", "every", "--from", begin, "--dry-run", "--json"
    ).json
    instants = [datetime.fromisoformat(run["scheduled_at"]).timestamp() for run in found["runs"]]
    assert instants == [at - 600 * n for n in range(5, -1, -1)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hourly"], "--from"),
        (["hourly", "--from", "2026-01-02T00:00", "--to", "2026-01-01T00:00"], "not before"),
        (["hourly", "--from", "2026-01-01T00:00", "--to", "2999-01-01T00:00"], "still to come"),
        (["hourly", "--from", "2020-01-01T00:00", "--to", "2021-01-01T00:00"], "more than 1000"),
        (["hourly", "--from", "2026-01-01T00:00", "--to", "2026-01-01T09:00", "--max", "8"], "more than 8"),
        (["booted", "--from", "2026-01-01T00:00"], "no instants"),
    ],
)  # fmt: skip
def test_backfill_that_cannot_be_meant_makes_nothing(project: Project, words: list[str], said: str):
    result = project.jobctl("schedule", "backfill", *words)
    assert result.code == 2
    assert said in result.err


# Live schedules


def test_live_schedule_fires_and_is_listed_with_who_added_it(project: Project, worker: Worker):
    result = project.jobctl(
        "schedule", "add", "extra", "--job", "hello", "--schedule", "* * * * * *"
    )
    assert result.code == 0, result.err
    decide(project)
    at = since(project, "extra", 2)
    decide(project, at=at + 1)
    assert "live, by " in project.jobctl("schedule", "show", "extra").out
    row = rows(project, "list", "extra")["extra"]
    assert (row["job"], row["live"]["own"], "rule" in row["live"]["changed"]) == (
        "hello",
        True,
        True,
    )
    assert "live, by " in project.jobctl("schedule").out
    assert outcomes(project, "extra")[0] in ("fired", "late")


def test_removed_live_schedule_is_not_known_any_more(project: Project):
    project.jobctl("schedule", "add", "extra", "--job", "hello", "--schedule", "* * * * * *")
    decide(project)
    assert project.jobctl("schedule", "rm", "extra").code == 0
    decide(project)
    assert project.jobctl("schedule", "show", "extra").code == 66
    assert project.session.run(queries.schedule(project.keys, "extra")) == {}


def test_set_changes_a_schedule_of_the_file_until_it_is_taken_back(project: Project):
    before = rows(project, "list", "hourly")["hourly"]
    result = project.jobctl(
        "schedule", "set", "hourly", "--schedule", "30 * * * *", "--max-runs", "5"
    )
    assert "takes it back" in result.err
    changed = rows(project, "list", "hourly")["hourly"]
    assert (changed["rule"], changed["max_runs"]) == ("30 * * * *", 5)
    project.jobctl("schedule", "set", "hourly", "--missed", "all")
    assert rows(project, "list", "hourly")["hourly"]["live"]["changed"] == [
        "max_runs",
        "missed",
        "rule",
    ]
    assert "as jobs.toml says" in project.jobctl("schedule", "rm", "hourly").err
    assert rows(project, "list", "hourly")["hourly"]["rule"] == before["rule"]
    assert project.jobctl("schedule", "rm", "hourly").code == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["add", "extra"], 2, "--job"),
        (["add", "extra", "--job", "nosuch", "--schedule", "@daily"], 66, "nosuch"),
        (["add", "extra", "--job", "@exec", "--schedule", "@daily", "rm"], 66, "@exec"),
        (["add", "extra", "--job", "hello", "--schedule", "61 * * * *"], 2, "minute"),
        (["add", "extra", "--job", "hello", "--schedule", "@at 2020-01-01T00:00:00Z"], 2, "no further"),
        (["add", "extra", "--job", "hello", "--schedule", "@hourly", "--jitter", "2h"], 2, "jitter"),
        (["add", "extra", "--job", "hello", "--schedule", "@hourly", "--timezone", "X/Y"], 2, "zone"),
        (["add", "extra", "--job", "typed", "--schedule", "@hourly"], 2, "path"),
        (["add", "extra", "--job", "typed", "--schedule", "@hourly", "path=a", "width=1"], 2, "width"),
        (["add", "hello", "--job", "hello", "--schedule", "@hourly"], 2, "there is a job"),
        (["add", "a|b", "--job", "hello", "--schedule", "@hourly"], 2, "cannot be the name"),
        (["add", "extra", "--job", "hello", "--schedule", "@hourly", "--missed", "never"], 2, "missed"),
        (["add", "extra", "--job", "hello", "--schedule", "@hourly", "--priority", "10"], 2, "priority"),
        (["add", "extra", "--job", "hello", "--schedule", "@hourly", "--until", "2h"], 2, "--until is for"),
        (["set", "hourly"], 2, "something to change"),
        (["set", "nosuch", "--schedule", "@daily"], 66, "nosuch"),
        (["rm", "hourly"], 2, "jobs.toml:"),
        (["disable", "hourly", "--until", "2020-01-01T00:00"], 2, "has passed"),
        (["disable", "hourly", "--until", "soon"], 2, "neither a duration nor a time"),
        (["disable", "hourly", "--once", "--until", "2h"], 2, "exclude"),
        (["skip-to", "booted", "now"], 2, "no instants"),
        (["skip-to", "hourly", "now"], 66, "never decided"),
        (["skip-to", "hourly"], 2, "one time"),
        (["frobnicate"], 2, "none of"),
        (["show"], 2, "needs the name"),
        (["enable", "hourly", "more"], 2, "one name"),
        (["show", "hello"], 66, "no schedule"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_changes_nothing(
    project: Project, words: list[str], code: int, said: str
):
    before = rows(project)
    result = project.jobctl("schedule", *words)
    assert (result.code, said in result.err) == (code, True), result.err
    assert "Traceback" not in result.err
    assert {name: row["rule"] for name, row in rows(project).items()} == {
        name: row["rule"] for name, row in before.items()
    }


def test_job_with_several_live_schedules_has_them_named(project: Project):
    for name in ("one", "two"):
        project.jobctl("schedule", "add", name, "--job", "hello", "--schedule", "@daily")
    result = project.jobctl("schedule", "trigger", "hello")
    assert result.code == 2
    assert "name one of one, two" in result.err
    assert project.jobctl("schedule", "trigger", "two").code == 0


def test_second_live_schedule_of_a_name_is_refused(project: Project):
    words = ("schedule", "add", "extra", "--job", "hello", "--schedule", "@daily")
    assert project.jobctl(*words).code == 0
    assert project.jobctl(*words).code == 2


def test_live_schedule_is_signed_where_runs_are_and_a_forged_one_is_shown_and_removable(
    make_project: Callable[..., Project], tmp_path
):
    key_file = tmp_path / "signing.keys"
    project = make_project(more=MORE, settings=f'[security]\nkey_file = "{key_file}"')
    assert project.jobctl("keys", "init").code == 0
    assert (
        project.jobctl("schedule", "add", "mine", "--job", "hello", "--schedule", "@daily").code
        == 0
    )
    forged = json.dumps({"j": "hello", "o": True, "k": {"rule": "@hourly"}, "b": "x", "t": 1})
    project.session.run(Call(("HSET", project.keys.live_schedules, "evil", forged), bool))
    found = project.jobctl("schedule", "--json").json
    assert "mine" in {row["schedule"] for row in found["schedules"]}
    assert found["not_used"] == [{"schedule": "evil", "reason": "it is not signed"}]
    decide(project)
    assert project.session.run(queries.schedule(project.keys, "evil")) == {}
    assert project.jobctl("schedule", "rm", "evil").code == 0
    assert project.jobctl("schedule", "--json").json["not_used"] == []


def test_status_and_jobs_show_what_is_really_to_come(project: Project, worker: Worker):
    decide(project)
    project.jobctl("schedule", "add", "soon", "--job", "hello", "--schedule", "* * * * * *")
    project.jobctl("schedule", "disable", "often")
    project.jobctl("schedule", "disable", "hourly", "--until", "3h")
    shown = project.jobctl("status", "--json").json["next"]
    assert {one["job"] for one in shown} >= {"hello", "nightly"}
    assert "often" not in {one["job"] for one in shown}
    jobs = {row["job"]: row for row in project.jobctl("jobs", "--json").json["jobs"]}
    assert jobs["often"]["next"] is None
    assert jobs["hello"]["schedules"] == ["* * * * * *"]
    later = datetime.now(UTC) + timedelta(hours=2, minutes=50)
    assert datetime.fromisoformat(jobs["hourly"]["next"]) > later


def test_arguments_of_a_live_schedule_are_limited_as_those_of_runs(
    make_project: Callable[..., Project],
):
    project = make_project(settings="max_args = 1000")
    words = ("schedule", "add", "extra", "--job", "hello", "--schedule", "@daily")
    result = project.jobctl(*words, "x" * 2000)
    assert result.code == 2
    assert "max_args" in result.err
    assert project.jobctl(*words, "x" * 500).code == 0


def test_live_schedule_whose_job_is_gone_is_named_with_the_reason(project: Project):
    project.jobctl("schedule", "add", "lq", "--job", "other", "--schedule", "0 3 * * *")
    text = project.path.read_text()
    project.path.write_text(text.replace("[jobs.other]", "[jobs.renamed]"))
    for action in ("show", "next", "list", "enable"):
        result = project.jobctl("schedule", action, "lq")
        assert result.code == 66
        assert "'lq' is not used: jobs.toml has no job other" in result.err
        assert "jobctl schedule rm" in result.err
    assert project.jobctl("schedule", "rm", "lq").code == 0
    assert "no schedule or job 'lq'" in project.jobctl("schedule", "show", "lq").err
