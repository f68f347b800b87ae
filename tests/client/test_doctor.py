"""What ``jobctl doctor`` makes of a host; files and directories are real."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobctl.client.doctor import (
    ERROR,
    OK,
    WARNING,
    binary_check,
    found_by,
    host_check,
    local_checks,
    queue_check,
    socket_check,
    state_checks,
    zone_check,
)
from jobctl.clock import SYSTEM_CLOCK
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef
from jobctl.model.pool import PoolDef

if TYPE_CHECKING:
    from pathlib import Path


def a_config(
    tmp_path: Path, *, pools: tuple[str, ...] = ("default",), **settings: object
) -> Config:
    return Config(
        settings=Settings(**{"state_dir": str(tmp_path / "state"), **settings}),
        jobs={"a": JobDef(name="a", command="true", queue="reports", source="jobs.toml:1")},
        pools={"default": PoolDef(name="default", slots=1, queues=pools)},
        path=str(tmp_path / "jobs.toml"),
    )


def test_every_check_that_is_not_ok_has_a_remedy(tmp_path: Path) -> None:
    config = a_config(tmp_path, store_binary="/bin/no-such-server")
    checks = list(local_checks(config, explicit=None, clock=SYSTEM_CLOCK))

    assert checks[0].name == "configuration"
    assert {check.status for check in checks} > {OK}
    assert all(check.remedy for check in checks if check.status != OK)


def test_configuration_says_why_it_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOBCTL_CONFIG", raising=False)
    assert "--config" in found_by("x")
    assert "looked for" in found_by(None)
    (tmp_path / "jobs.toml").touch()
    assert "this directory" in found_by(None)
    monkeypatch.setenv("JOBCTL_CONFIG", "x")
    assert "JOBCTL_CONFIG" in found_by(None)


@pytest.mark.parametrize(
    ("pools", "status"), [(("default",), WARNING), (("default", "reports"), OK), (("*",), OK)]
)
def test_queue_without_pool_is_named(tmp_path: Path, pools: tuple[str, ...], status: str) -> None:
    check = queue_check(a_config(tmp_path, pools=pools))

    assert check.status == status
    assert ("reports" in check.detail) == (status == WARNING)


@pytest.mark.skipif(os.geteuid() != 0, reason="others than root may name no user at all")
def test_user_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    config.jobs["a"] = JobDef(name="a", command="true", user="no-such-user", source="jobs.toml:1")

    assert host_check(config).status == WARNING
    assert "jobs.a.user" in host_check(config).detail


def test_zone_and_its_data_are_shown(tmp_path: Path) -> None:
    check = zone_check(a_config(tmp_path, timezone="Europe/Berlin"), clock=SYSTEM_CLOCK)

    assert "Europe/Berlin (timezone in [jobctl])" in check.detail
    assert "zone data" in check.detail


def test_state_directory_that_can_be_made_is_fine(tmp_path: Path) -> None:
    (check,) = state_checks(a_config(tmp_path))

    assert check.status == OK


def test_state_directory_that_others_may_write_is_a_warning(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)

    assert [check.status for check in state_checks(config)] == [WARNING, OK]


def test_state_directory_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    (tmp_path / "state").touch()

    assert next(iter(state_checks(config))).status == ERROR


@pytest.mark.skipif(os.geteuid() == 0, reason="root may make it anywhere")
def test_state_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    (check,) = state_checks(a_config(tmp_path))

    assert check.status == ERROR


def test_store_program_has_a_version(tmp_path: Path) -> None:
    assert "version" in binary_check(a_config(tmp_path)).detail


def test_socket_that_others_can_open_is_an_error(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    folder = tmp_path / "state" / "store"
    folder.mkdir(parents=True)
    socket = folder / "valkey.sock"
    socket.touch()
    socket.chmod(0o777)
    folder.chmod(0o755)
    assert socket_check(config).status == ERROR
    folder.chmod(0o700)
    assert socket_check(config).status == OK
