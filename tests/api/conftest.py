"""One daemon for all tests of the Python API in a process, on a store and a directory of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.api.client import Client
from tests.acceptance.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = """
[pools.default]
slots = 2

[queues.small]
max_length = 1

[defaults]
cwd = "."

[jobs.add]
python = "work:add"

[jobs.brief]
python = "work:add"
keep_runs = 1

[jobs.fleeting]
python = "work:add"
keep_runs = 1
keep_ids = 0

[jobs.asks]
python = "work:asks"

[jobs.broken]
python = "work:broken"

[jobs.tells]
python = "work:tells"
retries = 1
retry_delay = 0

[jobs.counts]
command = '''
test "$JOBCTL_ATTEMPT$1" = 2silent || echo "$JOBCTL_ATTEMPT counted" >> "$JOBCTL_PROGRESS_FILE"
exit $((2 - JOBCTL_ATTEMPT))'''
retries = 1
retry_delay = 0

[jobs.steps]
python = "work:steps"

[jobs.waits]
command = "read line < $JOBCTL_ARG_PIPE; echo got $line"

[jobs.reports]
command = 'echo "40 baking" > "$JOBCTL_PROGRESS_FILE"; read line < $JOBCTL_ARG_PIPE'
success_codes = [0, 1]

[jobs.talks]
command = "echo asks; read line < $JOBCTL_ARG_PIPE; echo got $line"

[jobs.says]
command = "echo one; echo two; exit $1"
success_codes = [0]

[jobs.thumbnail]
python = "work:thumbnail"
params.path = { type = "str" }
params.width = { type = "int", default = 320, min = 16 }

[jobs.single]
command = ["true"]
queue = "nobody"
unique = "args"

[jobs.kept]
command = ["true"]
queue = "nobody"

[jobs.deaf]
command = "true"
queue = "nobody"

[jobs.full]
command = ["true"]
queue = "small"
"""
WORK = """
import os

def add(*args, **kwargs):
    return {"sum": sum(args), **kwargs}

def asks(job, key):
    from jobctl import current
    return current().submit(job, _id=key)

def broken(text="no"):
    raise LookupError(text)

def thumbnail(path, width):
    return f"{path} at {width}"

def tells(fails=False, silent=0):
    from jobctl import current
    attempt = current().attempt
    if attempt != silent:
        current().progress(10, "begins")
        current().progress(90 + attempt, "ends")
    if fails or attempt < silent:
        raise LookupError("no more")

def steps(pipe):
    with open(os.environ["JOBCTL_PROGRESS_FILE"], "a") as out:
        print("40 halfway", file=out, flush=True)
    with open(pipe) as stream:
        return stream.read().strip()
"""


@pytest.fixture(scope="session")
def shop() -> Iterator[Host]:
    """A host whose daemon is up; its queue ``nobody`` is served by no pool."""
    found = Host()
    found.write(JOBS)
    (found.directory / "work.py").write_text(WORK)
    found.start()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache and no configuration of whoever runs the tests."""
    monkeypatch.delenv("JOBCTL_CONFIG", raising=False)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture
def client(shop: Host) -> Iterator[Client]:
    with Client(shop.config) as made:
        yield made
