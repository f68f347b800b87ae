"""Line and column of every key and value of a TOML text.

The text is one that ``tomllib`` accepted, or one it refused because a key is there twice;
anything else may yield fewer positions, never an error.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import tree_sitter_toml
from tree_sitter import Language, Parser

if TYPE_CHECKING:
    from tree_sitter import Node

Path = tuple[str | int, ...]
"""Keys and list indexes from the top of the document."""

_DEEPEST = 40
"""Levels of nested values that get positions of their own; deeper ones share their parent's."""


@dataclass(frozen=True, slots=True)
class Place:
    """A point of the text: line and column in characters, both from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Positions:
    """Where the keys and values of one document are."""

    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    literals: dict[Path, str] = field(default_factory=dict)
    """The text of values that are not tables or lists."""
    twice: list[tuple[Path, Place, Place]] = field(default_factory=list)
    """Keys and tables written a second time: path, first and second place."""

    def key(self, path: Path) -> Place:
        """Return where the key is written, or the nearest key above it."""
        return _nearest(self.keys, path)

    def value(self, path: Path) -> Place:
        """Return where the value begins, or where its key, or the nearest key above, is."""
        return self.values.get(path) or self.key(path)


def _nearest(places: dict[Path, Place], path: Path) -> Place:
    while path:
        found = places.get(path)
        if found is not None:
            return found
        path = path[:-1]
    return Place(1, 1)


@lru_cache(maxsize=1)
def _parser() -> Parser:
    return Parser(Language(tree_sitter_toml.language()))


def locate(text: str) -> Positions:
    """Return the positions of everything in ``text``."""
    data = text.encode("utf-8", "replace")
    return _Walk(data).document(_parser().parse(data).root_node)


class _Walk:
    """One pass over the syntax tree; arrays of tables are counted on the way."""

    def __init__(self, data: bytes) -> None:
        self._lines = data.split(b"\n")
        self._found = Positions()
        self._counts: dict[Path, int] = {}
        self._headers: dict[Path, Place] = {}

    def document(self, root: Node) -> Positions:
        for node in root.named_children:
            if node.type == "pair":
                self._pair(node, (), 0)
            elif node.type in ("table", "table_array_element"):
                self._table(node)
        return self._found

    def _table(self, node: Node) -> None:
        names = node.named_children
        if not names or names[0].type not in ("bare_key", "quoted_key", "dotted_key"):
            return
        parts = _key_parts(names[0])
        path = self._resolve(parts, array=node.type == "table_array_element")
        # The first pair of a table may come before its key in a broken text only.
        place = self._place(parts[-1][1])
        self._note(path, place, twice=self._headers.get(path))
        self._headers.setdefault(path, place)
        for child in names[1:]:
            if child.type == "pair":
                self._pair(child, path, 0)

    def _resolve(self, parts: list[tuple[str, Node]], *, array: bool) -> Path:
        path: Path = ()
        for name, node in parts[:-1]:
            path += (name,)
            self._found.keys.setdefault(path, self._place(node))
            if path in self._counts:
                path += (self._counts[path] - 1,)
        path += (parts[-1][0],)
        if array:
            self._found.keys.setdefault(path, self._place(parts[-1][1]))
            index = self._counts.get(path, 0)
            self._counts[path] = index + 1
            path += (index,)
        return path

    def _pair(self, node: Node, prefix: Path, depth: int) -> None:
        children = node.named_children
        if not children:
            return
        path = prefix
        parts = _key_parts(children[0])
        for name, part in parts:
            path += (name,)
            self._found.keys.setdefault(path, self._place(part))
        place = self._place(parts[-1][1])
        self._note(
            path, place, twice=self._found.keys[path] if path in self._found.values else None
        )
        values = [child for child in children[1:] if child.type != "comment"]
        if values:
            self._value(values[0], path, depth)

    def _value(self, node: Node, path: Path, depth: int) -> None:
        self._found.values.setdefault(path, self._place(node))
        if depth >= _DEEPEST:
            return
        if node.type == "array":
            items = [child for child in node.named_children if child.type != "comment"]
            for index, child in enumerate(items):
                self._value(child, (*path, index), depth + 1)
        elif node.type == "inline_table":
            for child in node.named_children:
                if child.type == "pair":
                    self._pair(child, path, depth + 1)
        elif node.text is not None:
            self._found.literals.setdefault(path, node.text.decode("utf-8", "replace"))

    def _note(self, path: Path, place: Place, *, twice: Place | None) -> None:
        if twice is not None:
            self._found.twice.append((path, twice, place))
        self._found.keys.setdefault(path, place)

    def _place(self, node: Node) -> Place:
        row, column = node.start_point
        before = self._lines[row][:column] if row < len(self._lines) else b""
        return Place(row + 1, len(before.decode("utf-8", "replace")) + 1)


def _key_parts(node: Node) -> list[tuple[str, Node]]:
    if node.type != "dotted_key":
        return [(_key_text(node), node)]
    parts: list[tuple[str, Node]] = []
    for child in node.named_children:
        parts.extend(_key_parts(child))
    return parts


def _key_text(node: Node) -> str:
    text = (node.text or b"").decode("utf-8", "replace")
    if node.type != "quoted_key":
        return text
    try:
        return next(iter(tomllib.loads(f"{text} = 0")))
    except tomllib.TOMLDecodeError:
        return text
