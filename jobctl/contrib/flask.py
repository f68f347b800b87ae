"""Flask: a client that belongs to the application, 202 with a status URL, and the routes it leads to.

::

    app = Flask(__name__)
    jobs = Jobctl(app)


    @app.post("/thumbnails")
    def make():
        return jobs.accepted(jobs.client.submit("thumbnail", path=request.json["path"]))

See docs/how-to/flask.md.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import logging
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from flask import Blueprint, Flask, Response, current_app, request, url_for

from jobctl.api.client import Client, Run
from jobctl.api.making import lock
from jobctl.contrib import web
from jobctl.errors import ConfigError, JobctlError, NoSuchRun, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.model.run import Run as Record

    P = ParamSpec("P")
    R = TypeVar("R")

NAME = "jobctl"
"""The key of ``app.extensions``, and the name of the blueprint."""

log = logging.getLogger(__name__)


class Jobctl:
    """The extension; one may serve several applications.

    Reads from ``app.config``: ``JOBCTL_CONFIG`` (a jobs.toml; default: the one that ``jobctl`` would
    use), ``JOBCTL_REDIS``, ``JOBCTL_NAMESPACE`` and ``JOBCTL_KEY_FILE`` in place of what it says,
    ``JOBCTL_PREFIX`` (``"/runs"``), ``JOBCTL_REVOKE`` (False), and ``JOBCTL_MAX_WAIT`` (0 seconds: whoever waits holds
    one of the server's threads).
    """

    def __init__(
        self, app: Flask | None = None, *, allow: Callable[[Record, str], bool] | None = None
    ) -> None:
        """``allow`` gets a run's record and ``"read"`` or ``"revoke"``, and says whether that may be.

        Without it, whoever knows the id of a run (80 random bits) may.
        """
        web.checked("allow", allow, "allow")
        self._allow = allow
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add settings, routes and error answers to ``app``; raises ``ConfigError`` for wrong ones."""
        app.config.setdefault("JOBCTL_CONFIG", None)
        app.config.setdefault("JOBCTL_REDIS", None)
        app.config.setdefault("JOBCTL_NAMESPACE", None)
        app.config.setdefault("JOBCTL_KEY_FILE", None)
        app.config.setdefault("JOBCTL_PREFIX", "/runs")
        app.config.setdefault("JOBCTL_REVOKE", False)
        app.config.setdefault("JOBCTL_MAX_WAIT", 0)
        web.checked("JOBCTL_REVOKE", app.config["JOBCTL_REVOKE"], "flag")
        web.checked("JOBCTL_MAX_WAIT", app.config["JOBCTL_MAX_WAIT"], "seconds")
        app.extensions[NAME] = {"extension": self, "client": None}
        routes = Blueprint(NAME, __name__, url_prefix=app.config["JOBCTL_PREFIX"])
        routes.add_url_rule("/<run_id>", "run", self._status)
        if app.config["JOBCTL_REVOKE"]:
            routes.add_url_rule("/<run_id>", "revoke", self._revoke, methods=["DELETE"])
        app.register_blueprint(routes)
        app.register_error_handler(JobctlError, _on_error)

    @property
    def client(self) -> Client:
        """The client of the current application, made when first asked for.

        Threads share it, and it survives the fork of a server's worker. Raises ``ConfigError`` when
        there is no jobs.toml.
        """
        state = current_app.extensions[NAME]
        with lock:
            if state["client"] is None:
                config = current_app.config
                state["client"] = Client(
                    config["JOBCTL_CONFIG"],
                    redis=config["JOBCTL_REDIS"],
                    namespace=config["JOBCTL_NAMESPACE"],
                    key_file=config["JOBCTL_KEY_FILE"],
                )
            client: Client = state["client"]
        return client

    def close(self, app: Flask) -> None:
        """Close the client of an application; it is made anew when it is asked for again."""
        state = app.extensions[NAME]
        with lock:
            client, state["client"] = state["client"], None
        if client is not None:
            client.close()

    def submit(self, job: object, /, *args: object, **kwargs: object) -> Run:
        """Submit a run; see :meth:`jobctl.Client.submit`."""
        return self.client.submit(job, *args, **kwargs)

    def accepted(self, run: Run) -> Response:
        """Answer 202 with the run's id and where its state is told."""
        return _response(web.accepted(run.id, run.job, url=_url(run.id)))

    def _status(self, run_id: str) -> Response:
        most = float(current_app.config["JOBCTL_MAX_WAIT"])
        seconds = web.wait_seconds(request.args.get("wait"), most=most)
        run, refusal = self._run(run_id, "read")
        if run is None:
            return refusal
        if seconds and not run.record.state.final:
            # How it ended is told by the record, whatever wait() raises.
            with contextlib.suppress(JobctlError):
                run.wait(seconds)
        record = run.record if run.record.state.final else run.refresh()
        return _response(web.status(record, url=_url(run_id), allow_pickle=web.reads_pickles(run)))

    def _revoke(self, run_id: str) -> Response:
        run, refusal = self._run(run_id, "revoke")
        if run is None:
            return refusal
        return _response(web.revoked(run_id, done=run.revoke(), url=_url(run_id)))

    def _run(self, run_id: str, action: str) -> tuple[Run | None, Response]:
        """Return the run when it may be dealt with, else the answer."""
        unknown = _response(web.unknown(run_id))
        if not web.is_run_id(run_id):
            return None, unknown
        run = Run(self.client, run_id, "")
        try:
            record = run.refresh()
        except NoSuchRun:
            return None, unknown
        if self._allow is not None and not self._allow(record, action):
            return None, _response(web.forbidden())
        return run, unknown


def with_app(factory: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give a job's function an application context: ``@job`` above ``@with_app("shop:create_app")``.

    ``factory`` is ``module:name`` of the application, or of a function that makes it; it is made once
    in each worker's interpreter, at the first call. Where there is an application already, as in
    eager mode within a request, that one is used. Raises ``ConfigError`` for a generator, and when
    there is no application of this name.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(
                f"with_app: {function.__qualname__} is a generator: calling it runs nothing;"
                " return a list, or write a function that goes through it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - what it returns
                with _context(factory):
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]  # a coroutine function for one

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            with _context(factory):
                return function(*args, **kwargs)

        return called

    return decorate


def _context(factory: str) -> contextlib.AbstractContextManager[object]:
    if current_app:
        return contextlib.nullcontext()
    return _application(factory).app_context()


_applications: dict[str, Flask] = {}


def _application(factory: str) -> Flask:
    found = _applications.get(factory)
    if found is None:
        with lock:
            found = _applications.get(factory)
            if found is None:
                found = _applications[factory] = _made(factory)
    return found


def _made(factory: str) -> Flask:
    module, _, name = factory.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    app = found if isinstance(found, Flask) or not callable(found) else found()
    if not isinstance(app, Flask):
        raise ConfigError(
            f"with_app({factory!r}): this is neither a Flask application nor makes one"
        )
    return app


def _on_error(error: JobctlError) -> Response:
    answer = web.refused(error)
    if answer.status >= 500 and not isinstance(error, TimedOutError):  # noqa: PLR2004 (the server's fault)
        log.error("%s %s: %s", request.method, request.path, error)
    return _response(answer)


def _url(run_id: str) -> str:
    return url_for(f"{NAME}.run", run_id=run_id)


def _response(answer: web.Answer) -> Response:
    return Response(answer.text, answer.status, answer.headers, "application/json")
