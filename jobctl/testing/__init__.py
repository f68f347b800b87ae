"""What tests of programs that use jobctl need; see docs/how-to/test-your-jobs.md.

What is listed here is imported when it is first asked for, because pytest loads this package in
every session, whether a test needs it or not.
"""

from __future__ import annotations

__all__ = [
    "Eager",
    "EagerError",
    "FakeClock",
    "PrivateDaemon",
    "Start",
    "eager",
    "starts_between",
    "wait_until",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.testing.clock import FakeClock as FakeClock
    from jobctl.testing.clock import Start as Start
    from jobctl.testing.clock import starts_between as starts_between
    from jobctl.testing.daemon import PrivateDaemon as PrivateDaemon
    from jobctl.testing.eager_mode import Eager as Eager
    from jobctl.testing.eager_mode import eager as eager
    from jobctl.testing.eager_runs import EagerError as EagerError
    from jobctl.testing.waiting import wait_until as wait_until

_PLACES = {
    "Eager": "eager_mode",
    "EagerError": "eager_runs",
    "FakeClock": "clock",
    "PrivateDaemon": "daemon",
    "Start": "clock",
    "eager": "eager_mode",
    "starts_between": "clock",
    "wait_until": "waiting",
}
"""Public name → module of this package; none has the name of one, which would take its place."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'jobctl.testing' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (only who uses it pays)

    found: object = getattr(import_module(f"jobctl.testing.{place}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
