"""How a pool goes on where a dead process of the same pool stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.ending import Finding
from jobctl.engine.host_journal import since_boot
from jobctl.engine.ledger import Held
from jobctl.engine.roster import stray_exits
from jobctl.engine.survivors import Death, Survivor, leader_of, unwritten
from jobctl.errors import JobctlError
from jobctl.model.job import JobDef
from jobctl.model.run import OutcomeKind, Reason, Request
from jobctl.store import queries
from jobctl.store.transitions import Claim

if TYPE_CHECKING:
    from jobctl.engine.journal_content import Content, Started
    from jobctl.engine.roster import PoolFiles
    from jobctl.store.address import Address
    from jobctl.store.keys import Keys

ANSWER = 1.0
"""Seconds the store has for saying which attempts have ended."""


def survivors(
    files: PoolFiles, content: Content, *, address: Address, keys: Keys
) -> list[Survivor]:
    """Return the attempts of a dead pool that were started and not settled.

    The store is asked only for processes of which the journal says nothing.
    """
    exits = (files.exits, stray_exits(files.state_dir))
    found = unwritten(files.owner, known={*content.running, *content.outcomes})
    over = _over(found, content.intended, address=address, keys=keys)
    for started in found:
        if started.run_id not in over:
            content.running[started.run_id] = started
    intended = content.intended
    if intended is not None and intended.run_id not in content.running:
        known = {started.pid for started in content.running.values()}
        pid = leader_of(intended, exits, known=known)
        if pid is not None:
            started_at = SYSTEM_CLOCK.epoch() - (since_boot() - intended.begun)
            content.running[intended.run_id] = replace(intended, pid=pid, started_at=started_at)
    return [
        Survivor(
            started=started,
            exits=exits,
            seen=_seen(content, started),
            stop=_stop(content, started),
        )
        for started in content.running.values()
    ]


def _over(
    found: list[Started], intended: Started | None, *, address: Address, keys: Keys
) -> set[str]:
    """Return the runs of attempts that have ended; of none while the store is away.

    An attempt is written down before it is made, and forgotten when it is settled. So a process of
    another one was left by its job on purpose, unless the journal could not be written.
    """
    unsure = [one for one in found if intended is None or one.run_id != intended.run_id]
    if not unsure:
        return set()
    from jobctl.store.blocking import BlockingStore  # noqa: PLC0415 - few pools ever need it

    calls = [queries.attempt_ended(keys, one.run_id, one.attempt) for one in unsure]
    try:
        with BlockingStore(address, timeout=ANSWER) as store:
            ended = store.try_many(calls)
    except JobctlError:
        return set()
    return {one.run_id for one, word in zip(unsure, ended, strict=True) if word is True}


def held(started: Started, *, now: float) -> Held:
    """Return what this pool knows of the claim of a survivor; ``now`` is monotonic seconds."""
    request = Request(
        id=started.run_id,
        job=started.job,
        max_attempts=started.max_attempts,
        timeout=started.timeout,
    )
    claim = Claim(
        id=started.run_id,
        epoch=started.epoch,
        attempt=started.attempt - 1,
        lost=started.lost,
        first_started_at=started.first_started_at or None,
        queue=request.queue,
        priority=str(request.priority),
        job=started.job,
        submitted_at=0.0,
        max_attempts=str(started.max_attempts),
        envelope=b"",
        due_at=None,
        interrupted=started.interrupted,
    )
    return Held(
        claim=claim,
        request=request,
        claimed_at=now,
        attempt=started.attempt,
        signed=started.signed,
        last_start=started.last_start,
        pid=started.pid,
        started_at=started.started_at,
    )


def definition(job: JobDef | None, started: Started) -> JobDef:
    """Return by which definition a survivor is seen to its end.

    It is the present one, as for the attempts that follow it. A job that is gone from jobs.toml
    ends by the defaults; a command it needs no more.
    """
    return job if job is not None else JobDef(name=started.job)


def _seen(content: Content, started: Started) -> Death | None:
    found = content.exits.get(started.run_id)
    return None if found is None else Death(status=found[0], ended=found[1])


def _stop(content: Content, started: Started) -> Finding | None:
    found = content.stops.get(started.run_id)
    if found is None:
        return None
    kind, reason, error = found
    return Finding(OutcomeKind(kind), None if reason is None else Reason(reason), error)
