"""``list``, ``inspect``, ``status``, ``result``: what is known of runs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from project import environment

from jobctl.cli import start as boundary
from jobctl.client import listing
from jobctl.store import transitions
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from project import Project, Worker

    from jobctl.store.transitions import Claim

RUN_KEYS = {
    "id", "job", "state", "reason", "attempt", "max_attempts", "exit_code", "signal", "queue",
    "priority", "trigger", "submitted_at", "scheduled_at", "not_before", "started_at",
    "finished_at", "duration", "host", "pid", "args", "tags", "error", "result", "progress",
    "retry_of",
}  # fmt: skip


@pytest.mark.parametrize("then", ["running", "ended", "parked"])
@pytest.mark.parametrize("place", ["running_ids", "ready_levels"])
def test_a_run_that_moves_while_the_list_is_made_is_in_it(
    project: Project, worker: Worker, monkeypatch: pytest.MonkeyPatch, place: str, then: str
):
    """Runs are read place by place, and may go on between two of them."""
    # Of a limited job one is claimed, and the other has to wait for it.
    job = "limited" if then == "parked" else "hello"
    submitted = [project.submit(job) for _ in range(2)]
    read = getattr(listing, place)
    moved: list[Claim] = []

    def read_before_they_move(*where: object) -> object:
        found = read(*where)
        if not moved:
            moved.extend(worker.claim() for _ in range(1 if then == "parked" else 2))
            for claim in moved if then == "ended" else []:
                worker.settle(claim)
        return found

    monkeypatch.setattr(listing, place, read_before_they_move)

    assert sorted(project.jobctl("list", "--ids").out.split()) == sorted(submitted)


def test_inspect_has_every_key_of_the_contract(project: Project, worker: Worker):
    run_id = project.submit("hello", "a", "--tag", "k=v")
    run = project.jobctl("inspect", run_id, "--json").json["run"]
    assert run.keys() >= RUN_KEYS
    assert run["submitted_at"].endswith("Z")
    assert run["exit_code"] is run["host"] is run["result"] is None
    assert (run["args"], run["tags"], run["state"]) == (["a"], {"k": "v"}, "queued")


def test_inspect_of_a_job_shows_keys_that_its_file_may_have(make_project: Callable[..., Project]):
    project = make_project(
        more='[jobs.a]\ncommand = "true"\nschedule = "@start"\noverlap = "skip"\n'
    )
    job = project.jobctl("inspect", "a", "--json").json["job"]
    assert job["overlap"] == "skip"
    assert "overlap_written" not in job


def test_inspect_shows_a_finished_run(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish("x", reason="exit", rc=3, er="boom")
    run = project.jobctl("inspect", run_id, "--json").json["run"]
    assert (run["state"], run["reason"], run["exit_code"], run["error"]) == (
        "failed",
        "exit",
        3,
        "boom",
    )
    assert (run["host"], run["pid"], run["attempt"], run["duration"]) == ("h1", 99, 1, 0.5)
    text = project.jobctl("inspect", run_id).out
    assert "it exited with 3" in text
    assert "boom" in text


def test_inspect_of_a_job_has_definition_and_latest_run(project: Project, worker: Worker):
    none = project.jobctl("inspect", "nightly", "--json").json
    assert none["job"]["schedules"][0]["rule"] == "30 2 * * *"
    assert none["run"] is None
    run_id = project.submit("nightly")
    assert project.jobctl("inspect", "nightly", "--json").json["run"]["id"] == run_id


def test_results_and_progress_are_decoded(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish(re='{"a": [1]}', pg='{"percent": 40.0, "message": "x"}')
    run = project.jobctl("inspect", run_id, "--json").json["run"]
    assert run["result"] == {"a": [1]}
    assert run["progress"] == {"percent": 40.0, "message": "x"}


def test_numbers_that_json_has_not_do_not_spoil_the_document(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish(
        pg='{"percent": NaN, "message": "x"}', re='{"$jobctl":"msgpack","data":"kct/+AAAAAAAAA=="}'
    )
    document = project.jobctl("inspect", run_id, "--json").out
    run = json.loads(document, parse_constant=pytest.fail)["run"]
    assert run["progress"] == {"percent": None, "message": "x"}
    assert run["result"] == ["NaN"]
    assert "0% x" in project.jobctl("inspect", run_id).out


def test_attempts_without_end_have_no_maximum(project: Project, worker: Worker):
    run_id = project.submit("hello", "--retries", "-1")
    assert project.jobctl("inspect", run_id, "--json").json["run"]["max_attempts"] is None


def test_secret_parameters_are_masked(project: Project, worker: Worker):
    run_id = project.submit("typed", "path=x", "token=s3cret")
    for words in (["inspect", run_id], ["inspect", run_id, "--json"], ["list", "--json"]):
        result = project.jobctl(*words)
        assert "s3cret" not in result.out
        assert "***" in result.out


def test_inspect_says_why_a_run_waits(project: Project, worker: Worker):
    project.submit("limited")
    worker.start()
    second = project.submit("limited")
    store = project.session.store
    store.run(transitions.set_limits(project.keys, {"j:limited": "1"}))
    assert (
        store.run(
            transitions.claim(
                project.keys, supervisor=worker.sid, owner=worker.owner, want=1, queues=["default"]
            )
        ).claims
        == ()
    )
    why = project.jobctl("inspect", second, "--json").json["why"]
    assert "max_running = 1 of job limited, held by" in why[0]


@pytest.mark.parametrize(
    ("by", "who", "short"),
    [
        (["a" * 16], f"run {'a' * 16}", "a" * 16),
        (["a" * 16, "b" * 16], f"one of the runs {'a' * 16}, {'b' * 16}", "its interpreter"),
        ([], "what an earlier run has left", "its interpreter"),
    ],
)
def test_run_that_waits_in_its_interpreter_says_so_and_for_whom(
    project: Project, worker: Worker, by: list[str], who: str, short: str
):
    project.submit("hello")
    run = worker.start()
    for told in (by, None):
        note = transitions.held_up(run.epoch, told)
        call = transitions.note(worker.keys, owner=worker.owner, items=[(run.id, run.epoch, note)])
        worker.store.run(call)
        said = project.jobctl("inspect", run.id, "--json").json
        assert said["run"]["state"] == "running"
        assert said["run"]["blocked_by"] == told
        why = f"its function has not begun: {who} keeps busy the interpreter they share"
        for seen in (said["why"][0], project.jobctl("inspect", run.id).out):
            assert (why in seen) is (told is not None)
        assert (f"waits for {short}" in project.jobctl("status").out) is (told is not None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--in", "1h"], "it is due in 1h"),
        (["--queue", "nobody"], "no supervisor serves queue nobody"),
        ([], "it is behind 1 other runs in queue default"),
    ],
)
def test_inspect_says_what_a_run_waits_for(
    project: Project, worker: Worker, words: list[str], said: str
):
    project.submit("hello", "--priority", "9")
    run_id = project.submit("hello", *words)
    assert said in project.jobctl("inspect", run_id).out.replace("59m59s", "1h").replace(
        "1h0s", "1h"
    )


def test_inspect_says_that_no_supervisor_is_up(project: Project):
    run_id = project.submit("hello")
    assert "no supervisor is up" in project.jobctl("inspect", run_id).out


def test_references_by_prefix_job_and_last(project: Project, worker: Worker):
    project.submit("other")
    run_id = project.submit("hello")
    for word in (run_id, run_id[:8], "hello", "@last"):
        result = project.jobctl("inspect", word, "--json")
        found = result.json["run"]["id"]
        assert found == run_id


def test_an_ambiguous_prefix_lists_the_candidates(project: Project, worker: Worker):
    first, second = "aaaabbbbccccdddd", "aaaabbbbccccdddz"
    project.submit("hello", "--id", first)
    project.submit("hello", "--id", second)
    result = project.jobctl("inspect", "aaaab")
    assert result.code == 2
    assert first in result.err
    assert second in result.err


@pytest.mark.parametrize("word", ["zzzz", "a234567a234567aa", "nosuch", "nightly-x", "x"])
def test_unknown_references_exit_66(project: Project, worker: Worker, word: str):
    for verb in ("inspect", "logs", "wait", "result", "revoke", "retry", "status"):
        assert project.jobctl(verb, word).code == 66


def test_a_job_without_runs_is_told_apart_from_no_job(project: Project, worker: Worker):
    assert "has no runs yet" in project.jobctl("logs", "hello").err


def test_list_shows_the_newest_first_and_no_more_than_asked_for(project: Project, worker: Worker):
    ids = [project.submit("hello") for _ in range(4)]
    assert project.jobctl("list", "--ids", "-n", "3").out.split() == ids[:0:-1]
    assert len(project.jobctl("list", "--json").json["runs"]) == 4


def test_list_says_which_record_it_cannot_read(project: Project, worker: Worker):
    project.submit("hello")
    fine, broken = worker.finish(), project.submit("hello")
    worker.finish()
    record = project.session.keys.run(broken)
    worker.store.run(Call(("HSET", record, "du", "-1"), lambda reply: reply))

    listed = project.jobctl("list", "--ids")
    assert listed.out.split() == [fine]
    assert f"left out: run {broken}: the record cannot be read" in listed.err
    only = project.jobctl("list", "--job", "hello", "-n", "1")
    assert (only.code, only.out) == (0, "")
    assert f"left out: run {broken}:" in only.err
    shown = project.jobctl("inspect", broken)
    assert (shown.code, shown.out) == (1, "")
    assert "its record in the store cannot be read: -1 is out of range; it is damaged" in shown.err


def test_list_filters(project: Project, worker: Worker):
    project.submit("hello")
    failed = worker.finish("x", reason="exit", rc=1)
    project.submit("other", "--tag", "a=1")
    done = worker.finish()
    running = project.submit("hello")
    worker.start()
    later = project.submit("hello", "--in", "1h", "--tag", "a=1")

    def ids(*words: str) -> set[str]:
        return set(project.jobctl("list", "--ids", *words).out.split())

    assert ids() == {failed, done, running, later}
    assert ids("--state", "failed") == {failed}
    assert ids("--state", "failed,running") == {failed, running}
    assert ids("--state", "final") == {failed, done}
    assert ids("--state", "scheduled") == {later}
    assert ids("--job", "other") == {done}
    assert ids("--queue", "slow") == {done}
    assert ids("--tag", "a=1") == {done, later}
    assert ids("--since", "1h") == {failed, done, running, later}
    assert ids("--since", "2040-01-01T00:00") == set()


def test_list_finds_few_among_many(project: Project, worker: Worker):
    wanted = project.submit("other", "--queue", "default", "--priority", "5", "--tag", "x=y")
    data = b"".join(b'{"args":[%d]}\n' % number for number in range(2000))
    project.jobctl("submit", "hello", "--from-ndjson", "-", stdin=data)
    for words in (["--job", "other"], ["--tag", "x=y"]):
        assert project.jobctl("list", "--ids", *words).out.split() == [wanted]


def test_a_wrong_state_names_the_right_ones(project: Project):
    result = project.jobctl("list", "--state", "done")
    assert result.code == 2
    assert "succeeded" in result.err


def test_plain_columns_without_a_terminal(project: Project, worker: Worker):
    project.submit("hello")
    project.submit("other")
    head, *rows = project.jobctl("list").out.splitlines()
    assert head.split()[:4] == ["RUN", "JOB", "STATE", "ATT"]
    assert len({row.index("queued") for row in rows}) == 1
    assert "\x1b" not in head


def test_result_prints_json_or_raw(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish(re='"text\\n"')
    assert project.jobctl("result", run_id).out == '"text\\n"\n'
    assert project.jobctl("result", run_id, "--raw").out == "text\n"
    assert project.jobctl("result", run_id, "--json").json["result"] == "text\n"


def test_result_of_a_failed_run_exits_as_the_job(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish("x", reason="exit", rc=9, er="broke")
    result = project.jobctl("result", run_id)
    assert result.code == 9
    assert "broke" in result.err


def test_result_of_an_unfinished_run_is_not_there_yet(project: Project, worker: Worker):
    assert project.jobctl("result", project.submit("hello")).code == 75


def test_status_shows_supervisors_queues_running_next_and_failures(
    project: Project, worker: Worker
):
    project.submit("hello")
    worker.finish("x", reason="exit", rc=7)
    running = project.submit("hello")
    worker.start()
    project.submit("hello")
    worker.beat(running=1)
    result = project.jobctl("status")
    for word in ("h1", "default 1/4", "exit 7", running, "nightly", "Europe/Berlin"):
        assert word in result.out
    assert len(result.out.splitlines()) <= 24
    assert max(map(len, result.out.splitlines())) <= 80
    assert result.code == 0


def test_status_shows_how_far_runs_say_they_are(project: Project, worker: Worker):
    for _ in range(2):
        project.submit("hello")
    silent, talking = worker.start(), worker.start()
    assert "PROGRESS" not in project.jobctl("status").out
    progress = '{"percent": 24.1667, "message": "copying\\u001b[31m"}'
    note = transitions.note(
        worker.keys, owner=worker.owner, items=[(talking.id, talking.epoch, progress)]
    )
    worker.store.run(note)
    lines = project.jobctl("status").out.splitlines()
    (shown,) = [line for line in lines if talking.id in line]
    assert "24.2% copying" in shown
    assert "\x1b" not in shown
    (other,) = [line for line in lines if silent.id in line]
    assert "%" not in other


@pytest.mark.parametrize("height", [20, 24])
def test_status_fits_the_screen(project: Project, worker: Worker, height: int):
    for _ in range(12):
        project.submit("hello")
    for _ in range(6):
        worker.finish("x", reason="exit", rc=1)
    for _ in range(4):
        worker.start()
    leader, follower = pty.openpty()
    with subprocess.Popen(
        project.command("status"), stdout=follower, stderr=subprocess.DEVNULL,
        env=environment(LINES=str(height), COLUMNS="80", TERM="xterm"),
    ) as process:  # fmt: skip
        os.close(follower)
        shown = b""
        with suppress(OSError):
            while data := os.read(leader, 65536):
                shown += data
        assert process.wait(10) == 0
    os.close(leader)
    lines = shown.decode().splitlines()
    assert len(lines) < height
    for block in ("HOST", "QUEUE", "RUNNING", "NEXT", "FAILED"):
        assert block in shown.decode()


def test_status_as_json(project: Project, worker: Worker):
    project.submit("hello")
    seen = project.jobctl("status", "--json").json
    assert seen["schema"] == 1
    assert seen["supervisors"][0]["pools"]["default"]["slots"] == 4
    assert seen["counts"]["ready"] == 1
    assert {item["job"] for item in seen["next"]} == {"nightly"}


def test_status_tells_how_late_a_supervisor_decides(project: Project, worker: Worker):
    assert "LAG" not in project.jobctl("status").out
    assert project.jobctl("status", "--json").json["supervisors"][0]["lag"] is None
    lag = {"decided": 7, "p50": 4.2, "p99": 812.0, "longest": 900.1, "last": 3.0}
    worker.beat(schedules={"known": 12, "lag": lag})

    assert "4/812 ms" in project.jobctl("status").out
    seen = project.jobctl("status", "--json").json["supervisors"][0]
    assert (seen["lag"], seen["schedules"]) == (lag, 12)


def test_status_tells_how_many_notices_were_not_delivered(project: Project, worker: Worker):
    assert "notice" not in project.jobctl("status").out
    assert set(project.jobctl("status", "--json").json["notices"].values()) == {0}
    project.session.run(transitions.count(project.keys, "undelivered"))
    assert "1 notice could not be delivered" in project.jobctl("status").out
    project.session.run(transitions.count(project.keys, "untold"))
    assert "2 notices could not be delivered" in project.jobctl("status").out
    seen = project.jobctl("status", "--json").json["notices"]
    assert seen == {"undelivered": 1, "untold": 1}


def test_status_without_supervisor_says_so(project: Project):
    result = project.jobctl("status")
    assert "no supervisor" in result.out
    assert result.code == 0


def test_status_of_names_is_3_when_one_is_not_well(project: Project, worker: Worker):
    project.submit("hello")
    worker.finish()
    assert project.jobctl("status", "hello").code == 0
    project.submit("other")
    assert project.jobctl("status", "hello", "other").code == 0
    worker.finish("x", reason="exit", rc=1)
    result = project.jobctl("status", "hello", "other")
    assert result.code == 3
    assert "other" in result.out
    assert "failed (exit 1)" in result.out
    assert project.jobctl("status", "nightly").code == 0


def test_a_silent_supervisor_is_shown_as_such(project: Project, worker: Worker):
    old = int((time.time() - 60) * 1000)
    key = project.keys.supervisor(worker.sid)
    project.session.store.run(Call(("HSET", key, "bt", old), lambda reply: reply))
    result = project.jobctl("status")
    assert "silent 1m" in result.out
    assert "no supervisor is up" in result.err


def test_a_broken_record_does_not_hide_the_others(project: Project, worker: Worker):
    project.submit("hello")
    bad = worker.finish()
    project.submit("hello")
    good = worker.finish()
    project.session.store.run(Call(("HSET", project.keys.run(bad), "e", "{"), lambda reply: reply))
    assert project.jobctl("list", "--ids", "--state", "final").out.split() in ([good], [good, bad])
    assert project.jobctl("list").code == 0
    result = project.jobctl("inspect", bad)
    assert result.code == 1
    assert "cannot be read" in result.err


def test_escape_sequences_of_jobs_never_reach_the_terminal(project: Project, worker: Worker):
    project.submit("hello")
    worker.finish("x", reason="exit", rc=1, er="\x1b[2Jgone")
    assert "\x1b" not in project.jobctl("status").out
    assert "\x1b" not in project.jobctl("inspect", "hello").out


def test_a_closed_pipe_is_quiet(project: Project, worker: Worker):
    data = b"".join(b'{"args":["%s"]}\n' % (b"x" * 200) for _ in range(3000))
    project.jobctl("submit", "hello", "--from-ndjson", "-", stdin=data)
    command = project.command("list", "--json", "-n", "3000")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(10) == 0


def test_inspect_of_a_job_does_not_say_no_run_when_nobody_can_tell(
    make_project: Callable[..., Project],
):
    project = make_project("/nowhere")
    result = project.jobctl("inspect", "hello")
    assert result.code == 69
    assert "echo hello" in result.out
    assert "no run yet" not in result.out


def test_times_are_shown_as_they_are_understood(project: Project, worker: Worker):
    # The zone of the file is Europe/Berlin, that of the host need not be.
    run_id = project.submit("hello", "--at", "2030-01-15T12:00:00")
    shown = project.jobctl("inspect", run_id).out
    assert "not before:    2030-01-15 12:00:00" in shown
    columns = project.jobctl("list").out.splitlines()[1].split()
    submitted = f"{columns[4]}T{columns[5]}"
    assert project.jobctl("list", "--since", submitted, "--ids").out.split() == [run_id]


def test_since_says_both_things_it_takes(project: Project):
    result = project.jobctl("list", "--since", "yesterday")
    assert result.code == 2
    assert "2h" in result.err
    assert "2030-12-24T18:00" in result.err


def test_switches_may_stand_before_the_verb(project: Project, worker: Worker):
    assert project.jobctl("--json", "-q", "list").json["runs"] == []


def test_every_error_is_json_where_json_is_asked_for(make_project: Callable[..., Project]):
    project = make_project("/nowhere")
    for words in (
        ["list"],
        ["status"],
        ["inspect", "x1"],
        ["logs", "x1"],
        ["wait", "x1"],
        ["stop"],
    ):
        result = project.jobctl(*words, "--json")
        assert result.code == 69
        assert result.out == ""
        assert json.loads(result.err)["error"]["code"] == "unreachable"


def test_the_boundary_reports_what_nobody_expected(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    def broken(_verb: object) -> object:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(boundary, "target", broken)
    result = project.jobctl("list", "--json")
    assert result.code == 1
    assert result.error["code"] == "internal"
