"""The pool's end of the wire to an interpreter, with a plain socket at the other."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.engine.python_wire import CALL, HEADER, LINE, TOGETHER_MOST, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

FDS_MOST = 128


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Far:
    """Reads what was sent: the frames, and what is in the files that came with them."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            end.settimeout(0)
        self.trouble: list[str] = []
        self.messages = 0
        self.data = b""
        self.files: list[str] = []
        self.opened: list[int] = []

    def wire(self) -> Wire:
        return Wire(
            self.near,
            largest=lambda: 0,
            on_frame=lambda *_: None,
            on_end=self.trouble.append,
            on_nonsense=self.trouble.append,
        )

    def file(self, text: str) -> int:
        fd = os.memfd_create(text)
        os.write(fd, text.encode())
        self.opened.append(fd)
        return fd

    def read(self) -> bool:
        """Read one message; returns False when there is none."""
        try:
            data, fds, _, _ = socket.recv_fds(self.far, 1 << 16, FDS_MOST)
        except BlockingIOError:
            return False
        self.messages += bool(data)
        self.data += data
        for fd in fds:
            self.files.append(os.pread(fd, 100, 0).decode())
            os.close(fd)
        return bool(data)

    def frames(self) -> list[tuple[int, int]]:
        """Return kind and number of the frames that have come."""
        found, rest = [], self.data
        while rest:
            _, _, kind, meta, body = HEADER.unpack_from(rest)
            end = HEADER.size + meta + body
            found.append((kind, json.loads(rest[HEADER.size : HEADER.size + meta])["n"]))
            rest = rest[end:]
        return found


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()
    before = descriptors()
    yield made
    for fd in made.opened:
        os.close(fd)
    assert descriptors() <= before, "descriptors are left"
    made.far.close()
    made.near.close()


def test_calls_of_one_moment_travel_together_each_with_its_file(far: Far) -> None:
    async def story() -> None:
        wire = far.wire()
        for n in range(3):
            wire.send_soon(CALL, {"n": n}, b"[]", far.file(f"log {n}"))
        assert not far.read()
        await asyncio.sleep(0)
        while far.read():
            pass
        wire.close()

    asyncio.run(story())

    assert far.messages == 1
    assert far.frames() == [(CALL, 0), (CALL, 1), (CALL, 2)]
    assert far.files == ["log 0", "log 1", "log 2"]
    assert far.trouble == []


def test_what_is_sent_after_a_call_arrives_after_it(far: Far) -> None:
    async def story() -> None:
        wire = far.wire()
        wire.send_soon(CALL, {"n": 0}, b"[]", far.file("log"))
        wire.send(LINE, {"n": 1})
        while far.read():
            pass
        wire.close()

    asyncio.run(story())

    assert far.frames() == [(CALL, 0), (LINE, 1)]
    assert far.files == ["log"]


def test_calls_that_wait_for_room_arrive_in_order_with_their_files(far: Far) -> None:
    count = 3 * TOGETHER_MOST + 1

    async def story() -> None:
        wire = far.wire()
        with contextlib.closing(wire):
            for n in range(count):
                wire.send_soon(CALL, {"n": n}, b"x" * 5000, far.file(f"log {n}"))
            async with asyncio.timeout(30):
                while len(far.files) < count or len(far.data) < count * 5000:
                    far.read()
                    await asyncio.sleep(0)
            while far.read():
                pass

    asyncio.run(story())

    assert far.frames() == [(CALL, n) for n in range(count)]
    assert far.files == [f"log {n}" for n in range(count)]


def test_a_wire_that_is_closed_keeps_no_file_of_a_call_that_was_not_sent(far: Far) -> None:
    async def story() -> None:
        wire = far.wire()
        wire.send_soon(CALL, {"n": 0}, b"[]", far.file("log"))
        wire.close()
        await asyncio.sleep(0)

    asyncio.run(story())

    assert not far.read()
    assert far.trouble == []


def test_files_that_cannot_all_be_kept_until_there_is_room_are_not_kept_at_all(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, copied = os.dup, []

    def runs_out(fd: int) -> int:
        copied.append(fd)
        if len(copied) == 5:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return copy(fd)

    async def story() -> None:
        wire = far.wire()
        with contextlib.closing(wire):
            wire.send(CALL, {"n": 0}, b"x" * (1 << 20))  # more than the socket takes
            logs = [far.file(f"log {n}") for n in range(3)]
            before = descriptors()
            monkeypatch.setattr(os, "dup", runs_out)
            for number, log in enumerate(logs, 1):
                wire.send_soon(CALL, {"n": number}, b"[]", log)
            await asyncio.sleep(0)
            assert len(copied) == 5
            assert descriptors() == before

    asyncio.run(story())

    assert far.trouble == ["a call could not be sent: [Errno 24] Too many open files"]
