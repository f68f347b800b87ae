"""Bad files: each problem has its place, its code and words a person understands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobctl.config.problem import ERROR, WARNING, ConfigProblems

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobctl.config.validate import Checked

JOB = '[jobs.a]\ncommand = "true"\n'

# Text, line, column, code, key, words of the message, words of the remedy.
BAD: list[tuple[str, int, int, str, str, str, str]] = [
    ("a", 1, 2, "syntax", "", "followed by '='", "key = value"),
    ("a = \n", 1, 5, "syntax", "", "should be a value", "quotes"),
    ("x = tru\n", 1, 5, "syntax", "", "should be a value", "true, false"),
    ('a = "x\nb = 1', 1, 7, "syntax", "", "not allowed here", "triple quotes"),
    ('a = "x', 1, 7, "syntax", "", "not closed", "quote"),
    ('a = "\\q"', 1, 8, "syntax", "", "backslash", "single quotes"),
    ("[jobs.a", 1, 8, "syntax", "", "not closed", "[name]"),
    ("a = [1,\n2\n", 2, 2, "syntax", "", "list is not closed", "']'"),
    ("a = 1 b = 2", 1, 7, "syntax", "", "goes on after", "one key"),
    ("= 1", 1, 1, "syntax", "", "key or a [table]", "#"),
    ("[jobs.a]\n[jobs.a]\n", 2, 7, "syntax", "jobs.a", "twice, first in line 1", "keep one"),
    ("[jobs.a]\nnice = 1\nnice = 2", 3, 1, "syntax", "jobs.a.nice", "first in line 2", "keep"),
    ("jobs = 3", 1, 8, "type", "jobs", "3 is not a table", "[jobs.NAME]"),
    ("[jobs]\na = 3", 2, 5, "type", "jobs.a", "3 is not a table", ""),
    ("[job.a]\n", 1, 2, "unknown-key", "job", "unknown key", "'jobs'"),
    ("[jobctl]\ninclude = []\n", 2, 1, "unknown-key", "jobctl.include", "unknown", "top"),
    ("[jobctl]\nslots = 3\n", 2, 1, "unknown-key", "jobctl.slots", "", "a pool and a limit"),
    ('[jobctl]\nallow_exec = "yes"', 2, 14, "type", "jobctl.allow_exec", "neither true", "quotes"),
    ('[jobctl]\nnamespace = "a b"', 2, 13, "name", "jobctl.namespace", "'a b'", "letters"),
    ('[jobctl]\ntimezone = "Berlin/E"', 2, 12, "timezone", "jobctl.timezone", "unknown", ""),
    ('[jobctl]\nredis = "http://x"', 2, 9, "url", "jobctl.redis", "not the URL", "redis://"),
    ('[jobctl]\nredis = "unix://x"', 2, 9, "url", "jobctl.redis", "no socket", "unix:///"),
    ('[jobctl]\nredis = "redis://h/x"', 2, 9, "url", "jobctl.redis", "database", ""),
    ('[jobctl]\nname = "${NO}"', 2, 9, "variable", "jobctl.name", "NO, which is not set", "${NO:-"),
    ('[jobctl]\nname = "a${"', 2, 10, "variable", "jobctl.name", "no variable", "$${"),
    ('[defaults]\ntimeout = "abc"', 2, 11, "duration", "defaults.timeout", "'abc' is not a dur", '"1h30m"'),
    ('[jobs.a]\npython = "m:f"\nargs = { x = 1 }', 3, 8, "type", "jobs.a.args", "list", "kwargs"),
    ('[jobs.a]\npython = "m:f"\nkwargs = [1]', 3, 10, "type", "jobs.a.kwargs", "table", "in args"),
    ("[pools.p]\nslots = 0", 2, 9, "range", "pools.p.slots", "0 is not from 1", ""),
    ("[pools.p]\nqueues = []", 2, 10, "value", "pools.p.queues", "runs nothing", "*"),
    ('[pools.p]\npython = "procces"', 2, 10, "choice", "pools.p.python", "none of", "'process'"),
    ("[queues.q]\nmax_length = true", 2, 14, "type", "queues.q.max_length", "true is not", "digits"),
    ("[limits.l]\n", 1, 9, "missing", "limits.l.slots", "missing", "add slots"),
    ("[jobs.a]\n", 1, 7, "missing", "jobs.a", "nothing to run", "command"),
    ('[jobs."a b"]\ncommand = "x"', 1, 7, "name", 'jobs."a b"', "'a b' cannot be a name", ""),
    ('[jobs.a]\ncomand = "x"', 2, 1, "unknown-key", "jobs.a.comand", "unknown", "'command'"),
    ('[jobs.a]\ncommand = ""', 2, 11, "value", "jobs.a.command", "is empty", ""),
    ("[jobs.a]\ncommand = []", 2, 11, "value", "jobs.a.command", "no program", ""),
    ('[jobs.a]\ncommand = ["x", 3]', 2, 17, "type", "jobs.a.command[1]", "3 is not text", "quotes"),
    ('[jobs.a]\npython = "a.b"', 2, 10, "target", "jobs.a.python", "'a.b' does not", "module:"),
    ('[jobs.a]\npython = "a:b"\ncommand = "x"', 2, 10, "conflict", "jobs.a.python", "not both", ""),
    (JOB + 'cron = "* * * * *"', 3, 1, "unknown-key", "jobs.a.cron", "", "called schedule"),
    (JOB + 'grace = "5s"', 3, 1, "unknown-key", "jobs.a.grace", "", "called stop_timeout"),
    (JOB + "ignore_result = true", 3, 1, "unknown-key", "jobs.a.ignore_result", "", 'write keep_result = "none"'),
    ("[pools.p]\nworkers = 3", 2, 1, "unknown-key", "pools.p.workers", "", "called slots"),
    (JOB + "max_retries = 3", 3, 1, "unknown-key", "jobs.a.max_retries", "", "called retries"),
    (JOB + "timeout = 0", 3, 11, "duration", "jobs.a.timeout", "no time at all", '"none"'),
    ("[pools.a]\nidle_timeout = 0", 2, 16, "duration", "pools.a.idle_timeout", "no time at all", '"auto"'),
    (JOB + "timeout = nan", 3, 11, "duration", "jobs.a.timeout", "", ""),
    (JOB + "timeout = -3", 3, 11, "duration", "jobs.a.timeout", "-3 is not", ""),
    (JOB + "timeout = true", 3, 11, "duration", "jobs.a.timeout", "true is not", ""),
    (JOB + 'timeout = "1h"\nsoft_timeout = "2h"', 4, 16, "conflict", "jobs.a.soft_timeout", "not shorter", ""),
    (JOB + 'timeout = "3h"\ntotal_timeout = "2h"', 3, 11, "conflict", "jobs.a.timeout", "total_timeout", ""),
    (JOB + 'retry_delay = "9h"\nretry_max_delay = "2h"', 4, 19, "conflict", "jobs.a.retry_max_delay", "", ""),
    (JOB + 'schedule = "61 * * * *"', 3, 13, "schedule", "jobs.a.schedule", "minute", ""),
    (JOB + 'schedule = ["@daily", "* * * * funday"]', 3, 32, "schedule", "jobs.a.schedule[1]", "", ""),
    (JOB + 'schedule = "0 0 30 2 *"', 3, 17, "schedule", "jobs.a.schedule", "", ""),
    (JOB + 'schedule = "@every 10m"\njitter = "10m"', 4, 10, "conflict", "jobs.a.jitter", "10m is not shorter", ""),
    (JOB + 'schedule = "@daily"\ntimezone = "Europe/Berln"', 4, 12, "timezone", "jobs.a.timezone", "", "Europe/Berlin"),
    (JOB + "[[jobs.a.schedules]]\n", 3, 10, "missing", "jobs.a.schedules[0].schedule", "missing", ""),
    (JOB + '[[jobs.a.schedules]]\nschedule = "@daily"\nprio = 3', 5, 1, "unknown-key", "jobs.a.schedules[0].prio", "", "'priority'"),
    (JOB + '[[jobs.a.schedules]]\nschedule = "@daily"\nnot_after = 2020-01-01', 5, 13, "instant", "jobs.a.schedules[0].not_after", "a date", "offset"),
    (JOB + "priority = 10", 3, 12, "range", "jobs.a.priority", "10 is not from 0 to 9", ""),
    (JOB + 'overlap = "forbid"', 3, 11, "choice", "jobs.a.overlap", "'forbid' is none of skip, queue", ""),
    (JOB + 'stop_signal = "TREM"', 3, 15, "choice", "jobs.a.stop_signal", "", "'TERM'"),
    (JOB + 'retry_on = [75, "timout"]', 3, 17, "choice", "jobs.a.retry_on[1]", "", "'timeout'"),
    (JOB + "success_codes = [0, 256]", 3, 21, "range", "jobs.a.success_codes[1]", "256", ""),
    (JOB + "skip_codes = [0]", 3, 14, "conflict", "jobs.a.skip_codes", "0 already means", ""),
    (JOB + 'limits = ["db"]\n[limits.dbb]\nslots = 1', 3, 11, "reference", "jobs.a.limits[0]", "'db'", "'dbb'"),
    (JOB + 'limits = "db"', 3, 10, "reference", "jobs.a.limits", "no limit 'db'", "[limits.db]"),
    (JOB + 'rate = "10/min"', 3, 8, "rate", "jobs.a.rate", "", '"10/m"'),
    (JOB + 'unique = "arg"', 3, 10, "choice", "jobs.a.unique", "none of args", ""),
    (JOB + 'max_rss = "2XB"', 3, 11, "size", "jobs.a.max_rss", "2XB", '"512M"'),
    (JOB + "nice = 20", 3, 8, "range", "jobs.a.nice", "-20 to 19", ""),
    (JOB + "umask = 22", 3, 9, "value", "jobs.a.umask", "octal 026", '"022"'),
    (JOB + 'umask = "9"', 3, 9, "value", "jobs.a.umask", "'9' is not", '"022"'),
    (JOB + "env = 3", 3, 7, "type", "jobs.a.env", "not a table", ""),
    (JOB + "env.A = true", 3, 9, "type", "jobs.a.env.A", "the value is not text", "quotes"),
    (JOB + 'env.JOBCTL_JOB = "x"', 3, 18, "name", "jobs.a.env.JOBCTL_JOB", "hide", ""),
    (JOB + 'env."A=B" = "x"', 3, 13, "name", 'jobs.a.env."A=B"', "no process", ""),
    (JOB + 'ping_url = "example.org"', 3, 12, "url", "jobs.a.ping_url", "not a web address", ""),
    (JOB + "kwargs.x = nan", 3, 12, "value", "jobs.a.kwargs.x", "cannot be passed", ""),
    (JOB + "[jobs.a.params.n]\ntyp = 1", 4, 1, "unknown-key", "jobs.a.params.n.typ", "", "'type'"),
    (JOB + 'params.n = { type = "int", default = "x" }', 3, 38, "value", "jobs.a.params.n.default", "not a whole", ""),
    (JOB + 'params.n = { choices = ["a", 3] }', 3, 30, "value", "jobs.a.params.n.choices[1]", "not text", ""),
    (JOB + 'params.n = { pattern = "(" }', 3, 24, "value", "jobs.a.params.n.pattern", "regular", ""),
    (JOB + 'params.n = { type = "bool", min = 3 }', 3, 35, "conflict", "jobs.a.params.n.min", "no min", ""),
    (JOB + "params.n = { min = 3, max = 2 }", 3, 29, "conflict", "jobs.a.params.n.max", "less", ""),
    (JOB + 'params."n-x" = { }', 3, 8, "name", "jobs.a.params.n-x", "'n-x' cannot", ""),
    (JOB + "params.n = {}\nparams.N = {}", 4, 8, "conflict", "jobs.a.params.N", "case", ""),
    (JOB + 'schedule = "@daily"\nparams.n = {}', 1, 7, "arguments", "jobs.a.args", "n: is missing", "default"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "code", "key", "message", "remedy"), BAD, ids=[row[0] for row in BAD]
)
def test_bad_input_is_placed_and_explained(
    check: Callable[..., Checked],
    *,
    text: str,
    line: int,
    column: int,
    code: str,
    key: str,
    message: str,
    remedy: str,
) -> None:
    checked = check(text)

    [problem] = [one for one in checked.problems if one.severity == ERROR]
    assert (problem.line, problem.column, problem.code, problem.key) == (line, column, code, key)
    assert message in problem.message
    assert remedy in problem.remedy
    assert checked.config is None


def test_all_problems_of_all_files_come_at_once(check: Callable[..., Checked]) -> None:
    checked = check(
        """\
        include = ["jobs.d/*.toml"]
        [jobs.a]
        command = "true"
        timeout = "soon"
        limits = ["no"]
        nise = 3
        """,
        files={
            "jobs.d/1.toml": '[jobs.b]\npython = "x"\n[jobs.a]\ncommand = "true"\n',
            "jobs.d/2.toml": "[jobctl]\n[jobs.c]\ncommand = 3\n",
        },
    )

    assert [(one.file.rpartition("/")[2], one.line, one.code) for one in checked.problems] == [
        ("jobs.toml", 4, "duration"),
        ("jobs.toml", 5, "reference"),
        ("jobs.toml", 6, "unknown-key"),
        ("1.toml", 2, "target"),
        ("1.toml", 3, "duplicate"),
        ("2.toml", 1, "not-here"),
        ("2.toml", 3, "type"),
    ]
    assert checked.problems[4].message.endswith("jobs.toml:2")


def test_a_broken_include_does_not_hide_its_neighbours(check: Callable[..., Checked]) -> None:
    checked = check(
        'include = "*.d/*"\n[jobs.a]\ncommand = "x"\nlimits = ["maybe"]\n',
        files={"a.d/1.toml": "[", "a.d/2.toml": "[jobs.b]\nnice = 1.5\ncommand = 'x'"},
    )

    # Whether the limit exists is not known, so nothing is said about it.
    assert [one.code for one in checked.problems] == ["type", "syntax"]


def test_an_included_file_must_exist_and_a_pattern_need_not(check: Callable[..., Checked]) -> None:
    assert check('include = ["none.d/*.toml"]').config is not None

    [problem] = check('include = ["none.toml", 3]').problems[:1]
    assert (problem.code, problem.column) == ("unreadable", 12)
    assert check("include = 3").problems[0].code == "type"


def test_a_file_is_read_once_however_often_it_is_named(check: Callable[..., Checked]) -> None:
    checked = check('include = ["*.toml", "a.toml"]', files={"a.toml": JOB})

    assert list(checked.require().jobs) == ["a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x7fELF\x02\x00\x00", "not a text file"),
        (b'[jobs.a]\ncommand = "\xe4"', "byte 0xe4 is not valid UTF-8"),
        (b"a = " + b"9" * 5000, "thousands of digits"),
        (b"a = " + b"[" * 3000, "nested too deeply"),
    ],
)
def test_what_is_no_toml_at_all_is_said_cleanly(
    check: Callable[..., Checked], tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "x.toml").write_bytes(content)

    [problem] = check('include = "x.toml"').problems
    assert words in problem.message


def test_encoding_errors_have_a_place(check: Callable[..., Checked], tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(
        '# ä\na = "ä\xe4"'.encode("latin-1").replace(b"\xe4\n", "ä\n".encode())
    )

    [problem] = check('include = "x.toml"').problems
    assert (problem.line, problem.column) == (2, 6)


def test_a_missing_file_a_directory_and_a_pipe_are_told_apart(
    check: Callable[..., Checked], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dir").mkdir()

    messages = [one.message for one in check('include = ["pipe", "dir"]').problems]
    assert messages == ["this is not a regular file", "this is a directory"]


def test_a_byte_order_mark_is_no_error(check: Callable[..., Checked], tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf" + JOB.encode())

    assert "a" in check('include = "x.toml"').require().jobs


def test_secrets_are_in_no_text(check: Callable[..., Checked]) -> None:
    checked = check(
        """\
        [jobctl]
        redis = "${STORE}"
        drain_timeout = "${GRACE}"
        name = "x"
        timezone = "${ZONE}"
        [defaults.env]
        API = ["hunter2"]
        [jobs.a]
        command = "true"
        env = { TOKEN = "hunter2", X = true }
        kwargs = { a = "hunter2", b = inf }
        args = ["hunter2"]
        params.p = { type = "int" }
        schedule = "@daily"
        ping_url = "hunter2"
        stdin = 3
        password = "hunter2"
        """,
        env={"STORE": "http://u:hunter2@h", "GRACE": "hunter2", "ZONE": "hunter2"},
    )

    assert len(checked.problems) >= 9
    assert "hunter2" not in repr(checked.problems)


def test_a_lost_run_that_is_not_repeated_all_the_same_is_told_of(
    check: Callable[..., Checked],
) -> None:
    once = f'{JOB}delivery = "at-most-once"\n'
    (problem,) = check(f'{once}on_lost = "retry"\n').problems
    assert (problem.severity, problem.key) == (WARNING, "jobs.a.on_lost")
    assert "not repeated" in problem.message
    assert check(once).problems == check(f'{once}on_lost = "fail"\n').problems == ()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://a,b,c/main", None),
        ("rediss+sentinel://:pw@a:26379/main/3?sentinel_password=x", None),
        ("redis+cluster://a,b:7001", None),
        ("redis+sentinel://a,b,c", "names no service for the sentinels"),
        ("redis+sentinel://a/main/x", "no database number"),
        ("redis+cluster://a,,b", "names no host"),
    ],
)
def test_groups_of_servers_are_checked_for_their_form(
    check: Callable[..., Checked], url: str, words: str | None
) -> None:
    problems = check(f'[jobctl]\nredis = "{url}"\n[security]\nsign = "none"\n').problems
    if words is None:
        assert problems == ()
    else:
        assert len(problems) == 1
        assert words in problems[0].message


def test_embedded_store_has_no_replicas_to_wait_for(check: Callable[..., Checked]) -> None:
    (problem,) = check('[jobctl]\ndurability = "replicated"\n').problems
    assert (problem.line, problem.code) == (2, "conflict")
    assert (
        check(
            '[jobctl]\nredis = "redis://a"\ndurability = "replicated"\n[security]\nsign = "none"\n'
        ).problems
        == ()
    )


def test_inactive_keys_are_warned_of_once_where_they_are_set(check: Callable[..., Checked]) -> None:
    checked = check(
        """\
        [defaults]
        result_ttl = "1h"
        [pools.default]
        python = "thread"
        [jobs.a]
        command = "true"
        on_failure = ["b", "c"]
        [jobs.b]
        command = "true"
        """
    )

    assert [(one.line, one.code) for one in checked.problems] == [
        (2, "inactive"), (7, "reference"),
    ]  # fmt: skip
    assert len(checked.require().warnings) == 2
    assert "not acted on by this version" in checked.require().warnings[0]


@pytest.mark.parametrize(
    ("keys", "warned"),
    [
        ('missed = "all"', "jobs.a.missed"),
        ('missed = "all"\noverlap = "queue-all"', None),
        ('missed = "once"', None),
        ("catchup_max = 5", "jobs.a.catchup_max"),
        ('catchup_window = "2d"', "jobs.a.catchup_window"),
        ('catchup_window = "2d"\nmissed = "once"', None),
        ('start_deadline = "1m"\nmissed = "once"', "jobs.a.start_deadline"),
        ('start_deadline = "1h"\nmissed = "once"', None),
        ('start_deadline = "1m"', None),
    ],
)
def test_what_keeps_missed_runs_from_being_made_up_for_is_warned_of(
    check: Callable[..., Checked], keys: str, warned: str | None
) -> None:
    checked = check(f'[jobs.a]\ncommand = "x"\nschedule = "@daily"\n{keys}\n')
    assert [problem.key for problem in checked.problems] == ([warned] if warned else [])
    assert all(problem.severity == WARNING for problem in checked.problems)


@pytest.mark.parametrize(
    ("settings", "keys", "warned"),
    [
        ('redis = "redis://r.example.org"', 'overlap = "skip"', 1),
        ('redis = "redis://r.example.org"', 'overlap = "allow"', 0),
        ('redis = "redis://r.example.org"', "", 0),
        ("", 'overlap = "skip"', 0),
    ],
)
def test_a_written_overlap_that_is_in_the_way_of_other_hosts_boots_is_warned_of(
    check: Callable[..., Checked], settings: str, keys: str, warned: int
) -> None:
    text = (
        f'[jobctl]\n{settings}\n[jobs.a]\ncommand = "x"\nschedule = ["@daily", "@reboot"]\n{keys}\n'
    )
    found = [problem.message for problem in check(text).problems if problem.key == "jobs.a.overlap"]
    assert [message.startswith("@reboot runs once for each host") for message in found] == [
        True
    ] * warned


@pytest.mark.parametrize(
    ("schedules", "warned"),
    [
        ('schedule = ["0 2 * * *", "0  2 * * *"]', ["jobs.a.schedule[1]"]),
        ('schedule = ["0 2 * * *", "30 2 * * *"]', []),
        ('schedule = ["H 2 * * *", "H 2 * * *"]', []),
        (
            'schedules = [{schedule = "@daily"}, {schedule = "@Daily"}]',
            ["jobs.a.schedules[1].schedule"],
        ),
        ('schedules = [{schedule = "@daily"}, {schedule = "@daily", queue = "default"}]', []),
    ],
)
def test_a_schedule_that_a_job_has_twice_is_warned_of(
    check: Callable[..., Checked], schedules: str, warned: list[str]
) -> None:
    checked = check(f'[jobs.a]\ncommand = "x"\n{schedules}\n')
    found = [problem.key for problem in checked.problems if problem.code == "duplicate"]
    assert found == warned
    assert all(problem.severity == WARNING for problem in checked.problems)


def test_windows_in_the_defaults_are_for_the_jobs_that_use_them(
    check: Callable[..., Checked],
) -> None:
    text = '[defaults]\ncatchup_window = "2d"\n[jobs.a]\ncommand = "x"\nschedule = "@daily"\n'
    assert check(text).problems == ()


def test_a_queue_that_no_pool_serves_is_warned_of(check: Callable[..., Checked]) -> None:
    job = '[jobs.a]\ncommand = "true"\nqueue = "slow"\n'

    [problem] = check(job).problems
    assert (problem.severity, problem.code, problem.line) == ("warning", "unserved", 3)
    assert check(job + '[pools.p]\nqueues = ["*"]').problems == ()
    assert check(job + '[pools.p]\nqueues = ["slow"]').problems == ()


def test_arguments_that_a_command_ignores_are_warned_of(check: Callable[..., Checked]) -> None:
    table = '[[jobs.a.schedules]]\nschedule = "@daily"\nargs = ["y"]\n'
    found = check(f'[jobs.a]\ncommand = "true"\nargs = ["x"]\n{table}').problems
    assert [(one.severity, one.line, one.key) for one in found] == [
        (WARNING, 3, "jobs.a.args"), (WARNING, 6, "jobs.a.schedules[0].args"),
    ]  # fmt: skip
    assert 'they are ignored; write "$@" or $1 into it' in found[0].text
    for used in ("'echo $1'", '["true"]', '"true"\nparams.p = { type = "str" }'):
        assert (
            check(f'[jobs.a]\ncommand = {used}\nschedule = "@daily"\nargs = ["x"]\n').problems == ()
        )


def test_a_problem_of_the_defaults_comes_once(check: Callable[..., Checked]) -> None:
    checked = check(
        '[defaults]\nlimits = ["no"]\nsoft_timeout = 5\ntimeout = 4\n'
        '[jobs.a]\ncommand = "x"\n[jobs.b]\ncommand = "x"\n'
    )

    assert [(one.key, one.line) for one in checked.problems] == [
        ("defaults.limits[0]", 2), ("defaults.soft_timeout", 3),
    ]  # fmt: skip


def test_require_raises_with_every_problem(check: Callable[..., Checked]) -> None:
    with pytest.raises(ConfigProblems) as caught:
        check("[jobs.a]\n[jobs.b]\n").require()

    assert len(caught.value.problems) == 2
    assert str(caught.value).count("\n") == 1


@pytest.mark.parametrize(
    ("pool", "job", "key"),
    [
        ("slots = 4\nmax = 8", "", "pools.p.max"),
        ("min = 9\nmax = 8", "", "pools.p.min"),
        ('python = "inline"\nslots = 2', "", "pools.p.slots"),
        ('python = "thread"', 'max_rss = "1G"', "jobs.a.max_rss"),
        ('python = "async"', "strict_single = true", "jobs.a.strict_single"),
        ('preload = ["no-module"]', "", "pools.p.preload[0]"),
        ('child_init = "nothing"', "", "pools.p.child_init"),
        ("", 'expected = ["a.B", "no class"]', "jobs.a.expected[1]"),
    ],
)
def test_keys_of_a_pool_that_make_no_sense_together_are_refused(
    check: Callable[..., Checked], pool: str, job: str, key: str
) -> None:
    checked = check(
        f'[pools.p]\nqueues = ["q"]\n{pool}\n[jobs.a]\npython = "m:f"\nqueue = "q"\n{job}\n'
    )

    assert [one.key for one in checked.problems if one.severity != "warning"] == [key]


def test_pool_with_bounds_may_have_as_many_slots_as_its_greatest(
    check: Callable[..., Checked],
) -> None:
    pools = (
        check("[pools.p]\nmax = 7\n[pools.q]\nmin = 64\n[pools.r]\npython = 'inline'")
        .require()
        .pools
    )

    assert (pools["p"].min, pools["p"].slots) == (1, 7)
    assert (pools["q"].min, pools["q"].slots) == (64, 64)
    assert (pools["r"].min, pools["r"].slots) == (None, 1)
