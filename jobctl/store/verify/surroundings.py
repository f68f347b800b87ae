"""What a census says of everything around the runs: supervisors, bells, schedules, strange keys. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jobctl.store.verify.census import shown
from jobctl.store.verify.finding import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.store.verify.census import Census

SCHEMA = 1
"""How this version lays out its keys; ``common.lua`` says the same."""
LATE_AFTER = 60_000.0
"""ms by which something may be overdue while a supervisor lives."""
BEATS = 15_000.0
"""ms since its last beat up to which a supervisor lives for certain."""


def layout(census: Census) -> Iterator[Finding]:
    """Say whether a newer version laid out the namespace: then nothing else can be judged."""
    if census.schema.isdigit() and int(census.schema) > SCHEMA:
        what = f"schema {census.schema} is in use, this jobctl knows {SCHEMA}"
        yield Finding(Kind.SCHEMA, "schema", what)


def strange(census: Census) -> Iterator[Finding]:
    """Keys of a wrong type, keys nobody reads, and keys that would stay for ever."""
    for name, kind, wanted in census.foreign:
        what = f"{shown(name)} is a {kind}, not a {wanted}"
        yield Finding(Kind.TYPE, shown(name), what, "", ("type", name, wanted))
    for name, kind in census.unknown:
        yield Finding(
            Kind.UNKNOWN, shown(name), f"{shown(name)} is a {kind} that nothing here reads"
        )
    for run_id, endless in census.logs.items():
        if endless:
            what = f"the output of run {shown(run_id)} would stay for ever"
            yield Finding(Kind.LEFTOVER, f"l:{shown(run_id)}", what, run_id, ("log", run_id))
    known = census.listed | census.supervisors.keys()
    for sid in census.mailboxes - known:
        what = f"the mailbox of {shown(sid)} belongs to no supervisor"
        yield Finding(Kind.LEFTOVER, f"mb:{shown(sid)}", what, "", ("mailbox", sid))
    for sid in census.outboxes - known - {""}:
        what = f"notices of {shown(sid)} belong to no supervisor: nobody would deliver them"
        yield Finding(Kind.LEFTOVER, f"out:{shown(sid)}", what, "", ("outbox", sid))


def owners(census: Census) -> Iterator[Finding]:
    """Every claim can be rescued: its owner is a pool of a supervisor that is on the list."""
    pools = {owner for owned in census.pools.values() for owner in owned}
    for owner in census.owned.keys() - pools:
        what = f"claims of {shown(owner)} belong to no supervisor: nobody would rescue them"
        yield Finding(Kind.OWNER, f"own:{shown(owner)}", what, "", ("owner", owner))
    for sid in census.pools.keys() - census.listed:
        what = (
            f"supervisor {shown(sid)} has pools but is on no list: nobody would rescue its claims"
        )
        yield Finding(Kind.OWNER, f"pools:{shown(sid)}", what, "", ("supervisor", sid))


def bells(census: Census) -> Iterator[Finding]:
    """Check that a queue with ready runs has its token, and never two.

    Every push rings, and whoever takes the token claims or rings again. So it is missing only
    between a waiter's taking it and that waiter's claim; a waiter that dies in between leaves the
    runs to those who look every 15 s anyway. The finding names the first run of the line, which a
    second reading meets again only if nobody came.
    """
    first: dict[str, str] = {}
    for place in sorted(census.queues, key=_by_priority):
        if census.queues[place]:
            first.setdefault(place.rpartition(":")[0], census.queues[place][0])
    for queue, run_id in first.items():
        if not census.bells.get(queue):
            what = f"queue {shown(queue)} has runs, first {shown(run_id)}, and no bell"
            yield Finding(Kind.BELL, f"b:{shown(queue)}", what, "", ("bell", queue))
    for bell, tokens in census.bells.items():
        # Messages ring a supervisor's own bell without looking; a token too many costs a look.
        if tokens > 1 and not bell.startswith("@"):
            what = f"the bell {shown(bell)} has {tokens} tokens, at most one is right"
            yield Finding(Kind.BELL, f"b:{shown(bell)}", what, "", ("bell", bell))


def _by_priority(place: str) -> tuple[str, int]:
    queue, _, priority = place.rpartition(":")
    return queue, -int(priority)


def schedules(census: Census) -> Iterator[Finding]:
    """I6: no instant of a schedule made a run twice (the id of a run is made from its instant)."""
    for name, lines in census.decisions.items():
        made = Counter(
            words[3]
            for words in (line.split("|") for line in lines)
            if len(words) > 3 and words[2] == "ok" and words[3]  # noqa: PLR2004 - see keys.py
        )
        for run_id, times in made.items():
            if times > 1:
                what = f"schedule {shown(name)} fired run {shown(run_id)} {times} times"
                yield Finding(Kind.FIRED, f"sh:{shown(name)}", what, run_id)


def lateness(census: Census) -> Iterator[Finding]:
    """Check that what is due happens soon, when there is a supervisor to make it happen."""
    beats = [float(one["bt"]) for one in census.supervisors.values() if one["bt"].isdigit()]
    if not census.due or not beats or census.now - max(beats) > BEATS:
        return
    member, score = min(census.due.items(), key=lambda item: item[1])
    if census.now - score > LATE_AFTER:
        what = f"{shown(member)} is overdue, though a supervisor lives"
        yield Finding(Kind.LATE, "due", what)
