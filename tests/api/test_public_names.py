"""What ``jobctl`` and ``jobctl.testing`` give by name."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
import subprocess
import sys

import pytest

import jobctl
from jobctl import errors


@pytest.mark.parametrize("name", ["jobctl", "jobctl.testing"])
def test_star_gives_every_public_name(name: str) -> None:
    module = importlib.import_module(name)
    given: dict[str, object] = {}
    exec(f"from {name} import *", given)  # a function may not import so
    given.pop("__builtins__")

    assert set(given) == set(module._PLACES) == set(module.__all__)
    assert all(given[one] is getattr(module, one) for one in given)


def test_tracebacks_name_errors_as_programs_catch_them() -> None:
    errors = {
        name: item
        for name in jobctl.__all__
        if isinstance(item := getattr(jobctl, name), type) and issubclass(item, jobctl.JobctlError)
    }

    assert len(errors) > 10
    for name, kind in errors.items():
        assert (kind.__module__, kind.__qualname__) == ("jobctl", name)
        assert pickle.loads(pickle.dumps(kind)) is kind


@pytest.mark.parametrize("name", ["jobctl", "jobctl.testing"])
def test_no_public_name_is_that_of_a_module(name: str) -> None:
    module = importlib.import_module(name)
    modules = {one.name for one in pkgutil.iter_modules(module.__path__)}

    assert modules.isdisjoint(module._PLACES)


def test_names_are_listed_without_importing_what_they_stand_for() -> None:
    program = (
        "import sys, jobctl, jobctl.testing\n"
        "jobctl.__all__, dir(jobctl), jobctl.testing.__all__\n"
        "print([one for one in sys.modules if one.startswith('jobctl')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "['jobctl', 'jobctl.testing']\n"


def test_errors_come_whole_out_of_another_process() -> None:
    failed = jobctl.JobFailed("it failed", job="a", ids=["x" * 16], reason="exit", code=3)
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    found = [failed]
    for kind in kinds:
        if issubclass(kind, errors.JobctlError):
            found.append(kind.__new__(kind, "said"))  # whatever else it asks for
            found[-1].ids, found[-1].items = ["x" * 16], (1,)
    assert len(found) > 10
    for error in found:
        for made in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(made) is type(error)
            assert (made.args, vars(made)) == (error.args, vars(error))
