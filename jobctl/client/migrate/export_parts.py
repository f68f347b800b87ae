"""What crontab and systemd exports share: the entries, and their commands as text for a shell."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobctl.client.migrate.draft import NOTE, WARNING, Remark
from jobctl.host import host_name, host_zone
from jobctl.model.job import Missed, Overlap
from jobctl.model.rules import ScheduleEntry, schedule_entries
from jobctl.model.units import format_duration

if TYPE_CHECKING:
    from jobctl.model.config import Config
    from jobctl.model.job import JobDef


@dataclass(slots=True)
class Export:
    """What is written, and what could not be."""

    files: dict[str, str] = field(default_factory=dict)
    """Text by file name."""
    remarks: list[Remark] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Jobs with schedules of which nothing runs in what was written."""

    def tell(self, job: JobDef, code: str, message: str, *, severity: str = WARNING) -> None:
        """Add a remark about a job, with the place of its definition."""
        file, _, line = job.source.rpartition(":")
        self.remarks.append(
            Remark(
                file=file or job.source or "jobs.toml", line=int(line) if line.isdigit() else 0, severity=severity,
                code=code, message=f"{job.name}: {message}",
            )
        )  # fmt: skip


def entries_by_job(config: Config, out: Export) -> dict[str, list[ScheduleEntry]]:
    """Return the schedules of every job that has some, those that are off as well; tell of the others."""
    found: dict[str, list[ScheduleEntry]] = {}
    host = host_name(config.settings.name)
    for entry in schedule_entries(config, host=host, timezone=host_zone()):
        found.setdefault(entry.job.name, []).append(entry)
    for name, job in config.jobs.items():
        if name not in found:
            out.tell(job, "no-schedule", "it has no schedule, so it is not written", severity=NOTE)
    return found


class CommandError(ValueError):
    """Raised for a job whose command cannot be written for another scheduler."""


def argv(job: JobDef, entry: ScheduleEntry | None) -> list[str]:
    """Return the words that start a job, with the arguments of one of its schedules."""
    args = entry.definition.args if entry else job.args
    kwargs = entry.definition.kwargs if entry else job.kwargs
    if job.python is not None:
        return _python(job, args, kwargs)
    texts = [_text(one) for one in args]
    named = [f"JOBCTL_ARG_{_variable(name)}={_text(one)}" for name, one in kwargs.items()]
    if isinstance(job.command, str):
        words = [job.shell, "-c", job.command]
        words += [job.name, *texts] if texts else []
    else:
        words = [*(job.command or ()), *texts]
    return ["/usr/bin/env", *named, *words] if named else words


def shell_text(job: JobDef, entry: ScheduleEntry | None) -> str:
    """Return a job's command for ``job.shell -c``."""
    words = argv(job, entry)
    if isinstance(job.command, str) and words == [job.shell, "-c", job.command]:
        return job.command
    return shlex.join(words)


def _python(job: JobDef, args: tuple[object, ...], kwargs: dict[str, object]) -> list[str]:
    module, _, name = (job.python or "").partition(":")
    given = [repr(one) for one in args] + [f"{key}={one!r}" for key, one in kwargs.items()]
    if not all(key.isidentifier() for key in kwargs):
        raise CommandError("a named argument is no Python name")
    first = name.partition(".")[0]
    call = f"from {module} import {first}; {name}({', '.join(given)})"
    # Without one a job runs in the Python of jobctl, and that need not be the first of PATH.
    interpreter = os.path.expanduser(job.interpreter or sys.executable)  # noqa: PTH111 (texts)
    if os.path.isdir(interpreter):  # noqa: PTH112 (texts)
        interpreter = f"{interpreter}/bin/python"
    return [interpreter, "-c", call]


def _text(value: object) -> str:
    import json  # noqa: PLC0415 (rarely needed)

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _variable(name: str) -> str:
    return "".join(char if char.isalnum() and char.isascii() else "_" for char in name.upper())


def without_counterpart(job: JobDef, config: Config, *, known: frozenset[str]) -> list[str]:
    """Return ``key = value`` of what a job asks for and the other scheduler has no word for.

    ``known`` are the keys that it has. The limit of the job's queue is among what it asks for.
    """
    asked: dict[str, str] = {}
    if job.overlap is not Overlap.ALLOW:
        asked["overlap"] = f'overlap = "{job.overlap}"'
    if job.missed is not Missed.SKIP:
        asked["missed"] = f'missed = "{job.missed}"'
    if job.retry.retries:
        asked["retries"] = f"retries = {job.retry.retries}"
    spans = {
        "timeout": job.timeout, "soft_timeout": job.soft_timeout, "total_timeout": job.total_timeout,
        "start_deadline": job.start_deadline, "expires": job.expires, "late_after": job.late_after,
        "jitter": job.jitter or None,
    }  # fmt: skip
    asked |= {
        key: f'{key} = "{format_duration(held)}"' for key, held in spans.items() if held is not None
    }
    others = {
        "limits": job.limits, "max_running": job.max_running, "rate": job.rate, "unique": job.unique,
        "max_rss": job.max_rss, "on_failure": job.on_failure, "on_success": job.on_success,
        "on_retry": job.on_retry, "ping_url": job.ping_url, "mail_to": job.mail_to, "pause_after_failures": job.pause_after_failures,
        "strict_single": job.strict_single, "nice": job.nice, "skip_codes": job.skip_codes, "env_file": job.env_file,
    }  # fmt: skip
    asked |= {key: key for key, held in others.items() if held not in (None, (), False)}
    if job.success_codes != (0,):
        asked["success_codes"] = "success_codes"
    if job.mail_on not in {"failure", "never"}:
        asked["mail_on"] = f'mail_on = "{job.mail_on}"'
    queue = config.queues.get(job.queue)
    if queue is not None and queue.max_running is not None:
        asked["queue"] = f"max_running = {queue.max_running} of the queue {job.queue}"
    return [text for key, text in asked.items() if key not in known]


def mentions_run(text: str) -> bool:
    """Tell whether a command uses what only jobctl gives a run: ``JOBCTL_…``."""
    return "JOBCTL_" in text.replace("JOBCTL_ARG_", "")
