"""Where pools keep what must outlive them, and which of them are alive.

Below ``pools/`` in the state directory each supervisor id has a directory, and in it each pool
(``NAME.NUMBER``, the second half of its owner id) has files: its journal, the exits that its
keeper collected, and its definition. A pool holds a lock on its journal as long as it lives, so
that nobody has to trust a process number.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOURNAL, EXITS, CARD, LEASE = ".journal", ".exits", ".json", ".lease"


def pools_directory(state_dir: Path) -> Path:
    """Return where all pools of a state directory have their files."""
    return state_dir / "pools"


def stray_exits(state_dir: Path) -> Path:
    """Return where the supervisor itself writes down the ends of orphans that fell to it."""
    return pools_directory(state_dir) / "orphans.exits"


@dataclass(frozen=True, slots=True)
class PoolFiles:
    """The files of one pool."""

    state_dir: Path
    owner: str
    """Owner id: ``SUPERVISOR/NAME.NUMBER``."""

    @property
    def supervisor(self) -> str:
        """The first half of the owner id."""
        return self.owner.partition("/")[0]

    @property
    def serial(self) -> str:
        """The second half of the owner id, ``NAME.NUMBER``."""
        return self.owner.partition("/")[2]

    @property
    def name(self) -> str:
        """The pool's name in jobs.toml."""
        return self.serial.rpartition(".")[0]

    @property
    def number(self) -> int:
        """How many pools its supervisor had started when this one began."""
        text = self.serial.rpartition(".")[2]
        return int(text) if text.isdigit() else 0

    @property
    def directory(self) -> Path:
        """Where they are."""
        return pools_directory(self.state_dir) / self.supervisor

    @property
    def journal(self) -> Path:
        """See :mod:`jobctl.engine.host_journal`."""
        return self.directory / (self.serial + JOURNAL)

    @property
    def exits(self) -> Path:
        """See :mod:`jobctl.engine.keeper`."""
        return self.directory / (self.serial + EXITS)

    @property
    def lease(self) -> Path:
        """See :mod:`jobctl.engine.lease`."""
        return self.directory / (self.serial + LEASE)

    @property
    def card(self) -> Path:
        """Definition and version of the pool, for the next supervisor."""
        return self.directory / (self.serial + CARD)

    def lock(self) -> int | None:
        """Return a descriptor on the journal that holds its lock; ``None`` while its pool lives.

        Makes the journal when there is none. Raises ``OSError``.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.journal, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        return fd

    def alive(self) -> bool:
        """Return whether a process of this pool lives."""
        fd = self.lock() if self.journal.exists() else -1
        if fd is None:
            return True
        if fd >= 0:
            os.close(fd)
        return False

    def describe(self, card: dict[str, object]) -> None:
        """Write the card in one step; raises ``OSError``."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.card.with_suffix(".tmp")
        draft.write_text(json.dumps(card))
        draft.replace(self.card)

    def description(self) -> dict[str, object]:
        """Return the card; empty when it cannot be read."""
        try:
            card = json.loads(self.card.read_text())
        except (OSError, ValueError):
            return {}
        return card if isinstance(card, dict) else {}

    def remove(self) -> None:
        """Delete them, and the supervisor's directory when they were its last."""
        for path in (
            self.exits,
            self.card,
            self.lease,
            self.journal.with_suffix(".compact"),
            self.journal,
        ):
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            self.directory.rmdir()


def known_pools(state_dir: Path) -> Iterator[PoolFiles]:
    """Yield all pools that left a journal, those of earlier supervisors included."""
    for path in sorted(pools_directory(state_dir).glob(f"*/*{JOURNAL}")):
        yield PoolFiles(state_dir, f"{path.parent.name}/{path.name.removesuffix(JOURNAL)}")
