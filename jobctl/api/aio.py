"""The client for programs with an event loop: the same operations, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from jobctl.api.handle import Handle
from jobctl.api.many import requests_of
from jobctl.api.operations import Operations
from jobctl.api.options import reference_of, run_ids, seconds, whole
from jobctl.client import logs
from jobctl.client.changes import Changes
from jobctl.client.references import resolve
from jobctl.client.steps import carry_out_async, seconds_left
from jobctl.errors import JobctlError, UsageError
from jobctl.store.aio import AsyncStore
from jobctl.store.failures import lost_reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from typing import TypeVar

    from jobctl.api.client import Duration
    from jobctl.client.changes import Event
    from jobctl.client.open import Session
    from jobctl.client.steps import Steps
    from jobctl.model.run import Run as Record
    from jobctl.model.run import RunState
    from jobctl.store.calls import Call

    T = TypeVar("T")


class _Made(NamedTuple):
    store: AsyncStore
    session: Session
    pid: int


class AsyncClient:
    """As :class:`jobctl.api.client.Client`, for event loops; many tasks may share one."""

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        redis: str | None = None,
        namespace: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        store_wait: Duration | None = None,
    ) -> None:
        """Read the configuration; nothing is sent yet. Raises ``ConfigError``."""
        self._operations = Operations(
            config, redis=redis, namespace=namespace, key_file=key_file,
            store_wait=seconds("store_wait", store_wait),
        )  # fmt: skip
        self._stores: dict[asyncio.AbstractEventLoop, _Made] = {}
        """A connection belongs to its loop, and to the process that made it."""
        self._left = False

    async def submit(self, job: object, /, *args: object, **kwargs: object) -> AsyncRun:
        """Submit a run; see :meth:`jobctl.api.client.Client.submit`."""
        operations = await self._up_to_date()
        found = await self._carry_out(operations.submit(job, args, kwargs))
        return AsyncRun(self, *found)

    async def submit_many(
        self, job: object, items: Iterable[object] | None = None, /, **options: object
    ) -> list[AsyncRun]:
        """Submit many runs; see :meth:`jobctl.api.client.Client.submit_many`."""
        operations = await self._up_to_date()
        requests = requests_of(job, items, options)
        found = await self._carry_out(operations.submit_many(requests))
        return [AsyncRun(self, run_id, name) for run_id, name in found]

    async def run(self, reference: str) -> AsyncRun:
        """Return the handle of a run: by its id, the beginning of one, its job's name, or ``@last``.

        Raises ``NoSuchRun``, and ``UsageError`` when several ids begin so.
        """
        session = (await self._up_to_date()).session
        run_id = await asyncio.to_thread(resolve, session, reference_of(reference))
        found = AsyncRun(self, run_id, "")
        await found.refresh()
        return found

    async def revoke(self, ids: Iterable[str]) -> dict[str, bool]:
        """Revoke runs by their ids; tells of each whether there was anything left to revoke."""
        operations = await self._up_to_date()
        return await self._carry_out(
            operations.revoke(run_ids(ids), signal=None, grace=None, kill=True)
        )

    @property
    def jobs(self) -> list[str]:
        """The names of all jobs, in the order of the files."""
        return self._operations.session.job_names

    async def reload(self) -> None:
        """Read the configuration again now; see :meth:`jobctl.api.client.Client.reload`."""
        await asyncio.to_thread(self._operations.reload)

    async def close(self) -> None:
        """Close the connection; the next request makes a new one.

        After the end of ``async with`` nothing makes one: the client and its handles raise
        ``UsageError`` for what needs the store, until the client is entered again.
        """
        self._operations.session.close()
        here = self._stores.pop(asyncio.get_running_loop(), None)
        self._part()
        for loop, made in list(self._stores.items()):
            # What is under way there gets its answers; a loop that has stopped may go on yet.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(made.store.retire, "its client was closed")
        self._stores.clear()
        if here is not None and here.pid == os.getpid():
            await here.store.close()
        elif here is not None:
            here.store.abandon()

    async def _up_to_date(self) -> Operations:
        self._require_open()
        if self._operations.changed():
            # Validating a file takes a tenth of a second and more.
            await asyncio.to_thread(self._operations.follow)
        return self._operations

    async def __aenter__(self) -> Self:
        self._left = False
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left = True
        await self.close()

    def _require_open(self) -> None:
        # A connection made now would be closed by nobody.
        if self._left:
            raise UsageError(
                "this AsyncClient was closed at the end of its `async with`; use it and its handles "
                "inside, or make it without `async with` and close() it at the end"
            )

    async def _carry_out(self, steps: Steps[T]) -> T:
        try:
            return await carry_out_async(steps, send=self._send, pause=asyncio.sleep)
        except JobctlError as error:
            raise error from None  # as of the blocking client

    async def _send(self, calls: Sequence[Call[Any]]) -> list[Any]:
        self._require_open()
        store = self._store()
        session = self._operations.session
        within = seconds_left(calls, session.clock)
        if within is None or within >= session.answer_wait:
            return await store.run_many(calls)
        try:
            # Who gives up leaves the connection to the others.
            async with asyncio.timeout(within):
                return await store.run_many(calls)
        except TimeoutError as error:
            raise lost_reply("no answer in time", store.server) from error

    def _store(self) -> AsyncStore:
        """Return the connection of this loop, made by this process for what was read last."""
        session, loop = self._operations.session, asyncio.get_running_loop()
        made = self._stores.get(loop)
        if made is not None and made.session is session and made.pid == os.getpid():
            return made.store
        self._part()
        if made is not None and made.pid == os.getpid():
            made.store.retire("the configuration was read again")
        store = AsyncStore(session.address, timeout=session.answer_wait)
        self._stores[loop] = _Made(store, session, os.getpid())
        return store

    def _part(self) -> None:
        """Let go of connections of loops that have ended, and of the parent of this process."""
        for loop, made in list(self._stores.items()):
            if loop.is_closed() or made.pid != os.getpid():
                made.store.abandon()
                self._stores.pop(loop, None)  # another thread may look too

    def __repr__(self) -> str:
        session = self._operations.session
        return f"AsyncClient({session.path!r}, namespace={session.settings.namespace!r})"


class AsyncRun(Handle):
    """A handle of one run; what reads the store is a coroutine."""

    __slots__ = ()
    _client: AsyncClient

    async def state(self) -> RunState:
        """Return its state now; raises ``NoSuchRun`` once it is forgotten."""
        return (await self._now()).state

    async def result(self) -> Any:  # noqa: ANN401 - whatever the job returned
        """Return what the job returned; raises ``RunNotEnded`` and ``JobFailed``."""
        return self._result_of(await self._now())

    async def refresh(self) -> Record:
        """Read the run again and return everything that is stored about it."""
        return self._keep(await self._carry_out(self._operations.record(self.id, job=self._job)))

    async def wait(self, timeout: Duration | None = None) -> Any:  # noqa: ANN401, ASYNC109 - as the blocking one
        """Wait for its end; see :meth:`jobctl.api.client.Run.wait`."""
        steps = self._operations.wait(self.id, timeout=seconds("timeout", timeout), job=self._job)
        return self._result_of(self._ended() or self._keep(await self._carry_out(steps)))

    async def revoke(
        self, *, signal: str | None = None, grace: Duration | None = None, kill: bool = True
    ) -> bool:
        """Revoke it; see :meth:`jobctl.api.client.Run.revoke`."""
        steps = self._operations.revoke(
            [self.id], signal=signal, grace=seconds("grace", grace), kill=kill, job=self._job
        )
        return (await self._carry_out(steps))[self.id]

    async def progress(self) -> Any:  # noqa: ANN401 - JSON
        """Return what its attempt last reported, ``{"percent": …, "message": …}``, or ``None``."""
        return await self._carry_out(self._operations.progress(self.id, job=self._job))

    async def logs(self, *, lines: int | None = None, attempt: int | None = None) -> str:
        """Return the output of an attempt; see :meth:`jobctl.api.client.Run.logs`."""
        attempt, lines = whole("attempt", attempt, least=1), whole("lines", lines, least=0)
        record = await self._now()
        self._client._require_open()  # noqa: SLF001 - same

        def read() -> bytes:
            session = self._operations.session
            return b"".join(logs.read(session, record, attempt=attempt, lines=lines))

        # Files are read by blocking; a thread does it, with a connection of its own.
        return (await asyncio.to_thread(read)).decode("utf-8", "backslashreplace")

    async def follow(self) -> AsyncIterator[bytes]:
        """Yield its output as it comes; see :meth:`jobctl.api.client.Run.follow`."""
        follower = logs.Follower(self._operations.session, self.id, job=self._job)
        try:
            while piece := await self._carry_out(follower.more()):
                yield piece
        finally:
            follower.close()

    async def events(self, *, timeout: Duration | None = None) -> AsyncIterator[Event]:  # noqa: ASYNC109 - as the blocking one
        """Yield each change of state and progress; see :meth:`jobctl.api.client.Run.events`."""
        session = self._operations.session
        changes = Changes(session, self.id, timeout=seconds("timeout", timeout), job=self._job)
        while not changes.ended:
            for event in await self._carry_out(changes.more()):
                yield event

    async def inspect(self) -> dict[str, object]:
        """Return everything about it, as ``jobctl inspect --json`` prints it; secrets are masked."""
        return self._view(await self._now())

    async def _now(self) -> Record:
        return self._ended() or await self.refresh()

    async def _carry_out(self, steps: Steps[T]) -> T:
        return await self._client._carry_out(steps)  # noqa: SLF001 - a handle belongs to its client
