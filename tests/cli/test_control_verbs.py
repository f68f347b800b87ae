"""``revoke``, ``retry``, ``reload``, ``drain``, ``stop``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from project import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from project import Project


def test_a_queued_run_is_gone_at_once(project: Project, worker: Worker):
    run_id = project.submit("hello")
    result = project.jobctl("revoke", run_id)
    assert result.out == f"{run_id} queued -> revoked\n"
    assert project.run(run_id).state == "revoked"


def test_a_run_that_was_to_be_tried_again_is_called_so(project: Project, worker: Worker):
    run_id = project.submit("other")
    worker.finish("d", reason="exit", rc=1, delay=60.0)
    assert project.run(run_id).state == "retrying"
    assert project.jobctl("revoke", run_id).out == f"{run_id} retrying -> revoked\n"


def test_the_owner_of_a_running_run_is_asked(project: Project, worker: Worker):
    project.submit("hello")
    claim = worker.start()
    result = project.jobctl("revoke", claim.id, "--signal", "SIGINT", "--grace", "3s", "--no-kill")
    assert result.out == f"{claim.id} running -> stopping\n"
    assert worker.beat() == (f"revoke {claim.id} {claim.epoch} user INT 3.0 0",)


def test_a_final_run_says_so_and_stays(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish()
    result = project.jobctl("revoke", run_id)
    assert "has ended already" in result.out
    assert result.code == 0


def test_one_unknown_name_does_not_save_the_others(project: Project, worker: Worker):
    run_id = project.submit("hello")
    result = project.jobctl("revoke", "nosuch", run_id)
    assert result.code == 66
    assert "nosuch" in result.err
    assert project.run(run_id).state == "revoked"


def test_all_needs_yes_where_nobody_can_be_asked(project: Project, worker: Worker):
    run_id = project.submit("hello")
    result = project.jobctl("revoke", "--all")
    assert result.code == 2
    assert "--yes" in result.err
    assert project.run(run_id).state == "queued"


def test_all_can_be_restricted(project: Project, worker: Worker):
    hello = project.submit("hello")
    tagged = project.submit("hello", "--tag", "a=1")
    other = project.submit("other", "--in", "1h")
    shown = project.jobctl("revoke", "--all", "--job", "other", "--dry-run")
    assert shown.out.split() == [other]
    project.jobctl("revoke", "--all", "--tag", "a=1", "--yes")
    assert [project.run(run_id).state for run_id in (hello, tagged, other)] == [
        "queued",
        "revoked",
        "scheduled",
    ]
    assert project.jobctl("revoke", "--all", "--older", "1h", "--yes").code == 66
    project.jobctl("revoke", "--all", "--yes")
    assert project.run(other).state == "revoked"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--job", "hello"],
        ["--all", "hello"],
        ["hello", "--signal", "NOPE"],
        ["hello", "--grace", "x"],
    ],
)
def test_words_that_do_not_fit_together(project: Project, words: list[str]):
    assert project.jobctl("revoke", *words).code == 2


def test_revoke_waits_for_the_end(project: Project, worker: Worker):
    project.submit("hello")
    claim = worker.start()
    with worker.soon(lambda other: other.settle(claim, "v", reason="user"), delay=0.2):
        started = time.monotonic()
        assert project.jobctl("revoke", claim.id, "--wait").code == 0
    assert time.monotonic() - started > 0.15
    assert project.run(claim.id).state == "revoked"


def test_revoke_as_json(project: Project, worker: Worker):
    run_id = project.submit("hello")
    assert project.jobctl("revoke", run_id, "--json").json["runs"] == [
        {"id": run_id, "before": "queued", "after": "revoked", "stopping": False}
    ]


def test_revoke_as_json_has_the_end_that_was_waited_for(project: Project, worker: Worker):
    project.submit("hello")
    claim = worker.start()
    with worker.soon(lambda other: other.settle(claim, "v", reason="user"), delay=0.2):
        result = project.jobctl("revoke", claim.id, "--wait", "--json")
    assert result.json["runs"] == [
        {"id": claim.id, "before": "running", "after": "revoked", "stopping": False}
    ]


def test_a_retry_is_a_new_run_with_the_same_request(project: Project, worker: Worker):
    first = project.submit("other", "a", "k=v", "--tag", "x=1", "--timeout", "5s")
    worker.finish("x", reason="exit", rc=1)
    result = project.jobctl("retry", first)
    old, new = project.run(first).request, project.run(result.id).request
    assert new.id != first
    assert new.retry_of == first
    assert new.trigger == "retry"
    for name in ("job", "args", "kwargs", "tags", "queue", "priority", "max_attempts", "timeout"):
        assert getattr(new, name) == getattr(old, name)


def test_an_unfinished_run_is_not_retried_without_force(project: Project, worker: Worker):
    run_id = project.submit("hello")
    assert project.jobctl("retry", run_id).code == 2
    assert project.jobctl("retry", run_id, "--force").code == 0


def test_reload_reaches_every_supervisor(project: Project, worker: Worker):
    assert project.jobctl("reload", "--no-wait").code == 0
    assert worker.beat() == ("reload",)
    with worker.soon(lambda other: other.reloads()):
        result = project.jobctl("reload")
    assert result.code == 0
    assert "h1" in result.err


def test_reload_says_why_a_supervisor_could_not(project: Project, worker: Worker):
    with worker.soon(lambda other: other.reloads(reload_error="no such user")):
        result = project.jobctl("reload")
    assert result.code == 78
    assert "no such user" in result.err
    assert project.jobctl("reload", "--timeout", "50ms").code == 124


def test_reload_refuses_a_file_with_errors_before_it_tells_anybody(
    project: Project, worker: Worker
):
    assert project.jobctl("list").code == 0
    project.path.write_text(project.path.read_text() + '\n[jobs.bad]\ncomand = "x"\n')
    assert project.jobctl("reload").code == 78
    assert worker.beat() == ()


@pytest.mark.parametrize("verb", ["stop", "drain"])
def test_stop_waits_until_the_supervisor_has_left(project: Project, worker: Worker, verb: str):
    with worker.soon(lambda other: other.leave(), delay=0.3):
        result = project.jobctl(verb)
    assert result.code == 0
    assert "has ended" in result.err


def test_stop_need_not_wait(project: Project, worker: Worker):
    assert project.jobctl("stop", "--no-wait").code == 0
    assert worker.beat() == ("stop",)


def test_stop_gives_up_after_its_time(project: Project, worker: Worker):
    result = project.jobctl("stop", "--timeout", "100ms")
    assert result.code == 124


def test_only_the_host_named_is_told(project: Project, worker: Worker):
    other = Worker(project, host="h2")
    project.jobctl("stop", "--no-wait", "--host", "h2")
    assert (worker.beat(), other.beat()) == ((), ("stop",))
    assert project.jobctl("stop", "--host", "h3").code == 69


@pytest.mark.parametrize("verb", ["stop", "drain", "reload"])
def test_nothing_to_tell_exits_69(project: Project, verb: str):
    result = project.jobctl(verb)
    assert result.code == 69
    assert "no supervisor is running" in result.err


@pytest.mark.parametrize(
    ("words", "said", "by"),
    [
        (["shrink", "default"], "loses 1 slot.", -1),
        (["shrink", "default", "9"], "loses 3 slots, not 9: 1 is the fewest that it may have.", -3),
        (["grow", "default", "2"], "gets 2 more slots.", 2),
        (["grow", "default", "10000"], "gets 9996 more slots, not 10000: 10000 is the most", 9996),
    ],
)
def test_order_about_slots_says_what_becomes_of_it(
    project: Project, worker: Worker, words: list[str], said: str, by: int
):
    with worker.soon(lambda other: other.resizes(4 + by)):
        assert f"Pool default on h1 {said}" in project.jobctl("pool", *words).err
    worker.beat()
    with worker.soon(lambda other: other.resizes(4 + by)):
        assert project.jobctl("pool", *words, "--json").json["slots"] == {"h1": by}


def test_order_about_slots_that_is_not_carried_out_is_told(
    project: Project, worker: Worker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("jobctl.client.pools.PATIENCE", 0.2)
    result = project.jobctl("pool", "grow", "default")
    assert result.code == 124
    assert "did not say within 0.2 s that it is carried out; see `jobctl pool list`" in result.err


def test_order_that_changes_nothing_says_so(make_project: Callable[..., Project]):
    project = make_project(more="[pools.default]\nmin = 3\nmax = 4")
    worker = Worker(project)
    worker.beat(pools={"default": {"running": 0, "slots": 4, "most": 4}})
    assert "keeps its 4 slots, the most that" in project.jobctl("pool", "grow", "default").err
    with worker.soon(lambda other: other.resizes(3)):
        shrunk = project.jobctl("pool", "shrink", "default", "2")
    assert "loses 1 slot, not 2: 3 is" in shrunk.err
