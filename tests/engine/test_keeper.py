"""The keeper alone: a real one, with a pool that is any program."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.engine import keeper
from jobctl.engine.host_journal import since_boot
from jobctl.engine.journal_content import Started
from jobctl.engine.orphans import outlast_keepers
from jobctl.engine.survivors import death
from jobctl.engine.tree import read_process

if TYPE_CHECKING:
    from collections.abc import Iterator

STAND_IN = """
import os, sys
sys.argv = ["keeper.py"]
sys.path.insert(0, os.environ["ENGINE"])
import keeper
keeper.POOL = ("-c", os.environ["POOL"])
keeper.main(os.environ["EXITS"], [])
"""
POOL = """
import os, subprocess, time
child = subprocess.Popen(["/bin/sh", "-c", os.environ["JOB"]], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


class Kept:
    """A keeper, its pool, and the pool's child."""

    def __init__(self, directory: Path, job: str) -> None:
        self.exits = directory / "p.1.exits"
        self.lease = directory / "p.1.lease"
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", STAND_IN, keeper.__file__],
            env={
                "ENGINE": str(Path(keeper.__file__).parent),
                "POOL": POOL,
                "JOB": job,
                "EXITS": str(self.exits),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.job = int(self.process.stdout.readline())
        found = read_process(self.job)
        assert found is not None
        self.pool = found.parent
        self.start = found.start
        self.started = Started(
            run_id="r", epoch=1, attempt=1, slot=0, pid=self.job, born=since_boot(),
            begun=since_boot(), started_at=0.0, kind="command", job="j",
        )  # fmt: skip


@pytest.fixture
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kept]:
    found = Kept(tmp_path, request.param)
    yield found
    for pid in (found.job, found.pool, found.process.pid):
        try:
            os.killpg(pid, signal.SIGKILL) if pid == found.job else os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    found.process.wait()
    assert found.process.stdout is not None
    found.process.stdout.close()


@pytest.mark.parametrize("kept", ["sleep 0.3; exit 7", "sleep 0.3; kill -9 $$"], indirect=True)
def test_end_of_an_orphan_is_written_down(kept: Kept) -> None:
    os.kill(kept.pool, signal.SIGKILL)

    assert kept.process.wait(10) == 0
    found = death(kept.started, [kept.exits])
    assert found is not None
    assert found.status in (7 << 8, 9)
    assert abs(found.ended - since_boot()) < 10
    assert f"pool {kept.pool} 9" in kept.exits.read_text()


def end(pid: int) -> None:
    """Kill a process of somebody else and wait until it is gone."""
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([process], [], [], 10)[0]
    os.close(process)


@pytest.mark.parametrize("kept", ["exec sleep 60"], indirect=True)
def test_a_supervisor_leaves_after_its_keepers_that_have_nothing_to_keep(kept: Kept) -> None:
    async def leaving() -> bool:
        patience = 60.0
        await outlast_keepers(patience)  # It has its pool.
        kept.process.send_signal(signal.SIGSTOP)
        end(kept.pool)
        await outlast_keepers(patience)  # It has the job.
        end(kept.job)
        late = asyncio.ensure_future(outlast_keepers(patience))
        in_vain = asyncio.ensure_future(outlast_keepers(0.01))
        await in_vain
        waits = not late.done()
        kept.process.send_signal(signal.SIGCONT)
        await late
        return waits

    assert asyncio.run(leaving())
    found = read_process(kept.process.pid)
    assert found is not None
    assert found.zombie


@pytest.mark.parametrize("kept", ["sleep 60"], indirect=True)
def test_keeper_goes_on_after_signals_that_end_others(kept: Kept) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        kept.process.send_signal(number)
    os.killpg(kept.job, signal.SIGKILL)
    os.kill(kept.pool, signal.SIGKILL)

    assert kept.process.wait(10) == 0
    assert death(kept.started, [kept.exits]) is not None


@pytest.mark.parametrize("kept", ["sleep 60"], indirect=True)
def test_keeper_kills_a_strict_attempt_when_the_lease_has_run_out(kept: Kept) -> None:
    kept.lease.write_text(f"{since_boot() + 1.0:.3f}\n{kept.job} {kept.start}")
    os.kill(kept.pool, signal.SIGKILL)
    begun = time.monotonic()

    assert kept.process.wait(10) == 0
    assert 0.5 < time.monotonic() - begun < 5
    found = death(kept.started, [kept.exits])
    assert found is not None
    assert found.status == signal.SIGKILL


@pytest.mark.parametrize("kept", ["sleep 60"], indirect=True)
def test_keeper_kills_a_strict_attempt_of_a_pool_that_was_stopped(kept: Kept) -> None:
    """A stopped pool keeps no lease, and the others do not know that it is alive."""
    kept.lease.write_text(f"{since_boot() - 1.0:.3f}\n{kept.job} {kept.start}")
    os.kill(kept.pool, signal.SIGSTOP)

    deadline = time.monotonic() + 3 * keeper.GUARD_EVERY
    while read_process(kept.job) is not None and time.monotonic() < deadline:
        state = Path(f"/proc/{kept.job}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("the attempt lives")


@pytest.mark.parametrize("kept", ["sleep 60"], indirect=True)
def test_keeper_leaves_a_renewed_lease_alone(kept: Kept) -> None:
    """At one look it had run out, at the next it had not: the pool was late, and is there."""
    kept.lease.write_text(f"{since_boot() + keeper.GUARD_EVERY / 2:.3f}\n{kept.job} {kept.start}")
    renewed = time.monotonic() + 1.25 * keeper.GUARD_EVERY
    while time.monotonic() < renewed:
        time.sleep(0.05)
    kept.lease.write_text(f"{since_boot() + 60:.3f}\n{kept.job} {kept.start}")

    over = time.monotonic() + 1.5 * keeper.GUARD_EVERY
    while time.monotonic() < over:
        assert os.waitid(os.P_PID, kept.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        assert Path(f"/proc/{kept.job}/stat").read_text().rpartition(")")[2].split()[0] == "S"
        time.sleep(0.05)


@pytest.mark.parametrize("kept", ["sleep 1; exit 3"], indirect=True)
def test_lease_of_another_process_with_the_same_number_kills_nobody(kept: Kept) -> None:
    kept.lease.write_text(f"{since_boot() - 5:.3f}\n{kept.job} {kept.start - 1000}")
    os.kill(kept.pool, signal.SIGKILL)

    assert kept.process.wait(10) == 0
    found = death(kept.started, [kept.exits])
    assert found is not None
    assert found.status == 3 << 8
