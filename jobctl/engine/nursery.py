"""Where the Python children of a pool come from: its templates, and the hooks of each child."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jobctl.engine.template_host import Templates

if TYPE_CHECKING:
    from jobctl.engine.processes import Processes
    from jobctl.model.job import PoolDef


class Nursery:
    """What all slots of a pool share about starting interpreters.

    ``templates`` is ``None`` where a template would cost more than it saves: in a pool of one slot
    without ``preload``.
    """

    def __init__(self, pool: PoolDef, processes: Processes) -> None:
        self.options = json.dumps({"init": pool.child_init, "exit": pool.child_exit})
        self.templates: Templates | None = None
        if pool.slots > 1 or pool.preload:
            self.templates = Templates(processes, preload=pool.preload)

    async def close(self) -> None:
        """Let the templates go; the children have gone before."""
        if self.templates is not None:
            await self.templates.close()
