"""The executor for the command line and the Python client: one socket, hiredis, no event loop."""

from __future__ import annotations

import os
from _thread import allocate_lock

from hiredis import HiredisError, Reader, ReplyError

from jobctl.errors import JobctlError
from jobctl.store import failpoints, failures, sockets
from jobctl.store.failures import LostReplyError, first_word
from jobctl.store.packing import MAX_LOADS, load, pack, packed, stale, unknown_script

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence
    from typing import Self, TypeVar

    from jobctl.store.address import Address
    from jobctl.store.calls import Call
    from jobctl.store.failpoint_plan import Harm
    from jobctl.store.finding import Finder

    T = TypeVar("T")

CHUNK = 65536
SSL_WANT_READ = 2
_forking = allocate_lock()
"""Held by the thread of a forked child that leaves a connection to its parent."""


def _renew() -> None:
    """Give a forked child a lock of its own: no thread of its holds the parent's."""
    global _forking  # noqa: PLW0603 - one of this process
    _forking = allocate_lock()


os.register_at_fork(after_in_child=_renew)


class BlockingStore:
    """A connection that is made when first used; safe to share between threads and across a fork.

    Never repeats a call by itself: a lost answer raises
    :class:`~jobctl.store.failures.LostReplyError` and the caller decides.
    """

    def __init__(
        self, address: Address, *, connect_timeout: float = 1.0, timeout: float = 5.0
    ) -> None:
        """Both timeouts are in seconds; ``timeout`` is for each answer, above ``Call.blocking``."""
        self.address = address
        self.server = address
        """Where the connection leads, or last led: of a group, the server in charge."""
        self._finder: Finder | None = None
        self._connect_timeout = connect_timeout
        self._timeout = self._patience = timeout
        self._sock: _socket.socket | None = None
        self._reader = Reader()
        self._lock = allocate_lock()
        self._pid = 0

    def run(self, call: Call[T]) -> T:
        """Carry out one call; raises a branch of :class:`~jobctl.errors.JobctlError`."""
        (reply,) = self._replies((call,))
        if isinstance(reply, ReplyError):
            raise self._failure(str(reply))
        return call.decode(reply)

    def run_many(self, calls: Sequence[Call[T]], *, within: float | None = None) -> list[T]:
        """Carry out several calls in one round trip; raises the first error once all are answered.

        Calls whose script had to be loaded first are carried out after the others. ``within`` is
        how many seconds an answer may take, if that is less than usual.
        """
        results: list[T] = []
        for result in self.try_many(calls, within=within):
            if isinstance(result, JobctlError):
                raise result
            results.append(result)
        return results

    def try_many(
        self, calls: Sequence[Call[T]], *, within: float | None = None
    ) -> list[T | JobctlError]:
        """Like :meth:`run_many`, with the server's errors in the place of results.

        Trouble with the connection concerns all calls and is raised.
        """
        if not calls:
            return []
        return [
            self._failure(str(reply)) if isinstance(reply, ReplyError) else call.decode(reply)
            for call, reply in zip(calls, self._replies(calls, within), strict=True)
        ]

    def _replies(self, calls: Sequence[Call[T]], within: float | None = None) -> list[object]:
        """Return one raw reply per call, errors included; raises what concerns all of them."""
        if self._pid != os.getpid():
            self._forget_parent()
        plan = failpoints.active
        if plan is not None:
            self._suffer(plan.before(calls), sent=False)
        if within is None or within >= self._timeout:
            with self._lock:
                replies = self._exchange(calls)
        else:
            replies = self._hurry(calls, within)
        if plan is not None:
            self._suffer(plan.after(calls), sent=True)
        return replies

    def _hurry(self, calls: Sequence[Call[T]], within: float) -> list[object]:
        """Return the replies if they come so soon; what others have asked before may be in the way."""
        if not self._lock.acquire(timeout=within):
            raise failures.lost_reply("no answer in time to another thread", self.server)
        self._patience = within
        try:
            if self._sock is not None:
                self._sock.settimeout(within)
            return self._exchange(calls)
        finally:
            self._patience = self._timeout
            if self._sock is not None:
                self._sock.settimeout(self._timeout)
            self._lock.release()

    def close(self) -> None:
        """Close the connection, after calls of other threads; the next one makes a new one."""
        if self._pid != os.getpid():
            self._forget_parent()
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _suffer(self, harm: Harm, *, sent: bool) -> None:
        """Bear what a failpoint asks for; only tests come here."""
        if harm.delay:
            from time import sleep  # noqa: PLC0415  # tests only

            sleep(harm.delay)
        if harm.drop:
            self.close()
            raise failures.broken_on_purpose(self.server, sent=sent)

    def _forget_parent(self) -> None:
        """Leave the connection to the process that made it, and its lock with it.

        Once: threads that come together would have a lock each, and share one connection.
        """
        with _forking:
            if self._pid == os.getpid():
                return
            self._drop()
            self._lock = allocate_lock()
            self._pid = os.getpid()  # last: whoever sees it finds the new lock

    def _exchange(self, calls: Sequence[Call[T]]) -> list[object]:
        """Return one raw reply per call, errors included."""
        if (
            self._finder is not None
            and self._sock is not None
            and self._finder.replaced(self.server)
        ):
            self._drop()
        if self._sock is None or not (self.server.path or self._usable(self._sock)):
            self._drop()
            self._open()
        replies = self._ask(calls)
        if self._finder is not None:
            self._follow(self._finder, calls, replies)
        for reply in replies:
            if isinstance(reply, ReplyError) and stale(reply):
                self._drop()
        return replies

    def _ask(self, calls: Sequence[Call[T]]) -> list[object]:
        """Return one raw reply per call from the server at hand, teaching it unknown scripts."""
        waits = 0.0
        commands = []
        for call in calls:
            waits += call.blocking or 0.0
            commands.append(call.data or packed(call))
        replies = self._round_trip(commands, waits, idle=True)
        for _ in range(MAX_LOADS):
            missing = [index for index, reply in enumerate(replies) if unknown_script(reply)]
            if not missing:
                break
            loads = [load(name) for name in {calls[index].script for index in missing} if name]
            missing += _seals(calls, missing)
            again = [packed(calls[index]) for index in missing]
            fresh = self._round_trip(loads + again, waits)[len(loads) :]
            for index, reply in zip(missing, fresh, strict=True):
                replies[index] = reply
        return replies

    def _follow(self, finder: Finder, calls: Sequence[Call[T]], replies: list[object]) -> None:
        """Send calls that a cluster serves elsewhere there, and put the answers in their place."""
        for _ in range(finder.MAX_REDIRECTS):
            moved = [
                index for index, reply in enumerate(replies) if finder.moved(reply, self.server)
            ]
            if not moved:
                return
            moved += _seals(calls, moved)
            self._drop()
            try:
                self._open()
                fresh = self._ask([calls[index] for index in moved])
            except LostReplyError:
                raise
            except JobctlError:
                return  # refused calls stay refused; what else is in the batch was answered
            for index, reply in zip(moved, fresh, strict=True):
                replies[index] = reply

    def _failure(self, reply: str) -> JobctlError:
        if self._finder is not None and first_word(reply) == "MOVED":
            return failures.still_moving(reply, self.server)
        return failures.server_failure(reply, self.server)

    def _open(self) -> None:
        server = self.server = self._find() if self.address.group else self.address
        try:
            sock = sockets.connect(server, min(self._connect_timeout, self._patience))
        except OSError as error:
            raise failures.connect_failure(error, server) from error
        if server.tls:
            from jobctl.store import tls  # noqa: PLC0415  # ssl is dear to import

            try:
                sock = tls.wrap(sock, server)
            except OSError as error:
                raise failures.tls_failure(error, server) from error
        sock.settimeout(self._patience)
        self._sock = sock
        self._reader = Reader()
        greeting = sockets.handshake(server)
        if self._finder is not None:
            greeting.append(("ROLE",))
        if greeting:
            replies = self._round_trip([pack(words) for words in greeting])
            for reply in replies:
                if isinstance(reply, ReplyError):
                    self._drop()
                    raise failures.server_failure(str(reply), server)
            if self._finder is not None:
                self._check_role(self._finder, replies[-1])

    def _find(self) -> Address:
        if self._finder is None:
            from jobctl.store.finding import Finder  # noqa: PLC0415  # only where there is a group

            self._finder = Finder(self.address)  # type: ignore[arg-type]  # group says so
        return self._finder.find()

    def _check_role(self, finder: Finder, role: object) -> None:
        error = finder.not_in_charge(role, self.server)
        if error is not None:
            self._drop()
            raise error

    def _usable(self, sock: _socket.socket) -> bool:
        """Return whether an idle connection is still open: nothing, not even its end, is to read."""
        if self.server.tls:
            return self._tls_usable(sock)
        try:
            # It has a timeout, so the descriptor itself never blocks: one system call, not three.
            os.read(sock.fileno(), 1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _tls_usable(self, sock: _socket.socket) -> bool:
        sock.settimeout(0.0)
        try:
            sock.recv(1)
        except BlockingIOError:
            return True
        except OSError as error:
            return error.errno == SSL_WANT_READ
        finally:
            sock.settimeout(self._patience)
        return False

    def _round_trip(
        self, commands: list[bytes], waits: float = 0.0, *, idle: bool = False
    ) -> list[object]:
        """Send ``commands`` in one write and return their replies; drops the connection on trouble.

        With ``idle`` the connection may have ended since its last answer, and is made anew then.
        """
        data = commands[0] if len(commands) == 1 else b"".join(commands)
        try:
            sent = self._begin(data) if idle and self.server.path else 0
            sock = self._sock
            assert sock is not None  # noqa: S101  # for the type checker; _exchange opened it
            if waits:
                sock.settimeout(waits + self._patience)
            if sent < len(data):
                self._send(sock, data, sent)
            replies = self._receive(sock, len(commands))
            if waits:
                sock.settimeout(self._patience)
        except BaseException:
            # Also for Ctrl-C: answers still on their way would be taken for those of other calls.
            self._drop()
            raise
        return replies

    def _begin(self, data: bytes) -> int:
        """Return how much a unix socket takes at once; makes the connection anew if it has ended.

        It tells so before it takes a byte, so nobody needs to look before there is something to send.
        """
        assert self._sock is not None  # noqa: S101  # for the type checker; _exchange opened it
        try:
            # It has a timeout, so the descriptor itself never blocks: one system call, not two.
            return os.write(self._sock.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError:
            self._drop()
            self._open()
            return 0

    def _send(self, sock: _socket.socket, data: bytes, sent: int) -> None:
        """Send the rest of ``data``, of which so much is sent."""
        view = memoryview(data)
        try:
            while sent < len(data):
                sent += sock.send(view[sent:])
        except OSError as error:
            if sent:
                raise failures.lost_reply(failures.reason(error), self.server) from error
            self._raise_last_words(sock)
            raise failures.connect_failure(error, self.server) from error

    def _raise_last_words(self, sock: _socket.socket) -> None:
        """Raise what the server said before it hung up on us, if anything."""
        try:
            self._reader.feed(sock.recv(CHUNK))
        except OSError:
            return
        reply = self._reader.gets()
        if isinstance(reply, ReplyError):
            raise failures.server_failure(str(reply), self.server)

    def _receive(self, sock: _socket.socket, count: int) -> list[object]:
        reader = self._reader
        replies: list[object] = []
        while True:
            try:
                data = sock.recv(CHUNK)
            except OSError as error:
                raise failures.lost_reply(failures.reason(error), self.server) from error
            if not data:
                raise failures.lost_reply("the connection ended", self.server)
            reader.feed(data)
            while True:
                try:
                    reply = reader.gets()
                except HiredisError as error:
                    raise failures.foreign_server(error, self.server) from error
                if reply is False:
                    break
                if isinstance(reply, ReplyError) and failures.ends_connection(str(reply)):
                    raise failures.server_failure(str(reply), self.server)
                replies.append(reply)
                if len(replies) == count:
                    return replies


def _seals(calls: Sequence[Call[object]], again: list[int]) -> list[int]:
    """Return the places of calls that must follow those that are sent ``again``."""
    return [place for place, call in enumerate(calls) if call.seals and place not in again]
