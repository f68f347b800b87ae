"""The table of what a host has started."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import starts as module
from jobctl.engine.starts import Known, Starts
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOON = SYSTEM_CLOCK.epoch() + 1000


def ended(
    table: Starts, letters: dict[str, str], *, signed: int | None = None, until: float = SOON
) -> None:
    """Say how runs ended; with ``signed`` their starts are yet to be counted."""
    table.ended(
        (Settlement(run_id, 1, letter or "d", "", 0.0, (), signed=signed, last_start=until), letter)
        for run_id, letter in letters.items()
    )


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Starts]:
    table = Starts(tmp_path / "starts", namespace="ns", clock=SYSTEM_CLOCK)
    yield table
    table.close()


def test_starts_are_counted_and_the_end_is_kept(table: Starts, tmp_path: Path) -> None:
    assert table.look("a") is None
    table.began(("a", 5, SOON))
    table.began(("a", 5, SOON))
    table.began(("b", 6, SOON))
    table.excuse("a")
    ended(table, {"a": "k"})
    ended(table, {"never-started": "k"})

    other = Starts(tmp_path / "starts", namespace="ns", clock=SYSTEM_CLOCK)
    assert other.look("a") == Known(5, 1, "k")
    assert other.look("b") == Known(6, 1, "")
    assert other.look("never-started") is None
    other.close()


def test_a_start_that_was_not_counted_is_counted_with_its_end(table: Starts) -> None:
    ended(table, {"a": "k", "again": ""}, signed=5)
    assert table.look("a") == Known(5, 1, "k")
    assert table.look("again") == Known(5, 1, "")

    ended(table, {"again": "x"}, signed=5)
    assert table.look("again") == Known(5, 2, "x")


def test_an_end_that_is_told_twice_is_one_start(table: Starts) -> None:
    ended(table, {"a": "k"}, signed=5)
    ended(table, {"a": "k"}, signed=5)
    assert table.look("a") == Known(5, 1, "k")

    ended(table, {"a": "x"}, signed=6)
    assert table.look("a") == Known(6, 1, "x")


def test_an_old_end_takes_nothing_from_a_run_that_was_signed_since(table: Starts) -> None:
    table.began(("a", 6, SOON))
    ended(table, {"a": "k"}, signed=5)
    assert table.look("a") == Known(6, 1, "")


def test_an_end_of_a_start_that_was_counted_counts_no_other(table: Starts) -> None:
    table.began(("a", 5, SOON))
    ended(table, {"a": ""})
    assert table.look("a") == Known(5, 1, "")
    ended(table, {"a": "x"})
    assert table.look("a") == Known(5, 1, "x")


def test_a_newer_signature_begins_anew(table: Starts) -> None:
    table.began(("a", 5, SOON))
    ended(table, {"a": "x"})
    table.began(("a", 6, SOON))

    assert table.look("a") == Known(6, 1, "")


def test_namespaces_are_kept_apart(table: Starts, tmp_path: Path) -> None:
    table.began(("a", 5, SOON))
    other = Starts(tmp_path / "starts", namespace="other", clock=SYSTEM_CLOCK)

    assert other.look("a") is None
    other.close()


def test_a_full_bucket_forgets_what_is_over_first(
    table: Starts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BUCKETS", 1)
    table.began(("old", 1, SOON - 2000))
    for n in range(module.PLACES - 1):
        table.began((f"r{n}", 1, SOON + n))
    assert table.look("old") is not None

    table.began(("one-more", 1, SOON + 100))
    assert table.look("old") is None
    assert table.look("r0") is not None
    assert "is full" not in caplog.text
    table.began(("two-more", 1, SOON + 500))
    assert table.look("two-more") is not None
    assert sum(table.look(f"r{n}") is None for n in range(module.PLACES - 1)) == 1
    assert caplog.text.count("is full") == 1


def test_processes_do_not_lose_each_others_starts(tmp_path: Path) -> None:
    code = (
        "import sys; from jobctl.clock import SYSTEM_CLOCK as c; from jobctl.engine.starts import Starts\n"
        "from pathlib import Path; t = Starts(Path(sys.argv[1]), namespace='ns', clock=c)\n"
        f"for _ in range(500): t.began(('a', 1, {SOON}))"
    )
    path = str(tmp_path / "starts")
    children = [subprocess.Popen([sys.executable, "-c", code, path]) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]

    table = Starts(tmp_path / "starts", namespace="ns", clock=SYSTEM_CLOCK)
    assert table.look("a") == Known(1, 1500, "")
    table.close()


def test_a_full_disk_costs_the_table_and_nothing_else(
    table: Starts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        table.began(("a", 1, SOON))
        table.began(("a", 1, SOON))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert table.look("a") is None
    assert caplog.text.count("cannot be used") == 1
    table.began(("a", 1, SOON))
    assert table.look("a") is not None


def test_the_file_is_small_and_for_us_alone(table: Starts, tmp_path: Path) -> None:
    for n in range(200):
        table.began((f"r{n}", 1, SOON))
    info = (tmp_path / "starts").stat()

    assert info.st_mode & 0o777 == 0o600
    assert info.st_size <= module.BUCKETS * module.PLACES * 20


def test_a_table_that_cannot_be_used_costs_the_protection_and_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "starts").mkdir()
    table = Starts(tmp_path / "starts", namespace="ns", clock=SYSTEM_CLOCK)
    for _ in range(2):
        table.began(("a", 5, SOON))
        table.excuse("a")
        ended(table, {"a": "k"})
        assert table.look("a") is None
    table.close()

    assert [record.message.count("cannot be used") for record in caplog.records] == [1]


def test_several_runs_are_noted_at_once(table: Starts, tmp_path: Path) -> None:
    runs = [(f"run{number}", number, SOON) for number in range(200)]
    table.began(*runs)
    table.began(*runs[:10])
    ended(table, {"never-started": "k"} | {run_id: "kx"[signed % 2] for run_id, signed, _ in runs})

    other = Starts(tmp_path / "starts", namespace="ns", clock=SYSTEM_CLOCK)
    for run_id, signed, _ in runs:
        assert other.look(run_id) == Known(signed, 2 if signed < 10 else 1, "kx"[signed % 2])
    other.close()
