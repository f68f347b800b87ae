"""What ``jobctl doctor`` says of signatures: the key file, and what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.client.doctor import ERROR, OK, WARNING, Check
from jobctl.errors import JobctlError
from jobctl.store import keyring, queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client.open import Session
    from jobctl.model.config import Config


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
    """Say how many records and orders were refused, if any were."""
    counters = session.run(queries.counters(session.keys))
    runs, orders, again = (
        int(counters.get(name, "0") or 0) for name in ("bad", "forged", "replayed")
    )
    if not (runs or orders or again):
        yield Check(name="signatures", status=OK, detail="nothing was refused")
        return
    yield Check(
        name="signatures",
        status=WARNING,
        detail=f"{runs} runs and {orders} orders were refused: their records were not signed as they must be, "
        f"were changed, or cannot be read; {again} runs that had ended came back and were not run again",
        remedy="the daemons' logs say why; find out who can write to the store, and whether all hosts have the same keys",
    )
