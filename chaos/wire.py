"""A wire between two network namespaces whose every packet this process carries, or loses.

Each end is a TUN device, so what runs over it is the kernel's real TCP: retransmissions,
half-open connections and slow lines are not played. Needs root and ``/dev/net/tun``; nothing
outside the two namespaces is touched, and they are gone with the processes in them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STORE, HOST = "10.213.0.1", "10.213.0.2"
"""Addresses of the two ends; they exist in the namespaces only."""
MTU = 1400
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUN_PLAIN = 0x0001 | 0x1000  # IFF_TUN | IFF_NO_PI
_PROTOCOL_TCP = 6
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Packet:
    """What a filter sees of a TCP packet; ports are 0 for others."""

    source: int
    target: int
    payload: bytes


def parse(raw: bytes) -> Packet:
    """Return ports and payload of an IPv4 packet."""
    if len(raw) < 40 or raw[0] >> 4 != 4 or raw[9] != _PROTOCOL_TCP:
        return Packet(0, 0, b"")
    head = (raw[0] & 15) * 4
    source, target = struct.unpack_from("!HH", raw, head)
    offset = head + (raw[head + 12] >> 4) * 4
    return Packet(source, target, raw[offset : struct.unpack_from("!H", raw, 2)[0]])


@dataclass(slots=True)
class Direction:
    """What happens to packets that go one way; may be changed at any time."""

    dead: bool = False
    """Lose everything."""
    loss: float = 0.0
    """Share of packets that are lost."""
    delay: float = 0.0
    """Seconds that each packet takes."""
    rate: float = 0.0
    """Bytes a second; 0 for as many as come."""
    drops: Callable[[Packet], bool] | None = None
    """Which packets are lost besides."""
    carried: int = 0
    lost: int = 0
    free_at: float = 0.0
    """When the line can take the next packet, if it has a rate."""
    under_way: deque[tuple[float, bytes]] = field(default_factory=deque)

    def take(self, raw: bytes, chance: float, now: float) -> None:
        """Lose a packet or put it under way."""
        if self.dead or chance < self.loss or (self.drops and self.drops(parse(raw))):
            self.lost += 1
            return
        self.carried += 1
        due = now + self.delay
        if self.rate:
            self.free_at = max(self.free_at, now) + len(raw) / self.rate
            due += self.free_at - now
        self.under_way.append((due, raw))


class Namespace:
    """A network namespace, held open by a file descriptor; nothing needs to run in it."""

    def __init__(self) -> None:
        made: list[int] = []
        maker = threading.Thread(target=lambda: made.append(_new_namespace()))
        maker.start()
        maker.join()
        self._file = made[0]

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Be in it with this thread; processes that it starts meanwhile are and stay in it."""
        before = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        _enter(self._file)
        try:
            yield
        finally:
            _enter(before)
            os.close(before)

    def enter(self) -> None:
        """Go there with this thread, for good."""
        _enter(self._file)

    def close(self) -> None:
        """Let go of it; it ends with the last process in it."""
        os.close(self._file)


class Wire:
    """The namespaces ``store`` and ``host`` and what lies between them."""

    def __init__(self, seed: int) -> None:
        self.store, self.host = Namespace(), Namespace()
        self._ends = (_device(self.store, STORE), _device(self.host, HOST))
        self._random = random.Random(seed)
        self._over = threading.Event()
        self.to_host, self.to_store = Direction(), Direction()
        self._thread = threading.Thread(target=self._carry, name="wire", daemon=True)

    def start(self) -> Self:
        """Begin to carry, until :meth:`close` or the end of this process."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Carry no more, and let go of everything."""
        self._over.set()
        self._thread.join(5)
        for end in self._ends:
            os.close(end)
        self.store.close()
        self.host.close()

    def cut(self) -> None:
        """Lose all packets both ways; nobody is told."""
        self.to_host.dead = self.to_store.dead = True

    def mend(self) -> None:
        """Be a wire without any fault again."""
        for way in (self.to_host, self.to_store):
            way.dead, way.loss, way.delay, way.rate, way.drops = False, 0.0, 0.0, 0.0, None

    def _carry(self) -> None:
        at_store, at_host = self._ends
        ways = ((at_store, self.to_host, at_host), (at_host, self.to_store, at_store))
        while not self._over.is_set():
            ready, _, _ = select.select(self._ends, [], [], self._pause())
            now = time.monotonic()
            for source, way, target in ways:
                if source in ready:
                    way.take(os.read(source, 65536), self._random.random(), now)
                while way.under_way and way.under_way[0][0] <= now:
                    with contextlib.suppress(OSError):
                        os.write(target, way.under_way.popleft()[1])

    def _pause(self) -> float:
        """Return the seconds until a packet is due, at most a fifth."""
        dues = [way.under_way[0][0] for way in (self.to_host, self.to_store) if way.under_way]
        return max(0.0, min([0.2, *(due - time.monotonic() for due in dues)]))


def _new_namespace() -> int:
    """Move this thread into a new namespace and return a descriptor of it."""
    if _libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare of the network")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)


def _enter(file: int) -> None:
    if _libc.setns(file, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _device(place: Namespace, address: str) -> int:
    """Make a TUN device in ``place`` and return its other end."""
    with place.inside():
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", b"wire", _TUN_PLAIN))
        for words in (
            ("addr", "add", f"{address}/24", "dev", "wire"),
            ("link", "set", "wire", "mtu", str(MTU), "up"),
        ):
            subprocess.run(["ip", *words], check=True, capture_output=True)
    return end
