from __future__ import annotations

import random

import pytest

from jobctl.model.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (90, 90.0),
        (0, 0.0),
        (1.5, 1.5),
        ("90", 90.0),
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        (" 2d ", 172800.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("1w2d3h4m5s6ms", 788645.006),
        ("1H30M", 5400.0),
        ("0s", 0.0),
        ("10 m", 600.0),
        ("0.1", 0.1),
    ],
)
def test_duration_is_read(value: str | float, seconds: float) -> None:
    assert parse_duration(value) == seconds
    assert isinstance(parse_duration(value), float)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is not a duration"),
        ("  ", "is not a duration"),
        ("soon", "is not a duration"),
        ("-5s", "is not a duration"),
        ("+5s", "is not a duration"),
        ("5..5s", "is not a duration"),
        (".s", "is not a duration"),
        ("1,5h", "is not a duration"),
        ("1e3", "unknown unit 'e'"),
        ("1h30", "no unit after 30"),
        ("5y", "unknown unit 'y'"),
        ("1min", "unknown unit 'min'"),
        ("30m1h", "largest first"),
        ("1h1h", "largest first"),
        ("٣s", "is not a duration"),
        ("9" * 400 + "s", "is not a duration"),
        ("99999999999999d", "100 years"),
        (-1, "between 0 and 100 years"),
        (float("nan"), "between 0 and 100 years"),
        (float("inf"), "between 0 and 100 years"),
        (True, "not a duration"),
        (None, "not a duration"),
        ([], "not a duration"),
    ],
)
def test_duration_is_refused(value: object, words: str) -> None:
    with pytest.raises(ValueError, match="duration") as caught:
        parse_duration(value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "0s"),
        (-0.0001, "0s"),
        (0.5, "500ms"),
        (0.9996, "1s"),
        (1.25, "1.25s"),
        (59.9999, "1m"),
        (60, "1m"),
        (433, "7m13s"),
        (5400, "1h30m"),
        (86400, "1d"),
        (90061, "1d1h1m1s"),
        (604800, "7d"),
        (-90, "-1m30s"),
    ],
)
def test_duration_is_shown(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_shown_duration_is_read_back() -> None:
    rng = random.Random(3)
    for _ in range(500):
        seconds = round(10 ** rng.uniform(-3, 9), 3)
        assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=6e-4)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (512, 512),
        ("512", 512),
        ("17B", 17),
        ("512M", 512 * 1024**2),
        ("512m", 512 * 1024**2),
        ("2GiB", 2 * 1024**3),
        ("2G", 2 * 1024**3),
        ("1T", 1024**4),
        ("1TiB", 1024**4),
        ("3K", 3072),
        ("3KiB", 3072),
        ("100kB", 100_000),
        ("100KB", 100_000),
        ("5MB", 5_000_000),
        ("1GB", 10**9),
        ("1TB", 10**12),
        ("1.5G", 1536 * 1024**2),
        ("2 GiB", 2 * 1024**3),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_size_is_read(value: str | int, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is not a size"),
        ("big", "is not a size"),
        ("-1M", "is not a size"),
        ("1M2K", "must be one number"),
        ("5X", "must be one number"),
        ("5Mi", "must be one number"),
        ("5Mb/s", "is not a size"),
        ("9999999999T", "between 0 and 8 EiB"),
        (-1, "between 0 and 8 EiB"),
        (1.5, "not a size"),
        (True, "not a size"),
        (None, "not a size"),
    ],
)
def test_size_is_refused(value: object, words: str) -> None:
    with pytest.raises(ValueError, match="size") as caught:
        parse_size(value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (17, "17B"),
        (1023, "1023B"),
        (1024, "1K"),
        (1536, "1.5K"),
        (512 * 1024**2, "512M"),
        (1024**3 - 1, "1G"),
        (2 * 1024**3, "2G"),
        (5 * 1024**4, "5T"),
        (5 * 1024**5, "5120T"),
    ],
)
def test_size_is_shown_and_read_back(size: int, text: str) -> None:
    assert format_size(size) == text
    assert parse_size(text) == pytest.approx(size, rel=0.05)
