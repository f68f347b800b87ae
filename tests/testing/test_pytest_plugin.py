"""Each test runs pytest on a project of its own, as somebody does who has installed jobctl."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

JOBS = """
[jobctl]
redis = "redis://production.example.org"

[jobs.double]
python = "plugged:double"
cwd = "."

[jobs.sleepy]
command = "sleep 600"
"""
MODULE = "def double(number):\n    return 2 * number\n"


@pytest.fixture
def project(tmp_path):
    """A project with a jobs.toml; call it with the text of its tests."""
    (tmp_path / "jobs.toml").write_text(JOBS)
    (tmp_path / "plugged.py").write_text(MODULE)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")

    def run(text: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text(text)
        env = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:valkey",
                *words,
            ],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_fixtures_give_a_daemon_a_client_and_eager_mode(project) -> None:
    done = project(
        """
import os
import jobctl

def test_daemon(jobctl_daemon, jobctl_client):
    assert os.environ["JOBCTL_CONFIG"] == str(jobctl_daemon.config)
    assert jobctl_client.submit("double", number=4).wait("30s") == 8
    left = jobctl.submit("sleepy")
    waiting = jobctl.submit("double", 1, _in="1h")
    os.environ["LEFT"] = f"{left.id} {waiting.id}"

def test_what_a_test_leaves_is_revoked(jobctl_client):
    assert [jobctl_client.run(one).state for one in os.environ["LEFT"].split()] == ["revoked"] * 2

def test_eager(jobctl_eager):
    assert jobctl.submit("double", 5).result == 10
    assert [run.job for run in jobctl_eager.runs] == ["double"]
"""
    )

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_jobs_may_be_named_by_a_fixture_or_a_setting(project, tmp_path) -> None:
    text = (
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def jobctl_jobs():\n"
        "    return '[jobs.own]\\ncommand = \"pwd\"'\n"
        "def test_own(jobctl_client, request):\n"
        "    run = jobctl_client.submit('own')\n"
        "    run.wait('30s')\n"
        "    assert run.logs().strip() == str(request.config.rootpath)\n"
    )
    (tmp_path / "other.toml").write_text('[jobs.other]\ncommand = "true"\n')

    assert "1 passed" in project(text).stdout
    text = "def test_it(jobctl_jobs):\n    assert jobctl_jobs.name == 'other.toml'\n"
    assert "1 passed" in project(text, "-o", "jobctl_jobs=other.toml").stdout


def test_nothing_of_jobctl_is_imported_for_tests_that_do_not_ask(project) -> None:
    done = project(
        """
import sys

def test_modules():
    found = sorted(name for name in sys.modules if name.startswith("jobctl"))
    assert found == ["jobctl", "jobctl.testing", "jobctl.testing.plugin"]
"""
    )

    assert "1 passed" in done.stdout, done.stdout
