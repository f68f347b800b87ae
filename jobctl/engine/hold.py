"""Why a pool claims nothing."""

from __future__ import annotations

from enum import Enum


class Hold(Enum):
    """A reason not to claim; each is lifted by whoever gave it."""

    ALONE = "there is no supervisor"
    LEASE = "others may take over what this host runs"
    FENCED = "the store refuses this pool"
    ROOM = "there is no room for another process"
    ENDING = "the pool is to end"
