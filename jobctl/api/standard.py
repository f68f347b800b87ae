"""The client that is used where none is named: of ``jobctl.submit`` and of decorated functions."""

from __future__ import annotations

from jobctl.api.making import lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from jobctl.api.client import Client, Duration, Run

_chosen: dict[str, object] = {}
_client: Client | None = None


def configure(
    config: str | os.PathLike[str] | None = None,
    *,
    redis: str | None = None,
    namespace: str | None = None,
    key_file: str | os.PathLike[str] | None = None,
    store_wait: Duration | None = None,
) -> None:
    """Say how the usual client is made; see :class:`jobctl.Client`. It is made when first needed.

    Call it where the program starts. What was made before is closed and made anew.
    """
    global _client
    chosen = {
        "config": config, "redis": redis, "namespace": namespace, "key_file": key_file,
        "store_wait": store_wait,
    }  # fmt: skip
    with lock:
        before, _client = _client, None
        _chosen.clear()
        _chosen.update(chosen)
    if before is not None:
        before.close()


def usual_client() -> Client:
    """Return the usual client of this process; raises ``ConfigError`` when there is no jobs.toml."""
    global _client  # noqa: PLW0603 - same
    with lock:
        if _client is None:
            from jobctl.api.client import Client  # noqa: PLC0415 (a module with jobs costs less)

            _client = Client(**_chosen)  # type: ignore[arg-type]  # as configure took them
        return _client


def submit(job: object, /, *args: object, **kwargs: object) -> Run:
    """Submit a run with the usual client; see :meth:`jobctl.Client.submit`."""
    return usual_client().submit(job, *args, **kwargs)


def submit_many(
    job: object, items: Iterable[object] | None = None, /, **options: object
) -> list[Run]:
    """Submit many runs with the usual client; see :meth:`jobctl.Client.submit_many`."""
    return usual_client().submit_many(job, items, **options)
