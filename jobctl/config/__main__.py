"""``python -m jobctl.config PATH``: the plain form of a configuration, or its problems, as JSON.

The daemon runs this in a child process, so that it never holds the libraries that validate.
Prints ``{"plain": …, "problems": […]}``; without ``plain`` there are errors, and the exit code
is 78.
"""

from __future__ import annotations

import json
import sys

from jobctl.config.problem import problem_to_plain
from jobctl.config.validate import check_config
from jobctl.errors import ConfigError, ExitCode
from jobctl.model.config import to_plain


def main(arguments: list[str]) -> int:
    """Validate the file named by the only argument."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m jobctl.config PATH\n")
        return ExitCode.USAGE
    try:
        checked = check_config(arguments[0])
    except ConfigError as error:
        json.dump({"error": str(error)}, sys.stdout)
        return ExitCode.CONFIG
    answer: dict[str, object] = {"problems": [problem_to_plain(one) for one in checked.problems]}
    if checked.config is not None:
        answer["plain"] = to_plain(checked.config)
    json.dump(answer, sys.stdout)
    return ExitCode.OK if checked.config is not None else ExitCode.CONFIG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
