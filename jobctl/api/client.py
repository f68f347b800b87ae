"""The blocking client and its handle of a run."""

from __future__ import annotations

from jobctl.api.handle import Handle
from jobctl.api.many import requests_of
from jobctl.api.operations import Operations
from jobctl.api.options import reference_of, run_ids, seconds, whole
from jobctl.client import logs
from jobctl.client.changes import Changes
from jobctl.client.references import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from datetime import timedelta
    from typing import Any, NoReturn, Self, TypeVar

    from jobctl.client.changes import Event
    from jobctl.client.steps import Steps
    from jobctl.model.run import Run as Record
    from jobctl.model.run import RunState

    T = TypeVar("T")
    Duration = float | str | timedelta


class Client:
    """Submits runs and looks after them; threads may share one, and it survives a fork.

    The connection is made when first needed, and anew in a process that was forked meanwhile.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        redis: str | None = None,
        namespace: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        store_wait: Duration | None = None,
    ) -> None:
        """Read the configuration; nothing is sent yet.

        ``config`` is a jobs.toml; without it the one that the ``jobctl`` command would use:
        ``$JOBCTL_CONFIG``, ``./jobs.toml``, ``$XDG_CONFIG_HOME/jobctl/jobs.toml`` or
        ``/etc/jobctl/jobs.toml``. ``redis``, ``namespace`` and ``key_file`` (that with the signing
        keys) take the place of what it says. Where there is no file, a client with ``redis`` can look
        at runs, wait for them and revoke them, and submits nothing.
        ``store_wait`` is how long a request waits for a store that is away (default: 3 seconds, or
        ``$JOBCTL_STORE_WAIT``), or between two daemons; and for the answer of one that hangs (default:
        5 seconds, which is the most; 2 is the least). Raises ``ConfigError``.
        """
        self._operations = Operations(
            config, redis=redis, namespace=namespace, key_file=key_file,
            store_wait=seconds("store_wait", store_wait),
        )  # fmt: skip

    def submit(self, job: object, /, *args: object, **kwargs: object) -> Run:
        """Submit a run of ``job``, a name or a function decorated with ``@job``.

        Arguments are what JSON has: texts, numbers, booleans, ``None``, lists and dicts whose keys
        are texts; anything else in them, at any depth, is ``InvalidArguments`` that says where.
        Options begin with an underscore: ``_in`` and ``_expires`` and
        ``_timeout`` (seconds, ``"10m"`` or a timedelta), ``_at`` (a datetime or ISO 8601 text; without an offset, in the file's zone),
        ``_queue`` (one that the file has, or that a pool takes from now), ``_priority`` (0 to 9, 9 first), ``_retries``, ``_id`` (a run id, or any key: a
        repetition makes no second run, until ``keep_ids`` after the end of the first), ``_tags`` (a dict), ``_force`` (overlap with other runs) and
        ``_kwargs`` (arguments whose names begin with an underscore).

        Raises ``NoSuchJob``, ``InvalidArguments`` (also for an ``_id`` of a run of another job),
        ``NotAccepted`` (its queue is full, or it must not overlap), ``StoreUnreachable`` (certainly
        not accepted), and ``SubmitUnknown`` when the answer was lost: repeat it with
        ``_id=error.id``, it cannot run twice as long as the store has its record, or, where you gave
        it an ``_id`` at once, until ``keep_ids`` after its end.
        """
        return Run(self, *self._up_to_date().submit_now(job, args, kwargs))

    def submit_many(
        self, job: object, items: Iterable[object] | None = None, /, **options: object
    ) -> list[Run]:
        """Submit many runs, in order; all are checked before any is sent.

        ``submit_many(job, items)``: an item is a dict of named arguments (and options), a tuple or
        list of arguments, or the only argument. ``submit_many(items)``: an item is
        ``(job, arguments)`` or ``(job, arguments, options)``. ``options`` are for all of them.

        Raises as :meth:`submit`; ``items`` and ``ids`` of the error say which it is about, by their
        places from 0 and their run ids. Those of ``NotAccepted``, and of an ``_id`` of another job's
        run, were refused, the others are accepted. After ``SubmitUnknown`` and ``StoreUnreachable``
        the items before those were sent, those behind were not: to be able to repeat all, give every
        item an ``_id``.
        """
        operations = self._up_to_date()
        requests = requests_of(job, items, options)
        found = operations.session.carry_out(operations.submit_many(requests))
        return [Run(self, run_id, name) for run_id, name in found]

    def run(self, reference: str) -> Run:
        """Return the handle of a run: by its id, the beginning of one, its job's name, or ``@last``.

        Raises ``NoSuchRun``, and ``UsageError`` when several ids begin so.
        """
        session = self._up_to_date().session
        found = Run(self, resolve(session, reference_of(reference)), "")
        found.refresh()
        return found

    def revoke(self, ids: Iterable[str]) -> dict[str, bool]:
        """Revoke runs by their ids; tells of each whether there was anything left to revoke.

        Raises ``NoSuchRun``, and ``InvalidArguments`` for what is no list of ids.
        """
        operations = self._up_to_date()
        return operations.session.carry_out(
            operations.revoke(run_ids(ids), signal=None, grace=None, kill=True)
        )

    @property
    def jobs(self) -> list[str]:
        """The names of all jobs, in the order of the files."""
        return self._operations.session.job_names

    def reload(self) -> None:
        """Read the configuration again now; a changed main file is noticed within two seconds anyhow.

        Raises ``ConfigError``, and goes on as before, when it is wrong.
        """
        self._operations.reload()

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        self._operations.session.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Client belongs to its process and cannot be pickled; make one there")

    def _up_to_date(self) -> Operations:
        if self._operations.changed():
            self._operations.follow()
        return self._operations

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        session = self._operations.session
        return f"Client({session.path!r}, namespace={session.settings.namespace!r})"


class Run(Handle):
    """A handle of one run. What is read of a final run is kept; of others it is read again."""

    __slots__ = ()
    _client: Client

    @property
    def record(self) -> Record:
        """Everything that is stored about it, as last read."""
        return self._record or self.refresh()

    @property
    def state(self) -> RunState:
        """Its state now, a word such as ``"queued"``; raises ``NoSuchRun`` once it is forgotten."""
        return self._now().state

    @property
    def result(self) -> Any:  # noqa: ANN401 - whatever the job returned
        """What the job returned.

        Raises ``RunNotEnded``, and ``JobFailed`` when it ended without success.
        """
        return self._result_of(self._now())

    @property
    def attempt(self) -> int:
        """Attempts started so far."""
        return self._now().attempt

    def refresh(self) -> Record:
        """Read the run again and return everything that is stored about it."""
        return self._keep(self._carry_out(self._operations.record(self.id, job=self._job)))

    def wait(self, timeout: Duration | None = None) -> Any:  # noqa: ANN401 - whatever the job returned
        """Wait for its end and return what the job returned; ``timeout`` is at most so long.

        Raises ``JobFailed`` when it ended without success, ``WaitTimeout`` when it has not ended
        by then (the run goes on), and ``NoSuchRun``.
        """
        steps = self._operations.wait(self.id, timeout=seconds("timeout", timeout), job=self._job)
        return self._result_of(self._ended() or self._keep(self._carry_out(steps)))

    def revoke(
        self, *, signal: str | None = None, grace: Duration | None = None, kill: bool = True
    ) -> bool:
        """Revoke it: one that waits ends at once, one that runs is stopped by its supervisor.

        ``signal`` (``"INT"``) and ``grace`` until KILL take the place of what the job says; without
        ``kill`` only the signal is sent. Returns whether there was anything left to revoke.
        """
        steps = self._operations.revoke(
            [self.id], signal=signal, grace=seconds("grace", grace), kill=kill, job=self._job
        )
        return self._carry_out(steps)[self.id]

    def progress(self) -> Any:  # noqa: ANN401 - JSON
        """Return what its attempt last reported, ``{"percent": …, "message": …}``, or ``None``."""
        return self._carry_out(self._operations.progress(self.id, job=self._job))

    def logs(self, *, lines: int | None = None, attempt: int | None = None) -> str:
        """Return the output of an attempt (default: the last), or only its last ``lines`` lines.

        Raises ``NoSuchRun``, and ``NotFound`` when its output is not to be had here.
        """
        attempt, lines = whole("attempt", attempt, least=1), whole("lines", lines, least=0)
        session = self._operations.session
        data = b"".join(logs.read(session, self._now(), attempt=attempt, lines=lines))
        return data.decode("utf-8", "backslashreplace")

    def follow(self) -> Iterator[bytes]:
        """Yield its output as it comes, in pieces, until it ends."""
        session = self._operations.session
        return logs.follow(session, self.id, lines=None, on_attempt=lambda _: None, job=self._job)

    def events(self, *, timeout: Duration | None = None) -> Iterator[Event]:
        """Yield each change of state and progress as it is seen, until it ends.

        Begins with the state it is in. Raises ``WaitTimeout`` after ``timeout``, and ``NoSuchRun``.
        """
        session = self._operations.session
        changes = Changes(session, self.id, timeout=seconds("timeout", timeout), job=self._job)
        while not changes.ended:
            yield from self._carry_out(changes.more())

    def inspect(self) -> dict[str, object]:
        """Return everything about it, as ``jobctl inspect --json`` prints it; secrets are masked."""
        return self._view(self._now())

    def _now(self) -> Record:
        return self._ended() or self.refresh()

    def _carry_out(self, steps: Steps[T]) -> T:
        return self._operations.session.carry_out(steps)
