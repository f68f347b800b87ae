"""Command lines of unit files: quotes, escapes, specifiers, prefixes and variables."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_PREFIXES = "-@:+!|"
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "s": " ",
}  # fmt: skip
_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)")
_SPECIFIER = re.compile(r"%(.)?", re.DOTALL)


class ExecError(ValueError):
    """Raised for a command line that cannot be carried over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a unit."""

    words: tuple[str, ...]
    prefixes: str

    @property
    def expands(self) -> bool:
        """Whether systemd fills in variables."""
        return ":" not in self.prefixes and any(map(_has_variable, self.words))

    def shell(self) -> str:
        """Return the command as text for a shell."""
        quote = _for_shell if ":" not in self.prefixes else shlex.quote
        text = " ".join(quote(word) for word in self.words)
        return f"{text} || :" if "-" in self.prefixes else text


def _has_variable(word: str) -> bool:
    """Tell whether systemd would fill something in: ``${NAME}`` anywhere, ``$NAME`` as a whole word."""
    return any(found[1] or (found[2] and found[0] == word) for found in _VARIABLE.finditer(word))


def _for_shell(word: str) -> str:
    """Return a word for a shell, in which variables are filled in where systemd does so."""
    alone = re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", word)
    if alone:
        return f"${alone[1]}"  # Split into words, here as there.
    if "$" not in word:
        return shlex.quote(word)
    out, at = "", 0
    for found in _VARIABLE.finditer(word):
        out += _inside_quotes(word[at : found.start()])
        name = found[1] or found[2]
        # `$NAME` inside a word is left as it is by systemd, `${NAME}` is filled in.
        out += r"\$" if name is None else f"${{{name}}}" if found[1] else rf"\${name}"
        at = found.end()
    return f'"{out}{_inside_quotes(word[at:])}"'


def _inside_quotes(text: str) -> str:
    return re.sub(r'([\\"`$])', r"\\\1", text)


def plain_words(command: Command) -> list[str]:
    """Return the words of a command without variables, for ``exec``."""
    return [word if ":" in command.prefixes else word.replace("$$", "$") for word in command.words]


def parse_exec(text: str) -> list[Command]:
    """Return the commands of one ``Exec…=`` line; a lone ``;`` divides them."""
    out: list[Command] = []
    words: list[str] = []
    for word, quoted in [*split_words(text), (";", False)]:
        if word == ";" and not quoted:
            if words:
                out.append(_command(words))
            words = []
        else:
            words.append(";" if word == "\\;" else word)
    return out


def _command(words: list[str]) -> Command:
    first = words[0]
    program = first.lstrip(_PREFIXES)
    prefixes = first[: len(first) - len(program)]
    if not program:
        raise ExecError(f"{first!r} names no program")
    rest = words[1:]
    if "@" in prefixes:
        if not rest:
            raise ExecError(f"{first!r} lacks the name that the program is to see")
        rest = rest[1:]
    return Command(words=(program, *rest), prefixes=prefixes)


def split_words(text: str) -> list[tuple[str, bool]]:
    """Return the words of a line, and whether each was quoted; raise :class:`ExecError`."""
    out: list[tuple[str, bool]] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        quoted = text[at] in "'\""
        word, at = _one_word(text, at)
        out.append((word, quoted))
    return out


def _one_word(text: str, at: int) -> tuple[str, int]:
    """Return the word that begins at ``at``, and where it has ended."""
    word, quote = "", ""
    while at < len(text) and (quote or not text[at].isspace()):
        char = text[at]
        if char == "\\":
            taken, length = _escape(text, at)
            word += taken
            at += length
            continue
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            word += char
        at += 1
    if quote:
        raise ExecError(f"a quote is not closed in {text!r}")
    return word, at


def _escape(text: str, at: int) -> tuple[str, int]:
    """Return the character that an escape stands for, and the length of the escape."""
    following = text[at + 1 : at + 2]
    if following == "x" and re.match(r"[0-9A-Fa-f]{2}", text[at + 2 :]):
        return chr(int(text[at + 2 : at + 4], 16)), 4
    if re.match(r"[0-7]{3}", text[at + 1 :]):
        return chr(int(text[at + 1 : at + 4], 8)), 4
    if following == ";":
        return "\\;", 2
    if following in _ESCAPES:
        return _ESCAPES[following], 2
    raise ExecError(f"the escape '\\{following}' is not known")


def with_specifiers(text: str, *, unit: str, user: str | None, own_home: str | None = None) -> str:
    """Return text with ``%i`` and its kin filled in.

    ``own_home`` is the home of the user whose own manager has the unit; ``None``: the system's.

    Raises:
        ExecError: one stands for something of the host that a file cannot know.

    """
    name, _, _suffix = unit.rpartition(".")
    prefix, at, instance = name.partition("@")
    home = "/root" if user in (None, "root") else None
    known = {
        "%": "%", "n": unit, "N": name, "p": prefix, "P": _unescaped(prefix), "i": instance if at else "",
        "I": _unescaped(instance) if at else "", "j": prefix.rpartition("-")[2], "t": "/run", "S": "/var/lib",
        "C": "/var/cache", "L": "/var/log", "E": "/etc", "T": "/tmp", "V": "/var/tmp",  # noqa: S108 (systemd's own)
        "u": user or "root", "h": home,
    }  # fmt: skip

    def fill(found: re.Match[str]) -> str:
        value = known.get(found[1] or "")
        if value is None:
            raise ExecError(
                f"the specifier {found[0]!r} stands for something that only the host knows"
            )
        return value

    if own_home is not None:
        known |= {"h": own_home, "u": user, **dict.fromkeys("tSCLE")}
    return _SPECIFIER.sub(fill, text)


def _unescaped(text: str) -> str:
    r"""Return an instance name with ``-`` as ``/`` and ``\x2d`` as its character."""
    slashes = text.replace("-", "/")
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), slashes)
