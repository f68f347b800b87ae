"""What a running Python function may know and ask of its run: ``from jobctl import current``.

Uses the standard library only and runs in any CPython from 3.9 on: in an environment where jobctl
is not installed, the interpreter of a pool provides this file as the module ``jobctl``.

The exceptions here are those by which a function says how its run goes on.
"""

from __future__ import annotations

import re
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta
    from logging import Logger
    from typing import Any, Protocol

    class Link(Protocol):
        """Whoever runs the function; a pool's interpreter, or a test that stands for it."""

        def progress(self, percent: float, message: str) -> None:
            """Take note of how far it is."""

        def ask(self, question: dict[str, Any]) -> dict[str, Any]:
            """Return the answer to ``once`` or ``submit``; ``{"error": …}`` says why not."""

        def stopping(self) -> bool:
            """Return whether the run has been asked to stop."""


__all__ = [
    "AskError",
    "Fatal",
    "NotRunning",
    "Retry",
    "RunContext",
    "Skip",
    "SoftTimeout",
    "bound",
    "current",
]

PROVIDER = "_jobctl_child"
"""Name of the module of the interpreter that runs functions one after the other."""
PUBLIC = "jobctl"
"""Where users import the exceptions: tracebacks and ``retry_on`` have the names that they write."""
ONCE_TTL = 30 * 86400.0
"""Seconds a key of ``once`` is remembered, unless the job says otherwise."""
MESSAGE_MOST = 200
"""Characters of a progress message that are kept."""
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])\s*")


class NotRunning(RuntimeError):  # noqa: N818 - names that are read in code of jobs
    """Raised when there is no run: outside of a job, or after its function has ended."""

    __module__ = PUBLIC


class AskError(RuntimeError):
    """Raised when ``once`` or ``submit`` could not be done; the message says why."""

    __module__ = PUBLIC


class Retry(Exception):  # noqa: N818 - as above
    """Raise it to have the run tried again, as long as ``retries`` allow."""

    __module__ = PUBLIC

    def __init__(self, reason: str = "", *, in_: str | float | timedelta | None = None) -> None:
        """``in_`` is seconds, a timedelta or a text such as ``"1h30m"``; default: the job's delay.

        Raises ValueError when it is none of these.
        """
        super().__init__(reason)
        self.in_ = None if in_ is None else seconds_of(in_)


class Skip(Exception):  # noqa: N818 - as above
    """Raise it when there was nothing to do: the run ends as ``skipped``."""

    __module__ = PUBLIC


class Fatal(Exception):  # noqa: N818 - as above
    """Raise it when trying again is of no use: the run fails, whatever its ``retries``."""

    __module__ = PUBLIC


class SoftTimeout(Exception):  # noqa: N818 - as above
    """Raised inside the function when ``soft_timeout`` has passed; it may still end in time."""

    __module__ = PUBLIC

    def __str__(self) -> str:
        return super().__str__() or "soft_timeout has passed"


class RunContext:
    """One run, for the function that it calls. Made by :func:`current`."""

    __slots__ = (
        "_link", "attempt", "deadline", "id", "job", "max_attempts", "queue", "scheduled_at",
        "tags", "trigger",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - what a run has
        self,
        link: Link,
        *,
        id: str,  # noqa: A002 - the word of the contract
        job: str,
        attempt: int = 1,
        max_attempts: int | None = 1,
        queue: str = "default",
        trigger: str = "manual",
        tags: Mapping[str, str] | None = None,
        scheduled_at: datetime | None = None,
        deadline: float | None = None,
    ) -> None:
        self._link = link
        self.id = id
        self.job = job
        self.attempt = attempt
        """From 1."""
        self.max_attempts = max_attempts
        """``None``: without end."""
        self.queue = queue
        self.trigger = trigger
        """``manual``, ``schedule``, ``catchup``, ``retry``, ``hook`` or ``job``."""
        self.tags = dict(tags or {})
        self.scheduled_at = scheduled_at
        """The instant a schedule named, with its zone; ``None`` when no schedule made the run."""
        self.deadline = deadline
        """Epoch seconds at which ``timeout`` ends this attempt; ``None``: no limit."""

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.job}, attempt {self.attempt}>"

    def remaining(self) -> float | None:
        """Return the seconds until :attr:`deadline`, at least 0; ``None`` when there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - time.time())

    @property
    def logger(self) -> Logger:
        """A logger that writes to the log of the run.

        The job's own logging configuration is used if there is one.
        """
        return _logger(self.job)

    def progress(self, percent: float, message: str = "") -> None:
        """Tell how far the run is: 0 to 100, and up to 200 characters for people.

        Numbers beyond are taken as 0 or 100. Raises ValueError for nan and the infinities.
        """
        number = float(percent)
        if number - number != 0:  # so are nan and the infinities, without an import
            raise ValueError(
                f"progress takes a number from 0 to 100, not {number};"
                " tell 0 as long as nobody knows how much there is to do"
            )
        self._link.progress(min(max(number, 0.0), 100.0), str(message)[:MESSAGE_MOST])

    def should_stop(self) -> bool:
        """Return True once the run was revoked, its daemon stops it, or a time limit has passed.

        From the first call on the function must end by itself after a stop signal: the signal no
        longer ends it at once, only the KILL after ``stop_timeout`` does. The first call must be
        in the main thread, but in pools of threads and coroutines, where there are no signals.
        """
        return self._link.stopping()

    def once(self, key: str, *, ttl: str | float | timedelta = ONCE_TTL) -> bool:
        """Return True the first time over all attempts and runs of this job, else False.

        The store decides, in one step. When the attempt dies after it got True, nobody gets it
        again before ``ttl`` has passed: what follows is done at most once. Where it must be done,
        use :meth:`finish_once`. Raises AskError when the store cannot be asked, and ValueError for
        a key that is empty or longer than 200 bytes.
        """
        return bool(self._once("first", key, ttl))

    def finish_once(
        self, key: str, *, ttl: str | float | timedelta = ONCE_TTL
    ) -> AbstractContextManager[bool]:
        """Return a block that is finished once over all attempts and runs of this job.

        ``with run.finish_once("invoice-42") as mine: if mine: …``. ``mine`` is True until a block
        ended without an exception. When the attempt dies in its block, the next attempt of the run
        gets True again: what is inside is done at least once. Meanwhile other runs get False, and
        they may get True when that run has ended without finishing. Raises as :meth:`once`.
        """
        from contextlib import contextmanager

        @contextmanager
        def block() -> Iterator[bool]:
            if not self._once("begin", key, ttl):
                yield False
                return
            try:
                yield True
            except BaseException:
                self._once("leave", key, ttl)
                raise
            self._once("finish", key, ttl)

        return block()

    def submit(self, job: Any, *args: object, **kwargs: object) -> str:
        """Submit a run of ``job``, a name or a function with ``@job``, and return its id.

        This run is its parent. Where jobctl is not installed functions have no name of a job.

        Keywords with a leading underscore are options, as in the Python API: ``_in`` and
        ``_expires`` (durations), ``_id`` (any text: repeating it makes no second run, so a
        function that may be tried again should give one), ``_queue``, ``_priority``, ``_tags``.
        Arguments are what JSON has: texts, numbers, true, false, null, lists and dicts of texts.
        Raises AskError when the run was not accepted.
        """
        job = getattr(job, "job_name", job)
        if not isinstance(job, str):
            raise AskError(f"{job!r:.80} is no job: give its name")
        options = {name[1:]: kwargs.pop(name) for name in list(kwargs) if name[:1] == "_"}
        for name in ("in", "expires"):
            if options.get(name) is not None:
                options[name] = seconds_of(options[name])
        try:
            for number, value in enumerate(args, 1):
                _check(f"argument {number}", value)
            for name, value in kwargs.items():
                _check(name, value)
        except RecursionError:
            raise AskError("the arguments are nested too deeply") from None
        question = {"ask": "submit", "job": job, "args": args, "kwargs": kwargs, "with": options}
        return str(self._ask(question)["id"])

    def _once(self, step: str, key: str, ttl: Any) -> object:
        if not isinstance(key, str) or not 0 < len(key.encode(errors="replace")) <= 200:  # noqa: PLR2004
            raise ValueError(f"a key of once is a text of 1 to 200 bytes, not {key!r:.80}")
        return self._ask({"ask": "once", "step": step, "key": key, "ttl": seconds_of(ttl)})["yes"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        answer = self._link.ask({"run": self.id, **question})
        if "error" in answer:
            raise AskError(str(answer["error"]))
        return answer


def seconds_of(value: Any) -> float:
    """Return a number, timedelta or text such as ``"1h30m"`` as seconds; raises ValueError."""
    total = None
    if hasattr(value, "total_seconds"):
        total = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        total = float(value)
    elif isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            total = float(text)
        elif text and _DURATION.sub("", text) == "":
            total = sum(float(number) * UNITS[unit] for number, unit in _DURATION.findall(text))
    if total is None or not 0 <= total < 1e10:  # noqa: PLR2004 - some centuries; false for NaN too
        raise ValueError(f"{value!r:.80} is not a duration: write seconds, '30s' or '1h30m'")
    return float(total)


_bound: Any = None
"""A ContextVar, made when first used: of runs that :func:`bound` is told of."""
_alone: list[RunContext] = []
"""Those that threads which know of none belong to; the last one counts."""


def current(default: Any = ...) -> RunContext:
    """Return the run whose function is running here, else ``default``.

    Raises NotRunning outside of a run when there is no ``default``. In a thread that the function
    started it is the same run; a thread that outlives its run should be given the object instead.
    """
    found = None if _bound is None else _bound.get()
    if found is None:
        child = sys.modules.get(PROVIDER)
        running = None if child is None else child.running()
        if running is not None:
            if running.context is None:
                running.context = _context_of(running)
            found = running.context
    if found is None and _alone:
        found = _alone[-1]
    if found is None:
        if default is not ...:
            return default  # type: ignore[no-any-return]
        raise NotRunning(
            "there is no run here: current() works inside a function that jobctl runs;"
            " elsewhere, current(None) returns None"
        )
    return found


def bound(run: RunContext, *, threads: bool = False) -> AbstractContextManager[RunContext]:
    """Return a block in which :func:`current` returns ``run``: for tests and other runners.

    With ``threads`` also in every thread that knows of no other run, as where one runs alone.
    """
    from contextlib import contextmanager
    from contextvars import ContextVar

    global _bound  # noqa: PLW0603 - most processes never need one
    if _bound is None:
        _bound = ContextVar("jobctl_run", default=None)
    variable = _bound

    @contextmanager
    def block() -> Iterator[RunContext]:
        token = variable.set(run)
        if threads:
            _alone.append(run)
        try:
            yield run
        finally:
            if threads:
                _alone.remove(run)
            variable.reset(token)

    return block()


def _check(where: str, value: object) -> None:
    """Raise AskError for what a submit from elsewhere does not take either, or would change."""
    if value is None or isinstance(value, (str, int, float)):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise AskError(
                    f"{where}: the key {key!r} is no text, and JSON has no others;"
                    " pass str(key) for it, or a list of pairs"
                )
            _check(f"{where}[{key!r}]", item)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            _check(f"{where}[{number}]", item)
    else:
        raise AskError(
            f"{where}: a {type(value).__name__} cannot be passed as it is, only what JSON has:"
            " texts, numbers, true, false, null, lists and dicts; pass a text for it"
        )


def _context_of(running: Any) -> RunContext:
    """Return the context of a call, from what the pool sent with it."""
    env, call = running.call["env"], running.call
    most = int(env.get("JOBCTL_MAX_ATTEMPTS", 1))
    limits = call.get("limits") or {}
    timeout = limits.get("timeout")
    return RunContext(
        running,
        id=call["run"],
        job=env.get("JOBCTL_JOB", ""),
        attempt=int(env.get("JOBCTL_ATTEMPT", 1)),
        max_attempts=None if most < 0 else most,
        queue=env.get("JOBCTL_QUEUE", "default"),
        trigger=env.get("JOBCTL_TRIGGER", "manual"),
        tags=limits.get("tags"),
        scheduled_at=_moment(env.get("JOBCTL_SCHEDULED_AT")),
        deadline=None if timeout is None else running.started_at + timeout,
    )


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    from datetime import datetime

    return datetime.fromisoformat(text)


def _logger(job: str) -> Logger:
    import logging

    logger = logging.getLogger("jobctl.run." + job)
    if not logger.handlers:

        class ToLog(logging.StreamHandler):  # type: ignore[type-arg]
            """Writes where prints go now; silent when the job configured logging itself."""

            def emit(self, record: logging.LogRecord) -> None:
                if not logging.getLogger().handlers:
                    self.stream = sys.stderr
                    super().emit(record)

            def flush(self) -> None:
                if not getattr(self.stream, "closed", False):
                    super().flush()

        handler = ToLog()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
    return logger
