"""The reference of the command line, from the declarations that its parsers are made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docs.sources import markdown
from jobctl.cli.verbs import EVERYWHERE, VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.cli.verb import Argument, Option, Verb


def everywhere() -> str:
    """Return the options that every verb has."""
    return _options(EVERYWHERE)


def index() -> str:
    """Return all verbs with a sentence each, by what they are for."""
    panels = dict.fromkeys(verb.panel for verb in VERBS)
    lines = []
    for panel in panels:
        lines += [f"**{panel}**", "", "| verb | does |", "|---|---|"]
        lines += [
            f"| [`{verb.name}`](#jobctl-{verb.name}) | {markdown(_paragraphs(verb)[0])} |"
            for verb in VERBS
            if verb.panel == panel
        ]
        lines.append("")
    return "\n".join(lines)


def verbs() -> str:
    """Return a section for each verb."""
    return "\n".join(_section(verb) for verb in VERBS)


def _section(verb: Verb) -> str:
    lines = [f"### jobctl {verb.name}", "", f"`{_usage(verb)}`", "", _sentences(verb), ""]
    if verb.arguments:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| `{_shown(item)}` | {markdown(item.help)} |" for item in verb.arguments]
        lines.append("")
    if verb.options:
        lines += [_options(verb.options), ""]
    if verb.examples:
        lines += ["```console", *(f"$ {line}" for line in verb.examples), "```", ""]
    return "\n".join(lines)


def _usage(verb: Verb) -> str:
    words = ["jobctl", verb.name]
    if verb.options:
        words.append("[OPTION…]")
    words += [_shown(item) if item.required else f"[{_shown(item)}]" for item in verb.arguments]
    return " ".join(words)


def _shown(item: Argument) -> str:
    return item.name.upper() + ("…" if item.many else "")


def _options(options: Iterable[Option]) -> str:
    lines = ["| option | meaning |", "|---|---|"]
    for option in options:
        flags = ", ".join(f"`{flag}`" for flag in option.flags)
        value = f" `{markdown(option.metavar)}`" if option.metavar else ""
        lines.append(f"| {flags}{value} | {markdown(option.help)} |")
    return "\n".join(lines)


def _paragraphs(verb: Verb) -> list[str]:
    return [" ".join(part.split()) for part in verb.help.split("\n\n")]


def _sentences(verb: Verb) -> str:
    """Return the help with one sentence a line."""
    return "\n\n".join(re.sub(r"\. (?=[A-Z])", ".\n", part) for part in _paragraphs(verb))
