"""The embedded store's private directory: checks, server configuration, log."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from jobctl.errors import ConfigError
from jobctl.store.address import SOCKET_NAME

CONFIG_NAME = "valkey.conf"
LOG_NAME = "valkey.log"
LOCK_NAME = "lock"
LOG_LIMIT = 1024 * 1024
"""Bytes after which the server's log is set aside; at most twice that is kept."""

TAIL_BYTES = 4096
TAIL_LINES = 12

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "rclone",
        "s3fs",
        "smb3",
        "smbfs",
        "sshfs",
    }
)
"""As the kernel names them in mountinfo, without ``fuse.``."""

CONFIG = f"""\
# Written by jobctl at every start; changes here are lost.
port 0
unixsocket {SOCKET_NAME}
unixsocketperm 600
dir ./
pidfile valkey.pid
logfile {LOG_NAME}
loglevel notice
daemonize no
databases 1
timeout 0

# An accepted run is on disk before its submitter hears so.
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes
save ""

# Runs are never thrown away to make room.
maxmemory-policy noeviction
# Keeps a run's record in its compact form: two thirds of the memory.
hash-max-listpack-value 1024
# Nobody looks at a histogram of each command within a script.
latency-tracking no

enable-debug-command no
enable-module-command no
"""
"""Only options that Redis 7.0 knows too. Paths are relative to the directory, which is the
server's working directory: a socket's path may not be longer than 107 bytes."""

HINTS = {
    "No space left on device": "the disk is full; free some space",
    "Can't handle RDB format": "the data was written by a newer server; start that one with "
    "store_binary = in [jobctl]",
    "Bad file format reading the append only file": "the append-only file is damaged, or "
    "was written by a newer server: start that one with store_binary = in [jobctl], restore the "
    "directory from a backup, or repair the file with valkey-check-aof",
    "Permission denied": "the directory or a file in it belongs to another user",
    "GLIBC": "the bundled server does not fit this system; install your system's valkey or redis",
}
"""Words in the server's log → what to do about it."""


def prepare(directory: Path) -> None:
    """Make ``directory`` private and ready; raises ConfigError if it cannot hold a store."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.geteuid():
            raise ConfigError(
                f"{directory}: belongs to another user (uid {found.st_uid}); set state_dir to a "
                "directory of your own"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            directory.chmod(0o700)
        refuse_network_file_system(directory)
        write_config(directory)
        set_log_aside(directory)
    except OSError as error:
        raise ConfigError(f"{directory}: {_why(error)}") from error


def refuse_network_file_system(
    directory: Path, mountinfo: Path = Path("/proc/self/mountinfo")
) -> None:
    """Raise ConfigError when ``directory`` is on a file system shared over a network."""
    kind = file_system(directory, mountinfo)
    if kind.removeprefix("fuse.") in NETWORK_FILE_SYSTEMS:
        raise ConfigError(
            f"{directory}: is on a network file system ({kind}), where the store could lose "
            "accepted runs; set state_dir to a local disk"
        )


def file_system(directory: Path, mountinfo: Path) -> str:
    """Return the type of the file system that holds ``directory``; empty if unknown."""
    try:
        lines = mountinfo.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place = os.fspath(directory.resolve())
    best, kind = "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = _unescaped(before.split(" ")[4])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        # The last of equally long mount points covers the others.
        if inside and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    return kind


def write_config(directory: Path) -> None:
    """Write the server's configuration, whole or not at all; raises OSError."""
    config = directory / CONFIG_NAME
    if config.exists() and config.read_text() == CONFIG:
        return  # a full disk must not keep a server away that would free some
    fresh = directory / (CONFIG_NAME + ".new")
    fresh.write_text(CONFIG)
    fresh.chmod(0o600)
    fresh.replace(config)


def set_log_aside(directory: Path) -> None:
    """Rename a log that has grown too long; the server opens it anew for every line."""
    log = directory / LOG_NAME
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(directory / (LOG_NAME + ".1"))


def open_log(directory: Path) -> BinaryIO:
    """Return the log for what the server says before it opens it itself; raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return os.fdopen(os.open(directory / LOG_NAME, flags, 0o600), "ab")


def log_size(directory: Path) -> int:
    """Return the length of the server's log in bytes."""
    try:
        return (directory / LOG_NAME).stat().st_size
    except OSError:
        return 0


def log_tail(directory: Path, start: int = 0) -> str:
    """Return the log's last lines after byte ``start``, and a hint where one is known."""
    try:
        with (directory / LOG_NAME).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= size else 0, size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        text = ""
    hints = [hint for words, hint in HINTS.items() if words in text]
    if _full(directory):  # then the log says nothing
        hints.insert(0, HINTS["No space left on device"])
    lines = [f"  {line}" for line in text.splitlines()[-TAIL_LINES:]]
    return "".join(f"\n{line}" for line in (*lines, *hints[:1]))


def _full(directory: Path) -> bool:
    try:
        return os.statvfs(directory).f_bavail == 0
    except OSError:
        return False


def _unescaped(point: str) -> str:
    """Return a mount point with its octal escapes (space, tab, newline, backslash) decoded."""
    for sign in ("\\040", "\\011", "\\012", "\\134"):
        point = point.replace(sign, chr(int(sign[1:], 8)))
    return point


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left for the store; free some"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "not writable; set state_dir to a directory you own"
    return f"cannot hold the store: {error.strerror}"
