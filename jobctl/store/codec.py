"""Runs to and from what Redis holds: the one place where loose bytes become our types.

The envelope is what a submitter asked for, as compact JSON without defaults. Unknown keys are
ignored and unknown versions refused, so that an older supervisor never guesses.
"""

from __future__ import annotations

import json

from jobctl.errors import JobctlError
from jobctl.model.run import (
    FINAL_LETTERS,
    LETTERS,
    AttemptRecord,
    Parent,
    Request,
    Run,
    RunState,
    Usage,
)
from jobctl.store.compact import dump, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


ENVELOPE_VERSION = 1
ENVELOPE_MOST = 64 * 1024 * 1024
"""Bytes of an envelope that is looked at; ``max_args`` keeps what is submitted far below it."""
DEPTH_MOST = 100
"""Lists and tables within each other that are accepted."""
LAST_MOMENT = 253_402_300_799.0
"""Epoch seconds of the end of the year 9999, after which there are no dates."""
LARGEST = 2.0**53
_MOMENTS = frozenset({"st", "fn", "du"})


class BadPayloadError(JobctlError):
    """Raised when a record cannot be understood; it must never be executed."""

    code = "bad_payload"


def _unreadable(run_id: str, error: Exception) -> BadPayloadError:
    what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) and error.args else error
    return BadPayloadError(
        f"run {run_id}: its record in the store cannot be read: {what}; it is damaged, or somebody "
        "else has written to it"
    )


def text(value: object) -> str:
    """Return a reply part as text; bytes that are not UTF-8 keep their values as escapes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def items_of(reply: object) -> list[Any]:
    """Return the parts of an array reply; a missing one has none."""
    parts: list[Any] = list(reply or ())  # type: ignore[call-overload]  # the caller knows
    return parts


def encode_envelope(request: Request) -> str:
    """Return the envelope of ``request``."""
    body: dict[str, object] = {"v": ENVELOPE_VERSION, "tr": request.trigger}
    if request.args:
        body["a"] = request.args
    if request.kwargs:
        body["k"] = request.kwargs
    if request.tags:
        body["g"] = request.tags
    if request.timeout is not None:
        body["to"] = request.timeout
    if request.scheduled_at is not None:
        body["sa"] = round(request.scheduled_at, 3)
    if request.submitter:
        body["by"] = request.submitter
    if request.retry_of is not None:
        body["ro"] = request.retry_of
    if request.parent is not None:
        body["pa"] = _plain_parent(request.parent)
    return dump(body)


def _plain_parent(parent: Parent) -> dict[str, object]:
    entry = {
        "id": parent.run, "j": parent.job, "s": parent.state, "at": parent.attempt,
        "rs": parent.reason, "rc": parent.exit_code, "er": parent.error,
    }  # fmt: skip
    return {name: value for name, value in entry.items() if value not in (None, "")}


def _parent(body: Mapping[str, Any]) -> Parent:
    code = body.get("rc")
    return Parent(
        run=_word(body["id"]),
        job=_word(body["j"]),
        state=_word(body["s"]),
        attempt=int(body.get("at", 0)),
        reason=_word(body.get("rs", "")),
        exit_code=None if code is None else int(code),
        error=str(body.get("er", "")),
    )


def decode_request(
    *,
    run_id: str,
    job: str,
    queue: str,
    priority: str,
    max_attempts: str,
    envelope: object,
    make: Callable[..., Request] = Request,
) -> Request:
    """Rebuild the request of a claimed or inspected run; ``make`` makes it.

    Raises ``BadPayloadError`` when the envelope is not one of ours.
    """
    for name in (run_id, job):
        if not is_file_name(name):
            raise BadPayloadError(
                f"run {_word(run_id)}: its id or its job can be no name of a file"
            )
    try:
        body = _load(envelope)
        args, kwargs, tags = _collections(run_id, body)
        timeout, scheduled = body.get("to"), body.get("sa")
        return make(
            id=run_id,
            job=job,
            args=tuple(args),
            kwargs=kwargs,
            tags={str(key): str(value) for key, value in tags.items()} if tags else tags,
            queue=queue,
            priority=int(priority),
            max_attempts=int(max_attempts),
            timeout=None if timeout is None else float(timeout),
            trigger=_word(body.get("tr", "manual")),
            scheduled_at=None if scheduled is None else float(scheduled),
            submitter=_word(body.get("by", "")),
            retry_of=_word_or_none(body.get("ro")),
            parent=_parent(body["pa"]) if "pa" in body else None,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _unreadable(run_id, error) from error


def _collections(run_id: str, body: Any) -> tuple[list[Any], dict[str, Any], dict[Any, Any]]:  # noqa: ANN401
    """Return args, kwargs and tags; raises ``BadPayloadError`` when they are of another type."""
    if body["v"] != ENVELOPE_VERSION:
        raise BadPayloadError(
            f"run {run_id}: its record has version {body['v']}, "
            f"this jobctl reads {ENVELOPE_VERSION}: upgrade this host"
        )
    args, kwargs, tags = body.get("a", []), body.get("k", {}), body.get("g", {})
    if not (isinstance(args, list) and isinstance(kwargs, dict) and isinstance(tags, dict)):
        raise BadPayloadError(f"run {run_id}: its record has args, kwargs or tags of another type")
    return args, kwargs, tags


def is_file_name(text: str) -> bool:
    """Return whether an id or the name of a job can be a part of a path, and be shown as it is."""
    if text.isalnum():
        return True
    return text.isprintable() and "/" not in text and not text.startswith(".") and text != ""


def _word(value: object) -> str:
    """Return a word to be shown, without what would move the cursor or change the terminal."""
    said = str(value)
    return said if said.isprintable() else "".join(c if c.isprintable() else "?" for c in said)


def _word_or_none(value: object) -> str | None:
    return None if value is None else _word(value)


def _blocked_by(f: dict[str, str]) -> tuple[str, ...] | None:
    """Return what was said of this claim; what was said of an earlier one is past."""
    epoch, *runs = f.get("bl", "").split() or [""]
    return tuple(map(_word, runs)) if epoch and epoch == f.get("ep") else None


def _lines_or_none(value: object) -> str | None:
    """Return a text of several lines, each as :func:`_word` has it."""
    return None if value is None else "\n".join(map(_word, str(value).expandtabs().split("\n")))


def _load(envelope: object) -> Any:  # noqa: ANN401 - the caller looks at what it is
    """Return what an envelope says; raises ``ValueError`` beyond the limits of size and depth."""
    if not isinstance(envelope, str | bytes):
        raise TypeError("it is no text")
    if len(envelope) > ENVELOPE_MOST:
        raise ValueError(f"it has more than {ENVELOPE_MOST} bytes")
    text = envelope if isinstance(envelope, str) else envelope.decode("utf-8", "surrogatepass")
    body = parse(text)
    openings = text.count("[") + text.count("{")
    if openings > DEPTH_MOST:
        check_depth(body)
    return body


def check_depth(value: object, most: int = DEPTH_MOST) -> None:
    """Raise ``ValueError`` when lists and tables are within each other more than ``most`` deep."""
    level: list[object] = [value]
    for _ in range(most + 1):
        level = [
            item
            for part in level
            if isinstance(part, list | tuple | dict)
            for item in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return
    raise ValueError(f"its values are within each other more than {most} deep")


def _some(body: Mapping[str, Any], name: str) -> float | None:
    """Return a number of an attempt, ``None`` when it is not there."""
    value = body.get(name)
    return (
        None if value is None else _sane(value, most=LAST_MOMENT if name in _MOMENTS else LARGEST)
    )


def decode_attempt(entry: str) -> AttemptRecord:
    """Rebuild one attempt of a run's history."""
    body = json.loads(entry)
    started, duration = _some(body, "st"), _some(body, "du") or 0.0
    finished = _some(body, "fn")
    if finished is None and started is not None:
        finished = started + duration
    return AttemptRecord(
        number=int(body.get("n", 0)),
        outcome=_word(body.get("o", "")),
        reason=_word_or_none(body.get("rs")),
        exit_code=body.get("rc", 0 if body.get("o") == "succeeded" else None),
        signal=body.get("sg"),
        error=body.get("er"),
        host=_word_or_none(body.get("ho")),
        pid=body.get("pi"),
        started_at=started,
        finished_at=finished,
        duration=duration,
        usage=Usage(
            user=_some(body, "us") or 0.0,
            system=_some(body, "sy") or 0.0,
            max_rss=int(_some(body, "ms") or 0),
            read_blocks=int(_some(body, "rb") or 0),
            write_blocks=int(_some(body, "wb") or 0),
        ),
        log_bytes=int(_some(body, "lb") or 0),
        log_truncated=bool(body.get("lt")),
        traceback=_lines_or_none(body.get("tb")),
    )


def moment(value: str) -> float:
    """Return milliseconds in text as epoch seconds; raises ``ValueError`` for none of our times."""
    return _sane(float(value) / 1000, most=LAST_MOMENT)


def _seconds(value: str | None) -> float | None:
    return None if value is None else moment(value)


def _sane(value: float, *, most: float) -> float:
    """Return a number; raises ``ValueError`` when it is negative, none, or more than ``most``."""
    if not 0 <= value <= most:
        raise ValueError(f"{value:g} is out of range")
    return value


def _number(value: str | None) -> int | None:
    return None if value is None else int(value)


def complete(fields: dict[str, str]) -> None:
    """Add to a record what is left out of it because a run succeeded with its first attempt and 0."""
    if fields.get("s") == "k" and "a1" in fields and fields.setdefault("at", "1") == "1":
        fields.setdefault("rc", "0")


def attempts_started(letter: object, attempts: bytes | None) -> int:
    """Return how many attempts a run has had, from two fields; what ended well has had one."""
    return int(attempts) if attempts else int(letter == b"k")


def host_of(owner: str | None) -> str | None:
    """Return the host name in an owner id, ``host~incarnation/pool.n``."""
    return _word(owner.partition("~")[0]) if owner else None


def decode_run(run_id: str, raw: Mapping[object, object] | list[object]) -> Run:
    """Rebuild a run from its hash.

    Raises ``BadPayloadError`` when required fields are missing or unreadable.
    """
    items = iter(raw) if isinstance(raw, list) else None
    pairs = zip(items, items, strict=True) if items is not None else raw.items()  # type: ignore[union-attr]
    f = {text(key): text(value) for key, value in pairs}
    complete(f)
    try:
        letter = f["s"]
        request = decode_request(
            run_id=run_id,
            job=f["j"],
            queue=f["q"],
            priority=f["p"],
            max_attempts=f.get("mx", "1"),
            envelope=f["e"],
        )
        attempt = int(f.get("at", "0"))
        state = LETTERS[letter]
        if letter == "d" and attempt:
            state = RunState.RETRYING
        attempts = sorted(
            (
                decode_attempt(value)
                for name, value in f.items()
                if name[0] == "a" and name[1:].isdigit()
            ),
            key=lambda entry: entry.number,
        )
        started = _seconds(f.get("st")) if letter != "c" else None
        # Until the next attempt has started, the record still has the process of the last one.
        pid = _number(f.get("pi")) if letter == "r" or letter in FINAL_LETTERS else None
        if letter == "k" and attempt == 1 and attempts and attempts[0].number == 1:
            # A run that succeeded at once is written down once: in the entry of its attempt.
            started = attempts[0].started_at if started is None else started
            pid = attempts[0].pid if pid is None else pid
            f.setdefault("du", str(attempts[0].duration))
        return Run(
            request=request,
            state=state,
            letter=letter,
            reason=_word_or_none(f.get("rs")),
            attempt=attempt,
            epoch=int(f.get("ep", "0")),
            lost=int(f.get("ls", "0")),
            owner=f.get("o"),
            exit_code=_number(f.get("rc")),
            signal=_number(f.get("sg")),
            submitted_at=moment(f["t"]),
            not_before=_seconds(f.get("nb")),
            expires_at=_seconds(f.get("xp")),
            claimed_at=_seconds(f.get("ct")),
            started_at=started,
            finished_at=_seconds(f.get("fn")),
            duration=_sane(float(f["du"]), most=LAST_MOMENT) if "du" in f else None,
            host=host_of(f.get("o")),
            pid=pid,
            error=f.get("er"),
            result=f.get("re"),
            progress=f.get("pg"),
            cancel=f.get("cx"),
            limits=tuple(f.get("lm", "").split()),
            waits_for=f.get("pl") if letter == "p" else None,
            blocked_by=_blocked_by(f) if letter == "r" else None,
            attempts=tuple(attempts),
        )
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(run_id, error) from error
