"""The far side of a template: a clean interpreter that forks warm children from itself.

It has imported what its pool's ``preload`` names and does nothing else, so its children start in a
few milliseconds and share its memory until they write to it. It has one thread, or it refuses:
a fork of a process with several may take a lock that nobody will release.

Like :mod:`jobctl.engine.python_child`, which loads it by its path, it runs in any CPython from 3.9
on and uses the standard library only. :mod:`jobctl.engine.template_host` starts it, and describes
the wire.
"""

from __future__ import annotations

import _socket
import gc
import json
import os
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any, NoReturn
else:
    import _signal

REQUEST_BYTES = 1 << 18
READOPTION_PAUSE = 0.0001
"""Seconds between two looks whether the kernel has given a new child to the pool."""


def serve(child: Any, fd: int, options: dict[str, Any]) -> None:
    """Import what is to be shared, then fork a child for each request until the host is gone.

    ``child`` is the module of the children. Whatever an import raises is left through.
    """
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_IGN)  # they go to whole groups, and the pool decides
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    open_stream = child.beside("python_streams").open_stream
    child.PREPARED["streams"] = [open_stream(number, encoding) for number in (0, 1, 2)]
    child.beside("python_signals").watch()
    modules = unsure = None
    if options["preload"]:
        modules = child.Modules()
        modules.stale({"cwd": None, "env": os.environ})
        for name in options["preload"]:
            child.say(f"preload = {name} begins")
            try:
                __import__(name)
            except BaseException:
                child.say(f"preload = {name} failed:")
                raise
        unsure = modules._scan()
    # Most children need them: once for all is cheaper than each.
    for name in ("environ", "lent", "limits", "meter", "bundle"):
        child.beside("python_" + name)
    child.PREPARED["seen"] = set(sys.modules)
    gc.collect()
    gc.freeze()  # or each child's collector would write to, and so copy, every object
    version = ".".join(map(str, sys.version_info[:3]))
    control.sendmsg([json.dumps({"python": version, "threads": _threads()}).encode()])
    while _serve_one(child, control, modules, unsure):
        pass


def _serve_one(child: Any, control: _socket.socket, modules: Any, unsure: str | None) -> bool:
    """Fork a child as the next message asks; returns False when there is none.

    ``unsure``: why it may have imported something else than the files say now.
    """
    data, extra, _, _ = control.recvmsg(REQUEST_BYTES, 256, child.CLOSE_ON_EXEC)
    if not data:
        return False
    descriptors: list[int] = []
    for _, _, raw in extra:
        descriptors += struct.unpack(f"{len(raw) // 4}i", raw)
    sock, output = descriptors
    request = json.loads(data)
    # As bytes, and here: each page that a child touches is copied for it alone.
    request["env"] = child.beside("python_environ").encoded(request["env"])
    try:
        stale = unsure or (modules and modules._scan())
        if stale is not None:
            os.write(sock, f"stale {stale}\n".encode())
        else:
            _fork(child, request, sock=sock, output=output, control=control, modules=modules)
    except OSError as error:
        os.write(sock, f"failed {error.errno} {error.strerror}\n".encode())
    os.close(sock)
    os.close(output)
    return True


def _fork(
    child: Any,
    request: dict[str, Any],
    *,
    sock: int,
    output: int,
    control: _socket.socket,
    modules: Any,
) -> None:
    """Fork twice, so that the child falls to the pool: that is the nearest that adopts orphans."""
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return
    try:
        parent = os.getpid()
        if os.fork():
            os._exit(0)
    except OSError as error:
        os.write(sock, f"failed {error.errno} {error.strerror}\n".encode())
        os._exit(0)
    try:
        control.close()
        while os.getppid() == parent:
            time.sleep(READOPTION_PAUSE)
        _become(child, request, sock=sock, output=output, modules=modules)
    except BaseException:  # noqa: BLE001 - nothing may unwind into the template's own loop
        sys.__excepthook__(*sys.exc_info())
        os._exit(70)


def _become(
    child: Any, request: dict[str, Any], *, sock: int, output: int, modules: Any
) -> NoReturn:
    """Tell the pool who this is, wait until it watches, and be a child from then on."""
    os.write(sock, b"pid %d\n" % os.getpid())
    if os.read(sock, 1) != b"g":
        os._exit(0)
    os.setsid()
    os.write(sock, b"s")
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_DFL)
    if request["umask"] is not None:
        os.umask(request["umask"])
    if request["cwd"] is not None:
        try:
            os.chdir(request["cwd"])
        except OSError as error:
            child.say(f"working directory {request['cwd']}: {error.strerror}")
            os._exit(70)
    os.environ = environ = child.ENVIRON
    child.beside("python_environ").replace(environ._data, request["env"])
    child.main(sock, request["options"], modules)
    # The rest of an interpreter's orderly end: this one began as a copy, in the midst of a loop.
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        child._flush_stream(stream)
    os._exit(0)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        threading = sys.modules.get("threading")
        return 1 if threading is None else threading.active_count()
