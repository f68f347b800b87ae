"""What the blocking and the asynchronous client do, as steps; see :mod:`jobctl.client.steps`."""

from __future__ import annotations

import contextlib
import os

from jobctl.api.many import name_of, of_items, require_all
from jobctl.api.options import (
    OWN,
    flag,
    namespace_of,
    path_of,
    signal_name,
    split,
    wish_for,
)
from jobctl.client import plan, queues
from jobctl.client.control import BATCH as REVOKE_BATCH
from jobctl.client.forgotten import forgotten
from jobctl.client.open import Session
from jobctl.client.sending import Tried, check_room
from jobctl.client.steps import AWAY, outlast, patiently
from jobctl.client.submit import own_name, taken
from jobctl.client.views import loads
from jobctl.client.waiting import Wait
from jobctl.config.load import read_plain
from jobctl.config.paths import find_config, usual_state_dir
from jobctl.errors import (
    ConfigError,
    JobctlError,
    NoSuchRun,
    NotAcceptedError,
    UnreachableError,
)
from jobctl.store import queries, transitions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from jobctl.client.steps import Steps
    from jobctl.model.run import Run as Record
    from jobctl.store.transitions import Answer

LEAST_ANSWER = 2.0
"""Seconds that a store that hangs is given for its answer, however short ``store_wait`` is."""
_OF_THE_STORE = (NotAcceptedError, UnreachableError)
"""What may hit one batch and not those before it."""
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
        # As it is before it is read: what is written meanwhile is seen as a change, if twice.
        self._stamp = self._file_stamp()
        self.session = self._opened()
        self._looked = self.session.clock.monotonic()
        self._plans: dict[str, plan.Plan] = {}
        self._moved_from = ""
        """The store and namespace before the configuration named others, in words."""

    def _opened(self) -> Session:
        plain = self._read()
        if self._changed:
            plain = {**plain, "settings": {**plain["settings"], **self._changed}}
        if self._key_file is not None:
            plain = {**plain, "security": {**plain["security"], "key_file": self._key_file}}
        session = Session(plain)
        session.for_programs = True
        if self._store_wait is not None:
            session.store_wait = self._store_wait
            session.answer_wait = min(session.answer_wait, max(LEAST_ANSWER, self._store_wait))
        return session

    def _file_stamp(self) -> tuple[int, ...]:
        try:
            return _stamp(find_config(self._named))
        except ConfigError:  # it is told, or there need not be one, where it is read
            return ()

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
        stamp = self._file_stamp()
        before, fresh = self.session, self._opened()
        self._stamp = stamp
        if str(fresh.address) == str(before.address):
            fresh.adopt(before)
        else:
            before.close()
        self.session, self._plans = fresh, {}
        if _place(fresh) != _place(before):
            self._moved_from = _place(before)
            plan.warn(
                f"{fresh.path} now names {_place(fresh)}, before it was {_place(before)}: runs are "
                "submitted there from now on, and those of before are not found; daemons follow when "
                "they are started anew"
            )

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
        return (yield from self.sent(run)), run.job

    def sent(self, run: plan.Ready) -> Steps[str]:
        """Send a run that was :meth:`checked`; returns the id of the run to look at."""
        answers = yield from plan.send(self.session, [run])
        return _accepted(run, answers[0])

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
                error.items = (number,)
                raise
        try:
            answers = yield from plan.send(self.session, runs)
        except JobctlError as error:
            if error.items and (error.items[0] or isinstance(error, _OF_THE_STORE)):
                error.args = (of_items(error, len(runs)),)
            raise
        require_all(runs, answers)
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
        run_id = options.get("_id")
        rest = ((name, repr(item)) for name, item in options.items() if name not in OWN)
        key = (job, run_id is None, *rest)
        found = None if shared is None else shared.get(key)
        if found is None:
            # With the id, so that the plan is for runs that have one.
            found = self._planned(job, options)
            if shared is not None:
                shared[key] = found
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

    def _forgotten(self, run_id: str, job: str) -> Steps[NoSuchRun]:
        error = yield from forgotten(self.session, run_id, job=job)
        if self._moved_from:
            message = (
                f"no run {run_id} in {_place(self.session)}, which the configuration names by now; runs "
                f"of before are in {self._moved_from}: make a client for that"
            )
            error.args = (message,)
        return error

    def record(self, run_id: str, *, job: str = "") -> Steps[Record]:
        """Read a run; raises ``NoSuchRun``. ``job`` is that of one that was known, here and below."""
        (found,) = yield from patiently(self.session, [queries.run(self.session.keys, run_id)])
        if found is None:
            raise (yield from self._forgotten(run_id, job))
        return found  # type: ignore[no-any-return]  # what the call decodes

    def wait(self, run_id: str, *, timeout: float | None, job: str = "") -> Steps[Record]:
        """Wait for the end of a run; raises ``TimedOutError`` after ``timeout`` seconds."""
        waiting = Wait(self.session, [run_id], timeout=timeout)
        (found,) = yield from waiting.ended()
        if found is None:
            raise (yield from self._forgotten(run_id, job))
        return found

    def progress(self, run_id: str, *, job: str = "") -> Steps[object]:
        """Read what a run last reported: ``{"percent": …, "message": …}`` or ``None``."""
        calls = [queries.state(self.session.keys, run_id)]
        ((letter, progress, _),) = yield from outlast(self.session, calls)
        if letter is None:
            raise (yield from self._forgotten(run_id, job))
        return loads(progress)

    def revoke(
        self,
        ids: Sequence[str],
        *,
        signal: str | None,
        grace: float | None,
        kill: bool,
        job: str = "",
    ) -> Steps[dict[str, bool]]:
        """Revoke runs; tells of each whether it was still to be revoked.

        Raises ``NoSuchRun`` with the ids of those that are not known, when all others are revoked.
        """
        name, kill = signal_name(signal), flag("kill", kill)
        out: dict[str, bool] = {}
        unknown: list[str] = []
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
                    unknown.append(run_id)
                else:
                    out[run_id] = letter not in ("k", "x", "v", "e", "s")
        if unknown:
            error = yield from self._forgotten(unknown[0], job)
            if len(ids) > 1:
                words = (
                    f"{len(unknown)} of {len(ids)} runs are not known, which they are is in `ids`;"
                    f" the others are revoked, or had ended. The first of them: {error}"
                )
                error.args = (words,)
            error.ids = unknown
            raise error
        return out


def _place(session: Session) -> str:
    """Return which store and namespace a session works with, in words without a password."""
    return f"namespace {session.keys.namespace} at {session.address}"


def _stamp(path: str) -> tuple[int, ...]:
    try:
        info = os.stat(path)  # noqa: PTH116 (texts)
    except OSError:
        return ()
    return info.st_mtime_ns, info.st_size, info.st_ino


def _accepted(run: plan.Ready, answer: Answer) -> str:
    """Return the id of the run to look at; raises ``NotAcceptedError`` when there is none."""
    match answer.kind:
        case "other":
            raise taken(run.id, job=run.job, other=answer.detail, option="_id")
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
