"""What this host is called, which zone it is in, and which boot this is."""

from __future__ import annotations

import os

_foreign: str | None = None
"""A value of ``TZ`` that says nothing of the host."""


def host_name(configured: str | None) -> str:
    """Return the name this host is listed under: ``configured``, else its own first label."""
    name = configured or os.uname().nodename.partition(".")[0] or "localhost"
    # The name is part of owner ids, whose separators it must not contain.
    return "".join(char if char.isalnum() or char in "._-" else "-" for char in name)


def host_zone() -> str:
    """Return the IANA name of the host's time zone: ``TZ``, ``/etc/localtime``, ``/etc/timezone``, else UTC."""
    given = os.environ.get("TZ", "")
    named = (zone_at_start() if given == _foreign else given).removeprefix(":")
    if named and _exists(named):
        return named
    try:
        target = os.path.realpath("/etc/localtime")
    except OSError:
        target = ""
    _, found, name = target.partition("/zoneinfo/")
    if found and _exists(name.removeprefix("posix/").removeprefix("right/")):
        return name.removeprefix("posix/").removeprefix("right/")
    try:
        with open("/etc/timezone", encoding="ascii") as file:  # noqa: PTH123 (pathlib costs 10 ms)
            name = file.readline().strip()
    except (OSError, UnicodeDecodeError):
        return "UTC"
    return name if name and _exists(name) else "UTC"


def disregard_zone(zone: str | None) -> None:
    """Do not take ``TZ`` for the zone of the host when it is ``zone``: a framework set it so."""
    global _foreign  # noqa: PLW0603 - as the environment it is about
    _foreign = zone


def zone_at_start() -> str:
    """Return ``TZ`` as this process was started with; empty where nobody can tell."""
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 (as below)
            entries = file.read().split(b"\0")
    except OSError:
        return ""
    return next((os.fsdecode(one[3:]) for one in entries if one.startswith(b"TZ=")), "")


def boot_id() -> str:
    """Return what the kernel calls this boot; empty where it does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 (same)
            return file.read().strip()
    except OSError:
        return ""


def _exists(zone: str) -> bool:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - 6 ms that only schedules need

    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return False
    return True
