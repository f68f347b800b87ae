"""A job runner for scripts and a replacement for cron.

The Python API: what is listed here is imported when it is first asked for, so that importing
``jobctl`` costs next to nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.context import Fatal as Fatal
    from jobctl.context import Retry as Retry
    from jobctl.context import Skip as Skip
    from jobctl.context import SoftTimeout as SoftTimeout
    from jobctl.context import current as current

_PLACES = {
    "Fatal": "context",
    "Retry": "context",
    "Skip": "context",
    "SoftTimeout": "context",
    "current": "context",
}
"""Public name → module below this package, and its name there when that is another one."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'jobctl' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (only who uses the API pays)

    module, _, other = place.partition(":")
    found: object = getattr(import_module(f"jobctl.{module}"), other or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
