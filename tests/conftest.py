"""Fixtures for the whole suite; the store is always a real server."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from jobctl.store.binary import find_binary
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.embedded import EmbeddedStore

if TYPE_CHECKING:
    from collections.abc import Iterator


# Who wants no bytecode written saves files that are ignored, and has each worker compile all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
WORKERS_MOST = 16
# How quickly a busy machine makes examples says nothing about what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_xdist_auto_num_workers() -> int:
    """Return three times the processors for ``-n auto``: many tests wait.

    More would wait better, but each begins with 4 s of work to collect all tests.
    """
    return min(3 * len(os.sched_getaffinity(0)), WORKERS_MOST)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile what no run before this one compiled: else each worker would, all at the same time."""
    config = session.config
    if config.getoption("dist", "no") == "no" or config.args != config.getini("testpaths"):
        return
    modules = [path for path in map(Path, config.args) for path in sorted(path.rglob("test_*.py"))]
    if all(map(is_compiled, modules)):
        return
    shares = len(os.sched_getaffinity(0))
    collect = [sys.executable, "-m", "pytest", "-qq", "-n0", "--collect-only"]
    running = [
        subprocess.Popen([*collect, *modules[first::shares]], stdout=subprocess.DEVNULL)
        for first in range(shares)
    ]
    for process in running:
        process.wait()  # what is wrong with a module, the workers tell


def is_compiled(module: Path) -> bool:
    """Say if pytest has written down its form of ``module``, which costs it much to make."""
    made = (module.parent / "__pycache__").glob(
        f"{module.stem}.{sys.implementation.cache_tag}-pytest-*"
    )
    return any(path.stat().st_mtime >= module.stat().st_mtime for path in made)


@pytest.fixture(scope="session")
def server_binary() -> Path:
    """The program that serves the tests; ``JOBCTL_TEST_STORE`` names another one."""
    return find_binary(os.environ.get("JOBCTL_TEST_STORE"))


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for the name of a unix socket."""
    path = Path(tempfile.mkdtemp(prefix="jc-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def server(server_binary: Path) -> Iterator[EmbeddedStore]:
    """A private server for this session; use ``server.address``, and do not stop it."""
    path = Path(tempfile.mkdtemp(prefix="jc-"))
    embedded = EmbeddedStore(path / "store", server_binary)
    asyncio.run(embedded.start())
    yield embedded
    asyncio.run(embedded.stop())
    shutil.rmtree(path)


@pytest.fixture
def store(server: EmbeddedStore) -> Iterator[BlockingStore]:
    """A connection to the session's server, emptied."""
    with BlockingStore(server.address) as connection:
        connection.run(Call(("FLUSHALL",), lambda reply: reply))
        yield connection


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``ca.pem``, and ``server.pem`` and ``server.key`` for localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    path = tmp_path_factory.mktemp("certificates")
    (path / "names").write_text(
        "subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    new = [openssl, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    sign = [openssl, "x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    for command in (
        # Python 3.13 checks what a CA says of its key.
        [
            *[*new, "-x509", "-subj", "/CN=test CA", "-keyout", "ca.key", "-out", "ca.pem"],
            *["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
        ],
        [*new, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"],
        [*sign, "-in", "server.csr", "-extfile", "names", "-out", "server.pem"],
    ):
        subprocess.run(command, cwd=path, check=True, capture_output=True)
    return path
