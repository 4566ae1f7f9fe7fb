"""What a query is, in whatever spelling it was written: immutable nodes, compared by content.

A query is a filter and the stages that its rows run through. `Query` is the only way in for all spellings and
holds the bounds of nesting and size, so that whatever walks a query may recurse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mix_db.query.dates import UNITS
from mix_db.query.errors import QueryError
from mix_db.query.functions import FUNCTIONS
from mixkit.errors import ValueKindError
from mixkit.tagged_json import REF_CASE
from mixkit.value import Ref, check

__all__ = [
    "AGGREGATES",
    "ARITHMETIC",
    "COMPARISONS",
    "LIST_OPERATORS",
    "MAX_DEPTH",
    "MAX_NODES",
    "PATTERNS",
    "After",
    "Aggregate",
    "And",
    "Arithmetic",
    "AssignMember",
    "Call",
    "CaseOf",
    "CloneMembers",
    "Comparison",
    "Constant",
    "Exists",
    "Expression",
    "Field",
    "Filter",
    "FollowRef",
    "Group",
    "Key",
    "ListOf",
    "MapOf",
    "Member",
    "Node",
    "Not",
    "NullFilter",
    "Object",
    "ObjectMember",
    "Or",
    "Order",
    "Param",
    "Query",
    "Relation",
    "RemoveMember",
    "Reverse",
    "RowKey",
    "Scalar",
    "Slice",
    "Stage",
    "Subquery",
    "Unnest",
    "Use",
    "Where",
    "is_key",
    "walk",
]

MAX_DEPTH: Final = 64
"""Deepest nesting of nodes in a query."""

MAX_NODES: Final = 10_000
"""Most nodes in a query. Longer lists are given as parameters."""

COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=", "contains", "like", "contains:ci", "like:ci")
PATTERNS: Final = ("like", "like:ci")
LIST_OPERATORS: Final = ("in", "all_in", "not_in", "not_all_in")
ARITHMETIC: Final = ("+", "-", "*", "/", "%")
AGGREGATES: Final = ("count", "sum", "avg", "min", "max", "distinct")


class Node:
    """Anything that a query is made of."""

    __slots__ = ()


def _refuse(what: str) -> QueryError:
    return QueryError(f"a query cannot hold {what}")


def _check_text(text: object, what: str) -> None:
    if type(text) is not str:
        raise _refuse(f"a {type(text).__name__} as {what}; expected a string")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refuse(f"a lone surrogate in {what}") from None


# Constants


@dataclass(frozen=True, slots=True, eq=False)
class Scalar(Node):
    """A literal: null, bool, int, number, string, ref or binary. Equal are those of one kind and content."""

    value: bool | int | float | str | Ref | bytes | None

    def __post_init__(self) -> None:
        if type(self.value) not in (type(None), bool, int, float, str, Ref, bytes):
            raise _refuse(f"a {type(self.value).__name__} as a literal")
        try:
            check(self.value)
        except ValueKindError as exc:
            raise QueryError(f"a literal of a query is wrong: {exc}") from None

    def __eq__(self, other: object) -> bool:
        # Python holds 1, 1.0 and True for equal, 0.0 and -0.0 too, and NaN for unequal to itself.
        return (
            isinstance(other, Scalar)
            and type(other.value) is type(self.value)
            and repr(other.value) == repr(self.value)
        )

    def __hash__(self) -> int:
        return hash((type(self.value), repr(self.value)))


@dataclass(frozen=True, slots=True)
class Param(Node):
    """A place that is filled when the query runs. As a key its value is the name of one field."""

    name: str

    def __post_init__(self) -> None:
        _check_text(self.name, "the name of a parameter")
        if not (self.name.isascii() and self.name.isidentifier()):
            raise _refuse(f"a parameter named {self.name!r}; expected letters, digits and _")


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    """An array. Its items are constants, or expressions where an expression may stand."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class MapOf(Node):
    """A map of constants. In an expression an `Object` does this."""

    entries: tuple[tuple[str, Constant], ...]

    def __post_init__(self) -> None:
        for name, _ in self.entries:
            _check_text(name, "a key of a map")
        if len({name for name, _ in self.entries}) != len(self.entries):
            raise _refuse("a key twice in one map")


@dataclass(frozen=True, slots=True)
class CaseOf(Node):
    """A value of a tagged union; `arg` is None when it is absent."""

    name: str
    arg: Constant | None = None

    def __post_init__(self) -> None:
        _check_text(self.name, "the name of a case")
        if self.name == REF_CASE:
            raise _refuse(f"a case named {REF_CASE}; it is a ref, written ref(…)")


# Keys


@dataclass(frozen=True, slots=True)
class Field(Node):
    """A field of the record, or of the element at hand inside a subquery."""

    name: str

    def __post_init__(self) -> None:
        _check_text(self.name, "the name of a field")


@dataclass(frozen=True, slots=True)
class Member(Node):
    """A field of what `base` leads to; of the root record, from inside subqueries too, when `base` is None."""

    base: Key | None
    name: str

    def __post_init__(self) -> None:
        _check_text(self.name, "the name of a field")


# Filters


@dataclass(frozen=True, slots=True)
class NullFilter(Node):
    """Keeps everything."""


@dataclass(frozen=True, slots=True)
class Comparison(Node):
    """Compares what a key reads with a constant. The operator is in `COMPARISONS` or `LIST_OPERATORS`."""

    operator: str
    key: Key
    value: Constant

    def __post_init__(self) -> None:
        if self.operator in LIST_OPERATORS:
            if not isinstance(self.value, ListOf | Param):
                raise _refuse(f"{self.operator} without a list or a parameter behind it")
        elif self.operator not in COMPARISONS:
            raise _refuse(f"the comparison {self.operator!r}; expected one of {', '.join(COMPARISONS)}")


@dataclass(frozen=True, slots=True)
class Relation(Node):
    """Compares two expressions. A filter, and an expression whose value is true, false or undefined. In a filter
    fields are those that a key would read there."""

    operator: str
    left: Expression
    right: Expression

    def __post_init__(self) -> None:
        if self.operator in LIST_OPERATORS:
            if not isinstance(self.right, ListOf | Param):
                raise _refuse(f"{self.operator} without a list or a parameter behind it")
        elif self.operator not in COMPARISONS:
            raise _refuse(f"the comparison {self.operator!r}; expected one of {', '.join(COMPARISONS)}")


@dataclass(frozen=True, slots=True)
class Exists(Node):
    """Whether the key reads anything; null is something."""

    key: Key


@dataclass(frozen=True, slots=True)
class After(Node):
    """Whether the row was committed after a watermark, a string."""

    watermark: Scalar | Param

    def __post_init__(self) -> None:
        text = self.watermark.value if isinstance(self.watermark, Scalar) else None
        if not isinstance(self.watermark, Param) and type(text) is not str:
            raise _refuse("a watermark that is no string")


@dataclass(frozen=True, slots=True)
class And(Node):
    """All of two or more filters."""

    items: tuple[Filter, ...]

    def __post_init__(self) -> None:
        if len(self.items) < 2:
            raise _refuse("`and` with less than two operands")


@dataclass(frozen=True, slots=True)
class Or(Node):
    """Any of two or more filters."""

    items: tuple[Filter, ...]

    def __post_init__(self) -> None:
        if len(self.items) < 2:
            raise _refuse("`or` with less than two operands")


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The opposite; of undefined it is undefined."""

    item: Filter


@dataclass(frozen=True, slots=True)
class Subquery(Node):
    """Whether one element of the array (or the one map) that the key reads satisfies the whole filter."""

    key: Key
    filter: Filter


# Projections


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """An operator of `ARITHMETIC` between two expressions; `+` also joins strings and arrays."""

    operator: str
    left: Expression
    right: Expression

    def __post_init__(self) -> None:
        if self.operator not in ARITHMETIC:
            raise _refuse(f"the operator {self.operator!r}; expected one of {' '.join(ARITHMETIC)}")


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function of `FUNCTIONS` on expressions. The unit of `trunc` is a literal."""

    function: str
    args: tuple[Expression, ...]

    def __post_init__(self) -> None:
        count = FUNCTIONS.get(self.function)
        if count is None:
            raise _refuse(f"the function {self.function!r}; expected one of {', '.join(FUNCTIONS)}")
        if len(self.args) != count:
            raise _refuse(f"{self.function} of {len(self.args)} values; expected {count}")
        unit = self.args[-1]
        if self.function == "trunc" and not (isinstance(unit, Scalar) and unit.value in UNITS):
            raise _refuse(f"trunc to anything but one of {', '.join(UNITS)}")


@dataclass(frozen=True, slots=True)
class AssignMember(Node):
    """`name: expression ?? default`. Where all is undefined the member is left out."""

    name: str
    value: Expression
    default: Expression | None = None

    def __post_init__(self) -> None:
        _check_text(self.name, "the name of a member")


@dataclass(frozen=True, slots=True)
class CloneMembers(Node):
    """All fields of the record; with `expand` refs become the records that they point to, one step deep."""

    expand: bool = False


@dataclass(frozen=True, slots=True)
class RemoveMember(Node):
    """Takes away a member that stands to the left."""

    name: str

    def __post_init__(self) -> None:
        _check_text(self.name, "the name of a member")


@dataclass(frozen=True, slots=True)
class FollowRef(Node):
    """The record that the ref in a field points to."""

    name: str

    def __post_init__(self) -> None:
        _check_text(self.name, "the name of a member")


@dataclass(frozen=True, slots=True)
class Object(Node):
    """A map made of a record, member by member from the left. A stage, and an expression."""

    members: tuple[ObjectMember, ...]


# Aggregation and order


@dataclass(frozen=True, slots=True)
class Aggregate(Node):
    """A function of `AGGREGATES` over what a key reads, or what is calculated; `count` has no key."""

    function: str
    key: RowKey | None = None

    def __post_init__(self) -> None:
        if self.function not in AGGREGATES:
            raise _refuse(f"the aggregate {self.function!r}; expected one of {', '.join(AGGREGATES)}")
        if (self.key is None) is not (self.function == "count"):
            raise _refuse(f"{self.function} {'without' if self.key is None else 'with'} a key")


@dataclass(frozen=True, slots=True)
class Group(Node):
    """Puts rows of equal keys together."""

    key: RowKey


@dataclass(frozen=True, slots=True)
class Where(Node):
    """Keeps the rows of which a filter is true; behind a group, groups."""

    filter: Filter


@dataclass(frozen=True, slots=True)
class Unnest(Node):
    """Makes a row of each element of the array that a key leads to, with the element in the place of the array."""

    key: Key


@dataclass(frozen=True, slots=True)
class Order(Node):
    """Sorts by a key, keeping the order of equal rows. A parameter as direction is `"asc"` or `"desc"`. With `ci` texts
    are sorted without regard to case and accents, those that are equal by themselves."""

    key: RowKey
    direction: Literal["asc", "desc"] | Param = "asc"
    ci: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.direction, Param) and self.direction not in ("asc", "desc"):
            raise _refuse(f"the direction {self.direction!r}; expected asc or desc")


@dataclass(frozen=True, slots=True)
class Reverse(Node):
    """The rows from the last to the first."""


@dataclass(frozen=True, slots=True)
class Slice(Node):
    """`skip`: without the first rows. `limit`: only the first rows."""

    function: Literal["skip", "limit"]
    count: int | Param

    def __post_init__(self) -> None:
        if not isinstance(self.count, Param) and (type(self.count) is not int or not 0 <= self.count < 2**63):
            raise _refuse(f"{self.function}({self.count!r}); expected a whole number from 0")


Constant: TypeAlias = Scalar | Param | ListOf | MapOf | CaseOf
Key: TypeAlias = Field | Member | Param
RowKey: TypeAlias = Key | Arithmetic | Call | Relation
"""What stages read of a row: a key, or something that is calculated."""
Expression: TypeAlias = (
    Scalar | Param | ListOf | MapOf | CaseOf | Field | Member | Arithmetic | Relation | Call | Object
)
ObjectMember: TypeAlias = AssignMember | CloneMembers | RemoveMember | FollowRef
Filter: TypeAlias = NullFilter | Comparison | Relation | Exists | After | And | Or | Not | Subquery
Use: TypeAlias = tuple[
    Literal["value", "key", "list", "pattern", "part", "watermark", "skip", "limit", "direction"],
    Param | Scalar,
]
"""What a constant is used as, and the constant."""
Stage: TypeAlias = Object | Aggregate | Group | Where | Unnest | Order | Reverse | Slice


@dataclass(frozen=True, slots=True)
class Query(Node):
    """A filter, and the stages that the kept rows run through in their order.

    Raises:
        QueryError: nesting above `MAX_DEPTH`, more than `MAX_NODES` nodes, or an aggregate twice in one row of
            aggregates, whose answers would have one name.
    """

    filter: Filter = NullFilter()
    stages: tuple[Stage, ...] = ()
    uses: tuple[Use, ...] = dataclasses.field(init=False, repr=False, compare=False)
    """Every place of a parameter. A pattern, or part of a text, is listed even when it is a literal, for its length."""

    def __post_init__(self) -> None:
        uses: list[Use] = []
        for node in walk(self):
            _add_uses(node, uses)
        object.__setattr__(self, "uses", tuple(uses))
        seen: set[str] = set()
        for stage in self.stages:
            if not isinstance(stage, Aggregate):
                seen.clear()
            elif stage.function in seen:
                raise _refuse(f"{stage.function} twice in one row of aggregates")
            else:
                seen.add(stage.function)

    def parameters(self) -> frozenset[str]:
        """Names of the parameters that a run must give."""
        return frozenset([node.name for _, node in self.uses if isinstance(node, Param)])


def _add_uses(node: Node, uses: list[Use]) -> None:
    """Add what the parts of a node are used as; a part is met again alone, as a value, which demands nothing."""
    match node:
        case Param():
            uses.append(("value", node))
        case Comparison(operator, key, value):
            _add_key(key, uses)
            _add_right(operator, value, uses)
        case Relation(operator, _, right):
            _add_right(operator, right, uses)
        case After(watermark=Param() as watermark):
            uses.append(("watermark", watermark))
        case Slice(function, Param() as count):
            uses.append((function, count))
        case Order(key, direction):
            _add_key(key, uses)
            if isinstance(direction, Param):
                uses.append(("direction", direction))
        case Member(base) if base is not None:
            _add_key(base, uses)
        case Exists(key) | Subquery(key) | Group(key) | Unnest(key) | Aggregate(key=key) if key is not None:
            _add_key(key, uses)


def _add_right(operator: str, right: Expression, uses: list[Use]) -> None:
    if operator in LIST_OPERATORS and isinstance(right, Param):
        uses.append(("list", right))
    elif isinstance(right, Param | Scalar):
        if operator in PATTERNS:
            uses.append(("pattern", right))
        elif operator == "contains:ci":
            uses.append(("part", right))


def _add_key(key: RowKey, uses: list[Use]) -> None:
    if isinstance(key, Param):
        uses.append(("key", key))


def is_key(node: Node) -> bool:
    """Whether an expression is a key: a field, or a member of one."""
    while isinstance(node, Member) and node.base is not None:
        node = node.base
    return isinstance(node, Field | Member)


def walk(root: Node) -> Iterator[Node]:
    """Every node, without recursion. Raises `QueryError` where the bounds are exceeded."""
    rest: list[tuple[object, int]] = [(root, 0)]
    count = 0
    while rest:
        part, depth = rest.pop()
        if isinstance(part, Node):
            count += 1
            if depth > MAX_DEPTH:
                raise _refuse(f"nesting above {MAX_DEPTH}")
            if count > MAX_NODES:
                raise _refuse(f"more than {MAX_NODES} nodes; give long lists as parameters")
            yield part
            rest += [(getattr(part, name), depth + 1) for name in _parts(type(part))]
        elif isinstance(part, tuple):
            rest += [(item, depth) for item in part]


def _parts(kind: type[Node]) -> tuple[str, ...]:
    """Names of what a node of this class is made of."""
    names = _PARTS.get(kind)
    if names is None:
        names = _PARTS[kind] = tuple([field.name for field in dataclasses.fields(kind) if field.init])  # type: ignore[arg-type]
    return names


_PARTS: Final[dict[type[Node], tuple[str, ...]]] = {}
