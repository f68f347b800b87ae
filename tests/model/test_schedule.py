from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from jobctl.model.schedule import (
    AtRule,
    BootRule,
    CronRule,
    EveryRule,
    ScheduleError,
    forget_zones,
    jitter_offset,
    load_zone,
    parse_rule,
    smallest_gap,
)

NOON = datetime(2021, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def rule(text: str, timezone: str = "UTC") -> CronRule | EveryRule | AtRule | BootRule:
    return parse_rule(text, timezone=timezone)


@pytest.mark.parametrize(
    ("text", "kind", "cls"),
    [
        ("30 2 * * *", "cron", CronRule),
        ("*/10 * * * * *", "cron", CronRule),
        ("@daily", "cron", CronRule),
        (" @HOURLY ", "cron", CronRule),
        ("@every 10m", "@every", EveryRule),
        ("@EVERY\t1h30m", "@every", EveryRule),
        ("@at 2026-12-24T18:00:00+01:00", "@at", AtRule),
        ("@reboot", "@reboot", BootRule),
        ("@Start", "@start", BootRule),
    ],
)
def test_text_makes_the_rule(text: str, kind: str, cls: type) -> None:
    found = rule(text)
    assert type(found) is cls
    assert found.kind == kind
    assert found.text.lower() == text.strip().lower()
    assert found.warnings == ()
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    ("text", "field", "column", "words"),
    [
        ("0 0 30 2 *", "day-of-month", 4, "never run"),
        ("61 * * * *", "minute", 0, "not between"),
        ("", "", -1, "0 fields"),
        ("@every", "", -1, "needs a duration"),
        ("@every 500ms", "", 7, "shortest interval is 1s"),
        ("@every 0.999s", "", 7, "shortest interval is 1s"),
        ("@every soon", "", 7, "not a duration"),
        ("@every 1h30", "", 7, "unit"),
        ("@every 200000d", "", 7, "100 years"),
        ("@dayly", "", 0, "@daily"),
        (" @daily 5", "", 1, "not known"),
        ("@reboot now", "", 0, "not known"),
        ("@at", "", -1, "RFC 3339"),
        ("@at noon", "", 4, "RFC 3339"),
        ("@at 2026-12-24", "", 4, "RFC 3339"),
        ("@at 2026-12-24T18:00:00", "", 4, "no offset"),
        ("@at 2026-12-24T18:00+01:00", "", 4, "RFC 3339"),
        ("@at 20261224T180000Z", "", 4, "RFC 3339"),
        ("@at 2026-W52-4T18:00:00Z", "", 4, "RFC 3339"),
        ("@at 2026-12-24T18:00:00+0100", "", 4, "RFC 3339"),
        ("@at 2026-12-24T18:00:00+01", "", 4, "RFC 3339"),
        ("@at 2026-12-24T18:00:00 Europe/Berlin", "", 4, "RFC 3339"),
        ("@at 2026-02-30T18:00:00Z", "", 4, "day is out of range"),
        ("@at 2026-12-24T25:00:00Z", "", 4, "hour must be in"),
        ("@at 0001-01-01T00:00:00+05:00", "", 4, "out of range"),
    ],
)
def test_schedule_is_refused(text: str, field: str, column: int, words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        rule(text)
    assert (caught.value.field, caught.value.column) == (field, column)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-24T18:00:00+01:00",
        "2026-12-24t17:00:00z",
        "2026-12-24 17:00:00.000Z",
        "2026-12-24T11:30:00-05:30",
    ],
)
def test_at_names_one_instant(text: str) -> None:
    found = rule(f"@at {text}")
    instant = datetime(2026, 12, 24, 17, tzinfo=UTC)
    assert found.next_after(NOON, anchor=NOON) == instant
    assert found.next_after(instant, anchor=NOON) is None
    assert found.next_after(instant - timedelta(microseconds=1), anchor=NOON) == instant
    assert found.explain() == "Once, at 2026-12-24 17:00:00 UTC"
    assert smallest_gap(found) is None


class TestEvery:
    def test_counts_from_the_anchor_and_not_from_the_clock(self) -> None:
        anchor = NOON + timedelta(minutes=7, seconds=3)
        found = rule("@every 10m")
        assert found.next_after(anchor, anchor=anchor) == anchor + timedelta(minutes=10)
        assert found.next_after(anchor + 3 * HOUR, anchor=anchor) == anchor + timedelta(minutes=190)

    def test_never_fires_at_or_before_its_anchor(self) -> None:
        found = rule("@every 10m")
        assert found.next_after(NOON - 5 * HOUR, anchor=NOON) == NOON + timedelta(minutes=10)

    def test_is_blind_to_summer_time(self) -> None:
        berlin = ZoneInfo("Europe/Berlin")
        anchor = datetime(2021, 3, 27, 2, 30, tzinfo=berlin)
        found = parse_rule("@every 1d", timezone="Europe/Berlin").next_after(anchor, anchor=anchor)
        assert found == anchor.astimezone(UTC) + timedelta(days=1)
        assert found.astimezone(berlin).hour == 3

    def test_fires_strictly_later_than_asked(self) -> None:
        found = rule("@every 1.5s")
        at = NOON
        for step in range(1, 100):
            at = found.next_after(at, anchor=NOON)
            assert at == NOON + step * timedelta(seconds=1.5)

    def test_counts_without_walking(self) -> None:
        found = rule("@every 1s")
        assert found.count(NOON, NOON + timedelta(days=365), anchor=NOON) == 365 * 86400
        assert found.count(NOON - HOUR, NOON, anchor=NOON) == 0
        assert found.count(NOON + HOUR, NOON, anchor=NOON) == 0

    def test_end_of_the_calendar_is_none(self) -> None:
        late = datetime(9999, 12, 1, tzinfo=UTC)
        assert rule("@every 90d").next_after(late, anchor=late) is None

    def test_explains_itself(self) -> None:
        assert (
            rule("@every 90m").explain()
            == "Every 1h30m, counted from the previous scheduled instant"
        )


@pytest.mark.parametrize("text", ["@reboot", "@start"])
def test_boot_rules_name_no_instants(text: str) -> None:
    found = rule(text)
    assert found.next_after(NOON, anchor=NOON) is None
    assert found.count(NOON, NOON + HOUR, anchor=NOON) == 0
    assert smallest_gap(found) is None
    assert found.explain().startswith("Once")


def test_cron_rule_keeps_its_own_zone() -> None:
    found = rule("30 2 * * *", "America/New_York")
    at = found.next_after(datetime(2021, 3, 13, 12, tzinfo=UTC), anchor=NOON)
    assert at == datetime(2021, 3, 14, 7, tzinfo=UTC)
    assert found.explain() == "At 02:30 every day, America/New_York time"
    assert smallest_gap(found) == 86400.0


def test_warnings_reach_the_rule() -> None:
    assert "also on every Friday" in rule("0 0 13 * 5").warnings[0]


def test_hash_key_draws_the_time() -> None:
    texts = {
        parse_rule("H H * * *", timezone="UTC", hash_key=f"job{n}").explain() for n in range(20)
    }
    assert len(texts) > 15


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berlyn", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("America/NewYork", "America/New_York"),
        ("Asia/Calcuta", "Asia/Calcutta"),
        ("Mars/Olympus_Mons", "Europe/Berlin"),
        ("", "Europe/Berlin"),
        ("America", "unknown time zone 'America'"),
        ("../../etc/passwd", "unknown time zone"),
        ("/etc/localtime", "unknown time zone"),
        ("Europe/Ber\0lin", "unknown time zone"),
        ("Zone\ud800", "unknown time zone"),
        ("x" * 5000, "unknown time zone"),
        ("tzdata.zi", "unknown time zone"),
    ],
)
def test_unknown_zone_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ScheduleError, match="unknown time zone") as caught:
        load_zone(name)
    assert hint in str(caught.value)


def test_zone_data_can_be_read_again() -> None:
    before = load_zone("Europe/Berlin")
    assert load_zone("Europe/Berlin") is before
    forget_zones()
    assert load_zone("Europe/Berlin") is not before


class TestJitter:
    def test_is_stable_and_below_its_bound(self) -> None:
        offsets = [jitter_offset(600.0, key=f"job{n}@host") for n in range(500)]
        assert offsets == [jitter_offset(600.0, key=f"job{n}@host") for n in range(500)]
        assert all(0 <= offset < 600 for offset in offsets)

    def test_spreads_evenly(self) -> None:
        offsets = sorted(jitter_offset(600.0, key=f"job{n}@host") for n in range(500))
        assert offsets[0] < 20
        assert offsets[-1] > 580
        assert max(b - a for a, b in pairwise(offsets)) < 20

    def test_does_not_change_between_versions(self) -> None:
        assert jitter_offset(600.0, key="backup@db1") == 590.886

    def test_is_whole_milliseconds(self) -> None:
        offset = jitter_offset(1.5, key="x")
        assert round(offset * 1000) == pytest.approx(offset * 1000, abs=1e-6)

    def test_none_is_none(self) -> None:
        assert jitter_offset(0.0, key="x") == 0.0


def test_schedules_with_the_same_text_share_what_it_means() -> None:
    one = parse_rule("*/7 3 L * THU", timezone="UTC", hash_key="a")
    other = parse_rule("*/7 3 L * THU", timezone="Europe/Berlin", hash_key="b")

    assert isinstance(one, CronRule)
    assert isinstance(other, CronRule)
    assert one.expression is other.expression
    assert one.zone != other.zone


@pytest.mark.parametrize("text", ["~ 3 * * *", "H 3 * * *", "0 0~9 * * *", "0 h(0-9) * * *"])
def test_schedules_that_draw_their_times_share_nothing(text: str) -> None:
    rules = [parse_rule(text, timezone="UTC", hash_key=f"n/{name}") for name in range(30)]
    again = [parse_rule(text, timezone="UTC", hash_key=f"n/{name}") for name in range(30)]

    assert rules == again
    assert len({rule.expression.fields for rule in rules}) > 1  # type: ignore[attr-defined]


def test_a_shared_expression_keeps_its_warnings_and_a_wrong_one_its_column() -> None:
    for _ in range(2):
        assert parse_rule("*/7 * * * *", timezone="UTC").warnings
        with pytest.raises(ScheduleError) as caught:
            parse_rule("0  25 * * *", timezone="UTC")
        assert (caught.value.field, caught.value.column) == ("hour", 3)
