"""The key file of this host, for ``jobctl keys``: made, shown and changed; no secret leaves it."""

from __future__ import annotations

import os
import time

from jobctl.errors import NotAcceptedError, NotFoundError, NotPermittedError, UsageError
from jobctl.store import keyring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.client.open import Session
    from jobctl.model.sealing import Key

USUAL = "signing.keys"
"""Name of a key file beside jobs.toml."""


class KeyFile:
    """The key file that a configuration names, or the one that would be made for it."""

    def __init__(self, session: Session, path: str | None = None) -> None:
        """``path`` is another file than the configuration's."""
        security = session.config.security
        self._day = time.strftime("%Y%m%d", time.gmtime(session.clock.epoch()))
        self._sign_with = security.sign_with
        self._trusted = security.trusted_keys
        self.named = security.key_file
        """What the configuration says; ``None`` for a shared store without ``[security]``."""
        folder = os.path.dirname(session.path) or "."  # noqa: PTH120 (texts)
        self.path = os.path.abspath(path or self.named or f"{folder}/{USUAL}")  # noqa: PTH100 (texts)

    @property
    def in_use(self) -> bool:
        """Whether the configuration names this very file."""
        return self.named is not None and os.path.abspath(self.named) == self.path  # noqa: PTH100 (texts)

    def init(self) -> str:
        """Make the file with a first key; return its id. Raises ``NotAcceptedError`` when it is there."""
        first = keyring.new_key(self._day)
        self._write([first], fresh=True)
        return first.id

    def keys(self) -> list[tuple[str, str]]:
        """Return each key's id and what it does: ``signs``, ``accepted`` or ``not accepted``."""
        found = keyring.load(self.path)
        signer = self._sign_with or found[-1].id
        return [
            (
                key.id,
                "signs" if key.id == signer
                else "accepted" if not self._trusted or key.id in self._trusted
                else "not accepted",
            )
            for key in found
        ]  # fmt: skip

    def add(self, *, sign: bool) -> str:
        """Add a new key, which signs from now on or is only accepted; return its id."""
        found, made = keyring.load(self.path), keyring.new_key(self._day)
        found.insert(len(found) if sign else len(found) - 1, made)
        self._write(found)
        return made.id

    def use(self, key_id: str) -> None:
        """Sign with a key that is there."""
        found = keyring.load(self.path)
        chosen = _find(found, key_id)
        self._write([*(key for key in found if key is not chosen), chosen])

    def retire(self, key_id: str) -> None:
        """Remove a key; raises ``UsageError`` for the one that signs."""
        found = keyring.load(self.path)
        chosen = _find(found, key_id)
        if chosen.id == (self._sign_with or found[-1].id):
            raise UsageError(
                f"key {key_id} signs; make another one sign first: `jobctl keys rotate`"
            )
        self._write([key for key in found if key is not chosen])

    def _write(self, keys: Sequence[Key], *, fresh: bool = False) -> None:
        try:
            keyring.write(self.path, keys, fresh=fresh)
        except FileExistsError:
            raise NotAcceptedError(
                f"{self.path} is there already; see `jobctl keys list`, or `jobctl keys rotate` for a new key"
            ) from None
        except OSError as error:
            raise NotPermittedError(f"{self.path} cannot be written: {error.strerror}") from error


def _find(keys: Sequence[Key], key_id: str) -> Key:
    for key in keys:
        if key.id == key_id:
            return key
    raise NotFoundError(f"no key {key_id[:40]!r}; there are {', '.join(key.id for key in keys)}")
