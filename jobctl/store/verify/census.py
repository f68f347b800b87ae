"""Reads a whole namespace into memory, for whoever has to judge it as a whole.

Each key is read in one piece, but not all at one instant: what moves meanwhile may be seen twice or
not at all. Of a run only what containers, limits and locks depend on is kept: about 0.4 KB each.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobctl.errors import JobctlError
from jobctl.model.run import FINAL_LETTERS, LETTERS
from jobctl.store.calls import Call
from jobctl.store.codec import items_of, text
from jobctl.store.failures import WRONG_TYPE, first_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.keys import Keys

BATCH = 1000
"""Keys that are looked at together; also what one SCAN is asked for."""
ANY = "any"

FAMILIES = {
    "r": "hash", "q": "list", "due": "zset", "own": "set", "pools": "set", "sup": "hash",
    "sups": "set", "b": "list", "mb": "list", "lim": "hash", "c": "set", "pk": "list",
    "rl": "string", "on": "string", "u": "string", "id": "string", "live": "set", "s": "hash", "sh": "list", "h": "list",
    "hf": "list", "l": "stream", "bad": "list", "schema": "string", "latest": "hash", "n": "hash",
    "ls": "hash", "lsv": "string", "aside": ANY, "out": "list", "al": "hash",
}  # fmt: skip
"""Type of every key, by the first word of its name; see :mod:`jobctl.store.keys`."""
EITHER = frozenset({"out"})
"""Names that stand for themselves as well as before another."""
ALONE = frozenset({"due", "sups", "lim", "bad", "schema", "latest", "n", "ls", "lsv"})
"""Names that stand for themselves; all others are followed by a colon and a name."""

RUN_FIELDS = (
    "s", "q", "p", "j", "o", "ep", "lm", "uq", "lv", "pl", "xp", "at", "mx", "ls", "dr", "t", "rs",
)  # fmt: skip


@dataclass(slots=True)
class RunFacts:
    """What a record says; fields as in :mod:`jobctl.store.keys`, empty when absent."""

    endless: bool = True
    """True when the record never expires."""
    s: str = ""
    q: str = ""
    p: str = ""
    j: str = ""
    o: str = ""
    ep: str = ""
    lm: str = ""
    uq: str = ""
    lv: str = ""
    pl: str = ""
    xp: str = ""
    at: str = ""
    mx: str = ""
    ls: str = ""
    dr: str = ""
    t: str = ""
    rs: str = ""

    @property
    def known(self) -> bool:
        """Whether the state is one there is."""
        return self.s in LETTERS

    @property
    def final(self) -> bool:
        """Whether the run has ended."""
        return self.known and self.s in FINAL_LETTERS

    @property
    def claimed(self) -> bool:
        """Whether somebody has it."""
        return self.s in ("c", "r")

    @property
    def limits(self) -> list[str]:
        """Limits of which a run in hand holds a slot; rates are spent, not held."""
        return [limit for limit in self.lm.split() if not limit.startswith("t:")]


@dataclass(slots=True)
class Census:
    """A namespace as it was read; names are without the prefix and the family in front.

    Ids that are not UTF-8 keep their bytes as surrogates, so that they can be named to the store.
    """

    keys: int = 0
    now: float = 0.0
    """The store's clock when the reading began, in epoch ms."""
    runs: dict[str, RunFacts] = field(default_factory=dict)
    queues: dict[str, list[str]] = field(default_factory=dict)
    """By ``queue:priority``."""
    parked: dict[str, list[str]] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)
    """By whole key, ``h:…`` and ``hf:…``."""
    owned: dict[str, list[str]] = field(default_factory=dict)
    holders: dict[str, list[str]] = field(default_factory=dict)
    live: dict[str, list[str]] = field(default_factory=dict)
    pools: dict[str, list[str]] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    """Ids in ``sups``."""
    supervisors: dict[str, dict[str, str]] = field(default_factory=dict)
    """Their ``st`` and ``bt``."""
    unique: dict[str, str] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)
    bells: dict[str, int] = field(default_factory=dict)
    """How many tokens each has."""
    mailboxes: set[str] = field(default_factory=set)
    outboxes: set[str] = field(default_factory=set)
    """Supervisors that have notices to deliver; empty for those that are for anybody."""
    decisions: dict[str, list[str]] = field(default_factory=dict)
    schema: str = ""
    logs: dict[str, bool] = field(default_factory=dict)
    """By run id: True when the stream never expires."""
    foreign: list[tuple[str, str, str]] = field(default_factory=list)
    """Keys of another type than their name says: name, type, type it must have."""
    unknown: list[tuple[str, str]] = field(default_factory=list)
    """Keys that no jobctl of this version reads: name, type."""

    def unfinished(self) -> Iterator[tuple[str, RunFacts]]:
        """Yield the runs that have not ended and whose state is known."""
        return ((run_id, run) for run_id, run in self.runs.items() if run.known and not run.final)


def take(store: BlockingStore, keys: Keys) -> Census:
    """Read the namespace; raises a branch of :class:`~jobctl.errors.JobctlError`.

    A key that cannot be read for its type is a finding, not an error.
    """
    census = Census()
    seconds, micros = items_of(store.run(Call(("TIME",), _as_is)))
    census.now = int(seconds) * 1000 + int(micros) / 1000
    seen: set[str] = set()
    for batch in _scan(store, keys):
        names = [name for name in batch if name not in seen]
        # A name may come twice; those of runs and output only cost being read again.
        seen.update(name for name in names if not name.startswith(("r:", "l:")))
        _read(store, keys, names, census)
    census.keys = len(seen) + len(census.runs) + len(census.logs)
    return census


def _scan(store: BlockingStore, keys: Keys) -> Iterator[list[str]]:
    """Yield names without the prefix, in batches."""
    pattern = keys.prefix.replace("[", "\\[") + "*"
    head, cursor = len(keys.prefix.encode()), "0"
    while True:
        call = Call(("SCAN", cursor, "MATCH", pattern, "COUNT", BATCH), _as_is)
        position, found = items_of(store.run(call))
        yield list(dict.fromkeys(name_of(name[head:]) for name in found))
        cursor = text(position)
        if cursor == "0":
            return


def name_of(value: object) -> str:
    """Return a name that keeps bytes which are not UTF-8, see :func:`bytes_of`."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return text(value)


def bytes_of(name: str) -> bytes:
    """Return the bytes of what :func:`name_of` made."""
    return name.encode("utf-8", "surrogateescape")


def shown(name: str) -> str:
    """Return a name in a form that can be printed."""
    printable = bytes_of(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in printable)


def family_of(name: str) -> str | None:
    """Return the family of a name without the prefix; ``None`` when there is no such."""
    family, colon, rest = name.partition(":")
    if family not in FAMILIES or (family in ALONE) == bool(colon):
        return family if family in EITHER else None
    if family == "q":
        queue, _, priority = rest.rpartition(":")
        return "q" if queue and len(priority) == 1 and priority in "0123456789" else None
    return family


def _read(store: BlockingStore, keys: Keys, names: list[str], census: Census) -> None:
    full = {name: bytes_of(keys.prefix + name) for name in names}
    types = _many(store, [("TYPE", full[name]) for name in names])
    readable: list[tuple[str, str]] = []
    for name, reply in zip(names, types, strict=True):
        family, kind = family_of(name), text(reply)
        if kind == "none":
            continue
        if family is None:
            census.unknown.append((name, kind))
        elif FAMILIES[family] not in (kind, ANY):
            census.foreign.append((name, kind, FAMILIES[family]))
        else:
            readable.append((name, family))
    commands: list[tuple[str | bytes | int, ...]] = []
    for name, family in readable:
        if family in _READS:
            command, *rest = _READS[family]
            commands.append((command, full[name], *rest))
        if family in ("r", "l"):
            commands.append(("PTTL", full[name]))
    replies = iter(_many(store, commands))
    for name, family in readable:
        reply = next(replies) if family in _READS else None
        endless = next(replies) == -1 if family in ("r", "l") else False
        if not isinstance(reply, JobctlError):
            _file(census, family, name.partition(":")[2], reply, endless=endless)


_READS: dict[str, tuple[str | int, ...]] = {
    "r": ("HMGET", *RUN_FIELDS), "q": ("LRANGE", 0, -1), "pk": ("LRANGE", 0, -1),
    "h": ("LRANGE", 0, -1), "hf": ("LRANGE", 0, -1), "own": ("SMEMBERS",), "c": ("SMEMBERS",),
    "live": ("SMEMBERS",), "pools": ("SMEMBERS",), "sups": ("SMEMBERS",), "u": ("GET",),
    "due": ("ZRANGE", 0, -1, "WITHSCORES"), "lim": ("HGETALL",), "sup": ("HMGET", "st", "bt"),
    "b": ("LLEN",), "sh": ("LRANGE", 0, -1), "schema": ("GET",),
}  # fmt: skip


def _file(census: Census, family: str, rest: str, reply: object, *, endless: bool) -> None:
    """Put one key's content into its place."""
    if family == "r":
        values = [sys.intern(name_of(item)) if item else "" for item in items_of(reply)]
        if any(values) or endless:
            census.runs[rest] = RunFacts(endless, *values)
    elif family == "l":
        census.logs[rest] = endless
    elif family in _FILED:
        _FILED[family](census, rest, reply)
    elif family in _PLACES:
        place = getattr(census, _PLACES[family])
        place[rest] = [name_of(item) for item in items_of(reply)]


_PLACES = {
    "q": "queues", "pk": "parked", "own": "owned", "c": "holders", "live": "live",
    "pools": "pools", "sh": "decisions",
}  # fmt: skip


def _history(family: str) -> Callable[[Census, str, object], None]:
    def put(census: Census, rest: str, reply: object) -> None:
        census.history[f"{family}:{rest}"] = [name_of(item) for item in items_of(reply)]

    return put


def _supervisor(census: Census, rest: str, reply: object) -> None:
    state, beat = (name_of(item) if item else "" for item in items_of(reply))
    census.supervisors[rest] = {"st": state, "bt": beat}


def _pairs(reply: object) -> Iterable[tuple[str, str]]:
    items = [name_of(item) for item in items_of(reply)]
    return zip(items[::2], items[1::2], strict=True)


def _due(census: Census, _: str, reply: object) -> None:
    census.due = {member: float(score) for member, score in _pairs(reply)}


_FILED: dict[str, Callable[[Census, str, object], None]] = {
    "h": _history("h"),
    "hf": _history("hf"),
    "sup": _supervisor,
    "due": _due,
    "u": lambda census, rest, reply: census.unique.__setitem__(rest, name_of(reply)),
    "b": lambda census, rest, reply: census.bells.__setitem__(rest, int(text(reply))),
    "mb": lambda census, rest, _: census.mailboxes.add(rest),
    "out": lambda census, rest, _: census.outboxes.add(rest),
    "sups": lambda census, _, reply: census.listed.update(map(name_of, items_of(reply))),
    "lim": lambda census, _, reply: census.limits.update(_pairs(reply)),
    "schema": lambda census, _, reply: setattr(census, "schema", name_of(reply)),
}


def _many(store: BlockingStore, commands: list[tuple[str | bytes | int, ...]]) -> list[object]:
    """Send in pieces; that a key has changed its type stands in the place of its reply."""
    replies: list[object] = []
    for i in range(0, len(commands), BATCH):
        calls = [Call(words, _as_is) for words in commands[i : i + BATCH]]
        for reply in store.try_many(calls):
            if isinstance(reply, JobctlError) and first_word(reply.reply) != WRONG_TYPE:
                raise reply
            replies.append(reply)
    return replies


def _as_is(reply: object) -> object:
    return reply


def index(places: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return for each id the names of the places it is in, once for every time."""
    found: dict[str, list[str]] = defaultdict(list)
    for place, ids in places.items():
        for run_id in ids:
            found[run_id].append(place)
    return found
