"""What ``jobctl doctor`` says of the schedules that the store keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.client.doctor import ERROR, MOST_SHOWN, OK, WARNING, Check
from jobctl.client.known_schedules import Catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobctl.client.open import Session

NAME = "live schedules"


def live_check(session: Session) -> Iterator[Check]:
    """Say which of them are not used, and why; nothing when there are none."""
    catalogue = Catalogue(session)
    if not catalogue.records:
        return
    if catalogue.refused:
        yield Check(
            name=NAME,
            status=ERROR,
            detail=f"refused, and never used: {_listed(catalogue.refused)}",
            remedy="find out who can write to the store, and whether all hosts have the same keys; "
            "then `jobctl schedule rm NAME`",
        )
    if catalogue.unused:
        yield Check(
            name=NAME,
            status=WARNING,
            detail=f"not used: {_listed(catalogue.unused)}",
            remedy="mend jobs.toml, `jobctl schedule set NAME`, or `jobctl schedule rm NAME`",
        )
    good = len(catalogue.records) - len(catalogue.refused) - len(catalogue.unused)
    if good:
        yield Check(name=NAME, status=OK, detail=f"{good} beside or over those of jobs.toml")


def _listed(why: Mapping[str, str]) -> str:
    shown = [f"{name!r} ({reason})" for name, reason in sorted(why.items())[:MOST_SHOWN]]
    more = len(why) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
