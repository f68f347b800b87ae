"""The judge of played faults: it must find what is wrong, or a report of faults says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos import check
from chaos.__main__ import numbers
from chaos.executions import Executions
from chaos.play import BROKEN, HELD, SKIPPED, Verdict, play
from chaos.processes import sweep
from chaos.report import as_json, table
from chaos.table import Fault, faults
from chaos.waits import BrokenError, SkipError, expect, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaos.world import World


class Told:
    """What the judge asks a world, with records and executions that a test makes up."""

    def __init__(self, directory: Path) -> None:
        self.executions = Executions(directory)
        self.accepted = {"r1": "work"}
        self.found: dict[str, dict[str, str]] = {"r1": {"s": "k", "at": "1", "j": "work"}}
        self.measured: dict[str, object] = {}
        self.silent: set[str] = set()
        self.may_redo: set[str] = set()
        self.may_overlap = self.may_repeat = self.strangers = self.set_back = False

    def records(self) -> dict[str, dict[str, str]]:
        return self.found

    def say(self, *lines: str) -> None:
        with self.executions.path.open("a") as file:
            for line in lines:
                word, run, *code = line.split()
                file.write(f"{word} {run} 1 77 12.5 a {code[0] if code else '-'}\n")

    def judged(self) -> list[str]:
        return check.in_log(self)  # type: ignore[arg-type]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_a_run_that_was_executed_once_is_fine(told: Told) -> None:
    told.say("begin r1", "end r1 0")
    assert told.judged() == []
    assert told.measured == {"runs": 1, "executions": 1}


def test_more_executions_than_attempts_are_found(told: Told) -> None:
    told.say("begin r1", "begin r1", "end r1 0")
    assert told.judged() == ["r1 ran 2 times, its record knows of 1"]
    told.found["r1"]["cl"] = "1"
    assert told.judged() == []


def test_overlapping_executions_are_found(told: Told) -> None:
    told.found["r1"]["at"] = "2"
    told.say("begin r1", "overlap r1", "begin r1", "end r1 0")
    assert told.judged() == ["two executions of r1 (work) overlap"]
    told.may_overlap = True
    assert told.judged() == []
    told.accepted["r1"] = "strict"
    assert told.judged() == ["two executions of r1 (strict) overlap"]


def test_success_without_an_end_is_found(told: Told) -> None:
    told.say("begin r1")
    assert told.judged() == ["r1 succeeded and never came to its end"]


def test_work_done_twice_is_found(told: Told) -> None:
    told.found["r1"]["at"] = "2"
    told.say("begin r1", "end r1 0", "begin r1", "end r1 0")
    assert told.judged() == ["r1 was done 2 times"]


def test_execution_of_what_was_never_accepted_is_found(told: Told) -> None:
    told.say("begin r1", "end r1 0", "begin r2")
    assert told.judged() == ["r2 ran and was never accepted"]


def test_at_most_once_jobs_may_never_begin_again(told: Told) -> None:
    told.accepted["r1"] = "once"
    told.found["r1"] = {"s": "x", "at": "1", "cl": "1", "j": "once"}
    told.say("begin r1", "begin r1")
    assert told.judged() == ["r1 is to run at most once and ran 2 times"]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(told: Told) -> None:
    with told.executions.path.open("a") as file:
        file.write("begin r1 1 77 12")
    assert told.executions.count("r1") == 0
    with told.executions.path.open("a") as file:
        file.write(".5 a -\n")
    assert told.executions.count("r1") == 1


@pytest.fixture
def stage(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(short_dir))
    yield short_dir
    sweep(short_dir)
    short_dir.mkdir()


def loses_a_run(world: World) -> None:
    world.host("a")
    world.submit("work", 0, start_in=3600.0)
    run = world.submit("work", 0)
    world.wait_final(run)
    world.accepted = {"aaaaaaaaaaaaaaaa": "work", run: "work"}


def leaves_a_process(world: World) -> None:
    host = world.host("a", jobs="[jobs.leave]\nleftovers = 'keep'\ncommand = 'sleep 97 &'\n")
    world.silent = {"leave"}
    world.wait_final(world.submit("leave"))
    expect(host.daemons[-1].poll() is None, "the daemon ended")


def gives_up(_: World) -> None:
    raise SkipError("no such thing here")


@pytest.mark.parametrize(
    ("played", "verdict", "words"),
    [
        (lambda world: world.host("a"), HELD, ""),
        (leaves_a_process, BROKEN, "is left: sleep 97"),
        (gives_up, SKIPPED, "no such thing here"),
        (lambda _: 1 / 0, BROKEN, "ZeroDivisionError"),
    ],
    ids=["nothing", "a process", "skipped", "a mistake"],
)
def test_a_play_is_judged(stage: Path, played: object, verdict: str, words: str) -> None:
    fault = Fault(99, "a test", "none", played)  # type: ignore[arg-type]
    found = play(fault, 1, stage)
    assert (found.verdict, words in found.reason) == (verdict, True), found


def test_an_accepted_run_that_is_missing_breaks_a_play(
    stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "ALL_WITHIN", 2.0)
    found = play(Fault(99, "a test", "none", loses_a_run), 1, stage)
    assert found.verdict == BROKEN
    assert "aaaaaaaaaaaaaaaa (work) is missing" in found.reason


def test_the_report_counts_and_shows_ranges() -> None:
    known = {9: Fault(9, "a title", "a criterion", lambda _: None)}
    verdicts = [
        Verdict(9, 1, HELD, measured={"after s": 1.0}, seconds=2.0),
        Verdict(9, 2, BROKEN, "it broke", measured={"after s": 3.5}, seconds=4.0, log="the log"),
        Verdict(9, 3, SKIPPED, "needs root"),
    ]
    text = table(known, verdicts)
    assert "after s 1\u20133.5" in text
    assert "1 held, 1 BROKEN, 1 skipped" in text
    assert "BROKEN: fault 9, seed 2: it broke" in text
    assert "skipped: fault 9: needs root" in text
    assert '"schema": 1' in as_json(verdicts)


def test_numbers_are_read_as_ranges_and_lists() -> None:
    known = {n: Fault(n, "", "", lambda _: None) for n in (1, 2, 3, 7)}
    assert numbers(["1-3", "7,2"], known) == [1, 2, 3, 7]
    with pytest.raises(ValueError, match="workflows"):
        numbers(["45"], known)
    with pytest.raises(ValueError, match="not in the table"):
        numbers(["60"], known)


def test_every_fault_says_what_it_does_and_what_must_hold() -> None:
    for number, fault in faults().items():
        assert fault.number == number
        assert fault.title
        assert fault.criterion


def test_waiting_ends_with_what_was_waited_for() -> None:
    with pytest.raises(BrokenError, match=r"not within 0\.2 s: the moon"):
        until(lambda: False, "the moon", within=0.2)
