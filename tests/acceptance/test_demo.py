"""Stories about ``jobctl demo`` and the files it plays with."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.acceptance.host import PACKAGE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(PACKAGE)
DEADLINE = 60


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where the demonstration makes its directory."""
    path = Path(tempfile.mkdtemp(prefix="jcd"))
    yield path
    shutil.rmtree(path)


def start(scratch: Path, *options: str, top: Path = TOP) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "jobctl", "demo", *options],
        # As bare as it gets: no home, no user, no terminal.
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(top), "TMPDIR": str(scratch)},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes_in(scratch: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cwd"])
        if (process.info["cwd"] or "").startswith(str(scratch))
    ]


def nothing_left(scratch: Path) -> bool:
    return not processes_in(scratch) and not list(scratch.iterdir())


def test_demo_shows_a_run_that_succeeds_and_leaves_nothing(scratch: Path) -> None:
    demo = start(scratch)
    output, said = demo.communicate(timeout=DEADLINE)

    assert demo.returncode == 0, said
    for line in ("$ jobctl daemon &", "$ jobctl submit backup files=5", "copied file5",
                 "$ jobctl status", "attempt 3: uploaded", "$ jobctl stop"):  # fmt: skip
        assert line in output
    assert nothing_left(scratch)


def test_demo_keeps_its_directory_when_asked(scratch: Path) -> None:
    demo = start(scratch, "--keep")
    demo.communicate(timeout=DEADLINE)

    (kept,) = scratch.iterdir()
    assert demo.returncode == 0
    assert (kept / "jobs.toml").exists()
    assert not processes_in(scratch)


def begun(scratch: Path) -> subprocess.Popen[str]:
    """Return a demonstration whose job runs."""
    demo = start(scratch)
    wait_until(
        lambda: list(scratch.glob("*/state/spool/*.progress")), deadline=DEADLINE, what="job runs"
    )
    return demo


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_demo_that_is_stopped_leaves_nothing(scratch: Path, number: int, code: int) -> None:
    demo = begun(scratch)
    demo.send_signal(number)
    demo.communicate(timeout=DEADLINE)

    assert demo.returncode == code
    assert nothing_left(scratch)


@pytest.mark.parametrize("victim", ["jobctl daemon", "valkey-server", "sleep 0.3"])
def test_demo_fails_and_leaves_nothing_when_a_part_of_it_dies(scratch: Path, victim: str) -> None:
    demo = begun(scratch)

    def kill() -> bool:
        for child in psutil.Process(demo.pid).children(recursive=True):
            try:
                if victim in " ".join(child.cmdline()):
                    child.kill()
                    return True
            except psutil.NoSuchProcess:
                continue
        return False

    wait_until(kill, what=f"{victim} is there")
    _, said = demo.communicate(timeout=DEADLINE)

    if victim != "valkey-server":  # a store that comes back in time is no failure
        assert demo.returncode not in {0, 130}
        assert "jobctl:" in said
    assert nothing_left(scratch)


def test_killed_demo_leaves_nothing_running(scratch: Path) -> None:
    demo = begun(scratch)
    demo.kill()
    demo.communicate()

    wait_until(lambda: not processes_in(scratch), what="everything has ended")


def test_jobs_toml_at_the_top_has_no_problem() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobctl", "check", "--strict"],
        cwd=TOP, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TOP), "HOME": "/nonexistent"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


@pytest.mark.parametrize(
    "words",
    ["load", "disk-report limit=100", "rotate-logs", "certificate-expiry", "nightly-report",
     "flaky-upload", "backup files=1"],
)  # fmt: skip
def test_every_job_of_jobs_toml_works(words: str, scratch: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobctl", "run", "--retries", *words.split()],
        cwd=TOP, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TOP), "TMPDIR": str(scratch)},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_demo_plays_with_packaged_files(scratch: Path) -> None:
    """An installed package has no clone around it."""
    installed = scratch / "installed"
    shutil.copytree(TOP / "jobctl", installed / "jobctl")
    for name in ("jobs.toml", "examples/reports.py"):
        target = installed / "jobctl" / "demo" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TOP / name, target)
    shown = subprocess.run(
        [sys.executable, "-P", "-c", "from jobctl.cli.stage import find_files; print(find_files())"],
        env={"PYTHONPATH": str(installed)}, cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert shown.stdout.strip() == str(installed / "jobctl" / "demo")
