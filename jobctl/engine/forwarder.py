"""Submits what was left on this host's disk while the store could not be reached."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobctl.engine.service import Service
from jobctl.errors import JobctlError
from jobctl.store import transitions, unsent
from jobctl.store.failures import StoreError

if TYPE_CHECKING:
    from jobctl.clock import Clock
    from jobctl.model.admission import NewRun
    from jobctl.model.sealing import Seal
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys
    from jobctl.store.transitions import Answer

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
FULL_PAUSE = 5.0
"""Seconds before runs are offered again to a queue that was full."""


class Forwarder(Service):
    """Sends the files of ``unsent``, oldest first, and removes each once it was answered.

    A file is sent again when its answer was lost; the ids in it make that safe. A file that can
    never be sent is set aside, so that it does not hold up the others.
    """

    name = "forwarder"

    def __init__(
        self, store: AsyncStore, keys: Keys, *, state_dir: str, seal: Seal, clock: Clock
    ) -> None:
        super().__init__(store)
        self._store = store
        self._keys = keys
        self._state_dir = state_dir
        self._seal = seal
        self._clock = clock
        self._held_up: set[str] = set()

    async def tick(self) -> float:  # noqa: D102 - as in Service
        pause = LOOK_EVERY
        try:
            paths = unsent.waiting(self._state_dir)
        except OSError as error:
            raise JobctlError(f"{self._state_dir}/{unsent.DIRECTORY}: {error.strerror}") from error
        for path in paths:
            if not await self._forward(path):
                pause = FULL_PAUSE
            self.turned()
        self._held_up.intersection_update(paths)
        return pause

    async def _forward(self, path: str) -> bool:
        """Send one file; return whether it is done with."""
        try:
            found = unsent.load(path, now=self._clock.epoch())
            found.check_namespace(self._keys.namespace)
            answers = await self._store.run(
                transitions.submit(self._keys, found.runs, seal=self._seal)
            )
        except (unsent.UnsentError, StoreError) as error:
            place = unsent.set_aside(path)
            log.error("unsent requests in %s were set aside: %s", place, error)  # noqa: TRY400 - the message is the whole story
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            raise JobctlError(f"{path}: {error.strerror}") from error
        return self._answered(path, found.runs, answers)

    def _answered(self, path: str, runs: list[NewRun], answers: tuple[Answer, ...]) -> bool:
        full = [
            run.request.id
            for run, answer in zip(runs, answers, strict=True)
            if answer.kind == "full"
        ]
        if full:
            if path not in self._held_up:
                self._held_up.add(path)
                log.warning(
                    "%d unsent runs wait for room in their queue, %s first", len(full), full[0]
                )
            return False
        unsent.remove(path)
        made = 0
        for run, answer in zip(runs, answers, strict=True):
            if answer.kind == "unique":
                log.warning(
                    "run %s of %s, left here while the store was away, was not made: run %s of "
                    "the same is there already", run.request.id, run.request.job, answer.detail,
                )  # fmt: skip
            elif answer.kind == "other":
                log.error(
                    "run %s of %s, left here while the store was away, was not made: its id is that of "
                    "a run of %s", run.request.id, run.request.job, answer.detail,
                )  # fmt: skip
            else:
                made += 1
        if made:
            log.info("submitted %d runs that were left here while the store was away", made)
        return True
