"""Keeps TLS out of the processes of a daemon until an address asks for it.

``asyncio`` imports ``ssl`` though it can do without: 1.3 MB in each process that few ever use. The
first thing that such a process imports is :func:`import_asyncio`; :func:`give_back` is called
before the first connection with TLS. Nothing else is in the way of ``import ssl``. Programs of
others that import jobctl keep the ``asyncio`` they know: only entry points call this.
"""

from __future__ import annotations

import sys


def import_asyncio() -> None:
    """Import ``asyncio`` without ``ssl``, unless one of them is there already."""
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]  # so its import fails, as without OpenSSL
    try:
        import asyncio  # noqa: F401, PLC0415
    finally:
        del sys.modules["ssl"]


def give_back() -> None:
    """Let ``asyncio`` speak TLS from now on; raises ImportError where Python cannot."""
    import ssl  # noqa: PLC0415
    from asyncio import sslproto  # noqa: PLC0415

    if getattr(sslproto, "ssl", ssl) is not None:
        return
    from importlib import reload  # noqa: PLC0415

    reload(sslproto)  # what it defines depends on ssl
    for name, module in list(sys.modules.items()):
        if name.startswith("asyncio.") and getattr(module, "ssl", ssl) is None:
            module.ssl = ssl  # type: ignore[attr-defined]
