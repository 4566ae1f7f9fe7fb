"""Names and kinds in a query that no record has: what is asked for can be there, but more likely it is misspelt.

Only what the query reads of the records themselves is looked at, not what its stages make of them. Whether a record has
it now or in one of its versions makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeAlias

from mix_db.index.part import Kind, Part, Path, text_key
from mix_db.index.terms import INDEXED, KINDS, PREFIX
from mix_db.query import ast
from mix_db.query.evaluate import Evaluation
from mix_db.query.verdict import text_of
from mix_db.versions.snapshot import Snapshot
from mixkit.near import meant

__all__ = ["MAX_WARNINGS", "warnings_of"]

MAX_WARNINGS: Final = 10
"""Most warnings about one query."""

_LONGEST: Final = 80
"""Most characters of a name that are shown."""

_NEAR: Final = 1_000
"""Most names that are looked at for a near one."""

_ENGINES: Final = frozenset(
    {
        "_rmx_row", "_rmx_rev", "_rmx_previous", "_rmx_last_modified_at", "_rmx_deleted", "_rmx_superseded",
        "_rmx_superseded_at",
    }
) | INDEXED  # fmt: skip
_ORDERED: Final = ("==", "<", "<=", ">", ">=")
_ALIKE: Final = ({Kind.INT, Kind.FLOAT}, {Kind.NULL}, {Kind.BOOL}, {Kind.STRING}, {Kind.REF})
_NAMES: Final = {
    Kind.NULL: "null", Kind.BOOL: "bool", Kind.INT: "number", Kind.FLOAT: "number", Kind.STRING: "string",
    Kind.REF: "ref", Kind.BINARY: "binary", Kind.ARRAY: "array", Kind.MAP: "map", Kind.CASE: "case",
}  # fmt: skip

_Paths: TypeAlias = frozenset[Path]
_ROOT: Final[_Paths] = frozenset([()])


def warnings_of(query: ast.Query, evaluation: Evaluation, snapshot: Snapshot) -> list[str]:
    """A sentence for each name that no record has, at most `MAX_WARNINGS`; none while there are no records."""
    if not snapshot.rows:
        return []
    found: dict[str, None] = {}
    for warning in _Search(evaluation, snapshot.parts).query(query):
        found[warning] = None
        if len(found) == MAX_WARNINGS:
            break
    return list(found)


class _Search:
    def __init__(self, evaluation: Evaluation, parts: Iterable[Part]) -> None:
        self._evaluation = evaluation
        self._parts = list(parts)

    def query(self, query: ast.Query) -> Iterator[str]:
        yield from self._filter(query.filter, _ROOT, False)
        for stage in query.stages:
            match stage:
                case ast.Where(inner):
                    yield from self._filter(inner, _ROOT, False)
                case ast.Object():
                    yield from self._expression(stage, _ROOT)
                case ast.Unnest(key):
                    yield from self._key(key, _ROOT)
                case ast.Order(row_key) | ast.Group(row_key) | ast.Aggregate(key=row_key) if (
                    row_key is not None
                ):
                    if isinstance(row_key, ast.Key):
                        yield from self._key(row_key, _ROOT)
                    else:
                        yield from self._expression(row_key, _ROOT)
            if isinstance(stage, ast.Object | ast.Group | ast.Unnest):
                # What comes behind are no records.
                return

    def _filter(self, node: ast.Filter, here: _Paths, negated: bool) -> Iterator[str]:
        match node:
            case ast.And(items) | ast.Or(items):
                for item in items:
                    yield from self._filter(item, here, negated)
            case ast.Not(item):
                yield from self._filter(item, here, not negated)
            case ast.Exists(key):
                # Whether there is one is the question; that there is none may well be the answer.
                if not negated:
                    yield from self._key(key, here)
            case ast.Comparison(operator, key, value):
                warnings = list(self._key(key, here))
                yield from warnings or self._value(operator, key, value, here)
            case ast.Relation(_, left, right):
                yield from self._expression(left, here)
                yield from self._expression(right, here)
            case ast.Subquery(key, inner):
                warnings = list(self._key(key, here))
                yield from warnings or self._filter(inner, self._inside(self._places(key, here)), negated)

    def _expression(self, node: ast.Expression, here: _Paths) -> Iterator[str]:
        match node:
            case ast.Field() | ast.Member():
                yield from self._key(node, here)
            case ast.ListOf(items) | ast.Call(_, items):
                for item in items:
                    yield from self._expression(item, here)
            case ast.Arithmetic(_, left, right) | ast.Relation(_, left, right):
                yield from self._expression(left, here)
                yield from self._expression(right, here)
            case ast.Object(members):
                for member in members:
                    match member:
                        case ast.AssignMember(_, value, default):
                            yield from self._expression(value, here)
                            if default is not None:
                                yield from self._expression(default, here)
                        case ast.FollowRef(name):
                            yield from self._key(ast.Field(name), here)

    # Where keys lead

    def _key(self, key: ast.Key, here: _Paths) -> Iterator[str]:
        """That a name of a key is not known where it is read."""
        rooted, names = self._evaluation.path(key)
        places = _ROOT if rooted else here
        for place, name in enumerate(names):
            following = self._step(places, name)
            if not following:
                path = ".".join(names[: place + 1])
                yield f"no record has a field {_shown(path)}{meant(name, self._names(places))}"
                return
            places = following

    def _places(self, key: ast.Key, here: _Paths) -> _Paths:
        rooted, names = self._evaluation.path(key)
        places = _ROOT if rooted else here
        for name in names:
            places = self._step(places, name)
        return places

    def _step(self, places: _Paths, name: str) -> _Paths:
        if () in places and name in _ENGINES:
            return frozenset([(name,)])
        return frozenset([path for place in self._inside(places) if self._kinds(path := (*place, name))])

    def _inside(self, places: _Paths) -> _Paths:
        """The places, those of the elements of arrays there, and the records that refs there lead to."""
        found = set(places)
        pending = list(places)
        for place in pending:
            kinds = self._kinds(place)
            more: list[Path] = [(*place, None)] if Kind.ARRAY in kinds else []
            if Kind.REF in kinds or place[:1] == ("_rmx_previous",):
                more.append(())
            pending += [path for path in more if path not in found]
            found.update(more)
        return frozenset(found)

    def _kinds(self, path: Path) -> set[Kind]:
        return {kind for part in self._parts for kind in part.kinds(path)}

    def _names(self, places: _Paths) -> Iterator[str]:
        inside = self._inside(places)
        names = (name for part in self._parts for path in inside for name in part.names(path))
        return islice(names, _NEAR)

    # What is compared

    def _value(self, operator: str, key: ast.Key, node: ast.Constant, here: _Paths) -> Iterator[str]:
        names = self._evaluation.path(key)[1]
        if names[0].startswith(PREFIX) and names[0] not in INDEXED:
            return
        value = self._evaluation.value(node, {}, {})
        if names == ("_rmx_type",):
            for wanted in value if operator == "in" else [value] if operator == "==" else []:
                if type(wanted) is str and not self._is_type(wanted):
                    yield f"no record is of the type {_shown(wanted)}{meant(wanted, self._types())}"
            return
        kind = KINDS.get(type(value))
        alike = next((each for each in _ALIKE if kind in each), None)
        if operator not in _ORDERED or alike is None or kind is Kind.NULL:
            return
        kinds = {each for place in self._places(key, here) for each in self._kinds(place)}
        if kinds and not alike & kinds:
            has = " or ".join(sorted({_NAMES[each] for each in kinds}))
            yield f"no record has a {_NAMES[next(iter(alike))]} in {_shown('.'.join(names))}, only {has}"

    def _is_type(self, wanted: str) -> bool:
        key = text_key(wanted)
        for part in self._parts:
            column = part.column(("_rmx_type",), Kind.STRING)
            if column is not None and len(column.lookup(key)):
                return True
        return False

    def _types(self) -> Iterator[str]:
        for part in self._parts:
            column = part.column(("_rmx_type",), Kind.STRING)
            if column is not None:
                yield from [text_of(column.key(place)) for place in range(min(len(column), _NEAR))]


def _shown(name: str) -> str:
    return repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…")
