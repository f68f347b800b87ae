"""Stories about pools whose slots change while runs go on."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import psutil

from jobctl.client import pools
from jobctl.client.open import Session
from jobctl.config.load import read_plain
from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from jobctl.client.supervisors import Supervisor
    from tests.acceptance.host import Host

JOBS = """
[pools.default]
slots = 1
[pools.web]
queues = ["web"]
python = "async"
min = 1
max = 8
preload = ["work"]
[pools.one]
queues = ["one"]
python = "inline"
[jobs.hold]
command = "until test -e go; do sleep 0.02; done"
cwd = "{0}"
[jobs.fetch]
python = "work:fetch"
queue = "web"
cwd = "{0}"
"""
WORK = """
import asyncio, os
async def fetch(n):
    print("fetching", n)
    while not os.path.exists("go"):
        await asyncio.sleep(0.02)
    return os.getpid()
"""


def pool(host: Host, name: str) -> dict[str, Any]:
    found = json.loads(host.run("pool", "list", "--json"))["pools"]
    return dict(next(one for one in found if one["pool"] == name))


def test_slots_follow_orders_and_load_and_a_restart_loses_nothing(host: Host) -> None:
    (host.directory / "work.py").write_text(WORK)
    host.write(JOBS.format(host.directory))
    host.start()
    held = [host.submit("hold") for _ in range(3)]
    fetched = [host.submit("fetch", str(n)) for n in range(4)]

    wait_until(lambda: pool(host, "web")["running"] == 4, what="the pool of coroutines has grown")
    assert pool(host, "web")["slots"] >= 4
    assert pool(host, "default")["running"] == 1
    assert host.call("pool", "grow", "default", "2").stderr.startswith(
        "Pool default on host-a gets 2"
    )
    assert pool(host, "default")["slots"] == 3
    wait_until(lambda: pool(host, "default")["running"] == 3, what="three at once")

    before = pool(host, "default")["pid"]
    host.run("pool", "restart", "default")
    wait_until(lambda: pool(host, "default")["pid"] not in (before, 0), what="another process")
    later = host.submit("hold")
    (host.directory / "go").touch()
    for run in (*held, later):
        record = host.wait_state(run)
        assert (record["state"], record["attempt"]) == ("succeeded", 1)
    pids = {host.wait_state(run)["result"] for run in fetched}
    assert len(pids) == 1
    assert host.run("logs", fetched[2]) == "fetching 2\n"
    assert "4 slots instead of" in host.log or "8 slots instead of" in host.log

    refused = host.call("pool", "grow", "one", "3")
    assert refused.returncode == 2
    assert 'pool one on host-a has one slot, for python = "inline" runs one' in refused.stderr
    assert host.call("pool", "grow", "nosuch").returncode == 66
    assert host.call("pool", "grow", "default", "none").returncode == 2
    assert host.stop() == 0


RESTING = """
[pools.default]
slots = 3
idle_timeout = "1s"
[jobs.meet]
python = "work:meet"
cwd = "{0}"
"""
MEETING = """
import os, time
def meet(n):
    while not os.path.exists("go"):
        time.sleep(0.02)
    return os.getpid()
"""


def test_interpreters_that_have_nothing_to_do_end_but_for_one(host: Host) -> None:
    (host.directory / "work.py").write_text(MEETING)
    host.write(RESTING.format(host.directory))
    host.start()
    runs = [host.submit("meet", str(n)) for n in range(3)]
    wait_until(lambda: pool(host, "default")["children"] == 3, what="three at once")

    (host.directory / "go").touch()
    pids = {host.wait_state(run)["result"] for run in runs}
    assert len(pids) == 3
    wait_until(lambda: pool(host, "default")["children"] == 1, what="two have gone")
    assert "PYTHON" in host.run("pool", "list")

    later = host.wait_state(host.submit("meet", "9"))
    assert later["state"] == "succeeded"
    assert later["result"] in pids
    assert host.stop() == 0


LINGERING = """
[pools.default]
slots = 2
child_exit = "work:lingers"
[jobs.quick]
python = "work:quick"
cwd = "{0}"
"""
LEAVING = """
import os, time
def quick(): return os.getppid()
def lingers():
    while not os.path.exists("go"):
        time.sleep(0.02)
"""


def test_restarted_pool_works_while_interpreters_of_the_old_one_still_end(host: Host) -> None:
    (host.directory / "work.py").write_text(LEAVING)
    host.write(LINGERING.format(host.directory))
    host.start()
    before = wait_until(lambda: pool(host, "default")["pid"], what="the pool has said who it is")
    for run in [host.submit("quick") for _ in range(4)]:
        host.wait_state(run, "succeeded")

    host.run("pool", "restart", "default")
    wait_until(lambda: pool(host, "default")["pid"] not in (before, 0), what="another process")
    host.wait_state(host.submit("quick"), "succeeded")
    assert psutil.pid_exists(before)  # it waits for child_exit
    (host.directory / "go").touch()
    assert host.stop() == 0


def test_reload_shows_the_new_number_of_slots_at_once(host: Host) -> None:
    host.write("[pools.default]\nslots = 2\n[jobs.a]\ncommand = 'true'\n")
    host.start()
    assert pool(host, "default")["slots"] == 2
    host.write("[pools.default]\nslots = 5\n[jobs.a]\ncommand = 'true'\n")
    host.run("reload")
    assert pool(host, "default")["slots"] == 5
    assert host.stop() == 0


def test_order_that_another_undoes_at_once_is_carried_out(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.write("[pools.default]\nslots = 2\n[jobs.a]\ncommand = 'true'\n")
    host.start()
    send = pools.send_to

    def send_both(session: Session, message: str, to: Sequence[Supervisor]) -> None:
        send(session, message, to)
        send(session, message.replace("grow", "shrink"), to)

    monkeypatch.setattr(pools, "send_to", send_both)
    monkeypatch.setattr(pools, "PATIENCE", 10.0)
    with contextlib.closing(Session(read_plain(str(host.config)))) as session:
        (ordered,) = pools.order(session, pools.GROW, "default", slots=1, host=None)
    assert ordered.by == 1
    assert pool(host, "default")["slots"] == 2
    assert host.stop() == 0


BLOCKING = """
[pools.default]
python = "async"
slots = 12
[defaults]
cwd = "{0}"
[jobs.block]
python = "work:block"
timeout = "500ms"
stop_timeout = "200ms"
[jobs.waits]
python = "work:waits"
[jobs.quick]
python = "work:quick"
"""
BLOCKED = """
import asyncio, os, time
async def block(): time.sleep(60)
async def waits():
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    return os.getpid()
async def quick(n): return n
"""


def test_coroutine_that_blocks_costs_others_no_more_than_another_attempt(host: Host) -> None:
    (host.directory / "work.py").write_text(BLOCKED)
    host.write(BLOCKING.format(host.directory))
    host.start()
    waiting = host.submit("waits")
    before = host.wait_pid(waiting)
    blocking = host.submit("block")
    others = [host.submit("quick", str(n)) for n in range(10)]

    found = host.wait_state(blocking, "failed")
    assert (found["reason"], found["attempt"]) == ("timeout", 1)
    ends = [host.wait_state(run, "succeeded") for run in others]
    assert [one["attempt"] for one in ends] == [1] * 10
    (host.directory / "go").touch()
    found = host.wait_state(waiting, "succeeded")
    assert found["result"] != before
    assert [one["outcome"] for one in found["attempts"]] == ["lost", "succeeded"]
    assert "where its threads are follows" in host.log
    assert "work.py" in host.log  # where the function blocks
    assert host.stop() == 0


HELD_UP = """
[pools.default]
python = "async"
slots = 4
[defaults]
cwd = "{0}"
[jobs.block]
python = "work:block"
[jobs.waits]
python = "work:waits"
"""
HOLDS_UP = """
import asyncio, os, time
async def block():
    while not os.path.exists("free"):
        time.sleep(0.01)
async def waits():
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
"""


def test_run_that_waits_in_a_busy_interpreter_says_so_and_for_whom(host: Host) -> None:
    (host.directory / "work.py").write_text(HOLDS_UP)
    host.write(HELD_UP.format(host.directory))
    host.start()
    blocking = host.submit("block")
    host.wait_pid(blocking)
    waiting = host.submit("waits")

    found: dict[str, Any] = {}

    def seen() -> bool:
        found.update(host.inspect(waiting))
        return found["blocked_by"] is not None

    wait_until(seen, what="it is seen to wait")
    assert (found["state"], found["blocked_by"]) == ("running", [blocking])
    assert host.inspect(blocking)["blocked_by"] is None

    (host.directory / "free").touch()
    assert host.wait_state(blocking)["state"] == "succeeded"
    wait_until(lambda: host.inspect(waiting)["blocked_by"] is None, what="it has begun")
    assert host.inspect(waiting)["state"] == "running"
    (host.directory / "go").touch()
    assert host.wait_state(waiting)["state"] == "succeeded"
