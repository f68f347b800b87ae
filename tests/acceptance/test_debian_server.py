"""``examples/debian-server.toml`` says what Debian's packages say, and runs as cron would run it.

The example is checked from three sides here: its own comments (each line is run beside its
translation and must start the same programs), ``jobctl check`` and ``jobctl next``, and a real
daemon over a harmless copy (see ``debian_world``). ``test_debian_packages`` compares the comments
with the packages.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from debian_world import ANACRON, EXAMPLE, SYSTEMD, World, enabled_jobs, load, origins

from jobctl.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FINAL = {"succeeded", "failed", "revoked", "expired", "skipped"}
RUN_PARTS = ("daily", "weekly", "monthly")

BEHIND_ANACRON = {f"crontab-{period}" for period in RUN_PARTS}
ON_SUNDAYS = {"zfs-trim", "zfs-scrub"}
BEHIND_SYSTEMD = {
    "anacron", "atop-rotate", "certbot-renew", "e2scrub-all", "e2scrub-reap", "geoipupdate",
    "ntplogtemp", "ntploggps", "ntpsec-rotate", "ntpviz-day", "ntpviz-week", "php-sessionclean",
    "roundcube-cleandb", "roundcube-gc", "sanoid",
}  # fmt: skip

WORLDS: dict[str, dict[str, Any]] = {
    "nothing installed": {"installed": False},
    "everything installed, a first Sunday": {},
    "with anacron, a Wednesday": {"extra": (ANACRON,), "sunday": False},
    "with systemd": {"extra": (SYSTEMD,)},
}


def skipped_in(world: str) -> set[str]:
    """Return the jobs whose guard is false in a world; found by reading the lines."""
    return {
        "nothing installed": set(enabled_jobs()),
        "everything installed, a first Sunday": set(),
        "with anacron, a Wednesday": BEHIND_ANACRON | ON_SUNDAYS,
        "with systemd": BEHIND_SYSTEMD,
    }[world]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A short path: the store's socket has to fit into 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="jc", ignore_cleanup_errors=True) as directory:
        yield Path(directory).resolve()


@pytest.fixture(params=list(WORLDS), ids=lambda name: name.replace(" ", "-"))
def world(request: pytest.FixtureRequest, scratch: Path) -> tuple[str, World]:
    return request.param, World(root=scratch / "root", **WORLDS[request.param])


# The file itself


def test_every_job_says_where_it_comes_from() -> None:
    jobs = load()["jobs"]
    known = origins()
    assert set(known) == set(jobs)
    assert {name: known[name].package for name in jobs} == {
        name: job["tags"]["package"] for name, job in jobs.items()
    }
    assert len({origin.package for origin in known.values()}) >= 25


def test_schedule_and_user_are_those_of_the_line() -> None:
    native = {"mdadm-checkarray", "apticron", "popularity-contest"}
    for name, origin in origins().items():
        if origin.line is None or origin.path == "/etc/anacrontab" or name in native:
            continue
        fields = origin.line.removeprefix("#").strip().split(" ")
        count = 1 if fields[0].startswith("@") else 5
        job = load()["jobs"][name]
        assert job["schedule"] == " ".join(fields[:count]), name
        assert job.get("user", "root") == fields[count], name


def test_lines_that_are_commented_out_are_disabled() -> None:
    jobs = load()["jobs"]
    for name, origin in origins().items():
        if (origin.line or "").startswith("#"):
            assert jobs[name]["enabled"] is False, name


def test_no_script_is_reached_by_two_enabled_ways() -> None:
    enabled = enabled_jobs()
    for period in RUN_PARTS:
        assert f"crontab-{period}" in enabled
        assert f"! test -x {ANACRON}" in enabled[f"crontab-{period}"]["only_if"]
        assert f"anacron-{period}" not in enabled
        assert not [name for name in enabled if name.startswith(f"{period}-")]


def test_every_enabled_job_has_a_guard() -> None:
    assert [name for name, job in enabled_jobs().items() if "only_if" not in job] == []


def test_translation_starts_what_the_crontab_line_starts(world: tuple[str, World]) -> None:
    """Both are run by /bin/sh in the same world, and the recorders must have seen the same."""
    name, server = world
    lines = origins()
    started = set()
    for job, table in enabled_jobs().items():
        if job == "mdadm-checkarray" and not server.sunday:
            continue  # its date test went into the schedule
        env = server.environment(table)
        file = {"FILE": server.moved("/etc/cron.daily/popularity-contest")}
        server.shell(server.moved(lines[job].command()), env | file)
        by_cron = server.take_effects()
        if server.shell(server.moved(table["only_if"]), env) == 0:
            started.add(job)
            server.shell(server.moved(table["command"]), env)
        assert server.take_effects() == by_cron, job
    expected = set(enabled_jobs()) - skipped_in(name)
    assert started | {"mdadm-checkarray"} == expected | {"mdadm-checkarray"}


def test_harmless_copy_names_no_path_of_this_machine(scratch: Path) -> None:
    server = World(root=scratch / "root")
    document = server.harmless_copy(schedule="@every 3s")
    tables = [document["defaults"], *document["jobs"].values()]
    texts = [t.get(key, "") for t in tables for key in ("command", "only_if")]
    texts += [value for table in tables for value in table.get("env", {}).values()]
    paths = [
        path.lstrip("-")
        for text in texts
        for path in re.findall(r"[\w./+-]*/(?:usr|sbin|bin|etc|var|run|lib)\b", text)
    ]
    assert len(paths) > 200
    assert [path for path in paths if not path.startswith(str(server.root))] == []
    assert not any("user" in table or "mail_to" in table for table in tables)


# The commands


class Jobctl:
    """``python -m jobctl`` with a configuration and a home of its own."""

    def __init__(self, home: Path, document: dict[str, Any] | None = None) -> None:
        self.config = EXAMPLE
        if document is not None:
            self.config = home / "jobs.toml"
            self.config.write_text(tomli_w.dumps(document), encoding="utf-8")
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(EXAMPLE.parents[1]),
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "TZ": "UTC",
        }

    def argv(self, verb: str, *args: str) -> list[str]:
        return [sys.executable, "-m", "jobctl", verb, "-c", str(self.config), *args]

    def __call__(self, verb: str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(verb, *args),
            env=self.env, check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def json(self, verb: str, *args: str) -> dict[str, Any]:
        done = self(verb, *args, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def daemon(self, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.argv("daemon"), env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(timeout=10)


def wait_until(condition: Callable[[], bool], *, within: float) -> bool:
    """Ask again every second until ``condition`` holds or ``within`` seconds are over."""
    end = SYSTEM_CLOCK.monotonic() + within
    pause = threading.Event()
    while not condition():
        if SYSTEM_CLOCK.monotonic() > end:
            return False
        pause.wait(1)  # what is asked may be a process
    return True


def test_check_accepts_the_example(scratch: Path) -> None:
    """Also where the users of most packages are missing, as on the machine of this test."""
    done = Jobctl(scratch)("check")
    assert done.returncode == 0, done.stdout + done.stderr


FROM = "2026-02-27T23:50:00Z"
"""A Friday, ten minutes before the last day of a short month."""

NEXT = {
    "crontab-hourly": "2026-02-28T00:17 2026-02-28T01:17 2026-02-28T02:17",
    "crontab-weekly": "2026-03-01T06:47 2026-03-08T06:47 2026-03-15T06:47",
    "crontab-monthly": "2026-03-01T06:52 2026-04-01T06:52 2026-05-01T06:52",
    "anacron": "2026-02-28T07:30 2026-02-28T08:30 2026-02-28T09:30",
    "amavis-sa-sync": "2026-02-28T00:18 2026-02-28T03:18 2026-02-28T06:18",
    "atop-rotate": "2026-02-28T00:00 2026-03-01T00:00 2026-03-02T00:00",
    "awstats-update": "2026-02-28T00:00 2026-02-28T00:10 2026-02-28T00:20",
    "awstats-report": "2026-02-28T03:10 2026-03-01T03:10 2026-03-02T03:10",
    "e2scrub-all": "2026-03-01T03:30 2026-03-08T03:30 2026-03-15T03:30",
    "geoipupdate": "2026-03-04T06:47 2026-03-11T06:47 2026-03-18T06:47",
    "mailman-web-minutely": "2026-02-27T23:51 2026-02-27T23:52 2026-02-27T23:53",
    "mailman-web-quarter-hourly": "2026-02-28T00:02 2026-02-28T00:17 2026-02-28T00:32",
    "mailman-web-hourly": "2026-02-28T00:00 2026-02-28T01:00 2026-02-28T02:00",
    "mailman-web-weekly": "2026-03-01T00:00 2026-03-08T00:00 2026-03-15T00:00",
    "mailman-web-monthly": "2026-03-01T00:00 2026-04-01T00:00 2026-05-01T00:00",
    "mailman-web-yearly": "2027-01-01T00:00 2028-01-01T00:00 2029-01-01T00:00",
    "mdadm-checkarray": "2026-03-01T00:57 2026-04-05T00:57 2026-05-03T00:57",
    "ntpviz-week": "2026-02-28T11:45 2026-02-28T23:45 2026-03-01T11:45",
    "php-sessionclean": "2026-02-28T00:09 2026-02-28T00:39 2026-02-28T01:09",
    "roundcube-gc": "2026-02-28T00:05 2026-02-28T00:35 2026-02-28T01:05",
    "sysstat-collect": "2026-02-27T23:55 2026-02-28T00:05 2026-02-28T00:15",
    "sysstat-rotate": "2026-02-27T23:59 2026-02-28T23:59 2026-03-01T23:59",
    "zfs-trim": "2026-03-01T00:24 2026-03-02T00:24 2026-03-03T00:24",
    "zfs-scrub": "2026-03-08T00:24 2026-03-09T00:24 2026-03-10T00:24",
}


def upcoming(jobctl: Jobctl, job: str) -> list[datetime]:
    answer = jobctl.json("next", job, "-n", "3", "--from", FROM)
    assert answer["schema"] == 1
    return [datetime.fromisoformat(instant) for instant in answer["next"]]


def in_zone(zone: str) -> dict[str, Any]:
    document = load()
    document["jobctl"] = {"timezone": zone}
    return document


@pytest.fixture(scope="module")
def in_utc(tmp_path_factory: pytest.TempPathFactory) -> Jobctl:
    """One for all jobs: the first of its commands validates the file, the others need not."""
    return Jobctl(tmp_path_factory.mktemp("utc"), in_zone("UTC"))


@pytest.mark.parametrize("job", NEXT)
def test_next_instants_are_those_cron_would_choose(job: str, in_utc: Jobctl) -> None:
    expected = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in NEXT[job].split()]
    assert upcoming(in_utc, job) == expected


def test_drawn_time_of_day_stays_the_same(scratch: Path) -> None:
    """popularity-contest's minute and hour are drawn once (``~ ~ * * *``)."""
    jobctl = Jobctl(scratch, in_zone("UTC"))
    first = upcoming(jobctl, "popularity-contest")
    assert [b - a for a, b in pairwise(first)] == [timedelta(days=1)] * 2
    assert upcoming(jobctl, "popularity-contest") == first


def test_host_zone_decides_when_none_is_given(scratch: Path) -> None:
    jobctl = Jobctl(scratch)
    jobctl.env["TZ"] = "Asia/Tokyo"
    first = upcoming(jobctl, "awstats-report")[0]
    assert first.astimezone(UTC) == datetime(2026, 2, 28, 18, 10, tzinfo=UTC)


# The daemon


@pytest.mark.timeout(240)
def test_daemon_runs_every_job_or_skips_it_by_its_guard(
    world: tuple[str, World], scratch: Path
) -> None:
    name, server = world
    document = server.harmless_copy(schedule="@every 3s")
    document["jobctl"] = {"state_dir": str(scratch / "state"), "timezone": "UTC"}
    jobctl = Jobctl(scratch, document)
    runs: list[dict[str, Any]] = []

    def all_jobs_have_ended_once() -> bool:
        listed = jobctl("list", "-n", "5000", "--json")
        if listed.returncode != 0:
            return False  # the store is not up yet
        runs[:] = [
            run
            for run in json.loads(listed.stdout)["runs"]
            if run["state"] in FINAL and run["reason"] != "overlap"
        ]
        return {run["job"] for run in runs} >= set(enabled_jobs())

    with jobctl.daemon(scratch / "daemon.log") as daemon:
        wait_until(lambda: daemon.poll() is not None or all_jobs_have_ended_once(), within=90)
        assert daemon.poll() is None, (scratch / "daemon.log").read_text(encoding="utf-8")
    assert daemon.returncode == 0, (scratch / "daemon.log").read_text(encoding="utf-8")

    skipped = skipped_in(name)
    wrong = {
        (run["job"], run["state"], run["reason"], run["exit_code"])
        for run in runs
        if run["state"] != ("skipped" if run["job"] in skipped else "succeeded")
    }
    assert wrong == set()
    assert {run["job"] for run in runs} == set(enabled_jobs())  # also: no disabled one
    effects = server.take_effects()
    assert ("stale page removed" in effects) == server.installed
    scrubbed = any(e.startswith("/sbin/e2scrub_all -A -r SERVICE_MODE=1") for e in effects)
    assert scrubbed == ("e2scrub-reap" not in skipped)
