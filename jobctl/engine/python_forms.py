"""Forms of a result other than plain JSON. Loaded by a child whose job asks for one.

A result in such a form is the JSON object ``{"$jobctl": FORM, "data": BASE64}``, FORM being
``json``, ``msgpack`` or ``pickle``, and ``+zlib`` or ``+zstd`` behind it when it is compressed, so
that whatever carries results carries these. :mod:`jobctl.client.results` reads them.

Standard library of CPython 3.9 on only, but for what the job asks for.
"""

from __future__ import annotations

import binascii
import importlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WORTH = 1024
"""Bytes from which on a result is compressed."""
LARGEST = 256 * 1024 * 1024
"""Bytes that readers let a compressed result grow to."""


def wrap(form: str, data: bytes) -> bytes:
    """Return a result in ``form`` as the JSON object that carries it."""
    text = binascii.b2a_base64(data, newline=False)
    return b'{"$jobctl":"%s","data":"%s"}' % (form.encode(), text)


class Form:
    """How the results of a job are written; made before its function runs."""

    def __init__(self, wish: dict[str, str]) -> None:
        """``wish`` has ``format`` and ``compression``; raises TargetError for what is missing."""
        self._child: Any = sys.modules["_jobctl_child"]
        self.name = wish.get("format", "json")
        self._pack = getattr(self, "_packer_of_" + self.name)()
        self._compression = wish.get("compression")
        self._compress = self._compressor() if self._compression else None

    def encode(self, value: object) -> bytes:
        """Return ``value`` in this form; raises whatever its parts raise."""
        data: bytes = self._pack(value)
        if self._compress is not None and len(data) >= WORTH:
            if len(data) > LARGEST:
                raise ValueError(
                    f"it is larger than {LARGEST >> 20} MiB before it is compressed,"
                    " which readers refuse to open"
                )
            small = self._compress(data)
            if self.name != "json" or len(small) * 4 // 3 < len(data):
                return wrap(f"{self.name}+{self._compression}", small)
        if self.name == "json" and data[: len(self._child.MARK)] != self._child.MARK:
            return data
        return wrap(self.name, data)

    def _packer_of_json(self) -> Callable[[object], bytes]:
        return self._child.encode_bytes  # type: ignore[no-any-return]

    def _packer_of_msgpack(self) -> Callable[[object], bytes]:
        msgpack, plain = self._need("msgpack", "result_format"), self._child.plain
        check = self._child.beside("python_readback").check_msgpack

        def other(value: object) -> object:
            if isinstance(value, int):
                raise OverflowError(
                    "it holds a whole number beyond 64 bits, which can be returned as text"
                )
            return plain(value)

        def pack(value: object) -> bytes:
            data: bytes = msgpack.packb(value, default=other)
            check(data, msgpack.unpackb)
            return data

        return pack

    def _packer_of_pickle(self) -> Callable[[object], bytes]:
        import pickle

        check = self._child.beside("python_readback").check_pickle

        def pack(value: object) -> bytes:
            data = pickle.dumps(value, 4)  # what every Python from 3.8 on reads
            check(data)
            return data

        return pack

    def _compressor(self) -> Any:
        if self._compression == "zlib":
            return importlib.import_module("zlib").compress
        try:
            return importlib.import_module("compression.zstd").compress
        except ImportError:
            return self._need("zstandard", "result_compression").compress

    def _need(self, package: str, key: str) -> Any:
        try:
            return importlib.import_module(package)
        except ImportError:
            raise self._child.TargetError(
                f"{key} needs the package {package}, which {sys.executable} does not have;"
                f" install it there, or leave out {key}"
            ) from None
