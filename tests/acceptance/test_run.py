"""Stories about ``jobctl run``: exit codes, signals, limits and the environment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from tests.acceptance.host import Host

JOBS = """
[jobs.echo]
command = 'echo "$#:$*" "$JOBCTL_ARG_NAME"; echo oops >&2'
[jobs.hello]
command = 'echo "hello $*" "$JOBCTL_ARG_NAME"; echo oops >&2; exit "${JOBCTL_ARG_CODE:-0}"'
params.name = { type = "str", default = "" }
params.code = { type = "int", default = 0, max = 125 }
[jobs.signalled]
command = 'kill -9 $$'
[jobs.slow]
command = 'sleep 60'
timeout = "200ms"
[jobs.picky]
command = 'exit 3'
success_codes = [0, 3]
[jobs.absent]
command = ["no-such-program"]
[jobs.not-now]
command = 'echo never'
only_if = 'exit 1'
[jobs.flaky]
command = 'echo "attempt $JOBCTL_ATTEMPT of $JOBCTL_MAX_ATTEMPTS"; test "$JOBCTL_ATTEMPT" = 3'
retries = 4
retry_delay = "10ms"
[jobs.environment]
command = 'env'
[jobs.deaf]
command = '''
trap 'echo deaf' TERM
sleep 60 &
echo "$!" > child
while :; do wait; done
'''
cwd = "."
stop_timeout = "300ms"
[jobs.very-deaf]
command = '''
trap 'echo deaf' TERM INT
echo "$$" > child
while :; do sleep 0.05; done
'''
cwd = "."
stop_timeout = "60s"
[jobs.sum]
python = "numbers_of:total"
cwd = "."
params.values = { type = "json" }
[jobs.greedy]
command = 'x=$(head -c 100000000 /dev/zero | tr "\\0" x); sleep 60'
max_rss = "20M"
[jobs.far]
command = '''
echo "50 half" >> "$JOBCTL_PROGRESS_FILE"
echo '{"rows": 7}' > "$JOBCTL_RESULT_FILE"
'''
"""


@pytest.fixture
def jobs(host: Host) -> Host:
    host.write(JOBS)
    (host.directory / "numbers_of.py").write_text(
        "def total(values):\n    print('adding')\n    return sum(values)\n"
    )
    return host


def test_output_and_arguments_are_those_of_the_job(jobs: Host) -> None:
    done = jobs.call("run", "echo", "a b", "name=Ada", "--", "--c=d")

    assert done.returncode == 0
    assert done.stdout == "2:a b --c=d Ada\noops\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("hello", "code=7"), 7),
        (("signalled",), 128 + 9),
        (("slow",), 124),
        (("hello", "--timeout", "5s"), 0),
        (("picky",), 0),
        (("absent",), 127),
        (("not-now",), 0),
        (("hello", "code=many"), 2),
        (("hello", "nome=x"), 2),
        (("hello", "--timeout", "soon"), 2),
        (("helo",), 66),
    ],
)
def test_exit_code_is_the_jobs_own(jobs: Host, words: tuple[str, ...], code: int) -> None:
    assert jobs.call("run", *words).returncode == code


def test_skipped_run_says_why(jobs: Host) -> None:
    done = jobs.call("run", "not-now")

    assert done.stdout == ""
    assert "skipped: only_if" in done.stderr


def test_there_is_one_attempt_unless_retries_are_asked_for(jobs: Host) -> None:
    once = jobs.call("run", "flaky")
    again = jobs.call("run", "flaky", "--retries")

    assert once.stdout == "attempt 1 of 1\n"
    assert once.returncode == 1
    assert again.stdout == "attempt 1 of 5\nattempt 2 of 5\nattempt 3 of 5\n"
    assert again.returncode == 0


def test_nothing_of_the_terminals_environment_reaches_the_job(jobs: Host) -> None:
    names = {line.partition("=")[0] for line in jobs.run("run", "environment").splitlines()}

    assert {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TZ", "JOBCTL_RUN_ID"} <= names
    assert not {"PYTHONPATH", "JOBCTL_CONFIG"} & names


def test_python_job_returns_its_result(jobs: Host) -> None:
    done = jobs.call("run", "sum", "values=[1,2,3]", "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout)["run"]["result"] == 6
    assert "adding\n" in done.stderr


def test_json_tells_how_it_ended(jobs: Host) -> None:
    run = json.loads(jobs.run("run", "far", "--json"))["run"]

    assert run["state"] == "succeeded"
    assert run["result"] == {"rows": 7}
    assert run["progress"] == {"percent": 50, "message": "half"}
    assert len(run["attempts"]) == 1


def test_too_much_memory_is_stopped(jobs: Host) -> None:
    done = jobs.call("run", "greedy", "--json", "--timeout", "20s")

    assert json.loads(done.stdout)["run"]["reason"] == "memory"
    assert done.returncode != 0


def test_dry_run_shows_names_only_and_starts_nothing(jobs: Host) -> None:
    plan = json.loads(jobs.run("run", "hello", "name=secret", "--dry-run", "--json"))["plan"]

    assert plan["argv"][:2] == ["/bin/sh", "-c"]
    assert "JOBCTL_ARG_NAME" in plan["environment"]
    assert "secret" not in json.dumps(plan)
    assert jobs.run("run", "deaf", "-n")
    assert not (jobs.directory / "child").exists()


def begin(host: Host, job: str) -> tuple[subprocess.Popen[str], int]:
    """Start a run, and return it with the process its job named."""
    run = subprocess.Popen(
        [sys.executable, "-m", "jobctl", "run", job],
        env=host.environment,
        cwd=host.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child = host.directory / "child"
    wait_until(lambda: child.exists() and child.read_text().strip(), what="the job has begun")
    return run, int(child.read_text())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signal_stops_the_job_and_then_kills_it(jobs: Host, number: int, code: int) -> None:
    run, child = begin(jobs, "deaf")
    run.send_signal(number)
    output, said = run.communicate(timeout=20)

    assert run.returncode == code
    assert "deaf" in output
    assert "was stopped" in said
    assert not psutil.pid_exists(child)


def test_second_ctrl_c_kills_at_once(jobs: Host) -> None:
    run, child = begin(jobs, "very-deaf")
    run.send_signal(signal.SIGINT)
    assert run.stdout is not None
    while run.stdout.readline() != "deaf\n":
        assert run.poll() is None
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=20)

    assert run.returncode == 130
    assert not psutil.pid_exists(child)


def test_no_file_of_it_is_left(jobs: Host) -> None:
    scratch = jobs.directory / "scratch"
    scratch.mkdir()
    environment = jobs.environment | {"TMPDIR": str(scratch)}
    subprocess.run(
        [sys.executable, "-m", "jobctl", "run", "far"],
        env=environment, cwd=jobs.directory, check=True,
    )  # fmt: skip

    assert not list(scratch.iterdir())
    assert not jobs.state.exists()
