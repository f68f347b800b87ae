"""Writes the generated parts of the documentation: ``python -m docs.generate``.

A page holds them between ``<!-- generated:NAME -->`` and ``<!-- /generated -->``. With
``--check`` nothing is written; stale pages are named, and the exit code is 1.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from docs import api, command, facts, faults, keys

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parent
REGION = re.compile(
    r"(<!-- generated:(?P<name>[a-z0-9-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL
)

REGIONS: dict[str, Callable[[], str]] = {
    **{f"job-keys-{group}": partial(keys.job_keys, group) for group in keys.GROUPS},
    **{f"{table}-keys": partial(keys.table_keys, table) for table in keys.TABLES},
    "states": facts.states,
    "state-diagram": facts.state_diagram,
    "transitions": facts.transitions,
    "reasons": facts.reasons,
    "exit-codes": facts.exit_codes,
    "error-codes": facts.error_codes,
    "environment": facts.environment,
    "redis-keys": facts.redis_keys,
    "run-fields": facts.run_fields,
    "attempt-fields": facts.attempt_fields,
    "everywhere": command.everywhere,
    "verbs": command.verbs,
    "verb-index": command.index,
    "faults": faults.table,
    "python-api": api.reference,
}


def pages() -> list[Path]:
    """Return every page of the documentation."""
    return sorted(DOCS.rglob("*.md"))


def regenerated(text: str) -> str:
    """Return a page with its generated parts made anew; raises ``KeyError`` for an unknown one."""
    return REGION.sub(
        lambda found: f"{found[1]}\n{REGIONS[found['name']]().strip()}\n\n{found[3]}", text
    )


def regions(text: str) -> list[str]:
    """Return the names of the generated parts of a page."""
    return [found["name"] for found in REGION.finditer(text)]


def main(words: list[str]) -> int:
    """Write every page anew, or with ``--check`` only look."""
    stale = 0
    for page in pages():
        text = page.read_text()
        made = regenerated(text)
        if made == text:
            continue
        stale += 1
        if "--check" in words:
            sys.stderr.write(f"{page} is stale: run `just docs`\n")
        else:
            page.write_text(made)
    return 1 if stale and "--check" in words else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
