"""Moments: watermarks, Unix milliseconds and times with a zone, as positions in the rows."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from mix_db.versions.state import State
from mixkit.errors import QueryError, printable

__all__ = ["ahead", "read_milliseconds", "read_watermark", "state_at", "unreached"]

_WATERMARK: Final = re.compile(r"[0-9]{16}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SLACK: Final = 60_000
"""So far clocks are apart, in milliseconds, without anybody having to know."""


_IS_ONE: Final = "a watermark, which is a string of 16 digits"


def read_watermark(watermark: object, expected: str = _IS_ONE) -> int:
    """The number of the commit that a watermark names. Raises `QueryError` if it is none."""
    if type(watermark) is not str or not _WATERMARK.fullmatch(watermark):
        shown = printable(repr(watermark)[:80])
        raise QueryError(f"expected {expected}, found {shown}")
    return int(watermark)


def read_milliseconds(when: object) -> int:
    """Unix milliseconds of a moment that is no watermark, rounded down. Raises `QueryError` if it is none."""
    if type(when) is int:
        return when
    if isinstance(when, datetime) and when.utcoffset() is not None:
        # Without a float, which would miss the last millisecond now and then.
        return (when - _EPOCH) // _MILLISECOND
    found = "a time without a zone" if isinstance(when, datetime) else f"a {type(when).__name__}"
    raise QueryError(f"expected a watermark, Unix milliseconds or a time with its zone, found {found}")


def state_at(present: State, when: object) -> State:
    """The state behind the last commit that was not later than the moment.

    Raises:
        QueryError: it is no moment, or what was there then may have been dropped.
    """
    horizon = present.view.horizon
    if type(when) is str:
        number = read_watermark(when, f"{_IS_ONE}, Unix milliseconds, or a time with its zone")
        rows = present.first_after(when)
        last = min(number, present.last)
    else:
        milliseconds = read_milliseconds(when)
        rows = present.first_since(milliseconds + 1)
        if milliseconds < present.view.horizon_time:
            last = 0
        else:
            # The rows of the commit at the horizon may all have been dropped.
            last = present.last if rows == present.rows else max(present.behind(rows).last, horizon)
    if last < horizon:
        raise QueryError(
            f"expected a moment that history reaches back to, found one before the watermark {horizon:016d};"
            " a compaction or repair has dropped what was before"
        )
    return present.behind(rows, last)


def ahead(state: State) -> int:
    """How far the last commit lies in the future, in milliseconds: it was made by a clock that was ahead, and no later
    one is dated before it. 0 if it does not."""
    return max(0, max(state.time(), state.view.horizon_time) - time.time_ns() // 1_000_000)


def unreached(state: State) -> list[str]:
    """What is to be said about the moments of the commits, if anything."""
    milliseconds = ahead(state)
    if milliseconds < _SLACK:
        return []
    return [
        f"expected commits of the past, found the last one dated {milliseconds // 1000} s ahead of this machine's"
        " clock: a clock was ahead when it, or one before it, was stored; until that time comes as_of of a time leaves"
        " out what is stored now, so ask as of a watermark; to be rid of it, export the records and import them into a"
        " new database"
    ]
