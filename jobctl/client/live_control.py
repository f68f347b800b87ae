"""Schedules by hand: switched off and on, fired, moved forward, added, changed and removed."""

from __future__ import annotations

from datetime import UTC, datetime

from jobctl.client.open import shown
from jobctl.client.submit import own_name
from jobctl.errors import NotAcceptedError, NotFoundError, UsageError
from jobctl.host import host_zone
from jobctl.model.firing import queue_of, run_of
from jobctl.model.ids import new_id
from jobctl.model.overlay import LiveError, LiveSchedule, definition_of, encode_live
from jobctl.model.params import bind
from jobctl.model.schedule import BootRule, EveryRule, parse_rule
from jobctl.store import decisions, queries
from jobctl.store.live import sealed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobctl.client.known_schedules import Catalogue
    from jobctl.client.open import Session
    from jobctl.model.admission import NewRun
    from jobctl.model.rules import ScheduleEntry

BATCH = 200
"""Schedules that one call switches: the store does nothing else meanwhile."""
NAME_MOST = 64
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
AGAIN = "somebody else changed it meanwhile; look at it with `jobctl schedule show`, and try again"


def switch(
    session: Session,
    entries: Sequence[ScheduleEntry],
    *,
    what: str,
    until: float | None = None,
) -> dict[str, bool]:
    """Switch schedules ``off``, ``on`` or off for their next instant (``once``).

    Returns for each whether that changed anything. ``until`` is epoch seconds. Raises
    ``NotAcceptedError`` when one that is to be switched on is off in jobs.toml.
    """
    if what == "on":
        for entry in entries:
            if not entry.active:
                where = entry.job.source or "jobs.toml"
                raise NotAcceptedError(
                    f"schedule {entry.name} is switched off in {where}: set enabled = true there, "
                    "and `jobctl reload`"
                )
    names = [entry.name for entry in entries]
    done: dict[str, bool] = {}
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        call = decisions.switch(session.keys, batch, what=what, until=until, who=own_name())
        done |= zip(batch, session.run(call), strict=True)
    return done


def fire(session: Session, entry: ScheduleEntry, *, force: bool) -> NewRun:
    """Return a run as the schedule makes them, by hand; ``force`` lets it overlap with others."""
    return run_of(
        entry,
        run_id=new_id(),
        trigger="manual",
        submitter=own_name(),
        queue=session.queue(queue_of(entry)),
        force=force,
    )


def skip_to(session: Session, entry: ScheduleEntry, target: float) -> float | None:
    """Let go what a schedule has to decide up to ``target``; returns its last decided instant then.

    ``None`` when there was nothing to let go. Times are epoch seconds. Raises ``UsageError`` for a
    time to come and ``NotAcceptedError`` when somebody else was faster.
    """
    if isinstance(entry.rule, BootRule):
        raise UsageError(f"{entry.rule.text} has no instants to skip")
    if target > session.clock.epoch() + 1:
        raise UsageError(
            "skip-to takes a time that has passed; for one to come use `jobctl schedule disable --until`"
        )
    known = session.run(queries.schedule(session.keys, entry.name)).get("last")
    if known is None:
        raise NotFoundError(
            f"schedule {entry.name} was never decided: no supervisor has seen it yet"
        )
    last = int(known) / 1000
    if isinstance(entry.rule, EveryRule) and target > last:
        # The interval goes on in step.
        target = last + (target - last) // entry.rule.interval * entry.rule.interval
    if target <= last:
        return None
    call = decisions.skip_to(session.keys, entry.name, last=last, target=target, who=own_name())
    answer, now = session.run(call)
    if answer == "future":
        raise NotAcceptedError("the store's clock is behind that time; try again in a moment")
    if answer == "moved":
        raise NotAcceptedError(f"schedule {entry.name} was decided meanwhile; try again")
    return now if answer == "ok" else None


def add(
    session: Session, catalogue: Catalogue, name: str, *, job: str, keys: Mapping[str, object]
) -> LiveSchedule:
    """Keep a new schedule in the store; supervisors follow it at once."""
    _check_name(catalogue, name)
    if job not in catalogue.config.jobs:
        raise NotFoundError(session.unknown_job(job))
    if name in catalogue.records:
        raise UsageError(
            f"there is a live schedule {name} already; change it with `jobctl schedule set {name}`, "
            "or remove it first"
        )
    live = _record(session, name, job=job, own=True, keys=keys)
    return _put(session, catalogue, live, what="add")


def change(
    session: Session, catalogue: Catalogue, name: str, *, keys: Mapping[str, object]
) -> LiveSchedule:
    """Change a live schedule, or what one of jobs.toml says until that is taken back."""
    old = catalogue.lives.get(name)
    if old is None and name in catalogue.refused:
        raise NotAcceptedError(
            f"live schedule {name} is refused: {catalogue.refused[name]}; remove it with `jobctl schedule rm {name}`"
        )
    if old is not None:
        live = _record(session, name, job=old.job, own=old.own, keys={**old.keys, **keys})
    else:
        entry = catalogue.one(name)
        live = _record(session, entry.name, job=entry.job.name, own=False, keys=keys)
    return _put(session, catalogue, live, what="set")


def remove(session: Session, catalogue: Catalogue, name: str) -> str:
    """Remove a live schedule wholly, or take back what was changed of one of jobs.toml.

    Returns ``rm`` or ``unset``: which of the two it was.
    """
    name = name.removesuffix("#1")
    if name not in catalogue.records:
        entry = catalogue.one(name)
        where = entry.job.source or "jobs.toml"
        raise UsageError(
            f"schedule {entry.name} is in {where}: remove it there and `jobctl reload`, "
            f"or `jobctl schedule disable {entry.name}`"
        )
    in_file = any(
        item.name == name for job in catalogue.file.jobs.values() for item in job.schedules
    )
    what = "unset" if in_file else "rm"
    call = decisions.change_live(
        session.keys, name, what=what, before=catalogue.records[name], after="", who=own_name()
    )
    if not session.run(call):
        raise NotAcceptedError(AGAIN)
    return what


def bound(
    session: Session, job: str, args: Sequence[object], kwargs: dict[str, object], *, text: bool
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return arguments as the runs of ``job`` get them; raises as :func:`jobctl.model.params.bind`."""
    return bind(session.job(job), args, kwargs, text=text)


def _check_name(catalogue: Catalogue, name: str) -> None:
    if not name or len(name) > NAME_MOST or not _NAME.issuperset(name) or not name[0].isalnum():
        raise UsageError(
            f"{shown(name)} cannot be the name of a schedule: use letters, digits, '.', '_' and '-', "
            f"at most {NAME_MOST}, a letter or digit first"
        )
    if name in catalogue.config.jobs:
        raise UsageError(f"there is a job {name}; give the schedule another name")


def _record(
    session: Session, name: str, *, job: str, own: bool, keys: Mapping[str, object]
) -> LiveSchedule:
    """Return a record that supervisors will accept; raises ``UsageError`` when they would not."""
    live = LiveSchedule(
        name=name, job=job, own=own, keys=dict(keys), by=own_name(), at=session.clock.epoch()
    )
    zone = session.settings.timezone or host_zone()
    definition = session.job(job)
    try:
        made = definition_of(live, definition, timezone=zone)
    except LiveError as error:
        raise UsageError(f"schedule {name}: {error}") from error
    size, most = len(encode_live(live)), session.settings.max_args
    if size > most:
        raise UsageError(
            f"schedule {name}: its arguments take {size} bytes, the limit is {most}; put the data in "
            "a file and pass its name, or raise max_args in [jobctl]"
        )
    if "rule" in keys:
        rule = parse_rule(
            made.rule, timezone=made.timezone or definition.timezone or zone, hash_key=name
        )
        now = datetime.fromtimestamp(session.clock.epoch(), UTC)
        if not isinstance(rule, BootRule) and rule.next_after(now, anchor=now) is None:
            raise UsageError(f"schedule {name}: {made.rule!r} names no further instant")
    return live


def _put(session: Session, catalogue: Catalogue, live: LiveSchedule, *, what: str) -> LiveSchedule:
    call = decisions.change_live(
        session.keys,
        live.name,
        what=what,
        before=catalogue.records.get(live.name, ""),
        after=sealed(live, session.signing.order),
        who=own_name(),
    )
    if not session.run(call):
        raise NotAcceptedError(AGAIN)
    return live
