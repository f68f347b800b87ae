"""Everything on one screen, as a picture or as a document: ``status`` without arguments."""

from __future__ import annotations

from jobctl.cli.render import describe_progress, ending, short
from jobctl.cli.screen import terminal_size
from jobctl.cli.table import columns, cut
from jobctl.client.overview import overview
from jobctl.client.pools import PoolSeen
from jobctl.client.views import instant, run_view
from jobctl.errors import ExitCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobctl.cli.invocation import Invocation
    from jobctl.client.overview import Overview
    from jobctl.model.run import Run

MOST_ROWS = 5
MOST_JSON_ROWS = 100
STATE_STYLES = {"up": "green", "draining": "yellow"}


def everything(call: Invocation, *, since: float) -> int:
    """Show all there is; failures as old as ``since`` seconds. Returns the exit code."""
    console = call.console
    most = MOST_JSON_ROWS if console.json else MOST_ROWS
    seen = overview(call.session, most=most, failed_since=since)
    if console.json:
        console.document(_view(seen, call))
        return ExitCode.OK
    for line in _fitting(call, seen):
        console.data(line)
    if not any(not item.stale for item in seen.supervisors):
        console.note(
            f"no supervisor is up; start one with `jobctl daemon{call.session.config_flag}`"
        )
    return ExitCode.OK


def _fitting(call: Invocation, seen: Overview) -> list[str]:
    """Return as many rows of everything as the screen has room for, the prompt below included."""
    if not call.console.on_terminal:
        return _Screen(call, seen, width=None, most=MOST_ROWS).lines()
    width, height = terminal_size()
    lines: list[str] = []
    for most in range(MOST_ROWS, 0, -1):
        lines = _Screen(call, seen, width=width, most=most).lines()
        if len(lines) < height:
            break
    return lines


class _Screen:
    """One picture of the namespace."""

    def __init__(self, call: Invocation, seen: Overview, *, width: int | None, most: int) -> None:
        """``most`` is how many runs or instants a block shows."""
        self._call = call
        self._seen = seen
        self._width = width
        self._most = most

    def lines(self) -> list[str]:
        blocks = [
            self._supervisors(), self._queues(), self._running(), self._next(), self._failures(),
        ]  # fmt: skip
        out: list[str] = []
        for block in blocks:
            if block:
                out += ["", *block] if out else block
        return out

    def _block(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = (),
        styles: Callable[[int, str], str] | None = None,
    ) -> list[str]:  # fmt: skip
        style = self._call.console.style

        def paint(column: int, cell: str, padded: str) -> str:
            if column < 0:
                return style(padded, "dim")
            name = styles(column, cell) if styles is not None else ""
            return style(padded, name) if name else padded

        return columns(head, rows, right=right, most=self._width, paint=paint)

    def _supervisors(self) -> list[str]:
        seen = self._seen
        rows: list[tuple[str, ...]] = []
        told = any(item.lag for item in seen.supervisors)
        for item in seen.supervisors:
            pools = ", ".join(
                f"{pool.name} {pool.running}/{pool.slots or '?'}"
                + ("" if pool.most is None else f" (max {pool.most})")
                for pool in (PoolSeen(item, name) for name in item.pools)
            )
            beat = "draining" if item.draining else "up"
            if item.stale:
                beat = f"silent {short(item.age)}"
            since = short(max(0.0, seen.now - item.started_at))
            facts = (item.host, beat, since, str(item.pid), item.version, item.zone)
            rows.append((*facts, *([_lag(item.lag)] if told else []), pools))
        if not rows:
            return [self._call.console.style("no supervisor", "red")]

        def styles(column: int, cell: str) -> str:
            return STATE_STYLES.get(cell, "red") if column == 1 else ""

        head = (
            "HOST",
            "STATE",
            "FOR",
            "PID",
            "VERSION",
            "ZONE",
            *(["LAG"] if told else []),
            "POOLS",
        )
        return self._block(head, rows, styles=styles)

    def _queues(self) -> list[str]:
        seen = self._seen
        busy = [item for item in seen.queues if item.ready or item.served]
        rows = [
            (
                item.name,
                str(item.ready),
                short(item.oldest) if item.oldest is not None else "-",
                "" if item.served else "nobody serves it",
            )
            for item in sorted(busy, key=lambda item: -item.ready)[: max(1, self._most - 1)]
        ]
        totals = f"{seen.total_running} running, {seen.parked} parked, {seen.scheduled} scheduled"
        counts = seen.counters
        totals += f"; in all {counts.get('k', 0)} succeeded, {counts.get('x', 0)} failed"
        table = self._block(("QUEUE", "READY", "OLDEST", ""), rows, right=(1, 2)) if rows else []
        return [*table, totals, *self._notices()]

    def _notices(self) -> list[str]:
        lost = sum(_lost(self._seen).values())
        if not lost:
            return []
        told = (
            f"{lost} notice{'' if lost == 1 else 's'} could not be delivered, see `jobctl doctor`"
        )
        return [self._call.console.style(told, "red")]

    def _running(self) -> list[str]:
        seen = self._seen
        if not seen.running:
            return []
        rows = [
            (
                run.id,
                run.job,
                str(run.attempt or 1),
                short(seen.now - run.started_at) if run.started_at else "-",
                run.host or "-",
                _waits(run) or describe_progress(run),
            )
            for run in seen.running[: self._most]
        ]
        told = any(row[-1] for row in rows)
        more = seen.total_running - len(rows)
        table = self._block(
            ("RUNNING", "JOB", "ATT", "AGE", "HOST", "PROGRESS" if told else ""), rows, right=(2, 3)
        )
        return [*table, f"… and {more} more"] if more > 0 else table

    def _next(self) -> list[str]:
        if not self._seen.fires:
            return []
        now = self._call.session.clock.now()
        rows = [
            (
                fire.start.strftime("%a %m-%d %H:%M:%S"),
                short((fire.start - now).total_seconds()),
                fire.job,
                fire.zone.key,
            )
            for fire in self._seen.fires[: self._most]
        ]
        return self._block(("NEXT", "IN", "JOB", "ZONE"), rows, right=(1,))

    def _failures(self) -> list[str]:
        seen = self._seen
        if not seen.failures:
            return []
        rows = [
            (
                run.id,
                run.job,
                short(max(0.0, seen.now - (run.finished_at or seen.now))) + " ago",
                ending(run) if run.state.value == "failed" else run.state.value,
                cut(
                    (run.error or "").strip().splitlines()[-1] if (run.error or "").strip() else "",
                    60,
                ),
            )
            for run in seen.failures[: self._most]
        ]
        return self._block(
            ("FAILED", "JOB", "WHEN", "WHY", "ERROR"), rows, right=(2,),
            styles=lambda column, _cell: "red" if column == 0 else "",
        )  # fmt: skip


def _waits(run: Run) -> str:
    """Return for whom a run waits in the interpreter they share; "" when it does not."""
    if run.blocked_by is None:
        return ""
    return f"waits for {run.blocked_by[0] if len(run.blocked_by) == 1 else 'its interpreter'}"


def _lost(seen: Overview) -> dict[str, int]:
    """Return how many notices nobody got: given up, and never written down."""
    return {name: seen.counters.get(name, 0) for name in ("undelivered", "untold")}


def _lag(figures: Mapping[str, float]) -> str:
    """Return how late schedules are decided: the median, and what 99 of 100 do not exceed."""
    return f"{figures['p50']:.0f}/{figures['p99']:.0f} ms" if figures else "-"


def _view(seen: Overview, call: Invocation) -> dict[str, object]:
    find = call.session.find_job
    return {
        "namespace": call.session.keys.namespace,
        "now": instant(seen.now),
        "supervisors": [
            {
                "id": item.id,
                "host": item.host,
                "pid": item.pid,
                "version": item.version,
                "up": not item.stale,
                "draining": item.draining,
                "unrecorded": item.unrecorded,
                "schedules": item.known,
                "lag": item.lag or None,
                "heartbeat_age": round(item.age, 3),
                "started_at": instant(item.started_at),
                "timezone": item.zone,
                "pools": {
                    name: {**pool, "running": item.running(name)}
                    for name, pool in item.pools.items()
                },
            }
            for item in seen.supervisors
        ],
        "queues": [
            {"queue": item.name, "ready": item.ready, "oldest": item.oldest, "served": item.served}
            for item in seen.queues
        ],
        "running": [run_view(run, find(run.job)) for run in seen.running],
        "counts": {
            "running": seen.total_running,
            "parked": seen.parked,
            "scheduled": seen.scheduled,
            "ready": sum(item.ready for item in seen.queues),
        },
        "notices": _lost(seen),
        "next": [
            {
                "job": fire.job,
                "at": fire.start.isoformat(timespec="seconds"),
                "scheduled_at": fire.instant.isoformat(timespec="seconds"),
                "timezone": fire.zone.key,
            }
            for fire in seen.fires
        ],
        "failures": [run_view(run, find(run.job)) for run in seen.failures],
    }
