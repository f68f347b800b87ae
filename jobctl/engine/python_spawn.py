"""Starts the interpreters of Python children: which one, as whom, and how it finds its code."""

from __future__ import annotations

import grp
import os
import pwd
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
        raise SpawnError(
            f"cannot start {key.interpreter}: {error};"
            " check interpreter, cwd, user, group and env of the job"
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
