"""A mail server and a web server on the loopback, as good or as bad as a test wants them."""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import socket
import socketserver
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from email.message import EmailMessage

DEADLINE = 30.0


def wait_for(condition: Callable[[], Any], what: str = "", *, deadline: float = DEADLINE) -> Any:
    limit = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < limit, what or "the condition never came true"
        time.sleep(0.02)
    return value


@dataclass
class Mail:
    """One mail as the server got it."""

    sender: str
    to: list[str]
    data: bytes
    encrypted: bool = False
    user: str = ""

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.data, policy=email.policy.default)

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    @property
    def attachments(self) -> list[str]:
        return [
            str(part.get_content()).replace("\r\n", "\n")
            for part in self.message.iter_attachments()
        ]


class _MailSession(socketserver.StreamRequestHandler):
    server: _MailSocket

    def handle(self) -> None:
        world = self.server.world
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(lambda: self.connection.close())  # noqa: PLW0108 - it is wrapped later
            self._talk(world)

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")
        self.wfile.flush()

    def _talk(self, world: MailServer) -> None:
        world.sessions += 1
        if world.hangs.is_set():
            world.released.wait(DEADLINE)
            return
        self._sender, self._to, self._user, self._encrypted = "", [], "", False
        self._say("220 test")
        verbs = {
            "EHLO": self._hello, "HELO": self._hello, "STARTTLS": self._encrypt,
            "AUTH": self._log_in, "MAIL": self._from, "RCPT": self._rcpt, "DATA": self._data,
        }  # fmt: skip
        while line := self.rfile.readline():
            words = line.decode().strip()
            verb = words.split(" ")[0].upper()
            if verb == "QUIT":
                self._say("221 bye")
                return
            verbs.get(verb, lambda *_: self._say("250 ok"))(words, world)

    def _hello(self, _: str, world: MailServer) -> None:
        offers = ["250-test", "250-8BITMIME"]
        if world.tls is not None and not self._encrypted:
            offers.append("250-STARTTLS")
        if world.password:
            offers.append("250-AUTH PLAIN")
        self._say("\r\n".join([*offers, "250 HELP"]))

    def _encrypt(self, _: str, world: MailServer) -> None:
        self._say("220 go on")
        assert world.tls is not None
        self.connection = world.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self._encrypted = True

    def _log_in(self, words: str, world: MailServer) -> None:
        _, self._user, password = base64.b64decode(words.split()[2]).decode().split("\0")
        self._say("235 welcome" if password == world.password else "535 wrong password")

    def _from(self, words: str, _: MailServer) -> None:
        self._sender, self._to = words.partition("<")[2].partition(">")[0], []
        self._say("250 ok")

    def _rcpt(self, words: str, world: MailServer) -> None:
        who = words.partition("<")[2].partition(">")[0]
        answer = world.answers.get(who, world.answer)
        if answer.startswith("2"):
            self._to.append(who)
        self._say(answer)

    def _data(self, _: str, world: MailServer) -> None:
        self._say("354 go on")
        data = b""
        while (part := self.rfile.readline()) not in (b".\r\n", b""):
            data += part.removeprefix(b".") if part.startswith(b".") else part
        world.mails.append(Mail(self._sender, list(self._to), data, self._encrypted, self._user))
        self._say("250 taken")


class _MailSocket(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    world: MailServer


@dataclass
class MailServer:
    """Takes mails on a port of its own; use it with ``with``."""

    answer: str = "250 ok"
    """To ``RCPT TO``."""
    answers: dict[str, str] = field(default_factory=dict)
    """To ``RCPT TO`` of single addresses."""
    tls: ssl.SSLContext | None = None
    """Offers ``STARTTLS`` with it."""
    password: str = ""
    mails: list[Mail] = field(default_factory=list)
    sessions: int = 0
    port: int = 0
    hangs: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = _MailSocket(("127.0.0.1", self.port), _MailSession)
        self._server.world = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def wait(self, count: int = 1) -> list[Mail]:
        """Wait for so many mails."""
        wait_for(lambda: len(self.mails) >= count, f"{count} mails, there are {len(self.mails)}")
        return self.mails


@dataclass
class Call:
    """One request to the web server."""

    method: str
    path: str
    """Without the query."""
    query: str
    body: bytes
    headers: dict[str, str]


class _WebSession(BaseHTTPRequestHandler):
    server: _WebSocket

    def do_POST(self) -> None:
        world = self.server.world
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = Call(self.command, path, query, body, dict(self.headers.items()))
        world.tried.append(call)
        if world.hangs.is_set():
            world.released.wait(DEADLINE)
            return
        status = world.statuses.pop(0) if world.statuses else world.status
        if status == 200:
            # Before the answer: the next call may come as soon as that is there.
            world.calls.append(call)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", world.location)
        for name, value in world.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 (the name the base class wants)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _WebSocket(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    world: WebServer


@dataclass
class WebServer:
    """Takes calls on a port of its own; use it with ``with``."""

    status: int = 200
    statuses: list[int] = field(default_factory=list)
    """Of the first calls, before ``status``."""
    headers: dict[str, str] = field(default_factory=dict)
    location: str = ""
    tried: list[Call] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    """Those answered with 200."""
    port: int = 0
    hangs: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = _WebSocket(("127.0.0.1", self.port), _WebSession)
        self._server.world = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [call.path for call in self.calls]

    def wait(self, count: int = 1) -> list[Call]:
        wait_for(lambda: len(self.calls) >= count, f"{count} calls, there are {self.paths}")
        return self.calls


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
