"""Servers in all sorts of trouble, and a proxy that makes some."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from store_world import World

from jobctl.store import scripts
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.failures import StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jobctl.store.embedded import EmbeddedStore

ECHO = b"#!lua\nreturn {KEYS[1], ARGV[1]}\n"


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Call[object]]:
    """Makes calls of a script that answers with its argument."""
    monkeypatch.setitem(scripts._loaded, "echo", scripts.Script("echo", ECHO))

    def call(word: object) -> Call[object]:
        return Call(("jc:{t}:", str(word)), lambda reply: reply[1].decode(), "echo")

    return call


@pytest.fixture
def raw_server(server_binary: Path, short_dir: Path) -> Iterator[Callable[..., Address]]:
    """Starts a server with the given options on a socket of its own and returns its address."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*options: str, wait: bool = True, name: str = "s") -> Address:
        path = str(short_dir / name)
        command = [server_binary, "--port", "0", "--unixsocket", path, "--save", "", *options]
        with (short_dir / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=short_dir, stdout=log, stderr=log)
        running.append(process)
        deadline = threading.Event()
        for _ in range(1000):
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(path)
                break
            assert process.poll() is None, (short_dir / "log").read_text()
            deadline.wait(0.005)
        if wait:
            with BlockingStore(Address(path=path)) as store, contextlib.suppress(StoreBusyError):
                store.try_many([Call(("PING",), bool)])
        return Address(path=path)

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def free_port() -> int:
    """A TCP port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """Stands between a client on loopback and a server on a unix socket."""

    def __init__(self, target: str, context: ssl.SSLContext | None = None) -> None:
        self.mode = "pass"
        """``pass``; ``eat``: answers vanish; ``cut``: the connection ends instead of an answer."""
        self.connections = 0
        self._target = target
        self._context = context
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.address = Address(host="127.0.0.1", port=self.port)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.connections += 1
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as upstream:
            if self._context is not None:
                try:
                    client = self._context.wrap_socket(client, server_side=True)
                except OSError:
                    client.close()
                    return
            self._open += [client, upstream]
            upstream.connect(self._target)
            back = threading.Thread(target=self._answers, args=(upstream, client), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(65536):
                    upstream.sendall(data)
            upstream.shutdown(socket.SHUT_RDWR)
            back.join(5)
            client.close()

    def _answers(self, upstream: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := upstream.recv(65536):
                if self.mode == "pass":
                    client.sendall(data)
                elif self.mode == "cut":
                    break
            client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(server: EmbeddedStore) -> Iterator[Proxy]:
    """A proxy in front of the session's server."""
    made = Proxy(server.address.path)
    yield made
    made.close()


@pytest.fixture
def tls_proxy(server: EmbeddedStore, certificates: Path) -> Iterator[Proxy]:
    """A proxy that speaks TLS as localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    made = Proxy(server.address.path, context)
    yield made
    made.close()


@pytest.fixture
def world(store: BlockingStore) -> Iterator[World]:
    """An empty namespace; at the end it must be free of contradictions."""
    world = World(store)
    yield world
    world.check()
    assert world.raw("LRANGE", world.keys.prefix + "bad", 0, -1) == []


@pytest.fixture
def broken_world(store: BlockingStore) -> World:
    """An empty namespace for tests that damage it."""
    return World(store)
