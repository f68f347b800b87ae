"""What is measured of one participant in one round."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.peers.processes import memory
from benchmarks.peers.stand import Stand
from benchmarks.report import quantile

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from benchmarks.peers.participants import Participant

WARM_UP = 20
"""Runs for each slot before a warm worker is measured."""
APART = 0.02
STARTS = 5


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of the table."""

    name: str
    unit: str
    digits: int
    measure: str
    """The word of ``--measures`` that it comes with."""


COLUMNS = (
    Column("enqueue", "/s", 0, "enqueue"),
    Column("drain", "/s", 0, "drain"),
    Column("start", "s", 2, "drain"),
    Column("CPU", "us/run", 0, "cpu"),
    Column("p50", "ms", 2, "latency"),
    Column("p99", "ms", 2, "latency"),
    Column("RSS", "MB", 0, "idle"),
    Column("PSS", "MB", 0, "idle"),
    Column("commands", "/s", 1, "idle"),
    Column("queued", "B/run", 0, "bytes"),
    Column("import", "ms", 0, "import"),
)
MEASURES = tuple(dict.fromkeys(column.measure for column in COLUMNS))


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    runs: int = 20_000
    slots: int = 10
    submits: int = 300
    """Of the idle latency."""
    watch: float = 5.0
    """Seconds that an idle worker is watched."""
    quiet: float = 1.0
    """Seconds from the last entry until what follows it (acknowledging, recording) is over too."""
    fsync: str = "everysec"


LOOKS_MOST = 20
BUFFERS_KEPT = 0.25
"""Seconds after which the store has given up the buffers of a client that does nothing."""


def measure(
    participant: Participant,
    directory: Path,
    programs: Path,
    extent: Extent,
    wanted: Collection[str],
) -> dict[str, float]:
    """Return the figures by column name; raises PeerError when a count is not what it must be."""
    stand = Stand(participant, directory, programs, slots=extent.slots, fsync=extent.fsync)
    if participant.measures:
        wanted = set(wanted) & set(participant.measures)
    runs = max(1, round(extent.runs * participant.share))
    found: dict[str, float] = {}
    with stand:
        if {"enqueue", "drain", "bytes"} & set(wanted):
            found |= _cold(stand, runs, extent if "drain" in wanted else None)
        if {"cpu", "latency", "idle", "import"} & set(wanted):
            _warm_up(stand, extent)
        if "idle" in wanted:
            found |= _idle(stand, extent.watch)
        if "latency" in wanted:
            found |= _latency(stand, extent)
        if "cpu" in wanted:
            found |= _cpu(stand, runs, extent)
        if "import" in wanted:
            found |= _import(stand)
    names = {column.name for column in COLUMNS if column.measure in wanted}
    return {name: value for name, value in found.items() if name in names}


def _cold(stand: Stand, runs: int, drain: Extent | None) -> dict[str, float]:
    """Queue with nobody there, and then start the workers."""
    before = _at_rest(stand)
    took = stand.submit_many(runs)["seconds"]
    found = {"enqueue": runs / took, "queued": (stand.data_bytes() - before) / runs}
    if drain is not None:
        started = time.monotonic()
        stand.start()
        _settle(stand, drain)
        moments = [moment / 1e9 for _, moment in stand.entries()]
        # Between the first and the last there is one less than there are.
        found["drain"] = (runs - 1) / max(max(moments) - min(moments), 1e-9)
        found["start"] = min(moments) - started
    return found


def _at_rest(stand: Stand) -> int:
    """Return the bytes of data once the buffers with which a connection begins are gone."""
    now = stand.data_bytes()
    for _ in range(LOOKS_MOST):
        last = now
        time.sleep(BUFFERS_KEPT)
        now = stand.data_bytes()
        if now == last:
            break
    return now


def _warm_up(stand: Stand, extent: Extent) -> None:
    stand.start()
    stand.submit_many(stand.slots * WARM_UP)
    _settle(stand, extent)


def _settle(stand: Stand, extent: Extent) -> None:
    stand.wait_entered()
    time.sleep(extent.quiet)
    stand.check_count()


def _idle(stand: Stand, seconds: float) -> dict[str, float]:
    commands, started = stand.commands(), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - started
    # Asking is a command too, and it shows up in the second answer.
    per_second = (stand.commands() - commands - 1) / took
    rss, pss = memory(stand.workers())
    return {"RSS": rss, "PSS": pss, "commands": per_second}


def _latency(stand: Stand, extent: Extent) -> dict[str, float]:
    before = stand.entered()
    submitted = stand.submit_paced(extent.submits, APART)
    _settle(stand, extent)
    entered = dict(stand.entries()[before:])
    waits = latencies(submitted, entered)
    return {"p50": statistics.median(waits), "p99": quantile(waits, 0.99)}


def latencies(submitted: Sequence[int], entered: dict[int, int]) -> list[float]:
    """Return ms from each submit to the entry of its function; moments are nanoseconds."""
    return [(entered[number] - moment) / 1e6 for number, moment in enumerate(submitted)]


def _cpu(stand: Stand, runs: int, extent: Extent) -> dict[str, float]:
    """Submit to workers that are there: nothing of anybody's start-up is in it."""
    used = stand.used()
    submitter = stand.submit_many(runs)["cpu"]
    _settle(stand, extent)
    return {"CPU": (stand.used() - used + submitter) / runs * 1e6}


def _import(stand: Stand) -> dict[str, float]:
    return {"import": statistics.median(stand.submit_once() for _ in range(STARTS)) * 1000}
