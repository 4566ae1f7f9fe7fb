"""Times in records: a whole or broken number of Unix milliseconds, or a text as ISO 8601 writes it.

A number is read in UTC. A text with a zone is read in UTC too, so that it has the year of the same moment as a number;
one without is read as it stands. Anything else is no time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from mixkit.value import UNDEF, Undef

__all__ = ["PARTS", "UNITS", "part_of", "truncated"]

PARTS: Final = ("year", "month", "day", "hour", "minute", "second", "weekday")
"""What can be asked of a time; a weekday is 1 for Monday to 7."""

UNITS: Final = ("year", "month", "week", "day", "hour", "minute")
"""What a time can be cut down to; a week begins on Monday."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LIMIT: Final = 2**53
_LONGEST: Final = 40

_Found: TypeAlias = datetime | Undef


def part_of(name: str, value: Any) -> int | Undef:
    """A part of a time, undefined for what is none."""
    time = _time(value)
    if isinstance(time, Undef):
        return UNDEF
    part: int = time.isoweekday() if name == "weekday" else getattr(time, name)
    return part


def truncated(value: Any, unit: str) -> int | str | Undef:
    """The beginning of the unit that a time is in: a number for a number, a text for a text, which is a date unless the
    unit is shorter than a day."""
    time = _time(value)
    if isinstance(time, Undef):
        return UNDEF
    start = time.replace(second=0, microsecond=0)
    if unit != "minute":
        start = start.replace(minute=0)
        if unit != "hour":
            start = start.replace(hour=0)
    try:
        match unit:
            case "week":
                start -= timedelta(days=start.weekday())
            case "month":
                start = start.replace(day=1)
            case "year":
                start = start.replace(month=1, day=1)
    except OverflowError:
        return UNDEF
    if type(value) is str:
        if unit not in ("hour", "minute"):
            return start.date().isoformat()
        return start.isoformat().replace("+00:00", "Z")
    return (start - _EPOCH) // timedelta(milliseconds=1)


def _time(value: Any) -> _Found:
    try:
        if type(value) in (int, float):
            return _EPOCH + timedelta(milliseconds=value) if -_LIMIT < value < _LIMIT else UNDEF
        if type(value) is str and len(value) <= _LONGEST:
            found = datetime.fromisoformat(value)
            return found if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        # No such text, or before the year 1 or after 9999.
        return UNDEF
    return UNDEF
