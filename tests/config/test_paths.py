"""Which file, which state directory: in the documented order, and said when there is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobctl.config.paths import cache_dir, default_state_dir, find_config
from jobctl.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def elsewhere(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert home.exists()
    path = tmp_path / "cwd"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def test_the_flag_then_the_variable_then_the_places(
    home: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = home / ".config" / "jobctl" / "jobs.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_config(None) == str(own)

    moved = home / "xdg" / "jobctl" / "jobs.toml"
    moved.parent.mkdir(parents=True)
    moved.touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert find_config(None) == str(moved)

    here = elsewhere / "jobs.toml"
    here.touch()
    assert find_config(None) == str(here)

    monkeypatch.setenv("JOBCTL_CONFIG", "not/there.toml")
    assert find_config(None) == str(elsewhere / "not/there.toml")
    assert find_config("~/x.toml") == str(home / "x.toml")
    monkeypatch.setenv("JOBCTL_CONFIG", "")
    assert find_config(None) == str(here)


@pytest.mark.skipif(os.path.exists("/etc/jobctl/jobs.toml"), reason="jobctl is set up here")  # noqa: PTH110
def test_without_any_the_places_and_the_remedy_are_said(home: Path, elsewhere: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(None)

    said = str(caught.value)
    for words in (f"{elsewhere}/jobs.toml", f"{home}/.config/jobctl", "/etc/jobctl", "jobctl init"):
        assert words in said


def test_a_directory_that_is_gone_is_no_traceback(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.rmdir()

    with pytest.raises(ConfigError, match="gone"):
        find_config("jobs.toml")
    with pytest.raises(ConfigError, match=r"no jobs\.toml found"):
        find_config(None)
    monkeypatch.chdir("/")


def test_the_state_directory_is_systemds_or_roots_or_the_users(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_state_dir() == "/var/lib/jobctl"

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_state_dir() == f"{home}/.local/state/jobctl"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_state_dir() == f"{home}/.local/state/jobctl"
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg/")
    assert default_state_dir() == "/xdg/jobctl"

    monkeypatch.setenv("STATE_DIRECTORY", "/a:/b")
    assert default_state_dir() == "/a"


def test_without_a_home_there_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)

    assert cache_dir() is None
    with pytest.raises(ConfigError, match="state_dir"):
        default_state_dir()
