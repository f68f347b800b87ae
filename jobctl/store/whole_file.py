"""Small files that are there whole or not at all, and that survive a power failure once written."""

from __future__ import annotations

import os


def write(path: str, text: str, *, owner: os.stat_result, fresh: bool = False) -> None:
    """Write ASCII ``text`` to ``path`` (mode 600) in one step; raises ``OSError``.

    What root makes is given to the user and group of ``owner``. With ``fresh``, ``FileExistsError`` when
    there is such a file already.
    """
    draft = f"{path}.{os.getpid()}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "w", encoding="ascii") as file:  # noqa: PTH123 (a descriptor)
            file.write(text)
            file.flush()
            os.fsync(handle)
        give(draft, owner)
        if fresh:
            os.link(draft, path)
            os.unlink(draft)  # noqa: PTH108 (texts)
        else:
            os.rename(draft, path)  # noqa: PTH104 (texts)
    except BaseException:
        os.unlink(draft)  # noqa: PTH108 (texts)
        raise
    sync_folder(os.path.dirname(path) or ".")  # noqa: PTH120 (texts)


def give(path: str, owner: os.stat_result) -> None:
    """Let the user and group of ``owner`` have what root has made at ``path``."""
    if os.geteuid() == 0 and (owner.st_uid, owner.st_gid) != (0, 0):
        os.chown(path, owner.st_uid, owner.st_gid)


def sync_folder(folder: str) -> None:
    """Have the names in a directory on disk; raises ``OSError``."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
