"""Why a run is in its state, in sentences; the first one matters most."""

from __future__ import annotations

from jobctl.client.supervisors import live_supervisors
from jobctl.client.views import instant
from jobctl.model.run import RunState
from jobctl.model.units import format_duration
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.client.open import Session
    from jobctl.client.supervisors import Supervisor
    from jobctl.model.run import Run

MOST_HOLDERS = 5

_REASONS = {
    "exit": "it exited with {code}",
    "signal": "signal {signal} ended it",
    "timeout": "it ran longer than its timeout",
    "memory": "its processes used more memory than max_rss",
    "lost": "its supervisor was lost while it ran",
    "poison": "its supervisor was lost each of {lost} times it was started",
    "spawn": "it could not be started: {error}",
    "bad_payload": "its record could not be understood, or not trusted",
    "replayed": "it had ended on this host before its record was put back",
    "upstream": "a run it depends on did not succeed",
    "overlap": "an older run of the job had not ended (overlap)",
    "missed": "its instant passed while no supervisor was up",
    "deadline": "it was not started in time (start_deadline or expires)",
    "user": "somebody revoked it",
    "condition": "only_if said no",
    "exception": "it raised an exception",
    "code": "it exited with {code}, one of its skip_codes",
    "result": "its result was too large or could not be encoded",
    "replaced": "a newer run took its place (overlap = replace)",
    "unknown_job": "the supervisor that claimed it has no such job",
}


def why(session: Session, run: Run) -> list[str]:
    """Return why ``run`` is where it is."""
    return _EXPLAINERS[run.state](session, run)


def reason(run: Run) -> str:
    """Return the reason of the last ending as a sentence without a full stop."""
    text = _REASONS.get(run.reason or "", run.reason or "")
    if run.reason == "exception" and run.state is RunState.SKIPPED:
        text = "its function skipped it"  # by an exception that jobctl has for that
    last = run.attempts[-1] if run.attempts else None
    return text.format(
        code=run.exit_code if run.exit_code is not None else last.exit_code if last else None,
        signal=run.signal if run.signal is not None else last.signal if last else None,
        lost=run.lost,
        error=(run.error or "unknown").splitlines()[-1],
    )


def _due(session: Session, run: Run) -> str:
    if run.not_before is None:
        return "it waits for a supervisor to make it ready"
    left = run.not_before - session.run(queries.now(session.keys))
    if left <= 0:
        return f"it was due {format_duration(round(-left))} ago and waits for a supervisor to make it ready"
    return f"it is due in {format_duration(round(left))}, at {instant(run.not_before)}"


def _scheduled(session: Session, run: Run) -> list[str]:
    return [_due(session, run), *_nobody(session, run)]


def _retrying(session: Session, run: Run) -> list[str]:
    most = "" if run.request.max_attempts < 0 else f" of {run.request.max_attempts}"
    return [
        f"attempt {run.attempt}{most} did not succeed: {reason(run)}",
        _due(session, run),
        *_nobody(session, run),
    ]


def _queued(session: Session, run: Run) -> list[str]:
    nobody = _nobody(session, run)
    if nobody:
        return nobody
    queue, keys = run.request.queue, session.keys
    calls = [
        queries.ready_position(keys, queue, run.request.priority, run.id),
        *(
            queries.ready_length(keys, queue, level)
            for level in range(run.request.priority + 1, 10)
        ),
    ]
    position, *higher = session.run_many(calls)
    ahead = sum(higher) + (position or 0)
    busy = [
        f"pool {name} on {item.host} has {item.running(name)} of {pool.get('slots')} slots busy"
        for item in live_supervisors(session)
        for name, pool in item.pools.items()
        if queue in pool.get("queues", ())  # type: ignore[operator]  # a list
    ]
    return [
        f"it is behind {ahead} other runs in queue {queue}"
        if ahead
        else f"it is next in queue {queue}",
        *busy,
    ]


def _nobody(session: Session, run: Run) -> list[str]:
    """Say so when no supervisor can ever take the run as things are."""
    found = live_supervisors(session)
    if not found:
        return [f"no supervisor is up; start one with `jobctl daemon{session.config_flag}`"]
    queue = run.request.queue
    if not any(queue in item.queues() for item in found):
        return [f"no supervisor serves queue {queue}; name it in `queues` of a pool"]
    return []


def _parked(session: Session, run: Run) -> list[str]:
    limit = run.waits_for or ""
    kind, _, name = limit.partition(":")
    keys = session.keys
    holders, sizes, parked = session.run_many(
        [
            queries.holders(keys, limit),
            queries.limit_sizes(keys),
            queries.parked_length(keys, limit),
        ]
    )
    shown = ", ".join(sorted(holders)[:MOST_HOLDERS]) + (
        ", …" if len(holders) > MOST_HOLDERS else ""
    )
    held = f", held by {shown}" if holders else ""
    size = sizes.get(limit, "?")
    what = {
        "o": f"it waits for an older run of {name} to end (overlap){held}",
        "j": f"it waits for max_running = {size} of job {name}{held}",
        "q": f"it waits for max_running = {size} of queue {name}{held}",
        "l": f"it waits for limit {name} (slots = {size}){held}",
        "t": f"it waits for the rate of job {name}",
    }.get(kind, f"it waits for {limit}{held}")
    others = [f"{parked - 1} other runs wait for the same"] if parked > 1 else []
    return [what, *others]


def _waiting(_session: Session, _run: Run) -> list[str]:
    return ["it waits for other runs of its workflow"]


def _running(session: Session, run: Run) -> list[str]:
    where = f"on {run.host}" if run.host else "somewhere"
    now = session.run(queries.now(session.keys))
    lines = []
    if run.started_at is None:
        lines.append(f"it is about to start {where}")
    elif run.blocked_by is not None:
        lines.append(
            _held_up(run.blocked_by, f"{where} for {format_duration(round(now - run.started_at))}")
        )
    else:
        lines.append(f"it has run {where} for {format_duration(round(now - run.started_at))}")
    if run.cancel:
        lines.append(f"it was asked to stop ({run.cancel.split()[0]}) and has not ended yet")
    lines += _owner_trouble(session, run)
    return lines


def _held_up(by: tuple[str, ...], where: str) -> str:
    who = f"run {by[0]}" if len(by) == 1 else f"one of the runs {', '.join(by)}"
    if not by:
        who = "what an earlier run has left"
    return f"it has waited {where}, its function has not begun: {who} keeps busy the interpreter they share"


def _owner_trouble(session: Session, run: Run) -> list[str]:
    owner: Supervisor | None = next(
        (
            item
            for item in live_supervisors(session, stale=True)
            if run.owner and run.owner.startswith(f"{item.id}/")
        ),
        None,
    )
    if owner is None:
        return ["its supervisor has left; another one takes the run back when it notices"]
    if owner.stale:
        silent = format_duration(round(owner.age))
        return [
            f"its supervisor is silent for {silent}; another one takes the run back, or it does"
        ]
    return []


def _final(_session: Session, run: Run) -> list[str]:
    if run.state is RunState.SUCCEEDED:
        return ["it succeeded"]
    lines = [reason(run)] if run.reason else []
    if run.state is RunState.FAILED and run.attempt > 1:
        lines.append(f"attempt {run.attempt} was the last one allowed")
    return lines or [f"it is {run.state.value}"]


_EXPLAINERS: dict[RunState, Callable[[Session, Run], list[str]]] = {
    RunState.SCHEDULED: _scheduled,
    RunState.RETRYING: _retrying,
    RunState.QUEUED: _queued,
    RunState.PARKED: _parked,
    RunState.WAITING: _waiting,
    RunState.RUNNING: _running,
    RunState.SUCCEEDED: _final,
    RunState.FAILED: _final,
    RunState.REVOKED: _final,
    RunState.EXPIRED: _final,
    RunState.SKIPPED: _final,
}
