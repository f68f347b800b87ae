"""What ``jobctl doctor`` says of signatures: the key file, and what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.client.doctor import ERROR, OK, WARNING, Check
from jobctl.errors import JobctlError
from jobctl.model.run import Run
from jobctl.model.sealing import TOO_EARLY, TOO_LATE
from jobctl.store import keyring, queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client.open import Session
    from jobctl.model.config import Config

NAME = "signatures"
LOOKED_AT = 100
"""Refused runs, the newest, of which the reason is looked at."""
LONGEST = 300
"""Characters of a reason."""
SOMEBODY = "the daemons' logs say why; find out who can write to the store, and whether all hosts have the same keys"


def key_check(config: Config) -> Check:
    """Say what signs runs on this host."""
    name, security, path = "signing keys", config.security, config.security.key_file
    if path is None or not security.signs:
        shared = config.settings.redis is not None
        return Check(
            name=name, status=WARNING if shared else OK,
            detail="nothing is signed: whoever can write to the store can have any job run",
            remedy="jobctl keys init" if shared else "",
        )  # fmt: skip
    try:
        found = keyring.ring(security, namespace=config.settings.namespace)
    except keyring.NoKeysError as error:
        if config.settings.redis is None:
            return Check(name=name, status=OK, detail=f"{path} is made when the daemon starts")
        message, _, remedy = str(error).partition("; ")
        return Check(name=name, status=ERROR, detail=message, remedy=remedy)
    except JobctlError as error:
        message, _, remedy = str(error).partition("; ")
        return Check(name=name, status=ERROR, detail=message, remedy=remedy)
    assert found is not None  # noqa: S101 - it signs
    if not security.require:
        return Check(
            name=name, status=WARNING, detail=f"{found.signer!r} signs, and what is not signed is run too",
            remedy="remove require = false from [security] when all hosts sign",
        )  # fmt: skip
    return Check(name=name, status=OK, detail=f"{found.signer!r} of {path} signs")


def refusal_check(session: Session) -> Iterator[Check]:
    """Say what was refused and why, if anything was; and what came back after its end."""
    counters = session.run(queries.counters(session.keys))
    runs, orders, again = (
        int(counters.get(name, "0") or 0) for name in ("bad", "forged", "replayed")
    )
    if runs:
        yield _refused_runs(session, runs)
    if orders:
        yield Check(
            name=NAME, status=WARNING,
            detail=f"{_counted(orders, 'order')} or live schedules were refused: they were not signed as they must be",
            remedy=SOMEBODY,
        )  # fmt: skip
    if again:
        yield Check(
            name=NAME, status=WARNING,
            detail=f"{_counted(again, 'run')} that had ended here came back into the store and "
            f"{'was' if again == 1 else 'were'} not run again",
            remedy="a failover, a crash or a backup that sets the store back does this; "
            "if there was none, find out who can write to the store",
        )  # fmt: skip
    if not (runs or orders or again):
        yield Check(name=NAME, status=OK, detail="nothing was refused")


def _refused_runs(session: Session, count: int) -> Check:
    """Say how many were refused, and of the newest why."""
    ids = session.run(queries.refused_ids(session.keys, most=LOOKED_AT))
    found = session.try_many([queries.run_or_broken(session.keys, run_id) for run_id in ids])
    why = [run.error or "" for run in found if isinstance(run, Run)]
    detail = f"{_counted(count, 'run')} {'was' if count == 1 else 'were'} refused and failed"
    if why and why[0]:
        detail += f", the last one: {_printable(why[0])}"
    if why and len(why) == count and all(_untimely(words) for words in why):
        return Check(
            name=NAME, status=WARNING, detail=detail,
            remedy="they waited for longer than valid_for in [security] allows, or clocks differ; "
            "jobctl retry RUN for what is still wanted",
        )  # fmt: skip
    return Check(name=NAME, status=WARNING, detail=detail, remedy=SOMEBODY)


def _untimely(words: str) -> bool:
    return words.endswith((TOO_EARLY, TOO_LATE))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _printable(words: str) -> str:
    """Return what a record says for a terminal: anybody may have written it."""
    return "".join(char if char.isprintable() else "?" for char in words[:LONGEST])
