"""The pages of the documentation, cut into what can be checked."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
ANCHOR = re.compile(r'<a id="([^"]+)">')
NAMED = re.compile(r"# (\w[\w/]*\.py)\n")
INLINE = re.compile(r"`(jobctl [^`]+)`")
ENDS_COMMAND = frozenset(("|", "||", "&&", ";", ">", ">>", "<", "&"))


@dataclass(frozen=True)
class Block:
    """One fenced block; ``info`` is what follows the fence."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return every page that users read."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of a page in any of ``languages``."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1].strip(), found[2])
        for found in FENCE.finditer(text)
        if found[1].split()[:1] and found[1].split()[0] in languages
    ]


def write_modules(page: Path, folder: Path) -> None:
    """Write the Python blocks of a page that begin with a comment with their name."""
    for block in blocks(page, "python", "py"):
        named = NAMED.match(block.text)
        if named is not None:
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    return FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """Return the targets of links to other pages and within them."""
    return [target for target in LINK.findall(prose(page)) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Return what a link to a page can point at, as GitHub makes it from headings."""
    text = prose(page)
    found = {_slug(title) for title in HEADING.findall(text)}
    return found | set(ANCHOR.findall(text))


def _slug(title: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", title.strip().lower())
    return kept.replace(" ", "-")


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (place, words) of every ``jobctl`` command that a page shows."""
    for block in blocks(page, "console", "sh", "shell", "bash"):
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            if block.info == "console" and not line.startswith("$ "):
                continue
            for words in _calls(line.removeprefix("$ ")):
                yield f"{page.relative_to(ROOT)}:{number}", words
    for found in INLINE.findall(prose(page)):
        for words in _calls(found):
            yield str(page.relative_to(ROOT)), words


def _calls(line: str) -> Iterator[list[str]]:
    """Yield the words after each ``jobctl`` in a shell command, up to what ends it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    lexer.whitespace_split = True
    words = list(lexer)
    for index, word in enumerate(words):
        if word.rpartition("/")[2] != "jobctl":
            continue
        if index and words[index - 1] in ("-u", "enable", "--now", "install"):
            continue
        call: list[str] = []
        for other in words[index + 1 :]:
            if other in ENDS_COMMAND:
                break
            call.append(other)
        yield call
