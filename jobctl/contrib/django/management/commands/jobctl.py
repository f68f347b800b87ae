"""``manage.py jobctl WORDS…``: the ``jobctl`` command with the project's jobs.toml."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.management.base import BaseCommand

from jobctl.contrib.django.conf import Settings
from jobctl.host import zone_at_start

if TYPE_CHECKING:
    from collections.abc import Sequence


class Command(BaseCommand):
    """Becomes the ``jobctl`` command, so its exit codes, signals and output are its own."""

    help = "Run jobctl with the jobs.toml of this project: manage.py jobctl submit NAME, … daemon."
    requires_system_checks: Sequence[str] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Pass every word behind ``jobctl`` on as it is."""
        self.handle(*argv[2:])

    def handle(self, *words: str, **_: Any) -> NoReturn:  # noqa: ANN401 - as Django has it
        """Replace this process."""
        environment = dict(os.environ)
        # Django's own TIME_ZONE is not the zone of the host, which that of schedules is.
        environment.pop("TZ", None)
        zone = zone_at_start()
        if zone:
            environment["TZ"] = zone
        config = Settings.read().CONFIG
        if config is not None:
            environment["JOBCTL_CONFIG"] = os.fspath(config)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(  # noqa: S606 - our own program
            sys.executable, [sys.executable, "-P", "-m", "jobctl", *words], environment
        )
