"""anacrontab: period, delay, identifier, command."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobctl.client.migrate import idioms
from jobctl.client.migrate.crontab_jobs import CRON_PATH, Wishes, native_offer
from jobctl.client.migrate.crontab_lines import environment_setting, numbered
from jobctl.client.migrate.draft import NOTE, Findings, JobDraft
from jobctl.client.migrate.run_parts import expand
from jobctl.client.migrate.spread import fitting_jitter

DEFAULT_START = 7 * 60 + 30
"""Minutes after midnight: when Debian starts anacron."""
_DAY_MINUTES = 24 * 60
_PERIODS = {"@daily": 1, "@weekly": 7, "@monthly": 0, "@yearly": -1, "@annually": -1}
_LINE = re.compile(r"(?P<period>@?\w+)\s+(?P<delay>\d+)\s+(?P<name>[^\s/]+)\s+(?P<command>\S.*)")
_HANDLED = ("SHELL", "LOGNAME", "USER")


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    days: int
    delay: int
    name: str
    command: str


def import_anacrontab(text: str, *, file: str, wishes: Wishes, found: Findings) -> None:
    """Add the jobs of one anacrontab to ``found``."""
    env: dict[str, str] = {}
    for number, line in numbered(text.replace("\\\n", " \n")):
        setting = environment_setting(line)
        if setting is not None:
            env[setting[0]] = setting[1]
            continue
        parsed = _parse(line.rstrip(), number)
        if isinstance(parsed, str):
            found.lose(file, number, line, parsed, code="refused-by-anacron")
        else:
            _job(parsed, env, file=file, wishes=wishes, found=found)


def _parse(line: str, number: int) -> _Line | str:
    """Return the line, or why anacron refuses it."""
    words = line.split(None, 3)
    names = ("period", "delay", "identifier", "command")
    if len(words) < len(names):
        return f"{names[len(words)]}: the field is missing (period, delay, identifier, command)"
    if not words[1].isdigit():
        return f"delay: {words[1]!r} is not a number of minutes"
    found = _LINE.fullmatch(line)
    if found is None:
        return "this is not period, delay, identifier, command"
    period = found["period"]
    if period not in _PERIODS and not (period.isdigit() and int(period)):
        return f"period: {period!r} is neither a number of days nor one of {' '.join(_PERIODS)}"
    days = _PERIODS[period] if period in _PERIODS else int(period)
    return _Line(number, line, days, int(found["delay"]), found["name"], found["command"])


def _start(env: dict[str, str]) -> int:
    hours = re.match(r"\s*(\d{1,2})\s*-", env.get("START_HOURS_RANGE", ""))
    return int(hours[1]) * 60 if hours else DEFAULT_START


def _schedule(line: _Line, env: dict[str, str]) -> tuple[str, str, str]:
    """Return schedule, catch-up window, and what is not as it was."""
    hour, minute = divmod((_start(env) + line.delay) % _DAY_MINUTES, 60)
    at = f"{minute} {hour}"
    known = {
        1: (f"{at} * * *", "1d", ""),
        7: (
            f"{at} * * 0",
            "7d",
            "anacron counts seven days from the last run; here it is every Sunday",
        ),
        0: (f"{at} 1 * *", "31d", ""),
        -1: (f"{at} 1 1 *", "366d", ""),
    }
    if line.days in known:
        return known[line.days]
    return (
        f"@every {line.days}d",
        f"{line.days}d",
        f"anacron counts {line.days} days from the last run, @every from when the daemon first saw the job",
    )


def _job(line: _Line, env: dict[str, str], *, file: str, wishes: Wishes, found: Findings) -> None:
    keys = _keys(line, env, file=file, found=found)
    found.tell(
        file, line.number, "window",
        "runs at its time, and once after it was missed, at whatever hour: START_HOURS_RANGE, battery and the"
        " order of the jobs have no counterpart", severity=NOTE,
    )  # fmt: skip
    native = idioms.native(line.command)
    directory = idioms.run_parts_directory(line.command)
    if directory and wishes.expand_run_parts and not wishes.locks.shared(native.lock, line.text):
        made = expand(
            native,
            directory,
            keys=keys,
            file=file,
            line=line.number,
            original=line.text,
            found=found,
        )
        if made:
            return
    instead = {**native.all_keys(), "command": native.command} if native.all_keys() else {}
    if not wishes.locks.give_up(
        native.lock, line.text, file=file, line=line.number, found=found, native=wishes.native
    ):
        instead = {}
    offers = native_offer(instead) if instead and not wishes.native else []
    if wishes.native:
        keys |= instead
    found.jobs.append(
        JobDraft(
            name=line.name,
            file=file,
            line=line.number,
            original=line.text,
            keys=keys,
            offers=offers,
        )
    )


def _keys(line: _Line, env: dict[str, str], *, file: str, found: Findings) -> dict[str, object]:
    schedule, window, remark = _schedule(line, env)
    if remark:
        found.tell(file, line.number, "period", remark)
    keys: dict[str, object] = {
        "description": f"From {file}:{line.number}",
        "schedule": schedule,
        "missed": "once",
        "catchup_window": window,
    }
    delay = env.get("RANDOM_DELAY", "").strip()
    if delay.isdigit() and int(delay):
        keys["jitter"], _ = fitting_jitter(schedule, int(delay) * 60.0)
    keys["user"] = "root"
    if "SHELL" in env:
        keys["shell"] = env["SHELL"]
    if "HOME" in env:
        keys["cwd"] = env["HOME"]
    keys["env"] = {"PATH": CRON_PATH} | {k: v for k, v in env.items() if k not in _HANDLED}
    keys["command"] = line.command
    mail_to = [one.strip() for one in env.get("MAILTO", "root").split(",") if one.strip()]
    keys |= {"mail_to": mail_to, "mail_on": "output"} if mail_to else {"mail_on": "never"}
    keys |= {"overlap": "skip", "leftovers": "keep"}
    return keys
