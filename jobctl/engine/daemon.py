"""Puts a supervisor together from a configuration file, and runs it to its end."""

from __future__ import annotations

from jobctl.engine import lean  # noqa: F401 - first of all, for what it does

# isort: split
import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.config.child import load_in_child
from jobctl.config.hosts import host_problems
from jobctl.config.load import kept_config
from jobctl.config.problem import ERROR, ConfigProblems
from jobctl.engine import signals
from jobctl.engine.identity import Identity
from jobctl.engine.journal import configure_logging
from jobctl.engine.lock import prepare
from jobctl.engine.notify import Notifier
from jobctl.engine.succession import is_successor, replace_process
from jobctl.engine.supervisor import Supervisor
from jobctl.errors import ExitCode
from jobctl.host import boot_id, host_name, host_zone
from jobctl.store import scripts
from jobctl.store.address import Address
from jobctl.store.binary import find_binary
from jobctl.store.embedded import EmbeddedStore

if TYPE_CHECKING:
    from jobctl.model.config import Config

log = logging.getLogger(__name__)


def run_daemon(
    path: str,
    *,
    burst: bool = False,
    scheduling: bool = True,
    log_level: str | None = None,
) -> int:
    """Run the supervisor in the foreground until it is stopped; return its exit code.

    Raises ``ConfigError`` for a file that cannot be used here, ``NotAcceptedError`` when another
    supervisor uses the state directory, ``NotPermittedError`` for one that cannot be written.
    """
    configure_logging(log_level)
    scripts.load_all()
    os.umask(0o077)
    ended = asyncio.run(_run(path, burst=burst, scheduling=scheduling))
    if isinstance(ended, Notifier):
        replace_process(ended)
    return ended


async def _run(path: str, *, burst: bool, scheduling: bool) -> int | Notifier:
    """Return the exit code; what to tell the service manager with when this is to begin anew."""
    try:
        # A successor has something to stop, and can do that only when it knows it.
        loading = _load(path)
        config = await (loading if is_successor() else signals.stoppable(loading))
    except signals.StoppedEarlyError:
        return ExitCode.OK
    latest = config

    async def reload() -> Config:
        nonlocal latest
        latest = await _load(path, known=latest)
        return latest

    state_dir = Path(config.settings.state_dir)
    prepare(state_dir)
    supervisor = Supervisor(
        config,
        reload=reload,
        address=_address(config),
        embedded=_embedded(config),
        identity=Identity.of_this_process(
            host=host_name(config.settings.name),
            timezone=config.settings.timezone or host_zone(),
            boot_id=boot_id(),
        ),
        clock=SYSTEM_CLOCK,
        scheduling=scheduling,
        burst=burst,
    )
    code = await supervisor.run()
    return supervisor.notifier if supervisor.replaced else code


async def _load(path: str, *, known: Config | None = None) -> Config:
    """Return the configuration, once this host has what it cannot do without.

    A start takes what a command has kept of the same files: validating would double its cost.
    A reload, for which ``known`` is what was loaded last, always validates.
    """
    config = None if known is not None else kept_config(path)
    if config is None:
        config = await load_in_child(path, known=None if known is None else known.jobs)
    problems = host_problems(config)
    if any(problem.severity == ERROR for problem in problems):
        raise ConfigProblems(problems)
    for problem in problems:
        log.warning("%s", problem)
    return config


def _address(config: Config) -> Address:
    if config.settings.redis is not None:
        return Address.parse(config.settings.redis).serving(config.settings.namespace)
    return Address.of_embedded(config.settings.state_dir)


def _embedded(config: Config) -> EmbeddedStore | None:
    if config.settings.redis is not None:
        return None
    binary = find_binary(config.settings.store_binary)
    return EmbeddedStore(Path(config.settings.state_dir) / "store", binary)
