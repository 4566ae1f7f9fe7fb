"""Rows by what one of their fields holds, from columns: in order, in groups, and reading no row where keys suffice."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias

from pyroaring import AbstractBitMap, BitMap

from mix_db.index.part import Column, Key, Kind, Part, Path
from mix_db.index.terms import INDEXED, PREFIX
from mix_db.query.folded_texts import folded_texts
from mix_db.query.folding import fold
from mix_db.query.memory import Memory
from mix_db.query.semantics import sort_key, unique
from mix_db.query.steps import union
from mix_db.query.verdict import is_sure, number_of, text_of
from mix_db.versions.snapshot import Snapshot
from mixkit.value import UNDEF, Ref

__all__ = ["Groups", "Values", "values_at"]

_RANKS: Final = (
    (Kind.NULL,),
    (Kind.BOOL,),
    (Kind.INT, Kind.FLOAT),
    (Kind.STRING,),
    (Kind.REF,),
    (Kind.BINARY,),
    (Kind.ARRAY,),
    (Kind.MAP,),
    (Kind.CASE,),
)
"""Kinds in the order of `sort_key`; those together are one order."""

_CHUNK: Final = 64
_EVERY: Final = 64

Groups: TypeAlias = list[tuple[Any, int]]
"""Different values in the order of their first rows, and how many rows have each; `UNDEF` for rows without."""

_Hit: TypeAlias = tuple[Key, bool, AbstractBitMap]
"""A key, whether all values with it are equal, and the rows of it."""


def values_at(
    snapshot: Snapshot,
    path: tuple[str, ...],
    rows: AbstractBitMap,
    read: Callable[[int], Any],
    tick: Callable[[], None],
    memory: Memory,
    *,
    arrays: bool = False,
) -> Values | None:
    """What the rows hold at a path of field names; None if only reading them can tell, because refs are on the way
    or the field is the engine's.

    Args:
        snapshot: whose indexes are used.
        path: names of fields.
        rows: the rows that count.
        read: what a row holds at the path; for rows whose keys do not say it.
        tick: called now and then, and may raise.
        memory: counts the values that are kept.
        arrays: whether what stands in arrays on the way counts too, so that only reading can tell.
    """
    kinds = (Kind.REF, Kind.ARRAY) if arrays else (Kind.REF,)
    if path[0].startswith(PREFIX) and path[0] not in INDEXED:
        return None
    parts = [part for part in snapshot.parts if part.start < snapshot.rows]
    for part in parts:
        for length in range(1, len(path)):
            for kind in kinds:
                column = part.column(path[:length], kind)
                if column is not None and column.rows().intersect(rows):
                    return None
    return Values(parts, path, rows, read, tick, memory)


@dataclass(slots=True)
class _Held:
    """A column and those of the rows that have a value in it; `whole` if they are all the column's."""

    column: Column
    rows: AbstractBitMap
    whole: bool

    def at(self, start: int, stop: int) -> AbstractBitMap:
        """Those of the rows that have one of these keys."""
        found = self.column.bitmap(start, stop)
        return found if self.whole else found & self.rows


class Values:
    """What rows hold at one path; made by `values_at`."""

    def __init__(
        self,
        parts: Sequence[Part],
        path: Path,
        rows: AbstractBitMap,
        read: Callable[[int], Any],
        tick: Callable[[], None],
        memory: Memory,
    ) -> None:
        self._rows = rows
        self._read = read
        self._tick = tick
        self._hold = memory.hold
        self._held: dict[Kind, list[_Held]] = {}
        for part in parts:
            for kind in Kind:
                column = part.column(path, kind)
                if column is None:
                    continue
                present = column.rows()
                if there := present & rows:
                    # The last part may grow, at rows that do not count.
                    held = _Held(column, there, part is not parts[-1] and len(there) == len(present))
                    self._held.setdefault(kind, []).append(held)

    def keys(self) -> int:
        """How many keys there are to go through."""
        return sum([len(held.column) for some in self._held.values() for held in some])

    def _missing(self) -> AbstractBitMap:
        return self._rows - union([held.rows for some in self._held.values() for held in some])

    # Order

    def ordered(self, *, descending: bool, ci: bool = False) -> Iterator[int]:
        """The rows, sorted as `order` sorts them when they came in ascending order."""
        ranks: tuple[Callable[[], Iterable[int]], ...] = (
            self._missing,
            *[
                (lambda: self._folded(descending))
                if ci and Kind.STRING in kinds
                else self._ranked(kinds, descending)
                for kinds in _RANKS
            ],
        )
        for rank in reversed(ranks) if descending else ranks:
            yield from rank()

    def extreme(self, *, largest: bool) -> int | None:
        """The first row with the smallest or largest value that is neither missing nor null."""
        for kinds in _RANKS[:0:-1] if largest else _RANKS[1:]:
            for row in self._ranked(kinds, largest)():
                return row
        return None

    def _ranked(self, kinds: tuple[Kind, ...], descending: bool) -> Callable[[], Iterator[int]]:
        return lambda: self._rank(kinds, descending)

    def _rank(self, kinds: tuple[Kind, ...], descending: bool) -> Iterator[int]:
        streams = [self._hits(held, descending) for kind in kinds for held in self._held.get(kind, ())]
        hits: Iterable[_Hit] = heapq.merge(*streams, key=itemgetter(0), reverse=descending)
        for _, same in groupby(hits, key=itemgetter(0)):
            together = list(same)
            rows = union([rows for _, _, rows in together])
            if len(rows) == 1 or all(sure for _, sure, _ in together):
                yield from rows
            else:
                yield from self._sorted(rows, descending)

    def _folded(self, descending: bool) -> Iterator[int]:
        """The rows with texts, without regard to case and accents; equal ones by themselves, as their UTF-8 sorts."""
        found: list[tuple[str, bytes, _Held, int]] = []
        for held in self._held.get(Kind.STRING, ()):
            column = held.column
            for place, text in enumerate(folded_texts(column, self._tick)):
                key = column.key(place)
                assert isinstance(key, bytes)
                if text is not None:
                    self._hold([text, key])
                    found.append((text, key, held, place))
                    continue
                for row in held.at(place, place + 1):
                    self._tick()
                    whole = self._read(row)
                    self._hold([whole, whole])
                    found.append((fold(whole), whole.encode(), held, -1 - row))
        found.sort(key=itemgetter(0, 1), reverse=descending)
        for _, same in groupby(found, key=itemgetter(0, 1)):
            self._tick()
            yield from union([_rows_at(held, place) for _, _, held, place in same])

    def _sorted(self, rows: Iterable[int], descending: bool) -> Iterator[int]:
        """Rows of one key that stands for several values."""
        keyed = []
        for row in rows:
            self._tick()
            value = self._read(row)
            self._hold(value)
            keyed.append((sort_key(value), row))
        keyed.sort(key=itemgetter(0), reverse=descending)
        return iter([row for _, row in keyed])

    def _hits(self, held: _Held, descending: bool) -> Iterator[_Hit]:
        """The keys that rows have, in order."""
        column, size = held.column, len(held.column)
        starts = range(0, size, _CHUNK)
        for start in reversed(starts) if descending else starts:
            self._tick()
            for place, rows in _found(held, start, min(start + _CHUNK, size), descending):
                key = column.key(place)
                yield key, is_sure(column.kind, key), rows

    # Groups

    def groups(self) -> Groups:
        """The rows by equal values."""
        easy: dict[tuple[Kind, Key], tuple[int, int, Kind]] = {}
        others: list[AbstractBitMap] = []
        for kind, some in self._held.items():
            for held in some:
                self._count(kind, held, easy, others)
        found = [
            (first, self._value(kind, key, first), count) for (_, key), (first, count, kind) in easy.items()
        ]
        if missing := self._missing():
            found.append((missing.min(), UNDEF, len(missing)))
        for row in union(others):
            self._tick()
            value = self._read(row)
            self._hold(value)
            found.append((row, value, 1))
        found.sort(key=itemgetter(0))
        if not others:
            return [(value, count) for _, value, count in found]
        return [
            (value, sum([found[place][2] for place in places]))
            for value, places in unique(value for _, value, _ in found)
        ]

    def _count(
        self,
        kind: Kind,
        held: _Held,
        easy: dict[tuple[Kind, Key], tuple[int, int, Kind]],
        others: list[AbstractBitMap],
    ) -> None:
        column, rows = held.column, held.rows
        if len(column) > 4 * len(rows):
            others.append(rows)
            return
        for place in range(len(column)):
            if not place % _EVERY:
                self._tick()
            here = held.at(place, place + 1)
            if not here:
                continue
            key = column.key(place)
            if not is_sure(kind, key):
                others.append(here)
                continue
            # Ints and floats are equal where their keys are; for other kinds the kind is told apart.
            name = (kind, key) if kind not in (Kind.INT, Kind.FLOAT) else (Kind.INT, key)
            first, count = here.min(), len(here)
            self._hold(key)
            if (before := easy.get(name)) is not None:
                count += before[1]
                if before[0] < first:
                    first, kind_of_first = before[0], before[2]
                    easy[name] = (first, count, kind_of_first)
                    continue
            easy[name] = (first, count, kind)

    def _value(self, kind: Kind, key: Key, first: int) -> Any:
        match kind:
            case Kind.NULL:
                return None
            case Kind.BOOL:
                return bool(key)
            case Kind.STRING:
                return text_of(key)
            case Kind.REF:
                return Ref(text_of(key))
            case Kind.INT:
                return int(number_of(key))
            case _:
                # The key of zero does not say which of the two it is.
                return number_of(key) or self._read(first)


def _found(held: _Held, start: int, stop: int, descending: bool) -> Iterator[tuple[int, AbstractBitMap]]:
    """Places of keys that rows have, and their rows. Where they are few, halves without any are passed over."""
    rows = held.at(start, stop)
    if not rows:
        return
    if stop - start == 1:
        yield start, rows
    elif 4 * len(rows) > stop - start:
        places = range(start, stop)
        for place in reversed(places) if descending else places:
            if here := held.at(place, place + 1):
                yield place, here
    else:
        middle = (start + stop) // 2
        halves = [(start, middle), (middle, stop)]
        for i, j in reversed(halves) if descending else halves:
            yield from _found(held, i, j, descending)


def _rows_at(held: _Held, place: int) -> AbstractBitMap:
    """The rows of a key, or the one row that a number below zero stands for."""
    return held.at(place, place + 1) if place >= 0 else BitMap([-1 - place])
