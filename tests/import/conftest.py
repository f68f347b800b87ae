"""Fixtures for tests of ``jobctl import`` and ``jobctl export``."""

from __future__ import annotations

import io
import json
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.cli.start import start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Done:
    """What one use of the command left."""

    code: int
    out: str
    err: str

    @property
    def toml(self) -> dict[str, Any]:
        return tomllib.loads(self.out)

    @property
    def jobs(self) -> dict[str, Any]:
        return self.toml.get("jobs", {})

    @property
    def job(self) -> dict[str, Any]:
        """The only job."""
        (job,) = self.jobs.values()
        return job

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration or cache of whoever runs the tests."""
    monkeypatch.delenv("JOBCTL_CONFIG", raising=False)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def jobctl(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run ``jobctl WORDS…`` with something on standard input."""

    def run(*words: str, stdin: str | bytes = "") -> Done:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        capsys.readouterr()
        code = start(list(words))
        out, err = capsys.readouterr()
        return Done(code=code, out=out, err=err)

    return run


@pytest.fixture
def crontab(jobctl: Callable[..., Done]) -> Callable[..., Done]:
    """Import the text of a crontab with a user column, unless words say otherwise."""

    def run(text: str, *words: str) -> Done:
        return jobctl("import", "crontab", "-", *(words or ("--system",)), stdin=text)

    return run
