"""How a supervisor is, in words: what its loops suffer from, for ``systemctl status`` and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.errors import JobctlError, NotPermittedError, UnreachableError
from jobctl.store import queries
from jobctl.store.failures import LostReplyError, first_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

REFUSES_WRITES = {
    "MISCONF": "its disk is full or failing",
    "OOM": "its memory is full",
    "NOREPLICAS": "it has too few replicas",
    "READONLY": "it is a replica",
    "MASTERDOWN": "it is a replica without its primary",
}
"""First word of the store's reply → why it takes nothing."""


class Condition:
    """What is wrong now.

    ``on_change`` is called whenever the words change; ``unrecorded`` tells how many outcomes wait
    until the store takes them.
    """

    def __init__(
        self,
        *,
        on_change: Callable[[], None] = lambda: None,
        unrecorded: Callable[[], int] = lambda: 0,
    ) -> None:
        self._on_change = on_change
        self._unrecorded = unrecorded
        self._errors: dict[str, JobctlError] = {}
        self._loading = ""
        self._told = ""

    def failed(self, loop: str, error: JobctlError) -> None:
        """Note that a loop cannot do its duty."""
        self._errors.pop(loop, None)
        self._errors[loop] = error
        self._tell()

    def worked(self, loop: str) -> None:
        """Note that a loop does its duty."""
        if self._errors.pop(loop, None) is not None:
            if not self._errors:
                self._loading = ""
            self._tell()

    async def ask(self, store: AsyncStore, keys: Keys) -> None:
        """Ask a store that is loading how long that will take."""
        try:
            info = await store.run(queries.server_info(keys))
        except JobctlError:
            return
        left = info.get("loading_eta_seconds", "")
        self._loading = f", {left} s left" if left.isdigit() else ""
        self._tell()

    @property
    def parts(self) -> list[str]:
        """Everything worth a word, as clauses; none when all is well."""
        words, count = self.words, self._unrecorded()
        waiting = f"{count} outcome{'' if count == 1 else 's'} to be recorded" if count else ""
        return [part for part in (words, waiting) if part]

    @property
    def words(self) -> str:
        """What is wrong with the store, as one clause; empty when all is well."""
        if not self._errors:
            return ""
        error = list(self._errors.values())[-1]
        word = first_word(error.reply)
        if word == "LOADING":
            return f"waiting for the store: loading{self._loading}"
        if word in REFUSES_WRITES:
            return f"the store refuses writes: {word}, {REFUSES_WRITES[word]}"
        if isinstance(error, NotPermittedError):
            return f"the store refuses the credentials: {error.reply or error}"
        if isinstance(error, UnreachableError | LostReplyError):
            away = "not reachable" if isinstance(error, UnreachableError) else "no answer"
            return f"waiting for the store: {away}"
        return f"trouble with the store: {error.reply or error}"

    def _tell(self) -> None:
        words = self.words
        if words != self._told:
            self._told = words
            self._on_change()
