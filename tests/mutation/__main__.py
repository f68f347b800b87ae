"""``python -m tests.mutation``: does some test notice when a guard is missing from the Lua text?

Prints a line for each mutant: what was taken out, which test caught it, after how many seconds.
Ends with 1 when one that is not known to be the same as the original survived.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutation.listed import MUTANTS
from tests.mutation.trial import EFFORTS, Verdict, trial

if TYPE_CHECKING:
    from collections.abc import Iterable


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="how many are tried at a time")
    parser.add_argument("--only", nargs="*", help="mutants whose name contains one of these")
    parser.add_argument("--effort", choices=EFFORTS, default="full", help="which tests are run")
    parser.add_argument("--same", action="store_true", help="also those known to change nothing")
    parser.add_argument("--table", type=Path, help="write the table to this file, as Markdown")
    options = parser.parse_args()
    wanted = [
        mutant
        for mutant in MUTANTS
        if any(part in mutant.name for part in options.only or [""])
        and (options.same or not mutant.same)
    ]
    began = time.monotonic()
    names = [mutant.name for mutant in wanted]
    verdicts = list(tried(names, jobs=options.jobs, effort=options.effort))
    survivors = sorted(verdict.name for verdict in verdicts if not verdict.caught_by)
    taken = time.monotonic() - began
    print(f"{len(verdicts)} mutants, {len(survivors)} survived, {taken:.0f} s")
    for name in survivors:
        print(f"survived: {name}")
    if options.table:
        order = {mutant.name: place for place, mutant in enumerate(MUTANTS)}
        options.table.write_text(table(sorted(verdicts, key=lambda one: order[one.name])))
    same = {mutant.name for mutant in MUTANTS if mutant.same}
    return 1 if set(survivors) - same else 0


def tried(names: list[str], *, jobs: int, effort: str) -> Iterable[Verdict]:
    """Try the original first: nothing said of a mutant counts when that fails."""
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        original = pool.submit(trial, "", effort).result()
        if original.caught_by:
            raise SystemExit(f"the original fails {original.caught_by}: mend that first")
        for future in as_completed([pool.submit(trial, name, effort) for name in names]):
            verdict = future.result()
            print(f"{verdict.name} -> {verdict.caught_by or 'SURVIVED'} ({verdict.seconds:.1f} s)")
            sys.stdout.flush()
            yield verdict


def table(verdicts: Iterable[Verdict]) -> str:
    lines = ["| Script | Without | Caught by | s |", "|---|---|---|---|"]
    for name, caught_by, seconds in verdicts:
        part, _, guard = name.partition(": ")
        lines.append(f"| {part} | {guard} | `{caught_by or 'nothing'}` | {seconds:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
