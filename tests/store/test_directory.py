from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from jobctl.errors import ConfigError
from jobctl.store import directory as files

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
30 22 0:40 / /srv rw,relatime - nfs4 server:/export rw,vers=4.2
31 30 8:2 / /srv/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /my\\040disk rw - cifs //server/share rw
33 22 0:42 / /remote rw shared:9 master:1 - fuse.sshfs me@host: rw
34 22 8:3 / /twice rw - ext4 /dev/sdc1 rw
35 34 0:43 / /twice rw - nfs server:/b rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/var/lib/jobctl", "ext4"),
        ("/srv/jobctl/store", "nfs4"),
        ("/srv", "nfs4"),
        ("/srvother", "ext4"),
        ("/srv/local/store", "xfs"),
        ("/my disk/store", "cifs"),
        ("/remote/a", "fuse.sshfs"),
        ("/twice/a", "nfs"),
    ],
)
def test_file_system_of_a_directory_is_known(mounts: Path, place: str, kind: str) -> None:
    assert files.file_system(Path(place), mounts) == kind


@pytest.mark.parametrize("place", ["/srv/store", "/my disk", "/remote", "/twice"])
def test_network_file_system_is_refused(mounts: Path, place: str) -> None:
    with pytest.raises(ConfigError, match="network file system"):
        files.refuse_network_file_system(Path(place), mounts)


@pytest.mark.parametrize("place", ["/var", "/srv/local"])
def test_local_file_system_is_accepted(mounts: Path, place: str) -> None:
    files.refuse_network_file_system(Path(place), mounts)


def test_unknown_mounts_are_accepted(tmp_path: Path) -> None:
    files.refuse_network_file_system(tmp_path, tmp_path / "none")
    files.refuse_network_file_system(tmp_path)


def test_directory_becomes_private(tmp_path: Path) -> None:
    place = tmp_path / "state" / "store"
    files.prepare(place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    place.chmod(0o755)
    files.prepare(place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "valkey.conf").stat().st_mode) == 0o600


def test_changed_configuration_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "valkey.conf").write_text("appendonly no\n")
    files.prepare(tmp_path)
    assert "appendfsync always" in (tmp_path / "valkey.conf").read_text()


def test_place_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(ConfigError, match="cannot hold the store"):
        files.prepare(tmp_path / "store")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="not writable"):
        files.prepare(tmp_path / "store")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to another user"):
        files.prepare(tmp_path)


def test_long_log_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "valkey.log"
    log.write_bytes(b"x" * 100)
    files.set_log_aside(tmp_path)
    assert log.exists()
    log.write_bytes(b"x" * (files.LOG_LIMIT + 1))
    files.set_log_aside(tmp_path)
    assert not log.exists()
    assert (tmp_path / "valkey.log.1").exists()


def test_end_of_the_log_comes_with_a_hint(tmp_path: Path) -> None:
    log = tmp_path / "valkey.log"
    log.write_text("old line\n")
    start = files.log_size(tmp_path)
    with log.open("a") as file:
        file.write("Can't write: No space left on device\n")
    tail = files.log_tail(tmp_path, start)
    assert "old line" not in tail
    assert "No space left on device\nthe disk is full" in tail


def test_missing_log_is_no_trouble(tmp_path: Path) -> None:
    assert files.log_tail(tmp_path) == ""
    assert files.log_size(tmp_path) == 0
