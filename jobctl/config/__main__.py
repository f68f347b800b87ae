"""``python -m jobctl.config PATH``: the plain form of a configuration, or its problems, as JSON.

The daemon runs this in a child process, so that it never holds the libraries that validate.
Prints one JSON object a line, so that a reader never needs to hold all of a large one:
``{"problems": […], "plain": …}``, the plain form without its jobs; ``{"job": …}`` for each, without
its schedules when there are many; ``{"schedules": […]}``, more of those of the job before it; and
``{"end": true}``. Without ``plain`` there are errors, nothing follows, and the exit code is 78.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from jobctl.config import cache
from jobctl.config.problem import problem_to_plain
from jobctl.config.validate import check_config
from jobctl.errors import ConfigError, ExitCode
from jobctl.model.config import to_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.model.config import Config

PART = 100
"""Schedules in one line."""
KEPT_MOST = 1000
"""Jobs of a configuration that is kept for commands and for the next start; of more, a command does it."""


def main(arguments: list[str]) -> int:
    """Validate the file named by the only argument."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m jobctl.config PATH\n")
        return ExitCode.USAGE
    # A daemon that begins holds some back, and what asks modules for their jobs runs their code.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # This process ends before the garbage is worth a look.
    gc.disable()
    try:
        checked = check_config(arguments[0])
    except ConfigError as error:
        _say({"error": str(error)})
        return ExitCode.CONFIG
    problems = [problem_to_plain(one) for one in checked.problems]
    if checked.config is None:
        _say({"problems": problems})
        return ExitCode.CONFIG
    for line in _lines(checked.config):
        _say({"problems": problems, **line} if "plain" in line else line)
    sys.stdout.flush()
    if len(checked.config.jobs) <= KEPT_MOST:
        path = os.path.abspath(arguments[0])  # noqa: PTH100 (a text)
        cache.keep(checked, to_plain(checked.config), path=path)  # type: ignore[arg-type]  # of a record
    return ExitCode.OK


def _lines(config: Config) -> Iterator[dict[str, object]]:
    yield {"plain": to_plain(config.without_jobs())}
    for job in config.jobs.values():
        plain: dict[str, object] = to_plain(job)  # type: ignore[assignment]  # of a record
        schedules: list[object] = plain.get("schedules", [])  # type: ignore[assignment]
        if len(schedules) > PART:
            del plain["schedules"]
        yield {"job": plain}
        if len(schedules) > PART:
            for start in range(0, len(schedules), PART):
                yield {"schedules": schedules[start : start + PART]}
    yield {"end": True}


def _say(line: dict[str, object]) -> None:
    json.dump(line, sys.stdout, separators=(",", ":"))
    sys.stdout.write("\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
