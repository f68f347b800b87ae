"""Clocks of single processes that can be moved while they run: ``clock.c``, loaded before the rest.

Time namespaces move no wall clock, and none once a process is in them; so the look at the clock
is what is changed here. Jobs keep the real clock.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("clock.c")


class ShiftedClock:
    """The clocks of those processes that are started with :attr:`environment`."""

    def __init__(self, directory: Path, name: str) -> None:
        """Compile what is loaded, once for each world, into ``directory``."""
        self._library = directory / "clock.so"
        self._file = directory / f"clock.{name}"
        if not self._library.exists():
            subprocess.run(
                ["cc", "-O2", "-shared", "-fPIC", "-o", self._library, SOURCE, "-ldl"], check=True
            )
        self.move()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)}

    def move(self, *, wall: float = 0.0, monotonic: float = 0.0, boot: float = 0.0) -> None:
        """Add so many seconds to the real clocks from now on, for running processes as well."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{wall:f} {monotonic:f} {boot:f}")
        fresh.replace(self._file)

    @contextlib.contextmanager
    def inherited(self) -> Iterator[None]:
        """Let processes that this one starts meanwhile have these clocks."""
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name in self.environment:
                del os.environ[name]
