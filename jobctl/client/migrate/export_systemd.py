"""Jobs as pairs of systemd units: a timer, and the service it starts."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from jobctl.client.migrate.export_calendar import NotForCalendarError, on_calendar
from jobctl.client.migrate.export_env import env_files
from jobctl.client.migrate.export_parts import (
    CommandError,
    Export,
    argv,
    entries_by_job,
    mentions_run,
    without_counterpart,
)
from jobctl.client.migrate.toml_text import comment
from jobctl.model.job import Missed, Overlap
from jobctl.model.schedule import AtRule, BootRule, CronRule, EveryRule

if TYPE_CHECKING:
    from jobctl.model.config import Config
    from jobctl.model.job import JobDef
    from jobctl.model.rules import ScheduleEntry

PREFIX = "jobctl-"
"""Before the names of units, so that none takes the place of one of the system's."""
_KNOWN = frozenset((
    "timeout", "jitter", "missed", "overlap", "nice", "env_file", "success_codes", "max_rss",
))  # fmt: skip
_PREAMBLE = "Made by `jobctl export systemd`."
_DST = "systemd leaves out a time that the clock skips in spring; jobctl runs a job at a fixed time right after the gap."


def export_systemd(config: Config) -> Export:
    """Return a ``.timer`` and a ``.service`` for every job with schedules.

    A job whose schedules have values of their own gets a pair for each of them.
    """
    out = Export()
    stated = config.settings.timezone is not None
    for entries in entries_by_job(config, out).values():
        job = entries[0].job
        missing = without_counterpart(job, config, known=_KNOWN)
        if job.overlap not in {Overlap.SKIP, Overlap.ALLOW}:
            missing.append(f'overlap = "{job.overlap}"')
        if missing:
            out.tell(job, "no-counterpart", f"systemd has no {', '.join(missing)}")
        if job.mail_to:
            to = ", ".join(job.mail_to)
            missing.append(f"mail to {to}; name a service that sends it in OnFailure=")
            out.tell(
                job, "mail", f"systemd mails nothing to {to}: add a service that does in OnFailure="
            )
        if job.overlap is Overlap.ALLOW:
            out.tell(job, "overlap", "systemd starts no second run of a service while one goes on")
        groups = _alike(entries)
        if len(groups) > 1 and job.overlap is not Overlap.ALLOW:
            out.tell(
                job, "overlap",
                f"its schedules become {len(groups)} services, which do not wait for each other",
            )  # fmt: skip
        for number, group in enumerate(groups, start=1):
            name = PREFIX + job.name + (f"-{number}" if number > 1 else "")
            _pair(name, group, missing, out, zone_stated=stated)
    return out


def _alike(entries: list[ScheduleEntry]) -> list[list[ScheduleEntry]]:
    """Divide schedules into those that one timer can hold."""
    groups: list[tuple[object, list[ScheduleEntry]]] = []
    for entry in entries:
        own = entry.definition
        # OnUnitActiveSec= counts from any run of the service, so an interval has one to itself.
        interval = entry.rule.interval if isinstance(entry.rule, EveryRule) else None
        like = (
            own.args, own.kwargs, own.timezone, own.jitter, entry.missed, entry.active, interval,
        )  # fmt: skip
        for other, group in groups:
            if other == like:
                group.append(entry)
                break
        else:
            groups.append((like, [entry]))
    return [group for _, group in groups]


def _pair(
    name: str, entries: list[ScheduleEntry], missing: list[str], out: Export, *, zone_stated: bool
) -> None:
    first = entries[0]
    job = first.job
    lines: list[str] = []
    for entry in entries:
        try:
            lines += _triggers(entry, out, zone_stated=zone_stated)
        except NotForCalendarError as error:
            out.tell(job, "left-out", f"{entry.definition.rule!r} is left out: {error}")
            out.left_out.append(job.name)
            lines.append(comment(f"LEFT OUT: {entry.definition.rule}: {error}"))
    try:
        service = _service(job, first, out)
    except CommandError as error:
        out.tell(job, "left-out", f"it is left out: {error}")
        out.left_out.append(job.name)
        return
    # A timer without a trigger is refused by systemd; the service can still be started by hand.
    triggers = [line for line in lines if not line.startswith("#")]
    head = [comment(_PREAMBLE), *(comment(f"not in systemd: {text}") for text in missing), ""]
    described = _escaped(job.description or f"Job {job.name}").replace("\n", " ")
    out.files[f"{name}.service"] = "\n".join(
        [*head, "[Unit]", f"Description={described}", "", "[Service]", *service, ""]
    )
    if not triggers:
        return
    timer = [
        *head[:1],
        comment(_DST),
        "",
        "[Unit]",
        f"Description={described}",
        "",
        "[Timer]",
        *lines,
    ]
    timer += _spread(first, triggers, out)
    timer += ["AccuracySec=1s"]
    if first.active:
        timer += ["", "[Install]", "WantedBy=timers.target"]
    else:
        timer += ["", comment("switched off in jobs.toml: without [Install] it cannot be enabled")]
    out.files[f"{name}.timer"] = "\n".join([*timer, ""])


def _triggers(entry: ScheduleEntry, out: Export, *, zone_stated: bool) -> list[str]:
    rule, own = entry.rule, entry.definition
    if own.not_before or own.not_after or own.max_runs:
        raise NotForCalendarError("systemd knows no not_before, not_after and max_runs")
    if isinstance(rule, AtRule):
        return [f"OnCalendar={rule.instant:%Y-%m-%d %H:%M:%S} UTC"]
    if isinstance(rule, BootRule):
        if rule.kind == "@start":
            out.tell(entry.job, "start", "@start becomes the start of the timer")
        return ["OnBootSec=1s" if rule.kind == "@reboot" else "OnActiveSec=1s"]
    if isinstance(rule, EveryRule):
        return [f"OnActiveSec={rule.interval:g}s", f"OnUnitActiveSec={rule.interval:g}s"]
    if not isinstance(rule, CronRule):
        raise NotForCalendarError(f"{own.rule!r} has no form in systemd")
    stated = zone_stated or own.timezone is not None or entry.job.timezone is not None
    return [
        f"OnCalendar={text}"
        for text in on_calendar(rule.expression, entry.timezone if stated else None)
    ]


def _spread(entry: ScheduleEntry, triggers: list[str], out: Export) -> list[str]:
    lines = []
    jitter = entry.job.jitter if entry.definition.jitter is None else entry.definition.jitter
    if jitter:
        lines += [f"RandomizedDelaySec={jitter:g}s", "FixedRandomDelay=true"]
    if entry.missed is not Missed.SKIP and any(line.startswith("OnCalendar=") for line in triggers):
        lines.append("Persistent=true")
        if entry.missed is Missed.ALL:
            out.tell(
                entry.job,
                "missed",
                'missed = "all": systemd makes up for one missed run, not for each',
            )
    return lines


def _service(job: JobDef, entry: ScheduleEntry, out: Export) -> list[str]:
    words = argv(job, entry)
    if mentions_run(" ".join(words)):
        out.tell(
            job, "variables", "its command uses JOBCTL_… variables, which systemd does not set"
        )
    lines = ["Type=oneshot"]
    lines += [
        f"{key}={_escaped(value)}"
        for key, value in (("User", job.user), ("Group", job.group))
        if value
    ]
    lines.append(f"WorkingDirectory={_escaped(job.cwd) if job.cwd else '~'}")
    lines += [f"EnvironmentFile={_escaped(path)}" for path in env_files(job, "systemd")]
    env = dict(job.env)
    if job.timezone or entry.definition.timezone:
        env.setdefault("TZ", entry.timezone)
    lines += [f"Environment={_word(f'{name}={value}')}" for name, value in env.items()]
    if job.only_if:
        lines.append(f"ExecCondition={_command([job.shell, '-c', job.only_if])}")
    lines.append(f"ExecStart={_command(words)}")
    lines.append(f"TimeoutStartSec={'infinity' if job.timeout is None else f'{job.timeout:g}s'}")
    lines.append(f"TimeoutStopSec={job.stop_timeout:g}s")
    if job.stop_signal != "TERM":
        lines.append(f"KillSignal=SIG{job.stop_signal}")
    if job.leftovers == "keep":
        lines.append("KillMode=process")
    if job.nice is not None:
        lines.append(f"Nice={job.nice}")
    if job.umask is not None:
        lines.append(f"UMask={job.umask:04o}")
    codes = [str(code) for code in job.success_codes if code]
    if codes:
        lines.append(f"SuccessExitStatus={' '.join(codes)}")
    if job.max_rss is not None:
        lines.append(f"MemoryMax={job.max_rss}")
    return [*lines, *_stdin(job)]


def _stdin(job: JobDef) -> list[str]:
    if job.stdin is None:
        return []
    data = base64.b64encode(job.stdin.encode()).decode()
    shown = [comment(f"  {line}") for line in job.stdin.splitlines()]
    return [comment("Its input:"), *shown, "StandardInput=data", f"StandardInputData={data}"]


def _command(words: list[str]) -> str:
    """Return words for ``Exec…=``, in which neither ``$`` nor ``%`` means anything more."""
    if "/" in words[0] and not words[0].startswith("/"):
        words = ["/bin/sh", "-c", 'exec "$0" "$@"', *words]
    first, *rest = words
    # The program itself is not looked up for variables, and takes no `$$`.
    return " ".join([_word(first), *(_word(word).replace("$", "$$") for word in rest)])


def _word(text: str) -> str:
    """Return one word with ``%`` escaped, in quotes if it needs them."""
    safe = _escaped(text)
    if safe and re.fullmatch(r"[\w@%+=:,./~$-]+", safe, re.ASCII):
        return safe
    quoted = (
        safe.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    )
    quoted = re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", quoted)
    return f'"{quoted}"'


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
