"""Whether functions named in jobs.toml are there, and take what their runs pass."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from jobctl.config import targets
from jobctl.config.problem import WARNING
from jobctl.config.targets import target_problems
from jobctl.config.validate import check_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODULE = """
import os

def plain(path: str, width: int = 320): pass
async def later(path): pass
def anything(*args, **kwargs): pass
def ordered(first, second, /): pass
def lazy(): yield
value = 3

class Shop:
    def sell(self, item): pass
    @classmethod
    def close(cls, hour): pass

if os.environ.get("SHOP") == "closed":
    raise LookupError("no database")
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Returns what is said of a jobs.toml beside the module ``media``."""
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    (tmp_path / "media.py").write_text(MODULE)
    main = tmp_path / "jobs.toml"

    def say(text: str) -> list[str]:
        text = textwrap.dedent(text)
        main.write_text(text if "[defaults]" in text else f'[defaults]\ncwd = "."\n{text}')
        found = target_problems(check_config(str(main)).require())
        assert {one.severity for one in found} <= {WARNING}
        return [f"{one.line}: {one.text}" for one in found]

    return say


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment without jobctl."""
    path = tmp_path_factory.mktemp("bare") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    return path


def test_functions_that_take_what_is_passed_are_fine(told: Callable[[str], list[str]]) -> None:
    assert (
        told("""\
        [jobs.a]
        python = "media:plain"
        params.path = { type = "str" }
        params.width = { type = "int", required = false }
        [jobs.b]
        python = "media:plain"
        schedule = "@daily"
        args = ["x", 3]
        [jobs.c]
        python = "media:anything"
        schedule = "@daily"
        args = [1]
        kwargs = { x = 2 }
        [jobs.d]
        python = "media:Shop.close"
        schedule = "@daily"
        kwargs = { hour = 20 }
        [jobs.e]
        python = "media:later"
        """)
        == []
    )


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ('python = "media:plian"', "there is no function plian in media"),
        ('python = "media:value"', "there is no function value in media"),
        ('python = "media:Shop.sell"', "Shop.sell is a method"),
        ('python = "media:lazy"', "lazy is a generator: calling it runs nothing"),
        ('python = "nothing.jobs:run"', "importing nothing.jobs failed: ModuleNotFoundError"),
        (
            'python = "media:plain"\nenv = { SHOP = "closed" }',
            "importing media failed: LookupError: no database (",
        ),
        (
            'python = "media:plain"\nparams.path = { type = "str" }\nparams.size = { type = "int" }',
            "media:plain does not take all that params declares: got an unexpected keyword argument 'size'",
        ),
        (
            'python = "media:plain"\nparams.width = { type = "int" }',
            "media:plain does not take all that params declares: missing a required argument: 'path'",
        ),
        (
            'python = "media:plain"\nparams.path = { type = "str", required = false }',
            "media:plain does not take no more than params requires: missing a required argument",
        ),
        (
            'python = "media:ordered"\nschedule = "@daily"\nargs = [1]',
            "media:ordered does not take what schedule a passes: missing a required",
        ),
        (
            'python = "media:plain"\nschedule = "@daily"\nargs = ["x", "wide"]',
            "media:plain does not take what schedule a passes: width: the value is not a whole number",
        ),
        (
            'python = "media:plain"\nschedule = "@daily"',
            "media:plain does not take what schedule a passes: missing a required argument: 'path'",
        ),
    ],
)
def test_what_does_not_fit_is_a_warning(
    told: Callable[[str], list[str]], job: str, said: str
) -> None:
    found = told(f"[jobs.a]\n{job}\n")
    assert len(found) == 1
    assert found[0].startswith(f"3: jobs.a.python: {said}")


def test_modules_are_imported_in_the_environment_of_the_job(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far.py").write_text("def run(): pass\n")
    assert (
        told(f"""\
        [jobs.a]
        python = "far:run"
        cwd = "{elsewhere}"
        [jobs.b]
        python = "far:run"
        interpreter = "{sys.executable}"
        env.PYTHONPATH = "{elsewhere}"
        [jobs.off]
        python = "nowhere:run"
        enabled = false
        [jobs.gone]
        python = "nowhere:run"
        cwd = "/no/where"
        """)
        == []
    )


def test_one_process_is_asked_for_all_jobs_that_are_alike(
    told: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tmp_path / "count"
    (tmp_path / "counts.py").write_text(
        f"with open({str(count)!r}, 'a') as out: out.write('x')\ndef run(): pass\n"
    )
    jobs = "".join(f'[jobs.j{number}]\npython = "counts:run"\n' for number in range(30))
    assert told(jobs) == []
    assert count.read_text() == "x"
    monkeypatch.setattr(targets, "MOST", 2)
    many = "".join(
        f'[jobs.j{number}]\npython = "counts:run"\nenv.N = "{number}"\n' for number in range(5)
    )
    [found] = told(many)
    assert "jobs.j2.python: the functions of 3 more environments were not looked at" in found
    assert count.read_text() == "xxx"


def test_import_that_fails_may_need_what_the_pool_calls_before(
    told: Callable[[str], list[str]],
) -> None:
    pool = '[pools.default]\nqueues = ["default"]\nchild_init = "media:plain"\n'
    closed = 'python = "media:plain"\nenv = { SHOP = "closed" }\n'
    assert told(f"{pool}[jobs.a]\n{closed}") == []
    assert len(told(f'{pool}[jobs.a]\n{closed}queue = "other"\n')) == 1


def test_module_that_ends_the_process_is_told_of(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "ends.py").write_text("import os; print('bye'); os._exit(3)\n")
    [found] = told('[jobs.a]\npython = "ends:run"\n')
    assert "ended with code 3 and said: " in found


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_imports_as_the_user_of_the_job(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    asked = tmp_path / "python"
    asked.write_text("#!/bin/sh\nid -un\n")
    for path in (asked, tmp_path, *tmp_path.parents[:-2]):
        path.chmod(0o755)
    [found] = told(f'[jobs.a]\npython = "media:plain"\nuser = "nobody"\ninterpreter = "{asked}"\n')
    assert "said: nobody" in found


def test_module_beside_the_file_is_found_with_the_missing_cwd_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "media.py").write_text(MODULE)
    main = tmp_path / "jobs.toml"
    main.write_text('[jobs]\na = { python = "media:plain" }\nb = { python = "elsewhere:plain" }\n')
    beside, elsewhere = target_problems(check_config(str(main)).require())
    assert 'write cwd = "."' in beside.text
    assert "cwd" not in elsewhere.text


ASKS = """
import jobctl, jobctl.context
from jobctl import AskError, Fatal, NotRunning, Retry, Skip, current, job
from jobctl.context import RunContext

assert jobctl.current is jobctl.context.current is current

@job("other", retries=3)
def run(item: int) -> None:
    current().progress(10)

@jobctl.job
def plain(): pass
"""


def test_environments_without_jobctl_have_the_names_that_runs_have(
    told: Callable[[str], list[str]], tmp_path: Path, bare: Path
) -> None:
    (tmp_path / "asks.py").write_text(ASKS)
    jobs = f"""\
        [defaults]
        cwd = "."
        interpreter = "{bare}"
        [jobs.a]
        python = "asks:run"
        params.item = {{ type = "int" }}
        [jobs.b]
        python = "asks:plain"
        """
    assert told(jobs) == []
    [found] = told(jobs.replace("item", "thing"))
    assert "asks:run does not take all that params declares" in found
    (tmp_path / "submits.py").write_text("from jobctl import Client\ndef run(): pass\n")
    [found] = told(f'[jobs.a]\npython = "submits:run"\ninterpreter = "{bare}"\n')
    assert "cannot import name 'Client' from 'jobctl'" in found
    assert f"install jobctl in the environment of {bare}/bin/python" in found
