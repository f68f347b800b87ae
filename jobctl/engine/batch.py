"""What a pool sends to the store in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from jobctl.store import transitions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.store.calls import Call
    from jobctl.store.keys import Keys
    from jobctl.store.transitions import Settlement

T = TypeVar("T")

Mark = tuple[str, int, int, float, int]
"""Run id, epoch, attempt, started at, pid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A snapshot of what waits to be sent, by run id."""

    marks: dict[str, Mark]
    notes: dict[str, tuple[str, int, str]]
    settlements: dict[str, Settlement]
    releases: dict[str, tuple[str, int]]
    extra: list[Call[object]]

    def calls(self, keys: Keys, owner: str) -> list[Call[object]]:
        """Return the calls that send it, in the order that :meth:`answers` expects."""
        calls: list[Call[object]] = []
        if self.marks:
            calls.append(transitions.start(keys, owner=owner, marks=self.marks.values()))
        if self.settlements:
            calls.append(transitions.settle(keys, owner=owner, items=self.settlements.values()))
        if self.notes:
            calls.append(transitions.note(keys, owner=owner, items=self.notes.values()))
        if self.releases:
            calls.append(transitions.release(keys, owner=owner, items=self.releases.values()))
        return calls + self.extra

    def answers(self, replies: list[object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the answers to the marks and to the settlements, one each."""
        rest = iter(replies)
        marked = next(rest) if self.marks else ()
        settled = next(rest) if self.settlements else ()
        return marked, settled  # type: ignore[return-value]  # decoded by start and settle


def forget(waiting: dict[str, T], sent: Mapping[str, T]) -> None:
    """Remove from ``waiting`` what was sent, unless something newer took its place meanwhile."""
    for key, value in sent.items():
        if waiting.get(key) is value:
            del waiting[key]
