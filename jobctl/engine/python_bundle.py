"""Runs that came to a Python child together: one after the other, each as if it were alone.

A run begins only with a token, which the host may take back. What it answers is in a file that the
host shares before the next one begins, so that no neighbour's crash loses it. See ``tally.py``.

Loaded by :mod:`jobctl.engine.python_child` when its first bundle is announced; standard library of
CPython 3.9 on only. A run that does nothing takes less than 20 microseconds here, so each step is
as short as it can be: what runs of one shape share is prepared once, and what a job may have changed
is looked at before it is put back.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import json
import mmap
import os
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any

    Row = tuple[int, str, int, int, "list[Any] | None", str]
    """Number of the shape, run id, attempt, epoch, what is its own alone, arguments as JSON."""
else:
    import _signal

MODULE: Any = sys.modules.get("_jobctl_child")
"""The module of the child that loads this."""
NEWS_EVERY = 5_000_000
"""Nanoseconds after which the host is told of answers of a bundle that goes on."""
LONELY = 20_000_000
"""Nanoseconds; after a run that took longer a bundle goes on only if there is still a host.

The pool that follows a dead one relies on it, see ``tally.py``.
"""
ANSWER = b"[%d,%de-6,%de-9,%de-6,%de-6,%d,%d,%d,%d,%b,%b,%b]\n"
"""Place in the bundle, start, duration, CPU of user and system, peak of memory, blocks read and
written, size of the log, whether there are files, result and more. Seconds are whole numbers of
their parts, which are written in a third of the time that others take."""
PLAIN = b"[%d,%de-6,%de-9,%de-6,%de-6,%b"
"""As that, of a run with no output and nothing to say: see ``Meter.usual``."""
TOKEN_WITHIN = 20
"""Milliseconds that a token may be behind its run; a pool that is held up longer has it back."""
ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class Shape:
    """What several runs have in common, prepared once."""

    __slots__ = ("cwd", "environ", "exchange", "folder", "limits", "logs", "mark", "said", "target")

    def __init__(self, said: dict[str, Any], home: str) -> None:
        encoded = MODULE.beside("python_environ").encoded
        self.said = said
        self.target: str = said["target"]
        self.cwd: str = said["cwd"] or home
        self.limits: dict[str, Any] | None = said["limits"]
        self.logs: str = said["logs"]
        self.environ = encoded(said["env"])
        self.exchange = os.fsencode(said["exchange"]) + b"."
        self.folder = os.path.dirname(self.exchange)
        """Where the files of its runs are."""
        self.mark = os.fsencode(said["mark"]) + b"."


class Bundles:
    """The bundles of one child."""

    HEADER = struct.Struct("<IIdQ")
    """Runs begun, runs answered, start of the last, end of the answers."""
    HEADER_AT = 8
    ANSWERS_AT = 4096

    def __init__(self, child: Any, tokens: int, meta: dict[str, Any]) -> None:
        self.child = child
        self.surroundings = child.surroundings
        self.limits = child.limits
        self.tokens = tokens
        self.spool: str = meta["spool"]
        self.answers = os.open(meta["tally"], os.O_RDWR | os.O_CLOEXEC)
        self.room = os.fstat(self.answers).st_size
        """Bytes of the file that the disk surely has; all of them are in ``page``."""
        self.page = mmap.mmap(self.answers, self.room)
        self.shapes: dict[int, Shape] = {}
        self.environ = MODULE.beside("python_environ").Environ(child.surroundings.environ)
        meter = MODULE.beside("python_meter")
        self.meter = meter.Meter(child)
        self.files = meter.Files()
        self.folders: dict[str, int] = {}
        """Descriptors of the directories that runs of the bundle begin in, if there are several."""
        self.several = False
        self.set_handler: Any = MODULE.set_handler
        self.signs = MODULE.SIGNS
        lent = MODULE.beside("python_lent")
        self.c_output: Any = lent.NOTHING if lent.SYSTEM is None else lent.SYSTEM.stdout
        """Words 4 and 5 differ when C keeps output back."""
        self.flush_c: Any = lent.Lent.flush
        self.entered: tuple[Shape, Row, bytes] | None = None
        """Whose environment is in force."""
        self.poll: Any = None
        """What waits for the token of a lone run, once there was one to wait for."""
        self.log = -1
        self.shown: str | None = None
        """Where the output of the last run belongs, if there is any."""
        self.last: tuple[Any, ...] | None = None
        """The last run of the bundle, its duration, usage, reply and result."""
        self.end = self.ANSWERS_AT

    def run(self, meta: dict[str, Any]) -> None:
        """Run what has come, as far as there are tokens, and tell the host of the end."""
        child = self.child
        for number, said in meta["shapes"]:
            self.shapes[number] = Shape(said, self.surroundings.home)
        self.end = self.ANSWERS_AT
        self.last = None
        news: dict[str, Any] = {"bundle": meta["bundle"], "end": True}
        said, alone = self.shapes[meta["runs"][0][0]].said, len(meta["runs"]) == 1
        stale = child.retired or child.modules.stale(said, alone=alone)
        if stale is not None:
            child.send(MODULE.NEWS, {**news, "stale": stale})
            return
        try:
            self._open_log()
        except OSError as error:
            child.send(
                MODULE.NEWS,
                {**news, "stale": f"the log {error.filename} cannot be opened: {error.strerror}"},
            )
            return
        try:
            self._run_each(meta)
        finally:
            os.close(self.log)
            self.log = -1
            self._close_folders()
        child.retired = child.retired or self._left() or self.limits.changed()
        os.dup2(self.surroundings.null, 1)  # all else was put back after the last run
        os.dup2(self.surroundings.null, 2)
        self.surroundings.env_raw = None  # it is not what a call that comes alone left behind
        try:
            child.send(MODULE.NEWS, {**news, "retired": child.retired, "rss": child.resident()})
        except OSError:
            self._leave()
            raise

    def get_ready(self) -> None:
        """Do beforehand what the next bundle needs: the host still looks at what has come for it.

        The environment of the last run is made once more. Nothing changes by that, but what it takes
        to make the next is in the caches of the processor then, which it leaves in milliseconds. No
        file is opened: the slot may run something else first, which gives them other names.
        """
        self.child.modules.look()
        if self.entered is not None:
            self.environ.enter(*self.entered)

    def close(self) -> None:
        """Leave nothing of ours to what the C library does at the end of the process."""
        self.environ.close()

    def _run_each(self, meta: dict[str, Any]) -> None:
        """Run what may begin."""
        child, seq, rows = self.child, meta["seq"], meta["runs"]
        self.meter.begin()
        self.files.begin()
        told = ended = time.monotonic_ns()
        self.shown = None
        self.several = len(rows) > 1
        for index, row in enumerate(rows):
            try:
                if child.retired or not os.read(self.tokens, 8):
                    return
            except BlockingIOError:
                if len(rows) > 1 or not self._token_comes():
                    return
            if self.shown is not None and not self._put_away(self.shown):
                return  # the host sees that this run has not begun, and calls it alone
            if self.shown is None and self.meter.had_children and not self._begin_anew():
                return
            before, ended = ended, self._run_one(index, seq + index, row)
            if ended - before > LONELY and not self._has_host():
                return
            if ended - told > NEWS_EVERY and index + 1 < len(rows):
                told = ended
                child.send(MODULE.NEWS, {"bundle": meta["bundle"], "end": False})

    def _token_comes(self) -> bool:
        """Return whether the token of a lone run came after all: it may be a little behind it."""
        if self.poll is None:
            import select

            self.poll = select.poll()
            self.poll.register(self.tokens, select.POLLIN)
        try:
            return bool(self.poll.poll(TOKEN_WITHIN) and os.read(self.tokens, 8))
        except BlockingIOError:
            return False

    def _run_one(self, index: int, seq: int, row: Row) -> int:
        """Run one call to the end of its function, write what came of it, return when it ended."""
        child, shape, meter = self.child, self.shapes[row[0]], self.meter
        _, name, attempt, epoch, more, arguments = row
        since_1970, began = time.time_ns() // 1000, time.monotonic_ns()
        self.HEADER.pack_into(self.page, self.HEADER_AT, index + 1, index, began / 1e9, self.end)
        files = shape.exchange + f"{name}.{attempt}".encode()
        run = MODULE.Running(
            child,
            shape.said,
            shape.limits if more is None or more[1] is None else more[1],
            (seq, name, attempt, epoch, more),
            since_1970 / 1e6,
        )
        reply: dict[str, Any] = {}
        result = b""
        try:
            self._enter(shape, row, files)
        except (OSError, ValueError) as error:
            reply.update(reason="spawn", error=f"{error}"[: MODULE.MAX_ERROR])
            MODULE.say(f"not started: {error}")
        else:
            result = child.run_in_context(run, arguments, reply)
        quiet = meter.quiet()
        if not quiet and os.getpid() != child.pid:
            child.end_of_copy(reply)
        left = self._restore(quiet=quiet)
        if left:
            child.retired = left
        ended = time.monotonic_ns()
        log = os.lseek(self.log, 0, os.SEEK_END)
        self.shown = f"{shape.logs}/{name}.{attempt}.log" if log else None
        usage = meter.used(ended - began, quiet=quiet and not log)
        self.last = run, ended - began, usage, reply, result
        user, system, peak, read, wrote = usage
        made = self.files.made(shape.folder, files, began)
        if quiet and not (log or made or result or reply):
            answer = PLAIN % (index, since_1970, ended - began, user, system, meter.usual)
        else:
            answer = ANSWER % (
                index, since_1970, ended - began, user, system, peak, read, wrote, log,
                b"true" if made else b"false",
                ENCODE(result.decode()).encode() if result else b"null",
                ENCODE(reply).encode() if reply else b"null",
            )  # fmt: skip
        self._write(answer)
        self.HEADER.pack_into(
            self.page, self.HEADER_AT, index + 1, index + 1, began / 1e9, self.end
        )
        return ended

    def _enter(self, shape: Shape, row: Row, files: bytes) -> None:
        """Make everything as a run wants it; raises OSError or ValueError where that fails."""
        os.dup2(self.log, 1)
        os.dup2(self.log, 2)
        folder = self.folders.get(shape.cwd)
        if folder is not None:
            os.fchdir(folder)  # without the way to it, which is most of the cost
        else:
            os.chdir(shape.cwd)
            if self.several:
                self.folders[shape.cwd] = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.entered = shape, row, files
        self.environ.enter(shape, row, files)
        sys.argv = [shape.target]
        self.set_handler(_signal.SIGINT, _signal.default_int_handler)

    def _restore(self, *, quiet: bool) -> str | None:
        """Put back what a job may have changed; returns why no other must follow, or None.

        ``quiet``: whether it can have started no process.
        """
        surroundings, problem = self.surroundings, None
        self.set_handler(_signal.SIGINT, _signal.SIG_IGN)
        if self.c_output[4] != self.c_output[5]:
            self.flush_c()
        if self.signs.seen or not self._untouched():
            problem = surroundings.restore()
            if self.limits.suspect:
                problem = problem or self.limits.changed()
        os.umask(surroundings.umask)
        if not os.get_blocking(self.log):
            os.set_blocking(self.log, True)
        if not quiet:
            problem = problem or self._left()
        if _thread._count():
            problem = problem or surroundings.threads.left(surroundings.streams)
        return problem

    def _left(self) -> str | None:
        return "it left processes running" if self.meter.processes_left() else None

    def _untouched(self) -> bool:
        """Write out what is buffered; returns whether the streams are as they shall be."""
        source, out, err = self.surroundings.streams
        if sys.stdout is not out or sys.stderr is not err or sys.stdin is not source:
            return False
        module: Any = sys
        if module.__stdout__ is not out or module.__stderr__ is not err:
            return False
        if module.__stdin__ is not source:
            return False
        try:
            logging = sys.modules.get("logging")
            if logging is not None:
                for handler in logging._handlerList:
                    handler().flush()
            out.flush()
            err.flush()
        except Exception:  # noqa: BLE001 - what it was shows when it happens again
            return False
        return not source.closed and self.surroundings.no_input()

    def _write(self, data: bytes) -> None:
        end = self.end + len(data)
        if end <= self.room:
            self.page[self.end : end] = data
            self.end = end
            return
        view = memoryview(data)
        while view:
            done = os.pwrite(self.answers, view, self.end)
            self.end += done
            view = view[done:]

    def _has_host(self) -> bool:
        try:
            return bool(self.child.socket.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _open_log(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self.log = os.open(self.spool, flags, 0o640)

    def _put_away(self, target: str) -> bool:
        """Give the output of a run its lasting name, and begin a new file for the next.

        What cannot be done here is left to the host, which does it after the bundle, or tells.
        """
        try:
            try:
                os.rename(self.spool, target)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), 0o750, exist_ok=True)
                os.rename(self.spool, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                return False
            if not MODULE.beside("python_moving").moved(self.spool, target):
                return False
        return self._change_log()

    def _begin_anew(self) -> bool:
        """Begin a new file: a process that the last run has started may still write to the old one."""
        try:
            os.unlink(self.spool)
        except OSError as error:
            self.child.retired = f"the log {self.spool} cannot be removed: {error.strerror}"
            return False
        return self._change_log()

    def _change_log(self) -> bool:
        before = self.log
        try:
            self._open_log()
        except OSError as error:
            self.child.retired = f"the log {self.spool} cannot be made: {error.strerror}"
            return False
        os.close(before)
        return True

    def _close_folders(self) -> None:
        """Look for the directories anew in the next bundle: others may have their names by then."""
        for folder in self.folders.values():
            os.close(folder)
        self.folders.clear()
        self.files.end()

    def _leave(self) -> None:
        """Leave the last answer where the next pool looks for it."""
        if self.last is not None:
            run, duration, (user, system, *rest), reply, result = self.last
            meta = {
                **reply, "seq": run.call["seq"], "started_at": run.started_at,
                "duration": duration / 1e9, "usage": [user / 1e6, system / 1e6, *rest],
            }  # fmt: skip
            MODULE.leave(run.call["reply_file"], MODULE.framed(MODULE.DONE, meta, result))


def call_of(
    shape: dict[str, Any],
    seq: int,
    run: str,
    attempt: int,
    epoch: int,
    more: list[Any] | None,
) -> dict[str, Any]:
    """Return a call as it would have come alone."""
    files = f"{shape['exchange']}.{run}.{attempt}"
    env = dict(shape["env"])
    env["JOBCTL_RUN_ID"] = run
    env["JOBCTL_ATTEMPT"] = str(attempt)
    env["JOBCTL_RESULT_FILE"] = files + ".result"
    env["JOBCTL_PROGRESS_FILE"] = files + ".progress"
    env["JOBCTL_SUPERVISOR"] = f"{shape['mark']}.{epoch}"
    call = dict(shape)
    call.update(seq=seq, run=run, env=env, reply_file=files + ".reply")
    if more:
        env.update(more[0])
        if more[1] is not None:
            call["limits"] = more[1]
    return call
