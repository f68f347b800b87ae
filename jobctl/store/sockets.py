"""Connecting to the store, for both executors; cheap to import.

Sockets are those of the C module ``_socket``: the public ``socket`` costs 6 ms more to import,
half of a bare interpreter's start, for conveniences that nothing here uses.
"""

from __future__ import annotations

import _socket
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.store.address import Address

LONGEST_UNIX_PATH = 107
"""Bytes; ``sockaddr_un.sun_path`` has 108 with the final zero."""

KEEPALIVE = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 20_000),
)
"""Half-open connections (a firewall that forgot us) end after 20 to 30 s without any traffic."""


def connect(address: Address, timeout: float) -> _socket.socket:
    """Return a connected socket with that timeout in seconds, TLS not begun; raises OSError."""
    if address.path:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            connect_unix(sock, address.path)
        except BaseException:
            sock.close()
            raise
        return sock
    failure: OSError = OSError(f"no address for {address.host}")
    for family, kind, protocol, _, place in resolve(address):
        sock = _socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout)
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            tune_tcp(sock)
            return sock
    raise failure


def resolve(address: Address) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    """Return what the resolver knows of the host; raises OSError."""
    try:
        return _socket.getaddrinfo(address.host, address.port, 0, _socket.SOCK_STREAM)  # type: ignore[return-value]
    except UnicodeError as error:
        raise OSError(f"{address.host!r} is not a host name") from error


def connect_unix(sock: _socket.socket, path: str) -> None:
    """Connect to a socket file, however long its path is; raises OSError."""
    _with_short_path(path, sock.connect)


def bind_unix(sock: _socket.socket, path: str) -> None:
    """Make a socket file, however long its path is; raises OSError."""
    _with_short_path(path, sock.bind)


def _with_short_path(path: str, use: Callable[[str], object]) -> None:
    if len(os.fsencode(path)) <= LONGEST_UNIX_PATH:
        use(path)
        return
    folder, _, name = path.rpartition("/")
    handle = os.open(folder or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{handle}/{name}")
    finally:
        os.close(handle)


def tune_tcp(sock: _socket.socket) -> None:
    """Send small requests at once and notice a dead peer."""
    sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        option = getattr(_socket, name, None)
        if option is not None:
            sock.setsockopt(_socket.IPPROTO_TCP, option, value)


def handshake(address: Address, name: str = "") -> list[tuple[str | int, ...]]:
    """Return the commands to send first; none for a plain unix socket."""
    commands: list[tuple[str | int, ...]] = []
    if address.password:
        user = (address.username,) if address.username else ()
        commands.append(("AUTH", *user, address.password))
    if address.db:
        commands.append(("SELECT", address.db))
    if name:
        commands.append(("CLIENT", "SETNAME", name))
    return commands
