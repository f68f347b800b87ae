from __future__ import annotations

import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from jobctl.cli.start import start as run
from jobctl.model.cron import CronError, CronExpression
from jobctl.model.schedule import parse_rule

UTC_ZONE = ZoneInfo("UTC")
NEW_YORK = ZoneInfo("America/New_York")
TABLE = [
    line.split(" | ")
    for line in (Path(__file__).parent / "cron_table.txt").read_text().splitlines()
    if not line.startswith("#")
]
FIRES = [row for row in TABLE if not row[3].startswith("!")]

REFUSED = [
    # (expression, field, column, words of the message)
    ("", "", -1, "0 fields"),
    ("   ", "", -1, "0 fields"),
    ("* * * *", "", -1, "4 fields, day-of-week is missing: write minute hour"),
    ("5 4", "", -1, "2 fields, day-of-month, month and day-of-week are missing"),
    ("1 2 3 4 5 6 7 8", "", 12, "8 fields: write minute hour"),
    ("*", "", -1, "1 field, hour, day-of-month, month and day-of-week are missing"),
    ("0 0 * * * * 2030", "", 12, "no year field"),
    ("0 0 * * * * * *", "", 12, "8 fields"),
    ("@dayly", "", 0, "@daily"),
    ("@daily x", "", 0, "not known"),
    (" @reboot", "", 1, "not known"),
    ("*\u00a0* * * * *", "", 1, "unexpected character"),
    ("\uff10 * * * *", "", 0, "unexpected character"),
    ("0\x00 * * * *", "", 1, "unexpected character"),
    ("\u0663 * * * *", "", 0, "unexpected character"),
    ("5-1 * * * *", "minute", 0, "runs backwards: write two ranges, such as 5-59,0-1"),
    ("0 22-6 * * *", "hour", 2, "22-23,0-6"),
    ("0 0 * * sat-mon", "day-of-week", 8, "runs backwards"),
    ("0 0 * * 7-2", "day-of-week", 8, "runs backwards"),
    ("0 0 * * 6-1", "day-of-week", 8, "runs backwards"),
    ("0 0 * dec-feb *", "month", 6, "runs backwards"),
    ("0 0 31-1 * *", "day-of-month", 4, "runs backwards"),
    ("*5 * * * *", "minute", 1, "nothing but a step"),
    ("** * * * *", "minute", 1, "nothing but a step"),
    ("*-5 * * * *", "minute", 1, "nothing but a step"),
    ("?5 * * * *", "minute", 1, "nothing but a step"),
    ("1-2-3 * * * *", "minute", 2, "not a number"),
    ("1-1_0 * * * *", "minute", 2, "not a number"),
    ("1_0 * * * *", "minute", 0, "not a number"),
    ("+5 * * * *", "minute", 0, "not a number"),
    ("-5 * * * *", "minute", 0, "a number is missing"),
    ("5- * * * *", "minute", 2, "a number is missing"),
    ("1.5 * * * *", "minute", 0, "not a number"),
    ("0x5 * * * *", "minute", 0, "not a number"),
    ("five * * * *", "minute", 0, "not a number"),
    ("60 * * * *", "minute", 0, "not between 0 and 59"),
    ("0 24 * * *", "hour", 2, "not between 0 and 23"),
    ("0 0 0 * *", "day-of-month", 4, "not between 1 and 31"),
    ("0 0 32 * *", "day-of-month", 4, "not between 1 and 31"),
    ("0 0 * 0 *", "month", 6, "not between 1 and 12"),
    ("0 0 * 13 *", "month", 6, "not between 1 and 12"),
    ("0 0 * * 8", "day-of-week", 8, "not between 0 and 7"),
    ("60 0 0 * * *", "second", 0, "not between 0 and 59"),
    ("0-60 * * * *", "minute", 2, "not between 0 and 59"),
    ("99999999999 * * * *", "minute", 0, "too large"),
    ("*/99999999999 * * * *", "minute", 2, "too large"),
    ("*/0 * * * *", "minute", 2, "step of 0"),
    ("1-5/00 * * * *", "minute", 4, "step of 0"),
    ("*/ * * * *", "minute", 2, "a number is missing"),
    ("*/-5 * * * *", "minute", 2, "not a number"),
    ("*/5/2 * * * *", "minute", 2, "not a number"),
    ("/5 * * * *", "minute", 0, "a number is missing"),
    ("1,,2 * * * *", "minute", 2, "missing beside the comma"),
    (",1 * * * *", "minute", 0, "missing beside the comma"),
    ("1, * * * *", "minute", 2, "missing beside the comma"),
    ("0,15,61 * * * *", "minute", 5, "not between"),
    ("jan * * * *", "minute", 0, "not a number"),
    ("0 0 mon * *", "day-of-month", 4, "not a number"),
    ("0 0 * mon *", "month", 6, "three-letter name"),
    ("0 0 * january *", "month", 6, "three-letter name"),
    ("0 0 * * jan", "day-of-week", 8, "three-letter name"),
    ("0 0 * * monday", "day-of-week", 8, "three-letter name"),
    ("0 0 * * tues", "day-of-week", 8, "three-letter name"),
    ("0 0 * * mon#6", "day-of-week", 11, "between #1 and #5"),
    ("0 0 * * mon#0", "day-of-week", 11, "between #1 and #5"),
    ("0 0 * * mon#", "day-of-week", 12, "a number is missing"),
    ("0 0 * * #2", "day-of-week", 8, "a number is missing"),
    ("0 0 * * mon-fri#1", "day-of-week", 8, "three-letter name"),
    ("0 0 * * 1#2#3", "day-of-week", 10, "not a number"),
    ("0 0 * * L", "day-of-week", 8, "5L"),
    ("0 0 * * L5", "day-of-week", 8, "write 5L or FRIL"),
    ("0 0 * * 5LW", "day-of-week", 8, "three-letter name"),
    ("0 0 * * 1W", "day-of-week", 8, "three-letter name"),
    ("0 0 L-3 * *", "day-of-month", 4, "'L-3' is not known"),
    ("0 0 3L * *", "day-of-month", 4, "LW"),
    ("0 0 W * *", "day-of-month", 4, "a number is missing"),
    ("0 0 32W * *", "day-of-month", 4, "not between 1 and 31"),
    ("0 0 L/2 * *", "day-of-month", 4, "not a number"),
    ("L * * * *", "minute", 0, "not a number"),
    ("0 0 * L *", "month", 6, "three-letter name"),
    ("H( * * * *", "minute", 0, "not a number"),
    ("H() * * * *", "minute", 2, "a number is missing"),
    ("H(5) * * * *", "minute", 4, "a number is missing"),
    ("H(0-70) * * * *", "minute", 4, "not between"),
    ("H(9-1) * * * *", "minute", 2, "the lower end comes first, and no draw goes past 59"),
    ("H5 * * * *", "minute", 0, "not a number"),
    ("H/0 * * * *", "minute", 2, "step of 0"),
    ("9~1 * * * *", "minute", 0, "the lower end comes first, and no draw goes past 59"),
    ("1~2~3 * * * *", "minute", 2, "not a number"),
    ("0~70 * * * *", "minute", 2, "not between"),
    ("% * * * *", "minute", 0, "not a number"),
    ("0 0 30 2 *", "day-of-month", 4, "never run"),
    ("0 0 31 2,4,6,9,11 *", "day-of-month", 4, "never run"),
    ("0 0 31W 4 *", "day-of-month", 4, "never run"),
    ("0 0 0 30 feb ?", "day-of-month", 6, "never run"),
    ("0 0 30,31 2 *", "day-of-month", 4, "never run"),
    ("0 " * 600, "", -1, "longer than"),
]


def local(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


@pytest.mark.parametrize("row", FIRES, ids=lambda row: "|".join(row[:3]))
def test_expression_fires_at(row: list[str]) -> None:
    text, zone_name, start, expected = row
    rule = parse_rule(text, timezone=zone_name)
    zone = ZoneInfo(zone_name)
    at = anchor = local(start)
    found = []
    for _ in expected.split():
        following = rule.next_after(at, anchor=anchor)
        assert following is not None
        found.append(following.astimezone(zone).isoformat())
        at = following
    assert found == [local(moment).astimezone(zone).isoformat() for moment in expected.split()]
    assert rule.count(anchor, at, anchor=anchor) == len(found)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: "|".join(row[:3]))
def test_next_prints_what_the_table_says(
    row: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    # A daemon that other tests share names its own for the rest of their session.
    monkeypatch.delenv("JOBCTL_CONFIG", raising=False)
    text, zone_name, start, expected = row
    code = run(
        ["next", "--json", "-n", "3", "--schedule", text, "--timezone", zone_name, "--from", start]
    )
    out, err = capsys.readouterr()
    if expected.startswith("!"):
        _, field, column = expected.split()
        error = json.loads(err)["error"]
        assert (code, error["code"], out) == (2, "usage", "")
        if column == "-":
            assert "column" not in error
        else:
            assert (error["field"] or "-", str(error["column"])) == (field, column)
        return
    zone = ZoneInfo(zone_name)
    wanted = [local(moment).astimezone(zone).isoformat() for moment in expected.split()]
    assert (code, err) == (0, "")
    assert json.loads(out) == {"schema": 1, "next": wanted}


def test_table_covers_enough() -> None:
    assert len(FIRES) >= 200
    assert len(TABLE) - len(FIRES) >= 50
    assert len({tuple(row[:3]) for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize(("text", "field", "column", "words"), REFUSED)
def test_expression_is_refused(text: str, field: str, column: int, words: str) -> None:
    with pytest.raises(CronError) as caught:
        CronExpression.parse(text)
    error = caught.value
    assert (error.field, error.column) == (field, column)
    assert words in error.message
    assert str(error).endswith(error.message)
    if field:
        assert str(error).startswith(f"{field} field (column {column + 1}): ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("*/35 * * * *", ["minute: the step 35 does not divide 60"]),
        ("0 */5 * * *", ["hour: the step 5 does not divide 24"]),
        ("*/100 * * * *", ["minute: the step 100 is longer than the field"]),
        ("0 0 */2 * *", ["day-of-month: day steps count from the 1st"]),
        ("0 0 1 */5 *", ["month: the step 5 does not divide 12"]),
        ("0 0 * * */2", ["day-of-week: the step 2 does not divide 7"]),
        ("*/7 * * * * *", ["second: the step 7 does not divide 60"]),
        ("5/15 * * * *", ["minute: 5/15 means 5-59/15"]),
        ("0 0 * * mon/2", ["mon/2 means mon-7/2", "does not divide 7"]),
        (
            "0 0 * * 5L",
            ["5L means Fri: days count from Sunday = 0 here, from Sunday = 1 in Quartz"],
        ),
        ("0 0 * * 1#2", ["1#2 means Mon"]),
        ("0 0 13 * 5", ["the 13th of the month and also on every Friday", "'fri#2'"]),
        ("0 0 1-7 * mon", ["the 1st to 7th of the month and also on every Monday"]),
    ],
)
def test_doubtful_expression_warns(text: str, words: list[str]) -> None:
    warnings = "\n".join(CronExpression.parse(text).warnings)
    assert all(word in warnings for word in words), warnings


@pytest.mark.parametrize(
    "text",
    [
        "*/15 * * * *",
        "0 */6 * * *",
        "0 0 * * 1-5",
        "30 2 13 * *",
        "0 0 1-7 * */7",
        "0 0 L * *",
        "0 0 * * fri#2",
        "@daily",
    ],
)
def test_plain_expression_does_not_warn(text: str) -> None:
    assert CronExpression.parse(text).warnings == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("* * * * *", "Every minute"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("*/35 * * * *", "At minutes 0 and 35 of every hour"),
        ("0 * * * *", "Every hour"),
        ("5 * * * *", "At minute 5 of every hour"),
        ("30 2 * * *", "At 02:30 every day"),
        ("0,30 9,17 * * *", "At 09:00, 09:30, 17:00 and 17:30 every day"),
        (
            "*/10 9-17 * * mon-fri",
            "Every 10 minutes from 09:00 to 17:59 on every day from Monday to Friday",
        ),
        ("0 9-17 * * *", "On the hour from 09:00 to 17:59"),
        ("0 */6 * * *", "At 00:00, 06:00, 12:00 and 18:00 every day"),
        (
            "15 */3 * * *",
            "At minute 15 in the hours 00:00, 03:00, 06:00, 09:00, 12:00, 15:00, 18:00 and 21:00 every day",
        ),
        ("0 0 13 * 5", "At 00:00 on the 13th of the month and on every Friday"),
        ("0 0 1-7 * */7", "At 00:00 on the 1st to 7th of the month if that is a Sunday"),
        ("0 0 1-31 * 1", "At 00:00 every day"),
        ("0 0 LW * *", "At 00:00 on the last workday of the month"),
        ("0 0 15W,L * *", "At 00:00 on the workday nearest the 15th and the last day of the month"),
        ("0 0 * * fri#2", "At 00:00 on the second Friday of the month"),
        ("0 0 * * 5L", "At 00:00 on the last Friday of the month"),
        ("0 0 * * fri-sun", "At 00:00 on every day from Friday to Sunday"),
        ("0 0 1 jan,jul *", "At 00:00 on the 1st of the month in January and July"),
        ("0 0 * 6-8 *", "At 00:00 every day in June to August"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("30 * * * * *", "At second 30 of every minute"),
        ("30 15 4 * * *", "At 04:15:30 every day"),
        ("0,30 */5 * * * *", "Every 30 seconds of every 5 minutes"),
        ("@weekly", "At 00:00 on every Sunday"),
    ],
)
def test_explanation_reads(text: str, sentence: str) -> None:
    assert CronExpression.parse(text).explain() == sentence


@pytest.mark.parametrize("row", FIRES, ids=lambda row: row[0])
def test_every_expression_has_one_line(row: list[str]) -> None:
    sentence = parse_rule(row[0], timezone="UTC").explain()
    assert sentence == sentence.strip()
    assert "\n" not in sentence
    assert sentence[0].isupper()


class TestDrawnValues:
    KEYS = tuple(f"job{n}@host{n % 7}" for n in range(400))

    def drawn(self, text: str, field: int) -> set[tuple[int, ...]]:
        return {
            CronExpression.parse(text, hash_key=key).fields[field].values() for key in self.KEYS
        }

    @pytest.mark.parametrize("text", ["H H * * *", "~ ~ * * *", "h h * * *", "0~59 0~23 * * *"])
    def test_draws_are_stable_and_spread(self, text: str) -> None:
        assert self.drawn(text, 1) == {(n,) for n in range(60)}
        assert self.drawn(text, 2) == {(n,) for n in range(24)}
        once = CronExpression.parse(text, hash_key="backup@db1")
        assert once == CronExpression.parse(text, hash_key="backup@db1")

    def test_drawn_times_do_not_change_between_versions(self) -> None:
        expression = CronExpression.parse("H H * * *", hash_key="backup@db1")
        assert expression.explain() == "At 20:32 every day"

    def test_drawn_day_exists_in_every_month(self) -> None:
        assert self.drawn("0 0 H * *", 3) == {(n,) for n in range(1, 29)}

    def test_drawn_weekday_counts_sunday_once(self) -> None:
        assert self.drawn("0 0 * * H", 5) == {(n,) for n in range(7)}

    @pytest.mark.parametrize("text", ["H(10-14) * * * *", "10~14 * * * *"])
    def test_draw_stays_in_its_range(self, text: str) -> None:
        assert self.drawn(text, 1) == {(n,) for n in range(10, 15)}

    def test_open_range_ends_with_the_field(self) -> None:
        assert self.drawn("55~ * * * *", 1) == {(n,) for n in range(55, 60)}
        assert self.drawn("~4 * * * *", 1) == {(n,) for n in range(5)}

    @pytest.mark.parametrize("text", ["H/15 * * * *", "~/15 * * * *"])
    def test_drawn_step_keeps_its_spacing(self, text: str) -> None:
        assert self.drawn(text, 1) == {tuple(range(n, 60, 15)) for n in range(15)}

    def test_drawn_step_in_a_range(self) -> None:
        assert self.drawn("H(0-29)/10 * * * *", 1) == {tuple(range(n, 30, 10)) for n in range(10)}

    def test_names_may_bound_a_draw(self) -> None:
        assert self.drawn("0 0 * * H(mon-fri)", 5) == {(n,) for n in range(1, 6)}

    def test_fields_are_drawn_apart(self) -> None:
        pairs = {
            (e.fields[1].values(), e.fields[2].values())
            for e in (CronExpression.parse("H(0-9) H(0-9) * * *", hash_key=k) for k in self.KEYS)
        }
        assert len(pairs) > 90


def test_never_fires_when_the_zone_always_skips_it() -> None:
    # Follows the wall clock, and the second Sunday in March has had no 02:xx since 2007.
    expression = CronExpression.parse("* 2 * 3 sun#2")
    start = datetime(2008, 1, 1, tzinfo=UTC)
    assert expression.next_after(start, ZoneInfo("Europe/Berlin")) is not None
    assert expression.next_after(start, NEW_YORK) is None
    assert expression.count(start, datetime(2020, 1, 1, tzinfo=UTC), NEW_YORK) == 0


def test_leap_day_on_a_weekday_is_found_across_2100() -> None:
    expression = CronExpression.parse("0 0 29 2 */7")
    found = expression.next_after(datetime(2088, 3, 1, tzinfo=UTC), UTC_ZONE)
    assert found == datetime(2128, 2, 29, tzinfo=UTC)


def test_nothing_is_found_beyond_the_calendar() -> None:
    expression = CronExpression.parse("0 0 1 1 *")
    assert expression.next_after(datetime(9998, 1, 1, tzinfo=UTC), NEW_YORK) is None
    assert expression.next_after(datetime(1, 1, 1, tzinfo=UTC), NEW_YORK) is not None


def test_start_may_be_in_any_zone_and_result_is_utc() -> None:
    expression = CronExpression.parse("30 2 * * *")
    start = datetime(2021, 6, 1, 12, tzinfo=timezone(timedelta(hours=9)))
    found = expression.next_after(start, NEW_YORK)
    assert found == datetime(2021, 6, 1, 6, 30, tzinfo=UTC)
    assert found.tzinfo is UTC


def test_count_equals_the_walk_over_a_year() -> None:
    begin, end = datetime(2021, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC)
    for text in ("30 2 * * *", "*/30 1-3 * * sun", "0 0 L * *", "15 1,2 * * *", "0 */2 * 3,11 *"):
        expression = CronExpression.parse(text)
        visited, at = 0, expression.next_after(begin, NEW_YORK)
        while at is not None and at <= end:
            visited, at = visited + 1, expression.next_after(at, NEW_YORK)
        assert expression.count(begin, end, NEW_YORK) == visited, text


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("* * * * *", 60),
        ("* * * * * *", 1),
        ("*/35 * * * *", 25 * 60),
        ("0,59 * * * *", 60),
        ("30 2 * * *", 86400),
        ("0 23,1 * * *", 2 * 3600),
        ("55,5 0,23 * * *", 600),
        ("59 23 * * *", 86400),
        ("0 0 * * 1,3", 2 * 86400),
        ("0 0 1 * *", 28 * 86400),
        ("0 0 1,31 * *", 86400),
        ("0 0 29 2 *", 1461 * 86400),
        ("0 0 1 1 *", 365 * 86400),
    ],
)
def test_smallest_gap_is(text: str, gap: int) -> None:
    assert CronExpression.parse(text).smallest_gap() == gap


def test_expression_cannot_be_changed_and_survives_pickling() -> None:
    expression = CronExpression.parse("0 0 L * fri#2")
    with pytest.raises(AttributeError):
        expression.text = "* * * * *"
    assert pickle.loads(pickle.dumps(expression)) == expression
    assert len({expression, CronExpression.parse("0 0 L * fri#2")}) == 1


def test_import_stays_cheap() -> None:
    code = "import sys, jobctl.model.schedule; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.split()
    assert not {"croniter", "dataclasses", "typing", "re", "zoneinfo", "hashlib"} & set(loaded)
