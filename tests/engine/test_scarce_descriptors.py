"""Interpreters of a pool that has no descriptors left: their runs wait, and nothing is leaked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from real_attempts import Attempts, own_children, until
from shared_slots import Common

from jobctl.engine.tree import read_process
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.engine.python_desk import Desk

MOST = 60
"""Descriptors with which an interpreter can surely be started."""


@contextlib.contextmanager
def room_for(number: int) -> Iterator[None]:
    """Leave this process so many descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = open_files()
    last, free = 0, number
    while free or last in used:
        free -= last not in used
        last += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(last, 1), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def open_files() -> set[int]:
    seen = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    return {fd for fd in seen if Path(f"/proc/self/fd/{fd}").is_symlink()}


def zombies() -> list[int]:
    seen = [read_process(pid) for pid in own_children()]
    return [one.pid for one in seen if one is not None and one.zombie]


async def scarce(common: Common, room: int, **more: Any) -> OutcomeKind:
    """Run something in a new interpreter with little room; return how that ended."""
    # What the interpreter before it had would be room that comes at any moment.
    await asyncio.gather(*(slot.close() for slot in common.slots))
    if common.nursery.shared is not None:
        await common.nursery.shared.close()
    await asyncio.sleep(0)
    with room_for(room):
        outcome = await common.run("pid", env={"N": str(room)}, umask=room, **more)
    if outcome.kind is not OutcomeKind.SUCCEEDED:
        assert (outcome.kind, outcome.reason) == (OutcomeKind.NOT_STARTED, Reason.SPAWN), outcome
        assert "Too many open files" in (outcome.error or "")
    return outcome.kind


@pytest.mark.parametrize(("mode", "slots"), [("process", 1), ("process", 3), ("thread", 3)])
def test_run_waits_for_an_interpreter_that_has_no_descriptors(
    attempts: Attempts, mode: str, slots: int
) -> None:
    async def story(common: Common) -> None:
        common.place.desk = cast("Desk", object())
        known = set(zombies())
        await common.result("pid")
        await asyncio.sleep(0)
        files = open_files()
        ends = []
        for room in range(2, MOST):
            ends.append(await scarce(common, room))
            if ends[-1] is OutcomeKind.SUCCEEDED:
                break
            await until(lambda: len(open_files()) <= len(files), what=f"none is lost of {room}")
            await until(lambda: not {*zombies()} - known, what=f"none is left of {room}")

        assert ends[-1] is OutcomeKind.SUCCEEDED
        assert len(ends) > 5

    Common(attempts, mode, slots=slots).inside(story)


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_run_that_began_and_must_go_to_another_interpreter_is_run_again(
    attempts: Attempts, mode: str
) -> None:
    async def story(common: Common) -> None:
        ends = []
        for room in range(1, MOST):
            await common.result("pid")
            os.utime(common.file)
            with room_for(room):
                ends.append((await common.run("pid")).kind)
            if ends[-1] is OutcomeKind.SUCCEEDED:
                break

        assert ends[-1] is OutcomeKind.SUCCEEDED
        assert OutcomeKind.INTERRUPTED in ends
        assert set(ends[:-1]) <= {OutcomeKind.INTERRUPTED, OutcomeKind.NOT_STARTED}

    Common(attempts, mode).inside(story)


def test_calls_reach_an_interpreter_when_no_descriptor_can_be_kept(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        await common.result("pid")
        kinds = set()
        for room in range(1, 10):
            with room_for(room):
                outcome = await common.run("says", f"with {room}")
            kinds.add(outcome.kind)
            if outcome.kind is OutcomeKind.SUCCEEDED:
                assert common.log(common.attempts.runs) == f"with {room}\n"
            else:
                assert outcome.kind is OutcomeKind.NOT_STARTED

        assert OutcomeKind.SUCCEEDED in kinds

    Common(attempts, "thread").inside(story)
