"""All mutants, in the order in which they are tried."""

from __future__ import annotations

from tests.mutation import mending, moves, parts, rest, telling

MUTANTS = [*parts.MUTANTS, *moves.MUTANTS, *rest.MUTANTS, *mending.MUTANTS, *telling.MUTANTS]
