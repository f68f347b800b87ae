"""What a child is told of runs that travel together, against what one that comes alone is told."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.engine import runner
from jobctl.engine.attempt import AttemptDirs, AttemptSpec
from jobctl.engine.environment import attempt_environment
from jobctl.engine.ledger import Held
from jobctl.engine.python_bundle import call_of
from jobctl.engine.python_call import call_limits
from jobctl.engine.shapes import Shapes, more_of
from jobctl.engine.spawn import Launches
from jobctl.model.config import Settings
from jobctl.model.job import JobDef
from jobctl.model.run import Parent, Request
from jobctl.store.transitions import Claim

if TYPE_CHECKING:
    from pathlib import Path

MARK = "host/1"
JOB = JobDef(name="j", python="mod:f", env={"COLOUR": "red"}, timeout=60.0, soft_timeout=50.0)
OWN: list[dict[str, Any]] = [
    {"kwargs": {"max-width": 3, "path": "a/ü.png", "flags": [1, None, "x"]}},
    {"tags": {"team": "ops"}},
    {"parent": Parent(run="p1", job="other", state="failed", attempt=2, error="no")},
    {"scheduled_at": 1_800_000_000.0, "trigger": "schedule"},
    {"timeout": 5.0},
    {"args": (1, "two")},
]


def held(**request: Any) -> Held:
    claim = Claim("r1", 7, 1, 0, 900.0, "q", "5", "j", 0.0, "3", b"", None)
    asked = Request(id="r1", job="j", queue="q", max_attempts=3, **request)
    return Held(claim, asked, 0.0, 2)


@pytest.mark.parametrize("job", [JOB, replace(JOB, total_timeout=600.0)], ids=["", "in all"])
@pytest.mark.parametrize(
    "own", [some for n in range(4) for some in itertools.combinations(OWN, n)], ids=str
)
def test_a_run_of_a_bundle_is_told_what_it_would_be_told_alone(
    own: tuple[dict[str, Any], ...], job: JobDef, tmp_path: Path
) -> None:
    one = held(**{name: value for some in own for name, value in some.items()})

    def spec_of(run: Held) -> AttemptSpec:
        return runner.attempt_spec(
            run, job, Settings(), mark=f"{MARK}.7", timezone="Europe/Berlin", now=1000.0
        )

    launch = Launches(tools=None).prepare(job, "Europe/Berlin")
    shapes = Shapes(AttemptDirs.under(tmp_path), slot="0")
    # The shape is made of whichever run comes first.
    shapes.number(one, spec_of(held(tags={"of": "another"})), launch)
    ((_, shape),) = shapes.news()
    more = more_of(one, job, spec_of)
    found = call_of(shape, 1, "r1", 2, 7, None if more is None else list(more))

    alone, files = spec_of(one), f"{tmp_path}/spool/0.r1.2"
    assert found["env"] == attempt_environment(
        alone, launch.environment, result_file=f"{files}.result", progress_file=f"{files}.progress"
    )
    assert found["limits"] == call_limits(alone)
