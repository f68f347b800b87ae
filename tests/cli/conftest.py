"""Fixtures for tests of the command."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from project import Project, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jobctl.store.blocking import BlockingStore


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration, colours or cache of whoever runs the tests."""
    for name in (
        "JOBCTL_CONFIG",
        "NO_COLOR",
        "FORCE_COLOR",
        "JOBCTL_DEBUG",
        "JOBCTL_PROGRESS_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(__import__("jobctl").__path__[0]).removesuffix("/jobctl"))


@pytest.fixture
def make_project(tmp_path: Path, store: BlockingStore) -> Iterator[Callable[..., Project]]:
    """Makes projects on the emptied test server; ``socket`` names another place."""
    with ExitStack() as stack:

        def make(socket: str = store.address.path, **options: str) -> Project:
            return stack.enter_context(Project(tmp_path, socket, **options))

        yield make


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project()


@pytest.fixture
def worker(project: Project) -> Worker:
    return Worker(project)
