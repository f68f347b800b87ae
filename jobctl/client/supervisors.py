"""What the supervisors of a namespace say of themselves."""

from __future__ import annotations

import json

from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.client.open import Session

STALE_AFTER = 15.0
"""Seconds without a heartbeat; they beat every five."""


class Supervisor:
    """One supervisor. Times are epoch seconds."""

    __slots__ = (
        "age", "draining", "held", "host", "id", "known", "lag", "load", "pid", "pools", "reload_error", "reloads", "stale", "started_at", "unrecorded", "version", "zone",
    )  # fmt: skip

    def __init__(self, supervisor_id: str, facts: Mapping[str, str], *, now: float) -> None:
        """``now`` is the store's clock."""
        self.id = supervisor_id
        self.host = facts.get("host", supervisor_id.partition("~")[0])
        self.pid = int(facts.get("pid", "0"))
        self.version = facts.get("version", "")
        self.zone = facts.get("zone", "")
        self.started_at = float(facts.get("started", "0"))
        self.age = max(0.0, now - float(facts.get("bt", "0")) / 1000)
        """Seconds since its last heartbeat."""
        self.stale = self.age > STALE_AFTER or facts.get("st", "up") != "up"
        self.pools = _objects(facts.get("pools", "{}"))
        """Name → slots and queues."""
        self.reloads = int(facts.get("reloads", "0"))
        """How often it has read its configuration again, in vain or not."""
        self.reload_error = facts.get("reload_error", "")
        self.held: dict[str, int] = {}
        """Pool → runs it holds; filled in by :func:`live_supervisors`."""
        self.load = _objects(facts.get("load", "{}"))
        self.draining = bool(self.load.get("draining"))
        """Whether it claims nothing more and ends when what runs has ended."""
        schedules = self.load.get("schedules", {})
        self.known = int(str(schedules.get("known", 0)))
        """Schedules that it decides, or would."""
        self.lag: dict[str, float] = dict(schedules.get("lag") or {})  # type: ignore[call-overload]
        """How late it decided the newest instants of the last hour, at most 1000 of them: how many
        (``decided``), and in milliseconds ``p50``, ``p99``, ``longest`` and ``last``."""
        self.unrecorded = int(str(self.load.get("unrecorded", 0)))
        """Outcomes it could not record at its last heartbeat."""

    def running(self, pool: str) -> int:
        """Return how many runs a pool holds now."""
        return self.held.get(pool, 0)

    def queues(self) -> set[str]:
        """Return the queues its pools serve."""
        names: set[str] = set()
        for pool in self.pools.values():
            queues = pool.get("queues")
            names.update(queues if isinstance(queues, list) else ())
        return names


def _objects(text: str) -> dict[str, dict[str, object]]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def live_supervisors(session: Session, *, stale: bool = False) -> list[Supervisor]:
    """Return the supervisors that are up, by host; with ``stale`` also those not heard of lately."""
    keys = session.keys
    ids, now = session.run_many([queries.supervisors(keys), queries.now(keys)])
    replies = session.run_many([queries.supervisor(keys, one) for one in ids]) if ids else []
    found = [
        Supervisor(one, facts, now=now) for one, facts in zip(ids, replies, strict=True) if facts
    ]
    _count_held(session, found)
    return sorted(
        (item for item in found if stale or not item.stale), key=lambda item: (item.host, item.id)
    )


def _count_held(session: Session, found: list[Supervisor]) -> None:
    """Ask the store what each pool holds: what a supervisor said at its last beat may be old."""
    keys = session.keys
    owners = session.run_many([queries.owners(keys, item.id) for item in found]) if found else []
    pairs = [(item, owner) for item, group in zip(found, owners, strict=True) for owner in group]
    calls = [queries.owned_length(keys, owner) for _, owner in pairs]
    for (item, owner), count in zip(pairs, session.run_many(calls) if calls else [], strict=True):
        # An owner is "<supervisor>/<pool>.<serial>"; a pool that is being replaced has two.
        pool = owner.rpartition("/")[2].rpartition(".")[0]
        item.held[pool] = item.held.get(pool, 0) + count
