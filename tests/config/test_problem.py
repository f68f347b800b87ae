"""How problems are shown."""

from __future__ import annotations

import pickle
from dataclasses import replace

from jobctl.config.problem import (
    ConfigProblems,
    Problem,
    format_problem,
    problem_from_plain,
    problem_to_plain,
)

PROBLEM = Problem(
    file="jobs.toml",
    line=12,
    column=11,
    key="jobs.a.timeout",
    code="duration",
    message="'abc' is not a duration",
    remedy='write seconds or e.g. "1h30m"',
    excerpt="timeout = 'abc'",
)


def test_a_problem_is_shown_with_its_line_and_a_caret() -> None:
    assert format_problem(PROBLEM).split("\n") == [
        "jobs.toml:12:11: error: jobs.a.timeout: 'abc' is not a duration",
        "  timeout = 'abc'",
        "            ^",
        '  write seconds or e.g. "1h30m"',
    ]


def test_a_problem_without_a_line_is_one_line() -> None:
    problem = Problem(file="x.toml", code="unreadable", message="there is no such file")

    assert format_problem(problem) == str(problem) == "x.toml: error: there is no such file"


def test_the_caret_stays_below_a_line_that_was_cut() -> None:
    problem = replace(PROBLEM, column=40, excerpt="env = …")

    assert format_problem(problem).split("\n")[2] == "         ^"
    assert "other" in format_problem(problem, "other")


def test_tabs_do_not_move_the_caret() -> None:
    problem = replace(PROBLEM, column=2, excerpt="\ta = 1")

    assert format_problem(problem).split("\n")[1:3] == ["   a = 1", "   ^"]


def test_one_line_says_everything() -> None:
    assert str(PROBLEM) == (
        "jobs.toml:12:11: error: jobs.a.timeout: 'abc' is not a duration; "
        'write seconds or e.g. "1h30m"'
    )


def test_problems_survive_json_and_pickle() -> None:
    assert problem_from_plain(problem_to_plain(PROBLEM)) == PROBLEM

    error = ConfigProblems([PROBLEM, replace(PROBLEM, severity="warning")])
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == error.problems
    assert str(again) == str(PROBLEM)
