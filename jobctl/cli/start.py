"""From words to an exit code: parse, call the verb, and let no exception out."""

from __future__ import annotations

import os

from jobctl.cli.console import Console
from jobctl.cli.quick import parse
from jobctl.errors import ExitCode, JobctlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.cli.verb import Verb

DEBUG_VARIABLE = "JOBCTL_DEBUG"
SWITCHES = frozenset({"--json", "--quiet", "-q"})
"""Options of every verb that take no value."""


def start(words: list[str]) -> int:
    """Run the command that ``words`` (without the program's name) ask for."""
    words = _verb_first(_spread(words))
    if words == ["--version"]:
        return _version()
    if words[:1] == ["__complete"]:
        from jobctl.cli.completions import complete

        return int(complete(words[1:]))
    parsed = parse(words)
    if parsed is None:
        from jobctl.cli.app import run_app

        return run_app(words)
    return call(parsed.verb, parsed.params, parsed.literal)


def _spread(words: list[str]) -> list[str]:
    """Write ``--watch=2s`` as the two options it stands for."""
    if "status" not in words:
        return words
    out: list[str] = []
    for word in words:
        out += ["--watch", "--every", word[8:]] if word.startswith("--watch=") else [word]
    return out


def _verb_first(words: list[str]) -> list[str]:
    """Write ``--json status`` as ``status --json``: who says it first means the same."""
    at = 0
    moved: list[str] = []
    kept: list[str] = []
    while at < len(words) and words[at].startswith("-"):
        if words[at] in SWITCHES:
            moved.append(words[at])
        else:
            kept.append(words[at])
            if words[at] in ("-c", "--config"):
                kept += words[at + 1 : at + 2]
                at += 1
        at += 1
    if not moved or at >= len(words):
        return words
    return [*kept, words[at], *moved, *words[at + 1 :]]


def _version() -> int:
    """Tell the version, or why that cannot be done."""
    from jobctl import __version__

    console = Console()

    def work() -> int:
        console.data(f"jobctl {__version__}")
        return ExitCode.OK

    return guard(console, work)


def call(verb: Verb, params: dict[str, object], literal: list[str]) -> int:
    """Call a verb's function and return the exit code; every error is reported here."""
    options = dict(params)
    config = options.pop("config")
    console = Console(json=bool(options.pop("json")), quiet=bool(options.pop("quiet")))
    parting = Parting()

    def work() -> int:
        from jobctl.cli.invocation import Invocation
        from jobctl.store import failpoints

        failpoints.arm("supervisor" if verb.name == "daemon" else "cli")

        with Invocation(
            console,
            config=config,  # type: ignore[arg-type]
            literal=literal,
            parting=parting,
            reads=verb.reads,
        ) as invocation:
            return int(target(verb)(invocation, **options))

    return guard(console, work, parting)


def guard(console: Console, work: Callable[[], int], parting: Parting | None = None) -> int:
    """Return what ``work`` returns, or the exit code of what it raised, which is reported."""
    try:
        code = work()
        console.flush()
    except JobctlError as error:
        return _last_words(console, error)
    except KeyboardInterrupt:
        words = f"; {parting.words}" if parting is not None and parting.words else ""
        console.talk(f"\njobctl: interrupted{words}")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Nobody reads our output any more: be quiet.
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001 - the boundary: users never see a traceback
        return _unexpected(console, error)
    return code


class Parting:
    """What to say when Ctrl-C ends a command."""

    words = ""


def target(verb: Verb):  # type: ignore[no-untyped-def]  # noqa: ANN201 - any verb's function
    """Return the function of a verb."""
    from importlib import import_module

    module, _, function = verb.target.partition(":")
    return getattr(import_module(f"jobctl.cli.{module}"), function)


def _last_words(console: Console, error: JobctlError) -> int:
    try:
        console.flush()
    except JobctlError as another:
        console.fail(another)
    except BrokenPipeError:
        pass
    console.fail(error)
    console.flush()
    return int(error.exit_code)


def _unexpected(console: Console, error: Exception) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error)
    text = " ".join(str(error).split())[:300]
    console.report(
        "internal",
        f"unexpected {type(error).__name__}: {text}; this is a bug: set {DEBUG_VARIABLE}=1, "
        "do it again, and report what is printed",
    )
    return ExitCode.JOB_FAILED
