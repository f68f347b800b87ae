from __future__ import annotations

import asyncio
import datetime as dt
import gc
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from jobctl import (
    AsyncClient,
    Client,
    InvalidArguments,
    JobFailed,
    NoSuchJob,
    NoSuchRun,
    WaitTimeout,
    current,
)
from jobctl.client.open import Session
from jobctl.testing import EagerError, FakeClock, eager, wait_until

JOBS = """
[defaults]
cwd = "."

[jobs.double]
python = "eager_shop:double"
params.number = { type = "int", min = 0 }

[jobs.flaky]
python = "eager_shop:flaky"
retries = 2
retry_delay = "1m"
retry_jitter = 0

[jobs.odd]
python = "eager_shop:odd"

[jobs.waits]
python = "eager_shop:waits"

[jobs.tells]
python = "eager_shop:tells"
env = { SHOP = "open" }

[jobs.leaves]
python = "eager_shop:leaves"
skip_codes = [75]

[jobs.gone]
python = "eager_shop:gone"

[jobs.single]
python = "eager_shop:double"
unique = "args"

[jobs.nightly]
python = "eager_shop:tells"
schedule = "30 2 * * *"
timezone = "Europe/Berlin"

[jobs.says]
python = "eager_shop:says"
retries = 3
retry_on = ["ValueError"]
expected = ["LookupError"]

[jobs.picky]
python = "eager_shop:picky"
soft_timeout = "0.1s"
retries = 2
retry_on = ["jobctl.SoftTimeout", "json.JSONDecodeError"]

[jobs.asks]
python = "eager_shop:asks"
timeout = "1m"
tags = { team = "ops" }
retries = 1

[jobs.slow]
python = "eager_shop:slow"
timeout = "0.5s"
retries = 1

[jobs.warned]
python = "eager_shop:warned"
soft_timeout = "0.1s"
timeout = "1m"

[jobs.warned_later]
python = "eager_shop:warned_later"
soft_timeout = "0.1s"

[jobs.hooked]
python = "eager_shop:flaky"
retries = 1
on_failure = ["told", "command"]
on_success = ["told"]
on_retry = ["told"]

[jobs.told]
python = "eager_shop:told"
kwargs = { by = "hook" }
on_success = ["told_again"]

[jobs.told_again]
python = "eager_shop:told"
kwargs = { by = "hook of the hook" }

[jobs.changes]
python = "eager_shop:changes"

[jobs.reads]
python = "eager_shop:reads"
stdin = "hello"

[jobs.passes_on]
python = "eager_shop:passes_on"

[jobs.meets]
python = "eager_shop:meets"
env = { MEETS = "yes" }

[jobs.command]
command = "true"
"""

CODE = """
import datetime, os, sys, threading, uuid
calls = []
BOTH, ENTERED, ENDED = threading.Barrier(2), threading.Event(), threading.Event()

def meets(number, stays):
    print("I am", number)
    if threading.current_thread() is threading.main_thread():
        import signal
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    ENTERED.set()
    BOTH.wait(10)
    if stays:
        ENDED.wait(10)
    print("I was", number)

def double(number):
    calls.append(number)
    return {"number": 2 * number, "at": datetime.date(2026, 1, 2), "all": {3}, "pair": (1, 2)}

def flaky(fail):
    calls.append(os.environ["JOBCTL_ATTEMPT"])
    if len(calls) <= fail:
        raise ConnectionError(f"call {len(calls)}")
    return len(calls)

def odd(kind):
    return object() if kind == "object" else "x" * 2_000_000

async def waits(text):
    import asyncio
    await asyncio.sleep(0)
    return text.upper()

def tells(**given):
    print("out", os.environ.get("SHOP"), os.environ["JOBCTL_JOB"], file=sys.stdout)
    print("err", os.environ["JOBCTL_SCHEDULED_AT"], file=sys.stderr)
    with open(os.environ["JOBCTL_PROGRESS_FILE"], "a") as file:
        file.write("40 half way\\n")
    return {"trigger": os.environ["JOBCTL_TRIGGER"], "given": given}

def says(word, reason="", in_=None):
    from jobctl import Fatal, Retry, Skip
    calls.append(word)
    if word == "Retry":
        raise Retry(reason, in_=in_)
    if word == "fail":
        import pytest
        pytest.fail("not this")
    raise {"Skip": Skip, "Fatal": Fatal, "KeyError": KeyError, "ValueError": ValueError,
           "KeyboardInterrupt": KeyboardInterrupt}[word](reason)

def picky(text):
    import json, time
    calls.append(text)
    if text == "wait":
        time.sleep(60)
    json.loads(text)
    raise LookupError(text)

def asks(fail=False):
    from jobctl import current
    run = current()
    run.progress(140, "asking")
    with run.finish_once("paid") as mine:
        if fail and run.attempt == 1:
            raise ConnectionError("in the block")
    child = run.submit("tells", day="2026-01-02", _id="child", _tags={"a": "b"})
    return {
        "first": run.once("mail"), "mine": mine, "child": child, "id": run.id,
        "attempt": run.attempt, "tags": run.tags, "left": run.remaining() > 0,
        "stop": run.should_stop(), "max": run.max_attempts,
    }

def changes():
    import signal
    os.environ["ADDED"] = "x"
    os.environ["KEPT"] = "changed"
    os.environ = {}
    os.chdir("/")
    os.umask(0o077)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return "done"

def reads():
    return [input(), sys.stdin.read()]

def passes_on(options):
    from jobctl import current
    current().submit("tells", **options)

def leaves(code):
    sys.exit(code)

def slow(swallow=False):
    import time
    calls.append("slow")
    try:
        time.sleep(60)
    except BaseException:
        if not swallow:
            raise
    finally:
        calls.append("cleaned")

def warned():
    import time
    from jobctl import SoftTimeout
    try:
        time.sleep(60)
    except SoftTimeout as error:
        return str(error)

async def warned_later():
    import asyncio
    from jobctl import SoftTimeout
    try:
        await asyncio.sleep(60)
    except SoftTimeout as error:
        return str(error)

def told(by):
    names = ("RUN_ID", "JOB", "STATE", "ATTEMPT", "REASON", "ERROR")
    calls.append((by, *(os.environ["JOBCTL_PARENT_" + name] for name in names[1:5])))
    return os.environ["JOBCTL_PARENT_ERROR"]
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eager")
    (folder / "jobs.toml").write_text(JOBS)
    (folder / "eager_shop.py").write_text(CODE)
    return folder / "jobs.toml"


@pytest.fixture
def client(jobs):
    yield Client(jobs)
    sys.modules.pop("eager_shop", None)


def shop():
    return sys.modules["eager_shop"]


def test_run_has_ended_when_submit_returns(client) -> None:
    with eager() as seen:
        client.submit("double", number=21)

    assert [one.state for one in seen.runs] == ["succeeded"]
    assert [one.request.kwargs for one in seen.of("double")] == [{"number": 21}]
    assert shop().calls == [21]


def test_runs_of_eager_mode_can_be_counted_and_gone_through(client) -> None:
    with eager() as seen:
        assert (len(seen), list(seen), bool(seen)) == (0, [], True)
        handles = client.submit_many("double", [{"number": 1}, {"number": 2}])
        assert len(seen) == 2
        assert [run.id for run in seen] == [handle.id for handle in handles]


def test_result_is_what_travels_and_not_what_was_returned(client) -> None:
    with eager():
        run = client.submit("double", number=1)
        expected = {"number": 2, "at": "2026-01-02", "all": [3], "pair": [1, 2]}

        assert run.wait() == run.result == expected
        assert run.inspect()["state"] == "succeeded"


def test_arguments_are_checked_and_written_as_always(client) -> None:
    with eager() as seen:
        with pytest.raises(InvalidArguments, match="less than 0"):
            client.submit("double", number=-1)
        with pytest.raises(InvalidArguments, match="date cannot be passed"):
            client.submit("tells", day=dt.date(2026, 1, 1))
        with pytest.raises(NoSuchJob, match="did you mean double"):
            client.submit("duoble")
        assert client.submit("tells", pair=(1, 2)).result["given"] == {"pair": [1, 2]}
    assert [run.job for run in seen.runs] == ["tells"]


def test_failed_attempts_are_followed_by_others(client, capsys) -> None:
    with eager() as seen:
        assert client.submit("flaky", fail=2).wait() == 3
        run = client.submit("flaky", fail=99)

        assert run.state == "failed"
        assert [one.error.splitlines()[-1] for one in run.record.attempts] == [
            f"ConnectionError: call {number}" for number in (4, 5, 6)
        ]
        with pytest.raises(JobFailed, match="ConnectionError: call 6") as caught:
            run.wait()
    assert caught.value.reason == "exception"
    assert '\n  File "' + shop().__file__ in caught.value.traceback
    said = capsys.readouterr().err
    assert said.startswith('Traceback (most recent call last):\n  File "' + shop().__file__)
    assert "During handling" not in said
    assert shop().calls[-3:] == ["1", "2", "3"]
    assert seen.runs[0].attempt == 3


def test_errors_are_raised_where_the_run_was_submitted_when_asked_for(client) -> None:
    with eager(raise_errors=True), pytest.raises(ConnectionError, match="call 3"):
        client.submit("flaky", fail=99)


@pytest.mark.parametrize(
    ("job", "kwargs", "state", "reason", "error"),
    [
        ("odd", {"kind": "object"}, "failed", "result", "cannot be stored as JSON"),
        ("odd", {"kind": "large"}, "failed", "result", "the limit is"),
        ("gone", {}, "failed", "spawn", "no function 'gone'"),
        ("leaves", {"code": 3}, "failed", "exit", "exit code 3"),
        ("leaves", {"code": 75}, "skipped", "code", "skip_codes"),
        ("leaves", {"code": "so"}, "failed", "exit", "so"),
        ("leaves", {"code": 0}, "succeeded", None, None),
    ],
)
def test_other_ends_are_those_of_a_pool(client, job, kwargs, state, reason, error) -> None:
    with eager():
        record = client.submit(job, **kwargs).record

    assert (record.state, record.reason) == (state, reason)
    assert (error or "") in (record.error or "")


def test_output_progress_and_environment_are_those_of_the_run(client, capsys) -> None:
    with eager():
        run = client.submit("tells")
        assert run.logs() == "out open tells\nerr \n"
        assert run.logs(lines=1) == "err \n"
        assert b"".join(run.follow()) == run.logs().encode()
        assert run.progress() == {"percent": 40.0, "message": "half way"}
        assert [event.state for event in run.events()] == ["succeeded"]
    assert capsys.readouterr().out == "out open tells\n"
    assert "SHOP" not in os.environ
    assert not any(name.startswith("JOBCTL_RUN") for name in os.environ)


def test_what_a_function_changes_is_put_back(client, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEPT", "kept")

    def state():
        mask = os.umask(0o022)
        os.umask(mask)
        return dict(os.environ), os.environ, Path.cwd(), mask, signal.getsignal(signal.SIGUSR1)

    before = state()
    with eager():
        assert client.submit("changes").wait() == "done"
    assert state() == before


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("stays", [1, 2])
def test_runs_of_several_threads_leave_nothing_of_each_other(client, first, stays) -> None:
    def state():
        streams = sys.stdin, sys.stdout, sys.stderr
        handler = signal.getsignal(signal.SIGUSR1)
        return dict(os.environ), os.environ, *streams, list(sys.path), Path.cwd(), handler

    said = {}

    def entered() -> bool:
        return "eager_shop" in sys.modules and shop().ENTERED.is_set()

    def submits(number: int) -> None:
        if number != first:
            wait_until(entered, what="the other is under way")
        said[number] = client.submit("meets", number, stays=number == stays).logs()
        shop().ENDED.set()

    before = state()
    with eager():
        thread = threading.Thread(target=submits, args=[2])
        thread.start()
        submits(1)  # where signal handlers can be set
        thread.join(20)
    assert state() == before
    assert said == {1: "I am 1\nI was 1\n", 2: "I am 2\nI was 2\n"}


def test_stdin_is_what_the_job_says(client) -> None:
    before = sys.stdin
    with eager():
        assert client.submit("reads").wait() == ["hello", ""]
    assert sys.stdin is before


def test_runs_are_found_as_usual(client) -> None:
    with eager():
        first, second = client.submit_many("double", [{"number": 1}, {"number": 2}])
        assert client.run("double") == client.run("@last") == second
        assert client.run(first.id[:8]) == first
        assert client.submit("double", number=5, _id="order-5") == client.submit(
            "double", number=5, _id="order-5"
        )
        with pytest.raises(
            InvalidArguments, match=f"the id {first.id} is that of a run of job double"
        ):
            client.submit("odd", _id=first.id)
        with pytest.raises(NoSuchRun):
            client.run("aaaaaaaaaaaaaaaa")
    assert shop().calls == [1, 2, 5]


def test_queue_is_one_of_the_file(client) -> None:
    with eager():
        assert client.submit("double", number=1, _queue="default").state == "succeeded"
        with pytest.raises(InvalidArguments, match=r"no queue 'defualt'.*did you mean default"):
            client.submit("double", number=1, _queue="defualt")


def test_event_loop_of_the_caller_does_not_matter(client, jobs) -> None:
    async def main() -> object:
        async with AsyncClient(jobs) as other:
            run = await other.submit("waits", text="hello")
            assert await run.state() == "succeeded"
            assert (await other.run("waits")).id == run.id
            assert [piece async for piece in (await other.submit("tells")).follow()] == [
                b"out open tells\nerr \n"
            ]
            return await run.wait()

    with eager():
        assert asyncio.run(main()) == "HELLO"
        assert client.submit("waits", "ok").result == "OK"


def test_commands_are_refused(client) -> None:
    with eager(), pytest.raises(EagerError, match="use PrivateDaemon"):
        client.submit("command")
    with pytest.raises(EagerError, match="clock: 5 is none that can be moved"), eager(clock=5):
        pass
    with eager(), pytest.raises(EagerError, match="cannot be nested"), eager():
        pass
    with pytest.raises(EagerError, match="need a clock"), eager(schedules=True):
        pass


@pytest.mark.parametrize("swallow", [False, True])
def test_function_that_takes_too_long_is_stopped_and_tried_again(client, swallow) -> None:
    with eager():
        run = client.submit("slow", swallow=swallow)
        assert (run.state, run.record.reason, run.attempt) == ("failed", "timeout", 2)
        with pytest.raises(JobFailed, match=r"did not end within its timeout of 0\.5 s"):
            run.wait()
    assert shop().calls == ["slow", "cleaned"] * 2


@pytest.mark.parametrize("job", ["warned", "warned_later"])
def test_soft_timeout_is_raised_in_the_function(client, job) -> None:
    with eager():
        assert client.submit(job).result == "soft_timeout of 0.1 s has passed"


def test_time_limits_are_left_out_where_nothing_can_be_interrupted(client) -> None:
    async def main() -> object:
        return client.submit("warned_later").result

    with eager(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("asyncio.sleep", _at_once)
        assert asyncio.run(main()) is None


async def _at_once(_seconds: float) -> None:
    pass


def test_hooks_are_called_with_what_they_are_told(client) -> None:
    with eager() as seen:
        client.submit("hooked", fail=1)
        assert [run.job for run in seen.runs] == [
            "hooked", "told", "told_again", "told", "told_again",
        ]  # fmt: skip
        (first, second) = seen.of("told")
        assert (first.request.trigger, first.request.parent.run) == ("hook", seen.runs[0].id)
        assert "ConnectionError: call 1" in first.result
        assert second.result == '""'
    assert [call for call in shop().calls if isinstance(call, tuple)] == [
        ("hook", "hooked", "retrying", "1", "exception"),
        ("hook of the hook", "told", "succeeded", "1", ""),
        ("hook", "hooked", "succeeded", "2", ""),
        ("hook of the hook", "told", "succeeded", "1", ""),
    ]


def test_hook_of_a_failure_leaves_commands_out_and_hides_no_error(client) -> None:
    with eager(raise_errors=True) as seen:
        with pytest.raises(ConnectionError, match="call"):
            client.submit("hooked", fail=5)
        assert [run.request.parent.state for run in seen.of("told")] == ["retrying", "failed"]
        assert seen.of("command") == []


def test_held_runs_wait_until_they_are_let_go(client) -> None:
    with eager(hold=True) as seen:
        first = client.submit("double", number=1)
        second = client.submit("single", number=2)
        assert client.submit("single", number=2) == second
        assert first.state == "queued"
        with pytest.raises(WaitTimeout, match=r"call run_pending\(\)"):
            first.wait("1s")
        assert second.revoke()
        assert not second.revoke()
        assert [run.state for run in seen.run_pending()] == ["succeeded"]
        assert (first.result["number"], second.state) == (2, "revoked")


def test_without_a_clock_nobody_waits(client) -> None:
    with eager():
        assert client.submit("double", number=1, _in="1h").state == "succeeded"


def test_run_that_is_tried_for_ever_is_told_and_not_waited_for(client) -> None:
    said = r"(?s)100 times .*_retries, or use eager\(clock=…\).*ConnectionError: call 100"
    with eager() as runs, pytest.raises(EagerError, match=said):
        client.submit("flaky", fail=1000, _retries=-1)
    assert [(run.state, run.attempt) for run in runs] == [("retrying", 100)]


def test_with_a_clock_delays_pass_when_it_is_moved(client) -> None:
    clock = FakeClock("2026-03-01T00:00:00+00:00")
    with eager(clock=clock):
        later = client.submit("double", number=1, _in="10m")
        retried = client.submit("flaky", fail=2)
        assert (later.state, retried.state) == ("scheduled", "retrying")
        with pytest.raises(WaitTimeout, match="due in 1m; advance the clock"):
            retried.wait()

        clock.advance("1m")
        assert (retried.state, retried.attempt) == ("retrying", 2)
        clock.advance("1h")

        assert (later.state, retried.result) == ("succeeded", 3)
        starts = [one.started_at for one in retried.record.attempts]
        assert [start - clock.start.timestamp() for start in starts] == [0, 60, 180]


def test_schedules_start_their_runs_when_the_clock_is_moved(client, jobs) -> None:
    clock = FakeClock("2026-03-28T00:00:00+01:00")
    with eager(clock=clock, schedules=jobs) as seen:
        clock.advance("3d")

    assert [run.state for run in seen.runs] == ["succeeded"] * 3
    runs = seen.of("nightly")
    assert [run.request.trigger for run in runs] == ["schedule"] * 3
    # The night of the 29th has no half past two.
    assert [dt.datetime.fromtimestamp(run.started_at, dt.UTC).isoformat() for run in runs] == [
        "2026-03-28T01:30:00+00:00",
        "2026-03-29T01:00:00+00:00",
        "2026-03-30T00:30:00+00:00",
    ]


def test_every_is_counted_from_where_the_clock_began_however_it_is_moved(jobs) -> None:
    path = jobs.with_name("every.toml")
    path.write_text(
        '[jobs.a]\npython = "eager_shop:gone"\nschedules = [{ schedule = "@every 10m", jitter = "30s" }]\n'
    )
    clock = FakeClock("2026-03-28T00:00:00Z")
    with eager(clock=clock, schedules=path) as seen:
        for _ in range(121):
            clock.advance("1m")
        assert len(seen.runs) == 12
    assert len(clock.starts(path)) == 12


def test_garbage_collector_stays_as_the_test_has_it(jobs) -> None:
    gc.enable()  # commands that ran in this process have switched it off
    with eager(clock=FakeClock(), schedules=jobs), Session.open(str(jobs)) as session:
        assert session.config.jobs
        assert gc.isenabled()


def test_schedule_makes_no_more_runs_than_its_max_runs_however_the_clock_is_moved(jobs) -> None:
    path = jobs.with_name("limited.toml")
    path.write_text(
        '[jobs.tells]\npython = "eager_shop:tells"\ncwd = "."\n'
        'schedules = [{ schedule = "@hourly", max_runs = 3 }]\n'
    )
    clock = FakeClock("2026-03-28T00:10:00Z")
    with eager(clock=clock, schedules=path) as seen:
        for count in (1, 2, 3, 3):
            clock.advance("1h")
            assert len(seen.runs) == count
        clock.advance("1d")
        assert len(seen.runs) == 3


@pytest.mark.parametrize(
    ("kwargs", "state", "attempts", "reason"),
    [
        ({"word": "Skip", "reason": "empty"}, "skipped", 1, "exception"),
        ({"word": "Fatal", "reason": "no"}, "failed", 1, "exception"),
        ({"word": "Retry", "reason": "later", "in_": "1h"}, "failed", 4, "exception"),
        ({"word": "ValueError"}, "failed", 4, "exception"),
        ({"word": "KeyError", "reason": "none"}, "failed", 1, "exception"),
    ],
)
def test_exceptions_say_how_a_run_goes_on(client, kwargs, state, attempts, reason) -> None:
    with eager():
        record = client.submit("says", **kwargs).record

    assert (record.state, record.attempt, record.reason) == (state, attempts, reason)
    assert len(shop().calls) == attempts
    assert kwargs.get("reason", "ValueError") in record.error
    # An expected error has no traceback.
    assert (record.attempts[-1].traceback is None) == (
        kwargs["word"] in ("Skip", "Retry", "KeyError")
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "Retry",
            "failed (exception): its function asked for another attempt; it has no retries left",
        ),
        (
            "Fatal",
            "failed (exception): jobctl.Fatal: its function failed for good, and gave no reason",
        ),
    ],
)
def test_wishes_without_a_text_are_told_in_words(client, word, said) -> None:
    with eager(), pytest.raises(JobFailed, match="of job says ") as caught:
        client.submit("says", word=word).wait()
    assert str(caught.value).endswith(f"of job says {said}")


def test_skip_without_a_text_is_told_in_words_and_is_no_failure(client) -> None:
    with eager():
        run = client.submit("says", word="Skip")
        assert run.wait() is None
    assert (run.state, run.record.error) == ("skipped", "skipped by its function")


@pytest.mark.parametrize(("text", "attempts"), [("wait", 3), ("no json", 3), ("1", 1)])
def test_retry_on_takes_names_as_they_are_imported(client, text, attempts) -> None:
    with eager():
        assert client.submit("picky", text=text).record.attempt == attempts


def test_retry_waits_as_long_as_it_says(client) -> None:
    clock = FakeClock()
    with eager(clock=clock):
        run = client.submit("says", word="Retry", in_="1h")
        clock.advance("59m")
        assert run.attempt == 1
        clock.advance("1m")
        assert run.attempt == 2


def test_context_is_that_of_the_run(client) -> None:
    with eager() as seen:
        run = client.submit("asks")
        found = run.result
        assert run.progress() == {"percent": 100.0, "message": "asking"}
        again = client.submit("asks").result

    child = seen.of("tells")[0]
    assert found == {
        "first": True, "mine": True, "child": child.id, "id": run.id, "attempt": 1,
        "tags": {"team": "ops"}, "left": True, "stop": False, "max": 2,
    }  # fmt: skip
    assert child.request.kwargs == {"day": "2026-01-02"}
    assert (child.request.trigger, child.request.parent.run) == ("job", run.id)
    assert child.request.tags == {"a": "b"}
    assert (again["first"], again["mine"], again["child"]) == (False, False, child.id)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        *(({f"_{name}": 1}, f"there is no option _{name}; the options are _in, _expires, _id")
          for name in ("bad", "tag", "retries", "timeout", "at", "force", "kwargs")),
        ({"_priority": 10}, "_priority=10 is not one of 0 to 9"),
        ({"_tags": ["a"]}, "is not a dict of texts"),
    ],
)  # fmt: skip
def test_context_refuses_what_a_daemon_refuses(client, option, said) -> None:
    with eager() as seen, pytest.raises(JobFailed, match=said) as caught:
        client.submit("passes_on", options=option).wait()
    assert caught.value.error_type == "jobctl.AskError"
    assert [run.job for run in seen.runs] == ["passes_on"]


def test_block_that_must_be_finished_is_given_to_the_next_attempt(client) -> None:
    with eager():
        found = client.submit("asks", fail=True).result

    assert (found["attempt"], found["mine"]) == (2, True)


@pytest.mark.parametrize("by_client", [False, True])
def test_run_that_was_revoked_stays_so_when_the_clock_moves(jobs, by_client) -> None:
    clock = FakeClock("2030-01-01T00:00:00+00:00")
    with eager(clock=clock):
        client = Client(jobs)
        run = client.submit("tells", _in="1d")
        assert client.revoke([run.id]) == {run.id: True} if by_client else run.revoke()
        clock.advance("2d")

        assert (run.state, run.attempt, run.logs()) == ("revoked", 0, "")


def test_what_ends_a_test_leaves_submit_and_nothing_is_left_behind(client) -> None:
    with eager():
        with pytest.raises(KeyboardInterrupt):
            client.submit("says", "KeyboardInterrupt")
        with pytest.raises(pytest.fail.Exception, match="not this"):
            client.submit("says", "fail")
    assert current(None) is None
