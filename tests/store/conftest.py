from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.store.blocking import BlockingStore


@pytest.fixture
def world(store: BlockingStore) -> Iterator[World]:
    """An empty namespace; at the end it must be free of contradictions."""
    world = World(store)
    yield world
    world.check()
    assert world.raw("LRANGE", world.keys.prefix + "bad", 0, -1) == []


@pytest.fixture
def broken_world(store: BlockingStore) -> World:
    """An empty namespace for tests that damage it."""
    return World(store)
