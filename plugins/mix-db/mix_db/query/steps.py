"""The first layer of a query: sets of rows from the indexes, put together by bitmap algebra.

A step answers for a filter and one of its two answers, true or false, which rows have it. The set may be too large,
never too small; `exact` says that it is neither. What undefined is has neither answer, so that `not` is the other
answer, and `and` and `or` are intersection and union, by Kleene's rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

from pyroaring import AbstractBitMap, BitMap

from mix_db.index.part import Column, Path, ambiguous, text_key
from mix_db.query.ast import And, Filter, Not
from mix_db.query.refs import row_of_ref
from mix_db.query.verdict import text_of
from mix_db.versions.snapshot import Snapshot

__all__ = [
    "READ",
    "AllOf",
    "AnyOf",
    "Condition",
    "Join",
    "Known",
    "Lookup",
    "Minus",
    "Scan",
    "Step",
    "Unknown",
    "union",
]

Condition = tuple[Filter, bool]
"""A filter, and the answer that is asked for."""

READ: Final = 8.0
"""About what reading and checking a row costs, in microseconds."""

_KEY: Final = 0.7
_FIND: Final = 8.0
_EVERY: Final = 100
_FEW: Final = 2


def union(bitmaps: Sequence[AbstractBitMap]) -> AbstractBitMap:
    """The rows of all; not to be changed."""
    if len(bitmaps) == 1:
        return bitmaps[0]
    return bitmaps[0].union(*bitmaps[1:]) if bitmaps else BitMap()


class Step(ABC):
    """Rows for which a filter has an answer.

    Attributes:
        name: what kind of step it is, for `explain`.
        cost: about the microseconds that `rows` takes, if they are many.
        elementwise: whether different elements of one array may make it true, when it asks about elements.
        exact: whether `rows` has no row too many. Known for sure only after `rows`.
        condition: what it answers; None if that is no filter of the query.
        parts: the steps it is made of.
    """

    name = "index"
    cost = 0.0
    elementwise = True

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self.condition: Condition | None = None
        self._known: AbstractBitMap | None = None
        self.note = ""
        self.parts: list[Step] = []
        self._estimated: int | None = None

    @property
    def estimate(self) -> int:
        """About how many rows there are, before anything was done."""
        if self._estimated is None:
            self._estimated = self._estimate()
        return self._estimated

    @abstractmethod
    def _estimate(self) -> int: ...

    def rows(self) -> AbstractBitMap:
        """The rows, found when they are asked for first. Not to be changed."""
        if self._known is None:
            self._known = self._rows()
        return self._known

    @property
    def found(self) -> int | None:
        """How many rows there were, None if they have not been asked for."""
        return None if self._known is None else len(self._known)

    @abstractmethod
    def _rows(self) -> AbstractBitMap: ...

    def unsettled(self) -> list[Condition]:
        """After `rows`: what each of the rows must still be asked, to have no row too many."""
        if self.exact:
            return []
        assert self.condition is not None
        return [self.condition]


class Known(Step):
    """Rows that are known without looking anything up."""

    elementwise = False

    def __init__(self, rows: AbstractBitMap) -> None:
        super().__init__(True)
        self._bitmap = rows

    def _estimate(self) -> int:
        return len(self._bitmap)

    def _rows(self) -> AbstractBitMap:
        return self._bitmap


class Unknown(Step):
    """No index can tell."""

    name = "check"

    def __init__(self, universe: Callable[[], AbstractBitMap], rows: int) -> None:
        super().__init__(False)
        self._universe = universe
        self._size = rows

    def _estimate(self) -> int:
        return self._size

    def _rows(self) -> AbstractBitMap:
        return self._universe()


class Lookup(Step):
    """Rows of some keys of some columns.

    Args:
        pieces: a column, and from which key to which.
        exact: whether all rows of these keys have the answer.
        single: whether a row has one value here, so that the rows of the other keys can be taken away instead.
        place: the path of all the columns, if the same objects stand for them in all lookups.
    """

    def __init__(
        self,
        pieces: Sequence[tuple[Column, list[tuple[int, int]]]],
        *,
        exact: bool,
        single: bool,
        place: Path = (),
    ) -> None:
        super().__init__(exact)
        self._pieces = pieces
        self._single = single
        self._place = place

    def _estimate(self) -> int:
        spans = [(column, i, j) for column, spans in self._pieces for i, j in spans]
        if sum([j - i for _, i, j in spans]) <= _FEW:
            # Nothing is faster for few keys than to look.
            return len(self.rows())
        return sum([column.counts(i, j) for column, i, j in spans])

    def narrowed(self, other: Lookup) -> Lookup | None:
        """The lookup of the rows that both find, if both look at the only value of a row at one place."""
        if not self._single or not other._single or not self._place or self._place != other._place:
            return None
        theirs = {id(column): spans for column, spans in other._pieces}
        pieces = [
            (column, both)
            for column, spans in self._pieces
            if (both := _both(spans, theirs.get(id(column), [])))
        ]
        found = Lookup(pieces, exact=self.exact and other.exact, single=True, place=self._place)
        if self.condition is not None and other.condition is not None:
            filters = [node if truth else Not(node) for node, truth in (self.condition, other.condition)]
            found.condition = And(tuple(filters)), True
        found.elementwise = self.elementwise or other.elementwise
        return found

    def _rows(self) -> AbstractBitMap:
        return union([self._taken(column, spans) for column, spans in self._pieces])

    def _taken(self, column: Column, spans: list[tuple[int, int]]) -> AbstractBitMap:
        if len(spans) == 1:
            start, stop = spans[0]
            return column.rows() if stop - start == len(column) else column.bitmap(start, stop)
        if self._single and 2 * sum([stop - start for start, stop in spans]) > len(column):
            edges = [0, *[edge for span in spans for edge in span], len(column)]
            others = [(i, j) for i, j in zip(edges[::2], edges[1::2], strict=True) if i < j]
            return column.rows() - union([column.bitmap(i, j) for i, j in others])
        return union([column.bitmap(i, j) for i, j in spans])


class Scan(Step):
    """A lookup whose keys are found by looking at all keys of text columns, only when it is run."""

    name = "scan"

    def __init__(self, keys: int, estimate: int, make: Callable[[], Lookup]) -> None:
        super().__init__(True)
        self.cost = keys * _KEY
        self._size = estimate
        self._make = make

    def _estimate(self) -> int:
        return self._size

    def _rows(self) -> AbstractBitMap:
        lookup = self._make()
        self.exact = lookup.exact
        return lookup.rows()


class Minus(Step):
    """Rows of one step that are not rows of another; all of the first, if the other is not exact."""

    name = "minus"

    def __init__(self, step: Step, other: Step) -> None:
        super().__init__(step.exact and other.exact)
        self.cost = step.cost + other.cost
        self.elementwise = step.elementwise
        self.parts = [step, other]

    def _estimate(self) -> int:
        step, other = self.parts
        return max(step.estimate - other.estimate, 0)

    def _rows(self) -> AbstractBitMap:
        step, other = self.parts
        rows = step.rows()
        taken = other.rows()
        self.exact = step.exact and other.exact
        return rows - taken if other.exact else rows


class AnyOf(Step):
    """Rows of any of the steps."""

    name = "or"

    def __init__(self, parts: Sequence[Step], rows: int) -> None:
        super().__init__(all(part.exact for part in parts))
        self._most = rows
        self.cost = sum([part.cost for part in parts])
        self.elementwise = any(part.elementwise for part in parts)
        self.parts = list(parts)

    def _estimate(self) -> int:
        return min(sum([part.estimate for part in self.parts]), self._most)

    def _rows(self) -> AbstractBitMap:
        rows = union([part.rows() for part in self.parts])
        self.exact = all(part.exact for part in self.parts)
        return rows


class AllOf(Step):
    """Rows of all of the steps, the smallest first; one that costs more than reading what is left is left out.

    Args:
        parts: the steps.
        several: whether parts that ask about elements may be true by different ones.
    """

    name = "and"

    def __init__(self, parts: Sequence[Step], *, several: bool) -> None:
        super().__init__(all(part.exact for part in parts))
        self.parts = sorted(parts, key=_by_cost)
        # Its own costs are those of what it cannot do without.
        self.cost = min([part.cost for part in parts])
        elementwise = sum([part.elementwise for part in parts])
        self.elementwise = elementwise > 0
        self._mixed = several and elementwise > 1
        if self._mixed:
            self.exact = False
        self._left_out: list[Step] = []

    def _estimate(self) -> int:
        return min([part.estimate for part in self.parts])

    def _rows(self) -> AbstractBitMap:
        rows: AbstractBitMap | None = None
        for part in self.parts:
            if rows is not None and (isinstance(part, Unknown) or part.cost > READ * len(rows)):
                self._left_out.append(part)
                part.note = "left to the check of rows"
                continue
            rows = part.rows() if rows is None else rows & part.rows()
            if not rows:
                self.exact = True
                return rows
        assert rows is not None
        self.exact = not (self._mixed or self._left_out) and all(part.exact for part in self.parts)
        return rows

    def unsettled(self) -> list[Condition]:
        if self.exact:
            return []
        if self._mixed or any(part.condition is None for part in self.parts):
            return super().unsettled()
        out = {id(part) for part in self._left_out}
        return [
            condition
            for part in self.parts
            for condition in ([part.condition] if id(part) in out and part.condition else part.unsettled())
        ]


class Join(Step):
    """Rows whose ref leads to one of the rows of a step.

    Args:
        snapshot: what is read.
        columns: the refs.
        targets: the step for the records that are led to; it sees all rows.
        tick: called now and then, and may raise.
    """

    name = "join"

    def __init__(
        self, snapshot: Snapshot, columns: Sequence[Column], targets: Step, tick: Callable[[], None]
    ) -> None:
        super().__init__(targets.exact)
        self._keys = sum([len(column) for column in columns])
        # Whichever is less is done: looking at each ref, or at each record that is led to.
        self.cost = _FIND * min(self._keys, targets.estimate) + targets.cost
        self._snapshot = snapshot
        self._columns = columns
        self._tick = tick
        self.parts = [targets]

    def _estimate(self) -> int:
        return sum([column.counts(0, len(column)) for column in self._columns])

    def _rows(self) -> AbstractBitMap:
        targets = self.parts[0].rows()
        self.exact = self.parts[0].exact
        if not targets:
            return targets
        return self._from_refs(targets) if self._keys <= 2 * len(targets) else self._from_targets(targets)

    def _from_refs(self, targets: AbstractBitMap) -> AbstractBitMap:
        found: list[AbstractBitMap] = []
        known: dict[str, bool] = {}
        for column in self._columns:
            for place in range(len(column)):
                if not place % _EVERY:
                    self._tick()
                id = text_of(column.key(place))
                kept = known.get(id)
                if ambiguous(id):
                    kept, self.exact = True, False
                elif kept is None:
                    row = row_of_ref(self._snapshot, id)
                    kept = known[id] = row is not None and row in targets
                if kept:
                    found.append(column.bitmap(place, place + 1))
        return union(found)

    def _from_targets(self, targets: AbstractBitMap) -> AbstractBitMap:
        found: list[AbstractBitMap] = []
        current = self._snapshot.current()
        for count, row in enumerate(targets):
            if not count % 16:
                self._tick()
            texts = [str(row)]
            if row in current:
                texts.append(self._snapshot.read(row)["_rmx_id"].id)
            for text in texts:
                key = text_key(text)
                for column in self._columns:
                    place = column.find(key)
                    if place < len(column) and column.key(place) == key and self._leads(text, row):
                        found.append(column.bitmap(place, place + 1))
                        self.exact = self.exact and not ambiguous(text)
        return union(found)

    def _leads(self, text: str, row: int) -> bool:
        return row_of_ref(self._snapshot, text) == row


def _both(spans: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where spans overlap; each side is in ascending order."""
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(spans) and j < len(others):
        start, stop = max(spans[i][0], others[j][0]), min(spans[i][1], others[j][1])
        if start < stop:
            found.append((start, stop))
        if spans[i][1] < others[j][1]:
            i += 1
        else:
            j += 1
    return found


def _by_cost(step: Step) -> tuple[bool, float, int]:
    return isinstance(step, Unknown), step.cost, step.estimate
