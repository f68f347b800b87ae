"""The Typer application, made from :mod:`jobctl.cli.verbs`: help, mistakes, and unusual words."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl import __version__
from jobctl.cli.console import Console, discard
from jobctl.cli.quick import split_literal
from jobctl.cli.start import call
from jobctl.cli.verbs import BY_NAME, EVERYWHERE, VERBS
from jobctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.cli.verb import Argument, Option, Verb

INTRODUCTION = """A job runner for scripts and a replacement for cron.

\b
    jobctl init                 write a first jobs.toml
    jobctl daemon               run what it says
    jobctl submit hello         ask for a run now
    jobctl status               see everything on one screen
"""


class _Words:
    """What is known of the words outside the verb's own options."""

    def __init__(self) -> None:
        self.config: str | None = None
        self.literal: list[str] = []
        self.code = 0


def build_app(known: _Words | None = None) -> typer.Typer:
    """Return the application with every verb."""
    known = known or _Words()
    app = typer.Typer(
        name="jobctl",
        help=INTRODUCTION,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root(known))
    for verb in VERBS:
        app.command(verb.name, help=_help(verb), rich_help_panel=verb.panel)(_command(verb, known))
    return app


def run_app(words: list[str]) -> int:
    """Parse ``words`` with Typer and run the verb; mistakes exit 2."""
    known = _Words()
    verb = next((BY_NAME[word] for word in words if word in BY_NAME), None)
    if verb is not None and verb.literal:
        words, known.literal = split_literal(verb, words)
    command = typer.main.get_command(build_app(known))
    try:
        outcome = command.main(words, prog_name="jobctl", standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # Typer exits when nobody reads its help.
        discard(sys.stdout)
        return ExitCode.OK
    except OSError as error:
        discard(sys.stdout)
        Console().report("error", f"standard output cannot be written: {error.strerror}")
        return ExitCode.JOB_FAILED
    except Exception as error:
        # Typer's own exceptions for wrong words are private; this is what they have in common.
        if not hasattr(error, "format_message"):
            raise
        return _mistake(error, words)
    return known.code or (outcome if isinstance(outcome, int) else 0)


def _mistake(error: Any, words: list[str]) -> int:  # noqa: ANN401 - private to Typer
    message = " ".join(str(error.format_message()).split())
    if not message:
        # No words at all: the help was the answer.
        error.show()
        return ExitCode.USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "jobctl"
    remedy = "" if "--json" in words else f"\nTry `{path} --help`."
    Console(json="--json" in words).report("usage", message.rstrip(".") + remedy)
    return int(error.exit_code)


def _root(known: _Words) -> Callable[..., None]:
    def root(
        config: Annotated[
            str | None,
            typer.Option("--config", "-c", metavar="FILE", help=_plain(EVERYWHERE[0].help)),
        ] = None,
        *,
        version: Annotated[
            bool, typer.Option("--version", help="Show the version and exit.")
        ] = False,
    ) -> None:
        if version:
            typer.echo(f"jobctl {__version__}")
            raise typer.Exit
        known.config = config

    return root


def _command(verb: Verb, known: _Words) -> Callable[..., None]:
    """Return a function with the signature that Typer makes the verb's parser from."""

    def command(**params: Any) -> None:  # noqa: ANN401 - by declaration
        if params["config"] is None:
            params["config"] = known.config
        for option in verb.options:
            if option.many:
                params[option.name] = list(params[option.name] or ())
        for argument in verb.arguments:
            if argument.many:
                params[argument.name] = list(params[argument.name] or ())
        known.code = call(verb, params, known.literal)

    parameters = [
        *(_argument(item) for item in verb.arguments),
        *(_option(item) for item in (*verb.options, *EVERYWHERE)),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    return command


def _parameter(
    name: str, annotation: object, default: object = inspect.Parameter.empty
) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _argument(item: Argument) -> inspect.Parameter:
    spec = typer.Argument(
        help=_plain(item.help), metavar=item.name.upper() + ("…" if item.many else "")
    )
    if item.required:
        return _parameter(item.name, Annotated[list[str] if item.many else str, spec])
    kind: object = list[str] | None if item.many else str | None
    return _parameter(item.name, Annotated[kind, spec], None)


def _option(item: Option) -> inspect.Parameter:
    if not item.metavar:
        spec = typer.Option(*item.flags, help=_plain(item.help))
        return _parameter(item.name, Annotated[bool, spec], default=False)
    spec = typer.Option(*item.flags, help=_plain(item.help), metavar=item.metavar)
    kind: object = list[str] | None if item.many else str | None
    return _parameter(item.name, Annotated[kind, spec], None)


def _help(verb: Verb) -> str:
    if not verb.examples:
        return _plain(verb.help)
    examples = "\n".join(f"    {line}" for line in verb.examples)
    return _plain(f"{verb.help}\n\n\b\n{examples}")


def _plain(text: str) -> str:
    """Keep the help from taking ``[jobctl]`` for a style."""
    return text.replace("[", "\\[")
