"""``python -m chaos.restarts``: the store dies again and again under load.

How soon does work go on? Counted from the moment the server answers again until every host executes again and as much is
done in a second as before. At the end every slot of every host must take a run at once: a slot
that does not is deaf.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from chaos import check
from chaos.load import SCHEDULES, Load
from chaos.processes import sweep
from chaos.waits import BrokenError, Stopwatch, expect, until
from chaos.words import count, report_file
from chaos.world import World
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Sequence

WITHIN = 6.0
"""Seconds within which throughput is back."""
SLOTS = 4
CALM = 2.0
"""Seconds of undisturbed work before each restart, by which the usual rate is told."""
HALF = 0.5
"""Share of the usual rate, in one second, that counts as throughput that has returned."""


@dataclass(frozen=True, slots=True)
class Restart:
    """One restart, in seconds; ``away`` from its end to its answer, the others from the answer."""

    how: str
    away: float
    all_hosts: float
    """Until every host had begun a run."""
    throughput: float
    """Until as much was done in a second as :data:`HALF` of before."""
    usual: float
    """Executions a second before."""


@dataclass(slots=True)
class Result:
    """What a series of restarts came to."""

    restarts: list[Restart] = field(default_factory=list)
    counts: dict[str, object] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def uptime() -> float:
    """Return seconds since boot as the executions tell them."""
    return float(Path("/proc/uptime").read_text().split()[0])


def series(world: World, result: Result, *, times: int, rate: float, embedded: bool) -> None:
    """Restart the store ``times`` times under ``rate`` runs a second, then check everything."""
    world.strangers = True
    world.host("a", jobs=SCHEDULES, slots=SLOTS, embedded=embedded)
    if not embedded:
        world.host("b", jobs=SCHEDULES, slots=SLOTS)
    with Load(world, world.hosts["a"], rate=rate) as load:
        world.wait_final(*world.submit_many([("python", (0.5,))] * SLOTS))
        for number in range(1, times + 1):
            one = restart(world, embedded=embedded)
            result.restarts.append(one)
            print(f"{number:4}  {_line(one)}", file=sys.stderr, flush=True)
            worst = max(one.all_hosts, one.throughput)
            if worst > WITHIN:
                result.broken.append(f"restart {number}: work goes on only after {worst:.1f} s")
    result.counts["submitted"] = load.submitted
    result.broken += _tried(lambda: check.all_final(world))
    result.broken += _tried(lambda: nobody_deaf(world))
    result.broken += check.in_store(world) + check.in_log(world) + check.descriptors(world)
    records = world.records()
    result.counts |= {
        "accepted": len(world.accepted),
        "on record": len(world.accepted.keys() & records.keys()),
        "executions": world.executions.count(),
        "attempts lost": sum(int(record.get("ls", 0)) for record in records.values()),
    }
    result.broken += check.stopped(world)


def restart(world: World, *, embedded: bool) -> Restart:
    """End the store in one of the ways, have it back, and measure."""
    begin = uptime()
    time.sleep(CALM)
    usual = _ends_between(world, begin, uptime()) / CALM
    how = world.random.choice(["kill -9", "kill -9", "SIGTERM"])
    process = world.store_process(world.hosts["a"] if embedded else None)
    watch = Stopwatch()
    process.send_signal(signal.SIGKILL if how == "kill -9" else signal.SIGTERM)
    if not embedded:
        until(lambda: not _answers(world), "the store ends", within=20, every=0.01)
        world.server.kill()
        world.server.start(ready=False)
    else:
        until(lambda: not process.is_running(), "the store ends", within=20, every=0.01)
    until(lambda: _answers(world), "the store answers again", within=60, every=0.02)
    away, back, watch = watch.seconds, uptime(), Stopwatch()
    until(
        lambda: (
            {line.host for line in world.executions.lines(word="begin") if line.at >= back}
            >= world.hosts.keys()
        ),
        "every host executes again",
        within=60,
        every=0.05,
    )
    everywhere = watch.seconds
    wanted = max(1.0, usual * HALF)
    until(
        lambda: _ends_between(world, max(back, uptime() - 1), uptime()) >= wanted,
        f"{wanted:g} executions end in a second",
        within=60,
        every=0.05,
    )
    return Restart(how, away, everywhere, watch.seconds, round(usual, 1))


def nobody_deaf(world: World) -> None:
    """Every slot of every host takes a run at the same time."""
    slots = SLOTS * len(world.hosts)
    runs = world.submit_many([("work", ("all",))] * slots)
    world.wait_begun(*runs, within=20)
    world.go("all")
    world.wait_final(*runs)


def _ends_between(world: World, first: float, last: float) -> int:
    return sum(first <= line.at <= last for line in world.executions.lines(word="end"))


def _answers(world: World) -> bool:
    with contextlib.suppress(JobctlError):
        return bool(world.raw("PING"))
    return False


def _tried(what: object) -> list[str]:
    try:
        what()  # type: ignore[operator]
    except BrokenError as error:
        return [str(error)]
    return []


def _line(one: Restart) -> str:
    return (
        f"{one.how:8} away {one.away:5.2f} s, all hosts {one.all_hosts:5.2f} s,"
        f" throughput {one.throughput:5.2f} s (usual {one.usual:4.1f}/s)"
    )


def spread(values: Sequence[float]) -> str:
    """Return least, median, 95th percentile and most as columns."""
    ordered = sorted(values)
    late = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{ordered[0]:8.2f} {median(ordered):8.2f} {late:8.2f} {ordered[-1]:8.2f}"


def report(result: Result) -> str:
    """Return the table of recovery times."""
    lines = [f"{len(result.restarts)} restarts of the store under load"]
    if result.restarts:
        lines.append(f"{'seconds':38} {'min':>8} {'median':>8} {'p95':>8} {'max':>8}")
        for title, name in (
            ("store away", "away"),
            ("back until every host executes", "all_hosts"),
            ("back until throughput is back", "throughput"),
        ):
            values = [float(getattr(one, name)) for one in result.restarts]
            lines.append(f"{title:38} {spread(values)}")
    lines += [f"{name:38} {value}" for name, value in result.counts.items()]
    lines += [f"BROKEN: {what}" for what in result.broken]
    lines.append("broken" if result.broken else f"held: back within {WITHIN:g} s each time")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos.restarts", description=__doc__)
    parser.add_argument("--times", type=count, default=50, help="restarts in a row (default 50)")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn from (default 1)")
    parser.add_argument("--rate", type=float, default=12.0, help="runs a second (default 12)")
    parser.add_argument("--embedded", action="store_true", help="one host with its own store")
    parser.add_argument(
        "--json", type=report_file, metavar="FILE", help="write the figures there too"
    )
    return parser.parse_args()


def main() -> int:
    """Restart; the exit code is 1 when something broke."""
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that it cleans up
    directory = Path(tempfile.mkdtemp(prefix="jcw"))
    os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = str(directory)
    result = Result()
    try:
        world = World(chosen.seed, directory)
        series(world, result, times=chosen.times, rate=chosen.rate, embedded=chosen.embedded)
        expect(result.restarts, "nothing was restarted")
    except Exception:  # noqa: BLE001 - belongs into the report
        result.broken.append(traceback.format_exc(limit=-5))
    finally:
        sweep(directory)
    print(report(result))
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(result), indent=1))
    return 1 if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
