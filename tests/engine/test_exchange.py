from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.client.results import read_result
from jobctl.engine.attempt import AttemptDirs
from jobctl.engine.exchange import (
    PROGRESS_LIMIT,
    Exchange,
    ResultError,
    as_json,
    last_progress,
    progress_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def dirs(tmp_path: Path) -> AttemptDirs:
    dirs = AttemptDirs.under(tmp_path)
    dirs.create()
    return dirs


@pytest.fixture
def exchange(dirs: AttemptDirs) -> Iterator[Exchange]:
    exchange = Exchange(dirs=dirs, slot="s")
    exchange.begin("run", 1, owner=None)
    yield exchange
    exchange.end()
    assert list(dirs.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}\n', '{"a": 1}'),
        ("42", "42"),
        ("plain text\n", '"plain text"'),
        ("ü", '"ü"'),
        ("NaN", '"NaN"'),
        ("[1e999]", '"[1e999]"'),
        ("[1e300, -2.5]", "[1e300, -2.5]"),
        (" \n", None),
        ("[" * 100_000, json.dumps("[" * 100_000)),
    ],
)
def test_result_is_json_or_becomes_a_json_string(text: str, expected: str | None) -> None:
    assert as_json(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40\n", {"percent": 40, "message": ""}),
        ("10 a\n40 resizing now\n", {"percent": 40, "message": "resizing now"}),
        ("12.5% half an eighth", {"percent": 12.5, "message": "half an eighth"}),
        ("40 good\nnonsense\n\n", {"percent": 40, "message": "good"}),
        ("250 over", {"percent": 100, "message": "over"}),
        ("-1", {"percent": 0, "message": ""}),
    ],
)
def test_last_valid_line_is_the_progress(text: str, expected: object) -> None:
    assert json.loads(last_progress(text) or "") == expected


@pytest.mark.parametrize("text", ["", "done", "nan", "\0"])
def test_no_valid_line_is_no_progress(text: str) -> None:
    assert last_progress(text) is None


def test_no_files_are_made_in_advance(exchange: Exchange, dirs: AttemptDirs) -> None:
    assert list(dirs.spool.iterdir()) == []
    assert exchange.result(100) is None
    assert exchange.progress() is None


def test_result_of_a_shell_job_is_never_taken_for_one_in_another_form() -> None:
    looks = '{"$jobctl":"pickle","data":"gASVAAAAAA=="}'
    kept = as_json(looks)
    assert kept is not None
    assert read_result(kept, allow_pickle=True) == json.loads(looks)


def test_result_file_with_json_that_no_reader_takes_is_taken_as_text() -> None:
    for text in ("[" * 501 + "]" * 501, "9" * 4301):
        assert read_result(as_json(text)) == text


def test_too_large_a_result_says_how_large(exchange: Exchange) -> None:
    Path(exchange.result_file).write_text("x" * 101)
    with pytest.raises(ResultError, match="101 bytes, 100 are allowed"):
        exchange.result(100)


def test_result_that_is_a_pipe_blocks_nobody(exchange: Exchange) -> None:
    os.mkfifo(exchange.result_file)
    with pytest.raises(ResultError, match="plain file"):
        exchange.result(100)


def test_result_that_is_a_link_is_not_followed(exchange: Exchange) -> None:
    Path(exchange.result_file).symlink_to("/etc/passwd")
    with pytest.raises(ResultError, match="plain file"):
        exchange.result(100)


def test_result_that_is_a_directory_is_removed(exchange: Exchange) -> None:
    Path(exchange.result_file, "inner").mkdir(parents=True)
    with pytest.raises(ResultError):
        exchange.result(100)


def test_progress_is_told_once(exchange: Exchange) -> None:
    file = Path(exchange.progress_file)
    file.write_text("1\n")
    assert exchange.progress() == '{"percent": 1, "message": ""}'
    assert exchange.progress() is None
    file.write_text("1\n2\n")
    assert exchange.progress() == '{"percent": 2, "message": ""}'


def test_endless_progress_does_not_fill_the_disk(exchange: Exchange) -> None:
    file = Path(exchange.progress_file)
    file.write_text("7 step\n" * PROGRESS_LIMIT)
    assert exchange.progress() == '{"percent": 7, "message": "step"}'
    assert file.stat().st_size == 0


def test_files_of_an_earlier_pool_are_swept(dirs: AttemptDirs) -> None:
    (dirs.spool / "s.old.1.result").write_text("1")
    (dirs.spool / "other.old.1.result").write_text("1")
    (dirs.spool / "s.old.1").mkdir()
    Exchange(dirs=dirs, slot="s")
    assert [entry.name for entry in dirs.spool.iterdir()] == ["other.old.1.result"]


def test_leftover_of_another_run_is_never_read(dirs: AttemptDirs) -> None:
    exchange = Exchange(dirs=dirs, slot="s")
    exchange.begin("run", 1, owner=None)
    first = exchange.result_file
    exchange.end()
    Path(first).write_text('"stale"')
    exchange.begin("run", 2, owner=None)
    assert exchange.result(100) is None


@pytest.mark.usefixtures("root")
def test_closed_way_to_the_files_is_said_once(
    dirs: AttemptDirs, caplog: pytest.LogCaptureFixture
) -> None:
    dirs.spool.parent.chmod(0o700)
    exchange = Exchange(dirs=dirs, slot="s")
    for number in (1, 2):
        exchange.begin("run", number, owner=(65534, 65534))
        exchange.end()
    assert caplog.text.count(f"{dirs.spool.parent} is closed to them") == 1


@pytest.mark.usefixtures("root")
def test_another_users_files_lie_where_only_that_user_may_write(dirs: AttemptDirs) -> None:
    exchange = Exchange(dirs=dirs, slot="s")
    exchange.begin("run", 1, owner=(65534, 65534))
    directory = Path(exchange.result_file).parent
    assert (directory.stat().st_uid, directory.stat().st_mode & 0o777) == (65534, 0o700)
    Path(exchange.result_file).write_text("1")  # by root: not the job's
    with pytest.raises(ResultError, match="plain file of the job's user"):
        exchange.result(100)
    exchange.end()
    assert list(dirs.spool.iterdir()) == []


def test_progress_is_json_whatever_a_child_says() -> None:
    told = [progress_json(float(number), "x") for number in ("nan", "inf", "-inf", "12.5")]
    assert [json.loads(text, parse_constant=pytest.fail)["percent"] for text in told] == [
        0, 100, 0, 12.5,
    ]  # fmt: skip
