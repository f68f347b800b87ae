"""The quick parser: words to parameters without importing a command-line library.

It knows the plain cases only. Whatever it does not understand, ``--help`` and mistakes included,
it leaves to Typer, which parses the same declarations and explains.
"""

from __future__ import annotations

from jobctl.cli.verbs import BY_NAME, EVERYWHERE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.cli.verb import Option, Verb


class Parsed:
    """A verb and its parameters."""

    __slots__ = ("literal", "params", "verb")

    def __init__(self, verb: Verb, params: dict[str, object], literal: list[str]) -> None:
        self.verb = verb
        self.params = params
        """One value per argument and option of the verb, those of every verb included."""
        self.literal = literal


class _NotPlain(Exception):  # noqa: N818 - not an error, a turn
    """Raised when the words need the whole parser."""


def parse(words: list[str]) -> Parsed | None:
    """Return what ``words`` (without the program's name) mean, or ``None`` for anything unusual."""
    try:
        return _parse(words)
    except _NotPlain:
        return None


def _parse(words: list[str]) -> Parsed:
    config: str | None = None
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in ("-c", "--config") and rest:
            config = rest.pop(0)
        elif word.startswith("--config="):
            config = word[9:]
        else:
            raise _NotPlain
    verb = BY_NAME.get(rest[0]) if rest else None
    if verb is None:
        raise _NotPlain
    rest, literal = split_literal(verb, rest[1:])
    params, positionals = _options(verb, rest)
    if params["config"] is None:
        params["config"] = config
    _assign(verb, positionals, params)
    return Parsed(verb, params, literal)


def split_literal(verb: Verb, words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words before and after ``--``, for verbs that want to know."""
    if verb.literal and "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, []


def _options(verb: Verb, words: list[str]) -> tuple[dict[str, object], list[str]]:
    table: dict[str, Option] = {}
    params: dict[str, object] = {}
    for option in (*verb.options, *EVERYWHERE):
        params[option.name] = [] if option.many else None if option.metavar else False
        for flag in option.flags:
            table[flag] = option
    positionals: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            positionals += left
        elif not word.startswith("-") or word == "-":
            positionals.append(word)
        else:
            _option(word, left, table, params)
    return params, positionals


def _option(
    word: str, left: Iterator[str], table: dict[str, Option], params: dict[str, object]
) -> None:
    """Take one option, and its value from the words that are left."""
    if word.startswith("--"):
        flag, equals, value = word.partition("=")
    else:
        # "-n5"; several switches in one word are left to Typer.
        flag, equals, value = word[:2], word[2:], word[2:]
    option = table.get(flag)
    if option is None or (equals and not option.metavar):
        raise _NotPlain
    if not option.metavar:
        params[option.name] = True
        return
    if not equals:
        following = next(left, None)
        if following is None:
            raise _NotPlain
        value = following
    if option.many:
        params[option.name].append(value)  # type: ignore[attr-defined]
    else:
        params[option.name] = value


def _assign(verb: Verb, positionals: list[str], params: dict[str, object]) -> None:
    left = positionals
    for argument in verb.arguments:
        if argument.required and not left:
            raise _NotPlain
        if argument.many:
            params[argument.name], left = left, []
        else:
            params[argument.name] = left[0] if left else None
            left = left[1:]
    if left:
        raise _NotPlain
