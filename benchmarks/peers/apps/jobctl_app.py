"""jobctl: every default, and so signed, recorded, kept in history and delivered at least once."""

from __future__ import annotations

import os

from jobctl.client.open import Session
from jobctl.client.sending import send_many, send_one
from jobctl.client.submit import Wish, own_name, prepare


def connect() -> None:
    """Open the store."""
    global _session  # noqa: PLW0603 - one process, one session
    _session = Session.open(os.environ["PEER_CONFIG"])
    _session.signing  # noqa: B018 - reads the key


def submit_many(count: int) -> None:
    """Check, sign and send in batches; each must be accepted."""
    who = own_name()
    runs = (prepare(_session, Wish("noop"), submitter=who) for _ in range(count))
    for receipt in send_many(_session, runs):
        if not receipt.accepted:
            raise SystemExit(f"a run was not accepted: {receipt.answer}")


def submit_one(number: int) -> None:
    """Submit one."""
    receipt, _ = send_one(_session, prepare(_session, Wish("noop", args=[number])))
    if not receipt.accepted:
        raise SystemExit(f"the run was not accepted: {receipt.answer}")
