"""What a Python child answers, read: from its socket, from its file of bundles, from a file it left."""

from __future__ import annotations

import json
import struct
from typing import Any

from jobctl.engine.python_call import PythonReply
from jobctl.engine.python_wire import DONE, HEADER, MAGIC, MALFORMED, PROTOCOL
from jobctl.model.run import Reason, Usage
from jobctl.store.codec import LAST_MOMENT

LONGEST = 100 * 365 * 86400.0
"""Seconds; no run takes longer."""
LATEST = LAST_MOMENT - LONGEST
"""Epoch seconds; none begins later."""


def left_reply(data: bytes) -> PythonReply | None:
    """Return the answer that a child left in a file (a ``DONE`` frame); ``None`` if there is none."""
    try:
        magic, protocol, kind, meta_size, body_size = HEADER.unpack_from(data)
        if (magic, protocol, kind) != (MAGIC, PROTOCOL, DONE):
            return None
        start = HEADER.size + meta_size
        if len(data) != start + body_size:
            return None
        return reply_of(json.loads(data[HEADER.size : start]), data[start:].decode())
    except (*MALFORMED, struct.error):
        return None


def answered(answer: list[Any]) -> PythonReply:
    """Return what the answer to a run of a bundle says; raises as :func:`left_reply` does not."""
    _, started_at, duration, user, system, rss, read, wrote, _, _, result, more = answer
    meta = {
        **(more or {}),
        "started_at": started_at,
        "duration": duration,
        "usage": [user, system, rss, read, wrote],
    }
    return reply_of(meta, result or "")


def reply_of(meta: dict[str, Any], body: str) -> PythonReply:
    """Return what a DONE frame says; raises whatever its parts raise when they are not right."""
    usage = meta["usage"]
    reason = meta.get("reason")
    started_at, duration = float(meta["started_at"]), float(meta["duration"])
    if not (0.0 <= started_at <= LATEST and 0.0 <= duration <= LONGEST):
        raise ValueError("it began or took what no record can hold")
    return PythonReply(
        reason=None if reason is None else Reason(reason),
        result=body or None,
        exception=meta.get("exception"),
        bases=tuple(meta.get("bases", ())),
        error=meta.get("error"),
        exit_code=meta.get("exit_code"),
        retry_in=meta.get("retry_in"),
        again=bool(meta.get("again")),
        skip=bool(meta.get("skip")),
        fatal=bool(meta.get("fatal")),
        traceback=meta.get("traceback"),
        recycle=meta.get("recycle"),
        started_at=started_at,
        duration=duration,
        usage=Usage(
            user=float(usage[0]),
            system=float(usage[1]),
            max_rss=int(usage[2]),
            read_blocks=int(usage[3]),
            write_blocks=int(usage[4]),
        ),
        rss=meta.get("rss"),
    )
