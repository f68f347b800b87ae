"""What a census says of runs: records, containers, limits, locks and ends. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.store.verify.census import index, shown
from jobctl.store.verify.finding import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobctl.store.verify.census import Census, RunFacts

EPOCH_DIGITS = 15
"""As many as ``common.lua`` takes for an epoch."""
SHORT = 2000
"""Entries of a list up to which a run that leaves it takes its entry along, see ``common.lua``."""


def _of_run(kind: Kind, run_id: str, run: RunFacts, rest: str, *, absent: bool = False) -> Finding:
    """``absent``: the run was not in its container, so it need not be searched there."""
    mend = ("run", run_id, "absent") if absent else ("run", run_id)
    what = f"run {shown(run_id)} {rest}"
    return Finding(kind, f"r:{shown(run_id)}", what, run_id, mend, _number(run.t))


def records(census: Census) -> Iterator[Finding]:
    """Each record is readable, and a claim has an owner and an epoch."""
    owners = index(census.owned)
    for run_id, run in census.runs.items():
        if not run.known:
            yield _of_run(Kind.RECORD, run_id, run, "has no known state")
        elif not (run.j and run.q and run.p.isdigit() and len(run.p) == 1) and run.s != "x":
            yield _of_run(Kind.RECORD, run_id, run, "lacks a job, a queue or a priority")
        elif run.ep and not (run.ep.isdigit() and len(run.ep) <= EPOCH_DIGITS) and run.s != "x":
            yield _of_run(Kind.RECORD, run_id, run, "has an epoch that is no number")
        elif run.claimed and not (run.o and _number(run.ep)):
            finding = _of_run(Kind.CLAIM, run_id, run, "is claimed without an owner or an epoch")
            # In whose set it still is, that owner has it.
            yield replace(finding, mend=("run", run_id, "", *owners.get(run_id, ())[:1]))
        else:
            yield from _counts(run_id, run)


def _number(word: str) -> int:
    return int(word) if word.isdigit() else 0


def _counts(run_id: str, run: RunFacts) -> Iterator[Finding]:
    """I8: no more starts than claims."""
    started, claims = _number(run.at), _number(run.ep)
    if started > claims:
        what = f"run {run_id} was started {started} times and claimed {claims} times"
        yield Finding(Kind.COUNT, f"r:{run_id}", what, run_id)


def attempts(census: Census) -> Iterator[Finding]:
    """I8: no more starts than the attempts allowed, those lost and those interrupted."""
    for run_id, run in census.runs.items():
        allowed = (_number(run.mx) or 1) + _number(run.ls) + _number(run.dr)
        if run.known and _number(run.at) > allowed:
            what = f"run {run_id} was started {run.at} times, {allowed} are allowed"
            yield Finding(Kind.COUNT, f"r:{run_id}", what, run_id)


def containers(census: Census) -> Iterator[Finding]:
    """I1: each unfinished run is in exactly one container, the one its state names."""
    where = _whereabouts(census)
    for run_id, run in census.unfinished():
        expected, found = container(run), Counter(where.get(run_id, ()))
        nobody_has_it = run.claimed and not run.o
        if nobody_has_it:
            continue
        if expected is not None and found != Counter({expected: 1}):
            places = {shown(place): times for place, times in found.items()}
            yield _of_run(
                Kind.CONTAINER, run_id, run,
                f"in state {run.s} is in {places}, must be once in {shown(expected)}",
                absent=expected not in found,
            )  # fmt: skip
            yield from _elsewhere(run_id, expected, found)
        # Under its queue's own name waits what could not be queued, for a key of another type.
        if run.s == "p" and run.pl not in (*run.lm.split(), f"q:{run.q}"):
            yield _of_run(
                Kind.CONTAINER,
                run_id,
                run,
                f"is parked for {run.pl!r}, which it does not need",
            )
        if run.xp and not run.at and run.s in "dqpw" and f"^{run_id}" not in census.due:
            yield _of_run(Kind.EXPIRY, run_id, run, "has an expiry that nothing would carry out")
    yield from _dangling(census, where)


def container(run: RunFacts) -> str | None:
    """Return the key an unfinished run must be in; ``None`` for one that waits for other runs."""
    match run.s:
        case "d":
            return "due"
        case "q":
            return f"q:{run.q}:{run.p}"
        case "p":
            return f"pk:{run.pl}"
        case "c" | "r":
            return f"own:{run.o}"
    return None


def _whereabouts(census: Census) -> dict[str, list[str]]:
    due = [member for member in census.due if member[:1] not in ("!", "^", "?", "~")]
    places = {
        **{f"q:{name}": ids for name, ids in census.queues.items()},
        **{f"pk:{name}": ids for name, ids in census.parked.items()},
        **{f"own:{name}": ids for name, ids in census.owned.items()},
        "due": due,
    }
    return index(places)


def _entry(place: str, run_id: str) -> tuple[str, ...]:
    """Return what has to be looked at to take a run out of a place."""
    family, _, rest = place.partition(":")
    return ("due", run_id) if family == "due" else (family, rest, run_id)


def _elsewhere(run_id: str, expected: str, found: Counter[str]) -> Iterator[Finding]:
    """Name the places an unfinished run is in and must not be, or more than once."""
    for place, times in found.items():
        if place != expected or times > 1:
            yield Finding(
                Kind.DANGLING, shown(place), f"{shown(place)} has {shown(run_id)} once too often",
                run_id, _entry(place, run_id),
            )  # fmt: skip


def _dangling(census: Census, where: dict[str, list[str]]) -> Iterator[Finding]:
    for run_id, places in where.items():
        run = census.runs.get(run_id)
        if run is not None and run.known and not run.final:
            continue
        for place in dict.fromkeys(places):
            family = place.partition(":")[0]
            if family in ("own", "due"):
                what = f"{shown(place)} has {shown(run_id)}, which is no unfinished run"
            elif run is None and _length(census, place) <= SHORT:
                what = f"{shown(place)} has {shown(run_id)}, of which nothing is known"
            else:
                # Entries of ended runs stay in long lists; whoever comes by drops them.
                continue
            yield Finding(Kind.DANGLING, shown(place), what, run_id, _entry(place, run_id))
    for member in census.due:
        if member.startswith("^") and member[1:] not in census.runs:
            what = f"due has the expiry of {shown(member[1:])}, of which nothing is known"
            yield Finding(Kind.DANGLING, "due", what, member[1:], ("due", member))


def _length(census: Census, place: str) -> int:
    family, _, rest = place.partition(":")
    return len((census.queues if family == "q" else census.parked).get(rest, ()))


def limits(census: Census) -> Iterator[Finding]:
    """I2: holders are the claimed runs that need the limit, and no more than it allows."""
    needed: dict[str, set[str]] = {}
    for run_id, run in census.unfinished():
        for limit in run.limits if run.claimed else ():
            needed.setdefault(limit, set()).add(run_id)
    for limit in needed.keys() | census.holders.keys():
        held, need = set(census.holders.get(limit, ())), needed.get(limit, set())
        key = f"c:{shown(limit)}"
        for run_id in held - need:
            what = f"limit {shown(limit)} is held by {shown(run_id)}, which does not run"
            yield Finding(Kind.HOLDER, key, what, run_id, ("c", limit, run_id))
        for run_id in need - held:
            yield _of_run(
                Kind.HOLDER, run_id, census.runs[run_id], f"runs without its limit {shown(limit)}"
            )
        size = "1" if limit.startswith("o:") else census.limits.get(limit, "")
        if size.isdigit() and len(held & need) > int(size):
            what = f"limit {shown(limit)} of {size} has {len(held & need)} holders"
            yield Finding(Kind.CROWDED, key, what)
    for limit in census.parked:
        if f"!{limit}" not in census.due:
            what = f"runs parked for {shown(limit)} would never be looked at again"
            yield Finding(Kind.PARKED, f"pk:{shown(limit)}", what, "", ("parked", limit))


def locks(census: Census) -> Iterator[Finding]:
    """I4: no unique lock and no place among a job's unfinished runs without such a run."""
    unfinished = dict(census.unfinished())
    for digest, run_id in census.unique.items():
        holder = unfinished.get(run_id)
        if holder is None or holder.uq != digest:
            what = f"unique lock {shown(digest)} is held by {shown(run_id)}, which is no unfinished run of it"
            yield Finding(Kind.LOCK, f"u:{shown(digest)}", what, run_id, ("u", digest))
    for job, ids in census.live.items():
        for run_id in ids:
            if run_id not in unfinished or unfinished[run_id].j != job:
                what = f"{shown(run_id)} counts as an unfinished run of {shown(job)} and is none"
                yield Finding(Kind.LOCK, f"live:{shown(job)}", what, run_id, ("live", job, run_id))
    live = {job: set(ids) for job, ids in census.live.items()}
    for run_id, run in unfinished.items():
        if run.uq and census.unique.get(run.uq) != run_id:
            what = f"is not protected by its unique lock {shown(run.uq)}"
            yield _of_run(Kind.LOCK, run_id, run, what)
        due_later = run.s == "d" and not run.at
        if run.lv and not due_later and run_id not in live.get(run.j, ()):
            yield _of_run(
                Kind.LOCK, run_id, run, f"is missing among the unfinished runs of {shown(run.j)}"
            )


def ends(census: Census) -> Iterator[Finding]:
    """I3: a run ends once, its record expires, and its job's history knows it."""
    seen = index(census.history)
    for run_id, places in seen.items():
        if len(places) > 1:
            yield _in_history(run_id, places, f"ended {len(places)} times")
    for run_id, run in census.runs.items():
        if run.final:
            if run.endless:
                yield _of_run(
                    Kind.ENDED, run_id, run, "has ended and its record would stay for ever"
                )
            if run_id not in seen and run.rs != "bad_payload":
                yield Finding(
                    Kind.ENDED, f"r:{run_id}", f"run {run_id} has ended and no history knows it",
                    run_id, ("h", run_id), _number(run.t),
                )  # fmt: skip
        elif run.known:
            if not run.endless:
                yield _of_run(Kind.ENDED, run_id, run, "has not ended and its record would expire")
            if run_id in seen:
                yield _in_history(run_id, seen[run_id], "is in a history and has not ended")


def _in_history(run_id: str, places: Iterable[str], rest: str) -> Finding:
    keys = sorted(set(places))
    what = f"run {shown(run_id)} {rest}"
    return Finding(Kind.ENDED, shown(keys[0]), what, run_id, ("h", run_id, *keys))
