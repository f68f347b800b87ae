"""A job runner for scripts and a replacement for cron.

The Python API: what is listed here is imported when it is first asked for, so that importing
``jobctl`` costs next to nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = [
    "AskError",
    "AsyncClient",
    "AsyncRun",
    "Client",
    "ConfigError",
    "Event",
    "Fatal",
    "InvalidArguments",
    "JobFailed",
    "JobctlError",
    "NoSuchJob",
    "NoSuchRun",
    "NotAccepted",
    "NotFound",
    "NotPermitted",
    "NotRunning",
    "ResultUnreadable",
    "Retry",
    "Run",
    "RunNotEnded",
    "Skip",
    "SoftTimeout",
    "StoreUnreachable",
    "SubmitUnknown",
    "UsageError",
    "WaitTimeout",
    "configure",
    "current",
    "job",
    "submit",
    "submit_many",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.api.aio import AsyncClient as AsyncClient
    from jobctl.api.aio import AsyncRun as AsyncRun
    from jobctl.api.client import Client as Client
    from jobctl.api.client import Run as Run
    from jobctl.api.declaring import job as job
    from jobctl.api.standard import configure as configure
    from jobctl.api.standard import submit as submit
    from jobctl.api.standard import submit_many as submit_many
    from jobctl.client.changes import Event as Event
    from jobctl.client.results import UnreadableError as ResultUnreadable
    from jobctl.client.sending import LostSubmitError as SubmitUnknown
    from jobctl.context import AskError as AskError
    from jobctl.context import Fatal as Fatal
    from jobctl.context import NotRunning as NotRunning
    from jobctl.context import Retry as Retry
    from jobctl.context import Skip as Skip
    from jobctl.context import SoftTimeout as SoftTimeout
    from jobctl.context import current as current
    from jobctl.errors import ConfigError as ConfigError
    from jobctl.errors import InvalidArguments as InvalidArguments
    from jobctl.errors import JobctlError as JobctlError
    from jobctl.errors import JobFailed as JobFailed
    from jobctl.errors import NoSuchJob as NoSuchJob
    from jobctl.errors import NoSuchRun as NoSuchRun
    from jobctl.errors import NotAcceptedError as NotAccepted
    from jobctl.errors import NotFoundError as NotFound
    from jobctl.errors import NotPermittedError as NotPermitted
    from jobctl.errors import RunNotEnded as RunNotEnded
    from jobctl.errors import TimedOutError as WaitTimeout
    from jobctl.errors import UnreachableError as StoreUnreachable
    from jobctl.errors import UsageError as UsageError

_PLACES = {
    "AsyncClient": "api.aio",
    "AsyncRun": "api.aio",
    "Client": "api.client",
    "Run": "api.client",
    "job": "api.declaring",
    "configure": "api.standard",
    "submit": "api.standard",
    "submit_many": "api.standard",
    "Event": "client.changes",
    "ResultUnreadable": "client.results:UnreadableError",
    "SubmitUnknown": "client.sending:LostSubmitError",
    "AskError": "context",
    "Fatal": "context",
    "NotRunning": "context",
    "Retry": "context",
    "Skip": "context",
    "SoftTimeout": "context",
    "current": "context",
    "ConfigError": "errors",
    "InvalidArguments": "errors",
    "JobctlError": "errors",
    "JobFailed": "errors",
    "NoSuchJob": "errors",
    "NoSuchRun": "errors",
    "NotAccepted": "errors:NotAcceptedError",
    "NotFound": "errors:NotFoundError",
    "NotPermitted": "errors:NotPermittedError",
    "RunNotEnded": "errors",
    "WaitTimeout": "errors:TimedOutError",
    "StoreUnreachable": "errors:UnreachableError",
    "UsageError": "errors",
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
