"""``jobctl calendar``: the drawing, its words, and its JSON."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobctl.cli.calendar import levels

if TYPE_CHECKING:
    from collections.abc import Callable

    from project import Project

FROM = ("--from", "2021-06-01T17:42")
HERD = "".join(
    f'[jobs.n{number}]\ncommand = "true"\nschedule = "0 2 * * *"\n' for number in range(12)
)
MORE = (
    HERD
    + """
[jobs.often]
command = "true"
schedule = ["*/5 * * * *", "@every 7m", "@reboot"]
[jobs.off]
command = "true"
schedule = "* * * * *"
enabled = false
"""
)


def test_calendar_draws_a_row_for_each_hour_within_80_columns(make_project: Callable[..., Project]):
    result = make_project(more=MORE).jobctl("calendar", *FROM)
    assert result.code == 0
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if re.match(r"(Tue|Wed) \d\d:00 ", line)]
    assert [row[:9] for row in rows[:2] + rows[-1:]] == ["Tue 17:00", "Tue 18:00", "Wed 16:00"]
    assert len(rows) == 24
    herd = next(row for row in rows if row.startswith("Wed 02:00"))
    assert herd[10] == "█"
    assert herd[15] == "·"
    assert int(herd.split()[-1]) == 12 + 12 + 8 + 1  # crowd, */5, @every 7m from 02:06 on, nightly
    assert "\x1b" not in result.out


def test_calendar_names_the_crowd_and_suggests_jitter(make_project: Callable[..., Project]):
    result = make_project(more=MORE).jobctl("calendar", *FROM)
    busiest = result.out.split("BUSIEST MINUTE")[1].splitlines()[1]
    assert busiest.startswith("Wed 2021-06-02 02:00")
    assert "n0, n1, n10 and 10 more" in busiest
    assert "start together at Wed 02:00" in result.err
    assert "not drawn, as no instant can be told in advance: often#3" in result.err


def test_calendar_of_a_week_adds_up_the_hours_of_the_clock(make_project: Callable[..., Project]):
    result = make_project(more=MORE).jobctl("calendar", "--days", "7", "--job", "n3", *FROM)
    rows = [line for line in result.out.splitlines() if re.match(r"\d\d:00( |$)", line)]
    assert [row[:5] for row in rows] == [f"{hour:02}:00" for hour in range(24)]
    assert [row.split()[-1] for row in rows if row.rstrip()[5:]] == ["7"]
    assert len(re.findall(r"^\w{3} 2021-06-0\d +1  02:00", result.out, re.MULTILINE)) == 7


def test_calendar_as_json_has_every_minute(make_project: Callable[..., Project]):
    words = ("calendar", "--job", "n1", "--job", "often", "--json", "--timezone", "UTC", *FROM)
    found = make_project(more=MORE).jobctl(*words).json["calendar"]
    assert found["from"] == "2021-06-01T17:00:00+00:00"
    assert found["until"] == "2021-06-02T17:00:00+00:00"
    assert [len(hour["minutes"]) for hour in found["hours"]] == [60] * 24
    assert sum(hour["starts"] for hour in found["hours"]) == found["starts"]
    assert found["starts"] == 1 + 288 + 205
    assert found["not_drawn"] == ["often#3"]
    # 02:00 in Berlin is midnight in UTC.
    assert found["busiest"][0]["at"] == "2021-06-02T00:00:00+00:00"
    assert found["busiest"][0]["schedules"]["n1"] == 1


def test_calendar_without_schedules_says_so(project: Project):
    project.path.write_text('[jobs.a]\ncommand = "true"\n')
    result = project.jobctl("calendar", *FROM, "--timezone", "Europe/Berlin")
    assert result.code == 0
    assert result.out == (
        "0 starts of 0 schedules, 2021-06-01 17:00 to 2021-06-02 17:00, Europe/Berlin\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--days", "0"], 2, "--days"),
        (["--days", "32"], 2, "more than 31"),
        (["--days", "week"], 2, "--days"),
        (["--from", "noon"], 2, "no date and time"),
        (["--timezone", "Europe/Berln"], 2, "did you mean Europe/Berlin"),
        (["--job", "nigtly"], 66, "nightly"),
    ],
)
def test_calendar_refuses_what_makes_no_sense(
    project: Project, words: list[str], code: int, said: str
):
    result = project.jobctl("calendar", *words)
    assert result.code == code
    assert said in result.err


def test_calendar_keeps_to_ascii_where_the_terminal_has_no_utf8(project: Project):
    done = subprocess.run(
        project.command("calendar", *FROM),
        capture_output=True,
        check=True,
        timeout=30,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout.isascii()
    assert b"starts in a minute: . 1" in done.stdout


@pytest.mark.parametrize(
    ("peak", "expected"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (300, [1, 3, 10, 31, 96])],
)
def test_levels_of_the_drawing_are_distinct(peak: int, expected: list[int]):
    assert levels(peak) == expected
