"""The lease alone: when others may take over what this host runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.engine import lease
from jobctl.engine.lease import STRICT, Lease
from jobctl.engine.rescuer import TTL

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("shared", [True, False])
def test_a_lease_of_a_shared_store_runs_out_and_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shared: bool
) -> None:
    now = 1000.0
    monkeypatch.setattr(lease, "since_boot", lambda: now)
    found = Lease(tmp_path / "p.lease", shared=shared)
    assert not found.over
    now += TTL * STRICT
    assert found.over is shared
    found.renew(now)
    assert not found.over


def test_who_was_killed_for_the_lease_is_known(tmp_path: Path) -> None:
    found = Lease(tmp_path / "p.1.lease", shared=True)
    assert not found.took(12)
    (tmp_path / "p.1.exits").write_text(
        "123 5 9 0 0 1 0 0 7.0 1\nlease 12 77\n12 77 9 0 0 1 0 0 7.0 1\n"
    )
    assert found.took(12)
    assert not found.took(1)
    assert not found.took(123)
