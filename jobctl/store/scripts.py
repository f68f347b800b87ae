"""The Lua scripts in ``store/lua``, read when first used, or all at once by who lives long.

The first line of a file is its shebang (``#!lua`` or ``#!lua flags=allow-oom``); a line
``--#include common`` is replaced by the text of ``common.lua``, a part without a shebang, which may
include other parts. A script that seldom needs some of those says so in a line ``--#later slots moves``:
then it includes them itself, inside of a function that it calls when it needs them. To make the
functions of all parts takes the server longer than most calls take to do their work.
A script's SHA-1 is its version: programs of different versions can share a server.
"""

from __future__ import annotations

SHEBANG = b"#!lua"
INCLUDE = b"--#include "
LATER = b"--#later "
_FOLDER = __file__.rpartition("/")[0] + "/lua/"
_loaded: dict[str, Script] = {}


class Script:
    """One script: its name, its whole source and the name the server knows it by."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, source: bytes) -> None:
        self.name = name
        self.source = source
        self.sha = _sha1(source)

    def __repr__(self) -> str:
        return f"Script({self.name}, {self.sha})"


def script(name: str) -> Script:
    """Return the script in ``lua/<name>.lua``; raises :class:`FileNotFoundError`."""
    found = _loaded.get(name)
    if found is None:
        found = _loaded[name] = Script(name, _assemble(name))
    return found


def load_all() -> None:
    """Read every script now.

    Whoever lives longer than a command does so: an upgrade replaces the files under a program that
    runs, and parts of two versions do not make a script.
    """
    for name in names():
        script(name)


def names() -> tuple[str, ...]:
    """Return the names of all scripts, in order; parts of others are none."""
    from pathlib import Path  # noqa: PLC0415  # seldom asked

    found = sorted(file.stem for file in Path(_FOLDER).glob("*.lua"))
    return tuple(name for name in found if _read(name).startswith(SHEBANG))


def _assemble(name: str) -> bytes:
    text = _read(name)
    if not text.startswith(SHEBANG):
        raise ValueError(f"{name}.lua does not begin with the line #!lua")
    lines = text.splitlines(keepends=True)
    later = {word for line in lines if line.startswith(LATER) for word in line.split()[1:]}
    return b"".join(_whole(line, later) for line in lines)


def _whole(line: bytes, later: set[bytes]) -> bytes:
    """Return what stands for a line of a script; parts of its parts are left out if ``later``."""
    if not line.startswith(INCLUDE):
        return line
    part = _read(line.removeprefix(INCLUDE).strip().decode())
    inner = part.splitlines(keepends=True)
    kept = [one for one in inner if one.removeprefix(INCLUDE).strip() not in later]
    return b"".join(_whole(one, later) for one in kept).rstrip() + b"\n"


def _read(name: str) -> bytes:
    # importlib.resources costs more than everything else a submit imports.
    with open(f"{_FOLDER}{name}.lua", "rb") as file:  # noqa: PTH123
        return file.read()


def _sha1(data: bytes) -> str:
    try:
        # hashlib loads all of OpenSSL: 3 ms
        from _sha1 import sha1  # type: ignore[import-not-found]  # noqa: PLC0415
    except ImportError:
        from hashlib import sha1  # noqa: PLC0415
    return str(sha1(data).hexdigest())  # noqa: S324  # the server's own name for a script
