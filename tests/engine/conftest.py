"""Fixtures for tests with real processes."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from clockwork import Clockwork
from real_attempts import Attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jobctl.model.job import JobDef
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path)


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to be root")


@pytest.fixture
def clockwork(store: BlockingStore, server: EmbeddedStore) -> Iterator[Callable[..., Clockwork]]:
    """Makes schedulers of these jobs, on a clock that the test moves."""
    with ExitStack() as stack:

        def make(*jobs: JobDef) -> Clockwork:
            made = Clockwork(store, server, *jobs)
            stack.callback(made.close)
            return made

        yield make
