"""``submit --from-ndjson``: all lines are checked before any is sent."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from project import Project, Worker

    from jobctl.store.blocking import BlockingStore


def lines(*bodies: object) -> bytes:
    return "".join(json.dumps(body) + "\n" for body in bodies).encode()


def bulk(project: Project, data: bytes, *words: str):
    return project.jobctl("submit", *words, "--from-ndjson", "-", stdin=data)


def test_ids_come_one_per_line_in_order(project: Project, worker: Worker):
    result = bulk(project, lines({"args": ["a"]}, {"args": ["b"]}, {"args": ["c"]}), "hello")
    ids = result.out.split()
    assert [project.run(run_id).request.args for run_id in ids] == [("a",), ("b",), ("c",)]
    assert result.code == 0


def test_a_line_says_everything_the_command_can(project: Project, worker: Worker):
    body = {
        "job": "typed", "kwargs": {"path": "x", "width": 20}, "id": "k", "in": "10m", "expires": 7200,
        "queue": "nobody", "priority": 2, "tags": {"a": "b"}, "timeout": "5s", "retries": 4,
    }  # fmt: skip
    run = project.run(bulk(project, lines(body)).id)
    request = run.request
    assert (run.job, request.kwargs["width"], request.queue, request.priority) == (
        "typed",
        20,
        "nobody",
        2,
    )
    assert (request.timeout, request.max_attempts, request.tags) == (5.0, 5, {"a": "b"})
    assert run.state == "scheduled"


def test_lines_with_ids_of_other_jobs_are_told_of_and_the_others_are_made(
    project: Project, worker: Worker
):
    taken = project.submit("hello")
    result = bulk(project, lines({}, {"id": taken}, {}), "other")
    assert result.code == 2
    assert [project.run(one).job for one in result.out.split()] == ["other", "other"]
    assert "1 runs were not submitted, 2 were" in result.err
    assert f"({taken} of job hello, not other)" in result.err


def test_a_line_with_a_queue_that_does_not_exist_is_refused_with_all(
    project: Project, worker: Worker
):
    result = bulk(project, lines({}, {"queue": "slwo"}, {"queue": "slow"}), "hello")
    assert (result.code, result.out) == (2, "")
    assert "line 2: no queue 'slwo'" in result.err
    assert "did you mean slow" in result.err


def test_arguments_that_a_command_ignores_are_told_of_once(project: Project, worker: Worker):
    result = bulk(project, lines({"args": ["a"]}, {}, {"args": ["b"]}), "hello")
    assert (result.code, len(result.out.split())) == (0, 3)
    assert result.err.count("they are ignored") == 1


def test_options_are_the_defaults_of_lines(project: Project, worker: Worker):
    result = bulk(
        project, lines({}, {"priority": 1}), "hello", "--priority", "8", "--tag", "batch=1"
    )
    first, second = (project.run(run_id).request for run_id in result.out.split())
    assert (first.priority, second.priority) == (8, 1)
    assert second.tags == {"batch": "1"}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"{not json\n", "not JSON"),
        (b"[1]\n", "one JSON object"),
        (b'{"job": "helo"}\n', "did you mean hello"),
        (b'{"arguments": []}\n', "unknown key 'arguments'"),
        (b'{"args": "x"}\n', "args must be a list"),
        (b'{"priority": true}\n', "whole number"),
        (b'{"in": []}\n', "in must be"),
        (b'{"tags": {"a": null}}\n', "tags: 'a' is no text; write one in quotes"),
        (b'{"tags": {"a": true}}\n', "tags: 'a' is no text"),
        (b'{"tags": {"a": ["b"]}}\n', "tags: 'a' is no text"),
        (b'{"in": "soon"}\n', "not a duration"),
        (b'{"args": [NaN]}\n', "NaN"),
        (b'{"args": ["\\u0000"]}\n', "NUL"),
        (b"\xff\xfe\n", "not"),
        (b'{"job": "typed", "kwargs": {"width": 3}}\n', "less than 16"),
    ],
)
def test_one_wrong_line_keeps_all_from_being_sent(project: Project, bad: bytes, said: str):
    result = bulk(project, lines({}) + b"\n" + bad + lines({}), "hello")
    assert result.code in (2, 66)
    assert result.out == ""
    assert "line 3: " in result.err
    assert said in result.err
    assert project.jobctl("list", "--ids").out == ""


def test_all_wrong_lines_are_named(project: Project):
    result = bulk(project, b"x\n{}\ny\n", "hello")
    assert "line 1:" in result.err
    assert "line 3:" in result.err


def test_a_line_without_job_needs_one_from_the_command(project: Project):
    assert "names no job" in bulk(project, lines({})).err


def test_the_same_file_twice_makes_no_second_runs(project: Project, worker: Worker):
    data = lines({"id": "a"}, {"id": "b"})
    first, second = bulk(project, data, "hello"), bulk(project, data, "hello")
    assert first.out == second.out
    assert second.code == 0
    assert len(project.jobctl("list", "--ids").out.split()) == 2


def test_a_full_queue_takes_what_fits_and_says_so(make_project: Callable[..., Project]):
    project = make_project(more="[queues.default]\nmax_length = 2")
    result = bulk(project, lines({}, {}, {}), "hello")
    assert len(result.out.split()) == 2
    assert result.code == 75
    assert "1 runs were not accepted" in result.err


def test_nothing_is_sent_for_nothing(project: Project):
    result = bulk(project, b"\n\n", "hello")
    assert (result.out, result.code) == ("", 0)


def test_json_is_written_for_nothing_too(project: Project):
    assert bulk(project, b"", "hello", "--json").json == {"schema": 1, "runs": []}


def test_runs_are_sent_though_nobody_reads_their_ids(project: Project, worker: Worker):
    data = lines(*({"args": [str(number)]} for number in range(3000)))
    path = project.directory / "many.ndjson"
    path.write_bytes(data)
    command = project.command("submit", "hello", "--from-ndjson", str(path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(20) == 0
    found = project.jobctl("list", "--ids", "-n", "5000").out.split()
    assert len(found) == 3000


def test_json_lists_every_run(project: Project, worker: Worker):
    found = bulk(project, lines({}, {}), "hello", "--json").json["runs"]
    assert [item["answer"] for item in found] == ["ok", "ok"]


def test_ten_thousand_lines_are_as_many_runs(project: Project, worker: Worker):
    data = lines(*({"args": [str(number)]} for number in range(10_000)))
    result = bulk(project, data, "hello")
    assert len(set(result.out.split())) == 10_000


def test_order_is_kept_across_batches(project: Project, worker: Worker, store: BlockingStore):
    data = lines(*({"job": ("hello", "other")[n % 2], "args": [n]} for n in range(1_203)))
    ids = bulk(project, data).out.split()
    for number in (0, 499, 500, 501, 1_202):
        assert project.run(ids[number]).request.args == (number,)
