"""One use of the command: its streams, its words, and its session."""

from __future__ import annotations

from jobctl.client.open import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.cli.console import Console


class Invocation:
    """What every verb is given besides its own options."""

    def __init__(self, console: Console, *, config: str | None, literal: list[str]) -> None:
        self.console = console
        self.config = config
        """The file named with ``--config``."""
        self.literal = literal
        """Words after ``--``, for verbs that pass words on."""
        self.parting = ""
        """What to say when Ctrl-C ends the command."""
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The session, opened when first asked for; raises ``ConfigError``."""
        if self._session is None:
            self._session = Session.open(self.config)
        return self._session

    def close(self) -> None:
        """Close what was opened."""
        if self._session is not None:
            self._session.close()
