"""The rules of failpoints: how they are written, and when one of them is met.

::

    rules   one or more, parted by ";" or line ends; "#" begins a comment line
    rule    [role:]when:call=action[@n | %p]
    role    cli | supervisor | pool               left out: any
    when    before | after
    call    name of a script (``settle``), of a plain command (``blpop``), or ``*``
    action  crash      SIGKILL to the own process
            stop       SIGSTOP to the own process
            drop       before: nothing is sent; after: the reply is lost
            delay:2s   wait so long
    @n      only the n-th time in this process, from 1
    %p      with a probability of p per cent, drawn from JOBCTL_FAILPOINTS_SEED

Calls sent together are one round trip: each counts, and a lost reply is lost to all of them.
"""

from __future__ import annotations

import logging
import os
import random
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jobctl.errors import ConfigError
from jobctl.model.units import parse_duration
from jobctl.store import scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.store.calls import Call

log = logging.getLogger(__name__)

ROLES = ("cli", "supervisor", "pool")
WHENS = ("before", "after")
ACTIONS = ("crash", "stop", "drop", "delay")
COMMANDS = (
    *(
        "blpop",
        "cluster",
        "config",
        "exists",
        "info",
        "pexpire",
        "ping",
        "scan",
        "sentinel",
        "time",
    ),
    *(
        "hget",
        "get",
        "hgetall",
        "hincrby",
        "wait",
        "hkeys",
        "hmget",
        "hvals",
        "lindex",
        "llen",
        "lpos",
        "lrange",
        "rpush",
    ),
    *("scard", "smembers", "xadd", "xrange", "zcard", "zrange", "zrevrange"),
)
"""Plain commands that jobctl sends, as names of calls."""
ANY = "*"

_RULE = re.compile(
    r"(?:(?P<role>[a-z]+):)?(?P<when>[a-z]+):(?P<call>[a-z_]+|\*)=(?P<action>[a-z]+)"
    r"(?::(?P<argument>[0-9a-z.]+))?(?:@(?P<nth>[0-9]+)|%(?P<chance>[0-9.]+))?"
)


class Harm(NamedTuple):
    """What a round trip is to suffer."""

    delay: float = 0.0
    """Seconds to wait."""
    drop: bool = False
    """Whether to fail as if the connection had broken."""


NONE = Harm()


class Rule:
    """One rule and how often its call was met."""

    def __init__(self, text: str, *, seed: str) -> None:
        """Read ``text``; raises :class:`~jobctl.errors.ConfigError`."""
        found = _RULE.fullmatch(text)
        if found is None:
            raise _wrong(text, "is not of the form [role:]before|after:call=action[@n|%p]")
        self.text = text
        self.role = _one_of(text, "role", found["role"] or "", ("", *ROLES))
        self.when = _one_of(text, "moment", found["when"], WHENS)
        self.call = _one_of(text, "call", found["call"], known_calls())
        self.action = _one_of(text, "action", found["action"], ACTIONS)
        self.delay = _delay(text, self.action, found["argument"])
        self.nth = int(found["nth"]) if found["nth"] else None
        if self.nth == 0:
            raise _wrong(text, "counts from 1: @0 never comes")
        self.chance = _chance(text, found["chance"])
        self.met = 0
        self._random = random.Random(f"{seed}:{text}")  # noqa: S311  # to be repeatable

    def applies(self, name: str) -> bool:
        """Return whether the rule is to be carried out for this call of ``name``; counts it."""
        if self.call not in (ANY, name):
            return False
        self.met += 1
        if self.nth is not None:
            return self.met == self.nth
        return self.chance is None or self._random.random() * 100 < self.chance


class Plan:
    """The rules that concern this process: those of the environment, then those of a file.

    The file is read anew when it changed, so that a test can make trouble in a daemon that runs;
    no file means no rules. A file that cannot be read while the process runs is reported once
    and leaves the rules as they were.
    """

    def __init__(self, role: str, rules: str, *, path: str | None = None, seed: str = "0") -> None:
        """Read the rules; raises :class:`~jobctl.errors.ConfigError` when that cannot be done."""
        self._role = role
        self._seed = f"{seed}:{role}"
        self._fixed = self._parse(rules)
        self._changing: list[Rule] = []
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        if path is not None:
            self._read(path)

    def before(self, calls: Sequence[Call[object]]) -> Harm:
        """Crash or stop where a rule says so, and return what else to suffer before sending."""
        return self._meet("before", calls)

    def after(self, calls: Sequence[Call[object]]) -> Harm:
        """Like :meth:`before`, once the replies were read."""
        return self._meet("after", calls)

    def _meet(self, when: str, calls: Sequence[Call[object]]) -> Harm:
        # The rules of a round trip are those at its beginning, unless it waited on purpose.
        fresh = when == "before" or any(call.blocking for call in calls)
        if self._path is not None and fresh:
            self._look_again(self._path)
        harm = NONE
        for call in calls:
            name = name_of(call)
            for rule in (*self._fixed, *self._changing):
                if rule.when == when and rule.applies(name):
                    harm = _carry_out(rule, name, harm)
        return harm

    def _parse(self, text: str) -> list[Rule]:
        words = (word.strip() for word in re.split(r"[;\n]", text))
        rules = [Rule(word, seed=self._seed) for word in words if word and word[0] != "#"]
        return [rule for rule in rules if rule.role in ("", self._role)]

    def _look_again(self, path: str) -> None:
        try:
            self._read(path)
        except ConfigError as error:
            log.warning("%s; the failpoints stay as they were", error)

    def _read(self, path: str) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116  # every call comes here
        except FileNotFoundError:
            self._seen, self._changing = None, []
            return
        except OSError as error:
            raise ConfigError(f"{path}: failpoints cannot be read: {error.strerror}") from error
        seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            text = Path(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: failpoints cannot be read: {error}") from error
        self._changing = self._parse(text)


def name_of(call: Call[object]) -> str:
    """Return the name that rules know a call by."""
    return call.script or str(call.parts[0]).lower()


def known_calls() -> tuple[str, ...]:
    """Return every name a rule may give: ``*``, the scripts, and plain commands."""
    return (ANY, *scripts.names(), *COMMANDS)


def _carry_out(rule: Rule, name: str, harm: Harm) -> Harm:
    if rule.action in ("crash", "stop"):
        log.warning("failpoint %s met at %s", rule.text, name)
        os.kill(os.getpid(), signal.SIGKILL if rule.action == "crash" else signal.SIGSTOP)
        return harm
    return Harm(harm.delay + rule.delay, harm.drop or rule.action == "drop")


def _one_of(text: str, what: str, word: str, known: tuple[str, ...]) -> str:
    if word not in known:
        choice = ", ".join(filter(None, known))
        raise _wrong(text, f"names no {what} that exists: {word!r}; use one of {choice}")
    return word


def _delay(text: str, action: str, argument: str | None) -> float:
    if (action == "delay") != (argument is not None):
        raise _wrong(text, "must say how long to wait as delay:2s, and only delay takes a value")
    if argument is None:
        return 0.0
    try:
        return parse_duration(argument)
    except ValueError as error:
        raise _wrong(text, str(error)) from error


def _chance(text: str, number: str | None) -> float | None:
    if number is None:
        return None
    try:
        chance = float(number)
    except ValueError as error:
        raise _wrong(text, f"has no per cent after %: {number!r}") from error
    if not 0 <= chance <= 100:  # noqa: PLR2004  # per cent
        raise _wrong(text, f"has a probability outside 0 to 100: {number}")
    return chance


def _wrong(text: str, why: str) -> ConfigError:
    return ConfigError(f"failpoint {text!r} {why}; correct or unset JOBCTL_FAILPOINTS")
