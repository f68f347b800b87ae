"""Jobs that Python modules declare: found, laid below jobs.toml, and told of when they are wrong."""

from __future__ import annotations

import os
import pwd
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.config import cache, discovery
from jobctl.config.load import read_plain
from jobctl.config.validate import check_config
from jobctl.errors import InvalidArguments
from jobctl.model.params import bind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobctl.config.validate import Checked

MEDIA = """
from __future__ import annotations
import enum
from datetime import datetime, timedelta
from typing import Literal, Optional
from jobctl import job

class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"

@job("thumb", retries=3, timeout=timedelta(minutes=2), tags={"team": "media"})
def thumbnail(
    path: str, width: int = 320, ratio: float = 1.5, mode: Literal["fit", "fill"] = "fit",
    size: Size = Size.SMALL, names: list[str] = (), more: dict = None, when: datetime | None = None,
    flag: Optional[bool] = True, anything=object(),
):
    '''Make a thumbnail.

    At length.'''

@job
def gather(*args, **kwargs):
    return args, kwargs
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes jobs.toml and modules; returns the path of the former."""
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    def make(toml: str, **modules: str) -> Path:
        package = tmp_path / "shop"
        package.mkdir(exist_ok=True)
        for name, text in {"__init__": "", **modules}.items():
            path = package / f"{name}.py"
            path.write_text(text)
            os.utime(path, (1, 1))
        main = tmp_path / "jobs.toml"
        main.write_text(toml)
        return main

    return make


def problems(checked: Checked) -> list[str]:
    return [f"{os.path.basename(one.file)}:{one.line}: {one.text}" for one in checked.problems]  # noqa: PTH119


def test_declared_jobs_are_jobs_of_the_file(shop: Callable[..., Path]) -> None:
    main = shop('[python]\ndiscover = ["shop.media"]\n', media=MEDIA)
    config = check_config(str(main)).require()
    thumb = config.jobs["thumb"]
    assert (thumb.python, thumb.timeout, thumb.retry.retries) == ("shop.media:thumbnail", 120.0, 3)
    assert (thumb.description, thumb.tags) == ("Make a thumbnail.", {"team": "media"})
    assert (thumb.cwd, thumb.source) == (str(main.parent), f"{main.parent}/shop/media.py:12")
    assert config.jobs["gather"].params == ()


def test_signatures_become_parameters(shop: Callable[..., Path]) -> None:
    main = shop('[python]\ndiscover = ["shop.media"]\n', media=MEDIA)
    found = {spec.name: spec for spec in check_config(str(main)).require().jobs["thumb"].params}
    told: dict[str, tuple[Any, ...]] = {
        name: (spec.type, spec.required, spec.default, spec.choices, spec.nullable)
        for name, spec in found.items()
    }
    assert told == {
        "path": ("str", True, None, (), False),
        "width": ("int", False, 320, (), False),
        "ratio": ("float", False, 1.5, (), False),
        "mode": ("str", False, "fit", ("fit", "fill"), False),
        # Defaults that JSON would change are left to the function.
        "size": ("str", False, None, ("s", "l"), False),
        "names": ("list", False, None, (), False),
        "more": ("dict", False, None, (), True),
        "when": ("str", False, None, (), True),
        "flag": ("bool", False, True, (), True),
        "anything": ("json", False, None, (), False),
    }


ODD = """
import enum, typing
from datetime import timedelta
from jobctl import job

class Bits(enum.IntFlag):
    ONE, TWO = 1, 2

class Wide(enum.Enum):
    BIG = 2**70

Number = typing.NewType("Number", int)

@job
def literal(one: typing.Literal[b"x"], two: typing.Literal["a"] = "b", three: Wide = Wide.BIG): pass
@job
def numbers(one: int = 10**5000, two: int = False, three: int = 1.5, four: float = 2, five: bool = 1): pass
@job
def texts(one: str = "a\\0", two: str = 5, three: str = "\\ud800", four: str = "\\u00a0\\n"): pass
@job
def classes(one: Bits, two: Number, three: Bits = Bits.ONE | Bits.TWO): pass
@job(keep_days=timedelta(hours=12), retry_delay=timedelta(milliseconds=1), kwargs={"wait": timedelta(minutes=1)})
def times(wait: float): pass
"""


def test_no_signature_ends_the_discovery_or_says_more_than_it_does(
    shop: Callable[..., Path],
) -> None:
    jobs = check_config(str(shop('[python]\ndiscover = "shop.*"\n', odd=ODD))).require().jobs
    told = {
        name: [(spec.type, spec.required, spec.default, spec.choices) for spec in job.params]
        for name, job in jobs.items()
    }
    anything, own = ("json", True, None, ()), (False, None, ())
    assert told["literal"] == [anything, ("str", False, None, ("a",)), ("json", *own)]
    assert told["numbers"] == [
        ("int", *own), ("int", *own), ("int", *own), ("float", False, 2, ()), ("bool", *own),
    ]  # fmt: skip
    assert told["texts"] == [("str", *own)] * 3 + [("str", False, "\u00a0\n", ())]
    assert told["classes"] == [("int", True, None, ()), ("int", True, None, ()), ("int", *own)]
    assert (jobs["times"].keep_days, jobs["times"].retry.delay) == (0.5, 0.001)
    assert jobs["times"].kwargs == {"wait": 60.0}


def test_parameters_that_a_function_does_not_have_are_told(shop: Callable[..., Path]) -> None:
    main = shop(
        '[python]\ndiscover = "shop.*"\n[jobs.two.params]\ny = { max = 3 }\n',
        odd="from jobctl import job\n@job(params={'z': {'type': 'int'}})\ndef one(x: int = 1): pass\n"
        "@job\ndef two(): pass\n@job(params={'z': {'type': 'int'}})\ndef three(**more): pass\n",
    )
    told = "the function has no parameter {}; remove it, or give the function such a parameter"
    assert sorted(problems(check_config(str(main)))) == [
        "jobs.toml:4: jobs.two.params.y: " + told.format("y; it has none"),
        "odd.py:2: jobs.one.params.z: " + told.format("z; it takes x"),
    ]


def test_parameters_before_a_slash_are_checked_and_passed_in_order(
    shop: Callable[..., Path],
) -> None:
    source = "from jobctl import job\n@job\ndef crop(path: str, width: int = 3, /, *, mode='fit'): pass\n"
    main = shop('[python]\ndiscover = "shop.*"\n', crops=source)
    crop = check_config(str(main)).require().jobs["crop"]
    assert [spec.positional for spec in crop.params] == [True, True, False]
    assert bind(crop, ("x",), {"mode": "fill"}, text=False) == (("x", 3), {"mode": "fill"})
    with pytest.raises(InvalidArguments, match="width: 'wide' is not a whole number"):
        bind(crop, ("x", "wide"), {}, text=False)


def test_declared_function_is_the_one_that_runs(shop: Callable[..., Path]) -> None:
    source = (
        "from jobctl import job\n"
        '@job(python="shop.takes:other")\ndef one(): pass\n'
        '@job(command="true")\ndef two(): pass\n'
    )
    main = shop('[python]\ndiscover = "shop.*"\n', takes=source)
    first, second = problems(check_config(str(main)))
    assert first == (
        "takes.py:2: jobs.one: @job declares the function below it, and python names another;"
        " leave python out, or write it in jobs.toml"
    )
    assert "takes.py:4: jobs.two" in second
    # jobs.toml may give the job another function.
    main.write_text(main.read_text() + '[jobs.two]\npython = "shop.takes:one"\n')
    (main.parent / "shop" / "takes.py").write_text(
        "from jobctl import job\n@job\ndef two(): pass\n"
    )
    assert check_config(str(main)).require().jobs["two"].python == "shop.takes:one"


TAKES = """
from jobctl import job
@job
def nothing(): pass
@job
def some(a: int, *, dry: bool = False): pass
@job
def anything(*args, **more): pass
@job(params={})
def whatever(*args): pass
"""


def test_functions_take_what_their_signature_says(shop: Callable[..., Path]) -> None:
    main = shop(
        '[python]\ndiscover = "shop.*"\n[jobs.also]\npython = "shop.takes:anything"\nparams = {}\n',
        takes=TAKES,
    )
    jobs = check_config(str(main)).require().jobs
    for name in ("anything", "whatever", "also"):
        assert bind(jobs[name], (1,), {}, text=False) == ((1,), {})
    for name, args, kwargs, words in (
        ("nothing", (1,), {}, "it takes none"),
        ("nothing", (), {"days": 7}, "it takes none"),
        ("some", (1, True), {}, "it takes a in order, and dry by name"),
        ("some", (1,), {"a": 1}, "give it once"),
    ):
        with pytest.raises(InvalidArguments, match=words):
            bind(jobs[name], args, kwargs, text=False)


def test_schedule_of_a_function_without_parameters_passes_none(shop: Callable[..., Path]) -> None:
    source = (
        "from jobctl import job\n"
        '@job(schedule="@every 2s", kwargs={"x": 1})\ndef sched(): pass\n'
        '@job(schedule="@every 2s")\ndef fine(): pass\n'
    )
    checked = check_config(str(shop('[python]\ndiscover = "shop.*"\n', takes=source)))
    (said,) = problems(checked)
    assert "takes.py:2: jobs.sched.kwargs: scheduled runs would be refused: x: unknown" in said
    # A file that gives the job another function or a command is not held to this one.
    main = shop('[python]\ndiscover = "shop.*"\n[jobs.sched]\ncommand = "true"\n', takes=source)
    assert check_config(str(main)).require().jobs["sched"].command == "true"


def test_the_file_wins_key_by_key_and_defaults_lie_below(shop: Callable[..., Path]) -> None:
    main = shop(
        '[python]\ndiscover = "shop.*"\n[defaults]\nretries = 7\nnice = 3\ntags.team = "all"\n'
        '[jobs.thumb]\ntimeout = "5m"\ntags.page = "x"\nparams.width = { min = 16 }\n'
        '[jobs.gather]\ncommand = "true"\n',
        media=MEDIA,
    )
    jobs = check_config(str(main)).require().jobs
    thumb = jobs["thumb"]
    assert (thumb.timeout, thumb.retry.retries, thumb.nice) == (300.0, 3, 3)
    assert thumb.tags == {"team": "media", "page": "x"}
    width = next(spec for spec in thumb.params if spec.name == "width")
    assert (width.type, width.default, width.min) == ("int", 320, 16)
    assert len(thumb.params) == 10
    assert (jobs["gather"].command, jobs["gather"].python) == ("true", None)


def test_every_problem_names_module_line_and_remedy(shop: Callable[..., Path]) -> None:
    main = shop(
        '[python]\ndiscover = ["shop.*", "shap.jobs"]\n[jobs.later]\nretries = 2\n',
        broken="def f(:\n",
        lacks="\n\nimport nonsense_of_nobody\n",
        raises="def g():\n    raise LookupError('no database')\n\ng()\n",
        wrong="from jobctl import job\n\n@job(retrise=3)\ndef one(): pass\n\n"
        "@job(timeout='soon')\ndef two(): pass\n\n@job(nice=object())\ndef three(): pass\n\n"
        "def make():\n    @job\n    def four(): pass\nmake()\n",
        xagain="from jobctl import job\n\n@job('one')\ndef other(): pass\n",
    )
    checked = check_config(str(main))
    told = "\n".join(problems(checked))
    assert checked.config is None
    for line in (
        "broken.py:1: importing shop.broken failed: SyntaxError: invalid syntax",
        "lacks.py:3: importing shop.lacks failed: ModuleNotFoundError: No module named 'nonsense_of_nobody'",
        "; install it in the environment of",
        "raises.py:2: importing shop.raises failed: LookupError: no database",
        "wrong.py:3: jobs.one.retrise: ",
        "wrong.py:6: jobs.two.timeout: ",
        "wrong.py:9: nice: a object cannot be",
        "wrong.py:13: make.<locals>.four cannot be found in its module",
        "xagain.py:3: jobs.one: one is already declared in",
        "jobs.toml:2: python.discover: importing shap.jobs failed: ModuleNotFoundError: No module named 'shap'",
        "; correct the name",
    ):
        assert line in told
    # What a module that cannot be imported would have declared is not held against the file.
    assert "nothing to run" not in told


METHODS = """
from jobctl import job

class Shop:
    @job
    def sell(self, item: str):
        pass

    @staticmethod
    @job
    def count(item: str): pass

    @classmethod
    @job
    def close(cls, hour: int = 20): pass

unnamed = job("unnamed")(lambda: 1)
"""


def test_what_no_worker_could_call_is_one_problem(shop: Callable[..., Path]) -> None:
    main = shop('[python]\ndiscover = "shop.*"\n[jobs.sell]\nretries = 1\n', methods=METHODS)
    found = problems(check_config(str(main)))
    assert len(found) == 2
    assert found[0].startswith(
        "methods.py:5: Shop.sell is a method, and a run has no object to call it on; declare a function"
    )
    assert found[1].startswith("methods.py:17: <lambda> cannot be found in its module by that name")


SLIPS = """
import functools
from jobctl import job

@job
def gone(): pass
gone = 5

@job("first")
def twin(): pass

@job("second")
def twin(): pass

@job
def lazily():
    yield 1

@job
async def later():
    yield 1

def around(inner):
    @functools.wraps(inner)
    def outer(): return list(inner())
    return outer

@around
@job
def listed():
    yield 1

@job("outside")
@around
@job("inside")
def both():
    yield 1
"""


def test_name_that_stands_for_something_else_and_generators_are_told(
    shop: Callable[..., Path],
) -> None:
    main = shop('[python]\ndiscover = "shop.*"\n', slips=SLIPS)
    told = problems(check_config(str(main)))
    assert [one.split("; ")[0] for one in told] == [
        "slips.py:5: its module gives the name gone to a value of type int later on",
        "slips.py:9: its module gives the name twin to the function of the job second later on",
        "slips.py:15: lazily is a generator: calling it runs nothing, and what it returns is no result",
        "slips.py:19: later is a generator: calling it runs nothing, and what it returns is no result",
    ]


@pytest.mark.parametrize(
    ("code", "line", "says"),
    [
        ("raise KeyboardInterrupt\n", 1, "importing shop.bad failed: KeyboardInterrupt"),
        ("\nclass Own(BaseException): pass\nraise Own('so')\n", 3, "failed: Own: so"),
        (
            "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute\n",
            3, "failed: Mute: its message raised ValueError",
        ),
        (
            "import functools, jobctl\njobctl.job('p')(functools.partial(print))\n",
            2, "TypeError: @job: functools.partial(<built-in function print>) has no name of its own",
        ),
        (
            "import jobctl\n@jobctl.job('p')\n@jobctl.job('q')\ndef both(): pass\n",
            2, "TypeError: @job: both is the job q already; declare a function that calls it as p",
        ),
    ],
)  # fmt: skip
def test_whatever_a_module_raises_is_one_line_with_its_place(
    shop: Callable[..., Path], code: str, line: int, says: str
) -> None:
    for names in ("shop.bad", "shop.*"):
        main = shop(f'[python]\ndiscover = "{names}"\n', bad=code)
        (told,) = problems(check_config(str(main)))
        assert told.startswith(f"bad.py:{line}: ")
        assert says in told
        assert "\n" not in told


def test_package_below_that_ends_the_import_is_told_once(
    shop: Callable[..., Path], tmp_path: Path
) -> None:
    main = shop('[python]\ndiscover = "shop.*"\n', good=METHODS.partition("class")[0])
    for name, code in (("sub", "raise SystemExit(2)\n"), ("fine", "from jobctl import job\n")):
        (tmp_path / "shop" / name).mkdir()
        (tmp_path / "shop" / name / "__init__.py").write_text(code)
    (tmp_path / "shop" / "fine" / "jobs.py").write_text(
        "import jobctl\n@jobctl.job\ndef f(): pass\n"
    )
    (told,) = problems(check_config(str(main)))
    assert told.startswith("__init__.py:1: importing shop.sub failed: SystemExit: 2")
    (tmp_path / "shop" / "sub" / "__init__.py").write_text("")
    assert list(check_config(str(main)).require().jobs) == ["f"]


def test_static_and_class_methods_are_jobs(shop: Callable[..., Path]) -> None:
    good = METHODS.replace("    @job\n    def sell", "    def sell").partition("unnamed =")[0]
    main = shop('[python]\ndiscover = "shop.*"\n', methods=good)
    jobs = check_config(str(main)).require().jobs
    assert {name: [spec.name for spec in job.params] for name, job in jobs.items()} == {
        "count": ["item"],
        "close": ["hour"],
    }
    assert jobs["close"].python == "shop.methods:Shop.close"


def test_unusable_interpreters_and_modules_that_end_the_process_are_told(
    shop: Callable[..., Path],
) -> None:
    main = shop('[python]\ndiscover = "shop.ends"\ninterpreter = "./none"\n', ends="")
    assert (
        "/none cannot be used to import modules: No such file"
        in problems(check_config(str(main)))[0]
    )
    main = shop('[python]\ndiscover = "shop.ends"\n', ends="import os; print('bye'); os._exit(3)\n")
    assert (
        "importing shop.ends ended the process with code 3" in problems(check_config(str(main)))[0]
    )
    main = shop('[python]\ndiscover = "shop.media.*"\n', media="")
    assert "shop.media is no package" in problems(check_config(str(main)))[0]
    main = shop('[python]\ndiscover = "shop-media"\n')
    assert "does not name a module" in problems(check_config(str(main)))[0]


def test_each_module_that_ends_or_holds_up_the_process_is_named_with_the_rest(
    shop: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PATIENCE", 3.0)
    main = shop(
        '[python]\ndiscover = "shop.*"\n',
        a_ends="import os\nos._exit(3)\n",
        b_waits="import threading\nthreading.Event().wait()\n",
        c_needs="import shop.b_waits\n",
        d_fails="\n1 / 0\n",
        e_fine=MEDIA,
    )
    ends, waits, needs, fails = sorted(problems(check_config(str(main))))
    assert ends.startswith("a_ends.py:2: importing shop.a_ends ended the process with code 3 (")
    assert ends.endswith(
        "let it only define what it holds when it is imported, or take 'shop.a_ends' out of discover"
    )
    assert waits.startswith("b_waits.py:2: importing shop.b_waits did not end within 3 s (")
    assert needs.startswith("c_needs.py:1: importing shop.c_needs failed: importing shop.b_waits")
    assert fails.startswith("d_fails.py:2: importing shop.d_fails failed: ZeroDivisionError")


def test_modules_together_have_a_limit_of_time_too(
    shop: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "SECONDS", 3.0)
    main = shop('[python]\ndiscover = ["shop.good", "shop.waits"]\n', good="", waits="while 1: 1\n")
    [told] = problems(check_config(str(main)))
    assert "importing modules took more than 3 s, at the end shop.waits (" in told
    assert "shop/waits.py:1)" in told


def test_modules_see_the_environment_of_python_jobs(
    shop: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OF_THIS_PROCESS", "1")
    (tmp_path / "env").write_text("FROM_FILE=a\nBOTH=file\n")
    (tmp_path / "there").mkdir()
    main = shop(
        '[python]\ndiscover = "shop.env"\n'
        '[defaults]\nenv_file = "env"\nenv = { BOTH = "key", PYTHONPATH = ".." }\ncwd = "there"\n',
        env="import os\nfrom jobctl import job\nnames = ('FROM_FILE', 'BOTH', 'OF_THIS_PROCESS')\n"
        "@job(tags={name: os.environ.get(name, '-') for name in names} | {'cwd': os.getcwd()})\n"
        "def told(): pass\n",
    )
    told = check_config(str(main)).require().jobs["told"]
    assert told.tags == {
        "FROM_FILE": "a", "BOTH": "key", "OF_THIS_PROCESS": "-", "cwd": str(tmp_path / "there"),
    }  # fmt: skip
    assert told.cwd == str(tmp_path / "there")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_imports_as_the_user_of_the_jobs(shop: Callable[..., Path], tmp_path: Path) -> None:
    # That user may not get at the Python of these tests: whoever is asked just says who it is.
    asked = tmp_path / "python"
    asked.write_text("#!/bin/sh\nid -u\n")
    main = shop(
        f'[python]\ndiscover = "shop.who"\ninterpreter = "{asked}"\n[defaults]\nuser = "nobody"\n'
    )
    for path in (asked, tmp_path, *tmp_path.parents[:-2]):
        path.chmod(0o755)
    uid = pwd.getpwnam("nobody").pw_uid
    assert f"ended with code 0 and said: {uid}" in problems(check_config(str(main)))[0]
    main.write_text(main.read_text().replace("nobody", "nobody-of-this-name"))
    assert any("no user 'nobody-of-this-name'" in one for one in problems(check_config(str(main))))


def test_unchanged_modules_are_not_imported_again(
    shop: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tmp_path / "count"
    text = f"with open({str(count)!r}, 'a') as out: out.write('x')\n"
    job = "from jobctl import job\n@job\ndef {name}(): pass\n"
    main = shop('[python]\ndiscover = "shop.*"\n', a=text + job.format(name="one"), b="BELOW = 1\n")
    os.utime(main, (1, 1))
    monkeypatch.setattr(cache, "_SETTLED_NS", -(10**18))
    # The first time Python writes what it compiled, which changes the directory.
    for _ in range(2):
        check_config(str(main))
    count.write_text("")
    for _ in range(3):
        assert list(read_plain(str(main))["jobs"]) == ["one"]
    assert count.read_text() == "x"
    (tmp_path / "shop" / "b.py").write_text(job.format(name="two"))
    assert set(read_plain(str(main))["jobs"]) == {"one", "two"}
    (tmp_path / "shop" / "c.py").write_text(job.format(name="three"))
    assert set(read_plain(str(main))["jobs"]) == {"one", "two", "three"}


def test_decorated_function_stays_the_function_it_is() -> None:
    from jobctl import job  # noqa: PLC0415 (declared for this process only)

    @job("its name", retries=2)
    def double(number: int) -> int:
        """Twice."""
        return 2 * number

    assert (double(4), double.__name__, double.__doc__) == (8, "double", "Twice.")
    assert (double.job_name, double.job_keys) == ("its name", {"retries": 2})
    with pytest.raises(TypeError, match="no name"):
        job(3)
    with pytest.raises(TypeError, match="no function"):
        job("x")(len)
    assert sys.modules["jobctl.api.declaring"].declared.pop() is double
