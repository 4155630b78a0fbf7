"""Texts in which agent CLIs name a usage limit, and the moment at which they say that it ends.

Knows the wording of several versions, no process and no clock: `now` comes in (seconds since the epoch). Only texts
of error results belong here; an answer may quote such a text and is no limit.
"""

from __future__ import annotations

import re
from calendar import isleap, month_name
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_LIMITS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"usage limit reached|you['’]ve (?:hit|reached) your (?:[\w.'-]+ ){0,4}limit",
        r"(?:\d+-hour|session|weekly|daily|monthly|opus|sonnet|fable)(?: \w+)? limit reached",
        r"you['’]re out of (?:extra usage|usage credits)",
        r"rate limit (?:exceeded|reached)|exceeded retry limit, last status: 429|(?<!disk )quota exceeded",
        r"exhausted your (?:capacity|daily quota) on this model|RESOURCE_EXHAUSTED|resource (?:has been )?exhausted",
    )
)

_EPOCH = re.compile(r"limit reached\|(?P<epoch>\d{9,11})\b")
_ISO = re.compile(
    r"\b(?:resets?|again|after)(?: at| on)? (?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)", re.IGNORECASE
)
_AT = re.compile(
    r"\b(?:resets?(?: at| on)?|try again (?:at|on)) "
    r"(?:(?P<month>[A-Z][a-z]{2,8}) (?P<day>\d{1,2})(?:st|nd|rd|th)?,? (?:(?P<year>\d{4}),? )?(?:at )?)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?(?: ?(?P<half>[ap])m)?\b(?: \((?P<zone>[\w+/.-]+)\)| (?P<utc>UTC|GMT)\b)?",
    re.IGNORECASE,
)
_UNITS = {"days": "d(?:ays?)?", "hours": "h(?:ours?)?", "minutes": "m(?:in(?:ute)?s?)?", "seconds": "s(?:ec(?:ond)?s?)?"}
_IN = re.compile(
    r"\b(?:try again in|resets? in|(?:reset|retry|again) after)(?: about)?"
    + "".join(rf"(?: ?(?P<{unit}>\d{{1,9}}(?:\.\d+)?) ?{letters}(?![a-z]))?" for unit, letters in _UNITS.items()),
    re.IGNORECASE,
)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# A limit that ended while its text was on the way has ended; it does not come back a day or a year later.
_JUST_NOW = timedelta(minutes=1)
_OF_TODAY = timedelta(days=1)


def names_limit(text: str) -> bool:
    """Whether an error text says that a usage limit or quota is used up."""
    return any(pattern.search(text) for pattern in _LIMITS)


def reset_time(text: str, now: float, zone: tzinfo = UTC) -> float | None:
    """When the limit that `text` names ends, in seconds since the epoch; None where it names no time.

    A clock time without a date is the next such time, a date without a year the next such date. `zone` is that of
    the agent's process; a zone named in the text goes before it.
    """
    for pattern, read in _READERS:
        for match in pattern.finditer(text):
            try:
                found = read(match.groupdict(), now, zone)
            except (ValueError, OverflowError, LookupError, OSError):  # 31 February, a billion days, a zone that nobody knows
                continue
            if found is not None:
                return found
    return None


Groups = Mapping[str, str | None]


def _epoch(groups: Groups, now: float, zone: tzinfo) -> float | None:
    return float(groups["epoch"] or 0)


def _span(groups: Groups, now: float, zone: tzinfo) -> float | None:
    span = {unit: float(number) for unit, number in groups.items() if number}
    return now + timedelta(**span).total_seconds() if span else None


def _iso(groups: Groups, now: float, zone: tzinfo) -> float | None:
    moment = datetime.fromisoformat(groups["iso"] or "")
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def _moment(groups: Groups, now: float, zone: tzinfo) -> float | None:
    hour, minute = _hour(groups), int(groups["minute"] or 0)
    if hour is None:
        return None
    zone = ZoneInfo(groups["zone"]) if groups["zone"] else UTC if groups["utc"] else zone
    here = datetime.fromtimestamp(now, zone)
    return _dated(groups, here.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0), here).timestamp()


def _hour(groups: Groups) -> int | None:
    """Of the day. A bare number is no time: "resets 3 days after"."""
    hour, half = int(groups["hour"] or 0), groups["half"]
    if half is None:
        return hour if groups["minute"] is not None else None
    return hour % 12 + (12 if half in ("p", "P") else 0) if 1 <= hour <= 12 else None


def _dated(groups: Groups, clock: datetime, here: datetime) -> datetime:
    if groups["month"] is None:
        return clock if clock >= here - _JUST_NOW else clock + timedelta(days=1)
    earliest = here - _OF_TODAY
    month, day = _month(groups["month"].lower()), int(groups["day"] or 0)
    if groups["year"] is not None:
        return clock.replace(year=int(groups["year"]), month=month, day=day)
    years = range(here.year, here.year + 9)  # a 29 February is four years away, or eight around 2100
    possible = [clock.replace(year=year, month=month, day=day) for year in years if (month, day) != (2, 29) or isleap(year)]
    return next(moment for moment in possible if moment >= earliest)


def _month(word: str) -> int:
    number = _MONTHS.index(word[:3]) + 1
    if len(word) > 3 and word not in ("sept", month_name[number].lower()):
        raise ValueError
    return number


_READERS: tuple[tuple[re.Pattern[str], Callable[[Groups, float, tzinfo], float | None]], ...] = (
    (_EPOCH, _epoch),
    (_ISO, _iso),
    (_AT, _moment),
    (_IN, _span),
)
