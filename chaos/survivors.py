"""``python -m chaos.survivors``: supervisor and every pool die by kill -9 while jobs run.

The daemon is started again within five seconds. Every job must keep its process (number and time
of birth), stay in its first attempt and end once; its exit code and every line it wrote, also
while nobody was there, must be on record.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from chaos import check
from chaos.processes import kill_all, sweep
from chaos.waits import BrokenError, Stopwatch, expect, until
from chaos.words import count, report_file
from chaos.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.acceptance.host import Host

MOST_GAP = 5.0
"""Seconds after which the daemon is started again at the latest."""
LINES = 10
"""Lines that every job has written at least before, and again at least after the kill."""
TALK = r"""
# talk.sh CODE: write numbered lines until told to end; keep the count beside the log.
exec 9>>"$CHAOS_DIR/locks/$JOBCTL_RUN_ID"
flock -n 9 || echo "overlap $JOBCTL_RUN_ID $JOBCTL_ATTEMPT $$ 0 $CHAOS_HOST -" >>"$CHAOS_DIR/executions"
echo "begin $JOBCTL_RUN_ID $JOBCTL_ATTEMPT $$ 0 $CHAOS_HOST -" >>"$CHAOS_DIR/executions"
n=0
until test -e "$CHAOS_DIR/go"; do
    n=$((n + 1)); echo "line $n of $JOBCTL_RUN_ID"; echo $n >"$CHAOS_DIR/count.$JOBCTL_RUN_ID"; sleep 0.1
done
echo "end $JOBCTL_RUN_ID $JOBCTL_ATTEMPT $$ 0 $CHAOS_HOST $1" >>"$CHAOS_DIR/executions"
exit "$1"
"""
TALK_MODULE = r"""
import os, sys, time

def say(word, code="-"):
    e = os.environ
    line = f"{word} {e['JOBCTL_RUN_ID']} {e['JOBCTL_ATTEMPT']} {os.getpid()} 0 {e['CHAOS_HOST']} {code}\n"
    with open(e["CHAOS_DIR"] + "/executions", "a") as file:
        file.write(line)

def act(code=0):
    place, run, n = os.environ["CHAOS_DIR"], os.environ["JOBCTL_RUN_ID"], 0
    say("begin")
    while not os.path.exists(place + "/go"):
        n += 1
        print(f"line {n} of {run}", flush=True)
        with open(f"{place}/count.{run}", "w") as file:
            file.write(str(n))
        time.sleep(0.1)
    say("end", code)
    sys.exit(code)
"""
JOBS = """
[jobs.talk]
command = 'exec /bin/sh "$CHAOS_DIR/talk.sh" "$@"'
[jobs.call]
python = "talk:act"
params.code = { type = "int", default = 0 }
"""


@dataclass(slots=True)
class Survivor:
    """One job: what it was, and what it is on record as."""

    run: str
    job: str
    pid: int
    born: float
    wanted: int
    """The exit code it is to end with."""
    alive: bool = False
    """Whether the same process lived after the restart."""
    on_record: int = 0
    """The process in the record."""
    attempt: int = 0
    code: int | None = None
    executions: int = 0
    finishes: int = 0
    wrote: int = 0
    logged: int = 0
    wrong: str = ""


def survive(world: World, *, jobs: int, rounds: int, embedded: bool) -> list[Survivor]:
    """Start ``jobs`` jobs, kill jobctl ``rounds`` times, let them end, and compare."""
    (world.directory / "talk.sh").write_text(TALK)
    (world.directory / "talk.py").write_text(TALK_MODULE)
    host = world.host("a", jobs=JOBS, slots=jobs, embedded=embedded)
    codes = [0, *world.random.sample(range(1, 125), k=jobs - 1)]
    kinds = ["call" if number % 4 == 3 else "talk" for number in range(jobs)]
    runs = world.submit_many([(kind, (code,)) for kind, code in zip(kinds, codes, strict=True)])
    world.wait_begun(*runs)
    world.wait_started(*runs)
    until(lambda: min(_wrote(world, run) for run in runs) >= LINES, "all jobs talk")
    pids = {line.run: line.pid for line in world.executions.lines(word="begin")}
    made = [
        Survivor(run, kind, pids[run], psutil.Process(pids[run]).create_time(), code)
        for run, kind, code in zip(runs, kinds, codes, strict=True)
    ]
    for _ in range(rounds):
        crash(world, host)
    for one in made:
        one.alive = _lives(one)
    world.go()
    world.wait_final(*runs)
    for one in made:
        compare(world, host, one, wrote=_wrote(world, one.run))
    return made


def crash(world: World, host: Host) -> None:
    """Kill supervisor and pools as one, and start the daemon again soon."""
    world.wait_started(*world.accepted)
    kill_all([world.supervisor(host), *world.pools(host)])
    host.daemons[-1].wait()
    gap = Stopwatch()
    before = {run: _wrote(world, run) for run in world.accepted}
    wanted = world.random.uniform(1.0, MOST_GAP - 1.0)
    until(lambda: gap.seconds >= wanted, "the gap is over", every=0.05)
    world.measured["started again after s"] = gap.seconds
    host.start()
    world.measured["ready again after s"] = gap.seconds
    until(
        lambda: all(_wrote(world, run) >= before[run] + LINES for run in before),
        "all jobs go on talking",
    )


def compare(world: World, host: Host, one: Survivor, *, wrote: int) -> None:
    """Fill in what is on record, and say what is wrong with it; ``wrote`` lines by its own count."""
    record = world.record(one.run)
    one.on_record, one.attempt = int(record.get("pi", 0)), int(record.get("at", 0))
    one.code = int(record["rc"]) if "rc" in record else (0 if record["s"] == "k" else None)
    one.executions = world.executions.count(one.run)
    history = world.raw("LRANGE", world.keys.history(one.job), 0, -1)
    one.finishes = sum(item.decode() == one.run for item in history)
    lines = host.run("logs", one.run).splitlines()
    one.wrote, one.logged = wrote, len(lines)
    whole = [f"line {number} of {one.run}" for number in range(1, one.wrote + 1)]
    wrong = [
        words
        for held, words in (
            (one.alive and one.on_record == one.pid, "another process"),
            (one.attempt == 1, "another attempt"),
            (one.executions == 1, "ran again"),
            (one.finishes == 1, "not finished once"),
            (one.code == one.wanted, "wrong exit code"),
            (lines == whole, "the log is not whole"),
        )
        if not held
    ]
    one.wrong = ", ".join(wrong)


def _wrote(world: World, run: str) -> int:
    path = world.directory / f"count.{run}"
    return int(path.read_text() or 0) if path.exists() else 0


def _lives(one: Survivor) -> bool:
    try:
        return psutil.Process(one.pid).create_time() == one.born
    except psutil.NoSuchProcess:
        return False


def report(made: Sequence[Survivor], world: World, broken: Sequence[str]) -> str:
    """Return the table, one line for each job."""
    head = f"{'run':18} {'job':5} {'process':>9} {'kept':5} {'attempt':>7} {'runs':>4} {'ends':>4}"
    lines = [f"{head} {'exit code':>11} {'lines':>11}"]
    lines += [
        f"{one.run:18} {one.job:5} {one.pid:9} {'yes' if one.alive else 'NO':5} {one.attempt:7}"
        f" {one.executions:4} {one.finishes:4} {one.code!s:>4} of {one.wanted:3}"
        f" {one.logged:4} of {one.wrote:3} {one.wrong}".rstrip()
        for one in made
    ]
    lines += [f"{name}: {value}" for name, value in world.measured.items()]
    lines += [f"BROKEN: {what}" for what in broken]
    bad = sum(bool(one.wrong) for one in made)
    lines.append(f"{len(made) - bad} of {len(made)} survived" + (", broken" if broken else ""))
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos.survivors", description=__doc__)
    parser.add_argument("--jobs", type=count, default=20, help="that run (default 20)")
    parser.add_argument("--rounds", type=count, default=1, help="kills in a row (default 1)")
    parser.add_argument("--seed", type=int, default=random.randrange(1000), help="default: any")
    parser.add_argument("--shared", action="store_true", help="a shared store, not an embedded one")
    parser.add_argument(
        "--json", type=report_file, metavar="FILE", help="write the table there too"
    )
    return parser.parse_args()


def main() -> int:
    """Kill; the exit code is 1 when something broke."""
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that it cleans up
    directory = Path(tempfile.mkdtemp(prefix="jcw"))
    os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = str(directory)
    world = World(chosen.seed, directory)
    made: list[Survivor] = []
    broken: list[str] = []
    try:
        made = survive(world, jobs=chosen.jobs, rounds=chosen.rounds, embedded=not chosen.shared)
        broken += [f"{one.run}: {one.wrong}" for one in made if one.wrong]
        check.after(world)
        expect(len(made) == chosen.jobs, f"only {len(made)} jobs ran")
    except BrokenError as error:
        broken.append(str(error))
    except Exception:  # noqa: BLE001 - belongs into the report
        broken.append(traceback.format_exc(limit=-5))
    finally:
        sweep(directory)
    print(report(made, world, broken))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(one) for one in made], indent=1))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
