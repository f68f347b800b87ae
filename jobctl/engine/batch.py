"""What a pool has for the store: what waits, and what goes in one go."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from jobctl.store import settling, transitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jobctl.store.calls import Call
    from jobctl.store.keys import Keys
    from jobctl.store.settling import Settlement

T = TypeVar("T")

SETTLE_MOST = 256
"""Outcomes in one call, which takes the store some 4 ms: it does nothing else meanwhile."""

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
            calls.append(settling.settle(keys, owner=owner, items=self.settlements.values()))
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


class Outbox:
    """What waits to be sent. It stays until it is answered; a newer entry replaces an unsent one.

    ``unsettled`` is that of the ledger.
    """

    def __init__(self, unsettled: dict[str, Settlement]) -> None:
        self.marks: dict[str, Mark] = {}
        self.notes: dict[str, tuple[str, int, str]] = {}
        """Progress, by run id."""
        self.releases: dict[str, tuple[str, int]] = {}
        self.extra: list[Call[object]] = []
        """Calls whose loss does no harm."""
        self.unsettled = unsettled

    @property
    def clear(self) -> bool:
        """Whether nothing waits that must not be lost."""
        return not (self.unsettled or self.releases or self.marks)

    def settle(self, items: Sequence[Settlement]) -> None:
        """Put in settlements; what else there was to say of their runs is nothing to them any more."""
        self.unsettled.update((item.id, item) for item in items)
        if self.marks or self.notes:
            for item in items:
                self.marks.pop(item.id, None)
                self.notes.pop(item.id, None)

    def batch(self, under_way: Sequence[Batch] = ()) -> Batch:
        """Return what goes next, which is nothing of what is ``under_way``."""
        extra, self.extra = self.extra, []
        return Batch(
            marks=dict(_others(self.marks, [one.marks for one in under_way])),
            notes=dict(_others(self.notes, [one.notes for one in under_way])),
            settlements=dict(
                itertools.islice(
                    _others(self.unsettled, [one.settlements for one in under_way]), SETTLE_MOST
                )
            ),
            releases=dict(_others(self.releases, [one.releases for one in under_way])),
            extra=extra,
        )

    def forget(self, batch: Batch) -> None:
        """Remove what was answered, unless something newer took its place meanwhile."""
        _forget(self.marks, batch.marks)
        _forget(self.notes, batch.notes)
        _forget(self.unsettled, batch.settlements)
        _forget(self.releases, batch.releases)


def _others(waiting: dict[str, T], sent: Sequence[Mapping[str, T]]) -> Iterable[tuple[str, T]]:
    """Return what waits and was not sent, or something newer than what was."""
    if not any(sent):
        return waiting.items()
    return (
        (key, value)
        for key, value in waiting.items()
        if all(one.get(key) is not value for one in sent)
    )


def _forget(waiting: dict[str, T], sent: Mapping[str, T]) -> None:
    for key, value in sent.items():
        if waiting.get(key) is value:
            del waiting[key]
