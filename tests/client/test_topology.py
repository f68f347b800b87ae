"""What ``jobctl doctor`` makes of several servers, by words and against real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.client.doctor import ERROR, OK, WARNING, Check
from jobctl.client.open import Session
from jobctl.client.store_health import store_checks
from jobctl.client.topology import (
    cluster_check,
    min_replicas_check,
    replicas_check,
    sentinel_check,
)
from jobctl.errors import UnreachableError
from jobctl.model.config import Settings
from jobctl.store.address import Address
from tests.servers import Cluster, SentinelGroup, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.store.group_address import GroupAddress

GROUP: GroupAddress = Address.parse("redis+sentinel://a,b,c/main")  # type: ignore[assignment]
A, B, C = GROUP.servers
PRIMARY, OTHER = ("p", 1), ("q", 2)
FINE = (PRIMARY, "OK 3 usable Sentinels")


def replicas(*lags: int, state: str = "online") -> dict[str, str]:
    lines = {
        f"slave{number}": f"ip=10.0.0.{number},port=6379,state={state},offset=1,lag={lag}"
        for number, lag in enumerate(lags)
    }
    return {"connected_slaves": str(len(lags)), **lines}


@pytest.mark.parametrize(
    ("info", "settings", "status", "words"),
    [
        (replicas(0, 1), Settings(), OK, "10.0.0.1:6379 (online, confirmed 1 s ago)"),
        (replicas(0, 60), Settings(), WARNING, "confirmed 60 s ago"),
        (replicas(0, state="wait_bgsave"), Settings(), WARNING, "wait_bgsave"),
        ({}, Settings(), WARNING, "nobody can take over"),
        (replicas(0), Settings(durability="replicated"), OK, "online"),
        (replicas(60), Settings(durability="replicated"), ERROR, "wants 1, 0 follow"),
        ({}, Settings(durability="replicated", durability_replicas=2), ERROR, "wants 2"),
    ],
)
def test_replicas_are_missing_behind_or_fine(
    info: dict[str, str], settings: Settings, status: str, words: str
) -> None:
    check = replicas_check(info, settings)
    assert check.status == status
    assert words in check.detail
    assert (check.remedy == "") == (status == OK)


@pytest.mark.parametrize(
    ("count", "value", "status"),
    [(2, "1", OK), (1, "1", WARNING), (2, "0", WARNING), (2, "", OK)],
)
def test_cut_off_primary_should_stop_taking_runs(count: int, value: str, status: str) -> None:
    settings = {"min-replicas-to-write": value} if value else {}
    assert min_replicas_check(replicas(*[0] * count), settings).status == status


@pytest.mark.parametrize(
    ("told", "status", "words"),
    [
        ({A: FINE, B: FINE, C: FINE}, OK, "the primary is p:1"),
        ({A: FINE, B: FINE, C: UnreachableError("gone")}, WARNING, "not c:26379: gone"),
        ({A: FINE, B: UnreachableError("x"), C: UnreachableError("x")}, ERROR, "1 of 3"),
        ({A: FINE, B: FINE, C: (OTHER, "OK")}, WARNING, "c:26379 do not name p:1"),
        ({A: (PRIMARY, "NOQUORUM 1 usable"), B: FINE, C: FINE}, ERROR, "no failover is possible"),
        ({A: FINE}, WARNING, "1 of 1"),
    ],
)
def test_sentinels_agree_and_are_able(told, status: str, words: str) -> None:
    check = sentinel_check(GROUP, told, PRIMARY)
    assert check.status == status
    assert words in check.detail
    assert (check.remedy == "") == (status == OK)


@pytest.mark.parametrize(
    ("facts", "coverage", "status"),
    [
        ({"cluster_state": "ok"}, "no", OK),
        ({"cluster_state": "ok"}, "yes", WARNING),
        ({"cluster_state": "fail"}, "no", ERROR),
        ({}, "no", ERROR),
    ],
)
def test_cluster_is_whole(facts: dict[str, str], coverage: str, status: str) -> None:
    settings = {"cluster-require-full-coverage": coverage}
    assert cluster_check(facts, settings, "n:1").status == status


def checks_of(url: str, tmp_path: Path) -> dict[str, Check]:
    settings = {"redis": url, "state_dir": str(tmp_path)}
    with Session({"settings": settings, "path": ""}) as session:
        return {check.name: check for check in store_checks(session)}


def test_real_sentinels_are_seen(server_binary: Path, tmp_path: Path) -> None:
    group = SentinelGroup(server_binary)
    try:
        group.start()
        found = checks_of(group.url, tmp_path)
        assert found["sentinels"].status == OK, found["sentinels"]
        assert found["replicas"].status == OK, found["replicas"]
        assert found["min-replicas-to-write"].status == WARNING
        group.sentinels[2].kill()
        group.replicas[0].kill()
        wait_for(lambda: group.primary.info("replication")["connected_slaves"] == "0", "its end")
        found = checks_of(group.url, tmp_path)
        assert found["sentinels"].status == WARNING
        assert group.sentinels[2].place in found["sentinels"].detail
        assert found["replicas"].status == WARNING
    finally:
        group.close()


def test_real_cluster_is_seen(server_binary: Path, tmp_path: Path) -> None:
    cluster = Cluster(server_binary)
    try:
        cluster.start()
        check = checks_of(cluster.url, tmp_path)["cluster"]
        assert check.status == WARNING
        assert "stops as a whole" in check.detail
        assert cluster.primary_of("default").place in check.detail
        for node in cluster.servers:
            node.raw("CONFIG", "SET", "cluster-require-full-coverage", "no")
        assert checks_of(cluster.url, tmp_path)["cluster"].status == OK
    finally:
        cluster.close()
