"""The slow evaluator that is obviously right: what every faster way to run a query must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mix_db.query.ast import (
    LIST_OPERATORS,
    After,
    Aggregate,
    And,
    Arithmetic,
    AssignMember,
    CaseOf,
    CloneMembers,
    Comparison,
    Constant,
    Exists,
    Expression,
    Field,
    Filter,
    FollowRef,
    Group,
    Key,
    ListOf,
    MapOf,
    Member,
    Not,
    NullFilter,
    Object,
    Or,
    Order,
    Param,
    Query,
    RemoveMember,
    Reverse,
    Scalar,
    Slice,
    Stage,
    Subquery,
)
from mix_db.query.errors import QueryError
from mix_db.query.semantics import (
    MAX_JOINED,
    Members,
    Truth,
    aggregate,
    calculate,
    compared,
    sort_key,
    unique,
)
from mix_db.query.weight import weigh
from mixkit.errors import ValueKindError
from mixkit.near import meant
from mixkit.value import UNDEF, Case, Ref, Undef, check, kind_of

__all__ = ["MAX_ROW", "MAX_STEPS", "Bundle", "Evaluation", "Record", "Resolver", "evaluate", "is_current"]

Record: TypeAlias = Mapping[str, Any]
Resolver: TypeAlias = Callable[[Ref], Record | None]
"""The record that a ref points to, None if there is none."""

MAX_STEPS: Final = 1_000_000
"""Most conditions that are looked at for one row: subqueries in subqueries multiply."""

MAX_ROW: Final = 32 << 20
"""Bytes of a row that a projection makes, about; what stands in it several times counts each time."""


def evaluate(
    query: Query,
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
        query: Query,
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
        for use, node in query.uses:
            self._check_use(use, node)

    def _check_use(self, use: str, node: Scalar | Param) -> None:
        """Refuse what cannot stand in its place, whether or not a row would lead there."""
        match use:
            case "key" if isinstance(node, Param):
                self._name(node)
            case "list":
                compared("in", None, self._constant(node))
            case "pattern":
                compared("like", "", self._constant(node))
            case "watermark":
                self.watermark(node)
            case "direction" if isinstance(node, Param):
                self.direction(node)
            case "skip" | "limit" if isinstance(node, Param):
                self.count(use, node)

    def run(self, records: Iterable[Record], *, history: bool = False) -> list[dict[str, Any]]:
        """The rows that come out behind the last stage."""
        rows = [dict(record) for record in records if (history or is_current(record)) and self.keeps(record)]
        return self.stages(rows)

    # Filters

    def keeps(self, record: Record) -> bool:
        """Whether the filter is exactly true of a record."""
        return self.holds([(self._query.filter, True)], record)

    def holds(self, conditions: Iterable[tuple[Filter, bool]], record: Record) -> bool:
        """Whether each of these filters has that truth for a record."""
        self._steps = 0
        return all(self.truth(node, record, record) is truth for node, truth in conditions)

    def truth(self, node: Filter, here: Any, root: Record) -> Truth:
        """What a filter answers, with fields read from `here`, and `.field` from `root`."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise QueryError(f"the filter looked at more than {MAX_STEPS} conditions for one row")
        if not self._steps & 255:
            self._tick()
        match node:
            case NullFilter():
                return True
            case Comparison(operator, key, value):
                right = self._listed(value) if operator in LIST_OPERATORS else self.value(value, root)
                return compared(operator, self.read(key, here, root), right)
            case Exists(key):
                return self.read(key, here, root) is not UNDEF
            case After(watermark):
                return compared(">", field_of(root, "_rmx_rev"), self.watermark(watermark))
            case Not(item):
                truth = self.truth(item, here, root)
                return UNDEF if isinstance(truth, Undef) else not truth
            case And(items):
                return conjunction([self.truth(item, here, root) for item in items])
            case Or(items):
                return disjunction([self.truth(item, here, root) for item in items])
            case Subquery(key, inner):
                within = self._follow(self.read(key, here, root))
                elements = within if type(within) is list else [within] if type(within) is dict else None
                if elements is None:
                    return UNDEF
                return disjunction([self.truth(inner, element, root) for element in elements])

    def _listed(self, node: Constant) -> Members | Any:
        """What stands behind `in`, made ready for many questions; no row changes it."""
        members = self._lists.get(id(node))
        if members is None:
            items = self.value(node, {})
            if type(items) is not list:
                return items
            members = self._lists[id(node)] = Members(items)
        return members

    def watermark(self, node: Scalar | Param) -> str:
        """What stands behind `after`."""
        watermark = self._constant(node)
        if type(watermark) is not str:
            raise QueryError(
                f"expected a watermark, a string, behind `after`, found {type(watermark).__name__}"
            )
        return watermark

    # Keys and values

    def read(self, key: Key, here: Any, root: Record) -> Any:
        """What a key leads to, `UNDEF` if to nothing."""
        match key:
            case Field(name):
                return field_of(self._follow(here), name)
            case Param():
                return field_of(self._follow(here), self._name(key))
            case Member(base, name):
                within = root if base is None else self._follow(self.read(base, here, root))
                return field_of(within, name)

    def _name(self, node: Param) -> str:
        field = self._params[node.name]
        if type(field) is not str:
            raise QueryError(f"expected the name of a field in ${node.name}, found {type(field).__name__}")
        return field

    def path(self, key: Key) -> tuple[bool, tuple[str, ...]]:
        """Whether a key begins at the root record, and the names of the fields on its way."""
        names: list[str] = []
        base: Key | None = key
        while isinstance(base, Member):
            names.append(base.name)
            base = base.base
        if base is not None:
            names.append(self._name(base) if isinstance(base, Param) else base.name)
        return base is None, tuple(reversed(names))

    def _follow(self, value: Any) -> Any:
        if type(value) is not Ref:
            return value
        record = self._resolve(value)
        return UNDEF if record is None else dict(record)

    def _constant(self, node: Scalar | Param) -> Any:
        return self._params[node.name] if isinstance(node, Param) else node.value

    def value(self, node: Expression, root: Record) -> Any:
        """What an expression answers."""
        match node:
            case Scalar() | Param():
                return self._constant(node)
            case ListOf(items):
                listed = [self.value(item, root) for item in items]
                # An array cannot hold undefined, and an operation on it is undefined.
                return UNDEF if any(item is UNDEF for item in listed) else listed
            case MapOf(entries):
                return {name: self.value(item, root) for name, item in entries}
            case CaseOf(name, arg):
                return Case(name) if arg is None else Case(name, self.value(arg, root))
            case Field() | Member():
                return self.read(node, root, root)
            case Arithmetic(operator, left, right):
                answer = calculate(operator, self.value(left, root), self.value(right, root))
                if isinstance(answer, str | list):
                    self._joined += len(answer)
                    if self._joined > MAX_JOINED:
                        raise QueryError(f"`+` made more than {MAX_JOINED} characters and items for one row")
                return answer
            case Object():
                return self.project(node, root)

    # Projection

    def row(self, node: Object, record: Record) -> dict[str, Any]:
        """What an object that is a stage makes of a row. `QueryError` if that is larger than `MAX_ROW`."""
        self._joined = 0
        made = self.project(node, record)
        # A value that stands in it several times is written out each time.
        if weigh(made, MAX_ROW) > MAX_ROW:
            raise QueryError(f"the query made a row of more than {MAX_ROW} bytes; leave fields out")
        return made

    def project(self, node: Object, record: Record) -> dict[str, Any]:
        """The map that an object makes of a record."""
        made: dict[str, Any] = {}
        for member in node.members:
            match member:
                case CloneMembers(expand):
                    made.update(
                        {name: self._expand(name, item) if expand else item for name, item in record.items()}
                    )
                case RemoveMember(name):
                    made.pop(name, None)
                case FollowRef(name):
                    if name in record:
                        made[name] = self._expanded(record[name])
                case AssignMember(name, value, default):
                    answer = self.value(value, record)
                    if (answer is UNDEF or answer is None) and default is not None:
                        answer = self.value(default, record)
                    made.pop(name, None)
                    if answer is not UNDEF:
                        made[name] = answer
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
            if isinstance(stage, Group):
                rows = rows if groups is None else [bundle.record() for bundle in groups]
                keys = [self.read(stage.key, row, row) for row in rows]
                groups = [Bundle(key, [rows[i] for i in places], {}) for key, places in unique(keys)]
            elif isinstance(stage, Aggregate):
                if groups is None:
                    groups = [Bundle(UNDEF, rows, {})]
                for bundle in groups:
                    bundle.answers[stage.function] = self._aggregate(stage, bundle.rows)
            else:
                rows = rows if groups is None else [bundle.record() for bundle in groups]
                groups = None
                rows = self._stage(stage, rows)
        return rows if groups is None else [bundle.record() for bundle in groups]

    def _aggregate(self, stage: Aggregate, rows: list[dict[str, Any]]) -> Any:
        values = rows if stage.key is None else [self.read(stage.key, row, row) for row in rows]
        return aggregate(stage.function, values)

    def _stage(self, stage: Stage, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        match stage:
            case Object():
                return [self.row(stage, row) for row in rows]
            case Order(key, direction):
                reverse = self.direction(direction) == "desc"
                return sorted(rows, key=lambda row: sort_key(self.read(key, row, row)), reverse=reverse)
            case Reverse():
                return rows[::-1]
            case Slice(function, count):
                number = self.count(function, count)
                return rows[number:] if function == "skip" else rows[:number]
            case _:
                raise TypeError(f"{type(stage).__name__} is no stage on rows")

    def direction(self, node: str | Param) -> str:
        """`asc` or `desc`."""
        direction = self._params[node.name] if isinstance(node, Param) else node
        if type(direction) is not str or direction not in ("asc", "desc"):
            found = "another string" if type(direction) is str else f"the kind {kind_of(direction)}"
            raise QueryError(f'expected "asc" or "desc" as the direction of order, found {found}')
        return direction

    def count(self, function: str, node: int | Param) -> int:
        """The number of `skip` or `limit`."""
        count = self._params[node.name] if isinstance(node, Param) else node
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
