"""The rows of a query, batch by batch, in the form that is asked for: as maps, or as they are kept.

Rows that are whole records, or whole fields of these, are known by their numbers to the end. Nothing of them is made
unless somebody asks for maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, Protocol, TypeAlias

from mix_db.query.ast import AssignMember, CloneMembers, Field, Member, Object, RemoveMember
from mix_db.query.weight import weigh
from mix_db.versions.public import ALL, MAX_NAMES, Choice
from mix_db.versions.snapshot import Snapshot
from mixkit.rows import Rows, ValueRows
from mixkit.storage import BATCH, BATCH_BYTES

__all__ = ["Found", "Made", "Reading", "Stored", "choice_of"]

Row: TypeAlias = dict[str, Any]


class Found(Protocol):
    """Rows that are not given yet. Each call gives the next ones, at most as many as are asked for, and fewer as soon
    as they have `BATCH_BYTES`; none when there are no more."""

    def values(self, most: int = BATCH) -> list[Row]:
        """As maps."""
        ...

    def rows(self, most: int = BATCH) -> Rows:
        """As they are at hand."""
        ...


class Made:
    """Rows that were calculated."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows

    def values(self, most: int = BATCH) -> list[Row]:
        batch: list[Row] = []
        left = BATCH_BYTES
        for row in self._rows:
            batch.append(row)
            left -= weigh(row, left)
            if left <= 0 or len(batch) == most:
                break
        return batch

    def rows(self, most: int = BATCH) -> Rows:
        return ValueRows(self.values(most))


class Stored:
    """Versions by the numbers of their rows. Who has begun to get them as maps gets maps.

    Args:
        snapshot: where they are.
        numbers: the rows, in the order of the answer.
        read: makes the maps of rows; of those of `numbers`, if they are asked for in their order.
        choice: what of them is wanted.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        numbers: Iterator[int],
        read: Callable[[Iterator[int]], Iterator[Row]],
        choice: Choice = ALL,
    ) -> None:
        self.numbers = numbers
        self._snapshot = snapshot
        self._read = read
        self._choice = choice
        self._made: Made | None = None

    def __iter__(self) -> Iterator[Row]:
        rows = self._read(self.numbers)
        return rows if self._choice is ALL else map(self._choice.of, rows)

    def of(self, numbers: Iterator[int], choice: Choice = ALL) -> Stored:
        """The same with what was made of the numbers, and a choice."""
        return Stored(self._snapshot, numbers, self._read, choice)

    def values(self, most: int = BATCH) -> list[Row]:
        if self._made is None:
            self._made = Made(iter(self))
        return self._made.values(most)

    def rows(self, most: int = BATCH) -> Rows:
        if self._made is not None:
            # Some of what comes next has been read.
            return self._made.rows(most)
        # Long names of short fields count as well.
        numbers = list(islice(self.numbers, min(most, 1 + BATCH_BYTES // (1 + self._choice.size))))
        found = self._snapshot.take(numbers, self._choice)
        if len(found) < len(numbers):
            self.numbers = chain(numbers[len(found) :], self.numbers)
        return found


class Reading:
    """The numbers of rows that had to be read to find out whether they are wanted; the last of them as it was read.

    Args:
        rows: the rows and their numbers.
        read: reads one.
    """

    def __init__(self, rows: Iterator[tuple[int, Row]], read: Callable[[int], Row]) -> None:
        self._rows = rows
        self._read = read
        self._last: tuple[int, Row] | None = None

    def __iter__(self) -> Iterator[int]:
        for last in self._rows:
            self._last = last
            yield last[0]

    def records(self, numbers: Iterator[int]) -> Iterator[Row]:
        """The rows of these numbers. The last one was read already."""
        for row in numbers:
            last, self._last = self._last, None
            yield last[1] if last is not None and last[0] == row else self._read(row)


def choice_of(block: Object) -> Choice | None:
    """The whole fields that an object keeps of a record; None if it makes anything else, or one twice."""
    dropped: set[str] = set()
    picks: dict[str, str] = {}
    everything = False
    for member in block.members:
        match member:
            case CloneMembers(expand=False) if not everything and not picks:
                everything = True
                dropped.clear()
            case RemoveMember(name):
                dropped.add(name)
                picks.pop(name, None)
            case AssignMember(name, Field(source) | Member(None, source), None) if not everything:
                picks.pop(name, None)
                picks[name] = source
            case _:
                return None
    if len(dropped if everything else picks) > MAX_NAMES:
        return None
    if everything:
        return Choice(frozenset(dropped))
    if len(set(picks.values())) < len(picks):
        return None
    return Choice(picks=tuple([(source, called) for called, source in picks.items()]))
