"""Pools of the live supervisors: what they have, and orders to change that."""

from __future__ import annotations

import time

from jobctl.client.control import send_to
from jobctl.client.supervisors import live_supervisors
from jobctl.errors import NotFoundError, TimedOutError, UnreachableError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client.open import Session
    from jobctl.client.supervisors import Supervisor

GROW, SHRINK, RESTART = "grow", "shrink", "restart"
MOST_SLOTS = 10_000
"""Of any pool."""
PATIENCE = 20.0
"""Seconds for a supervisor to say that an order about slots is carried out."""
LOOK_EVERY = 0.05


class PoolSeen:
    """One pool of one supervisor, as of its last heartbeat."""

    __slots__ = (
        "children", "host", "most", "name", "ordered", "pid", "queues", "running", "slots",
    )  # fmt: skip

    def __init__(self, item: Supervisor, name: str) -> None:
        told = item.pools.get(name, {})
        loads = item.load.get("pools", {})
        found = loads.get(name)
        load: dict[str, object] = found if isinstance(found, dict) else {}
        self.host = item.host
        self.name = name
        self.running = item.running(name)
        """Runs it holds now."""
        self.slots = int(str(load.get("slots") or told.get("slots") or 0))
        most = load.get("most")
        self.most = None if most is None else int(str(most))
        """Most slots of a pool that changes their number by itself; ``None``: it does not."""
        self.children = int(str(load.get("children") or 0))
        """Python interpreters it keeps, at work or waiting."""
        self.pid = int(str(load.get("pid") or 0))
        self.ordered = int(str(load.get("ordered") or 0))
        """Orders about its slots that its process has carried out."""
        queues = told.get("queues")
        self.queues = [str(one) for one in queues] if isinstance(queues, list) else []


def pools(session: Session, *, host: str | None = None) -> list[PoolSeen]:
    """Return the pools of all live supervisors, or of those of one host."""
    return [
        PoolSeen(item, name)
        for item in live_supervisors(session)
        if host in (None, item.host)
        for name in item.pools
    ]


class Ordered:
    """What an order will do to a pool of one host, as far as can be said before it is done."""

    __slots__ = ("before", "by", "host", "now")

    def __init__(self, seen: PoolSeen, action: str, slots: int, least: int) -> None:
        self.host = seen.host
        self.now = seen.slots
        """Slots it had at the last heartbeat."""
        self.before = _standing(seen)
        wanted = seen.slots + (slots if action == GROW else -slots)
        most = MOST_SLOTS if seen.most is None else seen.most
        self.by = 0 if action == RESTART else min(max(wanted, least), most) - seen.slots
        """Slots it gets, or loses if negative: bounds are kept, and one slot stays in any case."""


def order(
    session: Session, action: str, pool: str, *, slots: int, host: str | None
) -> list[Ordered]:
    """Send an order about a pool to all supervisors that have it; return what it does to each.

    Orders about slots are waited for: ``TimedOutError`` when one is not carried out in time.

    Raises ``UnreachableError`` when no supervisor runs, ``NotFoundError`` when none has it, and
    ``UsageError`` when it is to change its number of slots and has one by its nature.
    """
    found = [item for item in live_supervisors(session) if host in (None, item.host)]
    where = "" if host is None else f" on host {host}"
    if not found:
        raise UnreachableError(f"no supervisor is running{where}; see `jobctl status`")
    having = [item for item in found if pool in item.pools]
    if not having:
        known = ", ".join(sorted({name for item in found for name in item.pools}))
        raise NotFoundError(f"there is no pool {pool!r}{where}; there are: {known}")
    single = [item.host for item in having if item.pools[pool].get("python") == "inline"]
    if single and action != RESTART:
        raise UsageError(
            f'pool {pool} on {", ".join(single)} has one slot, for python = "inline" runs one function '
            'at a time; for more give it "process", "thread" or "async"'
        )
    send_to(session, f"pool:{action}:{pool}:{slots}", having)
    least = session.least_slots(pool)
    done = [Ordered(PoolSeen(item, pool), action, slots, least) for item in having]
    waited = {item.id: one.before for item, one in zip(having, done, strict=True) if one.by}
    _wait(session, pool, waited)
    return done


def _standing(seen: PoolSeen) -> tuple[int, int, int]:
    """Return what shows that an order about slots was carried out, also if another undid it."""
    return seen.slots, seen.ordered, seen.pid


def _wait(session: Session, pool: str, before: dict[str, tuple[int, int, int]]) -> None:
    """Return when each of these supervisors says that the pool stands otherwise than ``before``.

    Raises ``TimedOutError`` when one does not say so in time.
    """
    deadline = session.clock.monotonic() + PATIENCE
    while before:
        for item in live_supervisors(session):
            if _standing(PoolSeen(item, pool)) != before.get(item.id):
                before.pop(item.id, None)
        if before and session.clock.monotonic() > deadline:
            raise TimedOutError(
                f"pool {pool} has been given the order, and {len(before)} of its supervisors did not"
                f" say within {PATIENCE:g} s that it is carried out; see `jobctl pool list`"
            )
        if before:
            time.sleep(LOOK_EVERY)
