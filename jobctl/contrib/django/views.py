"""The views of runs, and what answers with 202."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.views import View

from jobctl.api.client import Run
from jobctl.contrib import web
from jobctl.contrib.django.conf import Settings
from jobctl.contrib.django.submitting import client
from jobctl.errors import JobctlError, NoSuchRun

if TYPE_CHECKING:
    from typing import Any

NAME = "jobctl-run"
"""Of the route; ``reverse("jobctl-run", args=[run.id])`` is its path."""


def accepted(run: Run) -> HttpResponse:
    """Answer 202 with the run's id and where its state is told."""
    return _response(web.accepted(run.id, run.job, url=_url(run.id)))


def refused(error: JobctlError) -> HttpResponse:
    """Answer what the client raised: 422 for wrong arguments, 404, 503 while the store is away."""
    return _response(web.refused(error))


class RunView(View):
    """``GET`` tells how a run is, ``?wait=N`` when it has ended; ``DELETE`` revokes it if it may."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # noqa: ANN401 - as Django has it
        """Answer errors of jobctl as JSON."""
        try:
            return super().dispatch(request, *args, **kwargs)
        except JobctlError as error:
            return refused(error)

    def get(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """Tell how a run is."""
        chosen = Settings.read()
        seconds = web.wait_seconds(request.GET.get("wait"), most=chosen.MAX_WAIT)
        run, refusal = _run(request, run_id, "read", chosen)
        if run is None:
            return refusal
        if seconds and not run.record.state.final:
            # How it ended is told by the record, whatever wait() raises.
            with contextlib.suppress(JobctlError):
                run.wait(seconds)
        record = run.record if run.record.state.final else run.refresh()
        return _response(web.status(record, url=_url(run_id), allow_pickle=web.reads_pickles(run)))

    def delete(self, request: HttpRequest, run_id: str) -> HttpResponseBase:
        """Revoke a run."""
        chosen = Settings.read()
        if not chosen.REVOKE:
            return self.http_method_not_allowed(request)
        run, refusal = _run(request, run_id, "revoke", chosen)
        if run is None:
            return refusal
        return _response(web.revoked(run_id, done=run.revoke(), url=_url(run_id)))


def _run(
    request: HttpRequest, run_id: str, action: str, chosen: Settings
) -> tuple[Run | None, HttpResponse]:
    """Return the run when it may be dealt with, else the answer."""
    unknown = _response(web.unknown(run_id))
    if not web.is_run_id(run_id):
        return None, unknown
    run = Run(client(), run_id, "")
    try:
        record = run.refresh()
    except NoSuchRun:
        return None, unknown
    allow = chosen.allowed()
    if allow is not None and not allow(request, record, action):
        return None, _response(web.forbidden())
    return run, unknown


def _url(run_id: str) -> str:
    return reverse(NAME, args=[run_id])


def _response(answer: web.Answer) -> HttpResponse:
    headers = {"Content-Type": "application/json", **answer.headers}
    return HttpResponse(answer.text, status=answer.status, headers=headers)
