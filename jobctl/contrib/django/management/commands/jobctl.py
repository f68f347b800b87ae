"""``manage.py jobctl WORDS…``: the ``jobctl`` command with the project's jobs.toml.

The command line becomes that command, so its exit codes, signals and output are its own. A program
that says ``call_command("jobctl", …)`` goes on afterwards: for it there is another process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobctl.contrib.django.conf import Settings
from jobctl.host import zone_at_start

if TYPE_CHECKING:
    from collections.abc import Sequence


class Command(BaseCommand):
    """Runs the ``jobctl`` command."""

    help = "Run jobctl with the jobs.toml of this project: manage.py jobctl submit NAME, … daemon."
    requires_system_checks: Sequence[str] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Pass every word behind ``jobctl`` on as it is, and replace this process."""
        command = _command(argv[2:])
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(command[0], command, _environment())  # noqa: S606 - our own program

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the words of ``call_command``, options of jobctl's among them."""
        parser.add_argument("words", nargs=argparse.REMAINDER)

    def handle(self, *_: str, words: list[str], **options: Any) -> None:  # noqa: ANN401 - as Django has it
        """Run it to its end; raises ``CommandError``, whose ``returncode`` is its exit code.

        What it prints goes to ``stdout`` and ``stderr`` of the call, if they are given.
        """
        pipe = subprocess.PIPE
        done = subprocess.run(  # noqa: S603 - our own program
            _command(words),
            env=_environment(),
            text=True,
            check=False,
            stdout=pipe if options.get("stdout") else None,
            stderr=pipe if options.get("stderr") else None,
        )
        if done.stdout:
            self.stdout.write(done.stdout, ending="")
        if done.stderr:
            self.stderr.write(done.stderr, ending="")
        if done.returncode:
            raise CommandError(
                f"jobctl {' '.join(words)} ended with exit code {done.returncode}",
                returncode=done.returncode,
            )


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "jobctl", *words]


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    # Django's own TIME_ZONE is not the zone of the host, which that of schedules is.
    environment.pop("TZ", None)
    zone = zone_at_start()
    if zone:
        environment["TZ"] = zone
    config = Settings.read().CONFIG
    if config is not None:
        environment["JOBCTL_CONFIG"] = os.fspath(config)
    return environment
