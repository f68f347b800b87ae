"""Exceptions are known by the names under which users import them, in retry_on and in expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from python_children import VERSIONS, Bench, find_python, staged

from jobctl.engine.ending import judge_reply
from jobctl.engine.python_call import named_exceptions
from jobctl.model.job import JobDef, RetryPolicy
from jobctl.model.retry import matches
from jobctl.model.run import Outcome

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    version = getattr(request, "param", None)
    interpreter = find_python(version) if version else None
    if version and interpreter is None:
        pytest.skip(f"no Python {version} on PATH or in pyenv")
    bench = Bench(tmp_path, interpreter) if interpreter else Bench(tmp_path)
    bench.write("from shop.errors import Gone, ConnectionError\nhttp = None\n", "shop/__init__.py")
    bench.write(
        "class Gone(Exception): pass\n"
        "class ConnectionError(OSError): pass\n"
        "class Api:\n"
        "    class Refused(Gone): pass\n",
        "shop/errors.py",
    )
    bench.write(
        "def __getattr__(name): open('asked', 'w'); import shop.heavy\n",
        "shop/lazy.py",
    )
    bench.write("raise RuntimeError('nobody imports it')\n", "shop/heavy.py")
    bench.write(
        "import json, socket, jobctl, shop, shop.errors, shop.lazy\n"
        "from shop import Gone as Away\n"
        "class Odd(type):\n"
        "    def __instancecheck__(cls, error): return True\n"
        "    __subclasscheck__ = __eq__ = __instancecheck__\n"
        "    __hash__ = type.__hash__\n"
        "class Anything(Exception, metaclass=Odd): pass\n"
        "def go(what): raise eval(what)\n"
    )
    return bench


async def known(bench: Bench, raised: str, *names: str) -> tuple[str, ...]:
    """Return those of ``names`` that mean what ``raised`` makes, if a policy names all of them."""
    job = JobDef(name="j", python="jobs:go", retry=RetryPolicy(retry_on=names))
    limits = {"named": named_exceptions(job)}
    reply = await bench.call("go", raised, limits=limits if limits["named"] else {})
    ending = judge_reply(job, reply, stopped=None)
    outcome = Outcome(
        kind=ending.finding.kind, reason=ending.finding.reason, exception=ending.exception
    )
    return tuple(name for name in names if matches((name,), outcome))


@pytest.mark.parametrize("bench", VERSIONS, indirect=True)
@staged
async def test_exceptions_of_jobctl_are_known_as_they_are_imported(bench: Bench) -> None:
    for name in ("SoftTimeout", "Fatal", "NotRunning", "AskError"):
        names = (f"jobctl.{name}", name, f"jobctl.context.{name}", "Exception")
        assert await known(bench, f"jobctl.{name}('why')", *names) == names
        assert await known(bench, "KeyError('why')", *names) == ("Exception",)


@pytest.mark.parametrize("bench", VERSIONS, indirect=True)
@staged
async def test_builtin_exceptions_are_known_with_and_without_their_module(bench: Bench) -> None:
    names = ("ConnectionResetError", "builtins.ConnectionResetError", "builtins.OSError", "IOError")
    assert await known(bench, "ConnectionResetError()", *names) == names
    assert await known(bench, "socket.timeout()", "socket.timeout", "socket.error", "KeyError") == (
        "socket.timeout",
        "socket.error",
    )


@pytest.mark.parametrize("bench", VERSIONS, indirect=True)
@staged
async def test_class_is_known_by_every_name_under_which_it_can_be_imported(bench: Bench) -> None:
    names = ("shop.Gone", "shop.errors.Gone", "jobs.Away", "Gone")
    assert await known(bench, "shop.Gone()", *names) == names
    assert await known(bench, "shop.errors.Api.Refused()", *names) == names
    names = ("shop.errors.Api.Refused", "Refused", "jobs.shop.errors.Api.Refused")
    assert await known(bench, "shop.errors.Api.Refused()", *names) == names
    assert await known(bench, "shop.Gone()", *names) == ()
    text = "json.JSONDecodeError('x', 'y', 0)"
    assert await known(bench, text, "json.JSONDecodeError") == ("json.JSONDecodeError",)


@staged
async def test_errors_of_the_python_api_are_known_by_their_public_names(bench: Bench) -> None:
    bench.write("import jobctl, jobctl.errors\ndef go(what): raise eval(what)\n")
    names = ("jobctl.StoreUnreachable", "jobctl.JobctlError", "jobctl.errors.JobctlError")
    assert await known(bench, "jobctl.errors.UnreachableError('x')", *names) == names
    assert await known(bench, "KeyError('x')", *names, "jobctl.Nothing", "jobctl.Client") == ()


@staged
async def test_class_of_the_same_name_elsewhere_is_another_one(bench: Bench) -> None:
    names = ("shop.ConnectionError", "builtins.ConnectionError", "builtins.OSError")
    assert await known(bench, "shop.ConnectionError()", *names) == (names[0], names[2])
    assert await known(bench, "ConnectionError()", *names) == names[1:]


@staged
async def test_names_that_mean_nothing_here_import_nothing_and_match_nothing(bench: Bench) -> None:
    names = ("shop.lazy.Gone", "shop.heavy.Gone", "shop.http.Gone", "shop.Gone.x", "nowhere.Error")
    assert await known(bench, "KeyError()", *names) == ()
    assert not (bench.cwd / "asked").exists()
    assert await known(bench, "KeyError()", "jobs.Anything") == ()


@staged
async def test_reasons_and_exit_codes_are_no_names_that_a_child_hears_of(bench: Bench) -> None:
    policy = RetryPolicy(retry_on=(3, "timeout", "KeyError"), no_retry_on=("exception", "a.B"))
    job = JobDef(name="j", python="jobs:go", retry=policy)
    assert named_exceptions(job) == ("KeyError", "a.B")
    assert named_exceptions(JobDef(name="j", python="jobs:go")) == ()


@pytest.mark.parametrize("bench", VERSIONS, indirect=True)
@staged
async def test_expected_takes_the_same_names(bench: Bench) -> None:
    for name in ("shop.Gone", "builtins.Exception", "Gone"):
        reply = await bench.call("go", "shop.Gone('sold')", limits={"expected": [name]})
        assert (reply.error, reply.traceback) == ("shop.errors.Gone: sold", None)
    reply = await bench.call("go", "jobctl.Fatal('x')", limits={"expected": ["jobctl.Fatal"]})
    assert (reply.error, reply.traceback, reply.fatal) == ("jobctl.Fatal: x", None, True)
    reply = await bench.call("go", "KeyError('sold')", limits={"expected": ["shop.Gone"]})
    assert reply.traceback is not None
