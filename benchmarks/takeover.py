"""Schedules due every second while supervisors are killed and frozen: how late does it get?"""

from __future__ import annotations

import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.hosts import Hosts
from benchmarks.report import Row, quantile

if TYPE_CHECKING:
    from benchmarks.report import Scene
    from jobctl.store.queries import Decision

COUNT = 60
STEADY = 10
FROZEN = 12
"""Seconds; shorter than what makes others take it for dead."""


def measure(scene: Scene) -> list[Row]:
    """Measure the lag while all is well, after a SIGKILL, under a SIGSTOP, and after its end."""
    seconds = scene.pick(40, 15)
    names = [f"j{number}" for number in range(COUNT)]
    # Nothing takes the runs: the lag is about deciding.
    jobs = '[pools.elsewhere]\nslots = 1\nqueues = ["never"]\n\n' + "\n".join(
        f'[jobs.{name}]\ncommand = "true"\nschedule = "* * * * * *"\ntimezone = "UTC"\n'
        f'queue = "elsewhere"\noverlap = "allow"\n'
        for name in names
    )
    with Hosts(scene.directory / "d", jobs) as hosts:
        time.sleep(STEADY)
        begins = [("all three up", time.time())]
        time.sleep(STEADY)
        begins.append(("one killed", time.time()))
        hosts.signal("h0", signal.SIGKILL)
        time.sleep(seconds)
        begins.append(("another frozen", time.time()))
        hosts.signal("h1", signal.SIGSTOP)
        time.sleep(FROZEN)
        begins.append(("and going on", time.time()))
        hosts.signal("h1", signal.SIGCONT)
        time.sleep(STEADY)
        begins.append(("", time.time()))
        time.sleep(2.0)
        histories = [history[::-1] for history in hosts.histories(names, newest=200)]
        for line in hosts.complaints()[:5]:
            print(f"  ! {line}")
    decisions = [one for history in histories for one in history]
    rows = [_phase(what, decisions, since, until) for (what, since), (_, until) in pairwise(begins)]
    first, last = begins[0][1], begins[-1][1]
    wrong = sum(_wrong(history, first, last) for history in histories)
    return [
        *rows,
        Row("instants left out or decided twice", wrong, "", aim="0",
            note=f"of {len(decisions):,} decided, by {len({one.who for one in decisions})} hosts"),
    ]  # fmt: skip


def _phase(what: str, decisions: list[Decision], since: float, until: float) -> Row:
    lags = [one.lag for one in decisions if since <= one.instant < until]
    return Row(f"{what}: longest lag", max(lags) * 1000, "ms", aim="2,000",
               note=f"p50 {quantile(lags, 0.5) * 1000:.0f} ms, "
               f"p99 {quantile(lags, 0.99) * 1000:.0f} ms, of {len(lags):,}")  # fmt: skip


def _wrong(history: list[Decision], since: float, until: float) -> int:
    instants = [round(one.instant) for one in history if since <= one.instant < until]
    span = range(instants[0], instants[-1] + 1)
    return len(set(span) - set(instants)) + len(instants) - len(set(instants))
