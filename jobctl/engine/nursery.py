"""Where the Python children of a pool come from: its templates, and the hooks of each child."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jobctl.engine.sharing import SharedPython
from jobctl.engine.templates import Templates
from jobctl.model.pool import SHARED_PYTHON

if TYPE_CHECKING:
    from jobctl.engine.workplace import Workplace
    from jobctl.model.pool import PoolDef


class Nursery:
    """What all slots of a pool share about starting interpreters.

    ``templates`` is ``None`` where a template would cost more than it saves: in a pool of one slot
    without ``preload``.
    """

    def __init__(self, pool: PoolDef, place: Workplace) -> None:
        shared = pool.python in SHARED_PYTHON
        options = {"init": pool.child_init, "exit": pool.child_exit, "mode": pool.python}
        self.options = json.dumps(options)
        self.templates: Templates | None = None
        if pool.preload or (pool.slots > 1 and not shared):
            self.templates = Templates(place.processes, preload=pool.preload)
        self.shared: SharedPython | None = None
        """Where all Python attempts of the pool run, if they share children."""
        if shared:
            self.shared = SharedPython(
                place,
                options=self.options,
                templates=self.templates,
                max_runs=pool.max_runs_per_child,
                max_rss=pool.max_rss_per_child,
            )

    async def close(self) -> None:
        """Let shared children and the templates go; those of slots have gone before."""
        if self.shared is not None:
            await self.shared.close()
        if self.templates is not None:
            await self.templates.close()
