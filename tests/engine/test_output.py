from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from real_attempts import until

from jobctl.engine.attempt import AttemptDirs, log_file
from jobctl.engine.cutting import BLOCK, collapse
from jobctl.engine.output import Output, OutputWatch

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 16384


@pytest.fixture
def dirs(tmp_path: Path) -> AttemptDirs:
    dirs = AttemptDirs.under(tmp_path)
    dirs.create()
    return dirs


@pytest.fixture
def output(dirs: AttemptDirs) -> Output:
    return Output(dirs=dirs, slot="s")


@pytest.fixture(params=["in one step", "by copying"])
def cutting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by copying":
        monkeypatch.setattr("jobctl.engine.output.collapse", lambda *_, **__: False)


def begin(output: Output, run_id: str = "r1", limit: int = LIMIT) -> int:
    return output.open(job="j", run_id=run_id, attempt=1, limit=limit)


def test_silent_attempts_share_one_file(output: Output, dirs: AttemptDirs) -> None:
    begin(output)
    first = output.path.stat().st_ino
    assert output.close(retire=False) == 0
    begin(output, "r2")
    assert output.path.stat().st_ino == first
    output.close(retire=False)
    assert list(dirs.logs.iterdir()) == []


def test_output_gets_the_name_of_its_run(output: Output, dirs: AttemptDirs) -> None:
    os.write(begin(output), b"one\n")
    assert output.close(retire=False) == 4
    os.write(begin(output, "r2"), b"two\n")
    output.close(retire=False)
    assert log_file(dirs.logs, "j", "r1", 1).read_text() == "one\n"
    assert log_file(dirs.logs, "j", "r2", 1).read_text() == "two\n"


def test_retired_file_is_out_of_reach_of_whoever_still_has_it_open(
    output: Output, dirs: AttemptDirs
) -> None:
    stolen = os.dup(begin(output))
    output.close(retire=True)
    begin(output, "r2")
    os.write(stolen, b"late\n")
    os.close(stolen)
    assert output.close(retire=False) == 0
    assert list(dirs.logs.iterdir()) == []


def test_log_has_its_name_while_the_attempt_runs(output: Output, dirs: AttemptDirs) -> None:
    fd = begin(output)
    os.write(fd, b"one\n")
    output.look()
    os.write(fd, b"two\n")
    assert log_file(dirs.logs, "j", "r1", 1).read_text() == "one\ntwo\n"
    assert output.read(0, 100) == (b"one\ntwo\n", 8)
    output.close(retire=False)
    assert output.read(4, 100) == (b"two\n", 8)


def test_log_goes_to_another_file_system(
    dirs: AttemptDirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(dirs=dirs, slot="s")

    def rename(_self: Path, _target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    (dirs.logs / "j").mkdir()
    monkeypatch.setattr("pathlib.Path.rename", rename)
    fd = begin(output)
    os.write(fd, b"one\n")
    output.look()
    os.write(fd, b"two\n")
    output.close(retire=False)
    assert log_file(dirs.logs, "j", "r1", 1).read_text() == "one\ntwo\n"
    begin(output, "r2")
    assert output.size == 0
    output.close(retire=False)


def test_log_that_cannot_be_kept_is_not_seen_by_the_next_run(
    output: Output, dirs: AttemptDirs, caplog: pytest.LogCaptureFixture
) -> None:
    (dirs.logs / "j").write_text("not a directory")
    os.write(begin(output), b"one\n")
    with caplog.at_level(logging.WARNING):
        output.close(retire=False)
    assert "is lost" in caplog.text
    begin(output, "r2")
    assert output.size == 0
    output.close(retire=False)


@pytest.mark.usefixtures("cutting")
def test_cut_keeps_head_and_tail_and_counts_the_rest(output: Output) -> None:
    fd = begin(output)
    text = b"".join(b"%07d\n" % number for number in range(5000))
    os.write(fd, text)
    output.look()
    os.write(fd, b"the end\n")
    size = output.close(retire=False)
    kept = output.path.read_bytes()
    assert size == len(kept) <= LIMIT
    assert kept.startswith(text[: LIMIT // 2])
    assert kept.endswith(text[-100:] + b"the end\n")
    mark = re.search(rb"\n\[jobctl: +(\d+) bytes dropped here, max_output is 16384\]\n", kept)
    assert mark is not None
    assert int(mark[1]) == output.dropped == len(text) + 8 - (len(kept) - len(mark[0]))


@pytest.mark.usefixtures("cutting")
def test_every_cut_adds_to_the_same_mark(output: Output) -> None:
    fd = begin(output)
    for number in range(40):
        os.write(fd, (b"%07d\n" % number) * 500)
        output.look()
    output.close(retire=False)
    kept = output.path.read_bytes()
    assert kept.count(b"dropped here") == 1
    assert len(kept) <= LIMIT
    assert kept.endswith(b"0000039\n")
    assert output.size == 40 * 4000


@pytest.mark.usefixtures("cutting")
def test_reader_is_told_once_what_was_dropped(output: Output) -> None:
    fd = begin(output)
    os.write(fd, b"a" * 3000)
    assert output.read(0, 10_000)[1] == 3000
    os.write(fd, b"b" * 30_000)
    output.look()
    os.write(fd, b"the end\n")
    pieces, position = [], 3000
    while position < output.size:
        piece, position = output.read(position, 1000)
        pieces.append(piece)
    text = b"".join(pieces)
    assert position == output.size == 33_008
    assert text.startswith(b"b" * (LIMIT // 2 - 3000) + b"\n[jobctl: ")
    assert text.endswith(b"b" * 100 + b"the end\n")
    assert text.count(b"dropped here") == 1
    output.close(retire=False)


@pytest.mark.usefixtures("cutting")
def test_limit_of_nothing_still_leaves_a_readable_log(output: Output) -> None:
    os.write(begin(output, limit=0), b"x" * 50_000 + b"\nlast words\n")
    output.close(retire=False)
    assert output.path.read_bytes().endswith(b"last words\n")


@pytest.mark.usefixtures("cutting")
def test_flood_stays_near_its_limit(output: Output) -> None:
    limit = 1_000_000
    largest = 0

    async def scenario() -> None:
        nonlocal largest
        watch = OutputWatch()
        fd = begin(output, limit=limit)
        watch.add(output)
        with subprocess.Popen(["/usr/bin/yes"], stdout=fd) as flood:  # noqa: ASYNC220 - it is killed
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline:
                largest = max(largest, os.fstat(fd).st_size)
                await asyncio.sleep(0.001)
            flood.kill()
        watch.discard(output)
        output.close(retire=True)
        watch.close()

    asyncio.run(scenario())
    assert output.path.stat().st_size <= limit
    assert output.dropped > 10 * limit
    # What two CPUs shared with other tests may write between two looks.
    assert largest < 200 * limit


def test_watch_survives_a_file_that_went_away(
    output: Output, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        watch = OutputWatch()
        os.close(begin(output))
        watch.add(output)
        await until(lambda: "cannot be watched" in caplog.text)
        watch.close()

    asyncio.run(scenario())


def test_last_words_after_a_flood_are_never_lost(output: Output, dirs: AttemptDirs) -> None:
    probe = os.open(dirs.spool / "probe", os.O_RDWR | os.O_CREAT)
    os.write(probe, b"x" * 3 * BLOCK)
    supported = collapse(probe, start=BLOCK, length=BLOCK)
    os.close(probe)
    if not supported:
        pytest.skip("this file system cannot take out the middle of a file in one step")
    stop = threading.Event()

    def write(fd: int) -> None:
        while not stop.is_set():
            os.write(fd, b"x" * 1000)
            count[0] += 1

    count = [0]
    fd = begin(output)
    writer = threading.Thread(target=write, args=(fd,))
    writer.start()
    while output.dropped < 50_000_000:
        output.look()
    stop.set()
    writer.join()
    os.write(fd, b"the end\n")
    assert output.size == count[0] * 1000 + 8
    output.close(retire=False)
    assert output.path.read_bytes().endswith(b"xthe end\n")
