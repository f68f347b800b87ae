"""The lock of what is made once, by whichever thread needs it first: clients, and applications."""

from __future__ import annotations

import os
from _thread import RLock

lock = RLock()
"""Whoever makes one may need another for it. A forked child, in which nobody is making anything
any more, finds it free."""

os.register_at_fork(after_in_child=lock._at_fork_reinit)  # type: ignore[attr-defined]  # noqa: SLF001 - as the standard library does with its own
