"""Starts the interpreters of Python children: which one, as whom, and how it finds its code."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.engine.python_call import ChildKey, SpawnError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHILD_FILE = Path(__file__).with_name("python_child.py")
# Not `python file.py`: that would put jobctl's own directory on the search path, be the job's
# __main__, and compile the file at every start. The empty first entry of the path goes before
# anything is imported: the standard library must not come from the current directory.
BOOTSTRAP = """\
import sys
if sys.version_info < (3, 9):
    sys.exit("Python %s is too old: jobs need 3.9 or later" % sys.version.split()[0])
if sys.path[:1] == [""]:
    del sys.path[0]
from importlib.machinery import SourceFileLoader
child = type(sys)("_jobctl_child")
child.__file__ = sys.argv[1]
sys.modules["_jobctl_child"] = child
exec(SourceFileLoader("_jobctl_child", sys.argv[1]).get_code("_jobctl_child"), child.__dict__)
child.main(int(sys.argv[2]), *sys.argv[3:])
"""
PRINTED = 2000
"""Bytes of what an interpreter printed at its start that are read, of its beginning and its end."""
BEGUN = re.compile(r"^jobctl: ((child_init|preload) = \S+) begins\n", re.MULTILINE)
"""What a child says before it calls or imports something of the pool."""
PYTHON_REMEDY = "interpreter must name a CPython 3.9 or later that this user can run"
DIRECTORY_REMEDY = "make it a directory that the job's user can enter, or mend cwd of the job"
OWN_REMEDIES = {
    "child_init": ("returning", "mend the function, or child_init of the pool"),
    "preload": ("being imported", "mend the module, or preload of the pool"),
}


def start_failure(output: int, *, interpreter: str, forked: bool, late: float | None) -> str:
    """Return why an interpreter that did start took no calls, and what to do about it.

    ``output`` is a descriptor of the file it printed to. ``forked``: it comes from a template, and
    is a Python therefore. ``late``: seconds after which it was given up; ``None``: it ended.
    """
    printed = _read_ends(output)
    said = BEGUN.sub("", printed).strip().removeprefix("jobctl: ")
    time = "" if late is None else f"within {late:g} s"
    begun = BEGUN.findall(printed)
    if begun:
        what, key = begun[-1]
        return _failure_of_the_pool(what, OWN_REMEDIES[key], interpreter, said=said, time=time)
    if said.startswith("working directory "):
        return f"{said}; {DIRECTORY_REMEDY}"
    if time:
        said = f"it was not ready {time}" + (f", and had printed: {said}" if said else "")
    remedy = "try again, and look for want of memory or time" if forked else PYTHON_REMEDY
    if "\n" in said:  # the last line is what is shown where there is room for one
        return f"{said}\n{interpreter} did not become ready; {remedy}"
    if said or forked:
        said = said or "it ended without a word"
        return f"{interpreter} did not become ready: {said}; {remedy}"
    return f"{interpreter} ended without a word, so it is probably no Python; {remedy}"


def _failure_of_the_pool(
    what: str, ways: tuple[str, str], interpreter: str, *, said: str, time: str
) -> str:
    aim, remedy = ways
    words = f", and had printed: {said}" if said else ""
    if f"{what} failed:" in said or "Traceback (most recent call last)" in said:
        return f"{interpreter} did not become ready: {said}; {remedy}"
    if time:
        return f"{what} did not come to an end {time} in {interpreter}{words}; {remedy}"
    return f"{what} ended {interpreter} instead of {aim}{words}; {remedy}"


def _read_ends(output: int) -> str:
    """Return the beginning and the end of what was printed to a file."""
    size = os.fstat(output).st_size
    if size <= 2 * PRINTED:
        return os.pread(output, size, 0).decode(errors="replace")
    head = os.pread(output, PRINTED, 0).decode(errors="replace")
    return f"{head}\n…\n" + os.pread(output, PRINTED, size - PRINTED).decode(errors="replace")


def resolve_interpreter(value: str | None) -> str:
    """Return the absolute path of the Python meant by ``interpreter = value``.

    A directory is a virtual environment, a name without a slash is looked up on PATH, ``None`` is
    the Python jobctl runs in. Symbolic links stay: a virtual environment is known by its path.
    Raises SpawnError if there is no such program.
    """
    if value is None:
        return sys.executable
    path = os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111 - keeps links
    if os.sep not in value:
        import shutil  # noqa: PLC0415 - 0.3 MB that a path does not cost

        path = shutil.which(value) or path
    if Path(path).is_dir():
        path = os.path.join(path, "bin", "python")  # noqa: PTH118 - as above
    if not Path(path).is_file() or not os.access(path, os.X_OK):
        raise SpawnError(
            f"no Python at {path} (interpreter = {value!r});"
            " name a virtual environment or a Python executable"
        )
    return path


def spawn(
    key: ChildKey,
    *,
    env: Mapping[str, str],
    fd: int,
    output: int,
    options: str = "{}",
    session: bool = True,
) -> int:
    """Start the interpreter and return its pid; raises SpawnError.

    ``options`` are what :func:`jobctl.engine.python_child.main` is told; ``session``: whether it
    leads a session of its own.
    """
    uid, gid, groups = _identity(key)
    try:
        process = subprocess.Popen(  # noqa: S603 - the administrator named it
            [key.interpreter, "-c", BOOTSTRAP, str(CHILD_FILE), str(fd), options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=key.cwd,
            user=uid,
            group=gid,
            extra_groups=groups,
            umask=-1 if key.umask is None else key.umask,
            pass_fds=(fd,),
            start_new_session=session,
        )
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and key.cwd is not None and error.filename == key.cwd:
            said = f"working directory {key.cwd}: {os.strerror(error.errno or 0)}"
            if error.errno != errno.EPERM:  # which is about the user
                raise SpawnError(f"{said}; {DIRECTORY_REMEDY}", cause=error.errno) from error
        raise SpawnError(
            f"cannot start {key.interpreter}: {error};"
            " check interpreter, cwd, user, group and env of the job",
            cause=error.errno if isinstance(error, OSError) else None,
        ) from error
    process.returncode = 0  # the slot waits for it: without this the next Popen would
    try:
        set_priority(process.pid, key.nice)
    except SpawnError:
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
        raise
    return process.pid


def set_priority(pid: int, nice: int | None) -> None:
    """Give a child its priority; raises SpawnError."""
    if nice is None:
        return
    try:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    except PermissionError as error:
        raise SpawnError(
            f"nice = {nice} is not permitted; only root may go below its own value"
        ) from error


def _group_number(group: str) -> int:
    return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid


def _identity(key: ChildKey) -> tuple[int | None, int | None, list[int] | None]:
    """Return the user, group and further groups to change to; None for what stays."""
    if key.user is None and key.group is None:
        return None, None, None
    try:
        gid = None if key.group is None else _group_number(key.group)
        if key.user is None:
            return None, gid, None
        user = key.user
        account = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError as error:
        raise SpawnError(f"{error.args[0]}; check user and group of the job") from error
    if account.pw_uid == os.geteuid() and gid is None:
        return None, None, None
    gid = account.pw_gid if gid is None else gid
    return account.pw_uid, gid, os.getgrouplist(account.pw_name, gid)
