"""What changes a schedule by hand: switched off and on, its cursor moved, live schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_world import World, new_run

from jobctl.model.ids import derived_id
from jobctl.store import decisions, membership, queries
from jobctl.store.transitions import Answer

if TYPE_CHECKING:
    from jobctl.store.decisions import TickReply

DAY = 86400


@pytest.fixture
def last(world: World) -> float:
    """The last decided instant of the schedule "s", a little in the past."""
    world.run(decisions.introduce_schedules(world.keys, {"s": "g1"}))
    past = round(world.now() - 100, 3)
    world.raw("HSET", world.keys.schedule("s"), "last", round(past * 1000))
    return past


def tick(world: World, previous: float, instant: float, kind: str = "fire", **more) -> TickReply:
    run = None
    if kind != "missed":
        trigger = "catchup" if kind == "catchup" else "schedule"
        run = new_run(derived_id("t", "s", str(instant)), trigger=trigger)
    call = decisions.tick(
        world.keys, schedule="s", generation="g1", previous=previous, instant=instant,
        following=instant + 60, kind=kind, who="h1", run=run, **more,
    )  # fmt: skip
    return world.run(call)


def switch(world: World, what: str, until: float | None = None) -> bool:
    return world.run(decisions.switch(world.keys, ["s"], what=what, until=until, who="me"))[0]


def off_since(world: World, since: float, until: float | None = None) -> None:
    """As if it had been switched off at another time than now."""
    key = world.keys.schedule("s")
    world.raw("HSET", key, "off", round(since * 1000))
    if until is not None:
        world.raw("HSET", key, "on", round(until * 1000))


def history(world: World) -> list[tuple[str, str]]:
    found = world.run(queries.schedule_history(world.keys, "s", newest=20))
    return [(item.kind, item.answer) for item in found][::-1]


def test_switched_off_schedule_makes_no_run_and_goes_on_being_decided(world: World, last: float):
    assert switch(world, "off")
    reply = tick(world, last, last + 1)
    assert (reply.answer.kind, reply.last) == ("disabled", pytest.approx(last + 1))
    assert world.claim() == []
    assert history(world) == [("off", ""), ("fire", "disabled")]


def test_switched_on_schedule_fires_again_but_not_what_it_let_go(world: World, last: float):
    off_since(world, last)
    assert switch(world, "on")
    assert tick(world, last, last + 1, "late").answer.kind == "disabled"
    now = round(world.now(), 3)
    world.let_pass(0.01)
    assert tick(world, last + 1, now + 0.005).answer.kind == "ok"


def test_what_was_missed_before_it_was_switched_on_is_not_made_up_for(world: World, last: float):
    off_since(world, last + 10, until=last + 20)
    kinds = [
        tick(world, last + step - 5, last + step, "catchup").answer.kind for step in (5, 10, 15)
    ]
    assert kinds == ["missed", "disabled", "disabled"]
    assert tick(world, last + 15, last + 20, "catchup").answer.kind == "ok"


def test_instant_from_before_it_was_off_that_is_only_late_fires(world: World, last: float):
    off_since(world, last + 10, until=last + 20)
    assert tick(world, last, last + 5, "late").answer.kind == "ok"


def test_nothing_is_made_up_for_while_it_is_off(world: World, last: float):
    off_since(world, last + 50)
    assert tick(world, last, last + 1, "catchup").answer.kind == "disabled"
    assert tick(world, last + 1, last + 2, "late").answer.kind == "disabled"
    assert tick(world, last + 2, last + 3, "missed").answer.kind == "missed"


def test_schedule_switched_off_until_then_is_on_from_then_on(world: World, last: float):
    off_since(world, last, until=last + 10)
    assert tick(world, last, last + 9.999).answer.kind == "disabled"
    assert tick(world, last + 9.999, last + 10).answer.kind == "ok"


def test_off_until_is_written_down(world: World, last: float):
    later = round(world.now() + DAY, 3)
    assert switch(world, "off", until=later)
    assert not switch(world, "off", until=later)
    assert world.run(queries.schedule(world.keys, "s"))["on"] == str(round(later * 1000))
    assert switch(world, "off")
    assert "on" not in world.run(queries.schedule(world.keys, "s"))
    assert history(world) == [("off", str(round(later * 1000))), ("off", "")]


def test_longer_off_does_not_begin_anew(world: World, last: float):
    off_since(world, last, until=world.now() + DAY)
    switch(world, "off")
    assert world.run(queries.schedule(world.keys, "s"))["off"] == str(round(last * 1000))


def test_off_again_begins_anew(world: World, last: float):
    off_since(world, last, until=last + 1)
    before = int(world.now() * 1000) - 1
    switch(world, "off")
    assert int(world.run(queries.schedule(world.keys, "s"))["off"]) >= before


def test_once_lets_one_instant_go(world: World, last: float):
    assert switch(world, "once")
    assert not switch(world, "once")
    world.raw("HSET", world.keys.schedule("s"), "once", round(last * 1000))
    kinds = [tick(world, last + i, last + i + 1).answer.kind for i in range(2)]
    assert kinds == ["disabled", "ok"]


def test_once_is_for_instants_to_come(world: World, last: float):
    switch(world, "once")
    assert tick(world, last, last + 1, "late").answer.kind == "ok"
    assert "once" in world.run(queries.schedule(world.keys, "s"))


def test_switching_on_takes_once_back(world: World, last: float):
    switch(world, "once")
    assert switch(world, "on")
    assert not switch(world, "on")
    assert "once" not in world.run(queries.schedule(world.keys, "s"))
    assert "on" not in world.run(queries.schedule(world.keys, "s"))


def test_once_changes_nothing_while_off(world: World, last: float):
    switch(world, "off")
    assert not switch(world, "once")


def test_disabled_instant_uses_no_run_up(world: World, last: float):
    off_since(world, last, until=last + 5)
    tick(world, last, last + 1, max_runs=1)
    assert tick(world, last + 1, last + 6, max_runs=1).answer.kind == "ok"


def test_switch_of_many_tells_which_changed(world: World, last: float):
    switch(world, "off")
    call = decisions.switch(world.keys, ["s", "t"], what="off", who="me")
    assert world.run(call) == (False, True)


def test_foreign_key_among_the_schedules_changes_none(world: World, last: float):
    world.raw("SET", world.keys.schedule("t"), "x")
    with pytest.raises(Exception, match="WRONGTYPE"):
        world.run(decisions.switch(world.keys, ["s", "t"], what="off", who="me"))
    assert "off" not in world.run(queries.schedule(world.keys, "s"))
    world.raw("DEL", world.keys.schedule("t"))


def boot(world: World, boot_id: str) -> str:
    call = decisions.boot(
        world.keys, schedule="s", host="h", boot_id=boot_id, who="h", run=new_run()
    )
    return world.run(call).kind


def test_boot_while_off_is_over_when_it_is_switched_on(world: World):
    switch(world, "off")
    assert boot(world, "b1") == "disabled"
    switch(world, "on")
    assert boot(world, "b1") == "moved"
    assert boot(world, "b2") == "ok"


def test_boot_that_a_schedule_came_too_late_for_makes_no_run(world: World):
    def late(boot_id: str) -> str:
        call = decisions.boot(
            world.keys, schedule="s", host="h", boot_id=boot_id, who="h", run=new_run(), late=True
        )
        return world.run(call).kind

    assert [late("b1"), late("b1"), boot(world, "b1"), boot(world, "b2")] == [
        "late", "moved", "moved", "ok",
    ]  # fmt: skip
    assert world.raw("TTL", world.keys.schedule("s")) > 3000 * DAY


def test_once_lets_one_boot_go(world: World):
    switch(world, "once")
    assert [boot(world, "b1"), boot(world, "b2")] == ["disabled", "ok"]


def test_cursor_moves_forward_only(world: World, last: float):
    def skip(seen: float, target: float) -> str:
        return world.run(decisions.skip_to(world.keys, "s", last=seen, target=target, who="me"))[0]

    assert skip(last - 1, last + 5) == "moved"
    assert skip(last, last) == "known"
    assert skip(last, world.now() + 60) == "future"
    assert skip(last, last + 50) == "ok"
    assert tick(world, last, last + 1, "catchup").answer.kind == "moved"
    assert tick(world, last + 50, last + 51).answer.kind == "ok"
    assert history(world) == [("skip-to", f"from {round(last * 1000)}"), ("fire", "ok")]


def test_cursor_of_nothing_does_not_move(world: World):
    call = decisions.skip_to(world.keys, "s", last=1.0, target=2.0, who="me")
    assert world.run(call) == ("moved", None)


def change(world: World, what: str, before: str, after: str) -> bool:
    call = decisions.change_live(world.keys, "s", what=what, before=before, after=after, who="me")
    return world.run(call)


def live(world: World) -> tuple[dict[str, str], int]:
    return (
        world.run(decisions.live_schedules(world.keys)),
        world.run(decisions.live_version(world.keys)),
    )


def test_live_schedule_is_changed_by_who_has_read_it(world: World):
    assert live(world) == ({}, 0)
    assert change(world, "add", "", "one")
    assert not change(world, "add", "", "two")
    assert change(world, "set", "one", "two")
    assert live(world) == ({"s": "two"}, 2)
    assert change(world, "unset", "two", "")
    assert live(world) == ({}, 3)
    assert history(world) == [("add", ""), ("set", ""), ("unset", "")]


def test_removed_live_schedule_leaves_nothing(world: World, last: float):
    change(world, "add", "", "one")
    tick(world, last, last + 1)
    assert change(world, "rm", "one", "")
    left = world.raw("EXISTS", world.keys.schedule("s"), world.keys.schedule_history("s"))
    assert left == 0
    assert tick(world, last + 1, last + 2).answer.kind == "gone"


def test_change_of_a_live_schedule_wakes_every_supervisor_and_comes_with_its_beat(world: World):
    world.supervisor("h2~b")

    def beat(sid: str) -> int:
        call = membership.beat(world.keys, supervisor=sid, load="{}", owners=[])
        return world.run(call).live_schedules

    assert beat("h1~a") == 0
    change(world, "add", "", "one")
    change(world, "set", "one", "two")
    for sid in ("h1~a", "h2~b"):
        assert world.raw("LLEN", world.keys.bell(f"@{sid}")) == 1
        assert beat(sid) == 2


def test_schedule_whose_store_forgot_it_goes_on_where_it_was(world: World):
    known = round(world.now() - 500, 3)
    call = decisions.introduce_schedules(world.keys, {"s": "g1"}, known={"s": known})
    assert world.run(call) == (known,)
    ahead = world.now() + 500
    (last,) = world.run(decisions.introduce_schedules(world.keys, {"n": "g"}, known={"n": ahead}))
    assert last < ahead - 400


def test_changed_rule_does_not_go_on_where_it_was(world: World, last: float):
    call = decisions.introduce_schedules(world.keys, {"s": "g2"}, known={"s": last})
    assert world.run(call)[0] > last + 50
    assert history(world) == [("changed", "restart")]


def test_schedule_switched_off_in_the_file_starts_from_now_and_keeps_its_count(
    world: World, last: float
):
    tick(world, last, last + 1)
    (off,) = world.run(decisions.introduce_schedules(world.keys, {"s": "g1!off"}))
    assert off > last + 50
    world.let_pass(0.005)
    (on,) = world.run(decisions.introduce_schedules(world.keys, {"s": "g1"}))
    assert on > off
    assert world.run(queries.schedule(world.keys, "s"))["fired"] == "1"


def test_one_whose_file_has_it_off_stops_it_for_who_has_introduced_it_before(
    world: World, last: float
):
    world.run(decisions.introduce_schedules(world.keys, {"s": "g1!off"}))
    assert tick(world, last, last + 1).answer.kind == "off"
    world.run(decisions.introduce_schedules(world.keys, {"s": "g2!off"}))
    assert tick(world, last, last + 1).answer.kind == "foreign"


def test_removed_schedule_is_forgotten_after_a_month_and_starts_anew_before(
    world: World, last: float
):
    tick(world, last, last + 1)
    world.raw("SET", world.keys.schedule("t"), "x")
    call = decisions.retire(world.keys, {"t": "g1", "s": "g1", "nosuch": "g"})
    assert world.run(call) == 1
    assert world.run(call) == 0
    world.raw("DEL", world.keys.schedule("t"))
    for key in (world.keys.schedule("s"), world.keys.schedule_history("s")):
        assert 29 * DAY < world.raw("TTL", key) <= 30 * DAY
    assert "next" not in world.run(queries.schedule(world.keys, "s"))
    assert tick(world, last + 1, last + 2).answer.kind == "off"
    assert world.raw("EXISTS", world.keys.schedule("nosuch")) == 0
    (now,) = world.run(decisions.introduce_schedules(world.keys, {"s": "g1"}))
    assert now is not None
    assert now > last + 50
    assert "fired" not in world.run(queries.schedule(world.keys, "s"))
    assert world.raw("TTL", world.keys.schedule("s")) > 399 * DAY
    assert [kind for kind, _ in history(world)] == ["fire", "removed", "changed"]


def test_schedule_of_another_generation_is_not_retired(world: World, last: float):
    assert world.run(decisions.retire(world.keys, {"s": "g0"})) == 0
    assert tick(world, last, last + 1).answer.kind == "ok"


def test_foreign_key_in_the_place_of_one_schedule_stops_no_other(world: World, last: float):
    world.raw("SET", world.keys.schedule("t"), "x")
    both = {"t": "g1", "s": "g1"}
    assert world.run(decisions.introduce_schedules(world.keys, both)) == (None, last)
    assert world.run(decisions.peek(world.keys, both)) == (None, last)
    world.raw("DEL", world.keys.schedule("t"))


def test_clock_that_was_hours_ahead_does_not_stop_a_schedule(world: World):
    """What was decided by a wrong clock is not waited for; see cron(8) on corrections."""
    world.run(decisions.introduce_schedules(world.keys, {"s": "g1"}))
    ahead = round(world.now() + 4 * 3600, 3)
    world.raw("HSET", world.keys.schedule("s"), "last", round(ahead * 1000))
    now = round(world.now(), 3)
    assert tick(world, ahead, now).answer.kind == "ok"
    assert tick(world, now, now - 1).answer.kind == "moved"


def test_clock_that_was_a_little_ahead_repeats_nothing(world: World):
    world.run(decisions.introduce_schedules(world.keys, {"s": "g1"}))
    ahead = round(world.now() + 2 * 3600, 3)
    world.raw("HSET", world.keys.schedule("s"), "last", round(ahead * 1000))
    assert tick(world, ahead, round(world.now(), 3)).answer.kind == "moved"


def test_missed_instants_that_are_not_listed_are_counted(world: World, last: float):
    tick(world, last, last + 9, "missed", unlisted=7)
    assert history(world) == [("missed", "missed")]
    assert world.run(queries.schedule(world.keys, "s"))["cut"] == "7"


def test_lost_decisions_of_a_history_are_counted(world: World, last: float):
    for i in range(203):
        tick(world, last + i / 10, last + (i + 1) / 10, "missed")
    assert world.run(queries.schedule(world.keys, "s"))["cut"] == "3"


def test_schedule_that_nobody_decides_any_more_is_forgotten_some_day(world: World, last: float):
    tick(world, last, last + 1)
    for key in (world.keys.schedule("s"), world.keys.schedule_history("s")):
        assert 399 * DAY < world.raw("TTL", key) <= 400 * DAY


def test_boot_is_remembered_for_longer_than_a_host_is_up(world: World):
    boot(world, "b1")
    assert world.raw("TTL", world.keys.schedule("s")) > 3000 * DAY


def test_look_tells_how_far_a_schedule_of_this_rule_is_decided(world: World, last: float):
    call = decisions.peek(world.keys, {"s": "g1", "nosuch": "g1"})
    assert world.run(call) == (last, None)
    assert world.run(decisions.peek(world.keys, {"s": "g2"})) == (None,)


def filled(world: World, *instants: float, more: int = 0) -> int:
    made = [decisions.Filled(at, Answer("ok"), f"r{at:.0f}") for at in instants]
    return world.run(decisions.note_filled(world.keys, "s", made, more=more, who="me"))


def test_backfilled_instants_are_in_the_history_and_decide_nothing(world: World, last: float):
    assert filled(world, last - 9, last - 8, more=3) == 2
    assert history(world) == [("backfill", "ok"), ("backfill", "ok")]
    facts = world.run(queries.schedule(world.keys, "s"))
    assert float(facts["last"]) == pytest.approx(last * 1000)
    assert facts["cut"] == "3"
    assert tick(world, last, last + 1).answer.kind == "ok"


def test_backfill_introduces_no_schedule(world: World):
    assert filled(world, 1.0, more=1) == 1
    assert world.run(queries.schedule(world.keys, "s")) == {}
