"""Failpoints: each action in a real process against a real server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import ConfigError
from jobctl.store import failpoints, scripts
from jobctl.store.calls import Call
from jobctl.store.failpoint_plan import Plan, known_calls, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore

    Pusher = Callable[..., subprocess.Popen[str]]

PACKAGE = Path(scripts.__file__).parents[2]
COUNT = "failpoint-test"

# Pushes to a list as often as told and says how each went.
PROGRAM = """
import asyncio, sys, time
from jobctl.errors import JobctlError
from jobctl.store import failpoints
from jobctl.store.address import Address
from jobctl.store.aio import AsyncStore
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call

kind, path, times = sys.argv[1:]
failpoints.arm("cli")
push = Call(("RPUSH", "failpoint-test", "x"), int)

def say(began, outcome):
    print(outcome, round(time.monotonic() - began, 2), flush=True)

def blocking():
    store = BlockingStore(Address(path=path))
    for _ in range(int(times)):
        began = time.monotonic()
        try:
            say(began, store.run(push) and "ok")
        except JobctlError as error:
            say(began, type(error).__name__)

async def aio():
    async with AsyncStore(Address(path=path)) as store:
        for _ in range(int(times)):
            began = time.monotonic()
            try:
                say(began, await store.run(push) and "ok")
            except JobctlError as error:
                say(began, type(error).__name__)

blocking() if kind == "blocking" else asyncio.run(aio())
"""


@pytest.fixture(params=["blocking", "aio"])
def pusher(request: pytest.FixtureRequest, server: EmbeddedStore) -> Pusher:
    """Starts a process with failpoints that pushes through one of the executors."""

    def start(rules: str, times: int = 3, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, request.param, server.address.path, str(times)],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(PACKAGE),
                failpoints.RULES_VARIABLE: rules,
                **more,
            },
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


def outcomes(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=30)
    return [line.split()[0] for line in output.splitlines()]


def pushed(store: BlockingStore) -> int:
    return store.run(Call(("LLEN", COUNT), int))


def test_crash_before_a_call_leaves_it_unsent(pusher: Pusher, store: BlockingStore) -> None:
    process = pusher("before:rpush=crash@3")
    assert outcomes(process) == ["ok", "ok"]
    assert process.returncode == -signal.SIGKILL
    assert pushed(store) == 2


def test_crash_after_a_call_leaves_it_done(pusher: Pusher, store: BlockingStore) -> None:
    process = pusher("after:rpush=crash@3")
    assert outcomes(process) == ["ok", "ok"]
    assert process.returncode == -signal.SIGKILL
    assert pushed(store) == 3


def test_stopped_process_goes_on_where_it_stood(pusher: Pusher, store: BlockingStore) -> None:
    process = pusher("before:rpush=stop@2")
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert pushed(store) == 1
    process.send_signal(signal.SIGCONT)
    assert outcomes(process) == ["ok", "ok", "ok"]
    assert pushed(store) == 3


def test_dropped_reply_is_lost_after_the_call_was_done(
    pusher: Pusher, store: BlockingStore
) -> None:
    assert outcomes(pusher("after:rpush=drop@2")) == ["ok", "LostReplyError", "ok"]
    assert pushed(store) == 3


def test_dropped_request_is_never_sent(pusher: Pusher, store: BlockingStore) -> None:
    assert outcomes(pusher("before:rpush=drop@2")) == ["ok", "StoreUnreachable", "ok"]
    assert pushed(store) == 2


def test_delayed_reply_comes_late(pusher: Pusher) -> None:
    output, _ = pusher("after:rpush=delay:300ms@2").communicate(timeout=30)
    took = [float(line.split()[1]) for line in output.splitlines()]
    assert took[1] >= 0.3
    assert took[0] < 0.3


def test_rule_for_another_role_or_call_does_nothing(pusher: Pusher) -> None:
    assert outcomes(pusher("pool:after:rpush=drop; after:claim=crash")) == ["ok"] * 3


def test_probability_is_repeated_by_its_seed(pusher: Pusher) -> None:
    def played(seed: str) -> list[str]:
        return outcomes(pusher("after:rpush=drop%50", 20, JOBCTL_FAILPOINTS_SEED=seed))

    first = played("7")
    assert set(first) == {"ok", "LostReplyError"}
    assert played("7") == first
    assert played("8") != first


def call(name: str) -> Call[object]:
    return Call(("x",), lambda reply: reply, name)


def test_file_is_read_anew_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    plan = Plan("pool", "", path=str(path))
    assert not plan.before((call("claim"),)).drop
    path.write_text("# trouble\nbefore:claim=drop\n")
    assert plan.before((call("claim"),)).drop
    path.write_text("before:settle=delay:2s\n")
    assert not plan.before((call("claim"),)).drop
    assert plan.before((call("settle"),)).delay == 2.0
    path.unlink()
    assert plan.before((call("settle"),)).delay == 0.0


@pytest.mark.parametrize("waits", [False, True])
def test_rule_that_came_while_a_call_waited_is_met_after_it(tmp_path: Path, *, waits: bool) -> None:
    path = tmp_path / "rules"
    plan = Plan("pool", "", path=str(path))
    wait = Call(("BLPOP", "bell", 1), bool, blocking=1.0 if waits else None)
    plan.before([wait])
    path.write_text("after:blpop=drop")
    assert plan.after([wait]).drop == waits


def test_bad_file_leaves_the_rules_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rules"
    path.write_text("before:claim=drop")
    plan = Plan("pool", "", path=str(path))
    path.write_text("before:claim=explode")
    assert plan.before((call("claim"),)).drop
    assert plan.before((call("claim"),)).drop
    assert len(caplog.records) == 1
    assert "explode" in caplog.text


def test_calls_sent_together_are_counted_each() -> None:
    plan = Plan("pool", "after:settle=drop@3")
    assert not plan.after((call("settle"), call("settle"))).drop
    assert plan.after((call("beat"), call("settle"))).drop


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("before:claim", "not of the form"),
        ("during:claim=crash", "during"),
        ("before:clam=crash", "clam"),
        ("before:claim=explode", "explode"),
        ("worker:before:claim=crash", "worker"),
        ("before:claim=delay", "how long"),
        ("before:claim=crash:2s", "only delay"),
        ("before:claim=delay:2x", "unit"),
        ("before:claim=crash@0", "from 1"),
        ("before:claim=crash%101", "0 to 100"),
        ("before:claim=crash%1.1.1", "per cent"),
    ],
)
def test_rule_that_cannot_be_read_is_refused(rules: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(rules)) as caught:
        Plan("pool", rules)
    assert says in str(caught.value)


def test_every_call_that_jobctl_sends_has_a_name() -> None:
    sent = {"blpop", "lpos"}
    for source in (PACKAGE / "jobctl").rglob("*.py"):
        sent |= {
            word.lower() for word in re.findall(r'Call\(\s*\(+\s*"([A-Z]+)"', source.read_text())
        }
    assert sent <= set(known_calls())
    assert set(scripts.names()) <= set(known_calls())
    assert name_of(Call(("HGETALL", "k"), dict)) == "hgetall"


def test_nothing_is_armed_without_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(failpoints.RULES_VARIABLE, raising=False)
    monkeypatch.delenv(failpoints.FILE_VARIABLE, raising=False)
    failpoints.arm("cli")
    assert failpoints.active is None
