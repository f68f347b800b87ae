"""systemd timers, with the services they start, as jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.client.migrate.calendar import CalendarError, parse_calendar
from jobctl.client.migrate.calendar_cron import schedules
from jobctl.client.migrate.draft import NOTE, Findings, JobDraft
from jobctl.client.migrate.exec_lines import ExecError
from jobctl.client.migrate.services import ServiceReader
from jobctl.client.migrate.spread import fitting_jitter
from jobctl.client.migrate.timespans import timespan
from jobctl.client.migrate.unit_files import SYSTEM_DIRECTORIES, USER_DIRECTORIES, Unit, find_unit
from jobctl.errors import NotFoundError
from jobctl.host import host_zone
from jobctl.model.units import format_duration

if TYPE_CHECKING:
    from jobctl.client.migrate.unit_files import Setting

TIMER = "Timer"
PREAMBLE = [
    "Made by `jobctl import systemd-timers`. Each job does what the service of its timer does.",
    "A time that the clock skips in spring is not made up for by systemd; here a job at a fixed time runs once, right",
    "after the gap. Timers are written whether they were enabled or not: `systemctl disable --now` those that move.",
]
_CATCH_UP = "366d"
_KNOWN = frozenset((
    "OnCalendar", "OnBootSec", "OnStartupSec", "OnActiveSec", "OnUnitActiveSec", "OnUnitInactiveSec", "Persistent",
    "RandomizedDelaySec", "FixedRandomDelay", "AccuracySec", "Unit",
))  # fmt: skip


def import_timers(places: list[str], found: Findings) -> None:
    """Add a job for each timer in ``places``: directories of units, or single timers."""
    found.preamble = list(PREAMBLE)
    timers: list[Path] = []
    directories: list[str] = []
    for place in places:
        path = Path(place)
        if path.is_dir():
            directories.append(place)
            timers += sorted(path.glob("*.timer"))
        elif path.is_file():
            directories.append(str(path.parent))
            timers.append(path)
        else:
            raise NotFoundError(f"{place} is not there")
    of_users = any("/systemd/user" in str(Path(one).absolute()) for one in directories)
    usual = USER_DIRECTORIES if of_users else SYSTEM_DIRECTORIES
    search = list(dict.fromkeys((*directories, *usual)))
    for path in timers:
        if path.name.endswith("@.timer"):
            found.tell(
                str(path), 0, "template", "a template; name an instance of it", severity=NOTE
            )
            continue
        timer = find_unit(path.name, [str(path.parent), *search])
        if timer is not None:
            _Timer(timer, search, found).make()
    if not timers:
        raise NotFoundError(f"there are no timers in {', '.join(places)}")


class _Timer:
    def __init__(self, unit: Unit, search: list[str], found: Findings) -> None:
        self.unit = unit
        self.search = search
        self.found = found
        self.tables: list[dict[str, object]] = []
        self.lacking: list[str] = []
        """Why some of its instants cannot be kept."""

    def make(self) -> None:
        unit = self.unit
        name = unit.text(TIMER, "Unit") or unit.name.removesuffix(".timer") + ".service"
        service = find_unit(name, self.search)
        original = "\n".join(
            f"{key}={setting.value}"
            for (section, key), held in unit.settings.items()
            for setting in held
            if section == TIMER
        )
        if service is None:
            self.found.lose(
                unit.file, 0, original, f"its service {name} is not there", code="no-service"
            )
            return
        try:
            does = ServiceReader(service, self.found).read()
        except ExecError as error:
            self.found.lose(unit.file, 0, original, f"{service.file}: {error}", code="service")
            return
        self._calendars()
        self._monotonic()
        original += "".join(
            f"\nExecStart={one.value}" for one in service.all("Service", "ExecStart")
        )
        if not self.tables and not self.lacking:
            self.found.lose(
                unit.file,
                0,
                original,
                "it has no On…= setting that is known here",
                code="no-schedule",
            )
            return
        keys = {**self._when(), **does}
        described = unit.text("Unit", "Description") or service.text("Unit", "Description")
        keys = {
            "description": described or f"From {unit.file}",
            **keys,
            "overlap": "skip",
            "on_lost": "fail",
        }
        self._tell_of_the_rest()
        job = JobDraft(
            name=unit.name.removesuffix(".timer"), file=unit.file, line=0, original=original, keys=keys,
            schedules=self._schedule_tables(),
        )  # fmt: skip
        self.found.jobs.append(job)

    def _calendars(self) -> None:
        for setting in self.unit.all(TIMER, "OnCalendar"):
            try:
                calendar = parse_calendar(setting.value)
                fires = schedules(calendar, host_zone=host_zone())
            except CalendarError as error:
                self._lack(setting, f"OnCalendar={setting.value}: {error}")
                continue
            for fire in fires:
                table: dict[str, object] = {"schedule": fire.schedule}
                if calendar.zone:
                    table["timezone"] = calendar.zone
                if fire.not_before:
                    table |= {"not_before": fire.not_before, "not_after": fire.not_after}
                self.tables.append(table)

    def _monotonic(self) -> None:
        for key in ("OnBootSec", "OnStartupSec", "OnActiveSec"):
            for setting in self.unit.all(TIMER, key):
                self._once(
                    "@reboot",
                    setting,
                    f"{key}={setting.value}: runs right after a boot, without the delay",
                )
        for key in ("OnUnitActiveSec", "OnUnitInactiveSec"):
            for setting in self.unit.all(TIMER, key):
                seconds = timespan(setting.value)
                if seconds is None or not 1 <= seconds < float("inf"):
                    self._lack(setting, f"{key}={setting.value}: @every needs a second or more")
                    continue
                what = "start" if key == "OnUnitActiveSec" else "end"
                self._once(
                    f"@every {format_duration(round(seconds))}", setting,
                    f"{key}={setting.value}: systemd counts from the last {what}, @every from the last scheduled instant",
                )  # fmt: skip

    def _once(self, schedule: str, setting: Setting, remark: str) -> None:
        if {"schedule": schedule} not in self.tables:
            self.tables.append({"schedule": schedule})
        self.found.tell(setting.file, setting.line, "monotonic", remark)

    def _lack(self, setting: Setting, why: str) -> None:
        self.lacking.append(why)
        self.found.tell(
            setting.file,
            setting.line,
            "calendar",
            f"{why}; the job is written with enabled = false",
        )

    def _plain(self) -> bool:
        """Tell whether all schedules fit into one list with one zone."""
        zones = {table.get("timezone") for table in self.tables}
        return len(zones) <= 1 and not any("not_before" in table for table in self.tables)

    def _when(self) -> dict[str, object]:
        unit = self.unit
        keys: dict[str, object] = {}
        if self.lacking:
            keys["enabled"] = False
        if self.tables and self._plain():
            texts = [str(table["schedule"]) for table in self.tables]
            keys["schedule"] = texts[0] if len(texts) == 1 else texts
            if "timezone" in self.tables[0]:
                keys["timezone"] = self.tables[0]["timezone"]
        if unit.flag(TIMER, "Persistent") and unit.all(TIMER, "OnCalendar"):
            keys |= {"missed": "once", "catchup_window": _CATCH_UP}
        jitter = self._jitter()
        if jitter:
            keys["jitter"] = jitter
        return keys

    def _schedule_tables(self) -> list[dict[str, object]]:
        return [] if self._plain() else self.tables

    def _jitter(self) -> str:
        setting = self.unit.last(TIMER, "RandomizedDelaySec")
        seconds = timespan(setting.value) if setting else None
        if not setting or not seconds or not self.tables:
            return ""
        fitting = [fitting_jitter(str(table["schedule"]), seconds) for table in self.tables]
        jitter, remark = next((one for one in fitting if one[1]), fitting[0])
        if remark:
            self.found.tell(
                setting.file,
                setting.line,
                "jitter",
                f"RandomizedDelaySec={setting.value}: {remark}",
            )
        if not self.unit.flag(TIMER, "FixedRandomDelay"):
            self.found.tell(
                setting.file, setting.line, "jitter",
                "RandomizedDelaySec draws anew each time, jitter stays the same", severity=NOTE,
            )  # fmt: skip
        return jitter

    def _tell_of_the_rest(self) -> None:
        for (section, key), held in self.unit.settings.items():
            if section == TIMER and held and key not in _KNOWN:
                self.found.tell(
                    held[-1].file,
                    held[-1].line,
                    "unknown",
                    f"{key}={held[-1].value} has no counterpart",
                )
        accuracy = self.unit.last(TIMER, "AccuracySec")
        if accuracy:
            self.found.tell(
                accuracy.file, accuracy.line, "accuracy",
                f"AccuracySec={accuracy.value}: jobctl starts runs at their instant; jitter spreads them", severity=NOTE,
            )  # fmt: skip
