"""One mutant on trial, in this process: patched Lua, a real server, the store's tests until one fails."""

from __future__ import annotations

import contextlib
import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from jobctl.store import scripts
from tests.mutation.listed import MUTANTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mutation.mutant import Mutant

FIRST = {
    "admit": ["submit", "overlap", "schedules", "retention"],
    "beat": ["rescue", "written_down", "schedule_changes"],
    "boot": ["schedules", "schedule_changes", "written_down"],
    "claim": ["batches", "claim", "limits", "order", "malformed", "retention"],
    "common": ["malformed", "foreign_keys"],
    "decided": ["schedules", "schedule_changes", "written_down"],
    "leave": ["rescue", "written_down"],
    "filled": ["schedule_changes"],
    "group": ["submit", "overlap", "schedules", "retention"],
    "limits": ["limits"],
    "promote": ["limits", "claim"],
    "lines": ["order", "limits", "claim", "foreign_keys"],
    "bells": ["claim", "order", "limits", "foreign_keys"],
    "records": ["malformed", "foreign_keys"],
    "seldom": ["malformed", "foreign_keys"],
    "moves": ["batches", "retention", "limits", "overlap", "claim", "foreign_keys"],
    "note": ["rescue"],
    "notices": ["notices"],
    "once": ["once"],
    "outbox": ["notices"],
    "overlay": ["schedule_changes"],
    "peek": ["schedule_changes"],
    "pool": ["rescue"],
    "register": ["rescue", "written_down"],
    "retire": ["schedule_changes"],
    "release": ["claim", "rescue"],
    "repair": ["repair"],
    "rescue": ["rescue", "written_down", "lost_data"],
    "revoke": ["claim", "limits"],
    "schedule": ["schedules", "schedule_changes"],
    "settle": ["batches", "edges", "rescue", "claim"],
    "skip": ["schedule_changes"],
    "slots": ["limits", "foreign_limits"],
    "start": ["rescue", "claim"],
    "submit": ["submit", "claim", "notices", "malformed", "retention"],
    "switch": ["schedule_changes"],
    "tick": ["schedules", "schedule_changes", "written_down"],
}
"""Which tests most likely know of a part; the others come after them."""
TESTS = (
    "submit", "overlap", "rescue", "schedules", "schedule_changes", "retention", "lost_data", "batches", "order",
    "foreign_limits", "claim", "guards", "guards_of_moves", "guards_of_owners", "written_down", "foreign_keys", "malformed", "edges", "limits",
    "notices", "repair", "once",
)  # fmt: skip
"""All tests of what the scripts do, quick ones first."""
GUARDS = ("guards", "guards_of_moves", "guards_of_owners", "written_down")
EFFORTS = ("quick", "tests", "full")
"""Only the tests that most likely know, all tests, or the fuzzer too."""
FUZZER = "fuzzed_transitions"
FUZZ_SECONDS = "8"


class Verdict(NamedTuple):
    name: str
    caught_by: str
    """The first test that failed; empty when none did."""
    seconds: float


class _First:
    """Remembers the first test that fails."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid.rpartition("/")[2]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            raise RuntimeError(f"{report.nodeid} cannot be collected: {report.longrepr}")


def files_for(part: str, effort: str) -> list[str]:
    names = [*FIRST.get(part, ()), *GUARDS]
    if effort != "quick":
        names += TESTS
    if effort == "full":
        names.append(FUZZER)
    paths = [f"tests/store/test_{name}.py" for name in dict.fromkeys(names)]
    return [path for path in paths if Path(path).exists()]


@contextlib.contextmanager
def mutated(mutant: Mutant | None) -> Iterator[None]:
    """Every script that is read meanwhile has the mutant's text."""
    original = scripts._read

    def read(name: str) -> bytes:
        text = original(name)
        if mutant is not None and name == mutant.part:
            return mutant.apply(text.decode()).encode()
        return text

    scripts._read = read
    scripts._loaded.clear()
    try:
        yield
    finally:
        scripts._read = original
        scripts._loaded.clear()


def trial(name: str, effort: str = "full") -> Verdict:
    """Try the mutant of this name; without a name the original, which nothing must catch."""
    os.environ["JOBCTL_FUZZ_SECONDS"] = FUZZ_SECONDS
    mutant = next((one for one in MUTANTS if one.name == name), None)
    first = _First()
    words = ["-q", "-x", "-n0", "-p", "no:cacheprovider", "--timeout=30"]
    began = time.monotonic()
    with mutated(mutant), contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(
            [*words, *files_for(mutant.part if mutant else "", effort)], plugins=[first]
        )
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r}: {said.getvalue()}")
    return Verdict(name, first.failed, time.monotonic() - began)
