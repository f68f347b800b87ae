"""The service that a timer starts, as keys of a job."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.client.migrate.draft import NOTE
from jobctl.client.migrate.exec_lines import (
    Command,
    ExecError,
    parse_exec,
    plain_words,
    split_words,
    with_specifiers,
)
from jobctl.client.migrate.timespans import timespan
from jobctl.model.units import format_duration

if TYPE_CHECKING:
    from jobctl.client.migrate.draft import Findings
    from jobctl.client.migrate.unit_files import Setting, Unit

SERVICE = "Service"
OF_USERS = "/systemd/user/"
"""In the paths of the units of users' own managers."""
_CARRIED = frozenset((
    "Type", "ExecStart", "ExecStartPre", "ExecStartPost", "ExecCondition", "User", "Group", "WorkingDirectory",
    "Environment", "EnvironmentFile", "TimeoutStartSec", "TimeoutSec", "TimeoutStopSec", "RuntimeMaxSec", "Nice",
    "UMask", "KillSignal", "KillMode", "SuccessExitStatus", "StandardInput", "StandardInputText", "RemainAfterExit",
    "SyslogIdentifier", "StandardOutput", "StandardError",
))  # fmt: skip
_CONDITIONS = {
    "ConditionPathExists": "-e",
    "ConditionPathIsDirectory": "-d",
    "ConditionPathIsSymbolicLink": "-h",
    "ConditionFileNotEmpty": "-s",
    "ConditionFileIsExecutable": "-x",
}
_EXIT_CODES = {
    "SUCCESS": 0, "FAILURE": 1, "USAGE": 64, "DATAERR": 65, "NOINPUT": 66, "NOUSER": 67, "NOHOST": 68,
    "UNAVAILABLE": 69, "SOFTWARE": 70, "OSERR": 71, "OSFILE": 72, "CANTCREAT": 73, "IOERR": 74, "TEMPFAIL": 75,
    "PROTOCOL": 76, "NOPERM": 77, "CONFIG": 78,
}  # fmt: skip
_ORDER = frozenset((
    "Description", "Documentation", "After", "Before", "Wants", "Requires", "BindsTo", "PartOf", "Conflicts",
    "DefaultDependencies", "RequiresMountsFor", "StartLimitIntervalSec", "StartLimitBurst", "Requisite",
))  # fmt: skip


class ServiceReader:
    """Reads one service; ``keys`` are filled by :meth:`read`."""

    def __init__(self, unit: Unit, found: Findings) -> None:
        self.unit = unit
        self.found = found
        self.keys: dict[str, object] = {}
        user = unit.text(SERVICE, "User")
        self.user = user or None
        # In a user's own manager a service starts at home, in the system's in the root directory.
        self.own_home = str(Path.home()) if OF_USERS in unit.file else None

    def read(self) -> dict[str, object]:
        """Return the keys of the job; raise :class:`ExecError` if there is no way to say them."""
        self._identity()
        self._environment()
        conditions = self._conditions()
        if conditions:
            self.keys["only_if"] = " && ".join(conditions)
        self._command()
        self._limits()
        self._tell_of_the_rest()
        return self.keys

    def _text(self, key: str) -> str:
        return self._filled(self.unit.text(SERVICE, key))

    def _filled(self, text: str) -> str:
        return with_specifiers(text, unit=self.unit.name, user=self.user, own_home=self.own_home)

    def _warn(
        self, setting: Setting | None, code: str, message: str, *, severity: str = "warning"
    ) -> None:
        file, line = (setting.file, setting.line) if setting else (self.unit.file, 0)
        self.found.tell(file, line, code, message, severity=severity)

    def _identity(self) -> None:
        if self.user:
            self.keys["user"] = self._filled(self.user)
        if group := self._text("Group"):
            self.keys["group"] = group
        directory = self._text("WorkingDirectory")
        if directory.startswith("-"):
            self._warn(
                self.unit.last(SERVICE, "WorkingDirectory"), "directory",
                "WorkingDirectory=-…: systemd goes on without the directory, a job fails",
            )  # fmt: skip
            directory = directory[1:]
        # systemd starts in the root directory, jobctl in the home of the user.
        if directory != "~" and not (self.own_home and not directory):
            self.keys["cwd"] = directory or "/"

    def _environment(self) -> None:
        env: dict[str, str] = {}
        for setting in self.unit.all(SERVICE, "Environment"):
            for word, _ in split_words(self._filled(setting.value)):
                name, equals, value = word.partition("=")
                if equals:
                    env[name] = value
                else:
                    self._warn(
                        setting,
                        "environment",
                        f"Environment={word!r} is no assignment, systemd ignores it",
                    )
        if env:
            self.keys["env"] = env
        files = []
        for setting in self.unit.all(SERVICE, "EnvironmentFile"):
            path = self._filled(setting.value)
            if path.startswith("-"):
                self._warn(
                    setting,
                    "env-file",
                    f"{path[1:]}: systemd goes on when the file is not there, a job fails",
                )
                path = path[1:]
            if re.search(r"[*?\[]", path):
                self._warn(
                    setting, "env-file", f"{path}: patterns are not known here; name the files"
                )
                continue
            files.append(path)
        if files:
            self.keys["env_file"] = files

    def _conditions(self) -> list[str]:
        out = []
        for name, flag in _CONDITIONS.items():
            for setting in self.unit.all("Unit", name):
                value = self._filled(setting.value)
                if value.startswith("|"):
                    self._warn(
                        setting, "condition", f"{name}={value}: alternatives are not carried over"
                    )
                    continue
                negated = "! " if value.startswith("!") else ""
                out.append(f"{negated}test {flag} {shlex.quote(value.lstrip('!'))}")
        for setting in self.unit.all(SERVICE, "ExecCondition"):
            out += [command.shell() for command in parse_exec(self._filled(setting.value))]
        return out

    def _commands(self, key: str) -> list[Command]:
        out = []
        for setting in self.unit.all(SERVICE, key):
            commands = parse_exec(self._filled(setting.value))
            for command in commands:
                special = set(command.prefixes) & set("@+!|")
                if special:
                    self._warn(
                        setting, "prefix",
                        f"{key}={''.join(sorted(special))}…: the prefix has no counterpart; the command runs as the"
                        " job's user and sees its own name",
                    )  # fmt: skip
            out += commands
        return out

    def _command(self) -> None:
        start = self._commands("ExecStart")
        if not start:
            raise ExecError(f"{self.unit.name} has no ExecStart=")
        every = [*self._commands("ExecStartPre"), *start, *self._commands("ExecStartPost")]
        if len(every) == 1 and not every[0].expands and "-" not in every[0].prefixes:
            self.keys["command"] = plain_words(every[0])
            return
        if any(command.expands for command in every):
            self._warn(
                self.unit.last(SERVICE, "ExecStart"), "variables",
                "systemd fills in variables itself; here a shell does, which also expands patterns in them", severity=NOTE,
            )  # fmt: skip
        texts = [command.shell() for command in every]
        if len(texts) == 1:
            self.keys["command"] = texts[0]
        else:
            self.keys["command"] = " && ".join(
                f"{{ {text}; }}" if "||" in text else text for text in texts
            )

    def _limits(self) -> None:
        one_shot = self.unit.text(SERVICE, "Type") == "oneshot"
        limit_keys = ("TimeoutStartSec", "TimeoutSec") if one_shot else ("RuntimeMaxSec",)
        self._duration("timeout", *limit_keys)
        self._duration("stop_timeout", "TimeoutStopSec", "TimeoutSec")
        if signal := self._text("KillSignal"):
            self.keys["stop_signal"] = signal.removeprefix("SIG")
        if self.unit.text(SERVICE, "KillMode") in {"process", "none"}:
            self.keys["leftovers"] = "keep"
        if nice := self._text("Nice"):
            self.keys["nice"] = int(nice) if re.fullmatch(r"-?\d+", nice) else nice
        if umask := self._text("UMask"):
            self.keys["umask"] = umask
        self._success_codes()
        text = [self._filled(one.value) for one in self.unit.all(SERVICE, "StandardInputText")]
        if text and self.unit.text(SERVICE, "StandardInput") in {"data", ""}:
            self.keys["stdin"] = "\n".join(text) + "\n"
        elif self.unit.text(SERVICE, "StandardInput") not in {"", "null", "data"}:
            self._warn(
                self.unit.last(SERVICE, "StandardInput"),
                "input",
                "StandardInput= has no counterpart: input is empty",
            )

    def _duration(self, key: str, *names: str) -> None:
        for name in names:
            setting = self.unit.last(SERVICE, name)
            if setting is None:
                continue
            seconds = timespan(setting.value)
            if seconds is None:
                self._warn(
                    setting, "time-span", f"{name}={setting.value} is not understood; left out"
                )
            elif 0 < seconds < float("inf"):
                self.keys[key] = format_duration(seconds)
            return

    def _success_codes(self) -> None:
        codes = {0}
        for setting in self.unit.all(SERVICE, "SuccessExitStatus"):
            for word in setting.value.split():
                code = int(word) if word.isdigit() else _EXIT_CODES.get(word)
                if code is not None:
                    codes.add(code)
                else:
                    self._warn(
                        setting,
                        "success",
                        f"SuccessExitStatus={word}: only exit codes are carried over",
                    )
        if codes != {0}:
            self.keys["success_codes"] = sorted(codes)

    def _tell_of_the_rest(self) -> None:
        unit = self.unit
        kind = unit.text(SERVICE, "Type")
        if kind in {"forking", "notify", "notify-reload", "dbus"}:
            self._warn(
                unit.last(SERVICE, "Type"), "type",
                f"Type={kind} is for services that stay: a run lasts as long as its first process",
            )  # fmt: skip
        if unit.flag(SERVICE, "RemainAfterExit"):
            self._warn(
                unit.last(SERVICE, "RemainAfterExit"), "remain",
                "RemainAfterExit=yes: a timer starts such a service once only, a job runs each time",
            )  # fmt: skip
        for key in ("StandardOutput", "StandardError"):
            if re.match(r"(file|append|truncate|tty|fd|null)", unit.text(SERVICE, key)):
                self._warn(
                    unit.last(SERVICE, key),
                    "output",
                    f"{key}={unit.text(SERVICE, key)}: output goes to the job's log",
                )
        for key in ("OnFailure", "OnSuccess"):
            if setting := unit.last("Unit", key):
                self._warn(
                    setting,
                    "hook",
                    f"{key}={setting.value}: name a job in {'on_' + key[2:].lower()} instead",
                )
        self._list_unknown(SERVICE, _CARRIED, "without a counterpart here")
        self._list_unknown(
            "Unit", _ORDER | frozenset((*_CONDITIONS, "OnFailure", "OnSuccess")), "are not checked"
        )
        ordered = [
            key
            for section, key in unit.settings
            if section == "Unit" and key in _ORDER - {"Description", "Documentation"}
        ]
        if any(unit.all("Unit", key) for key in ordered):
            self._warn(
                None,
                "order",
                f"{', '.join(ordered)}: dependencies of units are not carried over",
                severity=NOTE,
            )
        for file, line, text in unit.bad:
            self.found.tell(
                file, line, "line", f"{text[:60]!r} is no assignment, systemd ignores it"
            )

    def _list_unknown(self, section: str, known: frozenset[str], what: str) -> None:
        rest = [
            (key, held[-1])
            for (name, key), held in self.unit.settings.items()
            if name == section and held and key not in known
        ]
        if rest:
            self._warn(rest[0][1], "unknown", f"{what}: {', '.join(key for key, _ in rest)}")
