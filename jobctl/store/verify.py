"""Does the store hold what it must? Reads a whole namespace and names every contradiction.

The invariants are those the Lua scripts keep. Reading is not atomic, so on a namespace in use a
finding counts only if it is there twice: :func:`confirmed`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobctl.model.run import FINAL_LETTERS, LETTERS
from jobctl.store.calls import Call
from jobctl.store.codec import items_of, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.keys import Keys

CHUNK = 500
"""Reads that travel together."""
CLAIMED = "cr"
FIELDS = ("s", "q", "p", "j", "o", "lm", "uq", "lv", "pl", "xp", "at")


@dataclass(slots=True)
class Snapshot:
    """A namespace as it was read: names without the prefix and the ``r:``, ``q:`` … in front."""

    runs: dict[str, dict[str, str]] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)
    """Ids of runs whose records never expire."""
    queues: dict[str, list[str]] = field(default_factory=dict)
    parked: dict[str, list[str]] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)
    owned: dict[str, list[str]] = field(default_factory=dict)
    holders: dict[str, list[str]] = field(default_factory=dict)
    live: dict[str, list[str]] = field(default_factory=dict)
    pools: dict[str, list[str]] = field(default_factory=dict)
    supervisors: set[str] = field(default_factory=set)
    unique: dict[str, str] = field(default_factory=dict)
    due: set[str] = field(default_factory=set)
    limits: dict[str, str] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    """Keys of another type than their name says."""


_KINDS = {
    "r": "hash", "q": "list", "pk": "list", "h": "list", "hf": "list", "own": "set", "c": "set",
    "live": "set", "pools": "set", "sups": "set", "u": "string", "due": "zset", "lim": "hash",
}  # fmt: skip
_READS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "list": ("LRANGE", (0, -1)),
    "set": ("SMEMBERS", ()),
    "string": ("GET", ()),
    "zset": ("ZRANGE", (0, -1)),
}


def verify(store: BlockingStore, keys: Keys) -> list[str]:
    """Return one sentence for every contradiction in the namespace, sorted."""
    return sorted(_findings(read(store, keys)))


def confirmed(store: BlockingStore, keys: Keys) -> list[str]:
    """Return what two readings, one after the other, both find."""
    first = set(verify(store, keys))
    return sorted(first & set(verify(store, keys))) if first else []


def read(store: BlockingStore, keys: Keys) -> Snapshot:
    """Read the namespace; raises a branch of :class:`~jobctl.errors.JobctlError`."""
    snapshot = Snapshot()
    head = len(keys.prefix)
    names = [name for name in _scan(store, keys) if name[head:].partition(":")[0] in _KINDS]
    types = _many(store, [("TYPE", name) for name in names])
    reads = []
    for name, kind in zip(names, types, strict=True):
        family = name[head:].partition(":")[0]
        if text(kind) == _KINDS[family]:
            reads.append((name, family, text(kind)))
        elif text(kind) != "none":
            snapshot.strange.append(f"{name[head:]} is a {text(kind)}, not a {_KINDS[family]}")
    replies = _many(store, [_read_words(*item) for item in reads])
    for (name, family, _), reply in zip(reads, replies, strict=True):
        _file(snapshot, family, name[head:].partition(":")[2], reply)
    ids = list(snapshot.runs)
    for run_id, left in zip(ids, _many(store, [("PTTL", keys.run(i)) for i in ids]), strict=True):
        if left == -1:
            snapshot.endless.add(run_id)
    return snapshot


def _read_words(name: str, family: str, kind: str) -> tuple[str | int, ...]:
    if family == "r":
        return ("HMGET", name, *FIELDS)
    if kind == "hash":
        return ("HGETALL", name)
    command, rest = _READS[kind]
    return (command, name, *rest)


def _file(snapshot: Snapshot, family: str, rest: str, reply: object) -> None:
    """Put one key's content into its place."""
    if family == "u":
        snapshot.unique[rest] = text(reply)
        return
    items = [text(item) if item is not None else "" for item in items_of(reply)]
    match family:
        case "r":
            values = zip(FIELDS, items, strict=True)
            snapshot.runs[rest] = {name: value for name, value in values if value}
        case "lim":
            snapshot.limits = dict(zip(items[::2], items[1::2], strict=True))
        case "sups":
            snapshot.supervisors = set(items)
        case "due":
            snapshot.due = set(items)
        case "hf":
            snapshot.history[f"{rest} (failed)"] = items
        case _:
            places = {
                "q": snapshot.queues, "pk": snapshot.parked, "h": snapshot.history,
                "own": snapshot.owned, "c": snapshot.holders, "live": snapshot.live,
                "pools": snapshot.pools,
            }  # fmt: skip
            places[family][rest] = items


def _scan(store: BlockingStore, keys: Keys) -> Iterator[str]:
    cursor = "0"
    seen: set[str] = set()
    pattern = keys.prefix.replace("[", "\\[") + "*"
    while True:
        call = Call(("SCAN", cursor, "MATCH", pattern, "COUNT", 5000), lambda reply: reply)
        position, found = items_of(store.run(call))
        seen.update(text(name) for name in found)
        cursor = text(position)
        if cursor == "0":
            yield from seen
            return


def _many(store: BlockingStore, commands: list[tuple[str | int, ...]]) -> list[object]:
    replies: list[object] = []
    for i in range(0, len(commands), CHUNK):
        calls = [Call(words, lambda reply: reply) for words in commands[i : i + CHUNK]]
        replies += store.run_many(calls)
    return replies


def _findings(snapshot: Snapshot) -> Iterator[str]:
    yield from snapshot.strange
    for run_id, run in snapshot.runs.items():
        yield from _record(run_id, run)
    yield from _containers(snapshot)
    yield from _limits(snapshot)
    yield from _locks(snapshot)
    yield from _ends(snapshot)
    for owner in snapshot.owned:
        if not any(owner in owners for owners in snapshot.pools.values()):
            yield f"claims of {owner} belong to no supervisor: nobody would rescue them"
    for supervisor in snapshot.pools.keys() - snapshot.supervisors:
        yield f"supervisor {supervisor} has pools but is on no list: nobody would rescue its claims"


def _record(run_id: str, run: dict[str, str]) -> Iterator[str]:
    if run.get("s") not in LETTERS:
        yield f"run {run_id} has no known state"
    if not (run.get("j") and run.get("q") and run.get("p", "").isdigit()) and run.get("s") != "x":
        yield f"run {run_id} lacks a job, a queue or a priority"


def _unfinished(snapshot: Snapshot) -> Iterable[tuple[str, dict[str, str]]]:
    return (
        (run_id, run)
        for run_id, run in snapshot.runs.items()
        if run.get("s") in LETTERS and run["s"] not in FINAL_LETTERS
    )


def _containers(snapshot: Snapshot) -> Iterator[str]:
    """I1: each unfinished run is in exactly one container, the one its state names."""
    where = _whereabouts(snapshot)
    for run_id, run in _unfinished(snapshot):
        expected = _container(run)
        found = where.pop(run_id, Counter())
        if expected is not None and found != Counter({expected: 1}):
            yield f"run {run_id} in state {run['s']} is in {dict(found)}, must be once in {expected}"
        if _expires(run) and f"^{run_id}" not in snapshot.due:
            yield f"run {run_id} has an expiry that nothing would carry out"
    for run_id, found in where.items():
        for place in found:
            # Lists are cleaned when somebody comes by; the rest is exact.
            if place.startswith("own:") or (place == "due" and run_id in snapshot.runs):
                yield f"{place} has {run_id}, which is no unfinished run"


def _whereabouts(snapshot: Snapshot) -> dict[str, Counter[str]]:
    where: dict[str, Counter[str]] = {}
    for family, places in (
        ("q", snapshot.queues),
        ("pk", snapshot.parked),
        ("own", snapshot.owned),
    ):
        for place, ids in places.items():
            for run_id in ids:
                where.setdefault(run_id, Counter())[f"{family}:{place}"] += 1
    for member in snapshot.due:
        if member[:1] not in ("!", "^"):
            where.setdefault(member, Counter())["due"] += 1
    return where


def _expires(run: dict[str, str]) -> bool:
    return "xp" in run and "at" not in run and run["s"] in "dqpw"


def _container(run: dict[str, str]) -> str | None:
    match run["s"]:
        case "d":
            return "due"
        case "q":
            return f"q:{run.get('q')}:{run.get('p')}"
        case "p":
            return f"pk:{run.get('pl')}"
        case "c" | "r":
            return f"own:{run.get('o')}"
    return None


def _limits(snapshot: Snapshot) -> Iterator[str]:
    """I2: holders are the claimed runs that need the limit, and no more than it allows."""
    needed = _needed(snapshot)
    for limit in needed.keys() | snapshot.holders.keys():
        held, need = set(snapshot.holders.get(limit, ())), needed.get(limit, set())
        for run_id in held - need:
            yield f"limit {limit} is held by {run_id}, which does not run"
        for run_id in need - held:
            yield f"run {run_id} runs without its limit {limit}"
        size = "1" if limit.startswith("o:") else snapshot.limits.get(limit, "")
        if size.isdigit() and len(held) > int(size):
            yield f"limit {limit} of {size} has {len(held)} holders"
    for limit in snapshot.parked:
        if f"!{limit}" not in snapshot.due:
            yield f"runs parked for {limit} would never be looked at again"


def _needed(snapshot: Snapshot) -> dict[str, set[str]]:
    """Return which runs must hold which limits."""
    needed: dict[str, set[str]] = {}
    for run_id, run in _unfinished(snapshot):
        for limit in run.get("lm", "").split() if run["s"] in CLAIMED else ():
            if not limit.startswith("t:"):
                needed.setdefault(limit, set()).add(run_id)
    return needed


def _locks(snapshot: Snapshot) -> Iterator[str]:
    """I4: no unique lock and no place among a job's unfinished runs without such a run."""
    unfinished = dict(_unfinished(snapshot))
    for digest, run_id in snapshot.unique.items():
        if unfinished.get(run_id, {}).get("uq") != digest:
            yield f"unique lock {digest} is held by {run_id}, which is no unfinished run of it"
    for job, ids in snapshot.live.items():
        for run_id in ids:
            if run_id not in unfinished:
                yield f"{run_id} counts as an unfinished run of {job} and is none"
    for run_id, run in unfinished.items():
        if run.get("uq") and snapshot.unique.get(run["uq"]) != run_id:
            yield f"run {run_id} is not protected by its unique lock {run['uq']}"
        due_later = run["s"] == "d" and "at" not in run
        if (
            run.get("lv")
            and not due_later
            and run_id not in snapshot.live.get(run.get("j", ""), ())
        ):
            yield f"run {run_id} is missing among the unfinished runs of {run.get('j')}"


def _ends(snapshot: Snapshot) -> Iterator[str]:
    """I3: a run ends once, its record expires, and its job's history knows it."""
    seen = Counter(run_id for ids in snapshot.history.values() for run_id in ids)
    for run_id, times in seen.items():
        if times > 1:
            yield f"run {run_id} ended {times} times"
    for run_id, run in snapshot.runs.items():
        if run.get("s") in LETTERS and run["s"] in FINAL_LETTERS:
            if run_id in snapshot.endless:
                yield f"run {run_id} has ended and its record would stay for ever"
        elif run_id not in snapshot.endless:
            yield f"run {run_id} has not ended and its record would expire"
        elif seen[run_id]:
            yield f"run {run_id} is in a history and has not ended"
