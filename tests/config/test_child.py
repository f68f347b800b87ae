"""The validating child: what it answers, and that its parent stays small."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

import jobctl
from jobctl.config import cache
from jobctl.config.__main__ import KEPT_MOST
from jobctl.config.child import load_in_child
from jobctl.config.load import kept_config, load_config
from jobctl.config.problem import ConfigProblems
from jobctl.config.validate import check_config
from jobctl.errors import ConfigError

TEXT = '[defaults]\nresult_ttl = "1h"\n[jobs.a]\ncommand = ["x", "ü"]\nschedule = "@daily"\n'


@pytest.fixture
def path(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert home.exists()
    monkeypatch.chdir("/")
    found = tmp_path / "jobs.toml"
    found.write_text(TEXT)
    return found


def test_the_child_gives_the_same_configuration(path: Path) -> None:
    assert asyncio.run(load_in_child(path)) == load_config(path)


def test_the_child_keeps_what_it_found_for_commands_and_for_the_next_start(path: Path) -> None:
    for _ in range(5):  # what is younger than a tenth of a second is not kept
        if kept_config(str(path)) is None:
            found = asyncio.run(load_in_child(path))

    assert kept_config(str(path)) == found


def test_the_child_does_not_keep_so_many_jobs_that_it_would_be_seen(path: Path) -> None:
    path.write_text("".join(f'[jobs.j{n}]\ncommand = "true"\n' for n in range(KEPT_MOST + 1)))
    for _ in range(2):
        asyncio.run(load_in_child(path))

    assert cache.fetch(str(path)) is None


def test_many_jobs_and_many_schedules_of_one_arrive_whole(path: Path) -> None:
    many = "".join(f'[[jobs.m.schedules]]\nschedule = "@every {n + 1}m"\n' for n in range(250))
    jobs = "".join(f'[jobs.j{n}]\ncommand = "true"\nschedule = "@hourly"\n' for n in range(120))
    path.write_text(f'[jobs.m]\ncommand = "true"\nargs = ["x"]\n{many}{jobs}')

    found = asyncio.run(load_in_child(path))

    assert found == load_config(path)
    assert len(found.jobs["m"].schedules) == 250
    assert len(found.jobs) == 121


def test_jobs_that_have_not_changed_are_taken_from_what_is_known(path: Path) -> None:
    path.write_text('[jobs.a]\ncommand = "x"\n[jobs.b]\ncommand = "y"\n')
    first = asyncio.run(load_in_child(path))
    path.write_text('[jobs.a]\ncommand = "x"\n[jobs.b]\ncommand = "z"\n')

    second = asyncio.run(load_in_child(path, known=first.jobs))

    assert second == load_config(path)
    assert second.jobs["a"] is first.jobs["a"]
    assert second.jobs["b"].command == "z"


def test_other_tasks_go_on_while_a_large_file_is_taken_in(path: Path) -> None:
    path.write_text("".join(f'[jobs.j{n}]\ncommand = "true"\n' for n in range(1000)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def load() -> None:
        counting = asyncio.create_task(count())
        assert len((await load_in_child(path)).jobs) == 1000
        counting.cancel()

    asyncio.run(load())
    assert turns > 10


@pytest.mark.parametrize("lines", [1, 2])
def test_an_answer_that_is_cut_off_is_no_configuration(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    short = tmp_path / "python"
    short.write_text(f'#!/bin/sh\n{sys.executable} "$@" | head -n {lines}\n')
    short.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(short))

    with pytest.raises(ConfigError, match="ended without an answer"):
        asyncio.run(load_in_child(path))


def test_the_childs_problems_arrive_whole(path: Path) -> None:
    path.write_text("[jobs.a]\nresult_ttl = '1h'\ncommand = 3\n")

    with pytest.raises(ConfigProblems) as caught:
        asyncio.run(load_in_child(path))

    assert caught.value.problems == check_config(str(path)).problems
    assert [one.severity for one in caught.value.problems] == ["warning", "error"]


def test_a_child_that_cannot_answer_is_explained(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(ConfigError, match="ended without an answer: no message"):
        asyncio.run(load_in_child(path))

    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(ConfigError, match="cannot start /no/python"):
        asyncio.run(load_in_child(path))


def test_the_command_prints_json_and_exits_with_the_configuration_code(path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobctl.config", *arguments],
            cwd=Path(jobctl.__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )

    good = run(str(path))
    assert good.returncode == 0
    first, job, last = map(json.loads, good.stdout.splitlines())
    assert first["problems"]
    assert "jobs" not in first["plain"]
    assert (job["job"]["name"], job["job"]["command"]) == ("a", ["x", "ü"])
    assert last == {"end": True}
    bad = run(str(path.with_name("none.toml")))
    assert (bad.returncode, bad.stderr) == (78, "")
    assert json.loads(bad.stdout)["problems"][0]["code"] == "unreadable"
    assert run().returncode == 2


def test_the_parent_never_holds_what_validates(path: Path) -> None:
    program = (
        "import asyncio, sys; from jobctl.config.child import load_in_child;"
        "from jobctl.config.hosts import host_problems;"
        "host_problems(asyncio.run(load_in_child(sys.argv[1])));"
        "print([name for name in ('pydantic', 'tree_sitter', 'tomllib') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        cwd=Path(jobctl.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"
