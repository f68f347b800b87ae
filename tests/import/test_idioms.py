"""``--native``: what takes the place of a shell's habit does the same, tried in a real shell."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALWAYS_THE_SAME = [
    "[ -x /bin/sh ] && echo yes",
    "[ -x /no/such ] && echo yes",
    "test -d /no/such || echo none",
    "test -d / || echo none",
    "test -x /bin/sh -a \\! -d /no/such && echo both",
    "if [ -x /bin/sh ]; then echo a; echo b; fi",
    "if [ -x /no/such ]; then echo a; fi",
    "if [ -x /no/such ]; then echo a; else echo b; fi",
    "if [ -x /no/such ]; then echo a; elif [ -x /bin/sh ]; then echo c; fi",
    "[ -x /bin/sh ] && if [ ! -d /no/such ]; then echo deep; fi",
    "[ -x /no/such ] && echo a || echo b",
    "if [ -x /bin/sh ] && [ -d / ]; then echo two tests; fi",
    "if [ -x /no/such ] && [ -d / ]; then echo two tests; fi",
    "if [ -x /no/such ] || [ -d / ]; then echo either; fi",
    "command -v sh > /dev/null && echo there",
    "command -v no-such-program > /dev/null 2>&1 && echo there",
    "if [ $(date +\\%d) -le 31 ]; then echo always; fi",
    "[ -x /no/such ] && echo a ; echo b",
    "[ -x /bin/sh ] && echo a && false || echo c",
    "test -d /no/such || echo a | tr a b",
    "test -d / || echo a && echo b",
    "test -d /no/such || { cd / && pwd; }",
    "cd / && pwd",
    "cd / && [ -d usr ] && pwd",
    "cd /no/such ; echo on",
    "nice -n 5 echo nice",
    "nice echo plain",
    "nice -n 5 echo a && echo b",
    "timeout 5m echo in time",
    "timeout -k 5 -s INT 1h echo in time",
    "timeout 5 echo a; echo b",
    "flock -n lock echo locked",
    "flock -n lock -c 'echo a; echo b'",
    "flock -n lock echo a && echo b",
    "echo '[ -x /no/such ] && x'",
    "[ \"$(echo 'a && b')\" = 'a && b' ] && echo quoted",
]


def shown(job: dict[str, Any], where: Path) -> str:
    """Return what a job prints when its condition holds."""
    for condition in [job["only_if"]] if "only_if" in job else []:
        if subprocess.run(
            ["/bin/sh", "-c", condition], cwd=where, check=False, timeout=20
        ).returncode:
            return ""
    done = subprocess.run(
        ["/bin/sh", "-c", job["command"]], cwd=job.get("cwd", where), check=False, timeout=20,
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("command", ALWAYS_THE_SAME)
def test_a_native_job_prints_what_the_line_prints(command: str, crontab: Callable, tmp_path: Path):
    line = f"0 1 * * * root {command}\n"
    exact = crontab(line).job
    native = crontab(line, "--system", "--native").job

    assert exact["command"] == command.replace("\\%", "%")
    assert shown(native, tmp_path) == shown(exact, tmp_path)


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("[ -x /x ] && /x", {"only_if": "[ -x /x ]", "command": "/x"}),
        ("test -d /run/systemd/system || /x", {"only_if": "! test -d /run/systemd/system"}),
        ("if test -e /a; then /x; fi", {"only_if": "test -e /a", "command": "/x"}),
        ("flock -n /run/l /x", {"overlap": "skip", "command": "/x"}),
        ("timeout 1h /x", {"timeout": "1h", "command": "/x"}),
        ("timeout -k 30 -s INT 90 /x", {"timeout": "90s", "stop_timeout": "30s", "stop_signal": "INT"}),
        ("nice -n10 /x", {"nice": 10, "command": "/x"}),
        ("nice /x", {"nice": 10, "command": "/x"}),
        ("sleep $((RANDOM \\% 600)) && /x", {"jitter": "10m", "command": "/x"}),
        ("sleep $(( $RANDOM \\% 600 )) ; /x", {"jitter": "10m", "command": "/x"}),
        ("perl -e 'sleep int(rand(43200))' && /x", {"jitter": "12h", "command": "/x"}),
        ("cd /srv && ./x", {"cwd": "/srv", "command": "./x"}),
        ("[ -x /x ] && cd /srv && nice -n 5 timeout 2m ./x",
         {"only_if": "[ -x /x ]", "cwd": "/srv", "nice": 5, "timeout": "2m", "command": "./x"}),
        ("[ $(date +\\%d) -le 7 ] && /x", {"schedule": "0 1 * * sun#1", "command": "/x"}),
        ("if [ -x /x ] && [ $(date +\\%d) -le 7 ]; then /x -q; fi",
         {"schedule": "0 1 * * sun#1", "only_if": "[ -x /x ]", "command": "/x -q"}),
        ("[ $(date +\\%d) -ge 8 ] && /x", {"only_if": "[ $(date +%d) -ge 8 ]", "command": "/x"}),
        ("if [ ! -d /a ] && [ -e /b ] ; then /x ; fi", {"only_if": "[ ! -d /a ] && [ -e /b ]", "command": "/x"}),
        ("command -v x > /dev/null && x", {"only_if": "command -v x > /dev/null", "command": "x"}),
    ],
)  # fmt: skip
def test_a_habit_is_offered_and_written_on_demand(command: str, keys: dict, crontab: Callable):
    line = f"0 1 * * 0 root {command}\n"
    exact, native = crontab(line), crontab(line, "--system", "--native")

    assert exact.job["command"] == command.replace("\\%", "%")
    assert "# In jobctl's own words (--native):" in exact.out
    assert {key: native.job[key] for key in keys} == keys


@pytest.mark.parametrize(
    "command",
    [
        "[ -x /x ] && /x || /y",
        "flock /run/l /x",
        "flock -n 9 || exit 1; /x",
        "sleep 30 && /x",
        "timeout 5m /x && /y",
        "cd $HOME && /x",
        "if [ -x /x ]; then /x; else /y; fi",
    ],
)
def test_what_means_something_else_is_left_alone(command: str, crontab: Callable):
    line = f"0 1 * * 0 root {command}\n"
    assert crontab(line, "--system", "--native").job["command"] == command.replace("\\%", "%")


def test_a_lock_that_lines_share_stays(crontab: Callable):
    done = crontab(
        "0 1 * * * root flock -n /l a\n0 2 * * * root flock -n /l b\n", "--system", "--native"
    )
    assert [job["command"] for job in done.jobs.values()] == ["flock -n /l a", "flock -n /l b"]
    assert "several lines lock /l" in done.err


@pytest.mark.parametrize(
    "others",
    [
        "0 2 * * * root flock -w 10 -E 0 /run/l2 b\n",
        "0 2 * * * root flock -n '/run/l2' b\n",
        "0 2 * * * root flock -n /run/../run/l2 b\n",
        '0 2 * * * root ( flock -n 9 || exit 0; b ) 9>"/run/l2"\n',
        "LOCK=/run/l2\n0 2 * * * root flock -n $LOCK b\n",
        "0 2 * * * root cd /run && flock l2 b\n",
        "0 2 * * * root flock -w 5 $(cat /etc/lock) b\n",
    ],
)
def test_a_lock_that_another_line_may_take_stays(others: str, crontab: Callable):
    done = crontab(f"0 1 * * * root flock -n /run/l2 a\n{others}", "--system", "--native")
    assert next(iter(done.jobs.values()))["command"] == "flock -n /run/l2 a"
    assert "flock is kept" in done.err


def test_a_lock_that_another_table_takes_stays(jobctl: Callable, tmp_path: Path):
    (tmp_path / "one").write_text("0 1 * * * root flock -n /run/l2 a\n", encoding="utf-8")
    (tmp_path / "two").write_text("0 1 * * * root flock /run/l2 b\n", encoding="utf-8")
    done = jobctl("import", "crontab", "one", "two", "--system", "--native")
    assert [job["command"] for job in done.jobs.values()] == [
        "flock -n /run/l2 a",
        "flock /run/l2 b",
    ]


def test_a_lock_that_is_given_up_is_told_of(crontab: Callable):
    done = crontab("0 1 * * * root flock -n '/run/l2' a\n", "--system", "--native")
    assert done.job["command"] == "a"
    assert "<stdin>:1: note: '/run/l2' is no longer locked" in done.err


def test_a_random_sleep_longer_than_the_gap_stays_and_is_told_of(crontab: Callable):
    line = "* * * * * root sleep $((RANDOM \\% 600)); x\n"
    done = crontab(line, "--system", "--native")
    assert done.job["command"] == "sleep $((RANDOM % 600)); x"
    assert "jitter" not in done.job
    assert "the random sleep is kept" in done.err


def test_a_random_sleep_just_as_long_as_the_gap_fits(crontab: Callable):
    line = "*/10 * * * * root sleep $((RANDOM \\% 600)); x\n"
    done = crontab(line, "--system", "--native")
    assert (done.job["jitter"], done.job["command"]) == ("9m59s", "x")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("/x >> /var/log/x 2>&1", "output goes to /var/log/x"),
        ("/x > /dev/null 2>&1", "output is thrown away"),
        (
            "/x && curl -fsS https://hc.example/abc > /dev/null",
            'ping_url = "https://hc.example/abc"',
        ),
        ("/x &", "ends with '&'"),
        ("sudo -u www-data /x", 'user = "www-data"'),
        ("x; if [ $(date +\\%d) -le 7 ]; then /x; fi", "a test on `date`"),
        ("run-parts /etc/cron.daily", "--expand-run-parts"),
    ],
)
def test_what_a_key_does_otherwise_is_only_told_of(command: str, told: str, crontab: Callable):
    done = crontab(f"0 1 * * 0 root {command}\n")
    assert told in done.err
    assert done.job["command"] == command.replace("\\%", "%")


@pytest.mark.parametrize(
    ("fields", "test", "told"),
    [
        ("0 9 * * 1", "[ $(date +\\%d) -le 07 ]", "mon#1 is the first Monday of"),
        ("0 9 * * 0,3", "[ $(date +\\%d) -le 7 ]", "sun#1,wed#1 are the first Sunday and the first Wednesday of"),
        ("0 9 * * fri", "[ $(date +\\%e) -lt 8 ]", "fri#1 is the first Friday of"),
        ("0 9 1-7 * *", "[ $(date +\\%u) -eq 2 ]", "tue#1 is the first Tuesday of"),
        ("0 9 1-7 * *", "[ $(date +\\%w) -eq 0 ]", "sun#1 is the first Sunday of"),
        ("0 9 * * *", "[ $(date +\\%d) -eq 1 ]", "mon#1, for one, is"),
    ],
)  # fmt: skip
def test_the_note_on_a_test_of_the_date_names_the_days_of_the_line(
    fields: str, test: str, told: str, crontab: Callable
):
    assert told in crontab(f"{fields} root {test} && /x\n").err


def test_the_first_week_may_be_written_with_a_zero(crontab: Callable):
    done = crontab("0 9 * * 1 root [ $(date +\\%d) -le 07 ] && /x\n", "--system", "--native")
    assert (done.job["schedule"], done.job["command"]) == ("0 9 * * mon#1", "/x")
