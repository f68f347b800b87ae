"""Whatever somebody else wrote into the store: skipped, counted, never met twice, never run."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import JobctlError
from jobctl.store import pages, queries, scripts
from jobctl.store.calls import Call
from jobctl.store.codec import BadPayloadError, decode_request
from jobctl.store.transitions import Answer
from jobctl.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from store_world import World

BAD = "badbadbadbadbadb"


def damage_with(*words: str) -> Callable[[World, str], object]:
    return lambda world, run_id: world.raw(words[0], world.keys.run(run_id), *words[1:])


DAMAGE: dict[str, Callable[[World, str], object]] = {
    "a string": lambda world, i: (
        world.raw("DEL", world.keys.run(i)),
        world.raw("SET", world.keys.run(i), "?"),
    ),
    "a list": lambda world, i: (
        world.raw("DEL", world.keys.run(i)),
        world.raw("LPUSH", world.keys.run(i), "?"),
    ),
    "gone": lambda world, i: world.raw("DEL", world.keys.run(i)),
    "no state": damage_with("HDEL", "s"),
    "no job": damage_with("HDEL", "j"),
    "no queue": damage_with("HDEL", "q"),
    "no priority": damage_with("HDEL", "p"),
    "priority of words": damage_with("HSET", "p", "high"),
    "epoch of words": damage_with("HSET", "ep", "many"),
    "epoch beyond all numbers": damage_with("HSET", "ep", "9" * 23),
}
HARMLESS: dict[str, Callable[[World, str], object]] = {
    "expiry of words": damage_with("HSET", "xp", "soon"),
    "attempts of words": damage_with("HSET", "at", "two"),
    "attempts that look like a number": damage_with("HSET", "at", "1e5", "fs", "nan", "nb", "0x1"),
    "losses of words": damage_with("HSET", "ls", "two", "cl", "two"),
    "attempts beyond all numbers": damage_with(
        "HSET", "at", "9" * 23, "ls", "9" * 23, "dr", "9" * 23
    ),
    "times beyond all numbers": damage_with("HSET", "nb", "9" * 23, "t", "9" * 23, "fs", "9" * 23),
    "no time": damage_with("HDEL", "t"),
    "no envelope": damage_with("HDEL", "e"),
    "retention of words": damage_with("HSET", "kp", "for ever"),
    "unknown fields": damage_with("HSET", "zz", "1"),
}


def bad(world: World) -> list[str]:
    return [item.decode() for item in world.raw("LRANGE", world.keys.prefix + "bad", 0, -1)]


def answer_to(what: str) -> str:
    """What is said of a damaged run: only one that is gone without a trace was lost."""
    return "gone" if what == "gone" else "stale"


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_run_does_not_stop_its_queue(broken_world: World, what: str) -> None:
    world = broken_world
    broken, fine = world.submit(), world.submit()
    DAMAGE[what](world, broken)
    reply = world.take(5)
    assert [claim.id for claim in reply.claims] == [fine]
    assert not reply.more
    assert world.take(5).claims == ()
    if what not in ("gone", "no state"):
        assert bad(world) == [broken]
        assert world.counters()["bad"] == 1


@pytest.mark.parametrize("state", ["q", "x"])
def test_damaged_run_that_a_claim_meets_gives_back_its_lock(
    broken_world: World, state: str
) -> None:
    world = broken_world
    broken, fine = world.submit(unique="k"), world.submit()
    DAMAGE["no priority"](world, broken)
    world.raw("HSET", world.keys.run(broken), "s", state)
    assert world.claim(5) == [fine]
    assert world.raw("EXISTS", f"{world.keys.prefix}u:k") == 0


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_run_does_not_stop_the_timetable(broken_world: World, what: str) -> None:
    world = broken_world
    broken, fine = world.submit(start_in=60), world.submit(start_in=60)
    DAMAGE[what](world, broken)
    for run_id in (broken, fine):
        world.raw("ZADD", world.keys.due, 1, run_id)
    world.promote()
    assert world.state(fine) == "q"
    assert world.run(queries.due_length(world.keys)) == 0


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_run_does_not_keep_a_limit(broken_world: World, what: str) -> None:
    world = broken_world
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    broken, fine = world.submit(limits="l:db"), world.submit(limits="l:db")
    world.claim(5)
    DAMAGE[what](world, broken)
    world.settle(holder)
    assert world.claim(5) == [fine]
    DAMAGE[what](world, fine)
    assert world.settle(fine) == answer_to(what)
    assert world.claim(5) == []
    last = world.submit(limits="l:db")
    assert world.claim(5) == [last]


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_run_does_not_stop_a_rescue(broken_world: World, what: str) -> None:
    world = broken_world
    ids = [world.submit() for _ in range(3)]
    world.claim(3)
    DAMAGE[what](world, ids[1])
    reply = world.rescue()
    assert (reply.moved, reply.left) == (3, 0)
    assert world.states(ids[0], ids[2]) == "qq"


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_claim_can_be_settled_away(broken_world: World, what: str) -> None:
    world = broken_world
    run_id = world.submit()
    world.claim()
    DAMAGE[what](world, run_id)
    assert world.start(run_id) == answer_to(what)
    assert world.settle(run_id) == answer_to(what)
    assert world.release((run_id, 1)) == ("stale",)
    assert world.run(queries.owned(world.keys, "h1~a/p.1")) == []


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_run_can_be_revoked_submitted_and_looked_at(broken_world: World, what: str) -> None:
    world = broken_world
    run_id = world.submit(overlap="s", unique="k")
    DAMAGE[what](world, run_id)
    world.revoke(run_id)
    assert world.answer(run_id).kind in ("ok", "dup", "skip")
    world.submit(job="k", overlap="s")


@pytest.mark.parametrize("what", [name for name in DAMAGE if name not in ("a string", "a list")])
def test_damaged_run_does_not_stop_a_listing(broken_world: World, what: str) -> None:
    world = broken_world
    run_id = world.submit()
    DAMAGE[what](world, run_id)
    world.run(pages.brief(world.keys, run_id, envelope=True))
    world.run(queries.run_or_broken(world.keys, run_id))
    world.raw("HSET", world.keys.run(run_id), "t", "then", "at", "some")
    assert world.run(pages.brief(world.keys, run_id, envelope=False)) is None


@pytest.mark.parametrize("what", HARMLESS)
def test_run_with_small_damage_goes_its_way(broken_world: World, what: str) -> None:
    world = broken_world
    run_id = world.submit()
    HARMLESS[what](world, run_id)
    (claim,) = world.take().claims
    assert claim.id == run_id
    world.rescue()
    world.supervisor("h2~b")
    (claim,) = world.take(sid="h2~b").claims
    assert world.settle(run_id, "x", epoch=claim.epoch, sid="h2~b") == "x"


def test_foreign_type_under_a_queue_name_stops_only_that_level(broken_world: World) -> None:
    world = broken_world
    world.raw("SET", world.keys.queue("default", 7), "?")
    low, high = world.submit(priority=1), world.submit(priority=9)
    reply = world.take(5)
    assert [claim.id for claim in reply.claims] == [high, low]
    assert not reply.more, "an unreadable level is no reason to call again"


def test_random_bytes_in_every_list_are_skipped(broken_world: World) -> None:
    world = broken_world
    draw = random.Random(7)
    noise = [bytes(draw.randrange(256) for _ in range(draw.randrange(40))) for _ in range(150)]
    world.limits(l_db=0)
    places = [world.keys.queue("default", p) for p in range(10)]
    for key in [*places, world.keys.parked("l:db"), world.keys.bell("default")]:
        world.raw("RPUSH", key, *noise)
    for member in noise:
        world.raw("ZADD", world.keys.due, 1, member)
        world.raw("SADD", world.keys.own("h1~a/p.1"), member)
        world.raw("SADD", world.keys.holders("l:db"), member)
        world.raw("SADD", world.keys.live("j"), member)
    fine = world.submit(overlap="s", limits="l:db")
    for _ in range(100):
        if not world.take(10).more:
            break
    else:
        pytest.fail("the queue never came to an end")
    while world.promote().again:
        pass
    world.limits(l_db=1)
    for _ in range(2):
        world.raw("ZADD", world.keys.due, 1, "!l:db")
        world.promote()
    assert world.claim(5) == [fine]
    while world.rescue().left:
        pass
    assert world.state(fine) == "q"


def test_list_of_broken_runs_is_bounded(broken_world: World) -> None:
    world = broken_world
    world.raw("RPUSH", world.keys.prefix + "bad", *(str(i) for i in range(5000)))
    broken = world.submit()
    world.raw("HDEL", world.keys.run(broken), "j")
    world.claim()
    assert len(bad(world)) == 1000
    assert bad(world)[0] == broken


def test_broken_run_of_ours_fails_as_bad_payload(broken_world: World) -> None:
    world = broken_world
    run_id = world.submit()
    world.raw("HDEL", world.keys.run(run_id), "p")
    world.claim()
    record = world.record(run_id)
    assert (record["s"], record["rs"]) == ("x", "bad_payload")
    assert "priority" in record["er"]
    assert world.raw("PTTL", world.keys.run(run_id)) > 0


def test_foreign_key_is_left_alone(broken_world: World) -> None:
    world = broken_world
    world.raw("SET", world.keys.run(BAD), "mine")
    world.raw("RPUSH", world.keys.queue("default", 5), BAD)
    assert world.claim() == []
    assert world.raw("GET", world.keys.run(BAD)) == b"mine"
    assert world.answer(BAD) == Answer("dup", "x")


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"[]",
        b"nonsense",
        b'{"v":1',
        b"\xff\xfe",
        b'{"v":2}',
        b'{"v":1,"a":{}}',
        b'{"v":1,"k":[]}',
        b'{"v":1,"g":3}',
        b'{"v":1,"to":"soon"}',
        b'{"v":1,"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        None,
    ],
    ids=lambda value: str(value)[:20],
)
def test_unreadable_envelope_is_a_bad_payload(envelope: object) -> None:
    with pytest.raises(BadPayloadError, match="run x: "):
        decode_request(
            run_id="x", job="j", queue="q", priority="5", max_attempts="1", envelope=envelope
        )


def test_unreadable_record_is_a_bad_payload_to_readers(broken_world: World) -> None:
    world = broken_world
    run_id = world.submit()
    world.raw("HSET", world.keys.run(run_id), "a1", "[]")
    with pytest.raises(BadPayloadError):
        world.run(queries.run(world.keys, run_id))
    assert world.run(queries.run_or_broken(world.keys, run_id)) is None
    world.raw("SET", world.keys.run(BAD), "?")
    (answer,) = world.store.try_many([queries.run(world.keys, BAD)])
    assert isinstance(answer, JobctlError)


@pytest.mark.parametrize("name", ["t", "nb", "fn", "du"])
@pytest.mark.parametrize("value", ["9" * 30, "-1", "nan", "1e400", "x"])
def test_times_that_are_none_are_a_bad_payload_to_readers(
    broken_world: World, name: str, value: str
) -> None:
    world = broken_world
    run_id = world.submit()
    world.raw("HSET", world.keys.run(run_id), name, value)
    with pytest.raises(BadPayloadError):
        world.run(queries.run(world.keys, run_id))
    brief = world.run(pages.brief(world.keys, run_id, envelope=False))
    assert (brief is None) == (name == "t")


@pytest.mark.parametrize("entry", ['{"st":1e99}', '{"fn":"x"}', '{"du":-1}', '{"ms":NaN}'])
def test_attempts_with_numbers_that_are_none_are_a_bad_payload_to_readers(
    broken_world: World, entry: str
) -> None:
    run_id = broken_world.submit()
    broken_world.raw("HSET", broken_world.keys.run(run_id), "a1", entry)
    with pytest.raises(BadPayloadError):
        broken_world.run(queries.run(broken_world.keys, run_id))


def test_empty_member_of_the_timetable_is_no_run(broken_world: World) -> None:
    world = broken_world
    world.raw("ZADD", world.keys.due, 1, "")
    assert world.run(queries.due_ids(world.keys, most=5)) == []


FINDINGS: dict[str, tuple[Callable[[World, str], object], str]] = {
    "run in no container": (
        lambda world, _: world.raw("DEL", world.keys.queue("default", 5)),
        "must be once in q:default:5",
    ),
    "run in two": (
        lambda world, i: world.raw("ZADD", world.keys.due, 1, i),
        "must be once in q:default:5",
    ),
    "holder that does not run": (
        lambda world, i: world.raw("SADD", world.keys.holders("l:db"), i),
        "which does not run",
    ),
    "lock without a run": (
        lambda world, _: world.raw("SET", world.keys.prefix + "u:x", BAD),
        "no unfinished run of it",
    ),
    "lock lost": (
        lambda world, _: world.raw("DEL", world.keys.prefix + "u:k"),
        "not protected",
    ),
    "live entry lost": (lambda world, _: world.raw("DEL", world.keys.live("j")), "is missing among"),
    "live entry without a run": (
        lambda world, _: world.raw("SADD", world.keys.live("j"), BAD),
        "counts as an unfinished run",
    ),
    "expiry lost": (lambda world, _: world.raw("DEL", world.keys.due), "nothing would carry out"),
    "claims of nobody": (
        lambda world, _: world.raw("SADD", world.keys.own("h9~x/p.1"), BAD),
        "belong to no supervisor",
    ),
    "parked without a look": (
        lambda world, _: world.raw("RPUSH", world.keys.parked("l:db"), BAD),
        "never be looked at again",
    ),
    "record that expires too soon": (
        lambda world, i: world.raw("PEXPIRE", world.keys.run(i), 100_000),
        "has not ended and its record would expire",
    ),
    "unknown state": (damage_with("HSET", "s", "?"), "no known state"),
    "foreign type": (
        lambda world, _: world.raw("SET", world.keys.holders("l:db"), "?"),
        "is a string, not a set",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FINDINGS)
def test_verification_finds(broken_world: World, what: str) -> None:
    world = broken_world
    run_id = world.submit(unique="k", overlap="s", expires_in=100, limits="l:db")
    assert verify(world.store, world.keys) == []
    damage, words = FINDINGS[what]
    damage(world, run_id)
    assert any(words in finding for finding in verify(world.store, world.keys))


def test_verification_reads_a_large_namespace(broken_world: World) -> None:
    world = broken_world
    for _ in range(600):
        world.submit()
    assert verify(world.store, world.keys) == []
    assert world.run(Call(("DBSIZE",), lambda reply: reply)) > 600


@pytest.mark.parametrize("job", ["../../..", "a/b", ".", "", "a\x1b[2Jb", "a\nb"])
def test_job_that_can_be_no_name_of_a_file_is_a_bad_payload(broken_world: World, job: str) -> None:
    run_id = broken_world.submit()
    broken_world.raw("HSET", broken_world.keys.run(run_id), "j", job)
    with pytest.raises(BadPayloadError, match="no name of a file"):
        broken_world.run(queries.run(broken_world.keys, run_id))


def test_id_that_can_be_no_name_of_a_file_is_a_bad_payload(broken_world: World) -> None:
    fine = broken_world.submit()
    record = broken_world.raw("HGETALL", broken_world.keys.run(fine))
    broken_world.raw("HSET", broken_world.keys.run("../../x"), *record)
    with pytest.raises(BadPayloadError, match="no name of a file"):
        broken_world.run(queries.run(broken_world.keys, "../../x"))


def test_words_of_a_record_do_not_move_the_cursor(broken_world: World) -> None:
    run_id = broken_world.submit()
    entry = '{"n":1,"o":"x\\u001b[1m","rs":"\\u0007","ho":"h\\u001b"}'
    envelope = '{"v":1,"tr":"\\u001b]0;x","by":"me\\u0007"}'
    broken_world.raw(
        "HSET",
        broken_world.keys.run(run_id),
        "e",
        envelope,
        "rs",
        "\x1b",
        "o",
        "h\x1b~1",
        "a1",
        entry,
    )
    run = broken_world.run(queries.run(broken_world.keys, run_id))
    assert run is not None
    shown = (run.reason, run.host, run.request.trigger, run.request.submitter)
    shown += (run.attempts[0].outcome, run.attempts[0].reason, run.attempts[0].host)
    assert all(word and word.isprintable() for word in shown)


def test_error_of_a_script_costs_no_run(
    broken_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when parts of two versions were put together."""
    world, read = broken_world, scripts._read
    run_id = world.submit()
    world.take(1)
    with monkeypatch.context() as patch:
        patch.setattr(scripts, "_loaded", {})
        patch.setattr(scripts, "_read", lambda name: _without_its_parts(name, read(name)))
        with pytest.raises(JobctlError, match="finish"):
            world.settle(run_id, "k", epoch=1)
    assert world.record(run_id)["s"] == "c"
    assert world.settle(run_id, "k", epoch=1) == "k"


def _without_its_parts(name: str, text: bytes) -> bytes:
    return (
        text.replace(b"local function finish(", b"local function done(")
        if name == "moves"
        else text
    )


def test_claimed_run_whose_record_lost_its_job_fails_when_it_ends(broken_world: World) -> None:
    run_id = broken_world.submit()
    broken_world.claim_one(run_id)
    broken_world.raw("HDEL", broken_world.keys.run(run_id), "j")
    broken_world.settle(run_id)
    found = broken_world.record(run_id)
    assert (found["s"], found["rs"]) == ("x", "bad_payload")
    assert not broken_world.raw("SCARD", broken_world.keys.own("h1~a/p.1"))


def test_last_look_of_a_claim_may_find_no_list_at_all(broken_world: World) -> None:
    # With one wanted, a claim looks 34 times. The last time it meets a queue without any list.
    stale = [f"gone{n}" for n in range(33)]
    broken_world.raw("RPUSH", broken_world.keys.queue("a", 5), *stale)
    for priority in range(10):
        broken_world.raw("SET", broken_world.keys.queue("b", priority), "no list")
    assert broken_world.claim(1, queues=["a", "b"]) == []
    assert not broken_world.raw("EXISTS", broken_world.keys.queue("a", 5))
