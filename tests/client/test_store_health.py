"""What ``jobctl doctor`` makes of a store's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.client.doctor import ERROR, OK, WARNING
from jobctl.client.open import Session
from jobctl.client.store_health import (
    durability_check,
    eviction_check,
    skew_check,
    store_checks,
    version_check,
)
from jobctl.store import membership

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
