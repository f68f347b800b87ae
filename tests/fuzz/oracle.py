"""What must hold at any moment, whatever was called in whatever order, and what a caller was told.

Two kinds of promises: those that one look at the store can judge (:meth:`Oracle.look`), and those
that need memory: epochs only grow, ends are final, a rate is kept, an instant fires once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobctl.model.run import FINAL_LETTERS
from jobctl.store.calls import Call
from jobctl.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.store.store_world import World

SETTLES = ("settle", "start", "release")
STALE = ("stale", "already", "gone")


@dataclass
class Grants:
    """Claims under one rate limit: never more than the bucket held and got since."""

    burst: int
    period: float
    times: list[float] = field(default_factory=list)

    def add(self, now: float) -> None:
        self.times.append(now)
        step = self.period / self.burst
        last = len(self.times) - 1
        for first in range(max(0, last - 50), last):
            most = self.burst + (now - self.times[first]) / step + 0.1
            assert last - first + 1 <= most, (self.times[first:], "the rate was exceeded")


class Oracle:
    """Remembers what was seen of a namespace, and fails on the first broken promise."""

    def __init__(self, world: World, rates: dict[str, Grants]) -> None:
        self.world = world
        self.rates = rates
        self.foreign: set[str] = set()
        """Names (without prefix) under which the programme put a foreign type."""
        self.strays: set[str] = set()
        """Ids of what nobody submitted."""
        self.lowered: set[str] = set()
        """Limits that may have too many holders, because their size was lowered."""
        self.epochs: dict[str, int] = {}
        self.ended: dict[str, str] = {}
        self.settled: set[tuple[str, int]] = set()
        self.instants: set[tuple[str, ...]] = set()
        self.fired: Counter[tuple[str, ...]] = Counter()
        self.accepted = 0
        self.orders: dict[str, set[str]] = {}
        """Ids of runs that each supervisor must be told to stop."""
        self.promoter_sleeps_until = 0.0

    # What a call is told

    def run(self, call: Call[Any]) -> Any:
        """Carry a call out and judge its answer by what was there before."""
        judge = getattr(self, f"_{call.script}", None)
        if call.script in SETTLES:
            return self._owners_word(call)
        if call.script == "note":
            return self._note(call)
        reply = self.world.run(call)
        if judge is not None:
            judge(call, reply)
        return reply

    def _holds(self, owner: object, run_id: str, epoch: object, states: str) -> bool:
        found = self.world.record(run_id)
        return (found.get("o"), found.get("ep")) == (owner, str(epoch)) and found["s"] in states

    def _owners_word(self, call: Call[Any]) -> Any:
        """Whatever an owner says counts only while it holds that very claim."""
        if call.script == "settle":
            _, owner, letter, _, _, epoch, names = call.parts[:7]
            run_id = call.parts[int(names) + 8]
        else:
            _, owner, run_id, epoch = call.parts[:4]
        before = self.world.record(run_id)
        holds = self._holds(owner, run_id, epoch, "c" if call.script == "release" else "cr")
        reply = self.world.run(call)
        assert (reply[0] in STALE) == (not holds), (call, reply, before)
        if not holds:
            assert self.world.record(run_id) == before, (call, "changed what is not its own")
        if call.script == "release" and holds and "cx" in before:
            self.settled.add((run_id, int(epoch)))
        if call.script == "settle" and holds:
            self.settled.add((run_id, int(epoch)))
            asked = "cx" in before
            assert not (asked and reply[0] in "dx"), "a revoked run was tried again"
            assert reply[0] == letter or (asked and reply[0] == "v"), (call, reply)
        if call.script == "start" and holds:
            assert reply[0] == ("cancelled" if "cx" in before else "ok")
        assert reply[0] != "already" or (run_id, int(epoch)) in self.settled, (call, before)
        return reply

    def _note(self, call: Call[Any]) -> int:
        _, owner, run_id, epoch = call.parts[:4]
        before = self.world.record(run_id)
        holds = self._holds(owner, run_id, epoch, "cr")
        reply = self.world.run(call)
        assert reply == holds, (call, before)
        assert holds or self.world.record(run_id) == before
        return reply

    def _claim(self, call: Call[Any], reply: Any) -> None:
        sid, owner = str(call.parts[1]), str(call.parts[2])
        up = self.world.raw("HGET", self.world.keys.supervisor(sid), "st") == b"up"
        assert reply.fenced or up, "a supervisor that is not up was given runs"
        queues = call.parts[5:]
        assert len(reply.claims) <= int(call.parts[3])
        for claim in reply.claims:
            found = self.world.record(claim.id)
            assert found["s"] == "c"
            assert (found["o"], found["ep"]) == (owner, str(claim.epoch))
            assert claim.queue in queues
            late = "xp" in found and "at" not in found and float(found["xp"]) / 1000 <= reply.now
            assert not late, (found, "was claimed after its time to start had passed")
            for limit in found.get("lm", "").split():
                if limit in self.rates:
                    self.rates[limit].add(reply.now)
        if not reply.fenced:
            self._sleep_until(reply.next_due)

    def _promote(self, _call: Call[Any], reply: Any) -> None:
        if not reply.again:
            self._sleep_until(reply.next_due)

    def _sleep_until(self, due: float | None) -> None:
        self.promoter_sleeps_until = due if due is not None else 9e15

    def _submit(self, _call: Call[Any], reply: Any) -> None:
        self.accepted += sum(answer.kind in ("ok", "skip") for answer in reply)

    def _boot(self, call: Call[Any], reply: Any) -> None:
        self._submit(call, [reply])

    def _tick(self, call: Call[Any], reply: Any) -> None:
        kind, rule = reply.answer.kind, tuple(map(str, call.parts[1:3]))
        if kind in ("moved", "foreign", "early", "gone", "off"):
            return
        self._submit(call, [reply.answer])
        at = int(call.parts[4])
        key = self.world.keys.schedule(rule[0])
        off, on = self.world.raw("HMGET", key, "off", "on")
        if off is not None and int(off) <= at < int(on or 9e15):
            assert kind == "disabled", (call, kind, "was decided though it was switched off")
        instant = (*rule, str(call.parts[4]))
        assert instant not in self.instants, (instant, "was decided twice")
        self.instants.add(instant)
        self.fired[rule] += kind == "ok"
        most = call.parts[8]
        assert most == "" or self.fired[rule] <= int(most), (rule, "fired too often")

    def _revoke(self, call: Call[Any], reply: Any) -> None:
        for run_id, answer in zip(map(str, call.parts[1::2]), reply, strict=True):
            before, after, *_ = [*answer.split(" "), ""]
            stays = before in "cr" or before in FINAL_LETTERS
            assert answer == "-" or after == (before if stays else "v")
            if before in ("c", "r"):
                found = self.world.record(run_id)
                assert "cx" in found, (found, "nobody will know that it is to stop")
                self.orders.setdefault(found["o"].partition("/")[0], set()).add(run_id)

    # What a look shows

    def look(self, ids: Iterable[str]) -> None:
        """Fail on any contradiction; ``ids`` are the runs whose past is known."""
        findings = [
            text for text in verify(self.world.store, self.world.keys) if self._counts(text)
        ]
        assert not findings, findings
        wanted = list(ids)
        reads = [("HMGET", self.world.keys.run(run_id), "s", "ep", "cx") for run_id in wanted]
        calls = [Call(words, lambda reply: reply) for words in reads]
        for run_id, found in zip(wanted, self.world.store.run_many(calls), strict=True):
            if found[0]:
                self._past(run_id, *(item and item.decode() for item in found))
        self.order()
        self.bells()

    def _counts(self, finding: str) -> bool:
        if any(f"{name} is a " in finding for name in self.foreign):
            return False
        if finding.endswith("no bell") and any(name.startswith("b:") for name in self.foreign):
            return False
        if any(stray in finding for stray in self.strays):
            return False
        return not any(finding.startswith(f"limit {limit} of ") for limit in self.lowered)

    def _past(self, run_id: str, letter: str, epoch: str | None, order: str | None) -> None:
        assert int(epoch or 0) >= self.epochs.get(run_id, 0), (run_id, "its epoch went down")
        self.epochs[run_id] = int(epoch or 0)
        if run_id in self.ended:
            assert letter == self.ended[run_id], (run_id, letter, "an end was not final")
        elif letter in FINAL_LETTERS:
            self.ended[run_id] = letter
        assert letter not in "qpd" or not order, (run_id, "was to stop and waits again")

    def _keys(self, family: str) -> list[str]:
        head = len(self.world.keys.prefix)
        pattern = self.world.keys.prefix + family + ":*"
        names = [name.decode()[head:] for name in self.world.raw("KEYS", pattern)]
        return [name for name in names if name not in self.foreign]

    def order(self) -> None:
        """Whoever is parked is in the order in which it had its turn."""
        for name in self._keys("pk"):
            ids = self.world.raw("LRANGE", self.world.keys.prefix + name, 0, -1)
            turns = [
                self.world.raw("HGET", self.world.keys.prefix.encode() + b"r:" + i, "nr")
                for i in ids
            ]
            known = [float(turn) for turn in turns if turn]
            assert known == sorted(known), (name, known, "is out of order")

    def bells(self) -> None:
        """Whatever could go on has a token that wakes somebody, or somebody who took it."""
        for name in self._keys("q"):
            queue = name.split(":")[1]
            assert self._rung(queue), f"{name} has runs and nobody is woken for them"
        if "due" in self.foreign:
            return
        first = self.world.raw("ZRANGE", self.world.keys.due, 0, 0, "WITHSCORES")
        if first and float(first[1]) / 1000 < self.promoter_sleeps_until - 0.0005:
            assert self._rung("@due"), (first, "comes before the promoter wakes")
        for name in self._keys("mb"):
            sid = name.partition(":")[2]
            told = self.world.raw("HGET", self.world.keys.supervisor(sid), "told") or 0
            if self.world.raw("LLEN", self.world.keys.mailbox(sid)) > int(told):
                assert self._rung(f"@{sid}"), f"{sid} has messages and is not woken for them"

    def _rung(self, bell: str) -> bool:
        if f"b:{bell}" in self.foreign:
            return True
        tokens = self.world.raw("LLEN", self.world.keys.bell(bell))
        assert tokens <= 1, f"{bell} would wake {tokens}"
        return bool(tokens == 1)
