"""The setting ``JOBCTL`` of a Django project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from jobctl.client.open import hint
from jobctl.contrib.web import checked
from jobctl.errors import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``JOBCTL`` says; every key may be left out."""

    CONFIG: str | os.PathLike[str] | None = None
    """A jobs.toml; ``None``: the one that ``jobctl`` would use."""
    REDIS: str | None = None
    """In place of what the file says."""
    NAMESPACE: str | None = None
    """Same."""
    KEY_FILE: str | os.PathLike[str] | None = None
    """The file with the signing keys, same."""
    ALLOW: str | Callable[..., bool] | None = None
    """Who may see or revoke a run: a function, or its dotted name, of the request, the run's record,
    and ``"read"`` or ``"revoke"``. ``None``: whoever knows the id (80 random bits) may see it."""
    REVOKE: bool = False
    """Whether ``DELETE`` revokes a run."""
    MAX_WAIT: float = 0.0
    """Seconds that ``?wait=N`` may take; whoever waits holds one of the server's threads."""

    @classmethod
    def read(cls) -> Settings:
        """Return what the project says; raises ``ImproperlyConfigured``."""
        given: Any = getattr(settings, "JOBCTL", {})
        if not isinstance(given, dict):
            raise ImproperlyConfigured(f"JOBCTL: {given!r} is no dict; write JOBCTL = {{...}}")
        known = [*cls.__dataclass_fields__]
        for key in given:
            if key not in known:
                raise ImproperlyConfigured(f"JOBCTL: there is no key {key!r}{_hint(key, known)}")
        found = cls(**given)
        try:
            checked("REVOKE", found.REVOKE, "flag")
            checked("MAX_WAIT", found.MAX_WAIT, "seconds")
            if not isinstance(found.ALLOW, str):
                checked("ALLOW", found.ALLOW, "allow")
        except ConfigError as error:
            raise ImproperlyConfigured(f"JOBCTL: {error}") from error
        return found

    def allowed(self) -> Callable[..., bool] | None:
        """Return the function of ``ALLOW``; raises ``ImproperlyConfigured`` when there is none."""
        if not isinstance(self.ALLOW, str):
            return self.ALLOW
        try:
            found: Callable[..., bool] = import_string(self.ALLOW)
        except ImportError as error:
            raise ImproperlyConfigured(f"JOBCTL: ALLOW = {self.ALLOW!r}: {error}") from error
        return found


def _hint(key: str, known: list[str]) -> str:
    lower = [name.lower() for name in known]
    return hint(key.lower(), lower).upper().replace("DID YOU MEAN", "did you mean")
