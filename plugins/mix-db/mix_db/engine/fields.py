"""How many different fields the records of a call have. Each becomes columns of the index, which cost memory and work
whatever they hold: a kilobyte and more where the field itself may have five bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from mixkit.errors import RecordError

__all__ = ["Fields", "check_fields"]

_Paths: TypeAlias = dict[str | None, "_Paths"]
"""The paths that lead on from one; None leads to the elements of an array."""


class Fields:
    """The different fields of any number of records."""

    def __init__(self) -> None:
        self._paths: _Paths = {}
        self._shapes: set[tuple[str, ...]] = set()

    def add(self, record: Mapping[str, Any]) -> int:
        """Answers how many of a record's fields were not there before."""
        # PERF: most records of a call have the same names, and only what is nested can have others in it.
        shape = tuple(record)
        if shape not in self._shapes:
            self._shapes.add(shape)
            return _note(record, self._paths)
        fresh = 0
        for name, item in record.items():
            kind = type(item)
            if kind is dict:
                fresh += _note(item, self._paths[name])
            elif kind is list:
                fresh += _note_items(item, self._paths[name])
        return fresh


def check_fields(records: Iterable[Mapping[str, Any]], most: int, index: int = 0) -> None:
    """Refuse records that have more than `most` different fields together, those of maps inside included.

    The records have been checked: their depth is bounded. `index` is the place of the first in its call.

    Raises:
        RecordError: they have more; the path is that of the record with which they are too many.
    """
    fields = Fields()
    count = 0
    for place, record in enumerate(records, index):
        count += fields.add(record)
        if count > most:
            raise RecordError(
                f"expected at most {most} different fields in a call, found more; keep what there is any number of in "
                "arrays or in records of their own, or save fewer records at once",
                f"$[{place}]",
            )


def _note(record: Mapping[str, Any], paths: _Paths) -> int:
    """Add the paths of a map; answers how many are new."""
    fresh = 0
    for name, item in record.items():
        inside = paths.get(name)
        if inside is None:
            inside = paths[name] = {}
            fresh += 1
        kind = type(item)
        if kind is dict:
            fresh += _note(item, inside)
        elif kind is list:
            fresh += _note_items(item, inside)
    return fresh


def _note_items(items: Sequence[Any], paths: _Paths) -> int:
    fresh = 0
    inside = paths.get(None)
    if inside is None:
        inside = paths[None] = {}
        fresh += 1
    for item in items:
        kind = type(item)
        if kind is dict:
            fresh += _note(item, inside)
        elif kind is list:
            fresh += _note_items(item, inside)
    return fresh
