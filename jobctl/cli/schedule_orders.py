"""What ``jobctl schedule`` does to schedules: enable, disable, trigger, skip-to, backfill, add, set, rm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from jobctl.cli import values
from jobctl.cli.render import clock_time, full_time, zone_of
from jobctl.cli.words import arguments
from jobctl.client import backfill as filling
from jobctl.client import live_control
from jobctl.client.queues import require
from jobctl.client.schedules import default_zone, moment
from jobctl.client.sending import send_many, send_one
from jobctl.client.views import instant
from jobctl.errors import ExitCode, NotAcceptedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.cli.invocation import Invocation
    from jobctl.client.backfill import Gap
    from jobctl.client.known_schedules import Catalogue
    from jobctl.client.sending import Receipt
    from jobctl.model.rules import ScheduleEntry

SKIPPED = ("skip", "full")
"""Answers that made no run that will be run."""


def enable(call: Invocation, catalogue: Catalogue, name: str | None, *, all_: bool) -> int:
    """Switch schedules on again; of all of them those that are not off in jobs.toml."""
    found = _chosen(catalogue, name, all_=all_)
    changed = live_control.switch(call.session, found, what="on")
    return _switched(call, changed, "on", "was on already")


def _chosen(catalogue: Catalogue, name: str | None, *, all_: bool) -> list[ScheduleEntry]:
    if all_ == (name is not None):
        raise UsageError("name a schedule or a job, or give --all; not both")
    if name is not None:
        return catalogue.find(name)
    return [entry for entry in catalogue.entries() if entry.active]


def disable(
    call: Invocation,
    catalogue: Catalogue,
    name: str | None,
    *,
    until: str | None,
    once: bool,
    all_: bool,
) -> int:
    """Switch schedules off, for good, until a time, or for their next instant."""
    found = _chosen(catalogue, name, all_=all_)
    if once and until is not None:
        raise UsageError("--once and --until exclude each other")
    till = None if until is None else _time(call, "--until", until)
    if till is not None and till <= call.session.clock.epoch():
        raise UsageError("--until: that time has passed")
    changed = live_control.switch(call.session, found, what="once" if once else "off", until=till)
    word = "off for its next instant" if once else "off"
    if till is not None:
        word += f" until {clock_time(till, zone=zone_of(call.session))}"
    return _switched(call, changed, word, "was off already")


def _switched(call: Invocation, changed: Mapping[str, bool], word: str, already: str) -> int:
    console = call.console
    if console.json:
        rows = [{"schedule": name, "changed": done} for name, done in changed.items()]
        console.document({"schedules": rows})
        return ExitCode.OK
    for name, done in changed.items():
        console.note(f"schedule {name} is {word}" if done else f"schedule {name} {already}")
    return ExitCode.OK


def _time(call: Invocation, option: str, word: str) -> float:
    """Return a moment in epoch seconds: ISO 8601, or a duration from now on."""
    if word[:1].isdigit() and "-" in word:
        return moment(word, zone=default_zone(call.session)).timestamp()
    try:
        seconds = values.duration(option, word)
    except UsageError:
        raise UsageError(
            f"{option}: {word[:40]!r} is neither a duration nor a time: write for example '2h', "
            "or 2030-12-24T18:00"
        ) from None
    return call.session.clock.epoch() + (seconds or 0.0)


def trigger(call: Invocation, catalogue: Catalogue, name: str, *, force: bool) -> int:
    """Make a run now, with the schedule's arguments, queue and priority; its id is printed."""
    from jobctl.cli.submit import explain

    entry = catalogue.one(name)
    receipt, supervised = send_one(
        call.session, live_control.fire(call.session, entry, force=force)
    )
    if call.console.json:
        call.console.document(
            {
                "id": receipt.id,
                "job": receipt.job,
                "schedule": entry.name,
                "answer": receipt.answer.kind,
            }
        )
    elif not receipt.full:
        call.console.data(receipt.id)
    if not supervised:
        call.console.note("no supervisor is up; the run waits for one")
    return explain(call, receipt)


def skip_to(call: Invocation, catalogue: Catalogue, name: str, *, words: list[str]) -> int:
    """Let go what a schedule still has to decide up to a time."""
    if len(words) != 1:
        raise UsageError("schedule skip-to needs one time: now, or ISO 8601")
    entry = catalogue.one(name)
    now = call.session.clock.epoch()
    target = now
    if words[0] != "now":
        target = moment(words[0], zone=default_zone(call.session)).timestamp()
    last = live_control.skip_to(call.session, entry, target)
    if call.console.json:
        call.console.document(
            {"schedule": entry.name, "skipped": last is not None, "last_decided": instant(last)}
        )
    elif last is None:
        call.console.note(f"schedule {entry.name} has nothing to let go up to then")
    else:
        shown = clock_time(last, zone=zone_of(call.session))
        call.console.note(f"schedule {entry.name} goes on after {shown}")
    return ExitCode.OK


class _Filled(NamedTuple):
    gap: Gap
    answer: str
    """``ok``, ``full``, ``known`` or, not sent yet, ``new``."""


def backfill(
    call: Invocation,
    catalogue: Catalogue,
    name: str,
    *,
    from_: str | None,
    to: str | None,
    max: str | None,  # noqa: A002 - the option's name
    dry_run: bool,
    force: bool,
) -> int:
    """Make a run for each instant of the past that has none."""
    if from_ is None:
        raise UsageError("schedule backfill needs --from: the first instant, ISO 8601")
    zone = default_zone(call.session)
    start = moment(from_, zone=zone).timestamp()
    end = call.session.clock.epoch() if to is None else moment(to, zone=zone).timestamp()
    most = values.integer("--max", max, least=1)
    entries = catalogue.find(name)
    found = filling.gaps(
        call.session, entries, start=start, end=end, most=filling.MOST if most is None else most
    )
    wanted = [gap for gap in found if gap.state is None]
    if not dry_run and wanted and not force:
        busy = filling.in_the_way(call.session, sorted({entry.job.name for entry in entries}))
        if busy is not None:
            raise NotAcceptedError(
                f"job {busy} has a run that has not ended, and its runs must not overlap: wait for "
                "it, or --force"
            )
    receipts: dict[str, Receipt] = {}
    if not dry_run:
        runs = [filling.run_for(call.session, gap) for gap in wanted]
        sent = list(send_many(call.session, runs))
        filling.note(
            call.session,
            [(gap, receipt.answer) for gap, receipt in zip(wanted, sent, strict=True)],
        )
        receipts = {run.request.id: receipt for run, receipt in zip(runs, sent, strict=True)}
    rows = [_Filled(gap, _answer(gap, receipts)) for gap in found]
    _report(call, rows, dry_run=dry_run)
    return ExitCode.NOT_ACCEPTED if any(row.answer in SKIPPED for row in rows) else ExitCode.OK


def _answer(gap: Gap, receipts: Mapping[str, Receipt]) -> str:
    if gap.state is not None:
        return "known"
    receipt = receipts.get(gap.run_id)
    if receipt is None:
        return "new"
    return "known" if receipt.answer.kind == "dup" else receipt.answer.kind


def _report(call: Invocation, rows: list[_Filled], *, dry_run: bool) -> None:
    console = call.console
    if console.json:
        console.document(
            {
                "dry_run": dry_run,
                "runs": [
                    {
                        "id": row.gap.run_id,
                        "schedule": row.gap.entry.name,
                        "scheduled_at": instant(row.gap.instant),
                        "answer": row.answer,
                        "state": None if row.gap.state is None else row.gap.state.value,
                    }
                    for row in rows
                ],
            }
        )
        return
    zone = zone_of(call.session)
    words = {"ok": "accepted", "new": "to be made", "full": "not accepted: the queue is full"}
    for row in rows:
        what = words.get(row.answer, row.answer)
        if row.gap.state is not None:
            what = f"has a run: {row.gap.state.value}"
        at = full_time(datetime.fromtimestamp(row.gap.instant, UTC).astimezone(zone))
        console.data(f"{row.gap.run_id}  {at}  {row.gap.entry.name}  {what}")
    made = sum(row.answer in ("ok", "new") for row in rows)
    verb = "would be made (--dry-run)" if dry_run else "made"
    console.note(f"{values.counted(made, 'run')} {verb}, of {values.counted(len(rows), 'instant')}")


def add(
    call: Invocation,
    catalogue: Catalogue,
    name: str,
    *,
    job: str | None,
    words: list[str],
    **options: object,
) -> int:
    """Keep a new schedule in the store."""
    if job is None or options["schedule"] is None:
        raise UsageError("schedule add needs --job JOB and --schedule 'EXPR'")
    keys = _keys(call, job, words, options)
    live = live_control.add(call.session, catalogue, name, job=job, keys=keys)
    return _done(call, live.name, "added", f"schedule {name} of job {job} is added")


def change(
    call: Invocation, catalogue: Catalogue, name: str, *, words: list[str], **options: object
) -> int:
    """Change a live schedule, or lay something over one of jobs.toml."""
    name = name.removesuffix("#1")
    known = catalogue.lives.get(name)
    job = catalogue.one(name).job.name if known is None else known.job
    keys = _keys(call, job, words, options)
    if not keys:
        raise UsageError(
            "schedule set needs something to change, for example --schedule '0 3 * * *'"
        )
    live = live_control.change(call.session, catalogue, name, keys=keys)
    more = "" if live.own else f"; `jobctl schedule rm {live.name}` takes it back"
    return _done(call, live.name, "changed", f"schedule {live.name} is changed{more}")


def remove(call: Invocation, catalogue: Catalogue, name: str) -> int:
    """Remove a live schedule, or take back what was laid over one of jobs.toml."""
    what = live_control.remove(call.session, catalogue, name)
    told = "is removed" if what == "rm" else "is again as jobs.toml says"
    return _done(call, name, "removed" if what == "rm" else "unset", f"schedule {name} {told}")


def _done(call: Invocation, name: str, what: str, told: str) -> int:
    if call.console.json:
        call.console.document({"schedule": name, "done": what})
    else:
        call.console.note(told)
    return ExitCode.OK


def _keys(
    call: Invocation, job: str, words: list[str], options: Mapping[str, object]
) -> dict[str, object]:
    """Return the fields of a schedule that the options and arguments stand for."""

    def word(option: str) -> str | None:
        given = options[option]
        return None if given is None else values.text(f"--{option}", str(given))

    zone = word("timezone") or default_zone(call.session)
    given: dict[str, object | None] = {
        "rule": word("schedule"),
        "timezone": word("timezone"),
        "jitter": values.duration("--jitter", word("jitter")),
        "missed": _missed(word("missed")),
        "queue": word("queue"),
        "priority": _priority(word("priority")),
        "expires": values.duration("--expires", word("expires")),
        "not_before": _rfc3339(word("not_before"), zone),
        "not_after": _rfc3339(word("not_after"), zone),
        "max_runs": values.integer("--max-runs", word("max_runs"), least=1),
    }
    keys = {name: value for name, value in given.items() if value is not None}
    if "queue" in keys:
        call.session.carry_out(require(call.session, str(keys["queue"])))
    args: list[object] = []
    kwargs: dict[str, object] = {}
    if word("args_json") is not None:
        from jobctl.cli.documents import json_arguments

        if words:
            raise UsageError("--args-json brings the arguments; give none beside it")
        args, kwargs = json_arguments(str(word("args_json")))
    else:
        found, pairs = arguments([values.text("an argument", one) for one in words])
        args, kwargs = [*found], dict(pairs)
    if args or kwargs:
        text = word("args_json") is None
        made, named = live_control.bound(call.session, job, args, kwargs, text=text)
        keys |= {"args": list(made), "kwargs": named}
    return keys


def _missed(word: str | None) -> str | None:
    if word is not None and word not in ("skip", "once", "all"):
        raise UsageError(f"--missed: {word[:40]!r} is none of skip, once, all")
    return word


def _priority(word: str | None) -> int | None:
    found = values.integer("--priority", word)
    if found is not None and found > 9:  # noqa: PLR2004 - see the message
        raise UsageError(f"--priority: {found} is not one of 0 to 9 (9 runs first)")
    return found


def _rfc3339(word: str | None, zone: str) -> str | None:
    return None if word is None else moment(word, zone=zone).isoformat()
