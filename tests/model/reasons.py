"""Why other evaluators answer otherwise: a closed list, each reason checked on each case.

A reason is another reading of the text or of the rules, and it counts only where the reference
with that reading gives the peer's answer exactly; or, for what follows no rule, a condition on
case and answers. Reasons of the first kind may have to come together.
"""

from __future__ import annotations

import re
from datetime import time, timedelta
from itertools import combinations, islice, pairwise
from typing import TYPE_CHECKING

from tests.model.cron_cases import MARGIN
from tests.model.cron_reference import plain
from tests.model.peers import MOST, Reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tests.model.cron_cases import Case

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
NOTHING = timedelta(0)
ENDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class Reason:
    """One reason; ``name`` is unique among those of a peer, ``why`` says what the peer does."""

    def __init__(
        self,
        name: str,
        why: str,
        *,
        rewrite: Callable[[str], str] | None = None,
        when: Callable[[str], bool] | None = None,
        seen: Callable[[Case, list[datetime], list[datetime]], bool] | None = None,
        **rules: object,
    ) -> None:
        self.name = name
        self.why = why
        self.rewrite = rewrite
        self.when = when
        self.seen = seen
        self.rules = rules


def as_open_range(text: str) -> str:
    """Read ``5-5/16`` as ``5/16``."""
    return re.sub(r"\b(\d+)-0*\1/", r"\1/", text)


def as_whole_field(text: str) -> str:
    """Read ``5-5`` as all values of its field, ``5-5/16`` as every sixteenth of them."""
    words = text.split()
    ends = ENDS[-len(words) :]
    return " ".join(
        re.sub(r"\b(\d+)-0*\1(?=[/,]|$)", f"{low}-{high}", word)
        for word, (low, high) in zip(words, ends, strict=True)
    )


def as_star(text: str) -> str:
    """Read a minute or an hour field that names all values as ``*``."""
    words = text.split()
    for index, (low, high) in ((-5, (0, 59)), (-4, (0, 23))):
        if plain(words[index], low, high) == set(range(low, high + 1)):
            words[index] = "*"
    return " ".join(words)


def changes(case: Case) -> list[tuple[datetime, timedelta, datetime]]:
    """Return instant, size and new wall time of each change of the clock in the window."""
    walls = enumerate(pairwise(case.walls), 1)
    return [
        (case.begin + n * case.unit, b - a - case.unit, b)
        for n, (a, b) in walls
        if b - a != case.unit
    ]


def first_difference(ours: list[datetime], theirs: list[datetime]) -> datetime:
    pairs = zip([*ours, None], [*theirs, None], strict=False)
    different = next((a, b) for a, b in pairs if a != b)
    return min(moment for moment in different if moment is not None)


def goes_back(case: Case, ours: list[datetime], theirs: list[datetime]) -> bool:
    del ours
    return any(b <= a for a, b in pairwise([case.start, *theirs]))


def off_the_hour(case: Case, ours: list[datetime], theirs: list[datetime]) -> bool:
    """A time is missing in the day after a change that is not of hours, or not on the hour."""
    first = first_difference(ours, theirs)
    return first in ours and any(
        NOTHING <= first - at < DAY and (size % HOUR or wall.minute)
        for at, size, wall in changes(case)
    )


def off_the_hour_or_midnight(case: Case, ours: list[datetime], theirs: list[datetime]) -> bool:
    """The same, or a time is missing in the first hour after a gap that begins at midnight."""
    first = first_difference(ours, theirs)
    return off_the_hour(case, ours, theirs) or (
        first in ours
        and any(
            NOTHING <= first - at < HOUR and size > NOTHING and (wall - size).time() == time.min
            for at, size, wall in changes(case)
        )
    )


def unusual(case: Case, ours: list[datetime], theirs: list[datetime]) -> bool:
    """Within a day of a change that is not one hour, on the hour, to or from summer time."""
    first = first_difference(ours, theirs)
    return any(
        abs(first - at) < DAY
        and (abs(size) != HOUR or wall.minute or summer(case, at) != (size > NOTHING))
        for at, size, wall in changes(case)
    )


def summer(case: Case, at: datetime) -> bool | None:
    """Tell whether summer time begins (or ends) at a change; None if it does neither."""
    before, after = ((at + n * SECOND).astimezone(case.zone).dst() or NOTHING for n in (-1, 0))
    return None if before == after else bool(after > NOTHING)


def explained(
    case: Case, ours: list[datetime], theirs: list[datetime], reasons: tuple[Reason, ...]
) -> list[Reason]:
    """Return the fewest reasons that together give a peer's answer, or none."""
    readings = [
        one for one in reasons if one.seen is None and (not one.when or one.when(case.text))
    ]
    for number in (1, 2, 3):
        for some in combinations(readings, number):
            if answer(case, some) == theirs:
                return list(some)
    observed = [one for one in reasons if one.seen is not None]
    for some in ((), *((one,) for one in readings)):
        expected = answer(case, some) if some else ours
        for one in observed:
            if one.seen is not None and expected != theirs and one.seen(case, expected, theirs):
                return [*some, one]
    return []


def answer(case: Case, reasons: tuple[Reason, ...]) -> list[datetime]:
    text = case.text
    rules: dict[str, object] = {}
    for reason in reasons:
        text = reason.rewrite(text) if reason.rewrite else text
        rules |= reason.rules
    # What lies further back than the margin of every window tells nothing new.
    skipped = max(0, int((case.start - MARGIN - case.begin) / case.unit))
    firing = Reading(text, **rules).firing(case.walls[skipped:])  # type: ignore[arg-type]
    instants = (case.begin + (skipped + position) * case.unit for position in firing)
    return list(islice((instant for instant in instants if instant > case.start), MOST))


CRONSIM = (
    Reason("a range of one value, with a step", "`5-5/16` is read as `5/16`: 5, 21, 37, 53.", rewrite=as_open_range),
    Reason(
        "wildcard times in a gap", "Where the clock is set forward at midnight, a wildcard job "
        "that names the skipped hour runs after the gap.", gap="all",
    ),
    Reason(
        "corrections of more than three hours", "A day that a zone leaves out is made up for.",
        limit=timedelta(days=3),
    ),
    Reason(
        "fixed times with seconds", "Six fields are never fixed times: what comes twice runs twice, "
        "what is skipped does not run.", gap="none", fold="none",
        when=lambda text: len(text.split()) == 6,
    ),
    Reason("the second pass as the start", "Asked in the second pass of a repeated hour, it answers with instants that are over.", seen=goes_back),
    Reason(
        "after a change off the hour, or at midnight", "It walks by the hour; where a change is not one of whole hours, or not on "
        "the hour, times of the day after it are lost, and those of the first hour after a gap at midnight.", seen=off_the_hour_or_midnight,
    ),
)  # fmt: skip

CRONITER = (
    Reason(
        "both day fields", "Either may match unless one of them names all days; that a field begins with `*` "
        "does not count. (Its option `implement_cron_bug` changes that.)", days="full",
    ),
    Reason("`nW` or `LW` beside a weekday", "The weekday is looked at no further.", days="date", when=lambda text: bool(re.search(r"\dW|LW", text))),
    Reason("`d#n` beside a day of the month", "The day of the month is looked at no further.", days="weekday", when=lambda text: "#" in text),
    Reason("a range of one value", "`5-5` is all values, `5-5/16` every sixteenth.", rewrite=as_whole_field),
    Reason("a field that names all values", "`0-23` is `*`, so the job is a wildcard one.", rewrite=as_star),
    Reason("fixed times that come twice", "They run twice.", fold="none"),
    Reason("wildcard times in a gap", "They run after it, once, as fixed times do.", gap="all"),
    Reason(
        "corrections of more than three hours", "A day that a zone leaves out is made up for.",
        limit=timedelta(days=3),
    ),
    Reason("special forms in both day fields", "Both must match.", days="and", when=lambda text: bool(re.search(r"[LW#].* .*|[LW#]$", text))),
    Reason(
        "after a change off the hour", "Where a change is not on the hour, times after it are lost.", seen=off_the_hour,
    ),
)  # fmt: skip

SYSTEMD = (
    Reason("both day fields", "Weekday and date must match, always; crontab(5) lets either do when neither begins with `*`.", days="and"),
    Reason("fixed times in a gap", "They do not run that day.", gap="none"),
    Reason("wildcard times that come twice", "They run in one pass only, so `*:00` leaves a hole of two hours.", fold="all"),
    Reason("the second pass as the start", "Asked in the second pass of a repeated hour, a fixed time runs in it.", fold="none"),
    Reason(
        "unusual changes of the clock", "Around a change that is not one hour of summer time, on the hour, it loses "
        "times or mixes both passes: Chatham, Lord Howe, Troll, Moscow 2014, Newfoundland until 2011, Dublin (whose summer time "
        "is the standard).", seen=unusual,
    ),
)  # fmt: skip
