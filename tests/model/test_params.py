"""Arguments against declared parameters: converted, filled in, or refused all at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobctl
from jobctl.errors import InvalidArguments, UsageError
from jobctl.model.job import JobDef, ParamSpec
from jobctl.model.params import bind


def a_job(*params: ParamSpec, python: bool = True) -> JobDef:
    if python:
        return JobDef(name="job", python="a:b", params=params)
    return JobDef(name="job", command="true", params=params)


def spec(name: str = "p", **keys: Any) -> ParamSpec:
    return ParamSpec(name=name, required="default" not in keys, **keys)


THUMBNAIL = (spec("path"), spec("width", type="int", default=320, min=16))


def bound(value: object, *, text: bool, **keys: Any) -> object:
    return bind(a_job(spec(**keys)), (), {"p": value}, text=text)[1]["p"]


def refusal(job: JobDef, *args: object, text: bool = True, **kwargs: object) -> str:
    with pytest.raises(UsageError) as caught:
        bind(job, args, kwargs, text=text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("str", "12", "12"),
        ("str", "", ""),
        ("int", "-12", -12),
        ("int", "+007", 7),
        ("float", "1e3", 1000.0),
        ("float", "3", 3.0),
        ("bool", "Yes", True),
        ("bool", "0", False),
        ("json", '{"a": [1, null]}', {"a": [1, None]}),
        ("json", "3", 3),
    ],
)
def test_words_become_the_declared_type(kind: str, word: str, value: object) -> None:
    made = bound(word, text=True, type=kind)

    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("str", "x"), ("int", 3), ("float", 3.5), ("float", 3), ("bool", True), ("json", [None])],
)
def test_values_of_the_type_are_taken_as_they_are(kind: str, value: object) -> None:
    assert bound(value, text=False, type=kind) == value


@pytest.mark.parametrize(
    ("kind", "word", "words"),
    [
        ("int", "1.0", "'1.0' is not a whole number"),
        ("int", " 1", "is not a whole number"),
        ("int", "1_0", "is not a whole number"),
        ("int", "٣", "is not a whole number"),
        ("int", "9" * 5000, "is not a whole number"),
        ("float", "nan", "is not a finite number"),
        ("float", "-inf", "is not a finite number"),
        ("float", "x", "is not a number"),
        ("bool", "2", "is not true or false"),
        ("json", "{", "is not JSON"),
        ("json", "[" * 100_000, "is not JSON"),
        ("json", "NaN", "is not a finite number"),
    ],
)
def test_words_of_another_type_are_refused(kind: str, word: str, words: str) -> None:
    said = refusal(a_job(spec(type=kind)), p=word)

    assert said.startswith("job job: p: ")
    assert words in said
    assert len(said) < 200


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("str", 3), ("int", "3"), ("int", True), ("int", 3.0), ("float", True),
        ("float", 10**400), ("bool", 1), ("str", None),
    ],
)  # fmt: skip
def test_values_of_another_type_are_refused(kind: str, value: object) -> None:
    assert " is not " in refusal(a_job(spec(type=kind)), text=False, p=value)


@pytest.mark.parametrize(
    ("keys", "good", "bad", "words"),
    [
        ({"type": "int", "min": 2}, "2", "1", "1' is less than 2"),
        ({"type": "int", "max": 2}, "2", "3", "is more than 2"),
        ({"type": "float", "min": 0.5}, "0.5", "0.4", "is less than 0.5"),
        ({"min": 2}, "ab", "a", "is shorter than 2 characters"),
        ({"max": 2}, "ab", "abc", "is longer than 2 characters"),
        ({"choices": ("a", "b")}, "a", "c", "is none of a, b"),
        ({"type": "int", "choices": (1, 2)}, "1", "3", "is none of 1, 2"),
        ({"pattern": "[a-z]+"}, "abc", "abc\n", "does not match the pattern [a-z]+"),
    ],
)
def test_limits_are_kept(keys: dict[str, Any], good: str, bad: str, words: str) -> None:
    assert str(bound(good, text=True, **keys)) == good
    assert words in refusal(a_job(spec(**keys)), p=bad)


def test_a_choice_of_numbers_is_no_truth_value() -> None:
    assert "none of" in refusal(a_job(spec(type="json", choices=(1,))), text=False, p=True)


def test_positional_arguments_fill_parameters_in_order() -> None:
    job = a_job(*THUMBNAIL)

    assert bind(job, ("x", "20"), {}, text=True) == ((), {"path": "x", "width": 20})
    assert bind(job, ("x",), {}, text=True) == ((), {"path": "x", "width": 320})
    assert bind(job, (), {"width": "20", "path": "x"}, text=True)[1] == {"path": "x", "width": 20}


def test_parameters_that_a_function_takes_in_order_only_come_in_order() -> None:
    first = spec("a", type="int", positional=True)
    second = ParamSpec(name="b", type="json", required=False, positional=True)
    third = spec("c", default="x", positional=True)
    job = a_job(first, second, spec("d", type="int", default=4))

    for args, kwargs in (
        ((1, 2), {"d": 3}),
        ((1,), {"b": 2, "d": 3}),
        ((), {"a": 1, "b": 2, "d": 3}),
    ):
        assert bind(job, args, kwargs, text=False) == ((1, 2), {"d": 3})
    assert bind(job, ("7",), {}, text=True) == ((7,), {"d": 4})
    assert bind(job, (7,), {"d": 4}, text=False) == ((7,), {"d": 4})
    assert "a: is missing" in refusal(job)
    assert "a: 'x' is not a whole number" in refusal(job, "x")
    assert "4 arguments are too many" in refusal(job, "1", "2", "3", "4")
    job = a_job(first, second, third)
    assert bind(job, (1, 2), {}, text=False) == ((1, 2, "x"), {})
    assert bind(job, (1,), {}, text=False) == ((1,), {})  # the function fills in both
    assert "c: is given without b, which comes before it" in refusal(job, a="1", c="y")
    shell = a_job(first, spec("d", type="int", default=4), python=False)
    assert bind(shell, ("7",), {}, text=True) == (("7",), {"a": 7, "d": 4})


def test_parameters_that_a_function_takes_by_name_only_come_by_name() -> None:
    job = a_job(spec("a", type="int"), spec("dry", type="bool", default=False, keyword=True))
    assert bind(job, (1,), {"dry": True}, text=False) == ((), {"a": 1, "dry": True})
    assert "2 arguments are too many; it takes a in order, and dry by name" in refusal(
        job, "1", "yes"
    )
    assert "takes none in order, and dry by name" in refusal(
        a_job(spec("dry", default=0, keyword=True)), 1, text=False
    )


def test_what_a_function_says_of_itself_is_all_that_it_takes() -> None:
    nothing = JobDef(name="job", python="a:b", of_function=True)
    assert bind(nothing, (), {}, text=False) == ((), {})
    assert "1 argument is too many; it takes none" in refusal(nothing, 1, text=False)
    assert "days: unknown parameter; it takes none" in refusal(nothing, days="7")
    function = JobDef(name="job", python="a:b", of_function=True, params=(spec("a", type="int"),))
    assert "a: is given in order and by name" in refusal(function, 1, text=False, a=1)
    # Of one that only jobs.toml describes, the same value twice is no contradiction.
    assert bind(a_job(spec("a", type="int")), (1,), {"a": 1}, text=False) == ((), {"a": 1})


def test_a_shell_job_keeps_its_positional_arguments() -> None:
    job = a_job(*THUMBNAIL, python=False)

    assert bind(job, ("x", "20", "more"), {}, text=True) == (
        ("x", "20", "more"), {"path": "x", "width": 20},
    )  # fmt: skip


def test_every_problem_is_said_at_once() -> None:
    said = refusal(a_job(*THUMBNAIL, spec("mode")), widht="1", width="x")

    assert said.split("\n") == [
        "job job: 4 arguments do not fit:",
        "  widht: unknown parameter; did you mean width?",
        "  path: is missing; write path=…",
        "  width: 'x' is not a whole number",
        "  mode: is missing; write mode=…",
    ]


def test_too_many_or_doubled_arguments_are_refused() -> None:
    job = a_job(*THUMBNAIL)

    assert "3 arguments are too many; it takes path, width" in refusal(job, "a", "1", "b")
    assert "width: is given in order and by name" in refusal(job, "a", "17", width="18")
    assert "it takes path, width" in refusal(job, "a", zzz="1")


def test_a_parameter_may_be_left_out_without_a_default() -> None:
    job = a_job(ParamSpec(name="p", required=False))

    assert bind(job, (), {}, text=True) == ((), {})


def test_without_declared_parameters_everything_passes() -> None:
    args, kwargs = ("a", 1, None), {"k": [1], "with-dash": "x"}

    assert bind(a_job(), args, kwargs, text=False) == (args, kwargs)
    assert bind(a_job(python=False), args, kwargs, text=False) == (args, kwargs)


@pytest.mark.parametrize("name", ["a b", "1a", "a=b", "", "ä"])
def test_names_that_cannot_be_variables_are_refused_for_shell_jobs(name: str) -> None:
    assert "no name for a variable" in refusal(a_job(python=False), **{name: "x"})


def test_a_nul_character_reaches_no_process() -> None:
    nested = {"a": [{"b": "\0"}]}

    assert "NUL" in refusal(a_job(), "x\0")
    assert "argument 2" in refusal(a_job(), "x", "\0")
    assert "NUL" in refusal(a_job(), text=False, k=nested)
    assert "NUL" in refusal(a_job(spec()), p="\0")
    assert "NUL" in refusal(a_job(), **{"k\0": 1})


def test_a_secret_is_not_repeated() -> None:
    said = refusal(a_job(spec(type="int", secret=True)), p="hunter2")

    assert "hunter2" not in said
    assert "p: the value is not a whole number" in said


@given(
    words=st.lists(st.sampled_from(["1", "20", "x", "-3"]), max_size=3),
    named=st.dictionaries(st.sampled_from(["path", "width"]), st.sampled_from(["20", "x"])),
    python=st.booleans(),
)
def test_binding_twice_changes_nothing(
    words: list[str], named: dict[str, str], *, python: bool
) -> None:
    job = a_job(*THUMBNAIL, python=python)
    try:
        args, kwargs = bind(job, words, named, text=True)
    except UsageError:
        return

    assert bind(job, args, kwargs, text=False) == (args, kwargs)


def test_importing_it_costs_next_to_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules); import jobctl.errors, enum; before |= set(sys.modules);"
        "import jobctl.model.params; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(jobctl.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "['jobctl.model', 'jobctl.model.params']\n"


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [("list", "[1, 2]", [1, 2]), ("list", "[]", []), ("dict", '{"a": 1}', {"a": 1})],
)
def test_lists_and_tables_are_written_as_json(kind: str, word: str, value: object) -> None:
    assert bound(word, text=True, type=kind) == value
    assert bound(value, text=False, type=kind) == value


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("list", {"a": 1}, "is not a list"),
        ("dict", [1], "is not a table"),
        ("list", "abc", "is not a list"),
        ("list", None, "is not a list"),
    ],
)
def test_lists_and_tables_are_told_apart(kind: str, value: object, words: str) -> None:
    assert words in refusal(a_job(spec(type=kind)), text=False, p=value)


def test_null_is_taken_where_it_is_allowed() -> None:
    assert bound(None, text=False, type="int", nullable=True, min=3) is None
    assert "is less than 3" in refusal(
        a_job(spec(type="int", nullable=True, min=3)), text=False, p=2
    )
    assert "is not a whole number" in refusal(a_job(spec(type="int")), text=False, p=None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1: "a", "1": "b"}, "p: the key 1 is no text"),
        ({"a": [0, {"b": {None: 1}}]}, "p['a'][1]['b']: the key None is no text"),
        ([({True: 1},)], "p[0][0]: the key True is no text"),
        ({"a": ["x", "\0"]}, "p['a'][1]: holds a NUL character"),
        ({"a\0": 1}, r"p['a\x00']: holds a NUL character"),
    ],
)
@pytest.mark.parametrize("specs", [(), (spec(type="json"),)])
def test_what_json_would_change_or_no_process_takes_is_refused_with_its_place(
    value: object, words: str, specs: tuple[ParamSpec, ...]
) -> None:
    assert words in refusal(a_job(*specs), text=False, p=value)


def test_names_that_are_no_texts_are_refused() -> None:
    for job in (a_job(), a_job(spec(type="json"))):
        with pytest.raises(InvalidArguments, match="2 is no name for an argument"):
            bind(job, (), {2: 1}, text=False)  # type: ignore[dict-item]
