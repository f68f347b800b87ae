"""CPU of each step between submit and settlement, without execution, in the client and in the store."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from benchmarks.report import Row
from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import runner
from jobctl.engine.gate import Gate
from jobctl.engine.host_journal import PYTHON, HostJournal
from jobctl.engine.intake import signing_of
from jobctl.engine.ledger import Ledger
from jobctl.engine.pump import Pump
from jobctl.model.admission import NewRun, admission_for
from jobctl.model.config import Config, Security, Settings
from jobctl.model.ids import new_id
from jobctl.model.job import JobDef
from jobctl.model.run import Outcome, OutcomeKind, Request, Usage
from jobctl.store import membership, settling, transitions
from jobctl.store.aio import AsyncStore
from jobctl.store.binary import find_binary
from jobctl.store.calls import Call
from jobctl.store.codec import text
from jobctl.store.embedded import EmbeddedStore
from jobctl.store.keyring import own_path
from jobctl.store.keys import Keys
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.report import Scene
    from jobctl.engine.ledger import Held
    from jobctl.store.keyring import Signing
    from jobctl.store.transitions import Claim, ClaimReply

T = TypeVar("T")
HOST, SUPERVISOR, OWNER = "bench", "bench~1.1", "bench~1.1/default.1"
KEYS = Keys("default")
JOB = JobDef(name="nothing", python="shop.media:nothing")
BATCH = 64
SUBMITTED = 500
"""Runs in one submit call."""


@dataclass
class Cost:
    """What one step took for all runs."""

    step: str
    client: float
    """CPU seconds of this process."""
    store: float
    """CPU seconds of the server."""
    wall: float
    calls: int
    """Commands the server carried out, those of scripts included."""


@dataclass
class Meter:
    """Measures steps; ``runs`` is by how many they are shared."""

    store: AsyncStore
    runs: int
    costs: list[Cost] = field(default_factory=list)

    async def _read(self) -> tuple[float, int]:
        told: dict[str, str] = {}
        for section in ("cpu", "stats"):
            found = await self.store.run(_info(section))
            told |= dict(line.split(":", 1) for line in found.split() if ":" in line)
        cpu = float(told["used_cpu_user"]) + float(told["used_cpu_sys"])
        calls = await self.store.run(_info("commandstats"))
        count = sum(
            int(line.partition("calls=")[2].partition(",")[0])
            for line in calls.split()
            if line.startswith("cmdstat_")
            and not line.startswith(("cmdstat_info", "cmdstat_evalsha"))
        )
        return cpu, count

    async def begin(self) -> None:
        """Start a step."""
        self._before = await self._read()
        self._client, self._wall = time.process_time(), time.perf_counter()

    async def end(self, step: str) -> None:
        """Note what the step took."""
        client, wall = time.process_time() - self._client, time.perf_counter() - self._wall
        cpu, count = await self._read()
        before, calls = self._before
        self.costs.append(Cost(step, client, cpu - before, wall, count - calls))


def measure(scene: Scene) -> list[Row]:
    """Measure on a server of our own, which syncs every write."""
    return asyncio.run(_measure(scene, scene.pick(20_000, 5_000)))


async def _measure(scene: Scene, count: int) -> list[Row]:
    server = EmbeddedStore(scene.directory / "store", find_binary(None))
    await server.start()
    store = AsyncStore(server.address, timeout=30.0)
    try:
        await store.run(membership.register(KEYS, supervisor=SUPERVISOR, facts={}))
        await store.run(membership.add_pool(KEYS, supervisor=SUPERVISOR, owner=OWNER))
        bench = Bench(store, scene.directory)
        meter = Meter(store, count)
        size = await bench.steps(meter)
        await bench.pumped(meter)
    finally:
        await store.close()
        await server.stop()
    rows = [row for cost in meter.costs for row in _rows(cost, count)]
    return [*rows, Row("store memory per queued run", size, "bytes", aim="700")]


def _rows(cost: Cost, runs: int) -> list[Row]:
    def per_run(seconds: float) -> float:
        return seconds / runs * 1e6

    rows = [Row(f"{cost.step}: client", per_run(cost.client), "us/run")]
    if cost.calls:
        note = f"{cost.calls / runs:.1f} commands"
        rows.append(Row(f"{cost.step}: store", per_run(cost.store), "us/run", note=note))
        rows.append(Row(f"{cost.step}: rate", runs / cost.wall, "runs/s"))
    return rows


class Bench:
    """The parts of a pool that bring runs in and send outcomes away."""

    def __init__(self, store: AsyncStore, directory: Path) -> None:
        self._store = store
        state = directory / "state"
        state.mkdir(parents=True)
        self._config = Config(
            settings=Settings(state_dir=str(state)),
            security=Security(key_file=own_path(str(state))),
            jobs={JOB.name: JOB},
        )
        self._signing: Signing = signing_of(self._config, clock=SYSTEM_CLOCK)
        self._journal = HostJournal(directory / "journal")
        self._gate = Gate(
            self._config, self._signing, keys=KEYS, send=lambda _: None, clock=SYSTEM_CLOCK
        )

    async def steps(self, meter: Meter) -> float:
        """Take every step for all runs before the next; return bytes of a queued run."""
        before = await self._memory()
        await meter.begin()
        await self._submit(meter.runs)
        await meter.end("submit")
        size = (await self._memory() - before) / meter.runs
        await meter.begin()
        claims = await self._claim(meter.runs)
        await meter.end("claim")
        await meter.begin()
        held = [one for part in _parts(claims) for one in self._take_in(part)]
        await meter.end("take in")
        await meter.begin()
        for part in _parts(held):
            self._note_starts(part)
        await meter.end("note the start")
        outcomes = [_outcome() for _ in held]
        await meter.begin()
        items = [self._settlement(*pair) for pair in zip(held, outcomes, strict=True)]
        await meter.end("judge")
        await meter.begin()
        for ends in _parts(items):
            self._journal.settled(ends)
        await meter.end("note the end")
        await meter.begin()
        await self._settle(items)
        await meter.end("settle")
        await meter.begin()
        for ends in _parts(items):
            self.ended({item.id: item.letter for item in ends})
        await meter.end("remember the end")
        return size

    async def pumped(self, meter: Meter) -> None:
        """Claim and settle through a pump, which does all of it; the functions take no time."""
        await self._submit(meter.runs)
        await meter.begin()
        pumped = _Pumped(self, meter.runs)
        await pumped.drain()
        await meter.end("all through the pump")

    def through(self, claims: Sequence[Claim]) -> list[Settlement]:
        """Take in, begin and judge what was claimed."""
        held = self._take_in(claims)
        self._note_starts(held)
        return [self._settlement(one, _outcome()) for one in held]

    def pump(self, ledger: Ledger, on_claims: Callable[[ClaimReply], None], **more: object) -> Pump:
        """Return a pump on the store."""
        return Pump(
            self._store, KEYS, ledger, supervisor=SUPERVISOR, owner=OWNER, queues=("default",),
            journal=self._journal, on_claims=on_claims, on_stale=_unexpected, on_gone=_unexpected,
            on_fenced=_unexpected, on_final=more.pop("on_final"), hush=_hush, **more,  # type: ignore[arg-type]
        )  # fmt: skip

    def ended(self, letters: Mapping[str, str]) -> None:
        """Remember that runs are final."""
        self._gate.starts.ended(letters)

    async def _memory(self) -> int:
        found = await self._store.run(_info("memory"))
        return int(found.partition("used_memory:")[2].split()[0])

    async def _submit(self, count: int) -> None:
        admission = admission_for(JOB)
        for start in range(0, count, SUBMITTED):
            runs = [
                NewRun(
                    request=Request(
                        id=new_id(), job=JOB.name, kwargs={"path": f"/srv/media/{number}.jpg", "width": 320},
                        submitter="bench@here",
                    ),
                    admission=admission,
                )
                for number in range(start, min(start + SUBMITTED, count))
            ]  # fmt: skip
            await self._store.run(transitions.submit(KEYS, runs, seal=self._signing.seal))

    async def _claim(self, count: int) -> list[Claim]:
        claims: list[Claim] = []
        while len(claims) < count:
            call = transitions.claim(
                KEYS, supervisor=SUPERVISOR, owner=OWNER, want=BATCH, queues=("default",)
            )
            claims += (await self._store.run(call)).claims
        return claims

    def _take_in(self, claims: Sequence[Claim]) -> list[Held]:
        admit = self._gate.admitting()
        held = [one for claim in claims if not isinstance(one := admit(claim), Settlement)]
        if len(held) < len(claims):
            raise SystemExit("a run was refused")
        return held

    def _note_starts(self, held: Sequence[Held]) -> None:
        for one in held:
            one.pid, one.started_at = 12345, SYSTEM_CLOCK.epoch()
            self._journal.starting(one, slot=1, kind=PYTHON)
            self._journal.started(one, born=1234.5)
        self._gate.starts.began(*((one.claim.id, one.signed or 0, one.last_start) for one in held))

    def _settlement(self, held: Held, outcome: Outcome) -> Settlement:
        return runner.settlement(
            held, JOB, outcome, now=SYSTEM_CLOCK.epoch(), host=HOST, pool=OWNER
        )

    async def _settle(self, items: list[Settlement]) -> None:
        for start in range(0, len(items), BATCH):
            call = settling.settle(KEYS, owner=OWNER, items=items[start : start + BATCH])
            if set(await self._store.run(call)) != {"k"}:
                raise SystemExit("a settlement was refused")


class _Pumped:
    """A pool of ``BATCH`` slots whose runs end at once."""

    def __init__(self, bench: Bench, count: int) -> None:
        self._bench, self._left = bench, count
        self._done = asyncio.Event()
        self._waiting: deque[Settlement] = deque()
        self._ledger = Ledger(slots=BATCH)
        self._pump = bench.pump(
            self._ledger, self._took, idle=lambda: BATCH, on_final=self._on_final
        )

    async def drain(self) -> None:
        """Return when all are settled."""
        task = asyncio.create_task(self._pump.run())
        self._pump.look()
        await self._done.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _took(self, reply: ClaimReply) -> None:
        self._pump.settle(*self._bench.through(reply.claims))

    def _on_final(self, letters: Mapping[str, str]) -> None:
        self._bench.ended(letters)
        self._left -= len(letters)
        if not self._left:
            self._done.set()


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _info(section: str) -> Call[str]:
    return Call(("INFO", section), text)


def _outcome() -> Outcome:
    now = SYSTEM_CLOCK.epoch()
    return Outcome(
        kind=OutcomeKind.SUCCEEDED, exit_code=0, result="null", pid=12345, started_at=now,
        finished_at=now + 0.0001, duration=0.0001, usage=Usage(user=0.0001, max_rss=12_345_678),
    )  # fmt: skip


async def _hush() -> None:
    """Nothing else waits for the store here."""


def _unexpected(*facts: object) -> None:
    raise SystemExit(f"unexpected: {facts}")
