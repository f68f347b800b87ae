"""Calls to ping URLs, in the style of healthchecks: start, success, failure or exit code.

One call is one POST whose body is the end of the output. It blocks and is made in a thread.
"""

from __future__ import annotations

import socket
import threading
import uuid
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import jobctl
from jobctl.engine.delivery import DownError, RefusedError, UndeliveredError, quoted

if TYPE_CHECKING:
    from http.client import HTTPResponse

TIMEOUT = 10.0
"""Seconds for each step of a call: connecting, sending, each read."""
BODY_MOST = 10_000
"""Bytes of output that go along, unless the server says otherwise."""
LIMIT_HEADER = "Ping-Body-Limit"
LIMIT_MOST = 1_000_000
_NOT_NOW = frozenset((408, 425, 429))
_SPACE = uuid.UUID("6d0c3b0e-7c4e-5c1b-9d0a-0d6a2b5f3c11")
"""Of the ids that are made from run ids."""


class Limits:
    """How large a body each server takes, as it said last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: dict[str, int] = {}

    def of(self, place: str) -> int:
        """Return the most bytes for a server."""
        with self._lock:
            return self._limits.get(place, BODY_MOST)

    def learn(self, place: str, said: str | None) -> None:
        """Note what a server said in its header."""
        if said is not None and said.isascii() and said.isdigit():
            with self._lock:
                self._limits[place] = min(int(said), LIMIT_MOST)


def place_of(url: str) -> str:
    """Return the scheme, host and port that a URL names, without credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def ping_url(url: str, word: str, run: str) -> str:
    """Return the address of one call: ``word`` behind the path, the run's id as ``rid``."""
    parts = urlsplit(url)
    rid = f"rid={uuid.uuid5(_SPACE, run)}"
    query = f"{parts.query}&{rid}" if parts.query else rid
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + word, query, ""))


class _StayOnTheWeb(HTTPRedirectHandler):
    """Follows redirects to http and https only."""

    def redirect_request(
        self,
        req: Request,
        fp: Any,  # noqa: ANN401 (same)
        code: int,
        msg: str,
        headers: Any,  # noqa: ANN401 (same)
        newurl: str,
    ) -> Request | None:
        if not newurl.lower().startswith(("http://", "https://")):
            raise URLError(f"it redirects to {newurl[:40]!r}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def ping(url: str, body: bytes, limits: Limits) -> None:
    """Make one call; raises :class:`UndeliveredError`.

    Proxies are taken from the daemon's environment (``https_proxy``, ``no_proxy`` …). What the
    server answers beyond its status and the header is not read.
    """
    place = place_of(url)
    most = limits.of(place)
    request = Request(  # noqa: S310 (the schema lets only http and https through)
        url,
        data=body[-most:] if most else b"",
        headers={
            "User-Agent": f"jobctl/{jobctl.__version__}",
            "Content-Type": "text/plain; charset=utf-8",
        },
        method="POST",
    )
    try:
        response: HTTPResponse
        with build_opener(_StayOnTheWeb).open(request, timeout=TIMEOUT) as response:
            limits.learn(place, response.headers.get(LIMIT_HEADER))
    except HTTPError as error:
        said = f"{place} answered {error.code} {quoted(error.reason)}"
        error.close()
        if 400 <= error.code < 500 and error.code not in _NOT_NOW:  # noqa: PLR2004 (client errors)
            raise RefusedError(f"{said}; look at ping_url") from None
        raise UndeliveredError(said) from None
    except URLError as error:
        raise DownError(f"{place} cannot be called: {quoted(error.reason)}") from None
    except (OSError, HTTPException, ValueError) as error:
        why = "no answer in time" if isinstance(error, socket.timeout) else quoted(error)
        raise DownError(f"{place} cannot be called: {why}") from None
