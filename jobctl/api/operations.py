"""What the blocking and the asynchronous client do, as steps; see :mod:`jobctl.client.steps`."""

from __future__ import annotations

import contextlib
import os

from jobctl.api.options import (
    OWN,
    flag,
    namespace_of,
    path_of,
    several,
    signal_name,
    split,
    wish_for,
)
from jobctl.client import plan, queues
from jobctl.client.control import BATCH as REVOKE_BATCH
from jobctl.client.open import Session
from jobctl.client.sending import Tried, check_room
from jobctl.client.steps import AWAY, outlast, patiently
from jobctl.client.submit import own_name
from jobctl.client.views import loads
from jobctl.client.waiting import Wait
from jobctl.config.load import read_plain
from jobctl.config.paths import find_config, usual_state_dir
from jobctl.errors import (
    ConfigError,
    InvalidArguments,
    JobctlError,
    NoSuchRun,
    NotAcceptedError,
)
from jobctl.store import queries, transitions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from jobctl.client.steps import Steps
    from jobctl.model.run import Run as Record
    from jobctl.store.transitions import Answer

LOOK_EVERY = 2.0
"""Seconds between two looks whether jobs.toml was changed."""


class Operations:
    """One configuration and what can be asked of its store; holds no connection that is in use."""

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        redis: str | None = None,
        namespace: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        store_wait: float | None = None,
    ) -> None:
        """See :class:`jobctl.api.client.Client`."""
        self._named = None if config is None else path_of("config", config)
        if namespace is not None:
            namespace = namespace_of(namespace)
        if redis is not None and not isinstance(redis, str):
            raise ConfigError(f"redis: {redis!r} is no URL of a store")
        self._changed = {
            key: value
            for key, value in (("redis", redis), ("namespace", namespace))
            if value is not None
        }
        if key_file is not None:
            key_file = os.path.abspath(path_of("key_file", key_file))  # noqa: PTH100 (pathlib costs 10 ms)
        self._key_file = key_file
        self._store_wait = store_wait
        self._submitter = own_name()
        self.session = self._opened()
        self._stamp = _stamp(self.session.path)
        self._looked = self.session.clock.monotonic()
        self._plans: dict[str, plan.Plan] = {}

    def _opened(self) -> Session:
        plain = self._read()
        if self._changed:
            plain = {**plain, "settings": {**plain["settings"], **self._changed}}
        if self._key_file is not None:
            plain = {**plain, "security": {**plain["security"], "key_file": self._key_file}}
        session = Session(plain)
        if self._store_wait is not None:
            session.store_wait = self._store_wait
        return session

    def _read(self) -> dict[str, Any]:
        """Return the plain form of the file; without one, of no jobs, where a store is named."""
        if self._named is None and "redis" in self._changed:
            try:
                find_config(None)
            except ConfigError:
                return {"settings": {"state_dir": usual_state_dir()}, "security": {}}
        return read_plain(self._named)

    def reload(self) -> None:
        """Read the configuration again; raises ``ConfigError`` and stays as it was when it is wrong."""
        before, fresh = self.session, self._opened()
        self._stamp = _stamp(fresh.path)
        if str(fresh.address) == str(before.address):
            fresh.adopt(before)
        else:
            before.close()
        self.session, self._plans = fresh, {}

    def changed(self) -> bool:
        """Look now and then whether jobs.toml was changed; if so, once, :meth:`follow` is due."""
        now = self.session.clock.monotonic()
        if now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        stamp = _stamp(self.session.path)
        if not stamp or stamp == self._stamp:
            return False
        self._stamp = stamp
        return True

    def follow(self) -> None:
        """Read a jobs.toml that was changed; one that is wrong now is left alone until it is mended."""
        with contextlib.suppress(ConfigError):
            self.reload()

    # Submitting.

    def submit(
        self, job: object, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> Steps[tuple[str, str]]:
        """Submit one run; returns its id and job. Raises ``NotAcceptedError`` when it was refused."""
        run = yield from self.checked(name_of(job), args, kwargs)
        answers = yield from plan.send(self.session, [run])
        return _accepted(run, answers[0]), run.job

    def submit_now(
        self, job: object, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[str, str]:
        """Carry :meth:`submit` out, and wait for the answer in this thread.

        Mostly there is a plan, and then nothing is done before the first byte leaves that could be
        done before or later: it is what somebody waits for who submits a run now and then.
        """
        name, session = job if type(job) is str else name_of(job), self.session
        found = self._plans.get(name)
        if found is None or not found.lone or (kwargs and any(w[:1] == "_" for w in kwargs)):
            return session.carry_out(self.submit(job, args, kwargs))
        run = found.ready(args, kwargs)
        began = session.clock.monotonic()
        if began >= session.roomy_until:
            check_room(session)
        try:
            (answer,) = session.store.run(found.call(run))
        except AWAY as error:
            tried = Tried(error, began=began)
            (answer,) = session.carry_out(plan.send(session, [run], tried=tried))
        return _accepted(run, answer), name

    def submit_many(
        self, requests: Iterable[tuple[str, Sequence[object], Mapping[str, object]]]
    ) -> Steps[list[tuple[str, str]]]:
        """Submit many runs: all are checked before any is sent. Returns ids and jobs in order."""
        shared: dict[object, plan.Plan] = {}
        runs = []
        for number, (job, args, kwargs) in enumerate(requests):
            try:
                runs.append((yield from self.checked(job, args, kwargs, shared=shared)))
            except JobctlError as error:
                error.args = (f"item {number}: {error}; nothing was submitted",)
                raise
        answers = yield from plan.send(self.session, runs)
        refused = [
            run
            for run, answer in zip(runs, answers, strict=True)
            if answer.kind in ("full", "skip")
        ]
        if refused:
            raise NotAcceptedError(
                f"{len(refused)} of {len(runs)} runs were not accepted, the first of job "
                f"{refused[0].job}: its queue is full, or it must not overlap; their ids are in `ids`",
                job=refused[0].job,
                ids=[run.id for run in refused],
            )
        return [
            (_accepted(run, answer), run.job) for run, answer in zip(runs, answers, strict=True)
        ]

    def checked(
        self,
        job: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        shared: dict[object, plan.Plan] | None = None,
    ) -> Steps[plan.Ready]:
        """Check everything that is asked for; returns what is to be sent. ``shared`` keeps plans."""
        run = self._ready(job, args, kwargs, shared=shared)
        if run.plan.queue is not None:
            yield from queues.require(self.session, run.plan.queue)
        return run

    def _ready(
        self,
        job: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        shared: dict[object, plan.Plan] | None = None,
    ) -> plan.Ready:
        given, options = split(kwargs)
        if not options:
            return self._plan(job).ready(args, given)
        key = (job, *((name, repr(item)) for name, item in options.items() if name not in OWN))
        found = None if shared is None else shared.get(key)
        if found is None:
            found = self._planned(job, {k: v for k, v in options.items() if k != "_id"})
            if shared is not None:
                shared[key] = found
        run_id = options.get("_id")
        if run_id is not None:
            wish_for(self.session, job, {"_id": run_id})
        return found.ready(args, given, run_id=run_id)  # type: ignore[arg-type]  # checked above

    def _plan(self, job: str) -> plan.Plan:
        found = self._plans.get(job)
        if found is None:
            found = self._plans[job] = self._planned(job, {})
        return found

    def _planned(self, job: str, options: Mapping[str, object]) -> plan.Plan:
        wish = wish_for(self.session, job, options)
        return plan.Plan(self.session, wish, submitter=self._submitter)

    # Looking.

    def record(self, run_id: str) -> Steps[Record]:
        """Read a run; raises ``NoSuchRun``."""
        (found,) = yield from patiently(self.session, [queries.run(self.session.keys, run_id)])
        if found is None:
            raise NoSuchRun(
                f"no run {run_id}: it never was, or is past its retention", ids=[run_id]
            )
        return found  # type: ignore[no-any-return]  # what the call decodes

    def wait(self, run_id: str, *, timeout: float | None) -> Steps[Record]:
        """Wait for the end of a run; raises ``TimedOutError`` after ``timeout`` seconds."""
        waiting = Wait(self.session, [run_id], timeout=timeout)
        (found,) = yield from waiting.ended()
        if found is None:
            raise NoSuchRun(
                f"no run {run_id}: it never was, or is past its retention", ids=[run_id]
            )
        return found

    def progress(self, run_id: str) -> Steps[object]:
        """Read what a run last reported: ``{"percent": …, "message": …}`` or ``None``."""
        calls = [queries.state(self.session.keys, run_id)]
        ((letter, progress, _),) = yield from outlast(self.session, calls)
        if letter is None:
            raise NoSuchRun(
                f"no run {run_id}: it never was, or is past its retention", ids=[run_id]
            )
        return loads(progress)

    def revoke(
        self, ids: Sequence[str], *, signal: str | None, grace: float | None, kill: bool
    ) -> Steps[dict[str, bool]]:
        """Revoke runs; tells of each whether it was still to be revoked."""
        name, kill = signal_name(signal), flag("kill", kill)
        out: dict[str, bool] = {}
        for start in range(0, len(ids), REVOKE_BATCH):
            batch = ids[start : start + REVOKE_BATCH]
            call = transitions.revoke(
                self.session.keys,
                batch,
                signal=name or "-",
                grace=grace,
                kill=kill,
                seal=self.session.signing.order,
            )
            (answers,) = yield from patiently(self.session, [call])
            for run_id, answer in zip(batch, answers, strict=True):
                letter = answer.split(" ")[0]
                if letter == "-":
                    raise NoSuchRun(
                        f"no run {run_id}: it never was, or is past its retention", ids=[run_id]
                    )
                out[run_id] = letter not in ("k", "x", "v", "e", "s")
        return out


def _stamp(path: str) -> tuple[int, ...]:
    try:
        info = os.stat(path)  # noqa: PTH116 (texts)
    except OSError:
        return ()
    return info.st_mtime_ns, info.st_size, info.st_ino


def name_of(job: object) -> str:
    """Return the name of a job that is given by it or by its decorated function."""
    name = getattr(job, "job_name", job)
    if not isinstance(name, str):
        raise InvalidArguments(
            f"{job!r} is no job: give its name, or a function that is decorated with @job"
        )
    return name


def requests_of(
    job: object, items: Iterable[object] | None, common: Mapping[str, object]
) -> Iterable[tuple[str, Sequence[object], Mapping[str, object]]]:
    """Yield what each item asks for: job, arguments, named arguments with options.

    With a job, an item is a dict of named arguments, a tuple or list of arguments, or the only
    argument. Without one, it is ``(job, arguments)`` or ``(job, arguments, named arguments)``.
    """
    if items is None:
        asked: Any = job
        if isinstance(job, str) or hasattr(job, "job_name"):
            raise InvalidArguments(
                f"submit_many of {name_of(job)}: there are no items; pass a list of arguments, such "
                f"as submit_many({name_of(job)!r}, [(1,), (2,)])"
            )
        for item in several("items", asked, "pass a list of (job, arguments)"):
            if not isinstance(item, tuple) or len(item) not in (2, 3):
                raise InvalidArguments(
                    f"{item!r} asks for no run; write (job, arguments), or submit_many(job, items)"
                )
            args, kwargs = _of_item(item[1])
            more = item[2] if len(item) == 3 else {}  # noqa: PLR2004 (see above)
            if not isinstance(more, dict):
                raise InvalidArguments(f"{item!r}: its options are no dict: {more!r}")
            yield name_of(item[0]), args, {**common, **kwargs, **more}
        return
    name = name_of(job)
    for item in several("items", items, "pass a list of arguments, such as [(1,), (2,)]"):
        args, kwargs = _of_item(item)
        yield name, args, ({**common, **kwargs} if common else kwargs)


def _of_item(item: object) -> tuple[Sequence[object], Mapping[str, object]]:
    if isinstance(item, dict):
        return (), item
    if isinstance(item, tuple | list):
        return item, {}
    return (item,), {}


def _accepted(run: plan.Ready, answer: Answer) -> str:
    """Return the id of the run to look at; raises ``NotAcceptedError`` when there is none."""
    match answer.kind:
        case "full":
            raise NotAcceptedError(
                f"the queue of job {run.job} is full; try again later", job=run.job, ids=[run.id]
            )
        case "skip":
            raise NotAcceptedError(
                f"skipped: run {answer.detail} of {run.job} has not ended (overlap = skip); "
                "_force=True lets them overlap",
                job=run.job,
                ids=[run.id],
            )
        case "unique":
            return answer.detail
    return run.id
