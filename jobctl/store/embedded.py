"""The private server that serves hosts without ``redis =`` in jobs.toml.

It outlives its supervisor on purpose: attempts go on and their results are kept while the
supervisor restarts. The server process holds a lock on its directory for as long as it lives,
so two supervisors can never start two servers on the same files.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import struct
import subprocess
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.errors import ConfigError, JobctlError, UnreachableError
from jobctl.store import directory as files
from jobctl.store import sockets
from jobctl.store.address import SOCKET_NAME, Address
from jobctl.store.aio import AsyncStore, Backoff
from jobctl.store.failures import StoreBusyError
from jobctl.store.pulse import PING, Pulse

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.clock import Clock

log = logging.getLogger(__name__)

START_DEADLINE = 60.0
"""Seconds until the data must be loaded; a million queued runs take about six."""

STOP_DEADLINE = 10.0
"""Seconds the server has to write its last words to disk before it is killed."""

SHORTEST_PAUSE = 0.005
LONGEST_PAUSE = 0.1
"""Between two looks at a server that starts; it needs about 40 ms."""

STEADY = 10.0
"""Seconds after which a server counts as well, so that restarts begin quickly again."""

LOG_CHECK = 3600.0

ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=2000:glibc.malloc.tcache_max=256"}
"""Each call of a script makes thousands of small texts and frees them; the C library keeps them for
the next call instead of joining them again, a tenth of the server's time or more. It keeps 4.5 MB at
most; more made little difference."""

PASSED = ("PATH", "TZ", "GLIBC_TUNABLES")
"""What the server gets of our environment."""


class EmbeddedStore:
    """One server process on one directory; start, watch, stop."""

    def __init__(self, directory: Path, binary: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """``directory`` is ``store`` below the state directory, and becomes private (0700)."""
        self.directory = directory.absolute()
        self.address = Address(path=f"{self.directory}/{SOCKET_NAME}", embedded=True)
        self.pid = 0
        """The server's process id; 0 while none is known."""
        self.adopted = False
        """Whether the server was found running."""
        self.restarts = 0
        self._binary = binary
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._end: asyncio.Future[None] | None = None
        self._stopping = False
        self._log_start = 0

    async def start(self, *, deadline: float = START_DEADLINE) -> None:
        """Return once the server answers: one found running, else a new one.

        Raises ConfigError for a directory or program that cannot serve, and UnreachableError
        with the end of the server's log when it does not come up within ``deadline`` seconds.
        """
        self._stopping = False
        await self._bring_up(deadline)

    async def watch(self) -> None:
        """Start the server again whenever it ends, and tell of its silence, until :meth:`stop`."""
        pulse = Pulse(self.address, pid=lambda: self.pid, clock=self._clock)
        listening = asyncio.create_task(pulse.watch(), name="store pulse")
        try:
            await self._keep_up()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _keep_up(self) -> None:
        backoff = Backoff()
        while not self._stopping:
            born = self._clock.monotonic()
            await self._wait_end()
            if self._stopping:
                return
            how = self._forget()
            log.error("the store server ended (%s); starting it again", how)
            if self._clock.monotonic() - born > STEADY:
                backoff.reset()
            await self._restart(backoff)

    async def stop(self, *, deadline: float = STOP_DEADLINE) -> None:
        """End the server in order; after ``deadline`` seconds, by force. Does nothing twice."""
        self._stopping = True
        if self._pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        try:
            async with asyncio.timeout(deadline):
                await self._wait_end()
        except TimeoutError:
            log.warning("the store server did not end within %g s and is killed", deadline)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await self._wait_end()
        self._forget()

    async def _restart(self, backoff: Backoff) -> None:
        while not self._stopping:
            await asyncio.sleep(backoff.next())
            try:
                await self._bring_up(START_DEADLINE)
            except JobctlError as error:
                log.error("%s", error)  # noqa: TRY400  # the message is the whole story
            else:
                self.restarts += 1
                return

    async def _bring_up(self, deadline: float) -> None:
        files.prepare(self.directory)
        self._log_start = files.log_size(self.directory)
        limit = self._clock.monotonic() + deadline
        pause = SHORTEST_PAUSE
        state = "not answering"
        while self._clock.monotonic() < limit and not self._stopping:
            state = await self._advance(limit)
            if not state:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        raise self._start_failure(f"is {state} after {deadline:g} s")

    async def _advance(self, limit: float) -> str:
        """Take the next step towards a ready server; return what is missing, or nothing."""
        if self._pidfd < 0 and not self._find_or_spawn():
            return "held by a server that does not answer"
        if self._ended():
            raise self._start_failure(f"did not start ({self._forget()})")
        store = AsyncStore(self.address, timeout=max(limit - self._clock.monotonic(), 1.0))
        try:
            await store.run(PING)
        except StoreBusyError:
            return "still loading its data"
        except JobctlError:
            return "not answering"
        finally:
            await store.close()
        return ""

    def _find_or_spawn(self) -> bool:
        """Take over the directory's server or start one; False when it is neither up nor gone."""
        listener = self._listener()
        lock = os.open(
            self.directory / files.LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return listener is not None and self._adopt(listener)
        else:
            if self._listener() is not None:
                raise ConfigError(
                    f"{self.address.path}: a server listens here that jobctl did not start; "
                    "stop it, or set another state_dir"
                )
            self._process = self._popen(lock)
        finally:
            os.close(lock)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self.adopted = False
        return True

    def _listener(self) -> int | None:
        """Return the process that listens on the socket; 0 if it is out of our sight."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(0.0)
            try:
                sockets.connect_unix(sock, self.address.path)
            except OSError:
                return None
            peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", peer)[0]
        return pid

    def _adopt(self, pid: int) -> bool:
        if pid == 0:
            raise ConfigError(
                f"{self.address.path}: a server outside this container listens here; give each "
                "container a state_dir of its own"
            )
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        self.pid = pid
        self.adopted = True
        return True

    def _popen(self, lock: int) -> subprocess.Popen[bytes]:
        """Start the server with the lock in its hands.

        In a session of its own, so that Ctrl-C in a terminal ends the supervisor first.
        """
        with files.open_log(self.directory) as output:
            try:
                return subprocess.Popen(  # noqa: S603  # the program found at start
                    [self._binary, files.CONFIG_NAME],
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={
                        **ALLOCATOR,
                        **{name: os.environ[name] for name in PASSED if name in os.environ},
                    },
                    pass_fds=(lock,),
                    start_new_session=True,
                    umask=0o077,
                )
            except OSError as error:
                raise ConfigError(f"{self._binary}: cannot be started: {error.strerror}") from error

    def _start_failure(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"the store server in {self.directory} {what}; its log {files.LOG_NAME} says:"
            f"{files.log_tail(self.directory, self._log_start)}"
        )

    async def _wait_end(self) -> None:
        """Return when the server has ended; any number of callers may wait."""
        if self._pidfd < 0:
            return
        loop = asyncio.get_running_loop()
        if self._end is None or self._end.get_loop() is not loop:
            self._end = loop.create_future()
            loop.add_reader(self._pidfd, self._note_end, loop, self._pidfd)
        end = self._end
        while not end.done():
            await asyncio.wait((end,), timeout=LOG_CHECK)
            with contextlib.suppress(OSError):
                files.set_log_aside(self.directory)

    def _note_end(self, loop: asyncio.AbstractEventLoop, pidfd: int) -> None:
        loop.remove_reader(pidfd)
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    def _ended(self) -> bool:
        """Return whether the known server is gone, without waiting."""
        return bool(select.select((self._pidfd,), (), (), 0)[0])

    def _forget(self) -> str:
        """Reap a server that has ended; return how it ended."""
        if self._end is not None and not self._end.get_loop().is_closed():
            self._note_end(self._end.get_loop(), self._pidfd)
        self._end = None
        process, self._process = self._process, None
        if self._pidfd >= 0:
            if process is None:
                # Ours all the same if the supervisor was replaced by exec.
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            os.close(self._pidfd)
        self._pidfd = -1
        self.pid = 0
        if process is None:
            return "status unknown"
        code = process.wait()
        return f"exit code {code}" if code >= 0 else f"signal {-code}"
