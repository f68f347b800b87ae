"""Example applications, served by their frameworks' test clients, with a private daemon."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobctl.testing import PrivateDaemon

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example(request):
    """The daemon of the example that the test module names ``EXAMPLE``; its modules can be imported."""
    folder = EXAMPLES / request.module.EXAMPLE
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch, PrivateDaemon(folder / "jobs.toml") as daemon:
        patch.syspath_prepend(folder)
        patch.setenv("JOBCTL_CONFIG", str(daemon.config))
        yield daemon
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
