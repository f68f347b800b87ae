"""Results as their readers get them, whatever form the job asked for.

Most are plain JSON. Others are wrapped in it as ``{"$jobctl": FORM, "data": BASE64}``; FORM is
``json``, ``msgpack`` or ``pickle``, with ``+zlib`` or ``+zstd`` behind it when it is compressed.
"""

from __future__ import annotations

import json

from jobctl.errors import JobctlError, NotPermittedError, shown_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MARK = "$jobctl"
LARGEST = 256 * 1024 * 1024
"""Bytes that a compressed result may grow to."""


@shown_as("ResultUnreadable")
class UnreadableError(JobctlError):
    """Raised when a result cannot be read here; the message says what is missing."""


def read_result(text: str | None, *, allow_pickle: bool = False) -> object:
    """Return what a job returned.

    Plain results are made of the types of JSON, msgpack adds ``bytes``, and pickle brings back the
    very classes. ``None`` when there is no result. Raises ``NotPermittedError`` for a pickle
    without ``allow_pickle``, and ``UnreadableError`` for what cannot be read.
    """
    if text is None:
        return None
    value = _loads(text)
    if not is_wrapped(text) or not isinstance(value, dict) or value.keys() != {MARK, "data"}:
        return value
    form = str(value[MARK])
    name, _, compression = form.partition("+")
    if name == "pickle" and not allow_pickle:
        raise NotPermittedError(
            "the result is a pickle, and reading one runs whatever code it names; if you trust"
            " everybody who can write into the store, set allow_pickle = true in [jobctl]"
        )
    try:
        return _READERS[name](_OPENERS[compression](_unwrapped(value["data"])))
    except KeyError:
        raise UnreadableError(
            f"the result has the form {form!r}, which this jobctl does not know; upgrade it"
        ) from None
    except ImportError as error:
        raise UnreadableError(
            f"the result has the form {form!r}, and this Python has no module {error.name};"
            " install it where jobctl runs"
        ) from error
    except Exception as error:
        raise UnreadableError(
            f"the result of the form {form!r} cannot be read: {error}; is it complete?"
        ) from error


def is_wrapped(text: str) -> bool:
    """Return whether a result is in another form than plain JSON."""
    return text.startswith('{"' + MARK + '"')


def result_for_view(text: str | None, *, allow_pickle: bool = False) -> object:
    """Return a result as types of JSON; what cannot be read here stays wrapped."""
    if text is None:
        return None
    try:
        return (
            as_json(read_result(text, allow_pickle=allow_pickle))
            if is_wrapped(text)
            else _loads(text)
        )
    except JobctlError:
        pass
    try:
        return _loads(text)
    except JobctlError:
        return text


def as_json(value: object) -> Any:  # noqa: ANN401 - any type of JSON
    """Return ``value`` as types of JSON; what has none there becomes text.

    Raises ``UnreadableError`` for what holds itself, or is nested too deeply.
    """
    try:
        try:
            text = json.dumps(value, default=_plain, ensure_ascii=False)
        except TypeError:  # a key is no text
            text = json.dumps(_with_text_keys(value), default=_plain, ensure_ascii=False)
        return json.loads(text, parse_constant=str)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(
            f"the result cannot be shown as JSON: {error}; read it in Python, with jobctl.Client"
        ) from error


def _with_text_keys(value: object) -> object:
    if isinstance(value, dict):
        return {_as_key(key): _with_text_keys(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_with_text_keys(inner) for inner in value]
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return _with_text_keys(_plain(value))
    return value


def _as_key(key: object) -> object:
    if key is None or isinstance(key, str | int | float):
        return key
    shown = as_json(key)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def _loads(text: str) -> object:
    """Return stored JSON as data; what is not JSON stays text."""
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text
    except RecursionError:
        raise UnreadableError(
            "the result is nested too deeply for this Python to read;"
            " let the job return a flatter value, or store it and return its name"
        ) from None


def _unwrapped(text: object) -> bytes:
    import binascii  # noqa: PLC0415 (as below: most results are not wrapped)

    return binascii.a2b_base64(str(text))


def _inflate(data: bytes) -> bytes:
    import zlib  # noqa: PLC0415

    stream = zlib.decompressobj()
    found = stream.decompress(data, LARGEST)
    if not stream.eof:
        raise ValueError(f"it is cut, or larger than {LARGEST} bytes")
    return found


def _unzstd(data: bytes) -> bytes:
    from importlib import import_module  # noqa: PLC0415

    try:
        stream = import_module("compression.zstd").ZstdDecompressor()
    except ImportError:
        stream = import_module("zstandard").ZstdDecompressor()
        return bytes(stream.decompress(data, max_output_size=LARGEST))
    found = bytes(stream.decompress(data, LARGEST))
    if not stream.eof:
        raise ValueError(f"it is cut, or larger than {LARGEST} bytes")
    return found


def _unpack(data: bytes) -> object:
    from importlib import import_module  # noqa: PLC0415

    found: object = import_module("msgpack").unpackb(data, strict_map_key=False)
    return found


def _unpickle(data: bytes) -> object:
    import pickle  # noqa: PLC0415

    return pickle.loads(data)  # noqa: S301 - the reader has allowed it


_OPENERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "zlib": _inflate,
    "zstd": _unzstd,
}
_READERS: dict[str, Callable[[bytes], object]] = {
    "json": json.loads,
    "msgpack": _unpack,
    "pickle": _unpickle,
}


def _plain(value: Any) -> object:  # noqa: ANN401 - it may be of any class
    if isinstance(value, bytes | bytearray | memoryview):
        import binascii  # noqa: PLC0415

        return binascii.b2a_base64(value, newline=False).decode()
    if isinstance(value, set | frozenset):
        return list(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    return str(value)
