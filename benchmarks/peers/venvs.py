"""A virtual environment for each peer, of pinned versions, made once and kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.participants import Participant

CONSTRAINTS = Path(__file__).with_name("constraints")
CACHE = Path("~/.cache/jobctl-peers").expanduser()
STAMP = "made-of"
"""In a finished venv: what it was made of, so that other pins make it anew."""


def made_of(participant: Participant) -> str:
    """Return what tells whether a venv is the one asked for."""
    pins = (CONSTRAINTS / f"{participant.venv}.txt").read_bytes()
    words = f"{sys.version}\n{' '.join(participant.packages)}\n".encode()
    return hashlib.sha256(words + pins).hexdigest()


def is_ready(participant: Participant, cache: Path = CACHE) -> bool:
    """Return whether a participant can be run without anything being installed."""
    if not participant.venv:
        return True
    stamp = cache / participant.venv / STAMP
    return stamp.exists() and stamp.read_text() == made_of(participant)


def binaries(participant: Participant, cache: Path = CACHE) -> Path:
    """Return the ``bin`` directory of a participant, whose venv is made first if need be.

    Exits with pip's own words when that fails.
    """
    if not participant.venv:
        return Path(sys.executable).parent
    place = cache / participant.venv
    if not is_ready(participant, cache):
        print(f"making {place} …", flush=True)
        venv.create(place, clear=True, with_pip=True)
        pins = CONSTRAINTS / f"{participant.venv}.txt"
        done = subprocess.run(
            [place / "bin" / "python", "-m", "pip", "install", "-q", "-c", pins, *participant.packages],
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{participant.name} cannot be installed:\n{done.stderr}")
        (place / STAMP).write_text(made_of(participant))
    return place / "bin"
