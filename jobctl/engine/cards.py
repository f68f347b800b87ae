"""By what a running pool is told from the one that jobs.toml asks for now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.model.config import pool_from_plain, to_plain
from jobctl.model.pool import PoolDef

if TYPE_CHECKING:
    from jobctl.engine.roster import PoolFiles
    from jobctl.model.config import Config


def card(config: Config, name: str, *, code: str) -> dict[str, object]:
    """Return what must be the same for a running pool to be kept; ``code`` names its program."""
    return {
        "code": code,
        "definition": to_plain(config.pools[name]) if name in config.pools else None,
        "store": [config.settings.redis, config.settings.namespace],
    }


def with_definition(config: Config, files: PoolFiles) -> Config:
    """Return a configuration that has the pool as it was, if jobs.toml has it no more."""
    if files.name in config.pools:
        return config
    plain = files.description().get("definition")
    definition = (
        pool_from_plain(plain) if isinstance(plain, dict) else PoolDef(name=files.name, slots=1)
    )
    return replace(config, pools={**config.pools, files.name: definition})
