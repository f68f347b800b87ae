"""What a dead pool left of its bundles: runs that were answered, and the one that was under way.

A child whose pool is gone goes on with its bundle until a run takes long: after that one it ends.
So whoever comes next waits for either, and then knows of every run whether it has begun.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import survivors, tally
from jobctl.engine.host_journal import since_boot
from jobctl.engine.spool import tally_file

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.engine.journal_content import Bundle, Content, Started
    from jobctl.engine.roster import PoolFiles

LONELY = 0.02
"""Seconds after which a child looks for its pool before it goes on, as in ``python_child.py``."""
PATIENCE = 5.0
"""Seconds a child gets to answer what it does or to end; then it is killed."""
LOOK_EVERY = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A run of a bundle that ended while the pool died, or had ended before."""

    started: Started
    answer: list[Any]
    placed: bool
    """Whether its output has its lasting name."""


def answered(files: PoolFiles, content: Content) -> list[Answered]:
    """Return the runs of bundles that were answered and not settled.

    The run of each bundle that is or was under way is added to those of ``content`` that run.
    """
    found: list[Answered] = []
    for bundle in content.bundles.values():
        if all(one is None or _settled(content, one) for one in bundle.runs):
            continue
        slot = f"{files.serial}-{bundle.slot}"
        path = tally_file(files.state_dir / "spool", slot=slot, pid=bundle.pid)
        state = _at_rest(path, bundle)
        if state is not None:
            found += _sorted_out(content, bundle, *state)
    return found


def _settled(content: Content, started: Started) -> bool:
    outcome = content.outcomes.get(started.run_id)
    return outcome is not None and outcome.epoch >= started.epoch


def _sorted_out(
    content: Content, bundle: Bundle, standing: tally.Standing, answers: list[list[Any]]
) -> list[Answered]:
    found = []
    said = {answer[0]: answer for answer in answers}
    for place, started in enumerate(bundle.runs):
        if started is None or _settled(content, started):
            continue
        if place in said:
            if content.running.pop(started.run_id, None) is not None:
                # It had a slot of its own by then, and its start was counted with that.
                started = replace(started, signed=None)  # noqa: PLW2901 - the same run
            last = place == len(answers) - 1
            found.append(Answered(started=started, answer=said[place], placed=not last))
        elif place == standing.begun - 1 and started.run_id not in content.running:
            gone = time.monotonic() - standing.began
            content.running[started.run_id] = replace(
                started,
                begun=since_boot() - gone,
                started_at=SYSTEM_CLOCK.epoch() - gone,
            )
            if bundle.pid in content.deaths:
                content.exits[started.run_id] = content.deaths[bundle.pid]
    return found


def _at_rest(path: Path, bundle: Bundle) -> tuple[tally.Standing, list[list[Any]]] | None:
    """Wait until no run of a bundle can begin any more, and return how far it came."""
    first = next(one for one in bundle.runs if one is not None)
    deadline = time.monotonic() + PATIENCE
    while survivors.lives(first):
        state = tally.read(path, bundle.number)
        now = time.monotonic()
        if state is not None:
            standing = state[0]
            if standing.begun > standing.answered and now - standing.began > LONELY:
                return state
        if now > deadline:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(bundle.pid, signal.SIGKILL)
        time.sleep(LOOK_EVERY)
    return tally.read(path, bundle.number)
