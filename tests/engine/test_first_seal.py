"""What a daemon that signs does, once, about the runs that nobody signed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import pytest

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import first_seal
from jobctl.model.admission import Admission, NewRun
from jobctl.model.config import Security, Settings
from jobctl.model.ids import new_id
from jobctl.model.run import Request
from jobctl.model.sealing import is_sealed
from jobctl.store import keyring, queries, transitions
from jobctl.store.aio import AsyncStore
from jobctl.store.keyring import Signing
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jobctl.errors import JobctlError
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.calls import Call
    from jobctl.store.embedded import EmbeddedStore

T = TypeVar("T")

RUNS = 1500


class Counting(AsyncStore):
    """Knows the most that was ever asked for at once."""

    most = 0

    async def try_many(self, calls: Sequence[Call[T]]) -> list[T | JobctlError]:
        self.most = max(self.most, len(calls))
        return await super().try_many(calls)


def test_long_queue_is_signed_in_small_parts(
    store: BlockingStore, server: EmbeddedStore, tmp_path: Path
) -> None:
    keys = Keys("t")
    ids = [new_id() for _ in range(RUNS)]
    store.run(
        transitions.submit(
            keys, [NewRun(request=Request(id=one, job="j"), admission=Admission()) for one in ids]
        )
    )
    path = keyring.own_path(str(tmp_path))
    keyring.ensure(path, day="20260101")
    signing = Signing(
        Security(key_file=path),
        Settings(namespace="t", state_dir=str(tmp_path)),
        now=SYSTEM_CLOCK.epoch,
        on_trouble=lambda error: pytest.fail(str(error)),
    )

    async def seal() -> int:
        async with Counting(server.address) as counting:
            await first_seal.seal_what_waits(
                counting, keys, signing, state_dir=tmp_path, clock=SYSTEM_CLOCK
            )
            return counting.most

    most = asyncio.run(seal())

    found = store.run_many([queries.submitted(keys, one) for one in ids])
    assert all(item is not None and is_sealed(item.envelope) for item in found)
    assert 0 < most <= first_seal.PART
