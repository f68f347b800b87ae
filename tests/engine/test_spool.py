"""What is cleared away in the spool when a pool follows a dead one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.engine import spool
from jobctl.engine.journal_content import Started
from jobctl.engine.roster import PoolFiles

if TYPE_CHECKING:
    from pathlib import Path

RUNS = Started(
    run_id="runs",
    epoch=1,
    attempt=2,
    slot=1,
    pid=77,
    born=0.0,
    begun=0.0,
    started_at=0.0,
    kind="p",
    job="j",
    max_attempts=3,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "spool"
    directory.mkdir()
    return directory


def cleared(directory: Path, *names: str) -> set[str]:
    for name in names:
        (directory / name).write_text("")
    files = PoolFiles(directory.parent, "s/p.3")
    spool.clear(files, under_way=[RUNS], logs={1})
    return {path.name for path in directory.iterdir()}


def test_attempts_under_way_keep_their_files(directory: Path) -> None:
    (directory / "p.3-1.runs.2").mkdir()
    mine = {"p.3-1.runs.2.reply", "p.3-1.runs.2.result", "p.3-1.77.tally", "p.3-1.log"}

    assert cleared(directory, *mine) == {*mine, "p.3-1.runs.2"}


def test_files_of_dead_interpreters_and_ended_attempts_go(directory: Path) -> None:
    (directory / "p.3-1.old.1").mkdir()
    (directory / "p.3-1.old.1" / "job.result").write_text("1")

    assert not cleared(
        directory,
        "p.3-0.77.tally",
        "p.3-1.78.tally",
        "p.3-1.runs.1.reply",
        "p.3-1.runs2.2.reply",
        "p.3-9.log",
    )


def test_other_pools_keep_theirs(directory: Path) -> None:
    theirs = {"p.31-1.78.tally", "q.3-1.78.tally", "p.2-1.old.1.reply"}

    assert cleared(directory, *theirs) == theirs
