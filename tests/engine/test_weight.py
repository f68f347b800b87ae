"""What the processes of a daemon that is at rest do not have in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobctl.engine import keeper

DEAR = frozenset(
    (
        "croniter", "email", "http", "multiprocessing", "psutil", "pydantic", "redis", "rich",
        "secrets", "shutil", "ssl", "tomllib", "typer", "unittest", "zoneinfo",
    )
)  # fmt: skip


def loaded(code: str, *options: str) -> set[str]:
    command = [sys.executable, *options, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", ["jobctl.engine.daemon", "jobctl.engine.pool_main"])
def test_process_has_only_what_it_needs_at_rest(module: str) -> None:
    bare = loaded("")

    assert (loaded(f"import {module}") - bare) & DEAR == set()


def test_supervisor_does_without_openssl() -> None:
    assert loaded("import jobctl.engine.daemon") & {"_hashlib", "_ssl"} == set()


def test_keeper_has_next_to_nothing() -> None:
    code = f"sys.path.insert(0, {str(Path(keeper.__file__).parent)!r})\nimport keeper"

    assert (
        loaded(code, "-I", "-S") & {"collections", "enum", "functools", "signal", "typing"} == set()
    )
