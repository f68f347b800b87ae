"""A shared store that can be brought into every state it may get into, and the service manager."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobctl.errors import JobctlError
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server:
    """A server on a unix socket; its data stay over :meth:`kill` and :meth:`start`."""

    def __init__(self, binary: Path, *options: str, directory: Path | None = None) -> None:
        self.directory = directory or Path(tempfile.mkdtemp(prefix="jct"))
        self.path = self.directory / "s"
        self.url = f"unix://{self.path}"
        self._options = (
            *("--port", "0", "--unixsocket", str(self.path), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always", "--dir", str(self.directory)),
            *("--enable-debug-command", "local", *options),
        )
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, ready: bool = True) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, *self._options, *options],
                cwd=self.directory, stdout=log, stderr=log,
            )  # fmt: skip
        if ready:
            wait_until(self.answers, what="the server")

    def answers(self) -> bool:
        with contextlib.suppress(JobctlError):
            return bool(self.raw("PING"))
        return False

    def raw(self, *words: str | int, password: str = "") -> Any:
        """Send one command over a connection of its own."""
        with BlockingStore(Address(path=str(self.path), password=password or None)) as store:
            return store.run(Call(words, lambda reply: reply))

    @contextlib.contextmanager
    def sent(self, *words: str | int) -> Iterator[None]:
        """Send one command and do not wait for its answer."""
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(self.path))
            parts = [str(word).encode() for word in words]
            end.sendall(b"*%d\r\n" % len(parts))
            for part in parts:
                end.sendall(b"$%d\r\n%s\r\n" % (len(part), part))
            yield

    def grow(self, commands: int) -> None:
        """Give the server something to load at its next start."""
        with BlockingStore(Address(path=str(self.path))) as store:
            store.run_many([Call(("SET", f"ballast:{n}", "x"), bool) for n in range(commands)])

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.path.unlink(missing_ok=True)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Manager:
    """Listens on ``NOTIFY_SOCKET``, as systemd does."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="jcm"))
        self.address = str(self._directory / "notify")
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self.address)
        self.lines: list[str] = []
        """Everything heard so far."""
        self._ears = threading.Thread(target=self._listen, daemon=True)
        self._ears.start()

    def _listen(self) -> None:
        while words := self._sock.recv(4096):
            self.lines += words.decode().splitlines()

    def wait_status(self, words: str, *, deadline: float = 30.0) -> str:
        """Return the latest status line once it has ``words``."""

        def there() -> str:
            found = [line for line in self.lines if line.startswith("STATUS=")]
            return found[-1] if found and words in found[-1] else ""

        return str(wait_until(there, deadline=deadline, what=f"{words} in {self.lines[-3:]}"))

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.address)
        self._ears.join(10)
        self._sock.close()
        shutil.rmtree(self._directory, ignore_errors=True)


@contextlib.contextmanager
def small_disk(place: Path, *, megabytes: int) -> Iterator[None]:
    """Put a small file system of its own at ``place``; the caller must be root."""
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(place)],
        check=True,
    )
    try:
        yield
    finally:

        def unmounted() -> bool:
            done = subprocess.run(["umount", str(place)], check=False, capture_output=True)
            return done.returncode == 0

        wait_until(unmounted, deadline=10, what=f"{place} is busy no more")


@contextlib.contextmanager
def descriptors(most: int) -> Iterator[None]:
    """Let processes that are started meanwhile have so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fill(place: Path, *, leave: int = 0) -> Path:
    """Write a file that takes all the space but ``leave`` bytes; return it."""
    ballast = place / "ballast"
    block = bytes(4096)
    free = os.statvfs(place).f_bavail * 4096 - leave
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        for _ in range(max(0, free // 4096) if leave else 1 << 30):
            file.write(block)
    return ballast
