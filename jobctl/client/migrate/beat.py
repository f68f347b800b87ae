"""celery beat: the entries of an application's ``beat_schedule`` as jobs that call its functions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from jobctl.client.migrate.calendar import Calendar, CalendarError
from jobctl.client.migrate.calendar_cron import schedules
from jobctl.client.migrate.draft import NOTE, Findings, JobDraft
from jobctl.errors import JobctlError, NotFoundError
from jobctl.host import host_zone
from jobctl.model.units import format_duration

CHILD = Path(__file__).with_name("beat_child.py")
PATIENCE = 60.0
"""Seconds that an application may take to be imported."""
PREAMBLE = [
    "Made by `jobctl import celery-beat`. Each job calls the function of its task, without a broker and without a",
    "worker: retries of the task itself (self.retry) have no effect, write retries = N. Jobs do not overlap unless",
    'you write overlap = "allow". A run whose host died is run again unless you write on_lost = "fail".',
    'Queues other than "default" have to be served: [pools.default] queues = [...].',
]
_LAST_PRIORITY = 9
_ERROR_LENGTH = 300


def import_beat(spec: str, *, interpreter: str | None, found: Findings) -> None:
    """Add a job for each entry of the schedule of ``module:app``.

    Raises:
        NotFoundError: the interpreter is not there.
        JobctlError: the application cannot be imported.

    """
    found.preamble = list(PREAMBLE)
    python = _interpreter(interpreter)
    answer = _ask(python, spec)
    if answer.get("trouble"):
        found.tell(spec, 0, "tasks", f"some task modules cannot be imported: {answer['trouble']}")
    zone = str(answer["timezone"]) or host_zone()
    if not answer["entries"]:
        found.tell(spec, 0, "empty", "its beat_schedule is empty")
    for entry in answer["entries"]:
        _Entry(entry, spec, found).make(zone, interpreter=interpreter, broker=str(answer["broker"]))


def _interpreter(value: str | None) -> str:
    if value is None:
        return sys.executable
    path = Path(value).expanduser().absolute()
    if os.sep not in value and not path.exists():
        path = Path(shutil.which(value) or path)
    if path.is_dir():
        path = path / "bin" / "python"
    if not os.access(path, os.X_OK):
        raise NotFoundError(
            f"no Python at {path}; --interpreter names a virtual environment or a Python"
        )
    return str(path)


def _ask(python: str, spec: str) -> dict[str, Any]:
    """Import the application in a process of its own, and return what that found."""
    with tempfile.TemporaryFile() as answer:
        try:
            done = subprocess.run(  # noqa: S603 (the interpreter that was named)
                [python, str(CHILD), spec, str(answer.fileno())], pass_fds=(answer.fileno(),), check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=PATIENCE,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise JobctlError(
                f"{spec} was not imported within {PATIENCE:g} seconds by {python}"
            ) from None
        answer.seek(0)
        text = answer.read().decode("utf-8", errors="replace")
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        said = done.stderr.decode("utf-8", errors="replace").strip()[-_ERROR_LENGTH:]
        raise JobctlError(
            f"{python} ended with {done.returncode} while it imported {spec}: {said!r}"
        ) from None
    if "error" in found:
        raise JobctlError(
            f"{spec} cannot be read: {str(found['error'])[:_ERROR_LENGTH]!r}; run this where the module is found, with"
            " --interpreter for its virtual environment"
        )
    return found


class _Entry:
    def __init__(self, entry: dict[str, Any], spec: str, found: Findings) -> None:
        self.entry = entry
        self.place = f"{spec} {entry['name']!r}"
        self.found = found
        self.original = f"task = {entry['task']}, schedule = {entry['schedule'].get('text', '')}"

    def make(self, zone: str, *, interpreter: str | None, broker: str) -> None:
        entry = self.entry
        if not entry["target"]:
            self._lose(
                f"the task {entry['task']!r} is no function that can be imported by name", "task"
            )
            return
        for part in ("args", "kwargs", "options"):
            why = _not_for_toml(entry[part])
            if why:
                self._lose(f"{part}: {why}", "value")
                return
        keys: dict[str, object] = {"description": f"From {self.place}", "python": entry["target"]}
        if interpreter is not None:
            keys["interpreter"] = (
                str(Path(interpreter).absolute()) if os.sep in interpreter else interpreter
            )
        keys["cwd"] = str(Path.cwd())
        keys |= self._when(zone)
        if entry["args"]:
            keys["args"] = entry["args"]
        if entry["kwargs"]:
            keys["kwargs"] = entry["kwargs"]
        keys |= self._options(broker)
        self.found.jobs.append(
            JobDraft(name=entry["name"], file=self.place, line=0, original=self.original, keys=keys)
        )

    def _lose(self, why: str, code: str) -> None:
        self.found.lose(self.place, 0, self.original, why, code=code)

    def _tell(self, code: str, message: str, *, severity: str = "warning") -> None:
        self.found.tell(self.place, 0, code, message, severity=severity)

    def _when(self, zone: str) -> dict[str, object]:
        held = self.entry["schedule"]
        if held["kind"] == "every" and held["seconds"] >= 1:
            if held.get("relative"):
                self._tell("relative", "relative=True rounds to the clock, @every does not")
            return {"schedule": f"@every {format_duration(held['seconds'])}"}
        if held["kind"] != "crontab":
            why = (
                "less than a second"
                if held["kind"] == "every"
                else "no schedule that is known here"
            )
            self._tell(
                "schedule", f"{held['text']} is {why}; the job is written with enabled = false"
            )
            return {"enabled": False}
        try:
            fires = schedules(_calendar(held["sets"], zone), host_zone=zone)
        except CalendarError as error:
            self._tell(
                "schedule", f"{held['text']}: {error}; the job is written with enabled = false"
            )
            return {"enabled": False}
        return {"schedule": fires[0].schedule, "timezone": zone}

    def _options(self, broker: str) -> dict[str, object]:
        keys: dict[str, object] = {}
        for name, value in self.entry["options"].items():
            if name == "queue" and isinstance(value, str):
                keys["queue"] = value
            elif name == "expires" and isinstance(value, int | float) and value > 0:
                keys["expires"] = format_duration(float(value))
            elif name == "priority" and isinstance(value, int):
                keys["priority"] = self._priority(value, broker)
            else:
                self._tell("option", f"options[{name!r}] = {value!r} has no counterpart")
        return keys

    def _priority(self, value: int, broker: str) -> int:
        value = min(max(value, 0), _LAST_PRIORITY)
        if not broker.startswith("redis"):
            return value
        self._tell(
            "priority",
            "with Redis celery takes 0 first, jobctl 9: the number is turned round",
            severity=NOTE,
        )
        return _LAST_PRIORITY - value


def _calendar(sets: dict[str, list[int]], zone: str) -> Calendar:
    """Return a celery crontab, in which all five fields must match."""
    weekdays = frozenset((day - 1) % 7 for day in sets["day_of_week"])
    days = frozenset(sets["day_of_month"])
    return Calendar(
        weekdays=weekdays, years=None, months=frozenset(sets["month_of_year"]), days=days,
        hours=frozenset(sets["hour"]), minutes=frozenset(sets["minute"]), seconds=frozenset((0,)), zone=zone,
    )  # fmt: skip


def _not_for_toml(value: object) -> str:
    """Return why a value cannot be written, or an empty text."""
    if value is None:
        return "None cannot be written in TOML"
    if isinstance(value, dict):
        if "__not_plain__" in value:
            return f"{value['__not_plain__']} is no plain value"
        return next(filter(None, map(_not_for_toml, value.values())), "")
    if isinstance(value, list):
        return next(filter(None, map(_not_for_toml, value)), "")
    return ""
