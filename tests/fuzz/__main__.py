"""``python -m tests.fuzz --seconds N --seed S``: long runs of the fuzzer on a server of its own."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from jobctl.errors import JobctlError
from jobctl.store.binary import find_binary
from jobctl.store.blocking import BlockingStore
from jobctl.store.embedded import EmbeddedStore
from tests.fuzz.programme import Programme


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to go on")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="the first seed")
    parser.add_argument("--server", type=Path, default=None, help="the server to use")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="jc-"))
    embedded = EmbeddedStore(folder / "store", find_binary(options.server))
    asyncio.run(embedded.start())
    try:
        with BlockingStore(embedded.address) as store:
            return run(store, options.seed, options.seconds)
    finally:
        asyncio.run(embedded.stop())
        shutil.rmtree(folder)


def run(store: BlockingStore, seed: int, seconds: float) -> int:
    """Return how many programmes broke a promise; each is told with the seed that repeats it."""
    end = time.monotonic() + seconds
    done = broken = 0
    while time.monotonic() < end:
        try:
            Programme(store, seed + done).go()
        except (AssertionError, JobctlError) as error:
            broken += 1
            print(f"--seed {seed + done}:", file=sys.stderr)
            traceback.print_exception(error, limit=-3)
        done += 1
    print(f"{done} programmes from seed {seed}, {broken} broke a promise")
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
