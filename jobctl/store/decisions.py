"""Every change of a schedule as a :class:`Call`: each instant is decided once, by one Lua script."""

from __future__ import annotations

from jobctl.model.records import record
from jobctl.store.calls import Call
from jobctl.store.codec import items_of, text
from jobctl.store.transitions import Answer, milliseconds, run_body, run_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobctl.model.admission import NewRun
    from jobctl.model.sealing import Seal
    from jobctl.store.keys import Keys
    from jobctl.store.transitions import Part


def introduce_schedules(
    keys: Keys, generations: Mapping[str, str], *, known: Mapping[str, float] | None = None
) -> Call[tuple[float | None, ...]]:
    """Introduce schedules (name → digest of rule and zone); answers each one's last decided instant.

    None where a key of another type is in its place. ``known`` has last decided instants, for a store that has forgotten the schedule.
    """
    lasts = known or {}
    flat = [
        part
        for name, generation in generations.items()
        for part in (name, generation, milliseconds(lasts[name]) if name in lasts else "")
    ]
    return Call(
        (keys.prefix, *flat),
        lambda reply: tuple(float(item) / 1000 if item else None for item in items_of(reply)),
        script="schedule",
    )


def retire(keys: Keys, generations: Mapping[str, str]) -> Call[int]:
    """Take note that schedules (name → generation) have left jobs.toml; answers how many were known."""
    flat = [part for pair in generations.items() for part in pair]
    return Call((keys.prefix, *flat), int, script="retire")  # type: ignore[arg-type]  # a number


def peek(keys: Keys, generations: Mapping[str, str]) -> Call[tuple[float | None, ...]]:
    """Read the last decided instant of schedules (name → digest of rule and zone).

    None for a schedule of which another generation is in force, or which is not known.
    """
    flat = [part for pair in generations.items() for part in pair]
    return Call(
        (keys.prefix, *flat),
        lambda reply: tuple(float(item) / 1000 if item else None for item in items_of(reply)),
        script="peek",
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
    unlisted: int = 0,
    missed_by: tuple[str, str] | None = None,
    seal: Seal | None = None,
) -> Call[TickReply]:
    """Decide one scheduled instant: with ``run`` it is accepted, without it is recorded as missed.

    Instants are epoch seconds; ``previous`` must be the last decided one. ``unlisted`` is how many
    missed instants lie between the two. ``missed_by`` is the job, and what its runs carry of notices,
    when somebody is to be told that the instant was missed.
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
        unlisted or "",
    )
    if run is not None:
        parts = (*parts, *run_header(run), *run_body(run, seal))
    elif missed_by is not None:
        parts = (*parts, *missed_by)
    return Call(parts, decode, script="tick")


def boot(  # noqa: PLR0913 - a run and what decides on it
    keys: Keys,
    *,
    schedule: str,
    host: str,
    boot_id: str,
    who: str,
    run: NewRun,
    late: bool = False,
    max_runs: int | None = None,
    seal: Seal | None = None,
) -> Call[Answer]:
    """Fire an ``@reboot`` or ``@start`` schedule once for this host and boot.

    One that came ``late``, when that was over, waits for the next.
    """
    most = "" if max_runs is None else max_runs
    head = (keys.prefix, schedule, host, boot_id, who, "late" if late else "", most)
    return Call(
        (*head, *run_header(run), *run_body(run, seal)),
        Answer.parse,
        script="boot",
    )


def switch(
    keys: Keys, names: Sequence[str], *, what: str, until: float | None = None, who: str
) -> Call[tuple[bool, ...]]:
    """Switch schedules ``off``, ``on``, or off for their next instant (``once``).

    ``until`` is epoch seconds. Answers for each whether that changed anything.
    """
    till = "" if until is None else milliseconds(until)
    return Call(
        (keys.prefix, what, till, who, *names),
        lambda reply: tuple(item == 1 for item in items_of(reply)),
        script="switch",
    )


def skip_to(
    keys: Keys, schedule: str, *, last: float, target: float, who: str
) -> Call[tuple[str, float | None]]:
    """Let go what a schedule has to decide up to ``target``; ``last`` is its last decided instant.

    Answers ``ok``, ``moved`` (something was decided meanwhile), ``future`` or ``known`` (nothing to
    let go), and its last decided instant now. Times are epoch seconds.
    """

    def decode(reply: object) -> tuple[str, float | None]:
        answer, found = (text(item) for item in items_of(reply))
        return answer, float(found) / 1000 if found else None

    return Call(
        (keys.prefix, schedule, milliseconds(last), milliseconds(target), who),
        decode,
        script="skip",
        idempotent=False,
    )


@record(frozen=True, slots=True)
class Filled:
    """What came of the run of one instant (epoch seconds) of a backfill."""

    instant: float
    answer: Answer
    run_id: str


def note_filled(
    keys: Keys, schedule: str, filled: Sequence[Filled], *, more: int = 0, who: str
) -> Call[int]:
    """Write runs of a backfill into a schedule's history; ``more`` are only counted."""
    flat = [
        part
        for one in filled
        for part in (
            milliseconds(one.instant),
            f"{one.answer.kind} {one.answer.detail}".rstrip(),
            one.run_id,
        )
    ]
    return Call(
        (keys.prefix, schedule, who, more, *flat),
        int,  # type: ignore[arg-type]  # a number
        script="filled",
        idempotent=False,
    )


def change_live(
    keys: Keys, name: str, *, what: str, before: str, after: str, who: str
) -> Call[bool]:
    """Replace the record of a live schedule (``""`` is none); supervisors learn of it at once.

    ``what`` is ``add``, ``set``, ``unset``, or ``rm``: then all that is known of the schedule goes
    with its record. Answers False when that is not ``before`` any more: somebody else was first.
    """
    return Call(
        (keys.prefix, name, before, after, what, who),
        lambda reply: text(items_of(reply)[0]) == "ok",
        script="overlay",
        idempotent=False,
    )


def live_version(keys: Keys) -> Call[int]:
    """Read how often live schedules were changed."""
    return Call(("GET", keys.live_version), lambda reply: int(text(reply)) if reply else 0)


def live_schedules(keys: Keys) -> Call[dict[str, str]]:
    """Read the records of live schedules, by name; what they say is to be checked."""

    def decode(reply: object) -> dict[str, str]:
        pairs = list(reply.items()) if isinstance(reply, dict) else None
        if pairs is None:
            items = iter(items_of(reply))
            pairs = list(zip(items, items, strict=True))
        return {text(name): text(record) for name, record in pairs}

    return Call(("HGETALL", keys.live_schedules), decode)
