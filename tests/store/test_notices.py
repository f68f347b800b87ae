"""Notices are written by the very script that moves a run, whoever calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobctl.model.notices import parse_notice
from jobctl.store import decisions, membership, outbox, settling
from jobctl.store.settling import Settlement
from jobctl.store.verify import audit
from jobctl.store.verify.repair import repair

if TYPE_CHECKING:
    from store_world import World

    from jobctl.model.notices import Notice

A, B = "h1~a", "h2~b"


def taken(world: World, sid: str = A, **options: Any) -> list[Notice]:
    reply = world.run(outbox.outbox(world.keys, supervisor=sid, take=100, tell=100, **options))
    assert not reply.fenced
    return [parse_notice(raw) for raw in reply.notices]


def events(world: World, sid: str = A) -> str:
    return "".join(notice.event for notice in taken(world, sid))


def fail(world: World, **options: Any) -> str:
    run_id = world.running(**options)
    world.settle(run_id, "x", reason="exit", fields=("rc", "3"))
    return run_id


def succeed(world: World, **options: Any) -> str:
    run_id = world.running(**options)
    world.settle(run_id, "k")
    return run_id


def test_run_without_notices_writes_none(world: World) -> None:
    fail(world)
    assert not world.raw("EXISTS", world.keys.notices, world.keys.outbox(A))
    assert "notices" not in world.counters()


@pytest.mark.parametrize("code", [0, 3])
def test_start_of_a_run_that_succeeded_at_once_is_told_with_its_end(
    world: World, code: int
) -> None:
    run_id = world.submit(notices="rk")
    world.claim_one(run_id)
    fields = ("at", 1, "a1", "{}", "du", "0.1", "st", 1000, "fs", 1000, "pi", 41, "rc", code)
    world.settle(run_id, fields=fields)
    start, end = taken(world, A)
    assert (start.event, start.attempt) == ("r", 1)
    assert (end.event, end.attempt, end.exit_code) == ("k", 1, code)


def test_start_of_a_run_that_never_started_is_not_told(world: World) -> None:
    run_id = world.submit(notices="rk")
    world.claim_one(run_id)
    world.settle(run_id)
    assert events(world) == "k"


def test_start_and_end_are_told_in_order_to_the_supervisor_that_had_the_run(world: World) -> None:
    world.supervisor(B)
    run_id = world.running(notices="rkx", sid=B)
    world.settle(run_id, "x", reason="exit", fields=("rc", "3", "er", "it broke"), sid=B)
    assert taken(world, A) == []
    start, end = taken(world, B)
    assert (start.event, end.event) == ("r", "x")
    assert start.number < end.number
    assert (end.run, end.job, end.attempt, end.reason, end.exit_code, end.error) == (
        run_id, "j", 1, "exit", 3, "it broke",
    )  # fmt: skip
    world.check()


def test_only_the_events_a_run_names_are_told(world: World) -> None:
    succeed(world, notices="x")
    fail(world, notices="k")
    assert events(world) == ""


def test_first_start_is_told_once(world: World) -> None:
    run_id = world.running(notices="r")
    world.settle(run_id, "d", reason="exit", delay=0)
    claim = world.claim_one(run_id)
    world.start(run_id, claim.epoch, attempt=2)
    assert events(world) == "r"


def test_start_of_a_run_that_ends_before_it_is_recorded_is_told_with_its_end(world: World) -> None:
    run_id = world.submit(notices="rk")
    claim = world.claim_one(run_id)
    fields = ("at", "1", "fs", "1700000000000", "du", "0.1")
    world.settle(run_id, "k", epoch=claim.epoch, fields=fields)
    assert [(notice.event, notice.attempt) for notice in taken(world)] == [("r", 1), ("k", 1)]


def test_another_attempt_is_told_with_what_became_of_the_last(world: World) -> None:
    run_id = world.running(notices="d")
    world.settle(run_id, "d", reason="exit", delay=60, fields=("rc", "7"))
    (notice,) = taken(world)
    assert (notice.event, notice.attempt, notice.reason, notice.exit_code) == ("d", 1, "exit", 7)


def test_repeated_settle_tells_nothing_more(world: World) -> None:
    run_id = fail(world, notices="x")
    assert world.settle(run_id, "x", reason="exit") == "already"
    assert events(world) == "x"


def test_end_without_an_owner_is_for_anybody(world: World) -> None:
    expired = world.submit(notices="ev", expires_in=0.001)
    revoked = world.submit(notices="ev", start_in=60)
    world.let_pass(0.005)
    world.promote()
    world.revoke(revoked)
    assert [(notice.event, notice.run) for notice in taken(world)] == [
        ("e", expired),
        ("v", revoked),
    ]


def test_run_that_is_skipped_at_once_is_told(world: World) -> None:
    world.running(overlap="s")
    answer = world.answer(overlap="s", notices="s")
    assert answer.kind == "skip"
    (notice,) = taken(world)
    assert (notice.event, notice.reason) == ("s", "overlap")


def test_run_that_its_rescuer_ends_is_told(world: World) -> None:
    world.supervisor(B)
    run_id = world.running(notices="x", on_lost="f")
    world.rescue(A)
    (notice,) = taken(world, B)
    assert (notice.event, notice.run, notice.reason) == ("x", run_id, "lost")


def test_broken_record_is_told(world: World) -> None:
    run_id = world.submit(notices="x")
    world.raw("HDEL", world.keys.run(run_id), "p")
    world.take()
    (notice,) = taken(world)
    assert (notice.event, notice.run, notice.reason) == ("x", run_id, "bad_payload")
    world.raw("DEL", world.keys.prefix + "bad")


def test_notices_of_a_dead_supervisor_go_to_another(world: World) -> None:
    world.supervisor(B)
    for _ in range(3):
        fail(world, notices="x")
    assert events(world, A) == "xxx"
    while world.rescue(A).left:
        pass
    assert events(world, B) == "xxx"
    assert world.run(outbox.outbox(world.keys, supervisor=A, take=9, tell=9)).fenced
    world.check()


def test_more_notices_of_a_dead_supervisor_than_one_call_moves(world: World) -> None:
    world.supervisor(B)
    for _ in range(250):
        world.raw("RPUSH", world.keys.outbox(A), '{"no":1}')
    calls = 1
    while world.rescue(A).left:
        calls += 1
    assert calls == 3
    assert world.raw("LLEN", world.keys.notices) == 250


def test_notices_of_a_supervisor_that_leaves_go_to_another(world: World) -> None:
    fail(world, notices="x")
    assert world.run(membership.leave(world.keys, supervisor=A)) == 0
    world.supervisor(B)
    assert events(world, B) == "x"
    world.check()


def test_delivered_notice_is_gone_and_the_others_stay(world: World) -> None:
    fail(world, notices="x")
    fail(world, notices="x")
    first, second = taken(world)
    assert taken(world, delivered=[first.raw]) == [second]
    assert taken(world, delivered=[first.raw]) == [second]


def test_notice_that_is_passed_on_is_for_anybody_again(world: World) -> None:
    world.supervisor(B)
    fail(world, notices="x")
    (notice,) = taken(world)
    world.run(outbox.outbox(world.keys, supervisor=A, take=0, tell=9, passed_on=[notice.raw]))
    assert taken(world, B) == [notice]
    assert world.raw("LLEN", world.keys.outbox(A)) == 0


def test_supervisor_that_takes_a_part_rings_for_the_rest(world: World) -> None:
    for _ in range(3):
        world.revoke(world.submit(notices="v"))
    world.raw("DEL", world.keys.bell("@out"))
    world.run(outbox.outbox(world.keys, supervisor=A, take=2, tell=9))
    assert world.raw("LLEN", world.keys.bell("@out")) == 1
    world.run(outbox.outbox(world.keys, supervisor=A, take=2, tell=9))
    assert world.raw("LLEN", world.keys.bell("@out")) == 0


# Failures in a row


def pass_the_while(world: World) -> None:
    """Let the end come of the time in which failures are held back."""
    assert float(world.raw("ZSCORE", world.keys.due, "~j")) / 1000 > world.now()
    world.raw("ZADD", world.keys.due, 1, "~j")
    world.promote()


def test_first_failure_is_mailed_and_the_next_are_held_back_for_a_while(world: World) -> None:
    fail(world, notices="x,m60000")
    fail(world, notices="x,m60000")
    first, second = taken(world)
    assert (first.mail, first.failures, first.held) == (True, 1, 0)
    assert (second.mail, second.failures) == (False, 2)


def test_failures_that_nothing_else_asks_for_are_told_only_when_it_is_their_turn(
    world: World,
) -> None:
    fail(world, notices=",m60000")
    fail(world, notices=",m60000")
    assert events(world) == "x"


def test_held_back_failures_are_told_at_the_end_of_the_while(world: World) -> None:
    fail(world, notices=",m60000")
    (first,) = taken(world)
    fail(world, notices=",m60000")
    last = fail(world, notices=",m60000")
    pass_the_while(world)
    held = taken(world)[1]
    assert (held.event, held.run, held.mail, held.held, held.failures) == ("h", last, True, 2, 3)
    assert held.since == first.since
    world.check()


def test_success_after_a_mailed_failure_is_mailed(world: World) -> None:
    fail(world, notices=",m60000")
    fail(world, notices=",m60000")
    succeed(world, notices=",m60000")
    succeed(world, notices=",m60000")
    _, recovered = taken(world)
    assert (recovered.event, recovered.recovered, recovered.mail) == ("k", True, True)
    assert recovered.failures == 2


def test_job_that_fails_and_recovers_all_the_time_mails_once_in_a_while(world: World) -> None:
    for _ in range(5):
        fail(world, notices=",m60000")
        succeed(world, notices=",m60000")
    assert events(world) == "xk"
    # The others are not forgotten: they are told together.
    pass_the_while(world)
    held = taken(world)[-1]
    assert (held.event, held.held, held.failures) == ("h", 4, 0)


def test_a_failure_after_the_while_is_mailed_with_what_was_held_back(world: World) -> None:
    fail(world, notices=",m400")
    fail(world, notices=",m400")
    world.let_pass(0.45)
    fail(world, notices=",m400")
    world.promote()
    mailed = [(notice.event, notice.held) for notice in taken(world) if notice.mail]
    # Whoever came first, the promoter or the failure, told of the one that was held back.
    assert mailed in ([("x", 0), ("x", 1)], [("x", 0), ("h", 1), ("x", 0)], [("x", 0), ("h", 1)])


def test_an_expired_run_counts_as_a_failure_and_a_revoked_one_does_not(world: World) -> None:
    world.revoke(world.submit(notices=",m60000"))
    assert events(world) == ""
    world.submit(notices=",m60000", expires_in=0.001)
    world.let_pass(0.005)
    world.promote()
    assert events(world) == "e"


# Late runs


def test_run_that_has_not_started_in_time_is_told_once(world: World) -> None:
    run_id = world.submit(notices=",l20")
    world.let_pass(0.03)
    world.promote()
    world.promote()
    (notice,) = taken(world)
    assert (notice.event, notice.run, notice.state) == ("l", run_id, "q")
    assert notice.due is not None


def test_run_that_started_in_time_is_not_late(world: World) -> None:
    world.running(notices=",l400")
    assert world.raw("ZCARD", world.keys.due) == 0
    world.let_pass(0.45)
    world.promote()
    assert events(world) == ""


def test_run_that_ended_in_time_is_not_late(world: World) -> None:
    world.revoke(world.submit(notices=",l60000"))
    assert world.raw("ZCARD", world.keys.due) == 0


def test_lateness_counts_from_the_time_a_run_is_due(world: World) -> None:
    run_id = world.submit(notices=",l60000", start_in=100)
    score = float(world.raw("ZSCORE", world.keys.due, f"?{run_id}"))
    assert abs(score / 1000 - world.now() - 160) < 5
    world.check()


def test_instant_that_is_accepted_too_late_is_told_at_once(world: World) -> None:
    world.submit(notices=",l1000", start_at=world.now() - 5)
    (notice,) = taken(world)
    assert notice.event == "l"
    assert world.raw("ZCARD", world.keys.due) == 0


def test_of_many_late_runs_one_is_told_in_a_while(world: World) -> None:
    for _ in range(3):
        world.submit(notices=",l1,m60000")
    world.let_pass(0.01)
    world.promote()
    (notice,) = taken(world)
    assert (notice.event, notice.held) == ("l", 0)
    assert world.raw("PTTL", world.keys.alarm("j")) > 0
    for held in (2, 0):
        world.raw("HINCRBY", world.keys.alarm("j"), "late", -60_001)
        world.submit(notices=",l1,m60000")
        world.let_pass(0.01)
        world.promote()
        assert taken(world)[-1].held == held


def test_late_run_tells_what_it_waits_for(world: World) -> None:
    world.limits(l_db=1)
    world.running(limits="l:db")
    world.submit(limits="l:db", notices=",l20")
    world.take()
    world.let_pass(0.03)
    world.promote()
    (notice,) = taken(world)
    assert (notice.state, notice.waits_for) == ("p", "l:db")


# Trouble


def test_outbox_of_another_type_keeps_no_run_from_ending(world: World) -> None:
    world.raw("SET", world.keys.outbox(A), "x")
    run_id = world.running(notices="rx")
    assert world.settle(run_id, "x", reason="exit") == "x"
    assert world.counters()["untold"] == 2
    world.raw("DEL", world.keys.outbox(A))


def test_outbox_of_a_supervisor_that_nobody_knows_is_found_and_mended(world: World) -> None:
    world.raw("RPUSH", world.keys.outbox("nobody~x"), '{"no":1}')
    (finding,) = audit(world.store, world.keys, pause=0).findings
    assert "nobody~x" in finding.what
    repair(world.store, world.keys, pause=0)
    assert world.raw("LLEN", world.keys.notices) == 1
    world.check()


def test_batch_of_settlements_tells_all_of_them(world: World) -> None:
    ids = [world.submit(notices="k") for _ in range(3)]
    world.claim(3)
    items = [Settlement(run_id, 1, "k", "", 0.0, ()) for run_id in ids]
    world.run(settling.settle(world.keys, owner=f"{A}/p.1", items=items))
    assert [notice.run for notice in taken(world)] == ids


# Pauses


def test_failures_in_a_row_ask_for_a_pause_each_time_their_number_is_reached(world: World) -> None:
    for _ in range(5):
        fail(world, notices=",p2")
    assert [(notice.event, notice.failures) for notice in taken(world)] == [("p", 2), ("p", 4)]


def test_success_begins_the_count_of_failures_anew(world: World) -> None:
    fail(world, notices=",p2")
    succeed(world, notices=",p2")
    fail(world, notices=",p2")
    assert events(world) == ""


# What keeps the store small and sound


def test_notice_rings_for_who_delivers_it(world: World) -> None:
    fail(world, notices="x")
    assert world.raw("LLEN", world.keys.bell(f"@out:{A}")) == 1
    world.revoke(world.submit(notices="v"))
    assert world.raw("LLEN", world.keys.bell("@out")) == 1


def test_end_of_a_run_whose_supervisor_is_lost_is_for_anybody(world: World) -> None:
    run_id = world.running(notices="x")
    world.raw("HSET", world.keys.supervisor(A), "st", "lost")
    world.settle(run_id, "x", reason="exit")
    assert world.raw("LLEN", world.keys.notices) == 1
    world.raw("HSET", world.keys.supervisor(A), "st", "up")


def test_outbox_that_nobody_empties_is_bounded(world: World) -> None:
    for _ in range(100):
        world.raw("RPUSH", world.keys.notices, *["x"] * 1000)
    world.revoke(world.submit(notices="v"))
    assert world.raw("LLEN", world.keys.notices) == 100_000
    assert world.counters()["untold"] == 1


def test_long_errors_are_cut(world: World) -> None:
    run_id = world.running(notices="x")
    world.settle(run_id, "x", reason="exit", fields=("er", "x" * 5000))
    assert taken(world)[0].error == "x" * 300


def test_memory_of_failures_expires(world: World) -> None:
    fail(world, notices=",m60000")
    assert world.raw("PTTL", world.keys.alarm("j")) > 0


def test_failure_at_the_end_of_the_while_is_mailed(world: World) -> None:
    fail(world, notices=",m1000")
    world.raw("HINCRBY", world.keys.alarm("j"), "told", -1001)
    fail(world, notices=",m1000")
    assert [notice.mail for notice in taken(world)] == [True, True]


def test_what_was_held_back_is_told_once(world: World) -> None:
    fail(world, notices=",m60000")
    fail(world, notices=",m60000")
    world.raw("HINCRBY", world.keys.alarm("j"), "told", -60_001)
    fail(world, notices=",m60000")
    assert world.raw("ZCARD", world.keys.due) == 0
    world.raw("HINCRBY", world.keys.alarm("j"), "told", -60_001)
    fail(world, notices=",m60000")
    assert [notice.held for notice in taken(world)] == [0, 1, 0]


def test_success_after_no_failure_is_no_news(world: World) -> None:
    succeed(world, notices="k,m60000")
    (notice,) = taken(world)
    assert not notice.recovered


def test_revoked_run_ends_no_row_of_failures(world: World) -> None:
    fail(world, notices=",m60000")
    world.revoke(world.submit(notices=",m60000"))
    succeed(world, notices=",m60000")
    last = taken(world)[-1]
    assert (last.event, last.recovered) == ("k", True)


def test_entry_of_the_timetable_without_anything_held_back_tells_nothing(world: World) -> None:
    fail(world, notices=",m60000")
    world.raw("ZADD", world.keys.due, 1, "~j")
    world.promote()
    assert events(world) == "x"
    assert "untold" not in world.counters()


def test_notices_of_the_dead_ring_for_others(world: World) -> None:
    world.supervisor(B)
    fail(world, notices="x")
    world.raw("DEL", world.keys.bell("@out"))
    world.rescue(A)
    assert world.raw("LLEN", world.keys.bell("@out")) == 1


def test_notice_that_is_another_s_is_not_passed_on(world: World) -> None:
    world.supervisor(B)
    fail(world, notices="x")
    (notice,) = taken(world)
    world.rescue(A)
    assert events(world, B) == "x"
    world.run(outbox.outbox(world.keys, supervisor=A, take=0, tell=9, passed_on=[notice.raw]))
    assert world.raw("LLEN", world.keys.notices) == 0


def test_who_takes_nothing_leaves_the_bell_to_others(world: World) -> None:
    world.revoke(world.submit(notices="v"))
    world.run(outbox.outbox(world.keys, supervisor=A, take=0, tell=9))
    assert world.raw("LLEN", world.keys.bell("@out")) == 1
    world.raw("DEL", world.keys.notices)
    world.run(outbox.outbox(world.keys, supervisor=A, take=0, tell=9))
    assert world.raw("LLEN", world.keys.bell("@out")) == 1


def test_only_so_many_notices_are_told_at_once(world: World) -> None:
    for _ in range(3):
        fail(world, notices="x")
    reply = world.run(outbox.outbox(world.keys, supervisor=A, take=9, tell=2))
    assert len(reply.notices) == 2


def decided(world: World, kind: str, told: tuple[str, str] | None) -> str:
    world.run(decisions.introduce_schedules(world.keys, {"s": "g1"}))
    past = round(world.now() - 100, 3)
    world.raw("HSET", world.keys.schedule("s"), "last", round(past * 1000))
    call = decisions.tick(
        world.keys, schedule="s", generation="g1", previous=past, instant=past + 1,
        following=None, kind=kind, who="h", run=None, missed_by=told,
    )  # fmt: skip
    return world.run(call).answer.kind


def test_missed_instant_is_told_when_somebody_wants_to_know(world: World) -> None:
    assert decided(world, "missed", None) == "missed"
    assert decided(world, "missed", ("j", ",l1000")) == "missed"
    (notice,) = taken(world)
    assert (notice.event, notice.job, notice.run) == ("m", "j", "")
    assert notice.due is not None


def test_instant_of_a_schedule_that_is_off_is_not_told_as_missed(world: World) -> None:
    world.run(decisions.introduce_schedules(world.keys, {"s": "g1"}))
    world.raw("HSET", world.keys.schedule("s"), "off", 1)
    assert decided(world, "missed", ("j", ",l1000")) == "disabled"
    assert events(world) == ""
