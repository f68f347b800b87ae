"""``python -m chaos.soak``: mixed load for a long time, with a random trouble every few seconds.

At the end the troubles stop, everything settles, and the books must balance: see
docs/explanation/chaos.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chaos import check
from chaos.gauges import Gauges, Growth
from chaos.leaks import Leaks
from chaos.load import SCHEDULES, Load
from chaos.mischief import TROUBLES, revive
from chaos.processes import sweep
from chaos.waits import BrokenError, Stopwatch, expect
from chaos.words import report_file
from chaos.world import World

if TYPE_CHECKING:
    from tests.acceptance.host import Host

FLAT = 1.05
"""What the last third of a long life may hold, as a part of what its middle third held."""
SPREAD = 1.25
"""What a host that troubles meet may hold at most, as a part of the most of the calm one."""
ENOUGH = 15.0
"""Minutes one process must have been watched for its thirds to count."""


@dataclass(slots=True)
class Story:
    """What a soak did and saw."""

    seed: int
    minutes: float
    troubles: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    """One line for each trouble: when, which, where, how long it took."""
    counts: dict[str, object] = field(default_factory=dict)
    growth: list[Growth] = field(default_factory=list)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """By role: seconds and KiB of one process."""
    broken: list[str] = field(default_factory=list)


def soak(
    world: World, story: Story, *, every: tuple[float, float], rate: float, embedded: bool
) -> None:
    """Run load and troubles in ``world``, then check; what does not hold goes to ``story``.

    ``every`` are the least and the most seconds between two troubles, ``rate`` is runs a second.
    """
    world.strangers = True
    victims, calm = _hosts(world, embedded=embedded)
    leaks = Leaks(world)
    with Gauges(world) as gauges:
        with Load(world, calm or victims[0], rate=rate) as load:
            world.wait_final(*world.submit_many([("python", (1.0,))] * 8), within=60)
            leaks.begin()
            _trouble(world, story, victims, every)
            for host in victims:
                revive(host)
        watch = Stopwatch()
        _held(story, lambda: check.all_final(world))
        story.counts |= {"submitted": load.submitted, "settled after s": watch.seconds}
        story.counts["submits repeated"] = load.refused
        story.broken += check.in_store(world) + check.in_log(world) + check.descriptors(world)
        story.broken += check.outputs(world)
        story.broken += leaks.found()
        story.counts |= leaks.counts
    story.growth = gauges.growth()
    story.curves = gauges.curves()
    story.broken += grown(story.growth)
    _count(world, story)
    story.broken += check.stopped(world)


def grown(rows: list[Growth]) -> list[str]:
    """Return what is not flat: within one long life, and against the same role of the calm host."""
    found = [
        f"{one.role} went from {one.middle:.0f} to {one.last:.0f} KiB"
        for one in rows
        if one.minutes >= ENOUGH and one.last > FLAT * one.middle
    ]
    most = {one.role.split()[0]: one.high for one in rows if one.role.endswith(" calm")}
    return found + [
        f"{one.role} had {one.high:.0f} KiB"
        for one in rows
        if one.high > SPREAD * most.get(one.role.split()[0], one.high)
    ]


def _hosts(world: World, *, embedded: bool) -> tuple[list[Host], Host | None]:
    """Return the hosts that troubles meet, and one that only the store's troubles meet."""
    jobs = SCHEDULES
    if embedded:
        return [
            world.host("a", embedded=True, jobs=jobs, JOBCTL_FAILPOINTS_FILE=_rules(world, "a"))
        ], None
    victims = [
        world.host(name, jobs=jobs, JOBCTL_FAILPOINTS_FILE=_rules(world, name)) for name in "ab"
    ]
    return victims, world.host("calm", jobs=jobs, slots=3)


def _rules(world: World, name: str) -> str:
    return str(world.directory / f"rules.{name}")


def _trouble(world: World, story: Story, victims: list[Host], every: tuple[float, float]) -> None:
    """Let one trouble follow another until the time is over."""
    names = list(TROUBLES)
    weights = [weight for _, weight in TROUBLES.values()]
    watch = Stopwatch()
    while watch.seconds < story.minutes * 60:
        name = world.random.choices(names, weights)[0]
        host = world.random.choice(victims)
        time.sleep(world.random.uniform(*every))
        began, spent = watch.seconds, Stopwatch()
        try:
            words = TROUBLES[name][0](world, host)
        except Exception as error:  # noqa: BLE001 - a trouble that fails is a finding, not the end
            why = str(error) if isinstance(error, BrokenError) else traceback.format_exc(limit=-3)
            story.broken.append(f"{name} at {began:.0f} s: {why}")
            words = "FAILED"
            revive(host)
        story.troubles[name] = story.troubles.get(name, 0) + 1
        line = f"{began:7.1f} s  {host.name}: {name} {words} ({spent.seconds} s)"
        story.log.append(line)
        print(line, file=sys.stderr, flush=True)


def _held(story: Story, what: object) -> None:
    try:
        what()  # type: ignore[operator]
    except BrokenError as error:
        story.broken.append(str(error))


def _count(world: World, story: Story) -> None:
    records = world.records()
    states = Counter(records[run]["s"] for run in world.accepted if run in records)
    story.counts |= {
        "accepted": len(world.accepted),
        "finished": sum(count for state, count in states.items() if state in "kxves"),
        "by state": dict(sorted(states.items())),
        "scheduled runs": len(records.keys() - world.accepted.keys()),
        "executions begun": world.executions.count(),
        "executions ended": world.executions.count(word="end"),
        "overlapping": world.executions.count(word="overlap"),
        "lost": sum(int(record.get("ls", 0)) for record in records.values()),
        "claims lost": sum(int(record.get("cl", 0)) for record in records.values()),
    }


def report(story: Story) -> str:
    """Return the tables of a soak."""
    lines = [f"soak of {story.minutes:g} minutes, seed {story.seed}", "", "troubles"]
    lines += [f"  {name:32} {count:5}" for name, count in sorted(story.troubles.items())]
    lines += [f"  {'all':32} {sum(story.troubles.values()):5}", "", "books"]
    lines += [f"  {name:32} {value}" for name, value in story.counts.items()]
    head = (
        f"  {'memory of':22} {'lives':>5} {'samples':>7} {'longest':>9} {'middle':>10} {'last':>10}"
    )
    lines += ["", head + "       most  descriptors"]
    lines += [
        f"  {one.role:22} {one.processes:5} {one.samples:7} {one.minutes:5.1f} min"
        f" {one.middle:6.0f} KiB {one.last:6.0f} KiB {one.high:6.0f} KiB {one.descriptors:5}"
        for one in story.growth
    ]
    lines += ["", *(f"BROKEN: {what}" for what in story.broken)]
    lines.append("broken" if story.broken else "held: the books balance, nothing was left")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="of trouble (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn from (default 1)")
    parser.add_argument("--every", default="5-20", metavar="A-B", help="seconds between troubles")
    parser.add_argument("--rate", type=float, default=6.0, help="runs a second (default 6)")
    parser.add_argument("--embedded", action="store_true", help="one host with its own store")
    parser.add_argument(
        "--json", type=report_file, metavar="FILE", help="write the story there too"
    )
    parser.add_argument("--keep", action="store_true", help="keep the directory when it broke")
    return parser.parse_args()


def main() -> int:
    """Soak; the exit code is 1 when something broke."""
    chosen = options()
    least, _, most = chosen.every.partition("-")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that it cleans up
    directory = Path(tempfile.mkdtemp(prefix="jcw"))
    os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = str(directory)
    story = Story(chosen.seed, chosen.minutes)
    world = World(chosen.seed, directory)
    every = (float(least), float(most or least))
    try:
        soak(world, story, every=every, rate=chosen.rate, embedded=chosen.embedded)
    except Exception:  # noqa: BLE001 - belongs into the report
        story.broken.append(traceback.format_exc(limit=-6))
    finally:
        kept = directory.with_name(f"{directory.name}-kept")
        if chosen.keep and story.broken:
            subprocess.run(["cp", "-a", directory, kept], check=False, capture_output=True)
            print(f"kept in {kept}", file=sys.stderr)
        sweep(directory)
    print(report(story))
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(story), indent=1, default=str))
    expect(story.counts or story.broken, "the soak told nothing")
    return 1 if story.broken else 0


if __name__ == "__main__":
    sys.exit(main())
