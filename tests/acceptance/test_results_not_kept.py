"""What nobody keeps need not be storable: in every kind of pool, in bundles and alone."""

from __future__ import annotations

import pytest

from jobctl import JobFailed
from jobctl.testing import PrivateDaemon

JOBS = """
[pools.default]
python = "{kind}"
slots = 1

[defaults]
cwd = "."
retries = 1
retry_delay = 0
python = "dropped:act"

[jobs.none]
keep_result = "none"
[jobs.packed]
keep_result = "none"
result_format = "msgpack"
[jobs.errors]
keep_result = "errors"
[jobs.alone]
keep_result = "none"
only_if = "true"
[jobs.waits]
keep_result = "none"
python = "dropped:wait"
[jobs.slow]
keep_result = "none"
soft_timeout = "1m"
[jobs.all]
"""
CODE = """
VALUES = {"object": object, "nan": lambda: float("nan"), "large": lambda: "x" * 2_000_000,
          "deep": lambda: {1: 2, "1": 3}}

def act(value):
    return VALUES[value]()

async def wait(value):
    return act(value)
"""


@pytest.mark.parametrize("kind", ["process", "thread", "async", "inline"])
def test_value_that_is_not_kept_may_be_anything(tmp_path, kind) -> None:
    (tmp_path / "dropped.py").write_text(CODE)
    with PrivateDaemon(JOBS.format(kind=kind), root=tmp_path) as daemon:
        for job in ("none", "packed", "errors", "alone", "waits", "slow"):
            for value in ("object", "nan", "large", "deep"):
                run = daemon.client.submit(job, value)
                assert run.wait("30s") is None
                assert (run.state, run.attempt) == ("succeeded", 1)
        with pytest.raises(JobFailed, match="the result cannot be stored"):
            daemon.client.submit("all", "object").wait("30s")


COMMANDS = """
[jobs.none]
command = "head -c 2000000 /dev/zero >$JOBCTL_RESULT_FILE; exit $1"
keep_result = "none"
[jobs.errors]
command = "head -c 2000000 /dev/zero >$JOBCTL_RESULT_FILE; exit $1"
keep_result = "errors"
[jobs.told]
command = "echo 7 >$JOBCTL_RESULT_FILE; exit 1"
keep_result = "errors"
"""


def test_result_file_that_is_not_kept_is_not_looked_at(tmp_path) -> None:
    with PrivateDaemon(COMMANDS, root=tmp_path) as daemon:
        for job in ("none", "errors"):
            run = daemon.client.submit(job, 0)
            assert run.wait("30s") is None
            assert run.state == "succeeded"
        run = daemon.client.submit("told")
        list(run.events())
        assert (run.refresh().reason, run.record.result) == ("exit", "7")
