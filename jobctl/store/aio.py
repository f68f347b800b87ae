"""The executor for the daemon: many coroutines share one pipelined connection.

A connection answers in order, so a call that waits on purpose (``BLPOP``) holds up every later one:
such calls belong on an :class:`AsyncStore` of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, Self, TypeVar

from hiredis import ReplyError

from jobctl.errors import JobctlError, NotAcceptedError, UnreachableError
from jobctl.store import failpoints, failures
from jobctl.store.connection import Connection, open_connection
from jobctl.store.failures import first_word
from jobctl.store.groups import MAX_REDIRECTS, redirect
from jobctl.store.packing import MAX_LOADS, load, packed, stale, unknown_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.store.address import Address
    from jobctl.store.calls import Call
    from jobctl.store.failpoint_plan import Harm
    from jobctl.store.group_address import GroupAddress, Place
    from jobctl.store.watch import AsyncFinder

T = TypeVar("T")

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 5.0


class Backoff:
    """Growing random pauses in seconds (full jitter), so that many hosts do not return at once."""

    def __init__(self, first: float = FIRST_BACKOFF, longest: float = LONGEST_BACKOFF) -> None:
        self._first = first
        self._longest = longest
        self._ceiling = first

    def next(self) -> float:
        """Return the next pause."""
        ceiling = self._ceiling
        self._ceiling = min(self._longest, ceiling * 2)
        return random.uniform(0.0, ceiling)  # noqa: S311  # spreads load, guards nothing

    def reset(self) -> None:
        """Start again with the shortest pause, after a success."""
        self._ceiling = self._first


class AsyncStore:
    """A connection that is made when first used and made anew after it was lost.

    Never repeats a call by itself. A call while disconnected tries to connect once and raises
    :class:`~jobctl.errors.UnreachableError`; a call whose answer was lost raises
    :class:`~jobctl.store.failures.LostReplyError`. Cancelling a call leaves the others intact.
    """

    def __init__(
        self,
        address: Address,
        *,
        connect_timeout: float = 1.0,
        timeout: float = 5.0,
        name: str = "",
    ) -> None:
        """Both timeouts are in seconds; ``name`` is shown by the server in ``CLIENT LIST``."""
        self.address = address
        self.server = address
        """Where the connection leads, or last led: of a group, the server in charge."""
        self.generation = 0
        """Grows with every new connection, so that a caller notices that there was a break."""
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._name = name
        self._connection: Connection | None = None
        self._leaving: list[Connection] = []
        self._connecting: asyncio.Task[Connection] | None = None
        self._finder: AsyncFinder | None = None
        self._told: Place | None = None

    @property
    def connected(self) -> bool:
        """Whether a connection is up, as far as anybody can know without asking."""
        return self._connection is not None and not self._connection.closed

    async def run(self, call: Call[T]) -> T:
        """Carry out one call; raises a branch of :class:`~jobctl.errors.JobctlError`."""
        plan = failpoints.active
        if plan is not None:
            await self._suffer(plan.before((call,)), sent=False)
        connection = self._connection
        if connection is None or connection.closed:
            connection = await self._connect()
        reply = await _answer(connection, call)
        if isinstance(reply, ReplyError):
            reply = await self._settle(connection, call, reply)
        if plan is not None:
            await self._suffer(plan.after((call,)), sent=True)
        return call.decode(reply)

    async def run_many(self, calls: Sequence[Call[T]]) -> list[T]:
        """Carry out several calls in one write; raises the first error once all are answered.

        Calls whose script had to be loaded first are carried out after the others.
        """
        results: list[T] = []
        for result in await self.try_many(calls):
            if isinstance(result, JobctlError):
                raise result
            results.append(result)
        return results

    async def try_many(self, calls: Sequence[Call[T]]) -> list[T | JobctlError]:
        """Like :meth:`run_many`, with errors in the place of results, lost answers included."""
        plan = failpoints.active
        if plan is not None:
            await self._suffer(plan.before(calls), sent=False)
        connection = self._connection
        if connection is None or connection.closed:
            connection = await self._connect()
        waiting = [
            connection.send(
                packed(call),
                call.blocking or 0.0,
                Prompt(call) if call.told is not None and plan is None else None,
            )
            for call in calls
        ]
        results = await self._results(connection, calls, waiting)
        if plan is not None:
            try:
                await self._suffer(plan.after(calls), sent=True)
            except JobctlError as error:
                return [error] * len(calls)
        for call, reply, result in zip(calls, waiting, results, strict=True):
            if call.told is not None and not isinstance(result, JobctlError):
                _tell(call, reply, result)
        return results

    async def _results(
        self,
        connection: Connection,
        calls: Sequence[Call[T]],
        waiting: Sequence[asyncio.Future[object]],
    ) -> list[T | JobctlError]:
        """Return what comes as ``waiting``, in order: with the last, all have come."""
        if len(calls) > 1:
            # One wait is one turn of the loop, where each would be one for itself.
            slow = next((call for call in calls if call.blocking), calls[-1])
            with contextlib.suppress(JobctlError):
                await _awaited(connection, slow, waiting[-1])
        results: list[T | JobctlError] = []
        for call, reply in zip(calls, waiting, strict=True):
            try:
                answer = await _awaited(connection, call, reply)
                if isinstance(answer, ReplyError):
                    answer = await self._settle(connection, call, answer)
            except JobctlError as error:
                results.append(error)
            else:
                results.append(_result(call, answer))
        return results

    async def connect(self) -> None:
        """Connect now if there is no connection; raises UnreachableError or NotPermittedError."""
        if not self.connected:
            await self._connect()

    async def wait_connected(self, backoff: Backoff | None = None) -> int:
        """Connect, however long it takes, and return the generation.

        Wrong credentials and addresses are raised: waiting would not mend them.
        """
        backoff = backoff or Backoff()
        while not self.connected:
            try:
                await self._connect()
            except (UnreachableError, NotAcceptedError):
                await asyncio.sleep(backoff.next())
        return self.generation

    def retire(self, why: str) -> None:
        """Connect anew for the next call; calls under way still get their answers."""
        if self._connection is not None:
            self._leaving = [one for one in self._leaving if not one.closed]
            self._leaving.append(self._connection)
            self._connection.retire(why)
            self._connection = None

    def drop(self) -> None:
        """End the connection at once; calls under way raise, the next one connects again."""
        if self._connection is not None:
            self._connection.drop("the connection was dropped")
            self._connection = None

    def abandon(self) -> None:
        """Let go of connections whose loop has ended, or belongs to the parent of this process."""
        for connection in (*self._leaving, self._connection):
            if connection is not None:
                connection.abandon()
        self._leaving, self._connection, self._connecting = [], None, None

    async def close(self) -> None:
        """End the connection and wait until it is gone."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError, JobctlError):
                await self._connecting
        connections = [one for one in (*self._leaving, self._connection) if one is not None]
        self.drop()
        for connection in connections:
            connection.drop("the store was closed")
            await connection.gone

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _suffer(self, harm: Harm, *, sent: bool) -> None:
        """Bear what a failpoint asks for; only tests come here."""
        if harm.delay:
            await asyncio.sleep(harm.delay)
        if harm.drop:
            # As when a real connection breaks: other calls under way on it fail as well.
            self.drop()
            raise failures.broken_on_purpose(self.server, sent=sent)

    async def _connect(self) -> Connection:
        """Return the connection that one attempt, shared by all who wait for it, has made."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open(), name="store connect")
            self._connecting.add_done_callback(self._connected)
        attempt = self._connecting
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if attempt.cancelled() and me is not None and not me.cancelling():
                raise UnreachableError(f"the store at {self.address} was closed") from None
            raise

    async def _open(self) -> Connection:
        server = await self._find() if self.address.group else self.address
        self.server = server
        connection = await open_connection(
            server,
            connect_timeout=self._connect_timeout,
            patience=self._timeout,
            name=self._name,
            primary=bool(self.address.group),
        )
        self._connection = connection
        self.generation += 1
        return connection

    async def _find(self) -> Address:
        told, self._told = self._told, None
        address: GroupAddress = self.address  # type: ignore[assignment]  # group says so
        if told is not None:
            return address.at(told)
        if self._finder is None:
            from jobctl.store.watch import AsyncFinder  # noqa: PLC0415  # only for a group

            self._finder = AsyncFinder(address)
        return await self._finder.find()

    async def _follow(self, connection: Connection, call: Call[T], answer: object) -> object:
        """Return the answer to ``call`` from where the cluster serves it now."""
        asked = (self.server.host, self.server.port)
        for _ in range(MAX_REDIRECTS):
            place = redirect(answer, asked)
            if place is None:
                break
            if connection is self._connection:
                self._told = place
                self.retire("the cluster serves this elsewhere")
            follower = self._connection
            if follower is None or follower.closed:
                try:
                    follower = await self._connect()
                except UnreachableError:
                    break
            connection, asked = follower, (self.server.host, self.server.port)
            answer = await self._teach(connection, call, await _answer(connection, call))
        return answer

    def _connected(self, task: asyncio.Task[Connection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # seen here, in case everybody who waited was cancelled

    async def _settle(self, connection: Connection, call: Call[T], reply: ReplyError) -> object:
        """Return the answer after teaching the server the script, or raise its error."""
        answer = await self._teach(connection, call, reply)
        if self.address.group:
            answer = await self._follow(connection, call, answer)
        if not isinstance(answer, ReplyError):
            return answer
        if stale(answer) and connection is self._connection:
            self.retire("the server changed its role")
        if self.address.group and first_word(str(answer)) == "MOVED":
            raise failures.still_moving(str(answer), self.server)
        raise failures.server_failure(str(answer), self.server)

    async def _teach(self, connection: Connection, call: Call[T], answer: object) -> object:
        """Return the answer once the server knows the script of ``call``."""
        for _ in range(MAX_LOADS):
            if not unknown_script(answer) or call.script is None:
                break
            connection.send(load(call.script), 0.0)
            answer = await connection.send(packed(call), 0.0)
        return answer


class Prompt(asyncio.Future[object]):
    """An answer that is passed on while it is read.

    Whoever awaits one goes on a turn of the loop later, which is long where nothing has happened
    for a while.
    """

    def __init__(self, call: Call[T]) -> None:
        super().__init__()
        self._call = call
        self.told = False
        self.failure: BaseException | None = None
        """What whoever was told has raised."""

    def set_result(self, result: object) -> None:
        """Tell of the result, unless the server has refused the call (called by the connection)."""
        call = self._call
        if not isinstance(result, ReplyError) and call.told is not None:
            self.told = True
            try:
                result = Decoded(call.decode(result))
                call.told(result.value)
            except BaseException as error:  # noqa: BLE001 - it belongs to who asked for it
                self.failure = error
        super().set_result(result)


class Decoded:
    """A result that has been told."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:  # noqa: ANN401 - what the call decodes
        self.value = value


def _tell(call: Call[T], reply: asyncio.Future[object], result: T) -> None:
    """Tell of a result that was not told when it came; raise what telling it then has raised."""
    if not isinstance(reply, Prompt) or not reply.told:
        assert call.told is not None  # noqa: S101  # for the type checker
        call.told(result)
    elif reply.failure is not None:
        raise reply.failure


def _result(call: Call[T], answer: object) -> T:
    return answer.value if isinstance(answer, Decoded) else call.decode(answer)


async def _answer(connection: Connection, call: Call[T]) -> object:
    """Return the raw answer to ``call``."""
    return await _awaited(connection, call, connection.send(packed(call), call.blocking or 0.0))


async def _awaited(connection: Connection, call: Call[T], reply: asyncio.Future[object]) -> object:
    """Return what comes as ``reply`` to ``call``."""
    try:
        return await reply
    except asyncio.CancelledError:
        if call.blocking:
            # The server would answer a call that nobody waits for, and take a token for it.
            connection.drop("the call was cancelled")
        raise
