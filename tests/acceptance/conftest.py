"""Fixtures for stories with a real daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with the embedded store; what that holds at the end of the story must be sound.

    Nothing of it is left afterwards.
    """
    host = Host()
    yield host
    try:
        host.check()
    finally:
        host.close()
