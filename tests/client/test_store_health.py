"""What ``jobctl doctor`` makes of a store's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.client.doctor import ERROR, OK, WARNING, Check
from jobctl.client.open import Session
from jobctl.client.store_health import (
    durability_check,
    eviction_check,
    skew_check,
    store_checks,
    version_check,
)
from jobctl.model.admission import Admission, NewRun
from jobctl.model.ids import new_id
from jobctl.model.run import Request
from jobctl.model.sealing import TOO_EARLY, TOO_LATE
from jobctl.store import membership, settling, transitions
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore


@pytest.mark.parametrize(
    ("info", "status"),
    [
        ({"redis_version": "7.2.4"}, OK),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, OK),
        ({"redis_version": "6.2.0"}, ERROR),
        ({"redis_version": "7.2.4", "role": "slave"}, ERROR),
        ({}, OK),
    ],
)
def test_old_servers_and_replicas_are_refused(info: dict[str, str], status: str) -> None:
    assert version_check(info).status == status


@pytest.mark.parametrize(
    ("info", "settings", "status"),
    [
        ({}, {"maxmemory-policy": "noeviction"}, OK),
        ({"maxmemory_policy": "noeviction"}, {}, OK),
        ({"maxmemory": "1000000"}, {"maxmemory-policy": "allkeys-lru"}, ERROR),
        ({"maxmemory_policy": "volatile-lru"}, {}, ERROR),
        ({}, {}, WARNING),
    ],
)
def test_eviction_other_than_none_is_an_error(
    info: dict[str, str], settings: dict[str, str], status: str
) -> None:
    assert eviction_check(info, settings).status == status


@pytest.mark.parametrize(
    ("info", "settings", "status", "words"),
    [
        ({}, {"appendonly": "yes", "appendfsync": "always"}, OK, "on disk before"),
        ({}, {"appendonly": "yes", "appendfsync": "everysec"}, OK, "up to 2 s"),
        ({}, {"appendonly": "yes", "appendfsync": "no"}, WARNING, "up to 30 s"),
        ({}, {"appendonly": "no"}, WARNING, "last snapshot"),
        ({"aof_enabled": "0"}, {}, WARNING, "last snapshot"),
        ({"aof_enabled": "1"}, {}, OK, "does not tell"),
        ({"aof_last_write_status": "err"}, {"appendonly": "yes"}, ERROR, "failed to write"),
        (
            {"connected_slaves": "2"},
            {"appendonly": "yes", "appendfsync": "always"},
            OK,
            "2 replicas",
        ),
    ],
)
def test_durability_is_said_in_words(
    info: dict[str, str], settings: dict[str, str], status: str, words: str
) -> None:
    check = durability_check(info, settings)

    assert check.status == status
    assert words in check.detail


@pytest.mark.parametrize(
    ("ahead", "status"), [(0.1, OK), (-1.9, OK), (5.0, WARNING), (-5.0, WARNING), (-3600.0, ERROR)]
)
def test_clocks_that_differ_are_noticed(ahead: float, status: str) -> None:
    assert skew_check(ahead).status == status


def a_session(server: EmbeddedStore) -> Session:
    return Session(
        {
            "settings": {"redis": f"unix://{server.address.path}", "state_dir": "/nowhere"},
            "jobs": {"a": {"name": "a", "command": "true", "queue": "reports"}},
        }
    )


def statuses(session: Session) -> dict[str, str]:
    return {check.name: check.status for check in store_checks(session)}


@pytest.mark.usefixtures("store")
def test_store_without_daemon_is_an_error(server: EmbeddedStore) -> None:
    with a_session(server) as session:
        found = statuses(session)

    assert found.pop("daemon") == ERROR
    assert set(found.values()) == {OK}


def test_queue_that_no_daemon_serves_is_an_error(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    with a_session(server) as session:
        facts = {"host": "h", "pid": "1", "pools": '{"default":{"slots":1,"queues":["default"]}}'}
        store.run(membership.register(session.keys, supervisor="h~1", facts=facts))
        found = {check.name: check for check in store_checks(session)}

    assert found["daemon"].status == OK
    assert found["served queues"].status == ERROR
    assert "reports" in found["served queues"].detail


def test_store_that_is_away_is_one_error() -> None:
    with Session({"settings": {"redis": "redis://127.0.0.1:1/0", "state_dir": "/x"}}) as session:
        (check,) = store_checks(session)

    assert check.status == ERROR
    assert check.remedy


def refuse(store: BlockingStore, session: Session, *why: str) -> None:
    """Have runs fail as a pool fails what it does not let in."""
    keys, owner = session.keys, "h~1/p.1"
    store.run(membership.register(keys, supervisor="h~1", facts={}))
    store.run(membership.add_pool(keys, supervisor="h~1", owner=owner))
    runs = [NewRun(request=Request(id=new_id(), job="a"), admission=Admission()) for _ in why]
    store.run(transitions.submit(keys, runs))
    store.run(
        transitions.claim(keys, supervisor="h~1", owner=owner, want=len(runs), queues=["default"])
    )
    for run, words in zip(runs, why, strict=True):
        error = f"run {run.request.id} of 'a' is refused: {words}"
        item = Settlement(run.request.id, 1, "x", "bad_payload", 0.0, ("er", error))
        assert store.run(settling.settle(keys, owner=owner, items=[item])) == ("x",)


def signatures(session: Session) -> list[Check]:
    return [check for check in store_checks(session) if check.name == "signatures"]


@pytest.mark.parametrize(
    ("why", "suspects"),
    [
        ((TOO_LATE,), False),
        ((TOO_EARLY, TOO_LATE), False),
        ((TOO_LATE, "its signature does not fit"), True),
        (("its signature does not fit", TOO_LATE), True),
        (("it is not signed",), True),
    ],
)
def test_runs_that_only_waited_too_long_are_no_sign_of_a_forger(
    store: BlockingStore, server: EmbeddedStore, why: tuple[str, ...], *, suspects: bool
) -> None:
    with a_session(server) as session:
        refuse(store, session, *why)
        (found,) = signatures(session)

    assert found.status == WARNING
    assert found.detail.startswith(f"{len(why)} run{'s were' if len(why) > 1 else ' was'} refused")
    assert why[-1] in found.detail
    assert ("who can write to the store" in found.remedy) == suspects


def test_a_store_that_was_set_back_is_no_sign_of_a_forger(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    with a_session(server) as session:
        store.run(transitions.count(session.keys, "replayed"))
        (found,) = signatures(session)

    assert found.status == WARNING
    assert found.detail.startswith("1 run that had ended here came back")
    assert found.remedy.startswith("a failover, a crash or a backup")


def test_the_reason_of_a_refusal_cannot_reach_a_terminal_as_it_is(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    with a_session(server) as session:
        refuse(store, session, "\x1b[2J\n" + "x" * 5000)
        (found,) = signatures(session)

    assert found.detail.isprintable()
    assert len(found.detail) < 500
