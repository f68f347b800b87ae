"""Whether functions named in jobs.toml are there, and take what their runs pass."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import psutil
import pytest

from jobctl.config import interview, targets
from jobctl.config.problem import NOTE, WARNING
from jobctl.config.targets import target_problems
from jobctl.config.validate import check_config
from jobctl.testing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODULE = """
import os

def plain(path: str, width: int = 320): pass
async def later(path): pass
def anything(*args, **kwargs): pass
def ordered(first, second, /): pass
def counted(number: int, /, more=1): pass
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
        found = target_problems(check_config(str(main)))
        assert {one.severity for one in found} <= {WARNING, NOTE}
        return [
            f"{one.line}: {'note: ' if one.severity == NOTE else ''}{one.text}" for one in found
        ]

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
        [jobs.f]
        python = "media:counted"
        params.number = { type = "int", positional = true }
        params.more = { type = "int", default = 1 }
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
            'python = "media:counted"\nschedule = "@daily"\nargs = ["many"]',
            "media:counted does not take what schedule a passes: number: the value is not a whole",
        ),
        (
            'python = "media:counted"\nparams.number = { type = "int" }',
            "media:counted does not take all that params declares: ",
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


POOL = """
[defaults]
cwd = "."
[pools.default]
queues = ["default"]
"""


def test_import_that_fails_may_need_what_the_pool_calls_before(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "hooks.py").write_text("def begin(): raise LookupError\n")
    (tmp_path / "torn.py").write_text("def run(:\n")
    pool = f'{POOL}child_init = "hooks:begin"\n'
    closed = '[jobs.a]\npython = "media:plain"\nenv = { SHOP = "closed" }\n'
    [found] = told(pool + closed)
    assert found.startswith(
        "7: note: jobs.a.python: importing media failed: LookupError: no database ("
    )
    assert found.endswith(
        "; this is not judged, for pool default calls hooks:begin before, and jobctl check does not"
    )
    (tmp_path / "ends.py").write_text(LOST["ends"])
    [found] = told(f'{pool}[jobs.a]\npython = "ends:run"\n')
    assert found.startswith("7: note: jobs.a.python: importing ends ended the process with code 3")
    assert "; let it only define what it holds when it is imported; this is not judged" in found
    # What no hook can help is told of as ever, and so is what can be imported.
    [found] = told(f'{pool}[jobs.a]\npython = "torn:run"\n')
    assert found.startswith("7: jobs.a.python: importing torn failed: SyntaxError")
    [found] = told(f'{pool}[jobs.a]\npython = "media:plian"\n')
    assert found.startswith("7: jobs.a.python: there is no function plian in media")
    [found] = told(f'{pool}{closed}queue = "other"\n')
    assert found.startswith("7: jobs.a.python: importing media failed: LookupError")


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (
            'child_init = "media:Shop.close"',
            "media:Shop.close cannot be called without arguments: ",
        ),
        ('child_init = "media:plian"', "there is no function plian in media"),
        ('child_exit = "media:value"', "there is no function value in media"),
        ('child_exit = "media:Shop.sell"', "Shop.sell is a method, and there is no object"),
        ('child_init = "media:lazy"', "lazy is a generator: calling it runs nothing"),
        (
            'child_init = "gone.db:connect"',
            "importing gone.db failed: ModuleNotFoundError: No module named 'gone'",
        ),
        (
            'preload = ["os", "raises"]',
            "importing raises failed: ZeroDivisionError: division by zero (",
        ),
        ('preload = "ends"', "importing ends ended the process with code 3 ("),
    ],
)
def test_hooks_and_preloaded_modules_of_pools_are_looked_up(
    told: Callable[[str], list[str]], tmp_path: Path, hook: str, said: str
) -> None:
    (tmp_path / "raises.py").write_text("1 / 0\n")
    (tmp_path / "ends.py").write_text(LOST["ends"])
    jobs = "".join(f'[jobs.j{n}]\npython = "media:gone"\nenv.N = "{n // 2}"\n' for n in range(4))
    found = told(f"{POOL}{hook}\n{jobs}")
    key = hook.partition(" ")[0]
    assert found[-1].startswith(f"6: pools.default.{key}: {said}")
    assert "looked for as jobs j0 and j2 do" in found[-1]
    assert ["there is no function gone in media" in one for one in found[:-1]] == [True] * 4


def test_hooks_that_are_there_are_fine_wherever_the_jobs_of_the_pool_run(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "hooks.py").write_text(
        "async def begin(): raise LookupError\nclass End: pass\n"
    )
    pool = f'{POOL}preload = "hooks"\nchild_init = "hooks:begin"\nchild_exit = "hooks:End"\n'
    other = '[pools.more]\nqueues = ["*"]\nchild_init = "gone:gone"\n'
    jobs = '[jobs.a]\npython = "hooks:begin"\ncwd = "there"\n[jobs.b]\ncommand = "true"\n'
    assert told(pool + jobs) == []
    assert told(pool + jobs + '[jobs.c]\npython = "media:anything"\nqueue = "other"\n') == []
    [found] = told(pool + jobs + other)
    assert "pools.more.child_init: importing gone failed" in found


def test_exit_hook_may_need_what_the_first_one_does(told: Callable[[str], list[str]]) -> None:
    hooks = 'child_init = "media:anything"\nchild_exit = "gone:end"\n'
    [found] = told(f'{POOL}{hooks}[jobs.a]\npython = "media:plain"\n')
    assert found.startswith("7: note: pools.default.child_exit: importing gone failed: ")


def test_hooks_of_declared_jobs_are_looked_up(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "declares.py").write_text("from jobctl import job\n@job\ndef run(): pass\n")
    [found] = told(f'{POOL}child_init = "gone:begin"\n[python]\ndiscover = "declares"\n')
    assert found.startswith("6: pools.default.child_init: importing gone failed: ")
    assert "looked for as job run does" in found


def test_hook_beside_the_file_is_found_with_the_missing_cwd_named(
    told: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    pool = POOL.replace('cwd = "."\n', "") + 'child_init = "media:anything"\n'
    job, hook = told(f'{pool}[jobs.a]\npython = "media:plain"\n')
    assert "note: jobs.a.python" in job
    assert 'write cwd = "."' in hook


LOST = {
    "ends": "import os, sys\nprint('no licence', file=sys.stderr, flush=True)\nos._exit(3)\n",
    "crashes": "import ctypes\nctypes.string_at(0)\n",
    "killed": "import os\nos.kill(os.getpid(), 9)\n",
    "replaced": "import os\nos.execv('/bin/false', ['false'])\n",
    "inner": "import time\n\ntime.sleep(300)\n",
    "waits": "import inner\n",
    "as_well": "try:\n    import inner\nexcept KeyError: pass\n",
    "busy": "def spin():\n    while True: pass\nspin()\n",
}


def test_modules_that_end_or_hold_up_the_process_are_named_and_the_others_judged(
    told: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "PATIENCE", 3.0)
    for name, code in LOST.items():
        (tmp_path / f"{name}.py").write_text(code)
    modules = ["ends", "media", "crashes", "killed", "replaced", "waits", "as_well", "busy", "ends"]
    jobs = [f"{module}:run" for module in modules] + ["media:plain"]
    found = told("".join(f'[jobs.j{n}]\npython = "{job}"\n' for n, job in enumerate(jobs)))
    said = [one.partition(": ")[2].replace(f"{tmp_path}/", "").partition(";")[0] for one in found]
    ends = "importing ends ended the process with code 3 (ends.py:3), and it said: no licence"
    waits = "importing waits did not end within 3 s (inner.py:3)"
    assert said == [
        f"jobs.j0.python: {ends}",
        "jobs.j1.python: there is no function run in media",
        "jobs.j2.python: importing crashes ended the process by SIGSEGV (crashes.py:2)",
        "jobs.j3.python: importing killed ended the process by SIGKILL",
        "jobs.j4.python: importing replaced ended the process with code 1",
        f"jobs.j5.python: {waits}",
        f"jobs.j6.python: importing as_well failed: {waits} (as_well.py:2)",
        "jobs.j7.python: importing busy did not end within 3 s (busy.py:3)",
        f"jobs.j8.python: {ends}",
    ]
    assert found[0].endswith("; let it only define what it holds when it is imported")


def test_what_there_is_no_time_for_is_told_of(
    told: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "LONGEST", 3.0)
    (tmp_path / "waits.py").write_text("while True: pass\n")
    jobs = ["media:gone", "waits:run", "media:gone"]
    gone, late = told("".join(f'[jobs.j{n}]\npython = "{job}"\n' for n, job in enumerate(jobs)))
    assert "there is no function gone in media" in gone
    assert "jobs.j1.python: importing modules took more than 3 s, at the end waits (" in late
    assert "waits.py:1); the functions of 2 jobs were not looked at; " in late


def test_after_many_modules_that_end_the_process_the_rest_is_left(
    told: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interview, "MOST_LOST", 2)
    for number in range(4):
        (tmp_path / f"ends{number}.py").write_text("import os\nos._exit(1)\n")
    jobs = "".join(f'[jobs.j{n}]\npython = "ends{n}:run"\n' for n in range(4))
    first, second, rest = told(jobs)
    assert "importing ends0 ended the process" in first
    assert "importing ends1 ended the process" in second
    assert "jobs.j2.python: 3 modules end the process that imports them, or hold it up" in rest
    assert "the last one is ends2 (" in rest
    assert "the functions of 2 jobs were not looked at" in rest


def is_dead(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_ZOMBIE


def test_what_modules_start_neither_holds_up_the_check_nor_outlives_it(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    (tmp_path / "starts.py").write_text(
        "import subprocess\n"
        "started = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(pid)!r}, 'w').write(str(started.pid))\n"
        "def run(): pass\n"
    )
    (tmp_path / "copies.py").write_text("import os\nos.fork()\ndef run(): pass\n")
    (tmp_path / "ends.py").write_text("import os, starts\nos._exit(0)\n")
    jobs = ["starts:run", "copies:run", "ends:run", "media:gone"]
    ends, gone = told("".join(f'[jobs.j{n}]\npython = "{job}"\n' for n, job in enumerate(jobs)))
    assert "importing ends ended the process with code 0" in ends
    assert "there is no function gone in media" in gone
    started = int(pid.read_text())
    wait_until(lambda: not psutil.pid_exists(started) or is_dead(psutil.Process(started)))


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
    beside, elsewhere = target_problems(check_config(str(main)))
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


def test_lookup_that_raises_is_told_as_that(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "gattr.py").write_text("def __getattr__(name): raise RuntimeError('not now')\n")
    (said,) = told('[jobs.a]\npython = "gattr:run"\n')
    assert "looking up run in gattr raised RuntimeError: not now" in said


def test_names_of_exceptions_that_are_there_are_fine(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "errors.py").write_text(
        "class OutOfStock(Exception):\n    class Soon(Exception): pass\n"
    )
    (tmp_path / "sells.py").write_text("from shop.errors import OutOfStock\ndef run(): pass\n")
    assert (
        told("""\
        [jobs.a]
        python = "sells:run"
        retries = 1
        retry_on = [3, "exit", "OSError", "builtins.ValueError", "json.JSONDecodeError", "OutOfStock"]
        no_retry_on = ["sells.OutOfStock", "shop.errors.OutOfStock.Soon", "SoftTimeout", "jobctl.Fatal"]
        expected = ["Soon", "concurrent.futures.process.BrokenProcessPool"]
        [jobs.b]
        command = "true"
        retries = 1
        retry_on = ["Unknown"]
        """)
        == []
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("media.OutOfStock", "there is no OutOfStock in media; correct it: "),
        ("media.Shop", "media.Shop is no exception; correct it: "),
        ("shpo.errors.OutOfStock", "importing shpo failed: ModuleNotFoundError: No module named"),
        ("json.gone.OutOfStock", "importing json.gone failed: ModuleNotFoundError"),
        (
            "OutOfStock",
            "no exception has that name when media is imported; correct it, or write it with its",
        ),
    ],
)
@pytest.mark.parametrize("key", ["retry_on", "no_retry_on", "expected"])
def test_name_of_an_exception_that_nobody_has_is_a_warning(
    told: Callable[[str], list[str]], key: str, name: str, said: str
) -> None:
    [found] = told(f"""\
        [jobs.a]
        python = "media:plain"
        retries = 1
        {key} = ["{name}"]
        """)
    assert found.startswith(f"3: jobs.a.{key}: '{name}': {said}")


def test_name_of_an_exception_is_told_once_and_not_where_its_module_cannot_be_judged(
    told: Callable[[str], list[str]],
) -> None:
    jobs = "".join(f'[jobs.j{n}]\npython = "media:plain"\nexpected = ["Gone"]\n' for n in range(3))
    [found] = told(jobs)
    assert "2 more jobs name it likewise" in found
    # That the module cannot be imported is enough.
    [found] = told('[jobs.a]\npython = "nothing:run"\nexpected = ["Gone"]\n')
    assert "jobs.a.python" in found
    hooks = f'{POOL}child_init = "media:anything"\n'
    [found] = told(f'{hooks}[jobs.a]\npython = "media:plain"\nexpected = ["gone.Gone"]\n')
    assert found.startswith("7: note: jobs.a.expected: 'gone.Gone': importing gone failed")


def test_hooks_of_a_pool_without_python_jobs_are_looked_up_as_defaults_say(
    told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    command = '[jobs.a]\ncommand = "true"\n[jobs.off]\npython = "media:plain"\nenabled = false\n'
    pool = f'{POOL}child_init = "media:anything"\npreload = "gone"\n'
    [found] = told(pool + command)
    assert found.startswith("7: pools.default.preload: importing gone failed: ")
    assert "looked for as [defaults] says" in found
    # Other Python jobs may be submitted to its queue.
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "hooks.py").write_text("def begin(): pass\n")
    pool = f'{POOL}child_init = "hooks:begin"\n'
    other = '[jobs.b]\npython = "hooks:begin"\ncwd = "there"\nqueue = "other"\n'
    assert told(pool + command + other) == []
    [found] = told(pool + command)
    assert "pools.default.child_init: importing hooks failed" in found
    schedules = '[defaults]\nschedule = "@daily"\nparams.n = { type = "int" }\n'
    assert told(schedules + '[jobs.a]\ncommand = "true"\nkwargs = { n = 1 }\n') == []
