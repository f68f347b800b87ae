"""Just enough of the shell's grammar to see where a command line falls apart."""

from __future__ import annotations

import re

_OPERATORS = ("&&", "||", ";;", ";", "|", "&", "\n")
_OPENS = {"(": ")", "{": "}"}
_BLOCK_WORDS = {"if": "fi", "case": "esac", "for": "done", "while": "done", "until": "done"}


def operators(text: str) -> list[tuple[int, str]]:
    """Return position and text of every operator outside quotes, groups and compound commands.

    A redirection such as ``2>&1`` or ``&>`` is none.
    """
    found: list[tuple[int, str]] = []
    closers: list[str] = []
    at = 0
    at_command = True
    while at < len(text):
        step, word = _token(text, at)
        if word in _OPERATORS:
            if not closers:
                found.append((at, word))
            at_command = True
        elif word.strip():
            if closers and word == closers[-1]:
                closers.pop()
            elif at_command and word in _BLOCK_WORDS:
                closers.append(_BLOCK_WORDS[word])
            elif word in _OPENS:
                closers.append(_OPENS[word])
            at_command = word in {"then", "else", "do", "{", "(", "elif", "!"}
        at += step
    return found


def _token(text: str, at: int) -> tuple[int, str]:
    """Return the length of the token that begins at ``at``, and the token; blanks are one too."""
    redirection = re.compile(r"[0-9]*[<>]&[0-9-]?|&>>?|[0-9]*[<>]+\|?").match(text, at)
    if redirection:
        return len(redirection[0]), "<redirection>"
    for operator in _OPERATORS:
        if text.startswith(operator, at):
            return len(operator), operator
    if text[at].isspace():
        return 1, " "
    if text[at] in "()":
        return 1, text[at]
    end = _word_end(text, at)
    return max(end - at, 1), text[at : max(end, at + 1)]


def _word_end(text: str, at: int) -> int:
    """Return where the word at ``at`` ends; quotes and substitutions belong to it."""
    while at < len(text) and not (text[at].isspace() or text[at] in ";|&()<>"):
        if text[at] == "\\":
            at += 2
        elif text[at] == "'":
            at = _after(text, text.find("'", at + 1))
        elif text[at] == '"':
            at = _after_double(text, at + 1)
        elif text[at] == "`":
            at = _after(text, text.find("`", at + 1))
        elif text.startswith("$(", at) or text.startswith("${", at):
            at = _after_group(text, at + 1)
        else:
            at += 1
    return min(at, len(text))


def _after(text: str, end: int) -> int:
    return len(text) if end < 0 else end + 1


def _after_double(text: str, at: int) -> int:
    while at < len(text) and text[at] != '"':
        if text[at] == "\\":
            at += 2
        elif text.startswith("$(", at):
            at = _after_group(text, at + 1)
        else:
            at += 1
    return at + 1


def _after_group(text: str, at: int) -> int:
    """Return where the ``(…)`` or ``{…}`` that opens at ``at`` has ended."""
    opener = text[at]
    closer = _OPENS[opener]
    depth = 0
    while at < len(text):
        if text[at] == "'":
            at = _after(text, text.find("'", at + 1))
            continue
        if text[at] == opener:
            depth += 1
        elif text[at] == closer:
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return at


def first_word(text: str) -> str:
    """Return the first word of a command, quotes and all."""
    text = text.lstrip()
    return text[: _word_end(text, 0)]


def after_word(text: str) -> str:
    """Return what follows the first word."""
    text = text.lstrip()
    return text[_word_end(text, 0) :].lstrip()


def is_simple(text: str) -> bool:
    """Tell whether the text is one command without operators, groups or compound commands."""
    return (
        not operators(text)
        and first_word(text) not in {*_BLOCK_WORDS, *_OPENS, "!"}
        and bool(text.strip())
    )
