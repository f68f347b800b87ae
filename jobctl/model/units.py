"""Durations and sizes as people write them; one parser each, for every place that takes one.

Durations are seconds. Sizes are bytes.
"""

from __future__ import annotations

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LONGEST = 100 * 365.25 * 86400.0
"""A hundred years: longer ones are slips of the pen and overflow dates further on."""
_STEPS = "KMGT"
_BYTES = {
    "": 1,
    "b": 1,
    **{step.lower(): 1024**power for power, step in enumerate(_STEPS, 1)},
    **{f"{step.lower()}ib": 1024**power for power, step in enumerate(_STEPS, 1)},
    **{f"{step.lower()}b": 1000**power for power, step in enumerate(_STEPS, 1)},
}
_LARGEST = 2**63 - 1


def parse_duration(value: str | float) -> float:
    """Return the seconds in ``90``, ``"90s"``, ``"1h30m"``, ``"2d"`` or ``"500ms"``.

    A number alone is seconds. Units are ms, s, m, h, d and w, largest first, each at most once;
    spaces between the parts and decimals (``"1.5h"``) are allowed.

    Raises:
        ValueError: it is none of these, negative, or longer than a hundred years.

    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(  # noqa: TRY004 (one class for every value a file may hold)
            f"{value!r} is not a duration: write seconds, or a text such as '1h30m'"
        )
    seconds = _duration_text(value) if isinstance(value, str) else value
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"duration {value!r} is not between 0 and 100 years")
    return float(seconds)


def _duration_text(text: str) -> float:
    parts = _pairs(text, kind="duration", example="'90s', '1h30m' or '2d'")
    if len(parts) == 1 and not parts[0][1]:
        return float(parts[0][0])
    total = 0.0
    previous = _LONGEST
    for number, unit in parts:
        scale = _SECONDS.get(unit.lower())
        if scale is None:
            known = ", ".join(_SECONDS)
            wrong = f"has no unit after {number}" if not unit else f"has the unknown unit {unit!r}"
            raise ValueError(f"duration {text!r} {wrong}: use one of {known}")
        if scale >= previous:
            raise ValueError(f"duration {text!r} must name its units largest first, each once")
        previous = scale
        total += float(number) / 1000 if unit.lower() == "ms" else float(number) * scale
    return total


def parse_size(value: str | int) -> int:
    """Return the bytes in ``512``, ``"512M"``, ``"2GiB"`` or ``"100kB"``.

    K M G T and KiB MiB GiB TiB are powers of 1024; kB MB GB TB are powers of 1000. Case does
    not matter; a fraction of a byte is dropped.

    Raises:
        ValueError: it is none of these, negative, or more than 2**63 - 1.

    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(  # noqa: TRY004 (one class for every value a file may hold)
            f"{value!r} is not a size: write bytes, or a text such as '512M'"
        )
    size = _size_text(value) if isinstance(value, str) else value
    if not 0 <= size <= _LARGEST:
        raise ValueError(f"size {value!r} is not between 0 and 8 EiB")
    return size


def _size_text(text: str) -> int:
    parts = _pairs(text, kind="size", example="'512M' or '2GiB'")
    number, unit = parts[0]
    scale = _BYTES.get(unit.lower())
    if len(parts) > 1 or scale is None:
        known = "B, K, M, G, T, KiB, MiB, GiB, TiB, kB, MB, GB, TB"
        raise ValueError(f"size {text!r} must be one number with one of {known}")
    return int(number) * scale if number.isdigit() else int(float(number) * scale)


def _pairs(text: str, *, kind: str, example: str) -> list[tuple[str, str]]:
    """Split ``1h 30m`` into ``[("1", "h"), ("30", "m")]``; numbers are checked, units are not."""
    pairs: list[tuple[str, str]] = []
    rest = text.strip(" ")
    while rest:
        digits = _leading(rest, "0123456789.")
        unit = _leading(rest[len(digits) :].lstrip(" "), "abcdefghijklmnopqrstuvwxyz")
        if digits.count(".") > 1 or not digits.strip(".") or len(digits) > 20:  # noqa: PLR2004 (2**63 has 19 digits)
            break
        rest = rest[len(digits) :].lstrip(" ")[len(unit) :].lstrip(" ")
        pairs.append((digits, unit))
    if rest or not pairs:
        raise ValueError(f"{text!r} is not a {kind}: write for example {example}")
    return pairs


def _leading(text: str, alphabet: str) -> str:
    end = 0
    while end < len(text) and text[end].lower() in alphabet:
        end += 1
    return text[:end]


def format_duration(seconds: float) -> str:
    """Return a duration as :func:`parse_duration` reads it, rounded to the millisecond.

    Below one second in ms (``500ms``), else in days, hours, minutes and seconds (``7m13s``).
    A negative duration, which a clock that was set back can cause, gets a minus sign.
    """
    millis = round(abs(seconds) * 1000)
    sign = "-" if seconds < 0 and millis else ""
    if millis < 1000:  # noqa: PLR2004 (ms in a second)
        return f"{sign}{millis}ms" if millis else "0s"
    whole, fraction = divmod(millis, 1000)
    parts: list[str] = []
    for unit in ("d", "h", "m"):
        count, whole = divmod(whole, int(_SECONDS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    if fraction:
        decimals = f"{fraction:03}".rstrip("0")
        parts.append(f"{whole}.{decimals}s")
    elif whole:
        parts.append(f"{whole}s")
    return sign + "".join(parts)


def format_size(size: int) -> str:
    """Return a size in the largest binary unit that leaves at least 1: ``512M``, ``1.5G``, ``17B``.

    One decimal, none when exact; so not always the exact number of bytes.
    """
    unit = ""
    scaled = float(size)
    for step in _STEPS:
        if round(abs(scaled), 1) < 1024:  # noqa: PLR2004 (binary units)
            break
        scaled /= 1024
        unit = step
    return f"{scaled:.1f}".removesuffix(".0") + (unit or "B")
