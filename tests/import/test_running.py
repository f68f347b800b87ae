"""What was imported runs: real processes, with cron's environment and input."""

from __future__ import annotations

import getpass
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("words", [(), ("--native",)], ids=["exact", "native"])
@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("cat%one%two 100\\%", "one\ntwo 100%\n"),
        ('echo "$A" $PATH', "x  y /usr/bin:/bin\n"),
        ("cd /usr && pwd", "/usr\n"),
        ("[ -d /usr ] && nice -n 1 timeout 20 echo in time", "in time\n"),
        ("date -d @0 +\\%Y", "1970\n"),
        ("echo $LOGNAME", f"{getpass.getuser()}\n"),
    ],
)
def test_an_imported_line_prints_what_cron_would_have_mailed(
    line: str, printed: str, words: tuple[str, ...], jobctl: Callable, tmp_path: Path
):
    table = f"A='x  y'\n0 1 * * * {line}\n"
    imported = jobctl("import", "crontab", "-", "--user", *words, stdin=table)
    (name,) = imported.jobs
    head = f'[jobctl]\nstate_dir = "{tmp_path}/state"\n\n'
    (tmp_path / "jobs.toml").write_text(head + imported.out, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "jobctl", "run", "--quiet", name], cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_an_imported_guard_skips_or_fails_as_it_says(jobctl: Callable, tmp_path: Path):
    line = "0 1 * * * [ -x /no/such ] && /no/such\n"
    codes = []
    for words in ((), ("--native",)):
        imported = jobctl("import", "crontab", "-", "--user", *words, stdin=line)
        head = f'[jobctl]\nstate_dir = "{tmp_path}/state"\n\n'
        (tmp_path / "jobs.toml").write_text(head + imported.out, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "jobctl", "run", "--quiet", *imported.jobs], cwd=tmp_path, capture_output=True,
            check=False, timeout=60,
        )  # fmt: skip
        codes.append(done.returncode)
    assert codes == [1, 0]
