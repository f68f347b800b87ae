"""How a supervisor comes and goes.

The lock of the state directory proves that an earlier supervisor is dead. If it was killed in this
boot and nobody else has taken it for dead, its successor goes on under the same id: pools that live
are attached again, and those that died are started again with their journals. Otherwise what is
left of it is ended, and its runs are taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from jobctl.engine import journal_content, spool
from jobctl.engine.rescuer import take_back
from jobctl.engine.roster import known_pools, stray_exits
from jobctl.errors import JobctlError
from jobctl.store import membership, queries, settling

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jobctl.engine.pools import PoolHandle
    from jobctl.engine.roster import PoolFiles
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

REPLAY_MOST = 64
"""Outcomes that one call settles."""
KILLED_WITHIN = 10.0
"""Seconds a process may take to be gone after KILL; one that the kernel holds on to is not waited for."""
LOOK_EVERY = 0.01
LEAVE_TRIES = 20
LEAVE_PAUSE = 0.1


async def resume(
    facts: Mapping[str, object], *, boot_id: str, store: AsyncStore, keys: Keys
) -> str | None:
    """Return the id of an earlier supervisor that may be gone on with, ``None`` without one.

    ``facts`` are what it wrote of itself. After a reboot nothing of it runs; and when others took
    it for dead its id is worth nothing any more.
    """
    earlier = facts.get("supervisor")
    if not isinstance(earlier, str) or not boot_id or facts.get("boot") != boot_id:
        return None
    known = await store.run(membership.register(keys, supervisor=earlier, facts={}))
    return earlier if known >= 0 else None


async def inherit(
    facts: Mapping[str, object], *, state_dir: Path, supervisor: str, store: AsyncStore, keys: Keys
) -> tuple[list[PoolFiles], list[PoolFiles]]:
    """End what earlier supervisors left, but for what ``supervisor`` goes on with.

    Returns the pools of ``supervisor``, and those of others that still live.
    """
    own, living = [], []
    for files in known_pools(state_dir):
        if files.supervisor == supervisor:
            own.append(files)
        elif files.alive():
            living.append(files)
        else:
            await abandon(files, store=store, keys=keys)
    _clear_all(state_dir / "spool", kept=[*own, *living])
    if not own and not living:
        stray_exits(state_dir).unlink(missing_ok=True)
    await _relieve(store, keys, supervisor=supervisor, owners={files.owner for files in own})
    earlier = facts.get("supervisor")
    if isinstance(earlier, str) and earlier != supervisor:
        if not living:
            await asyncio.to_thread(_end_all, earlier)
        moved = await take_back(store, keys, supervisor=earlier)
        if moved:
            log.warning("supervisor %s ended without notice: took back %s runs", earlier, moved)
    return own, living


async def _relieve(store: AsyncStore, keys: Keys, *, supervisor: str, owners: set[str]) -> None:
    """Give back what pools had claimed that ended in order before their supervisor could do so."""
    for owner in set(await store.run(queries.owners(keys, supervisor))) - owners:
        moved = await take_back(store, keys, supervisor=supervisor, owner=owner)
        if moved:
            log.info("pool %s had claimed %d more when it ended; they wait again", owner, moved)


async def abandon(files: PoolFiles, *, store: AsyncStore, keys: Keys) -> None:
    """End and take back what a dead pool left, once its recorded outcomes are sent."""
    outcomes = list(journal_content.read(files.journal).outcomes.values())
    for start in range(0, len(outcomes), REPLAY_MOST):
        chunk = outcomes[start : start + REPLAY_MOST]
        await store.run(settling.settle(keys, owner=files.owner, items=chunk))
    ended = await asyncio.to_thread(_end_all, files.owner)
    moved = await take_back(store, keys, supervisor=files.supervisor, owner=files.owner)
    if ended or moved:
        log.warning("pool %s: took back %s runs, ended %d processes", files.owner, moved, ended)
    files.remove()


async def break_off(pool: PoolHandle, *, store: AsyncStore, keys: Keys) -> None:
    """Kill a pool that does not end, and end what it runs.

    What cannot be recorded stays in its journal, for the next supervisor.
    """
    log.error("pool %s does not end; killing it", pool.name)
    pool.kill()
    try:
        async with asyncio.timeout(KILLED_WITHIN):
            while pool.files.alive():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(LOOK_EVERY)
        await abandon(pool.files, store=store, keys=keys)
        spool.clear(pool.files, under_way=(), logs=())
    except TimeoutError:
        log.error("pool %s cannot be killed; it is left behind", pool.name)  # noqa: TRY400 - said whole
    except (JobctlError, OSError) as error:
        log.warning("pool %s: %s; its runs are left to the next daemon", pool.name, error)


def _clear_all(directory: Path, *, kept: list[PoolFiles]) -> None:
    """Delete what attempts that are gone left behind."""
    prefixes = tuple(f"{files.serial}-" for files in kept)
    for path in directory.iterdir():
        if not path.name.startswith(prefixes):
            spool.remove(path)


def tidy(state_dir: Path) -> None:
    """Delete what speaks of attempts when there is none any more; nothing happens while there may be.

    A pool that was left behind, with what it could not record, keeps it all.
    """
    if any(True for _ in known_pools(state_dir)):
        return
    with contextlib.suppress(OSError):
        _clear_all(state_dir / "spool", kept=[])
    with contextlib.suppress(OSError):
        stray_exits(state_dir).unlink()


async def leave(store: AsyncStore, keys: Keys, *, supervisor: str) -> bool:
    """Take a supervisor that has stopped off the list; return whether the store knows."""
    for _ in range(LEAVE_TRIES):
        with contextlib.suppress(JobctlError):
            if await store.run(membership.leave(keys, supervisor=supervisor)) == 0:
                return True
            await take_back(store, keys, supervisor=supervisor)
        await asyncio.sleep(LEAVE_PAUSE)
    return False


def _end_all(owner: str) -> int:
    """End every process of an owner and return how many; call it off the event loop."""
    # With psutil 1 MB, which a supervisor that begins in peace does not need.
    from jobctl.engine import leftovers  # noqa: PLC0415

    return leftovers.end(owner)
