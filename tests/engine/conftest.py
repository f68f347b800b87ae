"""Fixtures for tests with real processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from real_attempts import Attempts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path)


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to be root")
