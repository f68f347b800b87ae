"""Room on the embedded store's disk. Cheap: every submit to it looks."""

from __future__ import annotations

import os

FLOOR = 64 * 1024 * 1024
"""Bytes that stay free for what accepted runs will still write."""
PLENTY = 16
"""Times the floor: 1 GiB of a large disk, which takes even a fast one about a second to fill."""
SHARE = 100
"""A file system smaller than this many times the floor keeps one part in so many free instead."""


class Room:
    """How much of a file system is free, in bytes."""

    __slots__ = ("floor", "free")

    def __init__(self, *, free: int, total: int) -> None:
        self.free = free
        self.floor = min(FLOOR, total // SHARE)

    @property
    def little(self) -> bool:
        """Whether so little is free that nothing new should be taken on."""
        return self.free < self.floor

    @property
    def plenty(self) -> bool:
        """Whether so much is free that it cannot be little a moment later."""
        return self.free >= PLENTY * self.floor


def room(directory: str) -> Room | None:
    """Return the room around ``directory``; ``None`` when it cannot be told."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return Room(free=found.f_bavail * found.f_frsize, total=found.f_blocks * found.f_frsize)
