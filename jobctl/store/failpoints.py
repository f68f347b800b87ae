"""Failpoints: on purpose trouble before and after a call to the store, for tests only.

Off unless ``JOBCTL_FAILPOINTS`` or ``JOBCTL_FAILPOINTS_FILE`` is set when a process begins; then
``active`` is a plan (:mod:`jobctl.store.failpoint_plan`) and both executors ask it around every
call. Off, a call costs one look at ``active``.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.store.failpoint_plan import Plan

RULES_VARIABLE = "JOBCTL_FAILPOINTS"
FILE_VARIABLE = "JOBCTL_FAILPOINTS_FILE"
SEED_VARIABLE = "JOBCTL_FAILPOINTS_SEED"

active: Plan | None = None
"""What to do around calls, or None: nothing."""


def arm(role: str) -> None:
    """Take the rules for a process of kind ``role`` from the environment, if there are any.

    ``role`` is one of ``cli``, ``supervisor`` and ``pool``. Raises
    :class:`~jobctl.errors.ConfigError` for rules that cannot be read.
    """
    global active  # noqa: PLW0603  # one per process, and free to look at
    environ = os.environ
    if RULES_VARIABLE not in environ and FILE_VARIABLE not in environ:
        active = None
        return
    from jobctl.store.failpoint_plan import Plan  # noqa: PLC0415  # tests only

    active = Plan(
        role,
        environ.get(RULES_VARIABLE, ""),
        path=environ.get(FILE_VARIABLE) or None,
        seed=environ.get(SEED_VARIABLE, "0"),
    )
