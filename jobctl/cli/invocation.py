"""One use of the command: its streams, its words, and its session."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from jobctl.cli.console import Console
    from jobctl.cli.start import Parting
    from jobctl.client.open import Session
    from jobctl.errors import ConfigError


class Invocation:
    """What every verb is given besides its own options."""

    def __init__(
        self,
        console: Console,
        *,
        config: str | None,
        literal: list[str],
        parting: Parting,
        reads: bool = False,
    ) -> None:
        self.console = console
        self.config = config
        """The file named with ``--config``."""
        self.literal = literal
        """Words after ``--``, for verbs that pass words on."""
        self.parting = parting
        self._reads = reads
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The session, opened when first asked for; raises ``ConfigError``."""
        if self._session is None:
            from jobctl.client.open import Session

            self._session = Session.open(
                self.config, on_last_good=self._warn if self._reads else None
            )
            self._session.of_command = True
        return self._session

    def _warn(self, error: ConfigError) -> None:
        first, *more = str(error).splitlines()
        rest = f" (and {len(more)} more)" if more else ""
        self.console.note(
            f"the configuration is wrong and is used as it last was right; see `jobctl check`: {first}{rest}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._session is not None:
            self._session.close()
