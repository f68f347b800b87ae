"""The servers that other tests use do what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import Cluster, SentinelGroup

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_sentinels_replace_a_primary_that_dies(server_binary: Path) -> None:
    group = SentinelGroup(server_binary)
    try:
        old = group.start().primary
        old.raw("SET", "k", "v")
        old.raw("WAIT", 1, 1000)
        old.kill()
        new = group.wait_failover(old)
        assert new.raw("GET", "k") == b"v"
    finally:
        group.close()


@pytest.mark.slow
def test_a_replica_takes_over_a_nodes_slots(server_binary: Path) -> None:
    cluster = Cluster(server_binary, replicas=1)
    try:
        old = cluster.start().primary_of("default")
        old.raw("SET", "jc:{default}:k", "v")
        old.kill()
        new = cluster.wait_failover("default", old)
        assert new.raw("GET", "jc:{default}:k") == b"v"
    finally:
        cluster.close()
