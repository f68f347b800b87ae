"""Habits of crontab lines for which jobs.toml has a key of its own.

Nothing is changed by itself: what is found here is offered in a comment, and written with
``--native``.
"""

from __future__ import annotations

import re
from calendar import day_name
from contextlib import suppress
from dataclasses import dataclass, field

from jobctl.client.migrate.cron_laws import COLUMNS, WEEKDAYS, CronLawError, read_fields
from jobctl.client.migrate.shell_text import after_word, first_word, is_simple, operators

_TEST = (
    r"(?:\[ (?:[^\[\]`;&|]|\$\([^()]*\))*? \]|test (?:[^`;&|()]|\\[()])*?"
    r"|command -v [\w./-]+ ?> ?/dev/null(?: 2>&1)?)"
)
_GUARD = re.compile(rf"(?P<test>{_TEST})\s*(?P<word>&&|\|\|)\s*(?P<rest>\S.*)", re.DOTALL)
_IF = re.compile(
    rf"if\s+(?P<test>{_TEST}(?:\s*&&\s*{_TEST})*)\s*;\s*then\s+(?P<rest>.*?)\s*;\s*fi", re.DOTALL
)
_SLEEP = re.compile(
    r"""(?:sleep\s+\$\(\(\s*\$?\{?RANDOM\}?\s*%\s*(?P<modulus>\d+)\s*\)\)
      | perl\s+-e\s+(?P<quote>['"])\s*sleep[ (]\s*int\s*\(?\s*rand\s*\(?\s*(?P<rand>\d+)\s*\)*\s*;?\s*(?P=quote))
      \s*(?:&&|;)\s*(?P<rest>\S.*)""",
    re.VERBOSE | re.DOTALL,
)
_FLOCK = re.compile(
    r"(?:/usr/bin/)?flock\s+(?:-x\s+|-e\s+)?(?:-n|--nonblock|-xn|-nx|-en)\s+(?P<lock>\"[^\"\s\\`]+\"|'[^'\s\\]+'|[^\s;&|<>'\"\\`(){}-][^\s;&|<>'\"\\`(){}]*)\s+(?P<rest>\S.*)",
    re.DOTALL,
)
_DASH_C = re.compile(r"-c\s+'(?P<script>[^']*)'\s*$")
_TIMEOUT = re.compile(
    r"""(?:/usr/bin/)?timeout\s+(?P<options>(?:(?:-k\s*|--kill-after=)[\d.]+[smhd]?\s+|(?:-s\s*|--signal=)\w+\s+)*)
        (?P<limit>[\d.]+)(?P<unit>[smhd]?)\s+(?P<rest>[^\s-].*)""",
    re.VERBOSE | re.DOTALL,
)
_NICE = re.compile(
    r"(?:/usr/bin/|/bin/)?nice(?:\s+(?:-n\s*|--adjustment=|-(?=\d))(?P<level>-?\d+))?\s+(?P<rest>[^\s-].*)",
    re.DOTALL,
)
_CD = re.compile(r"cd\s+(?P<dir>[/~][^\s;&|$`'\"*?]*)\s*&&\s*(?P<rest>\S.*)", re.DOTALL)
_WEEK_OF_MONTH = re.compile(
    r"""\[\s+["']?\$\(\s*(?:/bin/)?date\s+["']?\+%(?P<what>[deuw])["']?\s*\)["']?\s+-(?P<op>le|lt|ge|gt|eq)\s+(?P<number>\d+)\s+\]""",
    re.VERBOSE,
)
_ON_WEEKDAY = re.compile(r"\S+ \S+ \* \S+ (?:[0-7]|[A-Za-z]{3})")
_LOG = re.compile(
    r"(?P<to>&>>?|>>?)\s*(?P<file>[^\s;&|<>]+)(?P<both>\s*2>\s*&1)?\s*(?P<behind>&)?\s*$"
)
_PING = re.compile(r"(?:&&|;)\s*(?:/usr/bin/)?(?:curl|wget)\s[^;&|]*?(?P<url>https?://[^\s'\"]+)")
_SUDO = re.compile(r"(?:sudo\s+-u\s*|su\s+(?:-\s+)?|runuser\s+-u\s+)(?P<user>[a-z_][a-z0-9_-]*)\s")
_RUN_PARTS = re.compile(r"\brun-parts\s+(?:-[-\w=.]+\s+)*(?P<dir>/[^\s;&|)}]+)")


@dataclass(slots=True)
class Native:
    """A command with its habits taken off and put into keys."""

    command: str
    keys: dict[str, object] = field(default_factory=dict)
    tests: list[str] = field(default_factory=list)
    """Conditions that must all hold, for ``only_if``."""
    lock: str = ""
    """The file of a ``flock -n`` that was taken off."""

    def all_keys(self) -> dict[str, object]:
        """Return the keys, the conditions as ``only_if`` among them."""
        out = dict(self.keys)
        if self.tests:
            out = {"only_if": " && ".join(self.tests), **out}
        return out


def native(command: str) -> Native:
    """Take off everything whose meaning a key has, from the front, until nothing is left to take."""
    out = Native(command.strip())
    while _peel(out):
        pass
    return out


def _peel(out: Native) -> bool:
    return _guard(out) or _sleep(out) or _flock(out) or _timeout(out) or _nice(out) or _cd(out)


def _whole(rest: str, *allowed: str) -> bool:
    """Tell whether an operator before ``rest`` rules all of it."""
    return all(operator in allowed for _, operator in operators(rest))


def _guard(out: Native) -> bool:
    if "cwd" in out.keys:
        return False  # A condition may mean a file in that directory.
    found = _IF.fullmatch(out.command)
    other = found and re.search(r"(?:^|[\s;])(?:if|else|elif|fi)(?:\s|;|$)", found["rest"])
    if found and not other:
        out.tests += re.split(r"\s*&&\s*", found["test"])
        out.command = found["rest"]
        return True
    found = _GUARD.fullmatch(out.command)
    # A `&&` rules a chain of `&&`, a `||` only what is one command or pipeline.
    if not found or not _whole(found["rest"], "|", *(("&&",) if found["word"] == "&&" else ())):
        return False
    out.tests.append(found["test"] if found["word"] == "&&" else f"! {found['test']}")
    out.command = _ungrouped(found["rest"])
    return True


def _ungrouped(text: str) -> str:
    """Return ``{ a; }`` without its braces."""
    inner = re.fullmatch(r"\{\s+(.*?);?\s*\}", text, re.DOTALL)
    return inner[1] if inner and not re.search(r"[{}]", inner[1]) else text


def _sleep(out: Native) -> bool:
    found = _SLEEP.fullmatch(out.command)
    if not found or "jitter" in out.keys:
        return False
    out.keys["jitter"] = f"{found['modulus'] or found['rand']}s"
    out.command = found["rest"]
    return True


def _flock(out: Native) -> bool:
    found = _FLOCK.fullmatch(out.command)
    if not found or "overlap" in out.keys:
        return False
    rest = found["rest"]
    script = _DASH_C.fullmatch(rest)
    if not script and (rest.startswith("-") or not is_simple(rest)):
        return False
    out.keys["overlap"] = "skip"
    out.lock = found["lock"]
    out.command = script["script"] if script else rest
    return True


def _timeout(out: Native) -> bool:
    found = _TIMEOUT.fullmatch(out.command)
    if not found or "timeout" in out.keys or not is_simple(found["rest"]):
        return False
    if not float(found["limit"]):
        return False
    out.keys["timeout"] = f"{found['limit']}{found['unit'] or 's'}"
    grace = re.search(r"(?:-k\s*|--kill-after=)([\d.]+)([smhd]?)", found["options"])
    if grace:
        out.keys["stop_timeout"] = f"{grace[1]}{grace[2] or 's'}"
    signal = re.search(r"(?:-s\s*|--signal=)(?:SIG)?([A-Z]\w+)", found["options"])
    if signal:
        out.keys["stop_signal"] = signal[1]
    out.command = found["rest"]
    return True


def _nice(out: Native) -> bool:
    found = _NICE.fullmatch(out.command)
    if not found or "nice" in out.keys or not is_simple(found["rest"]):
        return False
    level = int(found["level"] or 10)
    if not -20 <= level <= 19:  # noqa: PLR2004 (what nice(1) clamps)
        return False
    out.keys["nice"] = level
    out.command = found["rest"]
    return True


def _cd(out: Native) -> bool:
    found = _CD.fullmatch(out.command)
    if not found or "cwd" in out.keys or not _whole(found["rest"], "&&", "|"):
        return False
    out.keys["cwd"] = found["dir"]
    out.command = found["rest"]
    return True


def first_week(tests: list[str], schedule: str) -> tuple[str, list[str]] | None:
    """Return the schedule that a test for the first week of a month amounts to, and the other tests."""
    for test in tests:
        found = _WEEK_OF_MONTH.fullmatch(test)
        if (
            found
            and found["what"] in "de"
            and (found["op"], int(found["number"])) in {("le", 7), ("lt", 8)}
            and _ON_WEEKDAY.fullmatch(schedule)
        ):
            before, _, day = schedule.rpartition(" ")
            name = WEEKDAYS[int(day) % 7] if day.isdigit() else day
            return f"{before} {name}#1", [one for one in tests if one != test]
    return None


def _week_remark(test: re.Match[str], schedule: str) -> str:
    """Say which form of a schedule takes the place of a test on ``date``."""
    days: list[int] = []
    words = schedule.split()
    if test["what"] in "uw":
        days = [int(test["number"]) % 7] if test["op"] == "eq" else []
    elif len(words) == len(COLUMNS):
        with suppress(CronLawError):  # a `~` or `#`, which no cron but some takes
            days = sorted(read_fields(words)[-1].values)
    if not days or len(days) == len(WEEKDAYS):
        return "a test on `date` chooses the day: in a schedule mon#1, for one, is the first Monday of the month"
    forms = ",".join(f"{WEEKDAYS[day]}#1" for day in days)
    names = " and ".join(f"the first {day_name[day - 1]}" for day in days)
    verb = "is" if len(days) == 1 else "are"
    return f"a test on `date` chooses the day: in a schedule {forms} {verb} {names} of the month"


def remarks(command: str, schedule: str = "") -> list[tuple[str, str]]:
    """Return (code, sentence) for habits that have a key of another meaning, or a danger."""
    out: list[tuple[str, str]] = []
    week = _WEEK_OF_MONTH.search(command)
    if week:
        out.append(("week-of-month", _week_remark(week, schedule)))
    log = _LOG.search(command)
    if log and log["file"] != "&1":
        where = "is thrown away" if log["file"] == "/dev/null" else f"goes to {log['file']}"
        out.append(
            (
                "log",
                f"output {where}: without the redirection every attempt's output is kept, see `jobctl logs`",
            )
        )
    ping = _PING.search(command)
    if ping:
        out.append(("ping", f'ping_url = "{ping["url"]}" tells start, success and failure instead'))
    ends = operators(command)
    if ends and ends[-1][1] == "&" and not command[ends[-1][0] + 1 :].strip():
        out.append(
            (
                "background",
                "ends with '&': the run ends at once, and nobody learns how the work ends",
            )
        )
    user = _SUDO.search(command)
    if user:
        out.append(("user", f'user = "{user["user"]}" does without sudo or su'))
    return out


def run_parts_directory(command: str) -> str | None:
    """Return the directory of a ``run-parts`` line, else ``None``."""
    found = _RUN_PARTS.search(command)
    return found["dir"].rstrip("/") if found else None


def program(command: str) -> str:
    """Return a word that names what a command does: its program, without path and wrappers."""
    rest = re.sub(r"^if\s.*?;\s*then\s+", "", native(command).command, flags=re.DOTALL)
    while True:
        rest = re.sub(r"^(?:\{|\(|!)\s*", "", rest)
        word = first_word(rest)
        base = word.rpartition("/")[2].strip("'\"")
        if re.fullmatch(r"[A-Za-z_]\w*=.*", word, re.DOTALL) or base in _WRAPPERS:
            rest = after_word(rest)
            while rest.startswith("-"):
                rest = after_word(rest)
        elif base in _SKIPPED and (ends := operators(rest)):
            rest = rest[ends[0][0] + len(ends[0][1]) :]
        elif base in _INTERPRETERS:
            return _script(after_word(rest)) or base
        else:
            return base
        if not rest.strip():
            return base


def _script(rest: str) -> str:
    """Return the name of the script an interpreter is given, or an empty text."""
    while rest.startswith("-"):
        if first_word(rest) in {"-c", "-e", "-m"}:
            named = re.match(r"-m\s+([\w.]+)", rest)
            return named[1] if named else ""
        rest = after_word(rest)
    base = first_word(rest).rpartition("/")[2].strip("'\"")
    return base.rsplit(".", 1)[0] if re.search(r"\.\w{1,4}$", base) else base


_WRAPPERS = {"nice", "ionice", "exec", "env", "time", "nohup", "setsid", "chronic", "then", "do"}
_SKIPPED = {
    "cd",
    "sleep",
    "command",
    "echo",
    "grep",
    "exit",
    ".",
    "source",
    "umask",
    "export",
    "set",
    "if",
    "test",
    "[",
    "true",
    ":",
}
_INTERPRETERS = {
    "sh",
    "bash",
    "dash",
    "ksh",
    "zsh",
    "python",
    "python2",
    "python3",
    "perl",
    "php",
    "ruby",
    "node",
}
