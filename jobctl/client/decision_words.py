"""What was decided of an instant, in words: for scripts one, for people a sentence. Pure."""

from __future__ import annotations

from jobctl.model.job import Overlap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.model.job import JobDef
    from jobctl.store.queries import Decision

OUTCOMES = {"fire": "fired", "late": "late", "catchup": "caught_up", "backfill": "backfilled"}
"""Of instants whose run was accepted, by kind."""
EVENTS = {
    "off": "switched off", "on": "switched on", "once": "next instant switched off",
    "skip-to": "skipped to here", "changed": "rule, zone or enabled changed: starts from here",
    "removed": "removed from jobs.toml", "add": "added", "set": "changed live", "unset": "live change taken back",
}  # fmt: skip
"""Lines of a history that are no instants."""
_REFUSED = {
    "full": ("not_accepted", "the queue was full"),
    "spent": ("spent", "max_runs was reached"),
    "disabled": ("disabled", "the schedule was switched off"),
    "missed": ("missed", "no supervisor was up in time"),
}


def is_event(decision: Decision) -> bool:
    """Return whether a line tells of a change rather than of an instant."""
    return decision.kind in EVENTS


def is_decided(decision: Decision) -> bool:
    """Return whether a line tells of an instant that the schedule itself came to."""
    return not is_event(decision) and decision.kind != "backfill"


def outcome(decision: Decision) -> tuple[str, str]:
    """Return what became of an instant: one word, and why it made no run (``""`` when it did).

    The words: ``fired``, ``late``, ``caught_up``, ``backfilled``, ``skipped``, ``not_accepted``, ``known``,
    ``missed``, ``disabled``, ``spent``; for a line that is no instant ``event``.
    """
    if is_event(decision):
        return "event", EVENTS[decision.kind]
    answer, _, detail = decision.answer.partition(" ")
    if answer == "ok":
        return OUTCOMES.get(decision.kind, decision.kind), ""
    if answer == "skip":
        return "skipped", f"run {detail} had not ended"
    if answer == "unique":
        return "not_accepted", f"run {detail} with the same unique key had not ended"
    if answer == "dup":
        return "known", "its run was there already"
    return _REFUSED.get(answer, (answer, ""))


_ENDED = {
    "overlap": "an older run had not ended (overlap)",
    "condition": "only_if said no",
    "code": "it exited with one of its skip_codes",
    "user": "somebody revoked it",
    "replaced": "replaced by a newer run (overlap = replace)",
    "upstream": "a run it depends on did not succeed",
}


def ended(state: str, reason: str, job: JobDef, *, expires: float | None) -> str:
    """Return why an accepted run did nothing; ``""`` when it did something, or may still.

    ``state`` and ``reason`` are the run's; ``expires`` is what its schedule says of it, in seconds.
    """
    if state == "expired":
        limits = {"start_deadline": job.start_deadline, "expires": expires}
        known = " or ".join(name for name, limit in limits.items() if limit is not None)
        return f"not started within {known or 'start_deadline or expires'}"
    if state not in ("skipped", "revoked"):
        return ""
    if reason == "overlap" and job.overlap is Overlap.QUEUE:
        return "a newer run took its place (overlap = queue)"
    return _ENDED.get(reason, "")
