"""Example applications, served by their frameworks' test clients, with a private daemon."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from jobctl.testing import PrivateDaemon

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example(request, tmp_path_factory):
    """The daemon of a copy of the example that the test module names ``EXAMPLE``.

    Its modules can be imported meanwhile.
    """
    folder = tmp_path_factory.mktemp("example") / request.module.EXAMPLE
    shutil.copytree(
        EXAMPLES / request.module.EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__")
    )
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch, PrivateDaemon(folder / "jobs.toml") as daemon:
        daemon.folder = folder
        patch.syspath_prepend(folder)
        patch.setenv("JOBCTL_CONFIG", str(daemon.config))
        yield daemon
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
