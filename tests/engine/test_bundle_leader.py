"""Bundles in a real interpreter: what begins, what is had back, and what is replaced."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from real_attempts import Attempts, until

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import bundle_leader
from jobctl.engine.attempt import AttemptSpec
from jobctl.engine.ledger import Held
from jobctl.engine.nursery import Nursery
from jobctl.engine.warm_python import EARLY
from jobctl.model.job import JobDef
from jobctl.model.pool import PoolDef
from jobctl.model.run import Outcome, OutcomeKind, Request
from jobctl.store.transitions import Claim

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from jobctl.engine.bundle_answer import Answer
    from jobctl.engine.bundle_leader import Begun, BundleLeader
    from jobctl.engine.slot import Slot
    from jobctl.engine.warm_python import Warm

SOURCE = """
import os, sys, time
def me(n):
    return os.getpid()
def once_waits(n):
    if n == 1:
        open("began", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.005)
def lies(n):
    bundles = sys.modules["_jobctl_child"].CHILD.bundles
    if n == 2:
        bundles.end -= 5
"""


class Recorder:
    """Takes note of what becomes of the runs of a bundle."""

    def __init__(self, job: JobDef, slot: Slot) -> None:
        self.job = job
        self.slot = slot
        self.answers: list[str] = []
        self.results: list[str | None] = []
        self.begun: list[str] = []
        self.returned: list[str] = []
        self.alone = False
        self.runs: list[Held] = []
        self.silent: list[str] = []
        self.outcomes: list[Outcome] = []

    def spec(self, held: Held) -> AttemptSpec:
        return AttemptSpec(run_id=held.claim.id, job=self.job, supervisor="s/0.1")

    def on_begin(self, runs: list[Held], warm: Warm, number: int) -> None:
        assert number > 0
        assert warm.child.pid > 0
        assert runs
        assert not self.begun
        self.begun = [held.claim.id for held in runs]

    def on_answer(self, held: Held, answer: Answer, *, pid: int) -> None:
        assert pid > 0
        self.answers.append(held.claim.id)
        self.results.append(answer.reply.result)

    def on_answers_taken(self) -> None:
        """Nothing waits."""

    def on_return(self, runs: list[Held], *, alone: bool) -> None:
        self.returned += [held.claim.id for held in runs]
        self.alone = alone

    def on_leftovers(self) -> None:
        """Nothing is printed here."""

    def on_silence(self, held: Held) -> None:
        self.silent.append(held.claim.id)

    def on_progress(self, held: Held, percent: float, message: str, *, gone: float) -> None:
        """Nobody asks."""

    async def go_on(self, held: Held, call: Begun) -> None:
        self.outcomes.append(
            await self.slot.go_on(self.spec(held), call, on_start=lambda _pid, _at: None)
        )


class Bench:
    """A slot whose jobs are in ``work.py``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.attempts = Attempts(directory)
        (directory / "work.py").write_text(SOURCE)
        then = (directory / "work.py").stat().st_mtime - 60
        os.utime(directory / "work.py", (then, then))

    def leader(
        self, slot: Slot, function: str, count: int, *, interpreter: str | None = None
    ) -> tuple[BundleLeader, Recorder]:
        job = JobDef(
            name="job",
            python=f"work:{function}",
            cwd=str(self.directory),
            interpreter=interpreter,
        )
        owner = Recorder(job, slot)
        runs = [
            Held(
                claim=Claim(f"r{n}", 1, 0, 0, None, "q", "5", "job", 0.0, "1", b"", None),
                request=Request(id=f"r{n}", job="job", args=(n,), max_attempts=1),
                claimed_at=0.0,
                attempt=1,
            )
            for n in range(count)
        ]
        owner.runs = list(runs)
        leader = bundle_leader.BundleLeader(
            runs,
            python=slot.python,
            setting=slot.setting(owner.spec(runs[0])),
            processes=slot.processes,
            clock=SYSTEM_CLOCK,
            owner=owner,
        )
        return leader, owner

    def inside(self, scenario: Callable[[Slot], Awaitable[None]]) -> None:
        async def whole(slot: Slot) -> Outcome:
            await scenario(slot)
            return Outcome(kind=OutcomeKind.SUCCEEDED)

        self.attempts.inside(whole)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def names(first: int, last: int) -> list[str]:
    return [f"r{n}" for n in range(first, last)]


def test_what_is_behind_a_run_that_waits_is_had_back(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        leader, owner = bench.leader(slot, "once_waits", 6)
        led = asyncio.ensure_future(leader.lead())
        await until((bench.directory / "began").exists)
        leader.stop()
        await until(lambda: slot.pid, what="the second has a slot of its own")

        assert owner.returned == names(2, 6)
        assert not owner.alone
        assert owner.answers == ["r0"]
        (bench.directory / "go").touch()
        await led
        assert [one.kind for one in owner.outcomes] == [OutcomeKind.SUCCEEDED]
        assert owner.answers == ["r0"]

    bench.inside(scenario)


def test_an_interpreter_that_waits_has_its_runs_at_once(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        first, owner = bench.leader(slot, "me", 1)
        first.begin()
        assert not owner.begun  # there is no interpreter yet
        await first.lead()
        assert owner.begun == names(0, 1)

        again, owner = bench.leader(slot, "me", 2)
        again.begin()
        assert owner.begun == names(0, 2)
        await again.lead()
        assert owner.answers == names(0, 2)
        assert owner.begun == names(0, 2)

    bench.inside(scenario)


def test_missing_interpreter_gives_runs_back_where_another_waits(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        first, _ = bench.leader(slot, "me", 1)
        await first.lead()
        leader, owner = bench.leader(slot, "me", 2, interpreter="/nonexistent/python")
        leader.begin()
        await leader.lead()
        assert owner.returned == names(0, 2)
        assert owner.alone
        assert not owner.begun

    bench.inside(scenario)


def test_questions_of_runs_that_have_ended_are_nobodys(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        leader, _ = bench.leader(slot, "once_waits", 2)
        led = asyncio.ensure_future(leader.lead())
        await until((bench.directory / "began").exists)
        assert slot.python.spec_of("r1") is not None
        assert slot.python.spec_of("r7") is None
        (bench.directory / "go").touch()
        await led
        assert slot.python.spec_of("r1") is None

    bench.inside(scenario)


def test_what_was_handed_over_at_once_to_a_child_that_died_begins_elsewhere(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        first, owner = bench.leader(slot, "me", 1)
        await first.lead()
        os.kill(int(owner.results[0] or 0), 9)
        again, owner = bench.leader(slot, "me", 2)
        again.begin()
        await again.lead()

        assert owner.returned == names(0, 2)
        assert owner.alone

    bench.inside(scenario)


def test_a_bundle_that_is_stopped_before_it_begins_is_had_back_whole(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        leader, owner = bench.leader(slot, "me", 4)
        led = asyncio.ensure_future(leader.lead())
        await asyncio.sleep(0)  # its interpreter is on its way
        leader.stop()
        await led

        assert owner.returned == names(0, 4)
        assert owner.answers == []

    bench.inside(scenario)


@pytest.mark.parametrize("forked", [False, True])
@pytest.mark.parametrize("withdrawn", [False, True])
def test_nobody_waits_for_an_interpreter_that_is_not_wanted_any_more(
    bench: Bench, *, withdrawn: bool, forked: bool
) -> None:
    slow = bench.directory / "slow"
    slow.write_text(
        f"#!/bin/sh\ncd {bench.directory}\n: > starts\n"
        f'until [ -e go ]; do sleep 0.01; done\nexec {sys.executable} "$@"\n'
    )
    slow.chmod(0o755)

    async def scenario(slot: Slot) -> None:
        nursery = Nursery(PoolDef(name="p", slots=2), slot._place)
        if forked:  # the template is slow, as one that imports
            slot.python._nursery = nursery
        leader, owner = bench.leader(slot, "me", 2, interpreter=str(slow))
        led = asyncio.ensure_future(leader.lead())
        await until((bench.directory / "starts").exists)
        if withdrawn:
            for held in owner.runs:
                leader.withdraw(held)
        else:
            leader.stop()
        done, _ = await asyncio.wait([led], timeout=10)
        (bench.directory / "go").touch()
        await led

        assert done
        assert owner.returned == names(0, 2)
        assert not owner.alone
        again, owner = bench.leader(slot, "me", 1, interpreter=str(slow))
        await again.lead()
        assert owner.answers == names(0, 1)
        await nursery.close()

    bench.inside(scenario)


def test_a_run_with_a_module_that_has_changed_begins_in_a_new_interpreter(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        first, owner = bench.leader(slot, "me", 3)
        await first.lead()
        assert owner.answers == names(0, 3)
        os.utime(bench.directory / "work.py")
        # What is in steady use looks for changes now and then only.
        for _ in range(1000):
            again, owner = bench.leader(slot, "me", 3)
            await again.lead()
            if owner.returned:
                break
            await asyncio.sleep(0.005)

        assert owner.returned == names(0, 3)
        assert owner.alone

    bench.inside(scenario)


def test_answers_that_make_no_sense_are_of_lost_runs(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        leader, owner = bench.leader(slot, "lies", 4)
        await leader.lead()

        assert {*owner.answers, *owner.silent} == set(names(0, 4))
        assert "r2" in owner.silent or "r1" in owner.silent
        assert not owner.returned

    bench.inside(scenario)


def test_a_successor_is_there_before_an_interpreter_has_had_its_runs(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        most = EARLY + 100
        pids = set()
        slot.python.limit_runs(most)
        for _ in range(6):
            leader, owner = bench.leader(slot, "me", 50)
            await leader.lead()
            pids.update(owner.results)
        assert len(pids) == 2
        assert slot.python.room > most - 100

    bench.inside(scenario)


def test_an_interpreter_is_kept_while_another_is_born(bench: Bench) -> None:
    async def scenario(slot: Slot) -> None:
        # As between the forks of a template: it is ours, and nobody waits for it yet.
        newborn = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220 - it returns at once
        pids: list[str | None] = []
        try:
            for _ in range(3):
                leader, owner = bench.leader(slot, "me", 3)
                await leader.lead()
                pids += owner.results
        finally:
            newborn.kill()
            newborn.wait()

        assert len(pids) == 9
        assert len(set(pids)) == 1

    bench.inside(scenario)
