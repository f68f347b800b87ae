"""Stories about schedules that are switched off, added, changed and filled in while daemons run."""

from __future__ import annotations

import contextlib
import json
import signal
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psutil

from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys
from tests.acceptance.host import Host, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.store.embedded import EmbeddedStore

import pytest

TICK = "[jobs.tick]\nschedule = '* * * * * *'\noverlap = 'allow'\nmissed = 'all'\ncommand = 'echo $JOBCTL_SCHEDULED_AT >> {}/ticks'\n"
IDLE = "[jobs.idle]\noverlap = 'allow'\ncommand = 'echo $JOBCTL_SCHEDULED_AT $1 >> {}/idle'\n"


@pytest.fixture
def pair(host: Host, server: EmbeddedStore) -> Iterator[tuple[Host, Host]]:
    """Two hosts with one store and the same jobs; both daemons are up."""
    host.redis = f"unix://{server.address.path}"
    settings = f"namespace = 'hand-{host.directory.name}'"
    other = Host(redis=host.redis, name="host-b")
    for one in (host, other):
        one.write((TICK + IDLE).replace("{}", str(host.directory)), settings=settings)
        one.start()
    try:
        yield host, other
    finally:
        other.stop()
        other.close()


def decisions(host: Host, name: str) -> list[dict[str, Any]]:
    """What was decided, oldest first."""
    found = json.loads(host.run("schedule", "show", name, "-n", "200", "--json"))
    return [dict(one) for one in found["schedules"][0]["decisions"]][::-1]


def outcomes(host: Host, name: str) -> list[str]:
    return [one["event"] or one["outcome"] for one in decisions(host, name)]


def test_disabled_schedule_is_off_on_every_host_and_makes_up_for_nothing(
    pair: tuple[Host, Host],
) -> None:
    host, other = pair
    wait_until(lambda: len(host.lines("ticks")) >= 2, what="ticks")

    other.run("schedule", "disable", "tick")
    wait_until(lambda: outcomes(host, "tick").count("disabled") >= 2, what="disabled instants")
    host.stop()
    host.start()
    other.run("schedule", "enable", "tick")
    count = len(host.lines("ticks"))
    wait_until(lambda: len(host.lines("ticks")) >= count + 2, what="ticks again")

    found = [one for one in decisions(host, "tick") if one["outcome"] != "event"]
    instants = [datetime.fromisoformat(one["scheduled_at"]) for one in found]
    assert {b - a for a, b in pairwise(instants)} == {timedelta(seconds=1)}
    ran = {datetime.fromisoformat(line).astimezone(UTC) for line in host.lines("ticks")}
    off = {
        datetime.fromisoformat(one["scheduled_at"]) for one in found if one["outcome"] == "disabled"
    }
    assert ran.isdisjoint(off)


def test_live_schedule_fires_once_an_instant_until_it_is_removed(pair: tuple[Host, Host]) -> None:
    host, other = pair
    host.run("schedule", "add", "extra", "--job", "idle", "--schedule", "* * * * * *", "word")
    wait_until(lambda: len(host.lines("idle")) >= 2, what="runs of the live schedule")
    for one in pair:
        # Both daemons know it: each alone goes on with it, also after a restart.
        rest = host if one is other else other
        rest.stop()
        count = len(host.lines("idle"))
        wait_until(lambda count=count: len(host.lines("idle")) >= count + 2, what="goes on")
        rest.start()
    other.run("schedule", "rm", "extra")
    count = len(host.lines("ticks"))
    wait_until(lambda: len(host.lines("ticks")) >= count + 3, what="time to pass")

    lines = host.lines("idle")
    assert len(set(lines)) == len(lines)
    assert {line.split()[1] for line in lines} == {"word"}
    assert host.call("schedule", "show", "extra").returncode == 66
    keys = Keys(f"hand-{host.directory.name}")
    with BlockingStore(Address.parse(str(host.redis))) as store:
        left = Call(("EXISTS", keys.schedule("extra"), keys.schedule_history("extra")), int)
        assert store.run(left) == 0


def test_changed_schedule_of_the_file_is_followed_until_it_is_taken_back(
    pair: tuple[Host, Host],
) -> None:
    host, other = pair
    other.run("schedule", "set", "tick", "--schedule", "0 0 1 1 *")
    wait_until(lambda: outcomes(host, "tick")[-1] == "changed", what="the change to be in force")
    host.run("schedule", "rm", "tick")
    count = len(host.lines("ticks"))
    wait_until(lambda: len(host.lines("ticks")) > count, what="ticks again")
    assert outcomes(host, "tick").count("changed") == 2


def test_run_left_by_a_crash_does_not_block_its_schedule_for_ever(host: Host) -> None:
    host.write(
        f"[jobs.slow]\nschedule = '* * * * * *'\noverlap = 'skip'\non_lost = 'fail'\n"
        f"command = 'echo $JOBCTL_RUN_ID >> {host.directory}/began; exec sleep 600'\n"
    )
    daemon = host.start()
    (first,) = wait_until(lambda: host.lines("began"), what="a first run")
    wait_until(lambda: "skipped" in outcomes(host, "slow"), what="a skipped instant")
    # All at once, as when the power fails.
    killed = [*psutil.Process(daemon.pid).children(recursive=True), psutil.Process(daemon.pid)]
    killed += host.processes()
    for process in killed:
        if process.pid != psutil.Process().pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
    daemon.wait()

    host.start()
    wait_until(lambda: len(host.lines("began")) >= 2, what="a second run")
    assert host.inspect(first)["state"] == "failed"


def test_forged_live_schedule_is_shown_and_never_followed(host: Host) -> None:
    host.write(IDLE.replace("{}", str(host.directory)))
    host.start()
    forged = json.dumps({"j": "idle", "o": True, "k": {"rule": "* * * * * *"}, "b": "x", "t": 1})
    keys = Keys("default")
    with BlockingStore(Address.of_embedded(host.state)) as store:
        store.run(Call(("HSET", keys.live_schedules, "evil", forged), int))
        store.run(Call(("INCR", keys.live_version), int))
    host.run("schedule", "add", "good", "--job", "idle", "--schedule", "* * * * * *", "good")
    wait_until(lambda: len(host.lines("idle")) >= 3, what="the genuine one")

    assert {line.split()[1] for line in host.lines("idle")} == {"good"}
    assert "live schedule 'evil' is refused: it is not signed" in host.log
    said = host.call("doctor")
    assert "refused, and never used: 'evil' (it is not signed)" in said.stdout
    assert said.returncode == 1
