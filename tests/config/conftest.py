"""Builders for configurations written to a directory of their own."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from jobctl.config.validate import Checked, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Checked]:
    """Return what comes of a text as jobs.toml; keywords are other files, ``env`` the variables."""

    def run(
        text: str, *, files: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None
    ) -> Checked:
        for name, content in {"jobs.toml": text, **(files or {})}.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(dedent(content))
        return validate(str(tmp_path / "jobs.toml"), environ=env or {}, cpus=3)

    return run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test's own, with no XDG or jobctl variable set."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("JOBCTL_CONFIG", raising=False)
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    return path
