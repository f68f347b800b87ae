"""What the README and the tutorial show is what happens."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.host import Host, wait_until
from tests.docs.pages import FENCE, ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "first-job.md"
SETUP = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/"
HOST = "web1"
HOME = "/home/ada/first"


@pytest.fixture
def home() -> Iterator[Host]:
    """A host with a state directory that no jobs.toml names, and a `jobctl` in PATH."""
    host = Host()
    tools = host.directory / "bin"
    tools.mkdir()
    command = tools / "jobctl"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m jobctl "$@"\n')
    command.chmod(0o755)
    yield host
    subprocess.run(["jobctl", "stop"], env=environment(host), cwd=host.directory, check=False,
                   capture_output=True)  # fmt: skip
    host.close()


def environment(host: Host) -> dict[str, str]:
    return {
        **host.environment,
        "PATH": f"{host.directory}/bin:{os.environ['PATH']}",
        "STATE_DIRECTORY": str(host.state),
        "TZ": "Europe/Berlin",
    }


def normal(text: str, host: Host) -> list[str]:
    """Return lines in which only what is the same every time is left."""
    text = text.replace(str(host.directory), HOME)
    # Ids first: the name of a host may be as short as two letters, and stand in one.
    text = re.sub(r"\b[a-z2-7]{16}\b", "ID", text)
    text = re.sub(rf"\b{re.escape(os.uname().nodename.split('.')[0])}\b", HOST, text)
    text = re.sub(r"\d[-\d]+ \d\d:\d\d:\d\d(\+\d\d:\d\d)?", "TIME", text)
    text = re.sub(r"\b(\d+(\.\d+)?(ms|s|m|h|d))+\b", "SPAN", text)
    text = re.sub(r"pid \d+", "pid N", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def play(command: str, host: Host) -> str:
    """Run a line of a transcript as a terminal would show it."""
    before = host.log.count(" is ready ")
    background = command.endswith("&")
    done = subprocess.run(
        ["sh", "-c", command],
        env=environment(host), cwd=host.directory, text=True, check=False, timeout=60,
        stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        stdout=subprocess.DEVNULL if background else subprocess.PIPE,
    )  # fmt: skip
    if background:
        wait_until(lambda: host.log.count(" is ready ") > before, what="the daemon is ready")
    return done.stdout or ""


@pytest.mark.parametrize("page", [README, TUTORIAL], ids=["README", "tutorial"])
def test_transcript_is_what_happens(page: object, home: Host) -> None:
    found = []
    for info, text in FENCE.findall(page.read_text()):  # type: ignore[attr-defined]
        if info == "toml":
            with home.config.open("a") as file:
                file.write("\n" + text)
        if info != "console":
            continue
        for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            said = normal(play(command, home), home)
            if said != normal(shown, home):
                found.append((command, said))

    assert not found, "\n".join(f"$ {command}\n" + "\n".join(said) for command, said in found)


def test_host_name_within_a_run_id_is_left_alone(
    home: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="vm.example.org"))

    assert normal("trvuzvm65afpvndq on vm, vmstat", home) == [f"ID on {HOST}, vmstat"]


def test_readme_begins_with_the_two_commands() -> None:
    first, second = FENCE.findall(README.read_text())[:2]

    assert first[1] == f"{SETUP}jobctl demo\n"
    assert second[1] == f"{SETUP}pytest\n"


def test_readme_is_short_and_its_jobs_toml_shorter() -> None:
    (example,) = blocks(README, "toml")

    assert len(README.read_text().splitlines()) <= 150
    assert len(example.text.splitlines()) <= 15
