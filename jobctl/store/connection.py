"""One asyncio connection to the store: requests go out in order, answers come back in order."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING

from hiredis import HiredisError, Reader, ReplyError

from jobctl.store import failures, sockets
from jobctl.store.groups import not_in_charge
from jobctl.store.packing import pack

if TYPE_CHECKING:
    from jobctl.errors import JobctlError
    from jobctl.store.address import Address

RECEIVE_BUFFER = 65536


class Connection(asyncio.BufferedProtocol):
    """The protocol object; use :func:`open_connection`.

    Requests of one turn of the loop leave in one write. A watchdog drops the connection when the
    oldest request has no answer in time: half-open connections must not make a supervisor deaf.
    """

    def __init__(self, address: Address, patience: float) -> None:
        self._address = address
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._reader = Reader()
        self._buffer = bytearray(RECEIVE_BUFFER)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[asyncio.Future[object], float]] = deque()
        self._outgoing: list[bytes] = []
        self._watchdog: asyncio.TimerHandle | None = None
        self._farewell: JobctlError | None = None
        self._retiring = ""
        self.closed = False
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done when the transport is closed."""

    def send(
        self, data: bytes, wait: float, future: asyncio.Future[object] | None = None
    ) -> asyncio.Future[object]:
        """Queue one packed command; the server may take ``wait`` seconds on purpose.

        The answer, of ``future`` if it is given, is the reply as hiredis gives it, error replies
        included.
        """
        future = future or self._loop.create_future()
        if self.closed:
            self._refuse(future, "the connection ended", sent=False)
            return future
        deadline = self._loop.time() + self._patience
        if self._waiting:
            deadline = max(deadline, self._waiting[-1][1])
        self._waiting.append((future, deadline + wait))
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(data)
        if self._watchdog is None:
            self._watchdog = self._loop.call_at(deadline + wait, self._watch)
        return future

    def drop(self, why: str) -> None:
        """Close the connection without waiting; everything unanswered fails."""
        if self._transport is not None:
            self._transport.abort()
        self._fail(why)

    def abandon(self) -> None:
        """Let go of the file, where the loop has ended or is that of the parent: nobody is told."""
        self.closed = True
        # All that a transport offers asks its loop, which refuses, or is one that two processes have.
        sock = getattr(self._transport, "_sock", None)
        if sock is not None:
            self._transport._sock = None  # type: ignore[union-attr]  # noqa: SLF001 - else it warns of what is closed here
            sock.close()

    def retire(self, why: str) -> None:
        """Close the connection as soon as everything that was asked is answered."""
        self._retiring = why
        if not self._waiting:
            self.drop(why)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way out (called by asyncio)."""
        self._transport = transport  # type: ignore[assignment]  # always a stream transport here

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002  # asyncio's signature
        """Offer the buffer to read into (called by asyncio)."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand out the answers that are complete (called by asyncio)."""
        reader = self._reader
        waiting = self._waiting
        try:
            reader.feed(self._buffer, 0, nbytes)  # type: ignore[arg-type]  # takes any buffer
            while True:
                reply = reader.gets()
                if reply is False:
                    break
                if not waiting or (
                    isinstance(reply, ReplyError) and failures.ends_connection(str(reply))
                ):
                    self._end(reply)
                    return
                future, _ = waiting.popleft()
                if not future.done():  # cancelled meanwhile: its answer is nobody's
                    future.set_result(reply)
        except HiredisError as error:
            self._farewell = failures.foreign_server(error, self._address)
            self.drop("the answer made no sense")
            return
        if self._retiring and not waiting:
            self.drop(self._retiring)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is unanswered (called by asyncio)."""
        self._fail(failures.reason(exc) if exc else "the connection ended")
        if not self.gone.done():
            self.gone.set_result(None)

    def _flush(self) -> None:
        if self._transport is None or self.closed:
            return
        data = self._outgoing
        self._outgoing = []
        self._transport.write(data[0] if len(data) == 1 else b"".join(data))

    def _watch(self) -> None:
        self._watchdog = None
        if not self._waiting:
            return
        deadline = self._waiting[0][1]
        if deadline <= self._loop.time():
            self.drop("no answer came in time")
        else:
            self._watchdog = self._loop.call_at(deadline, self._watch)

    def _end(self, reply: object) -> None:
        """Close after words nobody asked for, which the server says before it hangs up."""
        if isinstance(reply, ReplyError):
            self._farewell = failures.server_failure(str(reply), self._address)
        self.drop("the server ended the connection")

    def _fail(self, why: str) -> None:
        if self.closed:
            return
        self.closed = True
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        sent = len(self._waiting) - len(self._outgoing)
        self._outgoing.clear()
        for index, (future, _) in enumerate(self._waiting):
            if not future.done():
                self._refuse(future, why, sent=index < sent)
        self._waiting.clear()

    def _refuse(self, future: asyncio.Future[object], why: str, *, sent: bool) -> None:
        error = self._farewell
        if error is None and sent:
            error = failures.lost_reply(why, self._address)
        elif error is None:
            error = failures.connect_failure(ConnectionError(why), self._address)
        future.set_exception(error)
        future.exception()  # a caller that gave up meanwhile is no reason for a warning


async def open_connection(
    address: Address, *, connect_timeout: float, patience: float, name: str, primary: bool = False
) -> Connection:
    """Return a connection that is logged in; raises UnreachableError or what the server says.

    With ``primary`` the server must call itself one.
    """
    try:
        async with asyncio.timeout(connect_timeout):
            connection = await _connect(address, patience)
    except (OSError, UnicodeError) as error:  # the latter for what can be no host name
        raise failures.connect_failure(error, address) from error
    commands = sockets.handshake(address, name) + ([("ROLE",)] if primary else [])
    greeting = [connection.send(pack(words), 0.0) for words in commands]
    try:
        answers = [await reply for reply in greeting]
    except BaseException:
        connection.drop("the login failed")
        raise
    for answer in answers:
        if isinstance(answer, ReplyError):
            connection.drop("the login failed")
            raise failures.server_failure(str(answer), address)
    replica = not_in_charge(answers[-1], address) if primary else None
    if replica is not None:
        connection.drop("the server is not in charge")
        raise replica
    return connection


async def _connect(address: Address, patience: float) -> Connection:
    loop = asyncio.get_running_loop()
    if address.path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(0.0)
            # Never "in progress" on a unix socket: it connects, or the server's queue is full.
            sockets.connect_unix(sock, address.path)
            _, connection = await loop.create_unix_connection(
                lambda: Connection(address, patience), sock=sock
            )
        except BaseException:
            sock.close()
            raise
        return connection
    context = None
    if address.tls:
        from jobctl.store import no_tls, tls  # noqa: PLC0415  # only where it is asked for

        no_tls.give_back()
        context = tls.context(address)
    try:
        transport, connection = await loop.create_connection(
            lambda: Connection(address, patience), address.host, address.port, ssl=context
        )
    except OSError as error:
        if context is not None and type(error).__module__ == "ssl":
            raise failures.tls_failure(error, address) from error
        raise
    sockets.tune_tcp(transport.get_extra_info("socket"))
    return connection
