"""Compare jobctl with the queues people use today, side by side on this machine.

Every participant gets a store server of its own of one binary and one configuration, on a unix
socket, for each round. Each round begins with another participant. What was executed is counted,
and a figure whose count is wrong is not shown.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import venvs
from benchmarks.peers.measures import MEASURES, Extent, measure
from benchmarks.peers.participants import PARTICIPANTS
from benchmarks.peers.profile import profile
from benchmarks.peers.stand import PeerError
from benchmarks.peers.table import lines, order
from benchmarks.report import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers.participants import Participant

BUSY = 0.5
"""Load above which figures mean little on two cores."""
FSYNC = ("always", "everysec", "no")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the options ask for; return 1 when something could not be measured."""
    parser = options()
    asked = parser.parse_args(arguments)
    chosen = _chosen(parser, asked.only)
    with tempfile.TemporaryDirectory(prefix="jcb-", dir=asked.dir) as scratch:
        for fact in machine(Path(scratch)):
            print(fact)
        if os.getloadavg()[0] > BUSY:
            print(f"warning: the load is over {BUSY}; do not trust these figures")
        if asked.profile:
            profile(Path(scratch), runs=asked.runs, slots=asked.slots, rounds=asked.rounds)
            return 0
        return _compare(Path(scratch), chosen, asked)


def options() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--runs", type=_positive, default=20_000, help="functions queued (20000)")
    parser.add_argument("--slots", type=_positive, default=10, help="how many run at once (10)")
    parser.add_argument("--rounds", type=_positive, default=5, help="medians are shown (5)")
    parser.add_argument(
        "--submits", type=_positive, default=300, help="one by one, for the latency (300)"
    )
    parser.add_argument("--only", metavar="NAMES", help="some of those below, with commas between")
    parser.add_argument(
        "--measures", type=_measures, default=list(MEASURES), metavar="WORDS",
        help=f"some of {', '.join(MEASURES)}",
    )  # fmt: skip
    parser.add_argument(
        "--appendfsync", choices=FSYNC, default="everysec", help="of the stores (everysec)"
    )
    parser.add_argument(
        "--venvs", type=Path, default=venvs.CACHE, help=f"kept here ({venvs.CACHE})"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure of each round"
    )
    parser.add_argument("--dir", type=Path, help="file system to measure on (TMPDIR)")
    parser.add_argument(
        "--profile", choices=["jobctl"], help="only show where the CPU of one of its runs goes"
    )
    parser.epilog = "participants: " + ", ".join(one.name for one in PARTICIPANTS)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _measures(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in MEASURES:
            raise argparse.ArgumentTypeError(
                f"no measure {word!r}; there are {', '.join(MEASURES)}"
            )
    return words


def _chosen(parser: argparse.ArgumentParser, only: str | None) -> list[Participant]:
    """Return the participants named; a word stands for all whose name begins with it."""
    if only is None:
        return list(PARTICIPANTS)
    words = [word.strip() for word in only.split(",")]
    for word in words:
        if not any(one.name.startswith(word) for one in PARTICIPANTS):
            known = ", ".join(one.name for one in PARTICIPANTS)
            parser.error(f"no participant {word!r}; there are {known}")
    return [one for one in PARTICIPANTS if one.name.startswith(tuple(words))]


def _compare(scratch: Path, chosen: list[Participant], asked: argparse.Namespace) -> int:
    extent = Extent(asked.runs, asked.slots, asked.submits, fsync=asked.appendfsync)
    print(
        f"{asked.runs:,} functions, {asked.slots} slots, {asked.rounds} rounds; stores: unix socket, "
        f"append-only file, appendfsync {asked.appendfsync}"
    )
    known = {one.name: one for one in chosen}
    binaries = {one.name: venvs.binaries(one, asked.venvs) for one in chosen}
    rounds: list[dict[str, dict[str, float]]] = []
    problems = 0
    for turn in range(asked.rounds):
        rounds.append({})
        for name in order(list(known), turn):
            started = time.monotonic()
            try:
                place = scratch / f"{turn}-{name}"
                place.mkdir()
                rounds[-1][name] = measure(
                    known[name], place, binaries[name], extent, asked.measures
                )
            except PeerError as error:
                problems += 1
                print(f"! {error}")
            took = time.monotonic() - started
            print(f"# round {turn + 1}, {name}: {took:.0f} s", file=sys.stderr, flush=True)
        if asked.json:
            asked.json.write_text(
                json.dumps({"schema": 1, "options": _plain(asked), "rounds": rounds})
            )
        # After each: whoever stops it early has what was measured so far.
        print(f"\nafter round {turn + 1} of {asked.rounds}:\n")
        print("\n".join(lines(rounds, list(known))), flush=True)
    return 1 if problems else 0


def _plain(asked: argparse.Namespace) -> dict[str, object]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(asked).items()
    }


if __name__ == "__main__":
    sys.exit(main())
