"""What the slots of one event loop share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.engine.environment import tool_directory
from jobctl.engine.output import OutputWatch
from jobctl.engine.processes import Processes, restore_signals
from jobctl.engine.spawn import Launches

if TYPE_CHECKING:
    from jobctl.clock import Clock
    from jobctl.engine.attempt import AttemptDirs
    from jobctl.engine.processes import Witness
    from jobctl.engine.python_desk import Desk


@dataclass(slots=True, kw_only=True)
class Workplace:
    """Directories, clock and watchers of a pool. Make it with :meth:`open` inside the loop."""

    dirs: AttemptDirs
    clock: Clock
    processes: Processes
    outputs: OutputWatch
    launches: Launches
    null: int
    """A descriptor of ``/dev/null``."""
    desk: Desk | None = None
    """Who answers the questions of Python jobs; ``None``: there is no store to ask."""

    @classmethod
    def open(cls, *, dirs: AttemptDirs, clock: Clock, witness: Witness | None = None) -> Workplace:
        """Make directories and watchers; this process becomes a child subreaper.

        ``witness`` is told how attempts end, for whoever comes after this process.

        Children start with default signal actions, even for signals that this process ignores.

        Raises ``OSError``.
        """
        dirs.create()
        restore_signals()
        return cls(
            dirs=dirs,
            clock=clock,
            processes=Processes(witness),
            outputs=OutputWatch(),
            launches=Launches(tools=tool_directory()),
            null=os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC),
        )

    def close(self) -> None:
        """Stop watching. Close the slots first."""
        self.outputs.close()
        self.processes.close()
        os.close(self.null)
