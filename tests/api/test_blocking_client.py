"""The blocking client against a real daemon."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import enum
import functools
import os
import pickle
import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jobctl
from jobctl.api import making, operations
from jobctl.api.standard import usual_client
from jobctl.model.ids import is_id
from jobctl.model.run import Reason, RunState
from jobctl.store import failpoints, transitions
from jobctl.store.failpoint_plan import Plan
from jobctl.store.packing import packed
from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.host import Host


class Mode(enum.Enum):
    FAST = 1


def test_run_is_submitted_waited_for_and_its_result_read(client: jobctl.Client) -> None:
    run = client.submit("add", 1, 2, name="x")
    assert is_id(run.id)
    assert run.wait("30s") == {"sum": 3, "name": "x"}
    assert (run.state, run.result, run.attempt) == ("succeeded", {"sum": 3, "name": "x"}, 1)
    assert run.inspect()["kwargs"] == {"name": "x"}
    assert client.run(run.id) == run
    assert client.run("add") == run
    assert client.run(run.id[:10]).job == "add"


def test_failure_says_what_was_raised_where(client: jobctl.Client) -> None:
    run = client.submit("broken", text="missing: a")
    with pytest.raises(jobctl.JobFailed, match=r"LookupError: missing: a") as caught:
        run.wait(30)
    error = caught.value
    assert (error.id, error.job, error.state) == (run.id, "broken", "failed")
    assert (error.reason, error.error_type) == ("exception", "LookupError")
    assert "work.py" in str(error.traceback)
    with pytest.raises(jobctl.JobFailed):
        _ = run.result


@pytest.mark.parametrize("size", [2_500, 10_000, 50_000])
@pytest.mark.parametrize("more", ["xxxxxxxx", "\n  words"], ids=["one line", "lines"])
def test_failure_with_a_long_message_keeps_its_class_and_beginning(
    client: jobctl.Client, size: int, more: str
) -> None:
    run = client.submit("broken", text="begins here" + more * (size // 8))
    with pytest.raises(jobctl.JobFailed, match=r"LookupError: begins here") as caught:
        run.wait(30)
    assert caught.value.error_type == "LookupError"
    assert "work.py" in str(run.record.error)
    assert len(str(run.record.error)) <= 2_100


def test_exit_code_and_output_of_a_shell_job_come_back(client: jobctl.Client) -> None:
    run = client.submit("says", "3")
    with pytest.raises(jobctl.JobFailed, match="exit") as caught:
        run.wait(30)
    assert (caught.value.job_exit_code, caught.value.error_type) == (3, None)
    assert run.logs() == "one\ntwo\n"
    assert run.logs(lines=1) == "two\n"
    assert b"".join(run.follow()) == b"one\ntwo\n"


def test_events_tell_progress_and_the_end(client: jobctl.Client, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    run = client.submit("steps", pipe=str(pipe))
    seen = []
    for event in run.events(timeout=30):
        seen.append((event.kind, event.state, event.attempt))
        if event.kind == "progress":
            assert event.progress == {"percent": 40, "message": "halfway"} == run.progress()
            pipe.write_text("done\n")
    assert [item for item in seen if item[0] == "progress"][:1] == [("progress", "running", 1)]
    assert seen[-1] == ("state", "succeeded", 1)
    assert run.wait() == "done"


@pytest.mark.parametrize(
    ("job", "args", "progress"),
    [
        ("tells", (), {"percent": 91, "message": "ends"}),
        ("tells", (True,), {"percent": 92, "message": "ends"}),
        ("tells", (False, 2), None),
        ("counts", ("aloud",), {"percent": 2, "message": "counted"}),
        ("counts", ("silent",), None),
    ],
)
def test_ended_run_keeps_what_its_last_attempt_reported(client: jobctl.Client, job, args, progress):
    for run in client.submit_many(job, [args, args, args]):
        with contextlib.suppress(jobctl.JobFailed):
            run.wait(30)
        assert run.progress() == progress
        assert run.inspect()["progress"] == progress


def test_wait_that_runs_out_names_the_run_and_leaves_it(
    client: jobctl.Client, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    run = client.submit("waits", pipe=str(pipe))
    with pytest.raises(jobctl.WaitTimeout, match="it goes on") as caught:
        run.wait(0.05)
    assert caught.value.id == run.id
    with pytest.raises(jobctl.RunNotEnded, match="wait"):
        _ = run.result
    assert run.revoke(grace="1s") is True
    with pytest.raises(jobctl.JobFailed, match="revoked") as ended:
        run.wait(30)
    assert (ended.value.state, ended.value.reason) == ("revoked", "user")
    assert run.revoke() is False


@pytest.mark.parametrize("never", [datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.9999999"])
def test_start_after_the_last_year_is_refused(client: jobctl.Client, never: object) -> None:
    with pytest.raises(jobctl.InvalidArguments, match="1970 and 9999"):
        client.submit("kept", _at=never)


@pytest.mark.parametrize("tags", [{"a": None}, {None: "a"}, {"a": "\0"}])
def test_tag_that_is_no_text_is_refused(client: jobctl.Client, tags: dict[Any, Any]) -> None:
    with pytest.raises(jobctl.InvalidArguments, match="tag"):
        client.submit("kept", _tags=tags)


def test_client_says_why_it_cannot_be_pickled(client: jobctl.Client) -> None:
    _ = client.submit("add", 1, 2).state
    with pytest.raises(TypeError, match="make one there"):
        pickle.dumps(client)


def test_unknown_run_does_not_keep_others_from_being_revoked(client: jobctl.Client) -> None:
    kept = [client.submit("kept") for _ in range(2)]
    with pytest.raises(jobctl.NoSuchRun, match="1 of 3 runs") as caught:
        client.revoke([kept[0].id, "a" * 16, kept[1].id])
    assert list(caught.value.ids) == ["a" * 16]
    assert [run.state for run in kept] == ["revoked", "revoked"]


def test_events_begin_with_the_state_the_run_is_in(client: jobctl.Client, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    run = client.submit("reports", pipe=str(pipe))
    wait_until(lambda: run.progress() is not None)
    events = run.events(timeout=30)
    first = [next(events), next(events)]
    assert [(one.kind, one.state) for one in first] == [
        ("state", "running"),
        ("progress", "running"),
    ]
    pipe.open("w").close()
    assert [(one.kind, one.state) for one in events] == [("state", "succeeded")]


def test_one_id_for_several_items_is_refused(client: jobctl.Client) -> None:
    for what in (("kept", [{}, {}]), ([("kept", {}), ("kept", {})],)):
        with pytest.raises(jobctl.InvalidArguments, match="give each its own") as caught:
            client.submit_many(*what, _id="same")
        assert list(caught.value.items) == [1]
    (run,) = client.submit_many("kept", [{}], _id="only one")
    assert run.state == "queued"
    run.revoke()


def test_options_reach_the_run(client: jobctl.Client) -> None:
    due = datetime(2090, 1, 2, 3, tzinfo=UTC)
    run = client.submit(
        "kept",
        _at=due,
        _queue="nobody",
        _priority=9,
        _retries=4,
        _timeout=timedelta(minutes=2),
        _tags={"order": 7},
        _expires="3650d",
        _kwargs={"_odd": 1},
        plain=2,
    )
    found = run.record
    assert (found.state, found.not_before) == ("scheduled", due.timestamp())
    request = found.request
    assert (request.priority, request.max_attempts, request.timeout) == (9, 5, 120.0)
    assert (request.tags, request.kwargs) == ({"order": "7"}, {"_odd": 1, "plain": 2})
    assert client.submit("kept", _in="10m").state == "scheduled"


def test_key_makes_a_repetition_harmless(client: jobctl.Client) -> None:
    first = client.submit("kept", 1, _id="order 77")
    again = client.submit("kept", 2, _id="order 77")
    assert first == again
    assert client.submit("kept", 1, _id="order 78") != first
    assert again.record.request.args == (1,)


def test_unique_job_gives_the_run_that_waits(client: jobctl.Client) -> None:
    assert client.submit("single", "a") == client.submit("single", "a")


@pytest.mark.parametrize(
    ("job", "args", "kwargs", "says"),
    [
        ("thumbnail", (), {}, "path: is missing"),
        ("thumbnail", ("a",), {"width": "3"}, "width: '3' is not a whole number"),
        ("thumbnail", ("a",), {"widht": 20}, "did you mean width"),
        ("add", (), {"_qeue": "x"}, "no option _qeue; did you mean _queue"),
        ("add", (), {"_in": "soon"}, "_in: "),
        ("add", (), {"_in": True}, "_in: True is no duration"),
        ("add", (), {"_at": "never"}, "_at: 'never' is no date"),
        ("add", (), {"_in": 1, "_at": "2090-01-01"}, "given twice"),
        ("add", (), {"_priority": 11}, "priority 11"),
        ("add", (), {"_priority": "9"}, "_priority: '9' is not a whole number"),
        ("add", (), {"_tags": "x"}, "_tags: 'x' is no dict"),
        ("add", (), {"_force": "no"}, "_force: 'no' is neither True nor False"),
        ("add", (), {"_id": ""}, "id: write 1 to "),
        ("thumbnail", (Path("a"),), {}, r"is not text; pass str\(value\) for it"),
        ("thumbnail", (b"a",), {}, r"is not text; pass value.decode\(\) for it"),
        ("thumbnail", ("a",), {"width": Mode.FAST}, "whole number; pass value.value for it"),
        ("add", (), {"_kwargs": {"a": 1}, "a": 2}, "a: is given twice"),
        ("add", (datetime(2026, 1, 1, tzinfo=UTC),), {}, "argument 1: a datetime cannot be passed"),
        ("add", (RunState.QUEUED, Reason), {}, "argument 2: a EnumType cannot be passed"),
        ("add", (), {"n": Mode.FAST}, "n: a Mode cannot be passed .* as value.value"),
        ("add", (), {"n": float("nan")}, "n: holds a number that JSON does not have .* pass None"),
        ("add", (1, [{"a": float("inf")}]), {}, "argument 2: holds a number that JSON does not"),
        ("add", ("a\0b",), {}, "NUL"),
        ("add", ("x" * 5_000_000,), {}, "the limit is"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(client: jobctl.Client, job, args, kwargs, says):
    with pytest.raises(jobctl.InvalidArguments, match=says):
        client.submit(job, *args, **kwargs)


def test_unknown_names_are_told_with_the_nearest(client: jobctl.Client) -> None:
    with pytest.raises(jobctl.NoSuchJob, match="did you mean thumbnail") as caught:
        client.submit("thumbnale")
    assert caught.value.job == "thumbnale"
    with pytest.raises(jobctl.NoSuchRun):
        client.run("aaaaaaaaaaaaaaaa")
    gone = jobctl.Run(client, "aaaaaaaaaaaaaaaa", "add")
    for ask in (gone.wait, gone.refresh, gone.progress, gone.revoke, lambda: list(gone.events())):
        with pytest.raises(
            jobctl.NoSuchRun, match=r"job add was accepted.*keep_days = 7"
        ) as missing:
            ask()
        assert missing.value.id == gone.id


def test_queue_that_does_not_exist_is_refused(client: jobctl.Client) -> None:
    with pytest.raises(jobctl.InvalidArguments, match=r"no queue 'smal' in .*mean small"):
        client.submit("add", 1, _queue="smal")
    with pytest.raises(
        jobctl.InvalidArguments, match=r"item 1: no queue 'smal'.*nothing was submitted"
    ):
        client.submit_many("kept", [{}, {"_queue": "smal"}], _tags={"of": "refused"})
    assert client.submit("add", 1, _queue="nobody").revoke() is True


def test_arguments_that_a_command_ignores_are_warned_of(client: jobctl.Client) -> None:
    with pytest.warns(UserWarning, match="job deaf: its command uses no arguments") as caught:
        run = client.submit("deaf", "x")
    assert caught[0].filename == __file__
    assert run.revoke() is True
    client.submit("deaf", name="x").revoke()


def test_full_queue_and_refused_runs_of_many_are_named(client: jobctl.Client) -> None:
    client.submit("full", _in="1h")
    kept = client.submit("full", _queue="small", _id="first of small")
    with pytest.raises(jobctl.NotAccepted, match="full") as caught:
        client.submit("full")
    assert caught.value.ids != [kept.id]
    with pytest.raises(jobctl.NotAccepted, match="2 of 3 runs") as many:
        client.submit_many([("kept", [1]), ("full", []), ("full", [])])
    assert len(many.value.ids) == 2


def test_many_are_submitted_in_order(client: jobctl.Client) -> None:
    runs = client.submit_many("add", [(number, 1) for number in range(40)], _tags={"set": "a"})
    assert [run.wait(30)["sum"] for run in runs] == list(range(1, 41))
    assert runs[3].record.request.tags == {"set": "a"}
    mixed = client.submit_many(
        [
            ("thumbnail", {"path": "a", "_id": "mine"}),
            ("thumbnail", ("b", 20), {"_priority": 8}),
            ("add", 5),
        ]
    )
    assert [run.wait(30) for run in mixed] == ["a at 320", "b at 20", {"sum": 5}]
    assert client.submit("thumbnail", "a", _id="mine") == mixed[0]


def test_of_many_none_is_sent_when_one_does_not_fit(client: jobctl.Client) -> None:
    with pytest.raises(jobctl.InvalidArguments, match=r"item 1: .*path: is missing.*nothing was"):
        client.submit_many("thumbnail", [{"path": "never", "_id": "one of none"}, {}])
    first = client.submit("thumbnail", path="later", _id="one of none")
    assert first.wait(30) == "later at 320"
    with pytest.raises(jobctl.InvalidArguments, match="asks for no run"):
        client.submit_many(["add"])


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda c: c.submit_many("add", "abc"), "items: 'abc' is one, not several; pass a list"),
        (lambda c: c.submit_many("add", b"abc"), "items: b'abc' is one, not several"),
        (lambda c: c.submit_many("add", {"a": 1}), r"items: {'a': 1} is one, not several"),
        (lambda c: c.submit_many({"add": (1,)}), "items: .* is one, not several"),
        (lambda c: c.submit_many("add", 5), "items: 5 is no series"),
        (lambda c: c.submit_many("add", None), "submit_many of add: there are no items"),
        (lambda c: c.submit_many(5), "items: 5 is no series"),
        (lambda c: c.submit_many([("add", (), 5)]), "its options are no dict: 5"),
        (lambda c: c.submit_many("add", [{1: 2}]), "item 0: job add: 1 is no name for an argument"),
        (lambda c: c.submit("add", _kwargs={1: 2}), "1 is no name for an argument"),
        (
            lambda c: c.submit("add", [{"a": {1: 2}}]),
            r"argument 1\[0\]\['a'\]: the key 1 is no text",
        ),
        (lambda c: c.submit("add", _tags={1: "a", "1": "b"}), "_tags: two names"),
        (lambda c: c.run(None), "None is no run: give its id"),
        (lambda c: c.run(5), "5 is no run"),
        (lambda c: c.revoke(None), "ids: None is no series"),
        (lambda c: c.revoke("abcd"), r"ids: 'abcd' is one, not several; .* revoke\(\[run.id\]\)"),
        (lambda c: c.revoke([5]), "ids: 5 is no id of a run"),
        (lambda c: c.submit("kept").revoke(signal="NOPE"), "signal: 'NOPE' is none"),
        (lambda c: c.submit("kept").revoke(kill="no"), "kill: 'no' is neither True nor False"),
        (lambda c: c.submit("kept").logs(lines="x"), "lines: 'x' is no whole number from 0 on"),
        (lambda c: c.submit("kept").logs(lines=True), "lines: True is no whole number"),
        (lambda c: c.submit("kept").logs(attempt="x"), "attempt: 'x' is no whole number from 1 on"),
        (lambda c: c.submit("kept").logs(attempt=0), "attempt: 0 is no whole number from 1 on"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused_with_a_remedy(
    client: jobctl.Client, ask: Callable[[jobctl.Client], object], says: str
) -> None:
    with pytest.raises(jobctl.InvalidArguments, match=says):
        ask(client)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"namespace": "a b"}, "namespace: 'a b' cannot be a name; names are 1 to 64 letters"),
        ({"namespace": ""}, "namespace: ''"),
        ({"namespace": 5}, "namespace: 5 is not text"),
        ({"redis": 5}, "redis: 5 is no URL"),
        ({"config": 5}, "config: 5 is no path"),
        ({"key_file": 5}, "key_file: 5 is no path"),
    ],
)
@pytest.mark.parametrize("kind", [jobctl.Client, jobctl.AsyncClient])
def test_client_is_not_made_of_what_jobs_toml_would_not_take(
    shop: Host, kind: Callable[..., object], given: dict[str, Any], says: str
) -> None:
    with pytest.raises(jobctl.ConfigError, match=says):
        kind(**{"config": shop.config, **given})


def test_threads_share_a_client(client: jobctl.Client) -> None:
    results: list[int] = []

    def work(number: int) -> None:
        results.append(client.submit("add", number).wait(60)["sum"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))


def test_fork_leaves_the_connection_to_its_parent(client: jobctl.Client) -> None:
    client.submit("kept")
    ours = client._operations.session.store._sock
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            theirs = client.submit("add", 20, 1).wait(60)["sum"]
            os.write(writable, str(theirs).encode())
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as stream:
        assert stream.read() == "21"
    os.waitpid(child, 0)
    assert client.submit("add", 3).wait(60) == {"sum": 3}
    assert client._operations.session.store._sock is ours


def test_file_that_changes_while_it_is_read_is_read_again(
    shop: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "jobs.toml"
    text = shop.config.read_text().replace('cwd = "."', f'cwd = "{shop.directory}"')
    config.write_text(text)
    read = operations.read_plain

    def written_meanwhile(*asked: Any) -> Any:
        plain = read(*asked)
        config.write_text(text + '[jobs.fresh]\ncommand = "true"\n')
        return plain

    monkeypatch.setattr(operations, "read_plain", written_meanwhile)
    monkeypatch.setattr(operations, "LOOK_EVERY", 0.0)
    with jobctl.Client(config) as client:
        monkeypatch.undo()
        monkeypatch.setattr(operations, "LOOK_EVERY", 0.0)
        assert "fresh" not in client.jobs
        client.submit("add", 1).wait(30)
        assert client.jobs[-1] == "fresh"


def test_child_of_a_fork_is_not_kept_by_a_client_that_another_thread_made(shop: Host) -> None:
    held, let_go = threading.Event(), threading.Event()

    def makes() -> None:
        with making.lock:
            held.set()
            let_go.wait(30)

    thread = threading.Thread(target=makes)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(10)
            jobctl.configure(shop.config)
            os._exit(0 if "add" in usual_client().jobs else 1)
        finally:
            os._exit(2)
    let_go.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_changed_file_is_read_again(shop: Host, tmp_path: Path) -> None:
    config = tmp_path / "jobs.toml"
    text = shop.config.read_text().replace('cwd = "."', f'cwd = "{shop.directory}"')
    config.write_text(text)
    with jobctl.Client(config) as client:
        config.write_text(text + '[jobs.fresh]\ncommand = "true"\n')
        client.reload()
        assert client.jobs[-1] == "fresh"
        config.write_text("[jobs.fresh]\nno_such = 1\n")
        with pytest.raises(jobctl.ConfigError):
            client.reload()
        assert client.submit("add", 1).wait(30) == {"sum": 1}


def test_changed_file_is_noticed_by_itself(
    shop: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobctl.api.operations.LOOK_EVERY", 0.0)
    config = tmp_path / "jobs.toml"
    text = shop.config.read_text().replace('cwd = "."', f'cwd = "{shop.directory}"')
    config.write_text(text)

    async def story() -> None:
        async with jobctl.AsyncClient(config) as waiting:
            config.write_text(text + '[jobs.later]\ncommand = "true"\n')
            assert (await waiting.submit("later", _queue="nobody")).job == "later"
            await waiting.reload()

    with jobctl.Client(config) as client:
        config.write_text(text + '[jobs.fresh]\ncommand = "true"\n')
        assert client.submit("fresh", _queue="nobody").state == "queued"
        config.write_text("[jobs.fresh]\nno_such = 1\n")
        assert client.submit("fresh", _queue="nobody").state == "queued"
    config.write_text(text)
    asyncio.run(story())


def test_store_that_is_away_is_told_apart_from_one_that_did_not_answer(tmp_path: Path) -> None:
    config = tmp_path / "jobs.toml"
    config.write_text(f'[jobctl]\nstate_dir = "{tmp_path}/state"\n[jobs.a]\ncommand = "true"\n')
    with jobctl.Client(config, store_wait=0) as client:
        with pytest.raises(jobctl.StoreUnreachable, match="no daemon is running") as caught:
            client.submit("a")
        assert is_id(caught.value.id or "")
    with pytest.raises(jobctl.ConfigError):
        jobctl.Client(tmp_path / "none.toml")


def test_lost_answer_is_asked_for_again_and_makes_no_second_run(
    client: jobctl.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "active", Plan("cli", "after:submit=drop@1"))
    run = client.submit("add", 1, _id="asked for again")
    assert failpoints.active is not None
    monkeypatch.setattr(failpoints, "active", None)
    assert run.wait(30) == {"sum": 1}
    assert client.submit("add", 1, _id="asked for again") == run


def test_lone_submit_whose_answer_is_lost_makes_no_second_run(
    client: jobctl.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.submit("add", 1)  # from here on there is a plan
    monkeypatch.setattr(failpoints, "active", Plan("cli", "after:submit=drop@1"))
    run = client.submit("add", 2)
    monkeypatch.setattr(failpoints, "active", None)
    assert run.wait(30) == {"sum": 2}
    assert run.attempt == 1


def test_lone_submit_that_is_not_answered_is_told_with_the_id_to_repeat(
    shop: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jobctl.Client(shop.config, store_wait=0) as client:
        client.submit("kept", 0)  # from here on there is a plan
        monkeypatch.setattr(failpoints, "active", Plan("cli", "after:submit=drop"))
        with pytest.raises(jobctl.SubmitUnknown, match="cannot run twice") as caught:
            client.submit("kept", 1)
        monkeypatch.setattr(failpoints, "active", Plan("cli", "before:submit=drop"))
        with pytest.raises(jobctl.StoreUnreachable, match="not accepted") as away:
            client.submit("kept", 2)
        monkeypatch.setattr(failpoints, "active", None)
        assert client.run(caught.value.id or "").record.request.args == (1,)
        with pytest.raises(jobctl.NoSuchRun):
            client.run(away.value.id or "")


def test_lone_submit_sends_what_a_batch_sends(client: jobctl.Client) -> None:
    operations = client._operations
    plan = operations._plan("add")
    run = plan.ready(("é", 1), {"name": "ü"})
    lone = plan.call(run)
    whole = transitions.submit_groups(
        operations.session.keys, [(plan.header, [(run.id, lone.parts[-1], "", "", "")])]
    )
    assert plan.lone
    assert lone.data is not None
    assert whole.data is None
    assert (packed(lone), lone.parts) == (packed(whole), whole.parts)


def test_answer_that_stays_lost_is_told_with_the_id_to_repeat(
    shop: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jobctl.Client(shop.config, store_wait=0) as client:
        monkeypatch.setattr(failpoints, "active", Plan("cli", "after:submit=drop"))
        with pytest.raises(jobctl.SubmitUnknown, match="cannot run twice") as caught:
            client.submit("kept", 1)
        with pytest.raises(jobctl.SubmitUnknown) as many:
            client.submit_many("kept", [(2,), (3,)])
        monkeypatch.setattr(failpoints, "active", None)
        assert len(many.value.ids) == 2
        again = client.submit("kept", "another", _id=caught.value.id)
        assert (again.id, again.record.request.args) == (caught.value.id, (1,))


def test_redis_and_namespace_take_the_place_of_what_the_file_says(
    shop: Host, client: jobctl.Client
) -> None:
    socket = client._operations.session.address.path
    with jobctl.Client(shop.config, redis=f"unix://{socket}", namespace="another") as other:
        run = other.submit("add", 1)
        assert run.state == "queued"
    with pytest.raises(jobctl.NoSuchRun):
        client.run(run.id)


def test_client_without_a_file_looks_waits_and_revokes(
    client: jobctl.Client, shop: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(jobctl.ConfigError, match=r"no jobs\.toml found"):
        jobctl.Client()
    address = f"unix://{client._operations.session.address.path}"
    done, kept, left = client.submit("add", 1, tag="x"), *client.submit_many("kept", [{}, {}])
    with jobctl.Client(redis=address, key_file=shop.state / "signing.keys") as other:
        assert other.jobs == []
        seen = other.run(done.id)
        assert seen.wait(30) == {"sum": 1, "tag": "x"}
        assert (seen.inspect()["args"], seen.inspect()["kwargs"]) == (["***"], {"tag": "***"})
        assert other.run("kept").state == "queued"
        assert other.run(kept.id).revoke() is True
        with pytest.raises(jobctl.NoSuchJob, match=r"this client has no jobs\.toml.*copy it"):
            other.submit("add", 1)
    assert left.revoke() is True


def test_key_file_takes_the_place_of_what_the_file_says(shop: Host, tmp_path: Path) -> None:
    with (
        jobctl.Client(shop.config, key_file=tmp_path / "none.keys") as other,
        pytest.raises(jobctl.ConfigError, match=r"there is no key file .*/none\.keys"),
    ):
        other.submit("add", 1)


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (functools.partial(print), "has no name"),
        (Mode, "Mode is a class"),
        (classmethod(print), "print is a class method; write @classmethod above @job"),
    ],
)
def test_what_is_no_function_is_not_declared(thing, says) -> None:
    with pytest.raises(TypeError, match=f"@job: .*{says}"):
        jobctl.job(thing)


def test_handle_says_how_it_gets_to_another_process(client: jobctl.Client):
    run = client.submit("add")
    with pytest.raises(TypeError, match="pass its id"):
        pickle.dumps(run)
    assert client.run(pickle.loads(pickle.dumps(run.id))) == run
    assert copy.deepcopy({"run": run}) == {"run": run}
