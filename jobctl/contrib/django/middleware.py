"""Answers what the client raises in any view as JSON; optional."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobctl.contrib.django.views import refused
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

log = logging.getLogger(__name__)


class JobctlErrors:
    """Add ``"jobctl.contrib.django.middleware.JobctlErrors"`` to ``MIDDLEWARE`` of a JSON API."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer errors of jobctl, and leave all others alone."""
        if not isinstance(error, JobctlError):
            return None
        answer = refused(error)
        if answer.status_code >= 500:  # noqa: PLR2004 (the server's fault)
            log.error("%s %s: %s", request.method, request.path, error)
        return answer
