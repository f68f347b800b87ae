"""The templates of a pool: which of them makes which child, and when one is let go.

What a template is, and how it forks, is in :mod:`jobctl.engine.template_host`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.engine.python_call import ChildKey, SpawnError
from jobctl.engine.template_host import StaleTemplateError, Template, TemplateUselessError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.engine.processes import Exit, Processes
    from jobctl.engine.template_host import Warmed

log = logging.getLogger(__name__)

MOST_TEMPLATES = 4
"""Of one pool; the one that was used longest ago goes first."""
FORKS = 3
"""Most templates one child may use up: their files may change while they are read."""
FAILURE_PAUSE = 5.0
"""Seconds for which a template that could not start is not tried again."""


class Templates:
    """The templates of one pool, by what their children have in common from the start.

    With ``preload``, names of modules, jobs of two directories do not share one: the modules may
    be others there. Nor do jobs of two users: what is imported runs as the user of the job.
    """

    def __init__(self, processes: Processes, *, preload: tuple[str, ...] = ()) -> None:
        self._processes = processes
        self._preload = preload
        self._templates: dict[ChildKey, Template] = {}
        self._failed: dict[ChildKey, tuple[float, str]] = {}
        self._useless: set[ChildKey] = set()
        self._closing: set[asyncio.Future[Exit]] = set()
        self._closed = False

    async def warm(self, key: ChildKey, *, env: Mapping[str, str], options: str) -> Warmed | None:
        """Return a forked child for ``key``; ``None`` when it is to be started by itself.

        Raises SpawnError, which says what the modules of ``preload`` said.
        """
        shape = self._shape(key)
        for _ in range(FORKS):
            if shape in self._useless:
                return None
            if self._closed:
                raise SpawnError("its pool ends")
            template = self._template(shape, env)
            template.users += 1
            try:
                await self._get_ready(shape, template)
                return await template.fork(key, env=env, options=options)
            except TemplateUselessError:
                return None
            except StaleTemplateError as error:
                log.info("the template of %s is replaced: %s", key.interpreter, error)
                self._drop(shape, template)
            finally:
                template.users -= 1
                self._thin_out()
        return None

    def replace(self) -> None:
        """Let all templates go; the next child begins a new one."""
        for shape, template in list(self._templates.items()):
            self._drop(shape, template)
        self._failed.clear()
        self._useless.clear()

    async def close(self) -> None:
        """Let all templates go and wait until they are gone; no other begins."""
        self._closed = True
        self.replace()
        if self._closing:
            await asyncio.wait(self._closing)

    def _shape(self, key: ChildKey) -> ChildKey:
        """Return what ``key`` asks of a template; the rest is set after the fork."""
        return ChildKey(
            interpreter=key.interpreter,
            user=key.user,
            group=key.group,
            cwd=key.cwd if self._preload else None,
            start_env=key.start_env,
        )

    def _template(self, shape: ChildKey, env: Mapping[str, str]) -> Template:
        """Return a template, which may not be ready yet; raises SpawnError."""
        template = self._templates.get(shape)
        if template is None or not template.alive:
            if template is not None:
                self._drop(shape, template)
            until, why = self._failed.get(shape, (0.0, ""))
            if asyncio.get_running_loop().time() < until:
                raise SpawnError(why)
            template = Template.start(
                shape, env=env, preload=self._preload, processes=self._processes
            )
        self._templates.pop(shape, None)
        self._templates[shape] = template  # the last one is the one used last
        return template

    async def _get_ready(self, shape: ChildKey, template: Template) -> None:
        """Wait until a template takes requests; raises as :meth:`Template.ready`."""
        try:
            threads = await template.ready()
        except SpawnError as error:
            self._drop(shape, template)
            until = asyncio.get_running_loop().time() + FAILURE_PAUSE
            self._failed[shape] = (until, str(error))
            raise
        if threads > 1:
            log.warning(
                "preload of %s starts threads, which a fork would lose: "
                "children are started one by one, and share no memory",
                ", ".join(self._preload),
            )
            self._useless.add(shape)
            self._drop(shape, template)

    def _thin_out(self) -> None:
        """Let go of the templates that were used longest ago, but for those that are in use."""
        idle = [shape for shape, template in self._templates.items() if not template.users]
        for shape in idle[: max(0, len(self._templates) - MOST_TEMPLATES)]:
            self._drop(shape, self._templates[shape])

    def _drop(self, shape: ChildKey, template: Template) -> None:
        end = template.close()
        if not end.done():
            self._closing.add(end)
            end.add_done_callback(self._closing.discard)
        if self._templates.get(shape) is template:
            del self._templates[shape]
