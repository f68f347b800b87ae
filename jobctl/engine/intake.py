"""What becomes of a claim before anything is started: a run that is held, or a refusal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobctl.engine.ledger import Held
from jobctl.engine.requests import Requests
from jobctl.model.run import LETTERS, Reason
from jobctl.model.sealing import SKEW, TOO_EARLY, TOO_LATE, SealError
from jobctl.store.codec import BadPayloadError
from jobctl.store.keyring import Signing
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock
    from jobctl.engine.starts import Known, Starts
    from jobctl.model.config import Config
    from jobctl.model.sealing import Ring, Sealed
    from jobctl.store.transitions import Claim

log = logging.getLogger(__name__)

LOST_MOST = 3
"""Attempts that may be lost besides those that are signed, as in ``store/lua/rescue.lua``."""


def signing_of(config: Config, *, clock: Clock) -> Signing:
    """Return what signs and checks as a configuration says."""
    return Signing(
        config.security,
        config.settings,
        now=clock.epoch,
        on_trouble=lambda error: log.error("%s; the keys it had go on", error),
    )


class UntrustedError(BadPayloadError):
    """Raised for what is not signed as it must be, or was run before: somebody made it."""


class EndedError(UntrustedError):
    """Raised for a run that has ended on this host before; ``letter`` says how."""

    def __init__(self, message: str, letter: str) -> None:
        super().__init__(message)
        self.letter = letter


class Intake:
    """Lets in what was submitted by somebody who has a key, while it holds, and as often as it may.

    Without signing in the configuration everything that can be understood is let in.
    """

    def __init__(self, signing: Signing, starts: Starts, *, clock: Clock) -> None:
        self._signing = signing
        self._starts = starts
        self._clock = clock
        self._requests = Requests()
        self._until: tuple[Sealed | None, float] = None, 0.0

    def taking_in(self) -> Callable[[Claim], Held]:
        """Return what takes in the runs of one claim, by the keys and the time when it is first called.

        It returns what the pool knows of a run, and raises BadPayloadError when what was submitted
        cannot be trusted or understood.
        """
        moment: list[tuple[Ring | None, float, float]] = []

        def take_in(claim: Claim) -> Held:
            if not moment:
                moment.append((self._signing.ring, self._clock.epoch(), self._clock.monotonic()))
            return self._take_in(claim, *moment[0])

        return take_in

    def _take_in(self, claim: Claim, ring: Ring | None, now: float, monotonic: float) -> Held:
        sealed = None if ring is None else self._checked(claim, ring, now)
        request = self._requests.read(claim, sealed=sealed is not None)
        if sealed is None or ring is None:
            return Held(claim, request, monotonic, claim.attempt + 1)
        seal, until = self._until
        if seal is not sealed:  # runs of one bulk have theirs in common
            until = last_start(sealed, ring.valid_for)
            self._until = sealed, until
        # By place: words would cost as much again.
        return Held(claim, request, monotonic, claim.attempt + 1, sealed.signed, until)

    def _checked(self, claim: Claim, ring: Ring, now: float) -> Sealed | None:
        try:
            sealed = ring.check(
                claim.envelope,
                run_id=claim.id,
                job=claim.job,
                queue=claim.queue,
                priority=claim.priority,
                attempts=claim.max_attempts,
            )
            if sealed is None:
                log.warning(
                    "run %s of %s is not signed; it is run nevertheless", claim.id, claim.job
                )
            else:
                _check_time(claim, sealed, ring, now=now)
                known = self._starts.look(claim.id)
                if known is not None:
                    _check_replay(claim, sealed, known)
        except SealError as error:
            raise UntrustedError(f"run {claim.id} of {claim.job!r} is refused: {error}") from error
        return sealed


def last_start(sealed: Sealed, valid_for: float) -> float:
    """Return until when a run may be tried again, in epoch seconds."""
    return max(sealed.until, max(sealed.signed, sealed.not_before or 0) + valid_for)


def _check_time(claim: Claim, sealed: Sealed, ring: Ring, *, now: float) -> None:
    """Raise SealError when a run is not to start now; clocks may differ by SKEW."""
    if sealed.not_before is not None and now + SKEW < sealed.not_before:
        raise SealError(TOO_EARLY)
    until = sealed.until if claim.attempt == 0 else last_start(sealed, ring.valid_for)
    if now - SKEW > until:
        raise SealError(TOO_LATE)


def _check_replay(claim: Claim, sealed: Sealed, known: Known) -> None:
    """Raise SealError for a run that was here before more often than it may, EndedError for one that ended."""
    if sealed.signed > known.signed:
        return
    if sealed.signed < known.signed:
        raise SealError("this host has started a newer run of the same id")
    if known.letter:
        raise EndedError(
            f"run {claim.id} of {claim.job!r} is not run again: it has ended on this host before "
            f"({LETTERS[known.letter].value}), and was put back into the store",
            known.letter,
        )
    most = int(claim.max_attempts)
    if 0 <= most <= known.starts - LOST_MOST:
        raise SealError(f"this host has started it {known.starts} times, {most} are allowed")


def refusal(claim: Claim, error: BadPayloadError) -> Settlement:
    """Say that a run is not taken in, and return how it ends."""
    log.error("security: %s" if isinstance(error, UntrustedError) else "%s", error)
    fields = ("er", str(error))
    if isinstance(error, EndedError):
        reason = "" if error.letter == "k" else Reason.REPLAYED.value
        letter = error.letter
    else:
        letter, reason = "x", Reason.BAD_PAYLOAD.value
    return Settlement(claim.id, claim.epoch, letter, reason, 0.0, fields, claim.submitted_at)
