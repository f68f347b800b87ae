"""Stories about schedules with a real clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.acceptance.host import Host, wait_until

if TYPE_CHECKING:
    from jobctl.store.embedded import EmbeddedStore


def test_an_interval_fires_again_and_again(host: Host) -> None:
    host.write(
        f"[jobs.tick]\nschedule = '@every 1s'\ncommand = 'echo $JOBCTL_SCHEDULED_AT $JOBCTL_TRIGGER >> {host.directory}/ticks'\n"
    )
    host.start()

    wait_until(lambda: len(host.lines("ticks")) >= 3, what="three ticks")

    instants = [datetime.fromisoformat(line.split()[0]) for line in host.lines("ticks")[:3]]
    assert [b - a for a, b in pairwise(instants)] == [timedelta(seconds=1)] * 2
    assert {line.split()[1] for line in host.lines("ticks")} == {"schedule"}


def test_two_supervisors_fire_each_instant_once(host: Host, server: EmbeddedStore) -> None:
    job = "[jobs.tick]\nschedule = '* * * * * *'\noverlap = 'allow'\ncommand = 'echo $JOBCTL_SCHEDULED_AT >> {}/ticks'\n"
    url = f"unix://{server.address.path}"
    namespace = f"namespace = 'two-{host.directory.name}'"
    host.redis = url
    host.write(job.format(host.directory), settings=namespace)
    other = Host(redis=url, name="host-b")
    other.write(job.format(host.directory), settings=namespace)
    try:
        host.start()
        other.start()
        wait_until(lambda: len(host.lines("ticks")) >= 4, what="four ticks")
    finally:
        host.stop()
        other.stop()
        other.close()

    ticks = sorted(datetime.fromisoformat(line) for line in host.lines("ticks"))
    assert [b - a for a, b in pairwise(ticks)] == [timedelta(seconds=1)] * (len(ticks) - 1)


def test_an_instant_missed_while_down_is_made_up_for_once(host: Host) -> None:
    instant = datetime.now(UTC) + timedelta(seconds=10)
    host.write(
        f"[jobs.tick]\nschedule = '@at {instant.isoformat()}'\n"
        f"missed = 'once'\ncommand = 'echo $JOBCTL_TRIGGER >> {host.directory}/ticks'\n"
    )
    host.start()
    host.stop()
    wait_until(lambda: datetime.now(UTC) > instant, what="the clock to pass the instant")

    host.start()
    wait_until(lambda: host.lines("ticks"), what="made up for")
    host.stop()
    host.start()

    assert len(host.lines("ticks")) == 1


def test_next_names_the_instants_the_daemon_will_use(host: Host) -> None:
    host.write(
        "[jobs.nightly]\nschedule = '30 2 * * *'\ntimezone = 'Europe/Berlin'\ncommand = 'true'\n"
    )

    said = json.loads(
        host.run("next", "nightly", "-n", "2", "--from", "2021-03-27T12:00:00Z", "--json")
    )

    instants = [datetime.fromisoformat(text) for text in said["next"]]
    assert instants == [
        datetime(2021, 3, 28, 1, 0, tzinfo=UTC),
        datetime(2021, 3, 29, 0, 30, tzinfo=UTC),
    ]


def test_a_run_at_start_happens_once_a_start(host: Host) -> None:
    host.write(f"[jobs.s]\nschedule = '@start'\ncommand = 'echo ran >> {host.directory}/ran'\n")
    host.start()
    wait_until(lambda: len(host.lines("ran")) == 1, what="first start")
    host.stop()
    host.start()

    wait_until(lambda: len(host.lines("ran")) == 2, what="second start")


def test_a_run_at_start_happens_again_after_a_kill_but_not_after_a_reload(host: Host) -> None:
    """The next daemon goes on for the one that was killed, under its name, and yet has started."""
    host.write(f"[jobs.s]\nschedule = '@start'\ncommand = 'echo ran >> {host.directory}/ran'\n")
    daemon = host.start()
    wait_until(lambda: len(host.lines("ran")) == 1, what="first start")
    host.run("reload")
    host.run("reload", "--exec")
    wait_until(lambda: not host.runs("--state", "running"), what="the run to have ended")
    daemon.kill()
    daemon.wait()

    host.start()
    wait_until(lambda: len(host.lines("ran")) > 1, what="second start")
    host.wait_state(host.runs()[0]["id"])

    shown = json.loads(host.run("schedule", "show", "s", "--json"))["schedules"][0]
    assert len(host.lines("ran")) == 2
    assert [one["outcome"] for one in shown["decisions"]] == ["fired", "fired"]


def test_a_run_at_start_on_one_host_does_not_skip_that_of_another(
    host: Host, server: EmbeddedStore
) -> None:
    namespace = f"namespace = 'start-{host.directory.name}'"
    job = "[jobs.s]\nschedule = '@start'\ncommand = 'exec sleep 60'\n"
    host.redis = f"unix://{server.address.path}"
    host.write(job, settings=namespace)
    other = Host(redis=host.redis, name="host-b")
    other.write(job, settings=namespace)
    try:
        host.start()
        other.start()
        wait_until(lambda: len(host.runs("--state", "running")) == 2, what="a run for each host")
        first = host.daemons[-1]
        first.kill()
        first.wait()
        host.start()
        shown = json.loads(host.run("schedule", "show", "s", "--json"))["schedules"][0]
    finally:
        other.close()

    assert [one["outcome"] for one in shown["decisions"]] == ["skipped", "fired", "fired"]
    assert shown["runs"] == 2
