"""``python -m chaos``: play faults from the table and print a report."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

from chaos import report
from chaos.play import BROKEN, Verdict
from chaos.runner import play_all
from chaos.table import ABSENT, Fault, faults
from chaos.waits import Stopwatch
from chaos.words import count, report_file

if TYPE_CHECKING:
    from collections.abc import Sequence


def numbers(words: Sequence[str], known: dict[int, Fault]) -> list[int]:
    """Return the numbers that words such as ``3``, ``1-14`` and ``2,7`` mean.

    Raises ``ValueError`` with what is wrong.
    """
    found: list[int] = []
    for word in ",".join(words).split(","):
        first, _, last = word.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise ValueError(f"{word!r} is no fault; write 3, 1-14, or 2,7")
        span = range(int(first), int(last or first) + 1)
        if not last and int(first) not in known:
            why = ABSENT.get(int(first), ("", "it is not in the table; see --list"))[1]
            raise ValueError(f"fault {first} cannot be played: {why}")
        found += [number for number in span if number in known]
    return sorted(set(found))


def listing(known: dict[int, Fault]) -> str:
    """Return the table as text."""
    lines = []
    for number, fault in known.items():
        marks = ", ".join((*(["bounded"] if fault.bounded else []), *fault.needs))
        lines.append(f"{number:3}  {fault.title}" + (f"  [{marks}]" if marks else ""))
        lines.append(f"     {fault.criterion}")
    lines += [f"{number:3}  {title}: not here, {why}" for number, (title, why) in ABSENT.items()]
    return "\n".join(lines)


def told(verdict: Verdict) -> None:
    """Say at once how one play ended."""
    line = f"fault {verdict.fault} seed {verdict.seed}: {verdict.verdict} {verdict.seconds:g} s"
    if verdict.reason:
        line += f": {verdict.reason.strip().splitlines()[-1][:300]}"
    print(line, file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--fault", action="append", metavar="N", help="a number, 1-14, or 2,7")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--times", type=count, default=1, help="seeds for each fault (default 1)")
    parser.add_argument("--bounded", action="store_true", help="only those quick enough for CI")
    parser.add_argument("--list", action="store_true", help="show the table and end")
    parser.add_argument(
        "--json", type=report_file, metavar="FILE", help="write the verdicts there too"
    )
    parser.add_argument(
        "--jobs", type=count, default=3 * (os.cpu_count() or 1), metavar="N", help="plays at once"
    )
    parser.add_argument("--keep", action="store_true", help="keep the directories of broken worlds")
    chosen = parser.parse_args()
    known = faults()
    try:
        chosen.numbers = numbers(chosen.fault, known) if chosen.fault else list(known)
    except ValueError as error:
        parser.error(str(error))
    return chosen


def main() -> int:
    """Play; the exit code is 1 when something broke."""
    chosen = options()
    known = faults()
    if chosen.list:
        print(listing(known))
        return 0
    wanted: list[int] = chosen.numbers
    if chosen.bounded:
        wanted = [number for number in wanted if known[number].bounded]
    seeds = range(chosen.seed, chosen.seed + chosen.times)
    plays = [(known[number], seed) for seed in seeds for number in wanted]
    watch = Stopwatch()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    try:
        verdicts = play_all(plays, jobs=chosen.jobs, told=told, keep=chosen.keep)
    except KeyboardInterrupt:
        return 130
    print(report.table(known, verdicts))
    for number, (title, why) in ABSENT.items():
        print(f"not played: fault {number} ({title}): {why}")
    print(f"{watch.seconds:.0f} s, {chosen.jobs} at a time")
    if chosen.json:
        chosen.json.write_text(report.as_json(verdicts))
    return 1 if any(one.verdict == BROKEN for one in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
