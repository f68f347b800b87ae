"""FastAPI: a client as a dependency, 202 with a status URL, and the routes it leads to.

::

    app = FastAPI()
    jobs = Jobctl(app)


    @app.post("/thumbnails")
    async def make(path: str, client: JobsClient, request: Request) -> Response:
        return jobs.accepted(request, await client.submit("thumbnail", path=path))

See docs/how-to/fastapi.md.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.requests import HTTPConnection  # noqa: TC002 - FastAPI reads the annotation

from jobctl.api.aio import AsyncClient, AsyncRun
from jobctl.api.making import lock
from jobctl.contrib import web
from jobctl.errors import JobctlError, NoSuchRun, TimedOutError

if TYPE_CHECKING:
    import os

    from jobctl.model.run import Run

Allow = Callable[[Request, "Run", str], bool | Awaitable[bool]]
"""Gets the request, the run's record, and ``"read"`` or ``"revoke"``; says whether that may be."""

MAX_WAIT = 30.0
"""Seconds; proxies give up on an answer after a minute or so."""
STATE = "jobctl"
"""The attribute of ``app.state`` that holds the extension."""

log = logging.getLogger(__name__)


class Jobctl:
    """One application's client and routes."""

    def __init__(
        self,
        app: FastAPI | None = None,
        *,
        config: str | os.PathLike[str] | None = None,
        prefix: str = "/runs",
        allow: Allow | None = None,
        revoke: bool = False,
        max_wait: float = MAX_WAIT,
        **client: Any,  # noqa: ANN401 - passed on to AsyncClient as it is
    ) -> None:
        """``config`` is a jobs.toml (default: the one that ``jobctl`` would use).

        ``GET prefix/{id}`` tells how a run is, and with ``?wait=N`` waits up to ``max_wait``
        seconds for its end. With ``revoke``, ``DELETE prefix/{id}`` revokes it. ``allow`` decides
        who may; without it, whoever knows the id (80 random bits) may. ``client`` are further
        arguments of ``AsyncClient``. Raises ``ConfigError`` and ``TypeError`` for wrong ones.
        """
        web.checked("allow", allow, "allow")
        web.checked("revoke", revoke, "flag")
        web.checked("max_wait", max_wait, "seconds")
        inspect.signature(AsyncClient).bind(config, **client)
        self._config = config
        self._options = client
        self._client: AsyncClient | None = None
        self._allow = allow
        self._max_wait = max_wait
        self.router = APIRouter(prefix=prefix, tags=["runs"])
        """The routes; :meth:`init_app` includes them."""
        self.router.add_api_route(
            "/{run_id}", self._status, methods=["GET"], name="jobctl_run", response_model=None
        )
        if revoke:
            self.router.add_api_route(
                "/{run_id}", self._revoke, methods=["DELETE"], response_model=None
            )
        if app is not None:
            self.init_app(app)

    def init_app(self, app: FastAPI) -> None:
        """Add routes, error answers, and the end of the client to ``app``."""
        setattr(app.state, STATE, self)
        app.include_router(self.router)
        app.add_exception_handler(JobctlError, _on_error)
        before = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(served: FastAPI) -> AsyncIterator[Any]:
            try:
                async with before(served) as state:
                    yield state
            finally:
                await self.close()

        app.router.lifespan_context = lifespan

    @property
    def client(self) -> AsyncClient:
        """The client, made when first asked for; raises ``ConfigError`` when there is no jobs.toml."""
        with lock:
            if self._client is None:
                self._client = AsyncClient(self._config, **self._options)
            return self._client

    async def close(self) -> None:
        """Close the client; the next request makes a new one."""
        with lock:
            client, self._client = self._client, None
        if client is not None:
            await client.close()

    def accepted(self, request: Request, run: AsyncRun) -> Response:
        """Answer 202 with the run's id and where its state is told."""
        return _response(web.accepted(run.id, run.job, url=_url(request, run.id)))

    async def _status(self, request: Request, run_id: str, wait: str | None = None) -> Response:
        """Tell how a run is; with ``wait`` up to so many seconds later, when it has ended."""
        seconds = web.wait_seconds(wait, most=self._max_wait)
        run, refusal = await self._run(request, run_id, "read")
        if run is None:
            return refusal
        record = await run.refresh()
        if seconds and not record.state.final:
            # How it ended is told by the record, whatever wait() raises.
            with contextlib.suppress(JobctlError):
                await run.wait(seconds)
            record = await run.refresh()
        return _response(
            web.status(record, url=_url(request, run_id), allow_pickle=web.reads_pickles(run))
        )

    async def _revoke(self, request: Request, run_id: str) -> Response:
        """Revoke a run."""
        run, refusal = await self._run(request, run_id, "revoke")
        if run is None:
            return refusal
        return _response(web.revoked(run_id, done=await run.revoke(), url=_url(request, run_id)))

    async def _run(
        self, request: Request, run_id: str, action: str
    ) -> tuple[AsyncRun | None, Response]:
        """Return the run when it may be dealt with, else the answer."""
        unknown = _response(web.unknown(run_id))
        if not web.is_run_id(run_id):
            return None, unknown
        run = AsyncRun(self.client, run_id, "")
        try:
            record = await run.refresh()
        except NoSuchRun:
            return None, unknown
        if self._allow is not None:
            may = self._allow(request, record, action)
            if not (await may if inspect.isawaitable(may) else may):
                return None, _response(web.forbidden())
        return run, unknown


async def get_client(connection: HTTPConnection) -> AsyncClient:
    """Return the application's client: a dependency of routes, those of WebSockets too."""
    return extension(connection).client


JobsClient = Annotated[AsyncClient, Depends(get_client)]
"""What a route's parameter is annotated with to be given the client."""


def extension(connection: HTTPConnection) -> Jobctl:
    """Return the extension of the application that serves a request or a WebSocket."""
    found = getattr(connection.app.state, STATE, None)
    if not isinstance(found, Jobctl):
        raise TypeError("this application has no jobctl extension; write Jobctl(app)")
    return found


def accepted(request: Request, run: AsyncRun) -> Response:
    """Answer 202 with the run's id and where its state is told; see :meth:`Jobctl.accepted`."""
    return extension(request).accepted(request, run)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, JobctlError)  # noqa: S101 - it is registered for nothing else
    answer = web.refused(error)
    if answer.status >= 500 and not isinstance(error, TimedOutError):  # noqa: PLR2004 (the server's fault)
        log.error("%s %s: %s", request.method, request.url.path, error)
    return _response(answer)


def _url(request: Request, run_id: str) -> str:
    """Return the path of a run's state, below whatever the application is mounted at."""
    return str(request.url_for("jobctl_run", run_id=run_id).path)


def _response(answer: web.Answer) -> Response:
    return Response(answer.text, answer.status, answer.headers, "application/json")
