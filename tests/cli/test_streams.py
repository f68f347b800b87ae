"""Standard streams that are closed, full, unread or not in UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from project import environment

if TYPE_CHECKING:
    from project import Project, Worker


def shell(project: Project, words: str, *, env: dict[str, str] | None = None):
    """Run ``$J WORDS`` in a shell, where streams can be closed."""
    command = " ".join(f"'{word}'" for word in project.command())
    return subprocess.run(
        ["/bin/sh", "-c", words.replace("$J", command)],
        capture_output=True, text=True, check=False, timeout=30, env=env or dict(os.environ),
    )  # fmt: skip


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "words", ["submit hello", "status", "next -q", "list -q", "jobs", "check -q", "logs -q hello"]
)
def test_closed_streams_change_nothing(project: Project, worker: Worker, words: str, closed: str):
    project.submit("hello")
    result = shell(project, f"$J {words} {closed}")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_submit_whose_id_cannot_be_written_says_that_it_was_accepted(
    project: Project, worker: Worker
):
    result = shell(project, "$J submit hello > /dev/full")
    (run_id,) = project.jobctl("list", "--ids").out.split()
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert f"run {run_id} was accepted" in result.stderr


@pytest.mark.parametrize(
    "words", ["list", "status", "next", "check", "--help", "completions bash", "result hello"]
)
def test_a_full_disk_is_named_and_is_no_bug(project: Project, worker: Worker, words: str):
    project.submit("hello")
    worker.finish("k", re="1")
    result = shell(project, f"$J {words} > /dev/full")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "jobctl: standard output cannot be written: No space left on device"
    )
    assert "Traceback" not in result.stderr


def test_talk_that_cannot_be_written_keeps_nothing_from_being_done(project: Project):
    assert shell(project, "$J submit hello 2> /dev/full").returncode == 0
    assert shell(project, "$J submit hello 2>&1 >/dev/null | true; exit 0").returncode == 0
    assert len(project.jobctl("list", "--ids").out.split()) == 2


def test_help_that_nobody_reads_is_no_failure(project: Project):
    command = project.command("--help")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_is_json_in_any_locale(project: Project, worker: Worker, encoding: str):
    project.submit("hello")
    worker.finish("k", re='"caf\u00e9"')
    for words in (["result", "hello"], ["inspect", "@last", "--json"]):
        out = project.process(*words, env=environment(PYTHONIOENCODING=encoding)).stdout
        found = json.loads(out.decode("ascii"))
        assert "caf\u00e9" in (found, found["run"]["result"] if isinstance(found, dict) else "")
