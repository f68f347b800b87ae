"""Faults 23–25: clocks are set, on a host and on the store's, and a machine sleeps."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

import psutil

from chaos.load import SCHEDULES, Load
from chaos.processes import SERVERS, name_of
from chaos.shift import ShiftedClock
from chaos.store import nobody_rescued
from chaos.table import fault
from chaos.waits import Stopwatch, expect, until
from chaos.world import TAKEOVER, TTL

if TYPE_CHECKING:
    from chaos.world import World

HOUR = 3600.0
MOVED = 16.0
"""Seconds that a clock stays wrong: three beats."""
RATED = """
[jobs.rated]
command = 'exec /bin/sh "$CHAOS_DIR/work.sh" "$@"'
rate = "5/s"
"""


def instants(world: World, schedule: str) -> list[str]:
    """Return the instants of a schedule that fired, those in which a run was made."""
    found = [
        one.decode() for one in world.raw("LRANGE", f"{world.keys.prefix}sh:{schedule}", 0, -1)
    ]
    return [entry.split("|")[0] for entry in found if entry.split("|")[3]]


def fired_once(world: World) -> None:
    """No instant of a schedule made two runs."""
    total = 0
    for schedule in ("steady", "careful"):
        counts = Counter(instants(world, schedule))
        total += len(counts)
        twice = [instant for instant, count in counts.items() if count > 1]
        expect(not twice, f"instants of {schedule} fired twice: {twice}")
    world.measured["instants"] = total
    expect(total > 3, f"only {total} instants fired")


@fault(
    23,
    "the wall clock of a host is an hour ahead, or behind",
    "a warning; no instant fires twice; nobody is taken for dead",
    needs=("cc",),
)
def host_clock_set(world: World) -> None:
    world.strangers = True
    clock = ShiftedClock(world.directory, "a")
    a = world.host("a", jobs=SCHEDULES, start=False)
    world.start_store()
    a.extra.update(clock.environment)
    a.start()
    b = world.host("b", jobs=SCHEDULES)
    world.measured["moved by h"] = hours = world.pick(1, -1)
    with Load(world, b, rate=6):
        until(lambda: len(instants(world, "steady")) > 1, "a schedule fires")
        clock.move(wall=hours * HOUR)
        time.sleep(MOVED)
        until(lambda: "s off the store's" in a.log, "the host warns of its clock", within=15)
        begun = {line.host for line in world.executions.lines(word="begin")}
        expect(begun == {"a", "b"}, f"only {begun} executes")
        clock.move()
        time.sleep(5)
    expect("s off the store's" not in b.log, "the other host warns of its clock")
    fired_once(world)
    nobody_rescued(world)


@fault(
    24,
    "the store's clock is an hour ahead, or behind",
    "nobody is taken for dead; delays and rates go on; no instant fires twice",
    needs=("cc",),
)
def store_clock_set(world: World) -> None:
    world.strangers = True
    clock = ShiftedClock(world.directory, "store")
    with clock.inherited():
        world.start_store()
    a = world.host("a", jobs=SCHEDULES + RATED)
    world.host("b", jobs=SCHEDULES + RATED)
    rated = world.submit_many([("rated", (0,))] * 10)
    with Load(world, a, rate=6):
        until(lambda: len(instants(world, "steady")) > 1, "a schedule fires")
    world.wait_final(*world.accepted)
    world.measured["moved by h"] = hours = world.pick(1, -1)
    # What is due in a while is due by the store's clock: earlier, or not before that is right again.
    later = world.submit("work", 0, start_in=20.0)
    clock.move(wall=hours * HOUR)
    world.measured["a run began after s"] = world.wait_work(within=20)
    more = world.submit_many([("rated", (0,))] * 10)
    with Load(world, a, rate=6):
        time.sleep(MOVED)
    world.wait_final(*more, *rated, *(world.accepted.keys() - {later}))
    if hours > 0:
        world.wait_final(later)
    else:
        expect(
            not world.executions.count(later), "a delayed run began though its time was not come"
        )
        clock.move()
        world.wait_final(later, within=40)
    until(lambda: "s off the store's" in a.log, "the host warns of the clock", within=15)
    fired_once(world)
    nobody_rescued(world)


BEATING = """
[jobs.beating]
command = 'echo "begin $JOBCTL_RUN_ID $JOBCTL_ATTEMPT $$ 0 $CHAOS_HOST -" >>"$CHAOS_DIR/executions"; \
while test ! -e "$CHAOS_DIR/go"; do echo $CHAOS_HOST >>"$CHAOS_DIR/beating"; sleep 0.1; done; \
echo "end $JOBCTL_RUN_ID $JOBCTL_ATTEMPT $$ 0 $CHAOS_HOST 0" >>"$CHAOS_DIR/executions"'
strict_single = true
max_running = 1
"""
STRAY_BEATS = 15
"""Lines, ten a second, that a strict job may add after the sleep until it is ended."""


@fault(
    25,
    "the machine of a host sleeps past the TTL",
    "fenced when it wakes; its strict job is ended at once, its outcomes are refused",
    needs=("cc",),
)
def slept(world: World) -> None:
    world.may_overlap = world.may_repeat = True
    clock = ShiftedClock(world.directory, "a")
    a = world.host("a", jobs=BEATING, start=False)
    world.start_store()
    a.extra.update(clock.environment)
    a.start()
    strict, plain = world.submit_many([("beating", ()), ("work", ("x",))])
    world.wait_begun(strict, plain)
    world.wait_started(strict, plain)
    b = world.host("b", jobs=BEATING)
    asleep = [p for p in a.processes() if name_of(p) not in SERVERS]
    for process in asleep:
        with contextlib.suppress(psutil.Error):
            process.suspend()
    watch = Stopwatch()
    world.wait_begun(strict, plain, times=2, within=TAKEOVER)
    world.measured["taken over after s"] = watch.seconds
    expect(watch.seconds > TTL - 5, f"taken over already after {watch.seconds} s")
    before = _beats(world, "a")
    # While a machine sleeps its monotonic clock stands still, and that since boot goes on.
    clock.move(monotonic=-watch.seconds)
    for process in asleep:
        with contextlib.suppress(psutil.Error):
            process.resume()
    until(lambda: "taken for dead" in a.log, "the host notices that it was fenced", within=30)
    stray = _beats(world, "a") - before
    world.measured["stray beats of the strict job"] = stray
    expect(stray <= STRAY_BEATS, f"the strict job went on for {stray / 10} s")
    quiet = _beats(world, "a")
    time.sleep(1)
    expect(_beats(world, "a") == quiet, "the strict job goes on after the fence")
    expect("taken for dead" not in b.log, "the other host was fenced too")
    world.go()
    for run in (strict, plain):
        world.expect_state(run, "k", at="2", ls="1")


def _beats(world: World, host: str) -> int:
    path = world.directory / "beating"
    return path.read_text().split().count(host)
