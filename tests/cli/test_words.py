"""Both parsers of the command line: the quick one and Typer."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from jobctl import __version__
from jobctl.cli import app as application
from jobctl.cli.app import build_app, run_app
from jobctl.cli.completions import FILES, script
from jobctl.cli.quick import parse
from jobctl.cli.start import start, target
from jobctl.cli.verbs import BY_NAME, EVERYWHERE, VERBS

if TYPE_CHECKING:
    from project import Project

    from jobctl.cli.verb import Verb

ROOT = Path(__file__).parents[2]
THERE = [verb for verb in VERBS if find_spec(f"jobctl.cli.{verb.target.partition(':')[0]}")]


@pytest.mark.parametrize("verb", THERE, ids=lambda verb: verb.name)
def test_every_function_takes_what_its_verb_declares(verb: Verb):
    declared = {item.name for item in (*verb.arguments, *verb.options)}
    parameters = inspect.signature(target(verb)).parameters
    taken = {name for name, item in parameters.items() if item.kind is item.KEYWORD_ONLY}
    if any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
        assert taken <= declared
    else:
        assert taken == declared


@pytest.mark.parametrize("verb", THERE, ids=lambda verb: verb.name)
def test_typer_knows_the_same_flags(verb: Verb):
    command = typer.main.get_command(build_app()).commands[verb.name]
    flags = {
        flag for param in command.params if param.param_type_name == "option" for flag in param.opts
    }
    assert flags == {flag for option in (*verb.options, *EVERYWHERE) for flag in option.flags}


CASES = [
    ["submit", "hello"],
    ["-c", "f", "submit", "hello", "a", "k=v", "--in=5m", "--queue", "q"],
    ["submit", "hello", "--tag", "a=b", "--tag", "c=d", "-q", "--json", "--", "-x", "--in"],
    ["submit", "hello", "-", "--args-json", "-"],
    ["submit", "--from-ndjson", "f"],
    ["exec", "--wait", "--", "ls", "-l"],
    ["list", "-n", "5", "--state", "failed"],
    ["list", "-n5", "--ids"],
    ["logs", "@last", "-f", "--attempt", "2"],
    ["wait", "a", "b", "--any", "--timeout=1s"],
    ["revoke", "--all", "--yes", "--tag", "a=b", "-c", "g"],
    ["status"],
    ["status", "a", "b"],
    ["next", "-n", "3", "--from", "x"],
    ["progress", "40", "two", "words"],
    ["inspect", "--", "-x"],
    ["submit", "hello", "--queue", "-q"],
    ["submit", "hello", "--queue="],
    ["check", "--strict"],
]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_both_parsers_understand_the_same(words: list[str], monkeypatch: pytest.MonkeyPatch):
    seen = []

    def note(verb: Verb, params: dict[str, object], literal: list[str]) -> int:
        seen.append((verb.name, dict(sorted(params.items())), literal))
        return 0

    monkeypatch.setattr(application, "call", note)
    assert run_app(words) == 0
    quick = parse(words)
    assert quick is not None
    assert (quick.verb.name, dict(sorted(quick.params.items())), quick.literal) == seen[0]


@pytest.mark.parametrize(
    "words",
    [
        [], ["--help"], ["submit", "--help"], ["submit", "-h"], ["nosuch"], ["submit", "--nosuch"],
        ["submit", "--queue"], ["submit", "--wait=1"], ["inspect"], ["inspect", "a", "b"],
        ["-x", "list"], ["-c"], ["list", "-qn5"], ["--version", "list"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_unusual_is_left_to_typer(words: list[str]):
    assert parse(words) is None


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_has_help(verb: Verb, capsys: pytest.CaptureFixture[str]):
    assert start([verb.name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert "Usage: jobctl " in out
    assert err == ""


@pytest.mark.parametrize("words", [["nosuch"], ["submit", "--nosuch"], ["inspect"], ["list", "-n"]])
def test_mistakes_exit_2_and_say_so_on_stderr(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert start(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("jobctl: ")
    assert "--help" in err


def test_a_misspelt_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert start(["statsu"]) == 2
    assert "status" in capsys.readouterr().err


def test_watch_takes_its_period_with_an_equals_sign(monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr(
        "jobctl.cli.start.call", lambda _verb, params, _literal: seen.append(params) or 0
    )
    start(["status", "--watch=5s"])
    assert (seen[0]["watch"], seen[0]["every"]) == (True, "5s")


def test_the_version_is_told_without_importing_anything():
    program = (
        "import sys; sys.argv = ['jobctl', '--version']; before = set(sys.modules)\n"
        "from jobctl.__main__ import main; main(); print(sorted(set(sys.modules) - before))"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    ).stdout
    assert out.splitlines() == [
        f"jobctl {__version__}",
        "['__future__', 'jobctl', 'jobctl.__main__']",
    ]


@pytest.mark.parametrize("shell", FILES)
def test_completion_scripts_are_as_generated(shell: str):
    path = ROOT / "completions" / FILES[shell]
    remedy = f"out of date: run `jobctl completions {shell} > completions/{path.name}`"
    assert path.read_text() == script(shell), remedy


def complete_in_bash(*words: str) -> list[str]:
    """What TAB offers after ``words``, the last of which is unfinished."""
    program = (
        f". {ROOT}/completions/jobctl.bash; COMP_WORDS=(jobctl {' '.join(words)}); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
        f'jobctl() {{ {sys.executable} -m jobctl "$@"; }}; _jobctl; printf \'%s\\n\' "${{COMPREPLY[@]}}"'
    )
    out = subprocess.run(["bash", "-c", program], capture_output=True, check=True, text=True).stdout
    return out.split()


def test_bash_completes_verbs_flags_and_names(project: Project):
    assert complete_in_bash("sub") == ["submit"]
    assert "--follow" in complete_in_bash("logs", "--fo")
    assert complete_in_bash("-c", str(project.path), "submit", "hel") == ["hello"]
    assert complete_in_bash("list", "--state", "suc") == ["succeeded"]
    assert set(complete_in_bash("-c", str(project.path), "submit", "--queue", "s")) == {"slow"}


def test_completion_of_names_is_silent_when_in_doubt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert start(["__complete", "-c", str(tmp_path / "none.toml"), "jobs", "x"]) == 0
    assert capsys.readouterr() == ("", "")


def test_every_verb_is_declared_once():
    assert len(BY_NAME) == len(VERBS)
