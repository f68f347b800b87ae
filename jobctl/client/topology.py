"""The checks of ``jobctl doctor`` for a store of several servers: replicas, sentinels, cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.client.doctor import ERROR, MOST_SHOWN, OK, WARNING, Check
from jobctl.errors import JobctlError
from jobctl.model.config import Durability
from jobctl.store import groups
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.finding import PATIENCE
from jobctl.store.group_address import SENTINEL, GroupAddress, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client.open import Session
    from jobctl.model.config import Settings
    from jobctl.store.group_address import Place

LAG = 10
"""Seconds since a replica last confirmed after which it counts as behind: the advised
``min-replicas-max-lag``."""
SETTINGS = ("min-replicas-to-write", "cluster-require-full-coverage")
"""Settings of the server that these checks look at."""


def topology_checks(
    session: Session, info: dict[str, str], settings: dict[str, str]
) -> Iterator[Check]:
    """Yield how the servers of the store stand by each other; nothing for a single one.

    ``info`` and ``settings`` are what the server in charge says of itself.
    """
    address = session.address
    if isinstance(address, GroupAddress):
        server = session.store.server
        if address.group == SENTINEL:
            yield sentinel_check(address, _ask_sentinels(address), (server.host, server.port))
        else:
            told = session.try_many([Call(("CLUSTER", "INFO"), _fields)])[0]
            facts = {} if isinstance(told, JobctlError) else told
            yield cluster_check(facts, settings, shown((server.host, server.port)))
    elif info.get("connected_slaves", "0") == "0" and not _replicated(session.settings):
        return
    yield replicas_check(info, session.settings)
    yield min_replicas_check(info, settings)


def replicas_check(info: dict[str, str], settings: Settings) -> Check:
    """Say which replicas follow, and how far behind they are."""
    name, found = "replicas", replicas_of(info)
    fine = [one for one in found if one["state"] == "online" and int(one["lag"]) <= LAG]
    listed = ", ".join(
        f"{one['ip']}:{one['port']} ({one['state']}, confirmed {one['lag']} s ago)"
        for one in found[:MOST_SHOWN]
    )
    wanted = settings.durability_replicas
    if _replicated(settings) and len(fine) < wanted:
        return Check(
            name=name, status=ERROR,
            detail=f'durability = "replicated" wants {wanted}, {len(fine)} follow: submit exits '
            f"with 75{'; ' + listed if listed else ''}",
            remedy="start the replicas, or lower durability_replicas",
        )  # fmt: skip
    if not found:
        return Check(
            name=name, status=WARNING, detail="none follows: nobody can take over",
            remedy="start a replica, and see its log for why it does not connect",
        )  # fmt: skip
    if len(fine) < len(found):
        return Check(
            name=name, status=WARNING, detail=listed,
            remedy="see the logs of those that are not online or lag behind",
        )  # fmt: skip
    return Check(name=name, status=OK, detail=listed)


def min_replicas_check(info: dict[str, str], settings: dict[str, str]) -> Check:
    """Say whether a primary that was cut off stops taking runs that nobody will keep."""
    name, value = "min-replicas-to-write", settings.get("min-replicas-to-write", "")
    if not value.isdecimal():
        return Check(name=name, status=OK, detail="the store does not tell it; 1 is advised")
    if int(value) == 0:
        return Check(
            name=name, status=WARNING,
            detail="0: a primary that is cut off goes on accepting runs that a failover loses",
            remedy="set min-replicas-to-write 1 and min-replicas-max-lag 10 on all servers that "
            "hold data, with two replicas or more",
        )  # fmt: skip
    count = int(info.get("connected_slaves", "0"))
    if count <= int(value):
        return Check(
            name=name, status=WARNING,
            detail=f"{value}, with {count} replicas: when one fails, nothing is accepted",
            remedy="add a replica",
        )  # fmt: skip
    return Check(name=name, status=OK, detail=f"{value}, with {count} replicas")


def sentinel_check(
    address: GroupAddress, told: dict[Place, tuple[Place, str] | JobctlError], used: Place
) -> Check:
    """Say whether the sentinels agree and could let a replica take over.

    ``told`` has, for each sentinel, the primary it names and its answer to ``CKQUORUM``; ``used``
    is the server we are connected to.
    """
    name = "sentinels"
    silent = [place for place, answer in told.items() if isinstance(answer, JobctlError)]
    voices = {place: one for place, one in told.items() if not isinstance(one, JobctlError)}
    others = [place for place, (primary, _) in voices.items() if primary != used]
    unable = [words for _, words in voices.values() if not words.startswith("OK")]
    count = f"{len(voices)} of {len(told)} answer for {address.service}"
    if silent:
        who = ", ".join(shown(place) for place in silent)
        return Check(
            name=name, status=WARNING if groups.enough(address, len(voices)) else ERROR,
            detail=f"{count}; not {who}: {told[silent[0]]}",
            remedy="start them, or correct the addresses in redis =",
        )  # fmt: skip
    if others:
        who = ", ".join(shown(place) for place in others)
        return Check(
            name=name, status=WARNING,
            detail=f"{count}; {who} do not name {shown(used)} as the primary",
            remedy="wait for a failover to end; should it stay so, see the logs of the sentinels",
        )  # fmt: skip
    if unable:
        return Check(
            name=name, status=ERROR, detail=f"{count}; no failover is possible: {unable[0]}",
            remedy="have three sentinels on three hosts, and a quorum of two",
        )  # fmt: skip
    status = OK if len(told) > 2 else WARNING  # noqa: PLR2004  # a majority that outlives one
    return Check(
        name=name, status=status, detail=f"{count}, the primary is {shown(used)}",
        remedy="" if status == OK else "name all sentinels in redis =, three or more",
    )  # fmt: skip


def cluster_check(facts: dict[str, str], settings: dict[str, str], node: str) -> Check:
    """Say how the cluster is, and what else than this namespace's node can stop it."""
    name = "cluster"
    state = facts.get("cluster_state", "")
    said = f"state {state or 'unknown'}, {facts.get('cluster_known_nodes', '?')} nodes; {node} serves this namespace"
    if state != OK:
        return Check(
            name=name, status=ERROR, detail=said, remedy="see `CLUSTER INFO` and `CLUSTER NODES`"
        )
    if settings.get("cluster-require-full-coverage") == "yes":
        return Check(
            name=name, status=WARNING,
            detail=f"{said}; it stops as a whole when any slot has no server",
            remedy="set cluster-require-full-coverage no on all nodes",
        )  # fmt: skip
    return Check(name=name, status=OK, detail=said)


def replicas_of(info: dict[str, str]) -> list[dict[str, str]]:
    """Return what the primary says of each replica: ip, port, state, offset, lag."""
    usual = {"ip": "?", "port": "?", "state": "unknown", "lag": "-1"}
    found = []
    for number in range(int(info.get("connected_slaves", "0") or 0)):
        words = info.get(f"slave{number}", "").split(",")
        found.append(usual | dict(word.partition("=")[::2] for word in words if "=" in word))
    return found


def _ask_sentinels(address: GroupAddress) -> dict[Place, tuple[Place, str] | JobctlError]:
    told: dict[Place, tuple[Place, str] | JobctlError] = {}
    for place in address.servers:
        quorum = Call(("SENTINEL", "CKQUORUM", address.service), _text)
        where = address.question_at(place)
        try:
            with BlockingStore(where, connect_timeout=PATIENCE, timeout=PATIENCE) as store:
                *answers, able = store.try_many([*groups.questions(address), quorum])
                found = groups.view(address, answers, place)
        except JobctlError as error:
            told[place] = error
            continue
        words = able.reply if isinstance(able, JobctlError) else str(able)
        if found is not None:
            told[place] = (found.place, words)
    return told


def _replicated(settings: Settings) -> bool:
    return settings.durability == Durability.REPLICATED


def _text(reply: object) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _fields(reply: object) -> dict[str, str]:
    lines = (line.partition(":") for line in _text(reply).splitlines())
    return {name: value for name, colon, value in lines if colon}
