from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobctl.engine.host_journal import HostJournal, since_boot
from jobctl.engine.roster import PoolFiles
from jobctl.engine.strays import AttemptProcess, attempt_processes, unclaimed
from jobctl.engine.survivors import mark
from jobctl.engine.tree import TICKS, read_process
from jobctl.store.verify.finding import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = "aaaabbbbccccdddd"
OWNER = "h1~a/p.1"


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for process in made:
        process.kill()
        process.communicate()


def command(state: Path, run_id: str = RUN, *, epoch: int = 3) -> subprocess.Popen[bytes]:
    """A process with the environment of an attempt."""
    environment = {
        "JOBCTL_SUPERVISOR": mark(OWNER, slot=0, epoch=epoch),
        "JOBCTL_RUN_ID": run_id,
        "JOBCTL_RESULT_FILE": f"{state}/spool/p.1-0.{run_id}.1.result",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()  # it runs, so /proc has its environment
    return process


def test_commands_of_this_state_directory_are_found(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    processes += [command(tmp_path / "mine"), command(tmp_path / "other")]

    assert attempt_processes(tmp_path / "mine") == [AttemptProcess(processes[0].pid, RUN, OWNER, 3)]


def test_python_attempt_is_found_by_the_journal_of_its_pool(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    interpreter = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    processes.append(interpreter)
    assert interpreter.stdout is not None
    interpreter.stdout.readline()
    found = read_process(interpreter.pid)
    assert found is not None
    files = PoolFiles(tmp_path, OWNER)
    files.directory.mkdir(parents=True)
    intended = f'["i","{RUN}",3,1,0,{since_boot():.3f},"python","j",0,0,1,0,null]\n'
    started = f'["s","{RUN}",{interpreter.pid},{found.start / TICKS:.3f},{since_boot():.3f},1.0]\n'
    files.journal.write_text(intended + started)
    assert attempt_processes(tmp_path) == [AttemptProcess(interpreter.pid, RUN, OWNER, 3)]

    journal = HostJournal(files.journal)
    journal.forget()
    journal.close()
    assert attempt_processes(tmp_path) == []


def test_process_that_has_ended_is_no_stray(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    ended = command(tmp_path)
    processes.append(ended)
    ended.kill()
    ended.wait()

    assert attempt_processes(tmp_path) == []


@pytest.mark.parametrize(
    ("claim", "strays"),
    [
        (("c", OWNER, "3"), 0),
        (("r", OWNER, "3"), 0),
        (("r", OWNER, "4"), 1),
        (("r", "h2~b/p.1", "3"), 1),
        (("q", OWNER, "3"), 1),
        (("k", OWNER, "3"), 1),
        (("", "", ""), 1),
    ],
)
def test_only_the_claim_of_its_owner_and_epoch_covers_a_process(
    claim: tuple[str, str, str], strays: int
) -> None:
    found = unclaimed(
        [AttemptProcess(41, RUN, OWNER, 3), AttemptProcess(42, RUN, OWNER, 3)], {RUN: claim}
    )

    assert [one.kind for one in found] == [Kind.PROCESS] * strays
    if strays:
        assert (found[0].key, found[0].run) == ("pid 41", RUN)
        assert "2 processes" in found[0].what


def test_process_of_a_run_the_store_does_not_know_is_a_stray() -> None:
    assert unclaimed([AttemptProcess(41, RUN, OWNER, 3)], {})
