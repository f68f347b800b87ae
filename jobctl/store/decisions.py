"""Every change of a schedule as a :class:`Call`: each instant is decided once, by one Lua script."""

from __future__ import annotations

from jobctl.model.records import record
from jobctl.store.calls import Call
from jobctl.store.codec import items_of
from jobctl.store.transitions import Answer, milliseconds, run_body, run_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.model.admission import NewRun
    from jobctl.model.sealing import Seal
    from jobctl.store.keys import Keys
    from jobctl.store.transitions import Part


def introduce_schedules(keys: Keys, generations: Mapping[str, str]) -> Call[tuple[float, ...]]:
    """Introduce schedules (name → digest of rule and zone); answers each one's last decided instant."""
    flat = [part for pair in generations.items() for part in pair]
    return Call(
        (keys.prefix, *flat),
        lambda reply: tuple(float(item) / 1000 for item in items_of(reply)),
        script="schedule",
    )


@record(frozen=True, slots=True)
class TickReply:
    """The answer to a tick: what was decided, and the schedule's last decided instant now."""

    answer: Answer
    last: float | None


def tick(  # noqa: PLR0913 - the compare-and-set needs all of them
    keys: Keys,
    *,
    schedule: str,
    generation: str,
    previous: float,
    instant: float,
    following: float | None,
    kind: str,
    who: str,
    run: NewRun | None,
    max_runs: int | None = None,
    seal: Seal | None = None,
) -> Call[TickReply]:
    """Decide one scheduled instant: with ``run`` it is accepted, without it is recorded as missed.

    Instants are epoch seconds; ``previous`` must be the last decided one.
    """

    def decode(reply: object) -> TickReply:
        answer, last = items_of(reply)
        return TickReply(Answer.parse(answer), float(last) / 1000 if last else None)

    parts: tuple[Part, ...] = (
        keys.prefix,
        schedule,
        generation,
        milliseconds(previous),
        milliseconds(instant),
        "" if following is None else milliseconds(following),
        kind,
        who,
        "" if max_runs is None else max_runs,
    )
    if run is not None:
        parts = (*parts, *run_header(run), *run_body(run, seal))
    return Call(parts, decode, script="tick")


def boot(
    keys: Keys,
    *,
    schedule: str,
    host: str,
    boot_id: str,
    who: str,
    run: NewRun,
    seal: Seal | None = None,
) -> Call[Answer]:
    """Fire an ``@reboot`` or ``@start`` schedule once for this host and boot."""
    return Call(
        (keys.prefix, schedule, host, boot_id, who, *run_header(run), *run_body(run, seal)),
        Answer.parse,
        script="boot",
    )
