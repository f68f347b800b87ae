"""The order in which a handle tells what happened between two looks."""

from __future__ import annotations

from jobctl.testing import PrivateDaemon, wait_until

JOBS = """
[jobs.tells]
python = "steps:tells"
cwd = "."
"""
CODE = """
import os, time
from jobctl import current

def tells(go, progress=None):
    if progress is not None:
        current().progress(progress)
    while not os.path.exists(go):
        time.sleep(0.02)
    if progress is not None:
        current().progress(100)
"""


def test_attempt_begins_before_its_progress_and_ends_after_it(tmp_path) -> None:
    (tmp_path / "steps.py").write_text(CODE)
    with PrivateDaemon(JOBS, root=tmp_path, slots=1) as daemon:
        daemon.client.submit("tells", str(tmp_path / "first"))
        run = daemon.client.submit("tells", str(tmp_path / "second"), 40)
        events = run.events()
        seen = [next(events)]
        (tmp_path / "first").touch()
        wait_until(run.progress, what="it tells how far it is")
        seen += [next(events), next(events)]
        (tmp_path / "second").touch()
        wait_until(lambda: run.state.final, what="it has ended")
        seen += events
    assert [
        (one.kind, one.state, one.attempt, (one.progress or {}).get("percent")) for one in seen
    ] == [
        ("state", "queued", 0, None),
        ("state", "running", 1, 40),
        ("progress", "running", 1, 40),
        ("progress", "succeeded", 1, 100),
        ("state", "succeeded", 1, 100),
    ]
