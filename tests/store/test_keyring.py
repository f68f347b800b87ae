"""The key file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import ConfigError
from jobctl.model.config import Security, Settings
from jobctl.store import keyring
from jobctl.store.keyring import NoKeysError, Signing

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.errors import JobctlError

SHARED = Settings(redis="redis://h:1/0", state_dir="/nowhere")


def signing(path: Path, troubles: list[JobctlError] | None = None) -> Signing:
    kept = [] if troubles is None else troubles
    return Signing(Security(key_file=str(path)), SHARED, now=lambda: 1.9e9, on_trouble=kept.append)


def test_what_is_written_is_read_and_for_us_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "k")
    made = [keyring.new_key("20300101") for _ in range(2)]
    keyring.write(path, made, fresh=True)

    assert [(key.id, key.secret) for key in keyring.load(path)] == [
        (key.id, key.secret) for key in made
    ]
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        keyring.write(path, made, fresh=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no key"),
        ("a\n", ":1: this is no key"),
        (f"# x\n\nUPPER {'00' * 32}\n", ":3: this is no key"),
        (f"a {'00' * 8}\n", "at least 64"),
        (f"a {'00' * 32}\na {'11' * 32}\n", "two keys of the same id"),
        ("a " + "zz" * 32, ":1: this is no key"),
    ],
)
def test_what_is_no_key_file_is_refused_without_showing_it(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "k"
    path.touch(mode=0o600)
    path.write_text(text)

    with pytest.raises(ConfigError, match=said) as raised:
        keyring.load(str(path))
    assert "00" * 8 not in str(raised.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k"
    keyring.write(str(path), [keyring.new_key("d")])
    path.chmod(mode)

    with pytest.raises(ConfigError, match="chmod 600"):
        keyring.load(str(path))


def test_other_things_than_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NoKeysError, match="jobctl keys init"):
        keyring.load(str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="not a regular file"):
        keyring.load(str(tmp_path))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        keyring.load(str(tmp_path / "fifo"))


def test_a_changed_file_counts_at_once_and_a_bad_one_is_told_of_once(tmp_path: Path) -> None:
    path, troubles = tmp_path / "k", []
    keyring.write(str(path), [first := keyring.new_key("a")])
    keys = signing(path, troubles)
    assert keys.ring is not None
    assert keys.ring.signer.id == first.id

    keyring.write(str(path), [first, second := keyring.new_key("b")])
    assert keys.ring.signer.id == second.id
    path.chmod(0o644)
    for _ in range(3):
        assert keys.ring.signer.id == second.id
    assert len(troubles) == 1
    path.unlink()
    for _ in range(3):
        assert keys.ring.signer.id == second.id
    assert len(troubles) == 2


def test_the_key_of_an_embedded_store_is_made_when_there_is_a_place_for_it(tmp_path: Path) -> None:
    def ring_of(state: Path) -> object:
        settings = Settings(state_dir=str(state))
        security = Security(key_file=keyring.own_path(str(state)))
        return Signing(security, settings, now=lambda: 1.9e9, on_trouble=lambda _: None).ring

    assert ring_of(tmp_path / "absent") is None
    assert ring_of(tmp_path) is not None
    assert (tmp_path / "signing.keys").stat().st_mode & 0o777 == 0o600


def test_a_shared_store_never_makes_a_key_by_itself(tmp_path: Path) -> None:
    with pytest.raises(NoKeysError):
        _ = signing(tmp_path / "k").ring
    assert not list(tmp_path.iterdir())


def test_a_configured_id_must_be_there(tmp_path: Path) -> None:
    keyring.write(str(tmp_path / "k"), [keyring.new_key("a")])
    security = Security(key_file=str(tmp_path / "k"), sign_with="other")

    with pytest.raises(ConfigError, match="other"):
        keyring.ring(security, namespace="ns")
