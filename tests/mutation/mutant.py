"""A mutant: one guard taken out of the text of one Lua file."""

from __future__ import annotations

from typing import NamedTuple

from jobctl.store import scripts


class Mutant(NamedTuple):
    part: str
    """The file, ``claim`` for ``claim.lua``; a part of all scripts stands for all of them."""
    guard: str
    """What is taken out, in words; unique within its part."""
    old: str
    """Text that the file holds exactly once."""
    new: str
    same: str = ""
    """Why nobody can tell the mutant from the original; empty when a test must."""

    @property
    def name(self) -> str:
        return f"{self.part}: {self.guard}"

    def apply(self, text: str) -> str:
        """Return the mutated text; raises ValueError when the guard is no longer there."""
        times = text.count(self.old)
        if times != 1:
            raise ValueError(f"{self.name}: {self.old!r} is {times} times in {self.part}.lua")
        return text.replace(self.old, self.new)


def text_of(part: str) -> str:
    """The text of a Lua file as it is."""
    return scripts._read(part).decode()
