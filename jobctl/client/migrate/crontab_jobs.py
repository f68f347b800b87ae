"""From the lines of a crontab to jobs that do exactly what cron does with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from jobctl.client.migrate import idioms
from jobctl.client.migrate.crontab_lines import STDIN_REMARK, SYSTEM, BadLine, Entry, read_lines
from jobctl.client.migrate.draft import NOTE, WARNING, Findings, JobDraft
from jobctl.client.migrate.run_parts import expand
from jobctl.client.migrate.spread import fitting_jitter
from jobctl.model.schedule import ScheduleError, load_zone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.client.migrate.locks import Locks

CRON_PATH = "/usr/bin:/bin"
"""What cron gives a command whose table sets no PATH."""
_HANDLED = ("SHELL", "LOGNAME", "USER")
_MAIL_HEADERS = ("MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING")
_HOST_ZONE = ":/etc/localtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How an import is to be written."""

    native: bool = False
    """Put habits of the shell into keys of their own."""
    expand_run_parts: bool = False
    """Make one job of each script in the directory of a ``run-parts`` line."""
    locks: Locks
    """What lock files the lines of all tables name."""


def import_crontab(
    text: str, *, file: str, kind: str, owner: str | None, wishes: Wishes, found: Findings
) -> None:
    """Add the jobs of one crontab to ``found``; ``owner`` is whose table it is, if a user's."""
    lines = list(read_lines(text, kind=kind))
    entries = [line for line in lines if isinstance(line, Entry)]
    for line in lines:
        if isinstance(line, BadLine):
            found.lose(file, line.line, line.text, line.why, code="refused-by-cron")
    if text and not text.endswith("\n"):
        found.tell(
            file, text.count("\n") + 1, "no-newline",
            "the last line does not end with a newline: cron would not run it", severity=NOTE,
        )  # fmt: skip
    _tell_of_variables(entries, file, found)
    for entry in entries:
        maker = _Maker(entry, file=file, kind=kind, owner=owner, wishes=wishes, found=found)
        maker.make(alone=len(entries) == 1)


def _tell_of_variables(entries: list[Entry], file: str, found: Findings) -> None:
    """Say once per table which variables do not mean what they seem to."""
    seen: dict[str, int] = {}
    for entry in entries:
        for name in entry.env:
            seen.setdefault(name, entry.line)
    for name in ("LOGNAME", "USER"):
        if name in seen:
            found.tell(
                file, seen[name], "logname", f"{name} cannot be set in a crontab; it is left out"
            )
    for name in _MAIL_HEADERS:
        if name in seen:
            found.tell(
                file, seen[name], "mail-header",
                f"{name}: cronie uses it for its mails; the jobs get it as a variable, jobctl's mails do not follow it",
            )  # fmt: skip
    empty = next((entry for entry in entries if entry.env.get("HOME") == ""), None)
    if empty is not None:
        found.tell(
            file,
            empty.line,
            "home",
            "HOME is empty: cron starts in no directory of its own, the job in that of its user",
        )
    if "CRON_TZ" in seen:
        found.tell(
            file, seen["CRON_TZ"], "cron-tz",
            "CRON_TZ is written as timezone, as cronie reads it; Debian's cron takes it for a plain variable",
        )  # fmt: skip
    if "RANDOM_DELAY" in seen:
        found.tell(
            file, seen["RANDOM_DELAY"], "random-delay",
            "RANDOM_DELAY is written as jitter: cronie draws at each start, jitter stays the same; Debian's cron ignores it",
        )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Context:
    file: str
    kind: str
    owner: str | None
    wishes: Wishes
    found: Findings


class _Maker:
    """Makes the job of one line."""

    def __init__(
        self,
        entry: Entry,
        *,
        file: str,
        kind: str,
        owner: str | None,
        wishes: Wishes,
        found: Findings,
    ) -> None:
        self.entry = entry
        self.place = _Context(file=file, kind=kind, owner=owner, wishes=wishes, found=found)
        self.native = idioms.native(entry.command)

    def make(self, *, alone: bool) -> None:
        entry, place = self.entry, self.place
        keys = self._keys()
        offers: list[str] = []
        schedule = entry.when.schedule
        self._tell()
        directory = idioms.run_parts_directory(entry.command)
        locked = place.wishes.locks.shared(self.native.lock, entry.text)
        if directory and place.wishes.expand_run_parts and schedule and not locked:
            made = expand(
                self.native, directory, keys=keys, file=place.file, line=entry.line, original=entry.text,
                found=place.found,
            )  # fmt: skip
            if made:
                return
        elif directory:
            place.found.tell(
                place.file, entry.line, "run-parts",
                f"kept as one job; --expand-run-parts makes one of each script in {directory}", severity=NOTE,
            )  # fmt: skip
        instead = self._native_keys(schedule)
        if instead and place.wishes.native:
            keys = {**keys, **instead}
        elif instead:
            offers = native_offer(instead)
        place.found.jobs.append(
            JobDraft(
                name=self._name(alone=alone), file=place.file, line=entry.line, original=entry.text,
                keys=keys, offers=offers,
            )
        )  # fmt: skip

    def _tell(self) -> None:
        entry, place = self.entry, self.place
        if ":" in (entry.user or ""):
            place.found.tell(
                place.file, entry.line, "group",
                f"{entry.user!r}: only FreeBSD's cron takes user:group; Debian's cron and cronie refuse the line",
            )  # fmt: skip
        for remark in entry.when.remarks:
            place.found.tell(place.file, entry.line, "schedule", remark)
        for remark in entry.remarks:
            usual = remark == STDIN_REMARK
            place.found.tell(
                place.file, entry.line, "percent" if usual else "line", remark,
                severity=NOTE if usual else WARNING,
            )  # fmt: skip
        for code, remark in idioms.remarks(entry.command, entry.when.schedule):
            place.found.tell(
                place.file, entry.line, code, remark,
                severity=WARNING if code == "background" else NOTE,
            )  # fmt: skip
        if "-" in entry.flags:
            place.found.tell(
                place.file,
                entry.line,
                "no-log",
                "the leading '-' (no line in cron's log) has no counterpart",
            )
        if "q" in entry.flags:
            place.found.tell(
                place.file, entry.line, "no-log", "-q (no line in cron's log) has no counterpart"
            )
        if not entry.when.schedule:
            place.found.tell(
                place.file,
                entry.line,
                "never",
                "written with enabled = false and no schedule, as cron never runs it",
            )

    def _keys(self) -> dict[str, object]:
        """Return what makes jobctl do exactly what cron does."""
        entry, place = self.entry, self.place
        keys: dict[str, object] = {"description": f"From {place.file}:{entry.line}"}
        if entry.when.schedule:
            keys["schedule"] = entry.when.schedule
        else:
            keys["enabled"] = False
        zone = self._zone()
        if zone:
            keys["timezone"] = zone
        jitter = self._random_delay()
        if jitter:
            keys["jitter"] = jitter
        keys |= self._identity()
        if "SHELL" in entry.env:
            keys["shell"] = entry.env["SHELL"]
        if entry.env.get("HOME"):
            keys["cwd"] = entry.env["HOME"]
        env = {"PATH": CRON_PATH}
        env |= {name: value for name, value in entry.env.items() if name not in _HANDLED}
        if zone:
            env.setdefault("TZ", _HOST_ZONE)
        keys["env"] = env
        keys["command"] = entry.command
        if entry.stdin is not None:
            keys["stdin"] = entry.stdin
        keys |= self._mail()
        keys["overlap"] = "skip" if "s" in entry.flags else "allow"
        keys["on_lost"] = "fail"
        keys["leftovers"] = "keep"
        return keys

    def _identity(self) -> dict[str, object]:
        """Return ``user`` and ``group``; FreeBSD writes ``user:group/class``."""
        place = self.place
        user = self.entry.user if place.kind == SYSTEM else place.owner
        if user is None:
            return {}
        user, _, login_class = user.partition("/")
        user, _, group = user.partition(":")
        if login_class:
            place.found.tell(
                place.file,
                self.entry.line,
                "login-class",
                f"the login class {login_class!r} has no counterpart",
            )
        return {"user": user, "group": group} if group else {"user": user}

    def _zone(self) -> str:
        zone = self.entry.env.get("CRON_TZ", "")
        if not zone:
            return ""
        try:
            load_zone(zone)
        except ScheduleError as error:
            self.place.found.tell(
                self.place.file,
                self.entry.line,
                "cron-tz",
                f"CRON_TZ: {error.message}; the host's zone is used",
            )
            return ""
        return zone

    def _random_delay(self) -> str:
        minutes = self.entry.env.get("RANDOM_DELAY", "").strip()
        if not minutes.isdigit() or not int(minutes) or not self.entry.when.schedule:
            return ""
        jitter, remark = fitting_jitter(self.entry.when.schedule, int(minutes) * 60.0)
        if remark:
            self.place.found.tell(
                self.place.file,
                self.entry.line,
                "random-delay",
                f"RANDOM_DELAY={minutes}: {remark}",
            )
        return jitter

    def _mail(self) -> dict[str, object]:
        """Cron mails any output, to MAILTO or to whom the job runs as."""
        mail_to = self.entry.env.get("MAILTO")
        to: object = self._identity().get("user") if mail_to is None else None
        if mail_to is not None:
            several = [one.strip() for one in mail_to.split(",") if one.strip()]
            if not several:
                return {"mail_on": "never"}
            to = several[0] if len(several) == 1 else several
        if to is None:
            return {}
        return {"mail_to": to, "mail_on": "failure" if "n" in self.entry.flags else "output"}

    def _native_keys(self, schedule: str) -> dict[str, object]:
        """Return the keys that say the same in jobctl's words, or nothing."""
        native = self.native
        place = self.place
        if not place.wishes.locks.give_up(
            native.lock, self.entry.text, file=place.file, line=self.entry.line, found=place.found,
            native=place.wishes.native,
        ):  # fmt: skip
            return {}
        week = idioms.first_week(native.tests, schedule)
        if week:
            native.tests = week[1]
        keys = {**({"schedule": week[0]} if week else {}), **native.all_keys()}
        if "jitter" in keys:
            if not schedule:
                return {}
            seconds = float(str(keys["jitter"]).rstrip("s"))
            jitter, misfit = fitting_jitter(schedule, seconds)
            if misfit:  # The sleep itself ends a second earlier.
                jitter, misfit = fitting_jitter(schedule, seconds - 1)
            if misfit:
                place.found.tell(
                    place.file, self.entry.line, "jitter",
                    f"the random sleep is kept, as jitter it would not fit: {misfit}", severity=NOTE,
                )  # fmt: skip
                return {}
            keys["jitter"] = jitter
        return {**keys, "command": native.command} if keys else {}

    def _name(self, *, alone: bool) -> str:
        """Name a job after its table if it is the only one of a named table, else after its program."""
        place = self.place
        table = PurePath(place.file).name
        program = idioms.program(self.entry.command)
        if place.kind == SYSTEM and table not in ("crontab", "-", "<stdin>"):
            return table if alone or program in ("", table) else f"{table}-{program}"
        return program or table


def native_offer(keys: Mapping[str, object]) -> list[str]:
    """Return the comment lines that show other keys."""
    from jobctl.client.migrate.toml_text import key, value  # noqa: PLC0415 (only for a comment)

    return [
        "In jobctl's own words (--native):",
        *(f"{key(name)} = {value(one)}" for name, one in keys.items()),
    ]
