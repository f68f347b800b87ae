"""``${NAME}`` and ``${NAME:-otherwise}`` in the texts of the ``[jobctl]`` table.

Nowhere else: in commands the same form belongs to the shell. ``$${`` stands for ``${``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jobctl.config.values import Wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARK = re.compile(r"\$(\$)\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")


def fill_in(text: str, environ: Mapping[str, str], *, used: dict[str, str | None]) -> str:
    """Return ``text`` with its variables replaced by their values.

    ``used`` collects every variable that was looked up and its value, ``None`` when unset.

    Raises:
        Wrong: a variable without an alternative is not set, or a ``${`` is not closed.

    """

    def replacement(match: re.Match[str]) -> str:
        if match[1]:
            return "${"
        if match[2] is None:
            raise Wrong(
                "holds a '${' that is no variable",
                code="variable",
                remedy="write ${NAME} or ${NAME:-otherwise}, or $${ for the characters themselves",
                offset=match.start() + 1,
            )
        value = environ.get(match[2])
        used[match[2]] = value
        if value:
            return value
        if match[3] is not None:
            return match[3]
        raise Wrong(
            f"uses the variable {match[2]}, which is not set",
            code="variable",
            remedy=f"set it where jobctl runs, or write ${{{match[2]}:-otherwise}}",
            offset=match.start() + 1,
        )

    return _MARK.sub(replacement, text)
