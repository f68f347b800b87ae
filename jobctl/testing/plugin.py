"""The pytest plugin: fixtures that are there wherever jobctl is installed.

pytest loads it in every session, so it imports nothing of jobctl before a test asks for a fixture.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobctl import Client
    from jobctl.testing import Eager, PrivateDaemon

VARIABLE = "JOBCTL_CONFIG"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting that names the jobs."""
    parser.addini(
        "jobctl_jobs",
        "the jobs.toml of the tests; default: jobs.toml in the root directory",
        type="string",
        default="jobs.toml",
    )


@pytest.fixture(scope="session")
def jobctl_jobs(pytestconfig: pytest.Config) -> str | Path:
    """Name the jobs of the tests: the path of a jobs.toml, or the text of one as a ``str``.

    The file that the setting ``jobctl_jobs`` names. Write a fixture of this name to say otherwise.
    """
    return pytestconfig.rootpath / str(pytestconfig.getini("jobctl_jobs"))


@pytest.fixture(scope="session")
def jobctl_daemon(jobctl_jobs: str | Path, pytestconfig: pytest.Config) -> Iterator[PrivateDaemon]:
    """Run a private daemon for the whole session, with an embedded store.

    Meanwhile ``$JOBCTL_CONFIG`` names its jobs.toml, so that clients of the program under test,
    its usual one too, use it when they are made.
    """
    from jobctl import configure  # noqa: PLC0415 (only who asks for it pays)
    from jobctl.testing import PrivateDaemon  # noqa: PLC0415 (same)

    with PrivateDaemon(jobctl_jobs, root=pytestconfig.rootpath) as daemon:
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = str(daemon.config)
        configure()
        try:
            yield daemon
        finally:
            if before is None:
                os.environ.pop(VARIABLE, None)
            else:
                os.environ[VARIABLE] = before
            configure()


@pytest.fixture
def jobctl_client(jobctl_daemon: PrivateDaemon) -> Iterator[Client]:
    """Give a client of the session's daemon; what the test leaves unfinished is revoked afterwards."""
    yield jobctl_daemon.client
    jobctl_daemon.clear()


@pytest.fixture
def jobctl_eager() -> Iterator[Eager]:
    """Eager mode for one test: clients call the functions of jobs at once, without a store."""
    from jobctl.testing import eager  # noqa: PLC0415 (only who asks for it pays)

    with eager() as runs:
        yield runs
