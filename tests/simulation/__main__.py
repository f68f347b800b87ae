"""``python -m tests.simulation --year Y --seed S``: a year of schedules on a real store, judged.

Several supervisors with clocks of their own decide the instants of schedules in ten zones, are
stopped and killed at random, and all at once around changes of the clocks. Each instant of the
reference evaluator must have been decided exactly once, as the job's policy says.
"""

from __future__ import annotations

import argparse
import logging
import random
from datetime import UTC, datetime

from jobctl.store.address import Address
from jobctl.store.binary import find_binary
from tests.servers import Server
from tests.simulation.play import ZONES, Play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--year", type=int, default=2023, help="a year that is over")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of all chance")
    parser.add_argument("--hosts", type=int, default=3, help="how many supervisors")
    parser.add_argument("--drawn", type=int, default=4, help="random rules for each zone")
    parser.add_argument("--zone", action="append", help="instead of the ten; may be repeated")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    play = Play(
        start=datetime(options.year, 1, 1, tzinfo=UTC),
        end=datetime(options.year + 1, 1, 1, tzinfo=UTC),
        zones=tuple(options.zone or ZONES),
        hosts=options.hosts,
        drawn=options.drawn,
        seed=options.seed,
    )
    server = Server(find_binary(None)).start()
    try:
        verdict = play.go(Address.parse(f"redis://{server.place}"))
    finally:
        server.close()
    print(play.summary(verdict))
    return min(len(verdict.wrong), 1)


if __name__ == "__main__":
    raise SystemExit(main())
