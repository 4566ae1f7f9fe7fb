"""The slow evaluator that is obviously right: what every faster way to run a query must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mix_db.query import ast
from mix_db.query.arrays import Arrays
from mix_db.query.errors import QueryError
from mix_db.query.functions import call
from mix_db.query.semantics import (
    MAX_JOINED,
    Members,
    Truth,
    aggregate,
    calculate,
    compared,
    folded_key,
    sort_key,
    unique,
)
from mix_db.query.weight import weigh
from mixkit.errors import ValueKindError
from mixkit.near import meant
from mixkit.value import UNDEF, Case, Ref, Undef, check, kind_of

__all__ = [
    "MAX_ROW",
    "MAX_STEPS",
    "Bundle",
    "Evaluation",
    "Record",
    "Resolver",
    "evaluate",
    "is_current",
]

Record: TypeAlias = Mapping[str, Any]
Resolver: TypeAlias = Callable[[Ref], Record | None]
"""The record that a ref points to, None if there is none."""

MAX_STEPS: Final = 1_000_000
"""Most conditions that are looked at for one row: subqueries in subqueries multiply."""

MAX_ROW: Final = 32 << 20
"""Bytes of a row that a projection makes, about; what stands in it several times counts each time."""


def evaluate(
    query: ast.Query,
    records: Iterable[Record],
    params: Mapping[str, Any] | None = None,
    resolve: Resolver = lambda ref: None,
    *,
    history: bool = False,
) -> list[dict[str, Any]]:
    """Run a query over records in their order.

    Args:
        query: what to run.
        records: all versions of all records, with their `_rmx_*` fields, in row order.
        params: a value for each parameter of the query, and nothing else.
        resolve: leads from refs to records.
        history: whether deleted and superseded versions are seen.

    Raises:
        QueryError: parameters are missing, unknown or of a wrong kind, or an answer would be too large.
    """
    return Evaluation(query, params or {}, resolve).run(records, history=history)


class Evaluation:
    """A query with its parameters. The parts of a run are open to those who do the rest faster.

    Args:
        query: what to run.
        params: a value for each parameter of the query, and nothing else.
        resolve: leads from refs to records.
        tick: called now and then while a filter looks at one row; what it raises ends the run.

    Raises:
        QueryError: parameters are missing, unknown, no values, or of a kind that cannot stand in their place.
    """

    def __init__(
        self,
        query: ast.Query,
        params: Mapping[str, Any],
        resolve: Resolver,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        expected = query.parameters()
        if missing := sorted(expected - params.keys()):
            raise QueryError(f"expected a value for the parameter ${missing[0]}, found none")
        if unknown := sorted(params.keys() - expected):
            known = ", ".join(f"${name}" for name in sorted(expected)) or "none"
            near = meant(unknown[0], expected)
            raise QueryError(
                f"expected no parameters but those of the query ({known}), found ${unknown[0]}{near}"
            )
        for name, value in params.items():
            try:
                check(value, f"${name}", tokens=False)
            except ValueKindError as exc:
                raise QueryError(f"a parameter is no value that a query can hold: {exc}") from None
            if value is UNDEF:
                raise QueryError(f"expected a value for the parameter ${name}, found undefined")
        self._query = query
        self._params = params
        self._resolve = resolve
        self._tick = tick
        self._lists: dict[int, Members] = {}
        self._steps = 0
        self._joined = 0
        self._arrays = Arrays(self._follow, tick)
        for use, node in query.uses:
            self._check_use(use, node)

    def _check_use(self, use: str, node: ast.Scalar | ast.Param) -> None:
        """Refuse what cannot stand in its place, whether or not a row would lead there."""
        match use:
            case "key" if isinstance(node, ast.Param):
                self._name(node)
            case "list":
                compared("in", None, self._constant(node))
            case "pattern":
                compared("like", "", self._constant(node))
            case "part":
                compared("contains:ci", "", self._constant(node))
            case "watermark":
                self.watermark(node)
            case "direction" if isinstance(node, ast.Param):
                self.direction(node)
            case "skip" | "limit" if isinstance(node, ast.Param):
                self.count(use, node)

    def run(self, records: Iterable[Record], *, history: bool = False) -> list[dict[str, Any]]:
        """The rows that come out behind the last stage."""
        rows = [dict(record) for record in records if (history or is_current(record)) and self.keeps(record)]
        return self.stages(rows)

    # Filters

    def keeps(self, record: Record) -> bool:
        """Whether the filter is exactly true of a record."""
        return self.holds([(self._query.filter, True)], record)

    def holds(self, conditions: Iterable[tuple[ast.Filter, bool]], record: Record) -> bool:
        """Whether each of these filters has that truth for a record."""
        self._steps = self._joined = 0
        return all(self.truth(node, record, record) is truth for node, truth in conditions)

    def truth(self, node: ast.Filter, here: Any, root: Record) -> Truth:
        """What a filter answers, with fields read from `here`, and `.field` from `root`."""
        self._steps += 1
        if not self._steps & 255:
            self._check()
        match node:
            case ast.NullFilter():
                return True
            case ast.Comparison(operator, key, value):
                right = (
                    self._listed(value) if operator in ast.LIST_OPERATORS else self.value(value, root, root)
                )
                return compared(operator, self.read(key, here, root), right)
            case ast.Relation():
                return self._related(node, here, root)
            case ast.Exists(key):
                return self.read(key, here, root) is not UNDEF
            case ast.After(watermark):
                return compared(">", field_of(root, "_rmx_rev"), self.watermark(watermark))
            case ast.Not(item):
                truth = self.truth(item, here, root)
                return UNDEF if isinstance(truth, Undef) else not truth
            case ast.And(items):
                return conjunction([self.truth(item, here, root) for item in items])
            case ast.Or(items):
                return disjunction([self.truth(item, here, root) for item in items])
            case ast.Subquery(key, inner):
                within = self._follow(self.read(key, here, root))
                elements = within if type(within) is list else [within] if type(within) is dict else None
                if elements is None:
                    return UNDEF
                return disjunction([self.truth(inner, element, root) for element in elements])

    def _check(self) -> None:
        """Called every 256 steps."""
        if self._steps > MAX_STEPS:
            raise QueryError(f"the query looked at more than {MAX_STEPS} conditions and values for one row")
        self._tick()

    def _related(self, node: ast.Relation, here: Any, root: Record) -> Truth:
        self._steps += 1
        if not self._steps & 255:
            self._check()
        left = self.value(node.left, here, root)
        if node.operator not in ast.LIST_OPERATORS:
            return compared(node.operator, left, self.value(node.right, here, root))
        constant = isinstance(node.right, ast.Param)
        right = self._listed(node.right) if constant else self.value(node.right, here, root)
        return UNDEF if right is UNDEF else compared(node.operator, left, right)

    def _listed(self, node: ast.Expression) -> Members | Any:
        """What stands behind `in`, made ready for many questions; no row changes it."""
        members = self._lists.get(id(node))
        if members is None:
            items = self.value(node, {}, {})
            if type(items) is not list:
                return items
            members = self._lists[id(node)] = Members(items)
        return members

    def watermark(self, node: ast.Scalar | ast.Param) -> str:
        """What stands behind `after`."""
        watermark = self._constant(node)
        if type(watermark) is not str:
            raise QueryError(
                f"expected a watermark, a string, behind `after`, found {type(watermark).__name__}"
            )
        return watermark

    # Keys and values

    def read(self, key: ast.RowKey, here: Any, root: Record) -> Any:
        """What a key leads to, `UNDEF` if to nothing."""
        match key:
            case ast.Field(name):
                return field_of(self._follow(here), name)
            case ast.Param():
                return field_of(self._follow(here), self._name(key))
            case ast.Member(base, name):
                within = root if base is None else self._follow(self.read(base, here, root))
                return field_of(within, name)
            case _:
                # Stages alone ask for what is calculated, once for each row.
                self._steps = self._joined = 0
                return self.value(key, here, root)

    def _name(self, node: ast.Param) -> str:
        field = self._params[node.name]
        if type(field) is not str:
            raise QueryError(f"expected the name of a field in ${node.name}, found {type(field).__name__}")
        return field

    def path(self, key: ast.Key) -> tuple[bool, tuple[str, ...]]:
        """Whether a key begins at the root record, and the names of the fields on its way."""
        names: list[str] = []
        base: ast.Key | None = key
        while isinstance(base, ast.Member):
            names.append(base.name)
            base = base.base
        if base is not None:
            names.append(self._name(base) if isinstance(base, ast.Param) else base.name)
        return base is None, tuple(reversed(names))

    def _follow(self, value: Any) -> Any:
        if type(value) is not Ref:
            return value
        record = self._resolve(value)
        return UNDEF if record is None else dict(record)

    def _constant(self, node: ast.Scalar | ast.Param) -> Any:
        return self._params[node.name] if isinstance(node, ast.Param) else node.value

    def value(self, node: ast.Expression, here: Any, root: Record) -> Any:
        """What an expression answers, with fields read from `here`, and `.field` from `root`."""
        match node:
            case ast.Field() | ast.Member():
                return self.read(node, here, root)
            case ast.Scalar() | ast.Param():
                return self._constant(node)
            case ast.Arithmetic(operator, left, right):
                answer = calculate(operator, self.value(left, here, root), self.value(right, here, root))
            case ast.Call(function, args):
                answer = call(function, [self.value(arg, here, root) for arg in args])
            case ast.Relation():
                return self._related(node, here, root)
            case ast.ListOf(items):
                listed = [self.value(item, here, root) for item in items]
                # An array cannot hold undefined, and an operation on it is undefined.
                return UNDEF if any(item is UNDEF for item in listed) else listed
            case ast.MapOf(entries):
                return {name: self.value(item, here, root) for name, item in entries}
            case ast.CaseOf(name, arg):
                return Case(name) if arg is None else Case(name, self.value(arg, here, root))
            case ast.Object():
                return self.project(node, here, root)
        self._steps += 1
        if not self._steps & 255:
            self._check()
        if type(answer) in (str, list):
            self._joined += len(answer)
            if self._joined > MAX_JOINED:
                raise QueryError(
                    f"operators and functions made more than {MAX_JOINED} characters and items for one row"
                )
        return answer

    # Projection

    def row(self, node: ast.Object, record: Record) -> dict[str, Any]:
        """What an object that is a stage makes of a row. `QueryError` if that is larger than `MAX_ROW`."""
        self._steps = self._joined = 0
        made = self.project(node, record, record)
        # A value that stands in it several times is written out each time.
        if weigh(made, MAX_ROW) > MAX_ROW:
            raise QueryError(f"the query made a row of more than {MAX_ROW} bytes; leave fields out")
        return made

    def project(self, node: ast.Object, here: Any, root: Record) -> dict[str, Any]:
        """The map that an object makes of a record, or of an element at hand."""
        made: dict[str, Any] = {}
        record = here if type(here) is dict or isinstance(here, Mapping) else {}
        for member in node.members:
            match member:
                case ast.AssignMember(name, value, default):
                    answer = self.value(value, here, root)
                    if (answer is UNDEF or answer is None) and default is not None:
                        answer = self.value(default, here, root)
                    made.pop(name, None)
                    if answer is not UNDEF:
                        made[name] = answer
                case ast.CloneMembers(expand):
                    made.update(
                        {name: self._expand(name, item) if expand else item for name, item in record.items()}
                    )
                case ast.RemoveMember(name):
                    made.pop(name, None)
                case ast.FollowRef(name):
                    if name in record:
                        made[name] = self._expanded(record[name])
        return made

    def _expand(self, name: str, value: Any) -> Any:
        # The engine's own refs say which version this is; expanding them would only repeat the record.
        return value if name.startswith("_rmx_") else self._expanded(value)

    def _expanded(self, value: Any) -> Any:
        """The value with its refs, inside arrays and maps too, replaced; not those of the records put in."""
        match value:
            case Ref():
                record = self._resolve(value)
                return value if record is None else dict(record)
            case list():
                return [self._expanded(item) for item in value]
            case dict():
                return {name: self._expanded(item) for name, item in value.items()}
            case _:
                return value

    # Stages

    def stages(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the stages make of the rows that the filter kept."""
        groups: list[Bundle] | None = None
        for stage in self._query.stages:
            if isinstance(stage, ast.Group):
                rows = rows if groups is None else [bundle.record() for bundle in groups]
                keyed = [pair for row in rows for pair in self.keyed(stage.key, row)]
                groups = [
                    Bundle(key, [keyed[i][1] for i in places], {})
                    for key, places in unique([key for key, _ in keyed])
                ]
            elif isinstance(stage, ast.Aggregate):
                if groups is None:
                    groups = [Bundle(UNDEF, rows, {})]
                for bundle in groups:
                    bundle.answers[stage.function] = self._aggregate(stage, bundle.rows)
            else:
                rows = rows if groups is None else [bundle.record() for bundle in groups]
                groups = None
                rows = self._stage(stage, rows)
        return rows if groups is None else [bundle.record() for bundle in groups]

    def _aggregate(self, stage: ast.Aggregate, rows: list[dict[str, Any]]) -> Any:
        if stage.key is None:
            return len(rows)
        return aggregate(stage.function, [value for row in rows for value in self.values(stage.key, row)])

    def _stage(self, stage: ast.Stage, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        match stage:
            case ast.Object():
                return [self.row(stage, row) for row in rows]
            case ast.Where(condition):
                return [row for row in rows if self.holds([(condition, True)], row)]
            case ast.Unnest(key):
                return [part for row in rows for part in self.unnested(key, row)]
            case ast.Order(direction=direction):
                reverse = self.direction(direction) == "desc"
                return sorted(rows, key=lambda row: self.order_key(stage, row), reverse=reverse)
            case ast.Reverse():
                return rows[::-1]
            case ast.Slice(function, count):
                number = self.count(function, count)
                return rows[number:] if function == "skip" else rows[:number]
            case _:
                raise TypeError(f"{type(stage).__name__} is no stage on rows")

    def order_key(self, stage: ast.Order, row: dict[str, Any]) -> Any:
        """What a row is sorted by."""
        value = self.read(stage.key, row, row)
        return folded_key(value) if stage.ci else sort_key(value)

    # Through arrays

    def values(self, key: ast.RowKey, row: Record) -> list[Any]:
        """What a key leads to, for each element of the arrays on its way."""
        found = self.read(key, row, row)
        if found is not UNDEF or not isinstance(key, ast.Member):
            return [found]
        return self._arrays.values(self.path(key)[1], row)

    def keyed(self, key: ast.RowKey, row: dict[str, Any]) -> Iterable[tuple[Any, dict[str, Any]]]:
        """What a key leads to, and the row; where arrays are on its way, a row for each element."""
        found = self.read(key, row, row)
        if found is not UNDEF or not isinstance(key, ast.Member):
            return ((found, row),)
        parts = self._arrays.parted(self.path(key)[1], row, last=False)
        return ((self.read(key, part, part), part) for part in parts)

    def unnested(self, key: ast.Key, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A row for each element of the array that a key leads to; the row itself for what is no array."""
        return self._arrays.parted(self.path(key)[1], row, last=True)

    def direction(self, node: str | ast.Param) -> str:
        """`asc` or `desc`."""
        direction = self._params[node.name] if isinstance(node, ast.Param) else node
        if type(direction) is not str or direction not in ("asc", "desc"):
            found = "another string" if type(direction) is str else f"the kind {kind_of(direction)}"
            raise QueryError(f'expected "asc" or "desc" as the direction of order, found {found}')
        return direction

    def count(self, function: str, node: int | ast.Param) -> int:
        """The number of `skip` or `limit`."""
        count = self._params[node.name] if isinstance(node, ast.Param) else node
        if type(count) is not int or count < 0:
            found = "a negative one" if type(count) is int else f"the kind {kind_of(count)}"
            raise QueryError(f"expected a whole number from 0 in {function}(…), found {found}")
        return count


@dataclass
class Bundle:
    """Rows of one group, and the aggregates over them so far."""

    key: Any
    rows: list[dict[str, Any]]
    answers: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """The row that stands for the group."""
        head = {} if self.key is UNDEF else {"key": self.key}
        return head | (self.answers or {"rows": self.rows})


def is_current(record: Record) -> bool:
    """Whether a version is neither deleted nor superseded."""
    return record.get("_rmx_deleted") is not True and record.get("_rmx_superseded") is not True


def field_of(value: Any, name: str) -> Any:
    """A field of a map; of anything else, and where there is none, `UNDEF`."""
    return value.get(name, UNDEF) if isinstance(value, Mapping) else UNDEF


def conjunction(truths: Iterable[Truth]) -> Truth:
    """Kleene's `and`."""
    found = list(truths)
    return False if False in found else UNDEF if UNDEF in found else True


def disjunction(truths: Iterable[Truth]) -> Truth:
    """Kleene's `or`."""
    found = list(truths)
    return True if True in found else UNDEF if UNDEF in found else False
