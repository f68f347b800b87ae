"""The documentation says what the code does: generated parts, examples, links and commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import jobctl
from docs import generate, keys
from jobctl import testing
from jobctl.cli.verbs import BY_NAME, EVERYWHERE, VERBS
from jobctl.config import schema
from jobctl.config.load import load_config
from jobctl.errors import ExitCode
from jobctl.model.run import Reason, RunState
from tests.docs.pages import (
    ROOT,
    Block,
    anchors,
    blocks,
    commands,
    links,
    pages,
    prose,
    write_modules,
)

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = ROOT / "docs" / "reference"
PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
PLACEHOLDER = re.compile(r"^(…|\[?[A-Z][A-Z0-9_-]*…?\]?|\[OPTION…\])$")


def toml_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks(page, "toml")]


@pytest.mark.parametrize("page", PAGES)
def test_generated_parts_are_fresh(page: Path) -> None:
    text = page.read_text()
    assert generate.regenerated(text) == text, "run `just docs`"


def test_every_generated_part_is_on_exactly_one_page() -> None:
    found = [name for page in generate.pages() for name in generate.regions(page.read_text())]
    assert sorted(found) == sorted(generate.REGIONS)


def test_every_key_of_a_job_is_in_one_group() -> None:
    grouped = [key for group in keys.GROUPS.values() for key in group]
    assert sorted(grouped) == sorted(schema.JobTable.model_fields)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (
            "jobs-toml.md",
            [key for model, _, _ in keys.TABLES.values() for key in model.model_fields],
        ),
        ("jobs-toml.md", list(schema.JobTable.model_fields)),
        ("states.md", [*RunState, *Reason]),
        (
            "exit-codes.md",
            [str(value) for name, value in vars(ExitCode).items() if name.isupper()],
        ),
        ("cli.md", [verb.name for verb in VERBS]),
        ("cli.md", [flag for option in EVERYWHERE for flag in option.flags]),
    ],
    ids=["tables", "job", "states", "exit codes", "verbs", "common options"],
)
def test_reference_names_everything(page: str, words: list[str]) -> None:
    text = (REFERENCE / page).read_text()
    assert [word for word in words if f"`{word}`" not in text] == []


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_reference_shows_every_option_of_a_verb(verb: object) -> None:
    text = (REFERENCE / "cli.md").read_text()
    name, options = verb.name, verb.options  # type: ignore[attr-defined]
    section = text.partition(f"### jobctl {name}\n")[2].partition("\n### ")[0]
    assert section
    flags = [flag for option in options for flag in option.flags]
    assert [flag for flag in flags if f"`{flag}`" not in section] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    assert [page for page in generate.pages() if page not in linked | {index}] == []


@pytest.mark.parametrize("block", toml_blocks(), ids=lambda block: block.place)
def test_toml_examples_are_valid(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBCTL_REDIS_PASSWORD", "secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    text = block.text
    if "fragment" in block.info.split():
        runs = re.search(r"^(command|python)\b", text, re.MULTILINE)
        text = ("" if runs else "command = 'true'\n") + text
        text = f"[jobs.example]\n{text}"
    path = tmp_path / "jobs.toml"
    path.write_text(text)
    write_modules(block.page, tmp_path)
    load_config(path)


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_known_verbs_and_options(page: Path) -> None:
    wrong = [f"{place}: {what}" for place, words in commands(page) for what in mistakes(words)]
    assert wrong == []


def mistakes(words: list[str]) -> list[str]:
    """Return what a ``jobctl`` command says that is not declared."""
    if not words or words == ["--version"] or PLACEHOLDER.match(words[0]):
        return []
    verb = BY_NAME.get(words[0])
    if verb is None:
        names = words[0].split("/")
        return [] if all(name in BY_NAME for name in names) else [f"no verb {words[0]}"]
    known = {flag for option in (*verb.options, *EVERYWHERE) for flag in option.flags}
    known |= {"--help", "-h"}
    found = []
    for word in words[1:]:
        if word == "--":
            break
        flag = word.partition("=")[0]
        if re.fullmatch(r"-[a-z]|--[a-z-]+", flag) and flag not in known:
            found.append(f"jobctl {verb.name} has no {flag}")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_prose_has_one_sentence_a_line(page: Path) -> None:
    if "explanation" not in page.parts and "how-to" not in page.parts:
        pytest.skip("tables and lists of others are looked at by people")
    long = [
        line
        for line in prose(page).splitlines()
        if not line.startswith(("|", "-", ">", "#", "1", "2", "3", "4", "5", "6", "<"))
        and re.search(r"[a-z)`]\. [A-Z]", line)
    ]
    assert long == []


@pytest.mark.parametrize(
    "page",
    ["reference/python-api", "how-to/python-api", "how-to/python-jobs", "how-to/test-your-jobs"],
)
def test_every_class_that_a_page_of_the_python_api_names_can_be_imported(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    # Of the files: a class that is not public can be named by mistake all the same.
    sources = [file.read_text() for file in (ROOT / "jobctl").rglob("*.py")]
    ours = {name for one in sources for name in re.findall(r"^class (\w+)", one, re.MULTILINE)}
    code = re.findall(r"`([^`\n]+)`|```python\n(.*?)```", text, re.DOTALL)
    named = ours & {word for spans in code for span in spans for word in re.findall(r"\w+", span)}
    named |= ours & set(re.findall(r"[Rr]aises? (?:a )?`?([A-Z]\w+)", text))

    public = {name: getattr(one, name) for one in (jobctl, testing) for name in one.__all__}
    # Some have another name in tracebacks, which the page says.
    known = {*public, *(getattr(item, "__name__", name) for name, item in public.items())}
    assert named
    assert named - known == set()
