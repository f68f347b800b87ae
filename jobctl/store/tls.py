"""TLS to the store; imported only for ``rediss://``, because ``ssl`` is dear to import."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from jobctl.errors import ConfigError

if TYPE_CHECKING:
    import _socket

    from jobctl.store.address import Address


def context(address: Address) -> ssl.SSLContext:
    """Return the context for ``address``; raises ConfigError for certificates it cannot read."""
    try:
        made = ssl.create_default_context(cafile=address.ca_certs or None)
        if address.certfile:
            made.load_cert_chain(address.certfile, address.keyfile or None)
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(filter(None, (address.ca_certs, address.certfile, address.keyfile)))
        raise ConfigError(f"{address}: cannot use {names}: {error}") from error
    if not address.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def wrap(raw: _socket.socket, address: Address) -> ssl.SSLSocket:
    """Return ``raw`` after the handshake, which takes its descriptor over; raises OSError."""
    timeout = raw.gettimeout()
    whole = socket.socket(raw.family, raw.type, raw.proto, fileno=raw.detach())
    try:
        whole.settimeout(timeout)
        return context(address).wrap_socket(whole, server_hostname=address.host)
    except BaseException:
        whole.close()
        raise
