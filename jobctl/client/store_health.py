"""The checks of ``jobctl doctor`` that ask the store: what it promises, and who works with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.client import topology
from jobctl.client.doctor import ERROR, MOST_SHOWN, OK, WARNING, Check
from jobctl.client.live_checks import live_check
from jobctl.client.notice_checks import outbox_check
from jobctl.client.signature_checks import refusal_check
from jobctl.client.supervisors import live_supervisors
from jobctl.errors import JobctlError
from jobctl.store import queries
from jobctl.store.binary import OLDEST_MAJOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client.open import Session

SKEW_WARNING = 2.0
"""Seconds between this host's clock and the store's. Leases do not mind, times in listings do."""
SKEW_ERROR = 30.0
"""Seconds after which runs visibly start at other times than their schedules say."""


def store_checks(session: Session) -> Iterator[Check]:
    """Yield what the store says; only that it cannot be reached when it cannot."""
    clock = session.clock
    try:
        session.run(queries.now(session.keys))
        begun = clock.monotonic()
        theirs = session.run(queries.now(session.keys))
        trip = clock.monotonic() - begun
        ours = clock.epoch()
        info = session.run(queries.server_info(session.keys))
    except JobctlError as error:
        message, _, remedy = str(error).partition("; ")
        yield Check(name="store", status=ERROR, detail=message, remedy=remedy)
        return
    yield Check(
        name="store",
        status=OK,
        detail=f"{session.address} answers in {trip * 1000:.1f} ms",
    )
    settings = _settings(session)
    yield version_check(info)
    yield eviction_check(info, settings)
    yield durability_check(info, settings)
    yield from topology.topology_checks(session, info, settings)
    yield skew_check(ours - trip / 2 - theirs)
    yield from _as_far_as_possible("signatures", refusal_check(session))
    yield from _as_far_as_possible("live schedules", live_check(session))
    yield from _as_far_as_possible("notices", outbox_check(session))
    yield from _as_far_as_possible("daemon", daemon_checks(session))


def _as_far_as_possible(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    """Yield checks; that the store refuses one of them ends these, and not the others."""
    try:
        yield from checks
    except JobctlError as error:
        message, _, remedy = str(error).partition("; ")
        yield Check(name=name, status=ERROR, detail=message, remedy=remedy)


def _settings(session: Session) -> dict[str, str]:
    """Return the settings that matter; empty where ``CONFIG`` is refused."""
    names = ("appendonly", "appendfsync", "maxmemory-policy", "save", *topology.SETTINGS)
    found = session.try_many([queries.server_settings(session.keys, *names)])[0]
    return {} if isinstance(found, JobctlError) else found


def version_check(info: dict[str, str]) -> Check:
    """Say which server it is."""
    valkey = info.get("valkey_version")
    number = valkey or info.get("redis_version", "")
    shown = f"{'Valkey' if valkey else 'Redis'} {number or 'of unknown version'}"
    major = number.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST_MAJOR:
        return Check(
            name="store version", status=ERROR, detail=f"{shown} is too old",
            remedy=f"upgrade it to Redis {OLDEST_MAJOR} or newer, or to Valkey",
        )  # fmt: skip
    if info.get("role") == "slave":
        return Check(
            name="store version", status=ERROR, detail=f"{shown}, a replica: it takes no runs",
            remedy="name the primary in redis =",
        )  # fmt: skip
    return Check(name="store version", status=OK, detail=shown)


def eviction_check(info: dict[str, str], settings: dict[str, str]) -> Check:
    """Say whether the store throws runs away when it is full."""
    policy = settings.get("maxmemory-policy") or info.get("maxmemory_policy", "")
    used = f"{info.get('used_memory_human', '?')} used"
    most = int(info.get("maxmemory", "0") or 0)
    if most:
        used += f" of {info.get('maxmemory_human', most)}"
    if policy == queries.NO_EVICTION:
        return Check(name="eviction", status=OK, detail=f"{policy}; {used}")
    if not policy:
        return Check(
            name="eviction", status=WARNING, detail=f"the store does not tell its policy; {used}",
            remedy=f"make sure that its maxmemory-policy is {queries.NO_EVICTION}",
        )  # fmt: skip
    return Check(
        name="eviction",
        status=ERROR,
        detail=f"maxmemory-policy is {policy}: a full store throws runs away; {used}",
        remedy=f"CONFIG SET maxmemory-policy {queries.NO_EVICTION}, and in the server's configuration file",
    )


def durability_check(info: dict[str, str], settings: dict[str, str]) -> Check:
    """Say what an accepted run survives."""
    name = "durability"
    replicas = info.get("connected_slaves", "0")
    copies = f"; {replicas} replicas follow asynchronously" if replicas not in {"0", ""} else ""
    if (
        info.get("aof_last_write_status", OK) != OK
        or info.get("aof_last_bgrewrite_status", OK) != OK
    ):
        return Check(
            name=name, status=ERROR, detail="the store failed to write its append-only file",
            remedy="free space on its disk, and see its log",
        )  # fmt: skip
    if settings.get("appendonly") == "no" or info.get("aof_enabled") == "0":
        return Check(
            name=name, status=WARNING,
            detail=f"no append-only file: when the store's host fails, runs accepted since its last snapshot are lost{copies}",
            remedy="CONFIG SET appendonly yes, and in the server's configuration file",
        )  # fmt: skip
    fsync = settings.get("appendfsync", "")
    if fsync == "always":
        detail = f"appendfsync always: an accepted run is on disk before `submit` returns{copies}"
        return Check(name=name, status=OK, detail=detail)
    if fsync == "everysec":
        detail = f"appendfsync everysec: a power loss takes up to 2 s of accepted runs{copies}"
        return Check(name=name, status=OK, detail=detail)
    if fsync == "no":
        return Check(
            name=name, status=WARNING,
            detail=f"appendfsync no: a power loss takes up to 30 s of accepted runs{copies}",
            remedy="CONFIG SET appendfsync everysec, or always",
        )  # fmt: skip
    return Check(
        name=name, status=OK,
        detail=f"append-only file on; the store does not tell how often it syncs{copies}",
    )  # fmt: skip


def skew_check(ahead: float) -> Check:
    """Say how far this host's clock is from the store's; ``ahead`` in seconds."""
    detail = f"this host's clock is {abs(ahead):.3f} s {'ahead of' if ahead > 0 else 'behind'} the store's"
    if abs(ahead) < SKEW_WARNING:
        return Check(name="clock", status=OK, detail=detail)
    return Check(
        name="clock",
        status=ERROR if abs(ahead) >= SKEW_ERROR else WARNING,
        detail=detail,
        remedy="let both hosts keep time with NTP (timedatectl set-ntp true)",
    )


def daemon_checks(session: Session) -> Iterator[Check]:
    """Yield whether somebody runs what is submitted."""
    known = live_supervisors(session, stale=True)
    live = [one for one in known if not one.stale]
    if not live:
        seen = f"; {known[0].host} was last heard of {known[0].age:.0f} s ago" if known else ""
        yield Check(
            name="daemon",
            status=ERROR,
            detail=f"none is up{seen}",
            remedy=f"start one with `jobctl daemon{session.config_flag}`",
        )
        return
    shown = ", ".join(
        f"{one.host} (pid {one.pid}, heartbeat {one.age:.1f} s ago)" for one in live[:MOST_SHOWN]
    )
    stale = [one.host for one in known if one.stale]
    if stale:
        yield Check(
            name="daemon",
            status=WARNING,
            detail=f"{shown}; silent: {', '.join(stale[:MOST_SHOWN])}",
            remedy="look at the daemons that are silent; their runs are taken back by the others",
        )
    else:
        yield Check(name="daemon", status=OK, detail=shown)
    served = set().union(*(one.queues() for one in live))
    used = {job.queue for job in session.config.jobs.values()}
    lost = sorted(used - served)
    if lost:
        yield Check(
            name="served queues",
            status=ERROR,
            detail=f"no daemon serves {', '.join(lost[:MOST_SHOWN])}",
            remedy="add them to queues of a pool, then `jobctl reload`",
        )
    else:
        yield Check(name="served queues", status=OK, detail=", ".join(sorted(served)))
