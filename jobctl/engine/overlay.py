"""The schedules kept in the store, laid over the configuration of this supervisor."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobctl.model.overlay import overlaid
from jobctl.store import decisions, live
from jobctl.store.transitions import count

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.model.config import Config
    from jobctl.model.overlay import LiveSchedule
    from jobctl.model.sealing import Ring
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)


class Overlay:
    """Reads live schedules when they have changed, and checks who made them.

    ``ring`` returns the keys they are signed with; ``timezone`` is the host's.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        *,
        ring: Callable[[], Ring | None],
        timezone: str,
    ) -> None:
        self._store = store
        self._keys = keys
        self._ring = ring
        self._timezone = timezone
        self._base: Config | None = None
        self._lives: dict[str, LiveSchedule] = {}
        self._told: dict[str, str] = {}
        self._version = 0
        self.stale = False
        """True when :meth:`read` would find something new."""

    @property
    def configured(self) -> bool:
        """True once there is a configuration to lay them over."""
        return self._base is not None

    def configure(self, config: Config) -> None:
        """Follow another configuration of jobs.toml from now on."""
        self._base = config
        self.stale = True

    def note(self, version: int) -> bool:
        """Take note of how often they were changed; return whether that is news."""
        if version != self._version:
            self.stale = True
        return self.stale

    async def read(self) -> tuple[Config, set[str]]:
        """Return the configuration with live schedules, and the jobs of those that have changed."""
        assert self._base is not None  # noqa: S101 - asked for when there is one
        # The version first: what is changed meanwhile is read once more.
        version = await self._store.run(decisions.live_version(self._keys))
        records = await self._store.run(decisions.live_schedules(self._keys))
        found, refused = live.opened(records, self._ring())
        lives = {one.name: one for one in found}
        config, unusable = overlaid(self._base, found, timezone=self._timezone)
        names = {
            name for name in lives.keys() | self._lives if lives.get(name) != self._lives.get(name)
        }
        touched = {one[name].job for one in (lives, self._lives) for name in names if name in one}
        await self._tell(refused, unusable)
        self._lives, self._version, self.stale = lives, version, False
        return config, touched

    async def _tell(self, refused: dict[str, str], unusable: dict[str, str]) -> None:
        """Say once what is not used, and why."""
        for name, why in refused.items():
            if self._told.get(name) != why:
                log.error("security: live schedule %.80r is refused: %s", name, why)
                await self._store.run(count(self._keys, "forged"))
        for name, why in unusable.items():
            if self._told.get(name) != why:
                log.warning("live schedule %s is not used: %s", name, why)
        self._told = refused | unusable
