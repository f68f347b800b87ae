"""Who a supervisor is."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from jobctl.engine.keeper import start_time
from jobctl.model.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """By what a supervisor, its host, and this start of it are told from all others."""

    supervisor: str
    """Its id; another one once it was taken for dead, see :meth:`renewed`."""
    host: str
    timezone: str
    """Zone of what names none in jobs.toml."""
    boot_id: str
    """Of the host's kernel; empty where it cannot be read."""
    start_id: str
    """Tells this start of the daemon from any other."""

    @classmethod
    def of_this_process(cls, *, host: str, timezone: str, boot_id: str) -> Identity:
        """Return that of a supervisor which begins."""
        return cls(
            supervisor=_incarnation(host, boot_id),
            host=host,
            timezone=timezone,
            boot_id=boot_id,
            start_id=_start_of_process(boot_id),
        )

    def renewed(self) -> Identity:
        """Return the same one under a new id: nothing that was said under the old one counts for it."""
        return self.known_as(_incarnation(self.host, self.boot_id))

    def known_as(self, supervisor: str) -> Identity:
        """Return the same one under the id of an earlier supervisor, which it goes on for."""
        return replace(self, supervisor=supervisor)


def _incarnation(host: str, boot_id: str) -> str:
    return f"{host}~{boot_id[:8] or 'noboot'}.{new_id()[:8]}"


def _start_of_process(boot_id: str) -> str:
    """Return what tells this start of the daemon from any other.

    A process that was replaced in place is the same one; the number alone is not enough, for in a
    container it is always 1.
    """
    return f"{boot_id[:8]}.{os.getpid()}.{start_time(os.getpid())[0]}"
