"""What a pool does not take the store's word for: whether to run something, and whether to stop it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.engine.intake import EndedError, Intake, refusal
from jobctl.engine.orders import Refusals, StopDesk
from jobctl.engine.starts import NAME, Starts
from jobctl.store.codec import BadPayloadError
from jobctl.store.transitions import count

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock
    from jobctl.engine.ledger import Held
    from jobctl.model.config import Config
    from jobctl.store.calls import Call
    from jobctl.store.keyring import Signing
    from jobctl.store.keys import Keys
    from jobctl.store.settling import Settlement
    from jobctl.store.transitions import Claim


class Gate:
    """Lets in what is genuine, and says how the rest ends.

    ``send`` takes calls to the store whose loss does no harm.
    """

    def __init__(
        self,
        config: Config,
        signing: Signing,
        *,
        keys: Keys,
        send: Callable[[Call[object]], None],
        clock: Clock,
    ) -> None:
        self.starts = Starts(
            Path(config.settings.state_dir) / NAME, namespace=keys.namespace, clock=clock
        )
        self._signing = signing
        self._keys = keys
        self._send = send
        self._intake = Intake(signing, self.starts, clock=clock)
        forged = Refusals(lambda: self._count("forged"), clock=clock)
        self._desk = StopDesk(signing, refusals=forged)

    def configure(self, config: Config) -> None:
        """Follow another configuration from now on."""
        self._signing.configure(config.security, config.settings)

    def admitting(self) -> Callable[[Claim], Held | Settlement]:
        """Return what says of each run of one claim what the pool knows of it, or how it ends.

        The latter when it is not let in. The keys are looked at once for all.
        """
        take_in = self._intake.taking_in()

        def admit(claim: Claim) -> Held | Settlement:
            try:
                return take_in(claim)
            except BadPayloadError as error:
                if isinstance(error, EndedError):
                    self._count("replayed")
                return refusal(claim, error)

        return admit

    def genuine(self, order: str, held: Held) -> str | None:
        """Return ``reason signal grace kill`` of a genuine order to stop a run, else ``None``."""
        return self._desk.genuine(order, held)

    def close(self) -> None:
        """Close what is open."""
        self.starts.close()

    def _count(self, what: str) -> None:
        self._send(count(self._keys, what))
