"""``jobctl import crontab``: what a line of a crontab means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_setting_holds_for_the_lines_below_it_only(crontab: Callable):
    done = crontab("0 1 * * * root a\nX = 1\n0 2 * * * root b\nX=\n0 3 * * * root c\n")
    envs = [job["env"].get("X") for job in done.jobs.values()]
    assert envs == [None, "1", ""]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=a b  ", "a b"),
        ("X = 'a b  '", "a b  "),
        ('X="it\'s"', "it's"),
        ("'X'=$HOME/bin", "$HOME/bin"),
        ("X=", ""),
        ('X=""', ""),
        ("  X\t=\ty", "y"),
    ],
)
def test_settings_are_read_as_cron_reads_them(line: str, value: str, crontab: Callable):
    assert crontab(f"{line}\n0 1 * * * root a\n").job["env"]["X"] == value


def test_an_assignment_in_a_command_is_no_setting(crontab: Callable):
    assert crontab("0 1 * * * root X=1 a\n").job["command"] == "X=1 a"


def test_cron_gives_a_short_path_when_the_table_has_none(crontab: Callable):
    assert crontab("0 1 * * * root a\n").job["env"] == {"PATH": "/usr/bin:/bin"}


def test_shell_home_and_zone_have_keys(crontab: Callable):
    job = crontab("SHELL=/bin/bash\nHOME=/srv\nCRON_TZ=Asia/Tokyo\n0 1 * * * root a\n").job
    assert job["shell"] == "/bin/bash"
    assert job["cwd"] == "/srv"
    assert job["timezone"] == "Asia/Tokyo"
    assert job["env"]["HOME"] == "/srv"
    # cronie moves the schedule only; the command goes on in the host's zone.
    assert job["env"]["TZ"] == ":/etc/localtime"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("", {"mail_to": "www-data", "mail_on": "output"}),
        ("MAILTO=ops@example.org\n", {"mail_to": "ops@example.org", "mail_on": "output"}),
        ("MAILTO=a, b\n", {"mail_to": ["a", "b"], "mail_on": "output"}),
        ('MAILTO=""\n', {"mail_on": "never"}),
        ("MAILTO=\n", {"mail_on": "never"}),
    ],
)
def test_mail_goes_where_cron_sends_it(setting: str, expected: dict, crontab: Callable):
    job = crontab(f"{setting}0 1 * * * www-data a\n").job
    assert {key: job[key] for key in ("mail_to", "mail_on") if key in job} == expected


def test_the_name_of_who_logs_in_cannot_be_set(crontab: Callable):
    done = crontab("LOGNAME=x\n0 1 * * * root a\n")
    assert "LOGNAME" not in done.job["env"]
    assert "LOGNAME cannot be set" in done.err


def test_random_delay_becomes_jitter_shorter_than_the_gap(crontab: Callable):
    done = crontab("RANDOM_DELAY=45\n0 1 * * * root a\n*/10 * * * * root b\n")
    assert [job["jitter"] for job in done.jobs.values()] == ["45m", "9m59s"]
    assert "<stdin>:3: warning: RANDOM_DELAY=45: shortened to 9m59s" in done.err


@pytest.mark.parametrize(
    ("line", "command", "stdin"),
    [
        ("mail joe%Hello%%there", "mail joe", "Hello\n\nthere\n"),
        ("cat%", "cat", ""),
        ("cat%a%", "cat", "a\n"),
        (r"date +\%F", "date +%F", None),
        (r"cat%100\%", "cat", "100%\n"),
        (r"echo \\%x", r"echo \\", "x\n"),
        (r"cat%a\b", "cat", "a\\b\n"),
    ],
)
def test_a_percent_sign_divides_command_and_input(
    line: str, command: str, stdin: str | None, crontab: Callable
):
    job = crontab(f"0 1 * * * root {line}\n").job
    assert job["command"] == command
    assert job.get("stdin") == stdin


@pytest.mark.parametrize("command", ["echo $(date +%F)", 'echo "100% of it"', "x > log.`date +%d`"])
def test_a_percent_sign_that_nobody_meant_is_warned_of(command: str, crontab: Callable):
    done = crontab(f"0 1 * * * root {command}\n")
    assert "<stdin>:1: warning: '%'" in done.err


def test_blanks_comments_and_tabs_are_as_in_cron(crontab: Callable):
    done = crontab("  # no\n\n \t0\t1  * *\t*\troot\techo  a # b\n")
    assert done.job["schedule"] == "0 1 * * *"
    assert done.job["command"] == "echo  a # b"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("0 4 1 Jan,Apr root x", "day-of-week: 'root' is not"),
        ("0 4 * *", "day-of-week: the field is missing"),
        ("0 4 * * * root", "the command is missing"),
        ("61 * * * * root x", "minute: 61 is not between 0 and 59"),
        ("* * * * * * root x", "user: found '*', so there is one field too many"),
        ("* 24/5 * * * root x", "hour: 24 is not between 0 and 23"),
        ("0 0 1 13-3 * root x", "month: 13 is not between 1 and 12"),
        ("@Daily root x", "@Daily is no nickname"),
        ("*/0 * * * * root x", "minute: a step of 0"),
        ("0 0 L * * root x", "day-of-month: 'L' is not a number"),
        ("0 0 ? * * root x", "day-of-month: '?' is not a number"),
        ("0 4 * * * /usr/bin/x --flag", "user: '/usr/bin/x' is no user"),
    ],
)
def test_what_cron_refuses_is_told_kept_as_a_comment_and_ends_with_78(
    line: str, told: str, crontab: Callable
):
    done = crontab(f"{line}\n0 1 * * * root good\n")
    assert done.code == 78
    assert f"<stdin>:1: error: {told}" in done.err
    assert f"# {line}" in done.out
    assert done.job["command"] == "good"


@pytest.mark.parametrize(
    ("fields", "schedule", "told"),
    [
        ("1-2-3 * * * *", "1,2 * * * *", "skips '-3'"),
        ("*5 * * * *", "* * * * *", "skips '5'"),
        ("0 0 * * mon#2", "0 0 * * 1", "skips '#2'"),
        ("0 0 * * 5L", None, "error"),
        ("0 5/6 * * *", "0 5/6 * * *", "refuse a step without a range"),
        ("0 0 * * fri-sun", "0 0 * * fri-sun", "Debian's cron never runs it"),
        ("0 0 * * 7", "0 0 * * 7", ""),
        ("*/7 1-2-3 * * *", "*/7 1,2 * * *", "is written as"),
    ],
)
def test_cron_s_own_reading_decides(
    fields: str, schedule: str | None, told: str, crontab: Callable
):
    done = crontab(f"{fields} root x\n")
    assert told in done.err
    if schedule is not None:
        assert done.job["schedule"] == schedule


@pytest.mark.parametrize("fields", ["5-1 * * * *", "0 0 * * sat-mon", "0 0 30 2 *"])
def test_what_cron_never_runs_is_off_and_told(fields: str, crontab: Callable):
    done = crontab(f"{fields} root x\n")
    assert done.code == 0
    assert done.job["enabled"] is False
    assert "schedule" not in done.job
    assert "<stdin>:1: warning:" in done.err
    assert "never runs" in done.err


def test_flags_before_the_command(crontab: Callable):
    done = crontab("0 1 * * * root -ns -q a\n-0 2 * * * root b\n")
    first, second = done.jobs.values()
    assert (first["command"], first["mail_on"], first["overlap"]) == ("a", "failure", "skip")
    assert (second["command"], second["mail_on"], second["overlap"]) == ("b", "output", "allow")
    assert done.err.count("no counterpart") == 2


def test_freebsd_has_groups_classes_and_seconds(crontab: Callable):
    done = crontab("@every_second operator:wheel/staff a\n@600 root b\n")
    first, second = done.jobs.values()
    assert (first["user"], first["group"], first["schedule"]) == (
        "operator", "wheel", "* * * * * *",
    )  # fmt: skip
    assert second["schedule"] == "@every 600s"
    assert "login class 'staff'" in done.err


def test_a_drawn_time_stays_and_is_told(crontab: Callable):
    done = crontab("0~29 3 * * * root a\n")
    assert done.job["schedule"] == "0~29 3 * * *"
    assert "drawn once" in done.err


def test_a_last_line_without_newline_is_taken_and_told(crontab: Callable):
    done = crontab("0 1 * * * root a")
    assert done.job["command"] == "a"
    assert "<stdin>:1: note: the last line does not end with a newline" in done.err


def test_names_come_from_programs_and_are_distinct(crontab: Callable):
    done = crontab(
        "0 1 * * * root /usr/bin/backup a\n0 2 * * * root cd /x && nice -n5 backup b\n"
        "0 3 * * * root python3 /opt/report.py\n0 4 * * * root [ -x /x ] && /usr/sbin/thing\n"
    )
    assert list(done.jobs) == ["backup", "backup-2", "report", "thing"]


def test_cron_starts_a_job_over_itself_repeats_nothing_and_ends_no_leftovers(crontab: Callable):
    job = crontab("0 1 * * * root a\n").job
    assert job["overlap"] == "allow"
    assert job["leftovers"] == "keep"
    assert job["on_lost"] == "fail"


def test_undecodable_bytes_lose_the_line_and_no_other(jobctl: Callable):
    done = jobctl(
        "import", "crontab", "-", "--system", stdin=b"0 1 * * * root a \xff\n0 2 * * * root b\n"
    )
    assert done.code == 78
    assert done.job["command"] == "b"
    assert "<stdin>:1: error: its text is not UTF-8" in done.err


def test_control_characters_reach_no_terminal(crontab: Callable):
    done = crontab("0 1 * * * root a\x1b[31m\nbad\x1b[2J line\n")
    assert "\x1b" not in done.err
    assert "\x1b" not in done.out
    assert done.job["command"] == "a\x1b[31m"


def test_a_table_that_does_not_tell_its_kind_is_refused(jobctl: Callable):
    done = jobctl("import", "crontab", "-", stdin="0 1 * * * root a\n")
    assert done.code == 2
    assert "--system" in done.err
    assert "--user" in done.err


def test_a_user_s_table_has_no_user_column(crontab: Callable):
    job = crontab("0 1 * * * root a\n", "--user", "--owner", "alice").job
    assert (job["user"], job["command"], job["mail_to"]) == ("alice", "root a", "alice")


def test_a_table_with_a_user_column_read_as_a_user_s_is_suspected(crontab: Callable):
    assert "system table (--system)" in crontab("0 1 * * * root /bin/a\n", "--user").err


def test_an_output_file_is_not_replaced_unasked(jobctl: Callable, tmp_path: Path):
    words = ("import", "crontab", "-", "--system", "--output", "out.toml")
    assert jobctl(*words, stdin="0 1 * * * root a\n").out == "out.toml\n"
    assert "[jobs.a]" in (tmp_path / "out.toml").read_text(encoding="utf-8")
    # A table of a user may hold passwords, and others cannot read it.
    assert (tmp_path / "out.toml").stat().st_mode & 0o077 == 0
    assert jobctl(*words, stdin="0 1 * * * root b\n").code == 1
    assert jobctl(*words, "--force", stdin="0 1 * * * root b\n").code == 0


def test_the_report_as_json_has_jobs_losses_and_places(jobctl: Callable):
    done = jobctl(
        "import", "crontab", "-", "--system", "--json", stdin="0 1 * * * root a &\nnonsense\n"
    )
    assert done.code == 78
    assert done.json["schema"] == 1
    assert [(job["job"], job["line"]) for job in done.json["jobs"]] == [("a", 1)]
    assert [lost["line"] for lost in done.json["lost"]] == [2]
    assert {remark["severity"] for remark in done.json["remarks"]} == {"warning", "error"}
    assert "[jobs.a]" in done.json["toml"]


def test_a_directory_of_tables_is_read_as_cron_reads_it(jobctl: Callable, tmp_path: Path):
    for name in ("one", "two.x", ".hidden", "three~"):
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / name).write_text("0 1 * * * root a\n", encoding="utf-8")
    done = jobctl("import", "crontab", "d", "--system")
    assert list(done.jobs) == ["one", "two-x"]
    assert "Debian's cron does not read files with a dot" in done.err
    assert done.err.count("left out") == 2


def test_a_missing_file_is_said(jobctl: Callable):
    done = jobctl("import", "crontab", "nowhere", "--system")
    assert done.code == 66
    assert "nowhere is not there" in done.err


@pytest.mark.parametrize("name", ["daily", "weekly"])
def test_run_parts_are_expanded_on_demand(name: str, jobctl: Callable, tmp_path: Path):
    parts = tmp_path / f"cron.{name}"
    parts.mkdir()
    for script, mode in (("one", 0o755), ("two", 0o755), ("off", 0o644), ("with.dot", 0o755)):
        (parts / script).write_text("#!/bin/sh\n", encoding="utf-8")
        (parts / script).chmod(mode)
    line = (
        f"25 6 * * * root test -x /usr/sbin/anacron || {{ cd / && run-parts --report {parts}; }}\n"
    )
    words = ("import", "crontab", "-", "--system")

    kept = jobctl(*words, stdin=line)
    expanded = jobctl(*words, "--expand-run-parts", stdin=line)

    assert list(kept.jobs) == ["run-parts"]
    assert list(expanded.jobs) == [f"{name}-one", f"{name}-two"]
    job = expanded.jobs[f"{name}-one"]
    assert job["command"] == [str(parts / "one")]
    assert job["only_if"] == "! test -x /usr/sbin/anacron"
    assert job["cwd"] == "/"
    assert expanded.toml["limits"] == {"run-parts": {"slots": 1}}
    assert "off is left out, as run-parts does: not executable" in expanded.err
    assert "with.dot is left out" in expanded.err


def test_run_parts_without_a_script_stay_and_say_what_is_left_out(jobctl: Callable, tmp_path: Path):
    parts = tmp_path / "cron.daily"
    parts.mkdir()
    (parts / "off").write_text("#!/bin/sh\n", encoding="utf-8")
    line = f"25 6 * * * root run-parts {parts}\n"
    kept = jobctl("import", "crontab", "-", "--system", "--expand-run-parts", stdin=line)
    assert list(kept.jobs) == ["run-parts"]
    assert "off is left out, as run-parts does: not executable" in kept.err
    assert f"cannot be expanded: {parts} has no script that run-parts would run" in kept.err


def test_a_directory_of_scripts_is_no_table(jobctl: Callable, tmp_path: Path):
    (tmp_path / "cron.daily").mkdir()
    done = jobctl("import", "crontab", "cron.daily", "--system")
    assert done.code == 2
    assert "--expand-run-parts" in done.err


def test_a_group_behind_the_user_is_told_of(crontab: Callable):
    done = crontab("0 1 * * * www-data:www x\n")
    assert (done.job["user"], done.job["group"]) == ("www-data", "www")
    assert "<stdin>:1: warning: 'www-data:www': only FreeBSD's cron takes user:group" in done.err
