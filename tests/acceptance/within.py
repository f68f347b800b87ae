"""What commands of a host do, done by the process of the story: a process costs 0.1 s of CPU and more.

A story that is about commands themselves calls :meth:`Host.run`; so do tests/cli.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from jobctl.cli import values
from jobctl.cli.words import arguments
from jobctl.client.listing import Filter, list_runs
from jobctl.client.open import Session
from jobctl.client.references import fetch
from jobctl.client.sending import send_one
from jobctl.client.submit import Wish, prepare
from jobctl.client.views import run_view
from jobctl.config import cache
from jobctl.config.cache import file_stamp
from jobctl.config.load import load_config, read_plain
from jobctl.errors import ConfigError
from jobctl.model.config import to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PLAIN = frozenset({"--job", "--state"})
MOST_RUNS = 1000


class Within:
    """Looks at one configuration, whose files are read again when the first one changed."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._read: tuple[object, Mapping[str, Any]] = (None, {})

    def keep(self, environ: Mapping[str, str]) -> None:
        """Validate as a command with ``environ`` would; the daemon and other commands need not, then.

        That is almost half of what they cost. What is wrong is left to them to tell.
        """
        with (
            patch.dict(os.environ, environ, clear=True),
            # No story writes twice within a tick of the clock and starts something between.
            patch.object(cache, "_SETTLED_NS", 0),
            contextlib.suppress(ConfigError, OSError),
        ):
            stamp = file_stamp(self._config.stat())
            self._read = (stamp, read_plain(str(self._config)))

    def submit(self, job: str, *words: str) -> str:
        """Return the id of a run as ``jobctl submit`` would print it."""
        args, kwargs = arguments(words)
        wish = Wish(job, args=list(args), kwargs=dict(kwargs), text=True)
        with self.session() as session:
            receipt, _ = send_one(session, prepare(session, wish))
        assert receipt.accepted, (job, words, receipt.answer)
        return str(receipt.id)

    def inspect(self, run: str) -> dict[str, Any]:
        """Return the record of a run as ``jobctl inspect --json`` would print it."""
        with self.session() as session:
            found = fetch(session, run)
            return dict(json.loads(json.dumps(run_view(found, session.find_job(found.job)))))

    def runs(self, filters: Sequence[str]) -> list[dict[str, Any]]:
        """Return what ``jobctl list --json`` would print; of filters, only those of ``PLAIN``."""
        words = dict(zip(filters[::2], filters[1::2], strict=True))
        wanted = Filter(states=values.states(words.get("--state")), job=words.get("--job"))
        with self.session() as session:
            found = list_runs(session, wanted, most=MOST_RUNS)
            views = [run_view(run, session.find_job(run.job)) for run in found]
        return list(json.loads(json.dumps(views)))

    def session(self) -> Session:
        """Return a new session; raises ``ConfigError``."""
        stamp = file_stamp(self._config.stat())
        if self._read[0] != stamp:
            self._read = (stamp, to_plain(load_config(self._config)))  # type: ignore[arg-type]
        return Session(self._read[1])
