"""Outcomes of runs that the store has lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.store import unrecorded
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ITEM = Settlement("a" * 16, 1, "k", "", 0.0, ("rc", 0))


def test_outcome_is_kept_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert unrecorded.kept(tmp_path) == (0, "")
    unrecorded.keep(tmp_path, ITEM, now=1.0)
    assert unrecorded.kept(tmp_path) == (1, ITEM.id)
    assert f"(succeeded) is in {tmp_path / unrecorded.NAME}" in caplog.text


def test_full_file_is_not_said_to_hold_the_outcome(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unrecorded, "MOST", 0)
    unrecorded.keep(tmp_path, ITEM, now=1.0)
    assert "is not kept" in caplog.text
    assert unrecorded.kept(tmp_path) == (0, "")


def test_missing_directory_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unrecorded.keep(tmp_path / "gone", ITEM, now=1.0)
    assert "could not be kept: No such file or directory" in caplog.text
