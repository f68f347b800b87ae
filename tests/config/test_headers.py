"""Lines of tables found without a syntax tree are those that the tree tells."""

from __future__ import annotations

import pytest

from jobctl.config.headers import header_lines
from jobctl.config.positions import locate

PLAIN = """\
# [jobs.comment]
[jobctl]
x = 1
  [ jobs . a ]  # [jobs.other]
list = [
  [1, 2],
  ["jobs.no"],
]
[jobs.b-1]
[[jobs.b-1.schedules]]
[jobs."quoted"]
[pools.p]
"""


def test_headers_are_where_the_tree_says() -> None:
    tree = locate(PLAIN)

    lines = header_lines(PLAIN, "jobs")

    assert lines == {"a": 4, "b-1": 9}
    assert all(tree.key(("jobs", name)).line == line for name, line in lines.items())


def test_lines_may_end_as_on_windows() -> None:
    assert header_lines(PLAIN.replace("\n", "\r\n"), "jobs") == {"a": 4, "b-1": 9}


@pytest.mark.parametrize("quotes", ['"""', "'''"])
def test_texts_of_several_lines_leave_the_question_to_the_tree(quotes: str) -> None:
    text = f"[jobs.a]\ncommand = {quotes}\n[jobs.b]\n{quotes}\n"

    assert header_lines(text, "jobs") == {}
