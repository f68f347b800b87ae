"""Jobs as lines of a crontab."""

from __future__ import annotations

import grp
import pwd
import re
import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING

from jobctl.client.migrate.cron_laws import CronLawError, compact, translate
from jobctl.client.migrate.draft import NOTE
from jobctl.client.migrate.export_env import env_files
from jobctl.client.migrate.export_parts import (
    CommandError,
    Export,
    entries_by_job,
    mentions_run,
    shell_text,
    without_counterpart,
)
from jobctl.client.migrate.toml_text import comment
from jobctl.host import host_zone
from jobctl.model.schedule import AtRule, BootRule, CronRule, EveryRule
from jobctl.model.units import format_duration

if TYPE_CHECKING:
    from jobctl.model.config import Config
    from jobctl.model.cron_fields import FieldValues
    from jobctl.model.job import JobDef
    from jobctl.model.rules import ScheduleEntry

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What jobctl gives a job that sets none."""
NAME = "crontab"
_PREAMBLE = (
    "Made by `jobctl export crontab`. What cron has no word for stands as a comment above its line.",
    "cron starts a job although its last run goes on, keeps no output, and does not end what a job leaves behind.",
)
_KNOWN = frozenset(("nice", "timeout", "env_file", "mail_to", "mail_on"))
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox"))
_MINUTES = 60
_DAY = 24
_WEEK_DAYS = 7
_MONTH_DAYS = 31


class NotForCronError(ValueError):
    """Raised for a schedule or a command that cron has no words for; the message says why."""


def export_crontab(config: Config, *, system: bool, owner: str) -> Export:
    """Return a crontab of all jobs with schedules; ``system`` writes the user column.

    ``owner`` is whom jobs run as that name no user.
    """
    out = Export()
    writer = _Table(config, out, system=system, owner=owner)
    for entries in entries_by_job(config, out).values():
        for entry in entries:
            writer.add(entry)
    out.files[NAME] = "\n".join([*map(comment, _PREAMBLE), "", *writer.lines]).rstrip("\n") + "\n"
    return out


class _Table:
    """The lines so far, and the settings that hold below them."""

    def __init__(self, config: Config, out: Export, *, system: bool, owner: str) -> None:
        self.config = config
        self.out = out
        self.system = system
        self.owner = owner
        self.lines: list[str] = []
        self.holds: dict[str, str] = {}

    def add(self, entry: ScheduleEntry) -> None:
        job = entry.job
        missing = without_counterpart(job, self.config, known=_KNOWN)
        if missing:
            self.out.tell(job, "no-counterpart", f"cron has no {', '.join(missing)}")
        notes = [f"{entry.name}: {job.description}" if job.description else entry.name]
        notes += [f"not in cron: {text}" for text in missing]
        try:
            user = self._user(job)
            when, remarks = _when(entry)
            what = _what(entry)
            settings = self._settings(job, entry)
        except (NotForCronError, CommandError) as error:
            self.out.tell(job, "left-out", f"{entry.definition.rule!r} is left out: {error}")
            self.out.left_out.append(job.name)
            shown = str(job.command or job.python).replace("\n", " ")
            notes += [f"LEFT OUT: {error}", f"{entry.definition.rule} {shown}"]
            self.lines += [*map(comment, notes), ""]
            return
        for remark in remarks:
            self.out.tell(job, "schedule", remark)
        if job.mail_to and job.mail_on in {"failure", "always"}:
            self.out.tell(
                job, "mail", f'mail_on = "{job.mail_on}": cron mails whenever there is output'
            )
        if job.env_file:
            self.out.tell(
                job, "env-file",
                "the shell runs what stands in its env_file: keep values in single quotes there", severity=NOTE,
            )  # fmt: skip
        if mentions_run(what):
            self.out.tell(
                job, "variables", "its command uses JOBCTL_… variables, which cron does not set"
            )
        line = "\t".join([*when.split(), *user, what])
        self.lines += [*map(comment, notes), *settings]
        self.lines += [line if entry.active else comment(f"switched off: {line}"), ""]

    def _user(self, job: JobDef) -> list[str]:
        user = job.user or self.owner
        if job.group and not _has_group(user, job.group):
            raise NotForCronError(
                f"group = {job.group!r} is not the group of {user}: cron takes a user only, but for FreeBSD's"
            )
        if self.system:
            return [user]
        if user != self.owner:
            raise NotForCronError(
                f"it runs as {user}, and this is the table of {self.owner}; use --system"
            )
        return []

    def _settings(self, job: JobDef, entry: ScheduleEntry) -> list[str]:
        """Return the settings that have to change for the next line."""
        wanted = {"PATH": job.env.get("PATH", PATH), "SHELL": job.shell, "MAILTO": _mail(job)}
        if entry.timezone != host_zone() or "CRON_TZ" in self.holds:
            wanted["CRON_TZ"] = entry.timezone
            if self.holds.get("CRON_TZ") != entry.timezone:
                self.out.tell(
                    job,
                    "cron-tz",
                    f"CRON_TZ={entry.timezone}: cronie follows it, Debian's cron does not",
                )
        changed = {name: value for name, value in wanted.items() if self.holds.get(name) != value}
        lines = [_setting(name, value) for name, value in changed.items()]
        self.holds |= changed
        return lines


def _has_group(user: str, group: str) -> bool:
    """Tell whether a user has a group as its own, which is the one that cron gives."""
    try:
        own = pwd.getpwnam(user).pw_gid
        return own == (int(group) if group.isdigit() else grp.getgrnam(group).gr_gid)
    except KeyError:
        return False


def _mail(job: JobDef) -> str:
    """Cron mails any output or none."""
    return ",".join(job.mail_to) if job.mail_on in {"output", "always", "failure"} else ""


def _setting(name: str, value: str) -> str:
    if "\n" in value:
        raise NotForCronError(f"{name} holds a line break")
    if value and value == value.strip() and value[0] not in "'\"":
        return f"{name}={value}"
    quote = "'" if '"' in value else '"'
    if quote in value:
        raise NotForCronError(f"{name} holds both kinds of quotes")
    return f"{name}={quote}{value}{quote}"


def _what(entry: ScheduleEntry) -> str:
    """Return the command field, percent signs escaped, with standard input behind ``%``."""
    job = entry.job
    text = shell_text(job, entry)
    if "\n" in text.strip() or re.search(r"\\(\\\\)*%", text) or text.endswith("\\"):
        # printf makes the text anew out of one line; %b knows \n and \\.
        quoted = shlex.quote(text.strip("\n").replace("\\", "\\\\").replace("\n", "\\n"))
        text = f'eval "$(printf %b {quoted})"'
    if job.only_if:
        text = f"{job.only_if} || exit 0; {text}"
    if job.timeout is not None or job.nice is not None:
        text = f"{_wrappers(job)} {shlex.quote(job.shell)} -c {shlex.quote(text)}"
    before = "".join(_prologue(job, entry))
    if (before or text != job.command) and PurePath(job.shell).name not in _SHELLS:
        raise NotForCronError(f"what has to stand around its command is not for {job.shell}")
    text = before + text
    if "\n" in text:
        raise NotForCronError("its condition or a variable holds a line break")
    return re.sub("%", r"\\%", text) + _stdin(job)


def _wrappers(job: JobDef) -> str:
    words = [f"nice -n {job.nice}"] if job.nice is not None else []
    if job.timeout is not None:
        words.append(f"timeout -s {job.stop_signal} -k {job.stop_timeout:g} {job.timeout:g}")
    return " ".join(words)


def _prologue(job: JobDef, entry: ScheduleEntry) -> list[str]:
    """Return what goes before a command: variables, mask, directory."""
    env = {
        name: value for name, value in job.env.items() if name not in {"PATH", "MAILTO", "CRON_TZ"}
    }
    if entry.timezone != host_zone():
        env.setdefault("TZ", entry.timezone)
    # The shell runs what stands in the file, so it is let near plain values only.
    out = [f". {shlex.quote(path)}; " for path in env_files(job, "a shell")]
    if out:
        out = ["set -a; ", *out, "set +a; "]
    out += [f"export {name}={shlex.quote(value)}; " for name, value in env.items()]
    if job.umask is not None:
        out.append(f"umask {job.umask:03o}; ")
    if job.cwd is not None:
        out.append(f"cd {shlex.quote(job.cwd)} || exit 1; ")
    return out


def _stdin(job: JobDef) -> str:
    if job.stdin is None:
        return ""
    if job.stdin and not job.stdin.endswith("\n"):
        raise NotForCronError("its stdin does not end with a line break, and cron would add one")
    lines = job.stdin.removesuffix("\n").split("\n")
    if any(line.endswith("\\") or r"\%" in line for line in lines):
        raise NotForCronError("its stdin holds a backslash where cron would take it for its own")
    return "%" + "%".join(line.replace("%", r"\%") for line in lines)


def _when(entry: ScheduleEntry) -> tuple[str, list[str]]:
    """Return the five fields or the nickname, and what is not quite the same."""
    rule = entry.rule
    definition = entry.definition
    if definition.not_before or definition.not_after or definition.max_runs:
        raise NotForCronError("cron knows no not_before, not_after and max_runs")
    if isinstance(rule, BootRule):
        if rule.kind == "@start":
            raise NotForCronError("@start: cron knows only @reboot")
        return "@reboot", []
    if isinstance(rule, AtRule):
        raise NotForCronError("cron knows no single instant; use at(1)")
    if isinstance(rule, EveryRule):
        return _every(rule.interval)
    if isinstance(rule, CronRule):
        return _cron(rule)
    raise NotForCronError(f"{definition.rule!r} has no form in cron")


def _every(seconds: float) -> tuple[str, list[str]]:
    minutes, rest = divmod(seconds, 60)
    remark = [
        f"@every {format_duration(seconds)} now follows the clock: at round times, from midnight"
    ]
    hours = minutes / 60
    if rest == 0 and minutes < _MINUTES and _MINUTES % minutes == 0:
        return ("* * * * *" if minutes == 1 else f"*/{minutes:.0f} * * * *"), remark
    if rest == 0 and hours.is_integer() and hours < _DAY and _DAY % hours == 0:
        return ("0 * * * *" if hours == 1 else f"0 */{hours:.0f} * * *"), remark
    if rest == 0 and hours in (_DAY, _DAY * _WEEK_DAYS):
        return ("0 0 * * *" if hours == _DAY else "0 0 * * 0"), remark
    raise NotForCronError(
        f"@every {format_duration(seconds)} divides neither an hour, a day nor a week"
    )


def _cron(rule: CronRule) -> tuple[str, list[str]]:
    text = rule.expression.text
    if text.startswith("@"):
        return text.lower(), []
    words = text.split()
    try:
        if len(words) == 5 and translate(words).remarks == ():  # noqa: PLR2004 (cron's fields)
            return " ".join(words), []
    except CronLawError:
        pass
    second, minute, hour, day, month, weekday = rule.expression.fields
    if second.values() != (0,):
        raise NotForCronError("cron has no seconds")
    day_text, weekday_text = _day_fields(day, weekday)
    fields = (
        _field(minute, 0, 59),
        _field(hour, 0, 23),
        day_text,
        _field(month, 1, 12),
        weekday_text,
    )
    written = " ".join(fields)
    remarks = (
        [f"{text!r} is written as {written!r}, its drawn values of this host"]
        if re.search(r"[~H]", text.upper())
        else []
    )
    return written, remarks


def _field(field: FieldValues, low: int, high: int) -> str:
    """Return a field in the words that every cron knows."""
    listed = list(field.values())
    if len(listed) == high - low + 1:
        return "*" if field.star else f"{low}-{high}"
    return f"*/100,{compact(listed)}" if field.star and listed[0] == low else compact(listed)


def _day_fields(day: FieldValues, weekday: FieldValues) -> tuple[str, str]:
    special = day.last or day.last_workday or day.nearest or weekday.last_weekdays
    if special:
        raise NotForCronError("cron knows neither L, LW, nW nor dL")
    if not weekday.nth:
        return _field(day, 1, 31), _field(weekday, 0, 6)
    if (
        len(day.values()) != _MONTH_DAYS
        or not day.star
        or weekday.mask
        or len({nth for _, nth in weekday.nth}) != 1
    ):
        raise NotForCronError("cron knows no d#n")
    nth = weekday.nth[0][1]
    days = f"{7 * nth - 6}-{min(7 * nth, 31)}"
    weekdays = sorted(name for name, _ in weekday.nth)
    # A field that begins with * makes cron ask for both fields; it always has the first value.
    if nth == 1:
        return f"*/100,{days}", compact(weekdays)
    if 0 in weekdays:
        return days, f"*/100,{compact(weekdays)}"
    raise NotForCronError(
        "cron knows no d#n, and a test on `date` would have to go into the command"
    )
