"""``jobctl export``: the way back, and round trips."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from instants import by_systemd, merged, of_the_job, of_the_line

from jobctl.model.schedule import parse_rule

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parent / "corpus"
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")
COUNT = 25


@pytest.fixture
def export(tmp_path: Path, jobctl: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Write jobs.toml, and export it."""
    monkeypatch.setenv("TZ", "UTC")

    def run(text: str, target: str = "crontab", *words: str):
        head = f'[jobctl]\nstate_dir = "{tmp_path}/state"\n'
        (tmp_path / "jobs.toml").write_text(head + text, encoding="utf-8")
        return jobctl("export", target, *words)

    return run


def job(schedule: str, command: str = "/bin/true", more: str = "") -> str:
    return f"[jobs.a]\nschedule = '{schedule}'\ncommand = '''{command}'''\n{more}\n"


def lines(text: str) -> list[str]:
    """Return the job lines of a crontab."""
    return [line for line in text.splitlines() if re.match(r"[\d*@-]", line)]


@pytest.mark.parametrize(
    ("schedule", "fields"),
    [
        ("30 2 * * *", "30 2 * * *"),
        ("@daily", "@daily"),
        ("@reboot", "@reboot"),
        ("*/15 9-17 * * mon-fri", "*/15 9-17 * * mon-fri"),
        ("0 0 13 * 5", "0 0 13 * 5"),
        ("5/15 * * * *", "5,20,35,50 * * * *"),
        ("0 0 ? * 1", "0 0 * * 1"),
        ("0 30 2 * * *", "30 2 * * *"),
        ("0 4 * * mon#1", "0 4 */100,1-7 * 1"),
        ("0 4 * * sun#2", "0 4 8-14 * */100,0"),
        ("@every 10m", "*/10 * * * *"),
        ("@every 6h", "0 */6 * * *"),
        ("@every 7d", "0 0 * * 0"),
    ],
)
def test_schedules_in_the_words_of_cron(schedule: str, fields: str, export: Callable):
    (line,) = lines(export(job(schedule)).out)
    assert line.split("\t") == [*fields.split(), "/bin/true"]


@pytest.mark.parametrize(
    "schedule", ["5/15 * * * *", "0 4 ? * 1", "0 4 * * mon#1", "0 4 * * sun#3", "~ 3 * * *"]
)
def test_rewritten_schedules_fire_as_before(schedule: str, export: Callable):
    done = export(job(schedule))
    (line,) = lines(done.out)
    fields = " ".join(line.split("\t")[:5])
    if "~" in schedule:
        assert "drawn values" in done.err
        return
    rule = parse_rule(schedule, timezone="Europe/Berlin")
    assert of_the_line(fields, "Europe/Berlin", COUNT) == merged([rule], COUNT)


@pytest.mark.parametrize(
    "schedule",
    ["0 0 L * *", "0 0 15W * *", "0 4 * * mon#2", "0 4 * * friL", "*/5 * * * * *", "@every 7m", "@every 90s",
     "@at 2030-01-01T00:00:00Z", "@start"],
)  # fmt: skip
def test_what_cron_cannot_say_is_a_comment_and_a_warning(schedule: str, export: Callable):
    done = export(job(schedule))
    assert done.code == 0
    assert lines(done.out) == []
    assert "# LEFT OUT" in done.out
    assert "jobs.toml:3: warning: a: " in done.err
    assert "is left out" in done.err


def test_keys_without_a_counterpart_are_named_with_the_job(export: Callable):
    done = export(
        job(
            "@daily",
            more='jitter = "5m"\nretries = 2\nmissed = "once"\nlimits = ["l"]\n[limits.l]\nslots = 1',
        )
    )
    for key in ('jitter = "5m"', "retries = 2", 'missed = "once"', "limits"):
        assert key in done.err
        assert f"# not in cron: {key}" in done.out
    assert len(lines(done.out)) == 1


def test_a_timer_that_mails_nobody_says_so(export: Callable):
    done = export(job("@daily", more='mail_to = "ops@x"\nmail_on = "always"'), "systemd")
    assert 'systemd has no mail_to, mail_on = "always"' in done.err
    assert "mails nothing to ops@x" in done.err
    assert '# not in systemd: mail_on = "always"' in done.out
    assert "OnFailure=" in done.out


@pytest.mark.parametrize("target", ["crontab", "systemd"])
def test_the_limit_of_a_queue_is_told_of_when_it_is_lost(target: str, export: Callable):
    queue = "[queues.q]\nmax_running = 1\n[pools.default]\nqueues = ['q']\n"
    done = export(job("@daily", more="queue = 'q'\n" + queue), target)
    assert "max_running = 1 of the queue q" in done.err
    assert "max_running = 1 of the queue q" in done.out


ENV_FILES = [  # the text, whether a shell and whether systemd may read it
    ("A=plain/value-1", 1, 1),
    ("A='hello world $(id -u)'", 1, 1),
    ('A="hello world"', 1, 1),
    ("# comment\n\nA='x'", 1, 1),
    ("export A=x # why", 1, 0),
    ("A=hello world", 0, 1),
    ("B=$(id -u)`date`;x", 0, 1),
    ('A="$HOME"', 0, 1),
    ("A='x'$(id)", 0, 0),
    ("A=x\\ y", 0, 0),
    ("A=~/x", 0, 1),
    ("a.b=1", 0, 0),
    ("A=x\u2028touch y", 0, 0),
    ("A=#x", 0, 0),
    ("UID=5", 0, 1),
    ("A='it is\n$(id)'", 0, 0),
]


@pytest.mark.parametrize(("text", "shell", "systemd"), ENV_FILES)
def test_a_file_of_variables_is_read_alike_or_the_job_is_left_out(
    text: str, shell: int, systemd: int, export: Callable, tmp_path: Path
):
    (tmp_path / "vars").write_text(text + "\n", encoding="utf-8")
    given = job("@daily", more="env_file = 'vars'")
    table, units = export(given), export(given, "systemd")
    assert bool(lines(table.out)) == shell
    assert ("EnvironmentFile=" in units.out) == systemd
    for done, kept in ((table, shell), (units, systemd)):
        assert ("would read this otherwise" in done.err) != kept
        assert "id -u" not in done.err


def test_a_file_of_variables_that_cannot_be_read_leaves_the_job_out(export: Callable):
    done = export(job("@daily", more="env_file = 'none'"))
    assert lines(done.out) == []
    assert "cannot be read here (No such file or directory)" in done.err


def test_a_group_that_cron_would_not_give_leaves_the_job_out(export: Callable):
    done = export(job("@daily", more='user = "nobody"\ngroup = "adm"'), "crontab", "--system")
    assert lines(done.out) == []
    assert "group = 'adm' is not the group of nobody" in done.err
    done = export(job("@daily", more='group = "nogroup"'), "crontab", "--user")
    assert lines(done.out) == []


def test_the_own_group_of_a_user_needs_no_word(export: Callable):
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    more = f'user = "nobody"\ngroup = "{group}"'
    (line,) = lines(export(job("@daily", more=more), "crontab", "--system").out)
    assert line.split("\t")[1] == "nobody"


@pytest.mark.parametrize("target", ["crontab", "systemd"])
def test_a_python_job_stays_in_the_interpreter_of_jobctl(target: str, export: Callable):
    done = export("[jobs.a]\nschedule = '@daily'\npython = 'os.path:basename'\n", target)
    assert f"{sys.executable} -c" in done.out


def test_an_interval_shares_its_service_with_no_other_schedule(export: Callable, tmp_path: Path):
    done = export(
        "[jobs.a]\nschedule = ['0 2 * * *', '@every 6h', '@every 1h', '0 4 * * *']\ncommand = 'x'\n",
        "systemd", "--output", "units",
    )  # fmt: skip
    triggers = [
        re.findall(r"(?m)^On\w+=", path.read_text(encoding="utf-8"))
        for path in sorted((tmp_path / "units").glob("*.timer"))
    ]
    monotonic = ["OnActiveSec=", "OnUnitActiveSec="]
    assert sorted(triggers) == [monotonic, monotonic, ["OnCalendar=", "OnCalendar="]]
    assert "become 3 services, which do not wait for each other" in done.err


def test_a_job_that_is_off_is_a_comment(export: Callable):
    done = export(job("@daily", more="enabled = false"))
    assert lines(done.out) == []
    assert "# switched off: @daily" in done.out


def test_users_get_their_column(export: Callable):
    both = (
        job("@daily", more='user = "www-data"') + '[jobs.b]\nschedule = "@hourly"\ncommand = "b"\n'
    )
    first, second = lines(export(both).out)
    assert first.split("\t")[:2] == ["@daily", "www-data"]
    assert (
        second.split("\t")[1]
        == subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    )
    done = export(both, "crontab", "--user")
    assert [line.split("\t")[0] for line in lines(done.out)] == ["@hourly"]
    assert "runs as www-data" in done.err


def test_settings_are_written_where_they_change(export: Callable):
    done = export(
        '[jobs.a]\nschedule = "@daily"\ncommand = "a"\nenv = { PATH = "/x" }\n'
        '[jobs.b]\nschedule = "@daily"\ncommand = "b"\nenv = { PATH = "/x" }\nmail_to = "ops"\nmail_on = "output"\n'
        '[jobs.c]\nschedule = "@daily"\ncommand = "c"\ntimezone = "Asia/Tokyo"\n'
    )
    shown = [line for line in done.out.splitlines() if line and not line.startswith("#")]
    assert shown == [
        "PATH=/x", "SHELL=/bin/sh", 'MAILTO=""', "@daily\ta", "MAILTO=ops", "@daily\tb",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 'MAILTO=""', "CRON_TZ=Asia/Tokyo",
        "@daily\texport TZ=Asia/Tokyo; c",
    ]  # fmt: skip
    assert "Debian's cron does not" in done.err


SHELL_JOBS = [
    ("plain", "command = 'echo hello'", "hello\n"),
    ("percent", "command = 'date +%% -d @0; printf \"%s\\n\" 100%'", "%\n100%\n"),
    ("lines", "command = '''\necho one\nif true; then\n  echo 'tw\\o'\nfi\n'''", "one\ntw\\o\n"),
    ("backslash", "command = '''printf '%s' 'a\\\\%b' '''", "a\\\\%b"),
    ("list", 'command = ["printf", "[%s]", "a b", "$HOME", "100%"]', "[a b][$HOME][100%]"),
    ("env", "command = 'echo $A$B'\nenv = { A = \"x y\", B = \"it's $HOME\" }", "x yit's $HOME\n"),
    ("cwd", 'command = "pwd"\ncwd = "/usr"', "/usr\n"),
    ("umask", 'command = "umask"\numask = "027"', "0027\n"),
    ("stdin", 'command = "cat"\nstdin = "a%b\\n\\nc\\n"', "a%b\n\nc\n"),
    ("true", 'command = "echo yes"\nonly_if = "test -d / && true"', "yes\n"),
    ("false", 'command = "echo no"\nonly_if = "test -d /no/such"', ""),
    ("behind", 'command = "echo on &"\nonly_if = "true"', "on\n"),
    ("nice", "command = 'nice; echo \"it is\"'\nnice = 7", f"{min(os.nice(0) + 7, 19)}\nit is\n"),
    ("timeout", "command = 'echo in; sleep 30'\ntimeout = 0.3", "in\n"),
    ("args", "command = 'echo \"$1\" \"$2\"'\nargs = [\"a b\", 7]", "a b 7\n"),
    ("python", "python = 'os.path:basename'\nargs = ['/a/b']\ninterpreter = 'python3'", ""),
    ("envfile", "command = 'echo $FROM_FILE'\nenv_file = 'vars'", "from file\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "keys", "printed"), SHELL_JOBS, ids=[one[0] for one in SHELL_JOBS]
)
def test_the_line_does_what_the_job_does(
    name: str, keys: str, printed: str, export: Callable, jobctl: Callable, tmp_path: Path
):
    (tmp_path / "vars").write_text("FROM_FILE='from file'\n", encoding="utf-8")
    written = export(f'[jobs.a]\nschedule = "@daily"\n{keys}\n').out
    back = jobctl("import", "crontab", "-", "--user", stdin=written).job

    done = subprocess.run(
        [back.get("shell", "/bin/sh"), "-c", back["command"]], input=back.get("stdin", ""),
        env=back["env"], capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.stdout == printed, done.stderr


@pytest.mark.parametrize("path", sorted(CORPUS.rglob("*@cron.d@*")), ids=lambda path: path.name)
def test_a_table_goes_out_and_comes_back_with_the_same_instants(
    path: Path, jobctl: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    first = jobctl("import", "crontab", str(path), "--system")
    (tmp_path / "jobs.toml").write_text(first.out, encoding="utf-8")
    written = jobctl("export", "crontab", "--system")
    second = jobctl("import", "crontab", "-", "--system", stdin=written.out)

    assert (written.code, second.code) == (0, 0)
    pairs = list(zip(first.jobs.values(), second.jobs.values(), strict=True))
    for before, after in pairs:
        assert after["user"] == before["user"]
        assert before["command"].strip() in after["command"]
        if before["schedule"] != "@reboot":
            assert of_the_job(after, "Europe/Berlin", COUNT) == of_the_job(
                before, "Europe/Berlin", COUNT
            )


def timer_lines(done: Any, key: str) -> list[str]:
    return re.findall(rf"(?m)^{key}=(.*)$", done.out)


@needs_systemd
@pytest.mark.parametrize(
    "schedule",
    ["30 2 * * *", "*/15 9-17 * * mon-fri", "0 0 13 * 5", "0 0 L * *", "0 4 * * mon#2", "0 4 * * friL", "0 4 * * 5#5",
     "*/20 5 4 * * *", "0 4 1,15,L * *", "0 4 */2 * 1", "0 4 1-7 * */7", "0 4 1,L * mon", "5/15 8 * 1-3 *", "@weekly",
     "0 3 10,L * tue#1,fri"],
)  # fmt: skip
def test_a_timer_fires_when_the_job_does(schedule: str, export: Callable):
    done = export(job(schedule), "systemd")
    found = sorted(
        {at for text in timer_lines(done, "OnCalendar") for at in by_systemd(text, COUNT)}
    )
    assert found[:COUNT] == merged([parse_rule(schedule, timezone="UTC")], COUNT)


@pytest.mark.parametrize("schedule", ["0 0 15W * *", "0 0 LW * *"])
def test_what_systemd_cannot_say_leaves_no_timer(schedule: str, export: Callable):
    done = export(job(schedule), "systemd")
    assert done.code == 0
    assert "[Timer]" not in done.out
    assert "is left out" in done.err


def test_keys_have_their_counterparts_in_units(export: Callable):
    done = export(
        job(
            "@daily",
            "echo $A 100%",
            'timezone = "Asia/Tokyo"\njitter = "5m"\nmissed = "once"\nuser = "nobody"\ngroup = "nogroup"\ncwd = "/srv"\n'
            'timeout = "1h"\nstop_signal = "INT"\nnice = 5\numask = "027"\nenv = { A = "x y" }\nonly_if = "test -d /"\n'
            'success_codes = [0, 3]\nmax_rss = "1M"\nleftovers = "keep"\nretries = 3\nmail_to = "ops"',
        ),
        "systemd",
    )
    for line in (
        "OnCalendar=*-*-* 0:0:0 Asia/Tokyo", "RandomizedDelaySec=300s", "FixedRandomDelay=true", "Persistent=true",
        "User=nobody", "Group=nogroup", "WorkingDirectory=/srv", "TimeoutStartSec=3600s", "KillSignal=SIGINT",
        "Nice=5", "UMask=0027", 'Environment="A=x y"', 'ExecCondition=/bin/sh -c "test -d /"',
        'ExecStart=/bin/sh -c "echo $$A 100%%"', "SuccessExitStatus=3", "MemoryMax=1048576", "KillMode=process",
        "# not in systemd: retries = 3", "# not in systemd: mail_to",
    ):  # fmt: skip
        assert line in done.out.splitlines(), line
    assert "retries = 3" in done.err


def test_intervals_and_boots_become_monotonic_timers(export: Callable):
    done = export(job("@every 90m"), "systemd")
    assert timer_lines(done, "OnUnitActiveSec") == ["5400s"]
    assert timer_lines(export(job("@reboot"), "systemd"), "OnBootSec") == ["1s"]


@pytest.mark.parametrize(
    "words",
    [
        [
            "printf",
            "%s|",
            "a b",
            "$HOME ${X} $$",
            "100%",
            'q"q',
            "it's",
            "back\\slash",
            "tab\tnew\nline",
            "",
            ";",
        ]
    ],
)
def test_a_command_survives_the_quoting_of_units(
    words: list[str], export: Callable, jobctl: Callable, tmp_path: Path
):
    export(
        f'[jobs.a]\nschedule = "@daily"\ncommand = {json.dumps(words)}\n', "systemd", "-o", "units"
    )
    back = jobctl("import", "systemd-timers", "units").job
    assert back["command"] == words


@needs_systemd
def test_systemd_verifies_the_units_and_would_refuse_bad_ones(export: Callable, tmp_path: Path):
    done = export(
        job("30 2 * * mon#1", "echo '100%' \"$HOME\" \\", 'jitter = "5m"\nstdin = "a\\nb"')
        + '[jobs.b]\nschedule = ["@every 5m", "@reboot"]\ncommand = ["/bin/echo", "$x", "%d"]\ntimezone = "Asia/Tokyo"\n',
        "systemd", "--output", "units",
    )  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "units").iterdir())
    units = ("jobctl-a", "jobctl-b-2", "jobctl-b")
    assert names == [f"{unit}.{kind}" for unit in units for kind in ("service", "timer")]
    assert sorted(done.out.split()) == [f"units/{name}" for name in names]

    def verify() -> subprocess.CompletedProcess[str]:
        units = [str(path) for path in (tmp_path / "units").iterdir()]
        return subprocess.run(
            [str(ANALYZE), "verify", "--man=no", "--recursive-errors=no", *units], capture_output=True, text=True,
            check=False, timeout=60, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )  # fmt: skip

    good = verify()
    assert (good.returncode, good.stderr) == (0, "")
    bad = tmp_path / "units" / "jobctl-a.timer"
    bad.write_text(
        bad.read_text(encoding="utf-8").replace("OnCalendar=", "OnCalendar=x"), encoding="utf-8"
    )
    assert "Failed to parse calendar" in verify().stderr


def test_units_that_are_there_are_not_replaced_unasked(export: Callable):
    assert export(job("@daily"), "systemd", "-o", "units").code == 0
    assert export(job("@daily"), "systemd", "-o", "units").code == 1
    assert export(job("@daily"), "systemd", "-o", "units", "--force").code == 0


def test_the_report_of_an_export_as_json(export: Callable):
    done = export(job("0 0 L * *"), "crontab", "--json")
    assert done.json["left_out"] == ["a"]
    assert list(done.json["files"]) == ["crontab"]
    assert {remark["code"] for remark in done.json["remarks"]} == {"no-counterpart", "left-out"}


def test_jobs_without_a_schedule_are_told_of(export: Callable):
    done = export('[jobs.a]\ncommand = "a"\n')
    assert lines(done.out) == []
    assert "note: a: it has no schedule" in done.err
