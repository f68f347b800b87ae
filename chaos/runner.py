"""Plays many faults, several at once, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.play import BROKEN, SKIPPED, Verdict
from chaos.processes import sweep
from chaos.table import Fault, lacking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[1]
_playing: set[subprocess.Popen[str]] = set()
"""What is to be ended when the runner is."""


def play_all(
    wanted: Sequence[tuple[Fault, int]], *, jobs: int, told: Callable[[Verdict], None], keep: bool
) -> list[Verdict]:
    """Play pairs of fault and seed, ``jobs`` at a time; ``told`` hears each verdict at once.

    Faults that measure time are played after the others, alone. With ``keep`` the directory of a broken world stays, without its processes.
    """
    verdicts = []
    with ThreadPoolExecutor(max_workers=jobs) as crew:
        plays = [
            crew.submit(play_apart, fault, seed, keep=keep)
            for fault, seed in wanted
            if not fault.alone
        ]
        try:
            for one in as_completed(plays):
                verdicts.append(one.result())
                told(verdicts[-1])
            for fault, seed in wanted:
                if fault.alone:
                    verdicts.append(crew.submit(play_apart, fault, seed, keep=keep).result())
                    told(verdicts[-1])
        except BaseException:
            crew.shutdown(wait=False, cancel_futures=True)
            for process in list(_playing):
                _end(process)
            raise
    return sorted(verdicts, key=lambda one: (one.fault, one.seed))


def play_apart(fault: Fault, seed: int, *, keep: bool = False) -> Verdict:
    """Play one fault in a process of its own and sweep up after it."""
    reasons = [reason for reason in map(lacking, fault.needs) if reason]
    if reasons:
        return Verdict(fault.number, seed, SKIPPED, "; ".join(reasons))
    # Short, because sockets have their place in it.
    directory = Path(tempfile.mkdtemp(prefix="jcw"))
    verdict = Verdict(fault.number, seed, BROKEN)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos.play", str(fault.number), str(seed), str(directory)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        _playing.add(process)
        try:
            out, err = process.communicate(timeout=fault.patience)
            verdict = Verdict(**json.loads(out))
        except subprocess.TimeoutExpired:
            verdict.reason = f"no end within {fault.patience:g} s"
            verdict.log = _logs(directory)
            _end(process)
            process.communicate()
        except ValueError:
            verdict.reason = f"the play crashed with {process.returncode}: {err[-800:]}"
        finally:
            _playing.discard(process)
    finally:
        if keep and verdict.verdict == BROKEN:
            verdict.reason += f" [kept in {_keep(directory)}]"
        sweep(directory)
    return verdict


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _logs(directory: Path) -> str:
    return "\n".join(
        f"--- {path.parent.name}\n{path.read_text(errors='replace')[-3000:]}"
        for path in sorted(directory.glob("*/daemon.log"))
    )


def _keep(directory: Path) -> Path:
    kept = directory.with_name(f"{directory.name}-kept")
    subprocess.run(["cp", "-a", str(directory), str(kept)], check=False, capture_output=True)
    return kept
