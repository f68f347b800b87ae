"""From words to an exit code: parse, call the verb, and let no exception out."""

from __future__ import annotations

import os
import sys

from jobctl.cli.console import Console
from jobctl.cli.quick import parse
from jobctl.errors import ExitCode, JobctlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.cli.verbs import Verb

DEBUG_VARIABLE = "JOBCTL_DEBUG"


def start(words: list[str]) -> int:
    """Run the command that ``words`` (without the program's name) ask for."""
    words = _spread(words)
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


def call(verb: Verb, params: dict[str, object], literal: list[str]) -> int:
    """Call a verb's function and return the exit code; every error is reported here."""
    options = dict(params)
    config = options.pop("config")
    console = Console(json=bool(options.pop("json")), quiet=bool(options.pop("quiet")))
    parting = Parting()

    def work() -> int:
        from jobctl.cli.invocation import Invocation

        with Invocation(console, config=config, literal=literal, parting=parting) as invocation:  # type: ignore[arg-type]
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
        return _unread()
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
        console.fail(error)
        console.flush()
    except BrokenPipeError:
        _unread()
    return int(error.exit_code)


def _unread() -> int:
    """Nobody reads our output any more: be quiet, also when Python flushes at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.OK


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
