"""From a filter to the steps of the first layer: what the indexes of a snapshot can answer of it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pyroaring import AbstractBitMap, BitMap

from mix_db.index.part import Column, Kind, Part, Path
from mix_db.index.terms import INDEXED, PREFIX
from mix_db.query import ast
from mix_db.query.evaluate import Evaluation
from mix_db.query.steps import AllOf, AnyOf, Join, Known, Lookup, Minus, Scan, Step, Unknown
from mix_db.query.verdict import Test, Verdict
from mix_db.versions.snapshot import Snapshot

__all__ = ["Planner"]

_WATERMARK: Final = re.compile(r"[0-9]{16}", re.ASCII)
_NUMBERED: Final = ("_rmx_row", "_rmx_rev", "_rmx_last_modified_at")
"""Fields that every row has, and that never decrease from row to row."""

_WILD: Final = re.compile(r"[%_\\]")
_FAR: Final = 2**62
_BELOW_AT_ABOVE: Final = {
    "==": (False, True, False),
    "<": (True, False, False),
    "<=": (True, True, False),
    ">": (False, False, True),
    ">=": (False, True, True),
}


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where the fields of a filter are read.

    Attributes:
        base: path of the value that they are fields of.
        several: whether a row has several such values, of which one must satisfy the filter.
        rooted: whether the rows are those that `.field` is read from.
    """

    base: Path = ()
    several: bool = False
    rooted: bool = True


_TOP: Final = _Scope()
_FOREIGN: Final = _Scope(rooted=False)


class Planner:
    """Makes the steps for filters of one query on one snapshot.

    Args:
        snapshot: whose indexes are used.
        evaluation: the query's parameters.
        tick: called now and then, and may raise.
    """

    def __init__(self, snapshot: Snapshot, evaluation: Evaluation, tick: Callable[[], None]) -> None:
        self._snapshot = snapshot
        self._evaluation = evaluation
        self._tick = tick
        self._rows = snapshot.rows
        self._parts: list[Part] = [part for part in snapshot.parts if part.start < snapshot.rows]
        self._known: dict[tuple[Path, Kind], list[Column]] = {}
        self._tests: dict[int, Test] = {}
        self._targets: dict[tuple[int, tuple[str, ...], bool], Step] = {}
        self._subqueries: dict[tuple[int, bool, _Scope], Step] = {}

    @cached_property
    def _universe(self) -> AbstractBitMap:
        return BitMap(range(self._rows))

    def plan(self, node: ast.Filter) -> Step:
        """The step for the rows of which a filter is true; rows that the query does not see may be among them."""
        return self._build(node, True, _TOP)

    def _build(self, node: ast.Filter, want: bool, scope: _Scope) -> Step:
        """The step for the rows, or records that refs lead to, for which a filter has an answer."""
        self._tick()
        match node:
            case ast.Not(item):
                return self._build(item, not want, scope)
            case ast.Comparison(key=key):
                step = self._keyed(node, self._test(node), key, want, scope)
            case ast.Exists(key) if want:
                step = self._keyed(node, self._test(node), key, want, scope)
            case ast.Exists():
                step = self._absent(node, scope)
            case ast.Subquery():
                step = self._subquery(node, want, scope)
            case ast.Relation():
                step = self._unknown()
            case ast.NullFilter():
                step = Known(self._universe if want else BitMap())
            case ast.After(watermark):
                step = self._after(self._evaluation.watermark(watermark), want, scope)
            case ast.And(items) | ast.Or(items):
                parts = [self._build(item, want, scope) for item in items]
                if isinstance(node, ast.And) is want:
                    step = _all_of(parts, several=scope.several)
                else:
                    step = self._any_of(parts)
        step.condition = (node, want)
        return step

    def _any_of(self, parts: Sequence[Step]) -> Step:
        if any(isinstance(part, Unknown) for part in parts):
            return self._unknown()
        if len(parts) == 1:
            return parts[0]
        return AnyOf(parts, self._rows) if parts else Known(BitMap())

    def _unknown(self) -> Step:
        return Unknown(lambda: self._universe, self._rows)

    def _test(self, node: ast.Comparison | ast.Exists) -> Test:
        test = self._tests.get(id(node))
        if test is None:
            if isinstance(node, ast.Comparison):
                test = Test(node.operator, self._evaluation.value(node.value, {}, {}), self._tick)
            else:
                test = Test("exists", None, self._tick)
            self._tests[id(node)] = test
        return test

    # Keys

    def _keyed(self, node: ast.Filter, test: Test, key: ast.Key, want: bool, scope: _Scope) -> Step:
        rooted, names = self._evaluation.path(key)
        if not rooted:
            return self._led(node, test, names, want, scope)
        if not scope.rooted:
            return self._unknown()
        step = self._led(node, test, names, want, _TOP)
        step.elementwise = False
        return step

    def _led(self, node: ast.Filter, test: Test, names: tuple[str, ...], want: bool, scope: _Scope) -> Step:
        """The step for what the names lead to, by maps and by refs."""
        if not scope.base and _is_engines(names):
            return self._engines(names, test, want)
        steps = self._valued(test, (*scope.base, *names), want, single=not scope.several)
        steps += [
            Join(self._snapshot, columns, self._target(node, test, names[place:], want), self._tick)
            for place, columns in self._refs(scope, names)
        ]
        return self._any_of(steps)

    def _refs(self, scope: _Scope, names: tuple[str, ...]) -> list[tuple[int, list[Column]]]:
        """The refs on the way of the names, and how many names lead to each."""
        # A field of a map and of a record is not read from a ref; one of an element may be.
        first = 0 if scope.base and scope.base[-1] is None else 1
        return [
            (place, columns)
            for place in range(first, len(names))
            if (columns := self._columns((*scope.base, *names[:place]), Kind.REF))
        ]

    def _target(self, node: ast.Filter, test: Test, names: tuple[str, ...], want: bool) -> Step:
        """The step for the records whose own names lead on; made once, since all refs on the way ask for it."""
        place = (id(test), names, want)
        step = self._targets.get(place)
        if step is None:
            step = self._led(node, test, names, want, _FOREIGN)
            step.condition = (_with_key(node, names), want)
            self._targets[place] = step
        return step

    def _columns(self, path: Path, kind: Kind) -> list[Column]:
        """The columns of all parts, the same objects each time: those that grow keep to their order of keys."""
        columns = self._known.get((path, kind))
        if columns is None:
            found = [part.column(path, kind) for part in self._parts]
            columns = self._known[path, kind] = [column for column in found if column is not None]
        return columns

    # Values

    def _valued(self, test: Test, path: Path, want: bool, *, single: bool) -> list[Step]:
        """Steps for the rows whose value at a path has the answer."""
        pieces: list[tuple[Column, list[tuple[int, int]]]] = []
        scanned: list[Column] = []
        exact, elements = True, False
        for kind in test.kinds(want):
            verdict = test.whole(kind)
            for column in self._columns(path, kind):
                if verdict is Verdict.ELEMENTS:
                    elements = True
                    continue
                if verdict is not Verdict.SPLIT:
                    exact = exact and verdict is want
                    pieces.append((column, [(0, len(column))]))
                elif test.scans(kind):
                    scanned.append(column)
                else:
                    spans, sure = _chosen(test, column, want)
                    exact = exact and sure
                    if spans:
                        pieces.append((column, spans))
        steps: list[Step] = [Lookup(pieces, exact=exact, single=single, place=path)] if pieces else []
        if scanned:
            steps.append(_scan(test, scanned, want, single=single))
        if elements:
            steps.append(self._elements(test, path, want, single=single))
        return steps

    def _elements(self, test: Test, path: Path, want: bool, *, single: bool) -> Step:
        """The rows whose array at a path has the answer, by its elements."""
        arrays = self._kind(path, Kind.ARRAY)
        assert arrays is not None
        if test.operator == "contains":
            witness, answer = self._operator("==", test.value), True
        elif test.operator == "contains:ci":
            witness, answer = self._operator(*_same_text(test.value)), True
        else:
            witness, answer = self._operator("in", test.value), False
        # An element with this answer settles the array's; what has none has the opposite one.
        settled = self._any_of(self._valued(witness, (*path, None), answer, single=False))
        if test.of([]) is not want:
            return settled
        step: Step = Minus(arrays, settled)
        if not single:
            step = arrays
            step.exact = False
        return step

    def _operator(self, operator: str, value: Any) -> Test:
        return Test(operator, value, self._tick)

    def _kind(self, path: Path, kind: Kind) -> Lookup | None:
        pieces = [(column, [(0, len(column))]) for column in self._columns(path, kind)]
        return Lookup(pieces, exact=True, single=False) if pieces else None

    def _absent(self, node: ast.Exists, scope: _Scope) -> Step:
        """The rows where a key leads to nothing."""
        rooted = self._evaluation.path(node.key)[0]
        if scope.several and not rooted:
            return self._unknown()
        there = self._keyed(node, self._test(node), node.key, True, scope)
        if isinstance(there, Unknown):
            return there
        step = Minus(Known(self._universe), there)
        step.elementwise = not rooted
        return step

    # Subqueries

    def _subquery(self, node: ast.Subquery, want: bool, scope: _Scope) -> Step:
        rooted, names = self._evaluation.path(node.key)
        if rooted and not scope.rooted:
            return self._unknown()
        # Subqueries in subqueries are asked for by maps, arrays and refs on the way, often at the same place.
        place = (id(node), want, _TOP if rooted else scope)
        step = self._subqueries.get(place)
        if step is None:
            step = self._subqueries[place] = self._within(node, names, want, place[2])
            step.elementwise = True
        return step

    def _within(self, node: ast.Subquery, names: tuple[str, ...], want: bool, scope: _Scope) -> Step:
        if not scope.base and _is_engines(names):
            return self._unknown()
        path = (*scope.base, *names)
        steps: list[Step] = []
        maps = self._kind(path, Kind.MAP)
        if maps:
            maps.elementwise = False
            inner = self._build(node.filter, want, dataclasses.replace(scope, base=path))
            steps.append(AllOf([maps, inner], several=scope.several))
        arrays = self._kind(path, Kind.ARRAY)
        if arrays and want:
            inside = _Scope((*path, None), several=True, rooted=scope.rooted)
            filled = self._any_of(
                self._valued(self._operator("exists", None), inside.base, True, single=False)
            )
            filled.elementwise = False
            steps.append(AllOf([filled, self._build(node.filter, True, inside)], several=True))
        elif arrays:
            arrays.exact = False
            steps.append(arrays)
        if columns := self._columns(path, Kind.REF):
            target = self._build(node.filter, want, _FOREIGN)
            steps.append(Join(self._snapshot, columns, target, self._tick))
        for place, columns in self._refs(scope, names):
            steps.append(
                Join(self._snapshot, columns, self._inner_target(node, names[place:], want), self._tick)
            )
        return self._any_of(steps)

    def _inner_target(self, node: ast.Subquery, names: tuple[str, ...], want: bool) -> Step:
        place = (id(node), names, want)
        step = self._targets.get(place)
        if step is None:
            step = self._within(node, names, want, _FOREIGN)
            step.condition = (_with_key(node, names), want)
            self._targets[place] = step
        return step

    # Fields of the engine

    def _after(self, watermark: str, want: bool, scope: _Scope) -> Step:
        if not scope.rooted or not _WATERMARK.fullmatch(watermark):
            return self._unknown()
        first = self._snapshot.first_after(watermark)
        return Known(BitMap(range(first, self._rows) if want else range(first)))

    def _engines(self, names: tuple[str, ...], test: Test, want: bool) -> Step:
        name, *rest = names
        if rest:
            return self._unknown()
        flagged = self._flagged(name, test)
        if flagged is not None:
            truth = test.of(True)
            return Known(flagged if truth is want else BitMap())
        if name not in _NUMBERED:
            return self._unknown()
        if test.operator == "exists":
            return Known(self._universe if want else BitMap())
        edges = self._edges(name, test.value) if test.operator in _BELOW_AT_ABOVE else None
        if edges is None:
            return self._unknown()
        low, high = edges
        found = BitMap()
        answers = _BELOW_AT_ABOVE[test.operator]
        for span, answer in zip(((0, low), (low, high), (high, self._rows)), answers, strict=True):
            if (answer is not test.swapped) is want:
                found.update(range(*span))
        return Known(found)

    def _flagged(self, name: str, test: Test) -> AbstractBitMap | None:
        """The rows that have a field which is true wherever it is there."""
        visible = self._snapshot.visible
        if name == "_rmx_deleted":
            return self._universe - visible(deleted=False, superseded=True)
        if name == "_rmx_superseded" or (name == "_rmx_superseded_at" and test.operator == "exists"):
            return self._universe - visible(deleted=True, superseded=False)
        return None

    def _edges(self, name: str, value: Any) -> tuple[int, int] | None:
        """The first row whose field is not less than a value, and the first whose field is greater; None if they do
        not compare, or only the rows can tell."""
        if name == "_rmx_rev":
            if type(value) is not str or not _WATERMARK.fullmatch(value):
                return None
            before = f"{int(value) - 1:016}"
            low = self._snapshot.first_after(before) if int(value) else 0
            return low, self._snapshot.first_after(value)
        if type(value) not in (int, float) or value != value:
            return None
        near = min(max(value, -_FAR), _FAR)
        low, high = math.ceil(near), math.floor(near) + 1
        if name == "_rmx_row":
            return min(max(low, 0), self._rows), min(max(high, 0), self._rows)
        return self._snapshot.first_since(low), self._snapshot.first_since(high)


def _all_of(parts: Sequence[Step], *, several: bool) -> Step:
    """The rows of all; lookups of one value, as `a > 1 and a < 9` has them, become one."""
    made: list[Step] = []
    for part in parts:
        for place, other in enumerate(made):
            if isinstance(part, Lookup) and isinstance(other, Lookup) and (both := other.narrowed(part)):
                made[place] = both
                break
        else:
            made.append(part)
    return AllOf(made, several=several) if len(made) > 1 else made[0]


def _same_text(value: Any) -> tuple[str, Any]:
    """The comparison of an element that `contains:ci` looks for."""
    return ("like:ci", _WILD.sub(r"\\\g<0>", value)) if type(value) is str else ("==", value)


def _is_engines(names: tuple[str, ...]) -> bool:
    return names[0].startswith(PREFIX) and names[0] not in INDEXED


def _chosen(test: Test, column: Column, want: bool) -> tuple[list[tuple[int, int]], bool]:
    """The keys that have the answer or may have it, and whether all have it."""
    spans = [span for span in test.spans(column) if span[2] is want or span[2] is Verdict.UNSURE]
    return [(start, stop) for start, stop, _ in spans], all(truth is want for _, _, truth in spans)


def _scan(test: Test, columns: Sequence[Column], want: bool, *, single: bool) -> Step:
    def lookup() -> Lookup:
        chosen = [(column, *_chosen(test, column, want)) for column in columns]
        pieces = [(column, spans) for column, spans, _ in chosen if spans]
        return Lookup(pieces, exact=all(sure for _, _, sure in chosen), single=single)

    keys = sum([len(column) for column in columns])
    return Scan(keys, sum([column.counts(0, len(column)) for column in columns]), lookup)


def _with_key(node: ast.Filter, names: tuple[str, ...]) -> ast.Filter:
    """The filter, asked of what the names lead to."""
    key: ast.Key = ast.Field(names[0])
    for name in names[1:]:
        key = ast.Member(key, name)
    assert isinstance(node, ast.Comparison | ast.Exists | ast.Subquery)
    return dataclasses.replace(node, key=key)
