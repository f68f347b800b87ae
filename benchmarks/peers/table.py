"""Medians of rounds, the ratios of what was taken side by side, and how both are printed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.peers.measures import COLUMNS
from benchmarks.peers.participants import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.peers.measures import Column

    Round = Mapping[str, Mapping[str, float]]
    """Participant → column → figure; what could not be measured is absent."""

MISSING = "-"


def order(names: Sequence[str], turn: int) -> list[str]:
    """Return who comes when in a round: each round begins with another one."""
    shift = turn % len(names)
    return [*names[shift:], *names[:shift]]


def median(rounds: Sequence[Round], name: str, column: str) -> float | None:
    """Return the median of a figure over the rounds that have it."""
    found = [one[name][column] for one in rounds if column in one.get(name, {})]
    return statistics.median(found) if found else None


def ratio(rounds: Sequence[Round], name: str, column: str) -> float | None:
    """Return the median over rounds of a peer's figure divided by ours of the same round."""
    pairs = [
        one[name][column] / one[OURS][column]
        for one in rounds
        if column in one.get(name, {}) and one.get(OURS, {}).get(column)
    ]
    return statistics.median(pairs) if pairs else None


def lines(rounds: Sequence[Round], names: Sequence[str]) -> list[str]:
    """Return the table: medians, and below each other what a peer's figure is to ours."""
    columns = [
        column
        for column in COLUMNS
        if any(median(rounds, one, column.name) is not None for one in names)
    ]
    text = [_row("", [column.name for column in columns])]
    text.append(_row("", [column.unit for column in columns]))
    text += [
        _row(name, [_figure(median(rounds, name, column.name), column) for column in columns])
        for name in names
    ]
    if OURS in names and len(names) > 1:
        text += ["", "peer / jobctl, median of the ratios of each round"]
        text += [
            _row(name, [_ratio(ratio(rounds, name, column.name)) for column in columns])
            for name in names
            if name != OURS
        ]
    return text


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<16}" + "".join(f"{cell:>10}" for cell in cells)


def _figure(value: float | None, column: Column) -> str:
    return MISSING if value is None else f"{value:,.{column.digits}f}"


def _ratio(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"
