"""What an exported line's shell makes of an ``env_file``, against what jobctl makes of it."""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobctl.client.migrate.export_env import env_files
from jobctl.client.migrate.export_parts import CommandError
from jobctl.engine.environment import EnvFileError, read_env_file
from jobctl.model.job import JobDef

if TYPE_CHECKING:
    from pathlib import Path

PIECES = [
    "x", "9", " ", "\t", "'", '"', "$(echo no)", "`echo no`", "$HOME", "\\", "#", " # why", ";", "~", "=", ":", "*",
    "é", "\\n", "&", "|", "<", "(", "/", "export ", "A=", "\r", "\x0b", "\u2028", "!", "{1,2}", "%",
]  # fmt: skip


def by_shell(shell: str, path: Path) -> str:
    done = subprocess.run(
        [shell, "-c", f'set -a; . {path}; set +a; printf "%s|" "$A"'], capture_output=True, check=False,
        timeout=30, env={"HOME": "/nowhere", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.mark.parametrize(
    "shell", [path for name in ("dash", "bash") if (path := shutil.which(name))] or ["/bin/sh"]
)
def test_a_shell_that_is_let_near_a_file_reads_it_as_jobctl_does(shell: str, tmp_path: Path):
    draw = random.Random(4)
    path = tmp_path / "vars"
    taken: set[str] = set()
    for _ in range(20_000):
        inner = "".join(draw.choices(PIECES, k=draw.randint(0, 4)))
        quote = draw.choice(["", "'", '"'])
        text = f"{draw.choice(['', '  ', 'export '])}A={quote}{inner}{quote}\n"
        if text in taken:
            continue
        path.write_text(text, encoding="utf-8", newline="")
        try:
            env_files(JobDef(name="a", env_file=(str(path),)), "a shell")
        except CommandError:
            continue
        taken.add(text)
        if len(taken) > 150:
            break
        try:
            expected = read_env_file(str(path))["A"]
        except EnvFileError:
            pytest.fail(f"{text!r} is let through, and jobctl refuses it")
        assert by_shell(shell, path) == f"{expected}|", text
    assert len(taken) > 100
