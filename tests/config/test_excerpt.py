"""Which line of a file is shown with a problem, and of which nothing is."""

from __future__ import annotations

import random
import tomllib

import pytest

from jobctl.config.excerpt import excerpt_of, lines_of


@pytest.mark.parametrize(
    "before",
    [
        "#   0 1 * * * root echo '''",
        '# it said """',
        """command = 'echo """ + '"""' + """'""",
        """command = "echo '''" """,
        "command = \"a \\\" ''' # b\"",
        'command = """one line"""',
        'command = """ends in a quote""""',
        "command = '''a\nb'''",
        'command = """a \\""" \\\n  b"""',
        "command = ''",
    ],
)
def test_quotes_that_open_nothing_hide_no_line(before: str):
    text = f"[jobs.a]\n{before}\nschedule = '*/61 * * * *'\n"
    tomllib.loads(text)
    number = text.split("\n").index("schedule = '*/61 * * * *'") + 1
    assert excerpt_of(lines_of(text), number) == "schedule = '*/61 * * * *'"


@pytest.mark.parametrize("quotes", ['"""', "'''"])
def test_a_line_within_a_text_is_not_shown_nor_taken_for_a_header(quotes: str):
    text = f"[jobs.a.env]\nA = {quotes}\n[jobs.b]\nhidden\n{quotes}\nB = 'hidden too'\n"
    lines = lines_of(text)
    assert [excerpt_of(lines, number) for number in (3, 4, 5)] == ["…"] * 3
    assert excerpt_of(lines, 6) == "B = …"


@pytest.mark.parametrize("text", ['a = """\nhidden', "a = '''\nhidden", 'a = """\nhidden\\'])
def test_a_text_without_an_end_is_not_shown(text: str):
    assert excerpt_of(lines_of(text), 2) == "…"


@pytest.mark.parametrize("seed", range(20))
def test_lines_of_texts_are_found_where_a_parser_finds_them(seed: int):
    draw = random.Random(seed)
    parts = ['"', "'", '""', "''", "#", "x", " ", "\n", "\\t", "[a]", "="]
    told = 0
    for _ in range(300):
        inner = "".join(draw.choices(parts, k=draw.randint(0, 9)))
        quotes = draw.choice(['"""', "'''", '"', "'", "# "])
        text = f"k = 1\nv = {quotes}{inner}{quotes}\nw = 2\n"
        if quotes == "# ":
            text = f"k = 1\n# {inner.replace(chr(10), '')}\nv = ''\nw = 2\n"
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        if set(data) != {"k", "v", "w"}:
            continue
        told += 1
        # A line break right behind the opening quotes is none of the value.
        held = data["v"].count("\n") + (len(quotes) == 3 and inner[:1] == "\n")
        rest = text.count("\n") + 1 - 2 - held
        assert lines_of(text).inside == [False, False, *[True] * held, *[False] * rest]
    assert told > 50
