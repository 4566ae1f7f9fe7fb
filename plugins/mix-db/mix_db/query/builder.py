"""Queries spelled in Python: `(field("age") >= 18) & field("name").like("A%")`.

What is given as a value becomes a literal of the AST and never text, so that nothing needs escaping.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NoReturn

from mix_db.query import ast
from mix_db.query.errors import QueryError
from mixkit.value import UNDEF, Case

__all__ = [
    "ALL",
    "EXPANDED",
    "Condition",
    "Operand",
    "after",
    "drop",
    "everything",
    "field",
    "follow",
    "obj",
    "param",
    "root",
]

_KEYS: Final = (ast.Field, ast.Member, ast.Param)
_CALCULATED: Final = (ast.Field, ast.Member, ast.Arithmetic, ast.Relation, ast.Call, ast.Object)
"""Nodes that are no constants."""

ALL = ast.CloneMembers()
"""`*`, for `project`."""

EXPANDED = ast.CloneMembers(expand=True)
"""`**`, for `project`."""


class Condition:
    """A query under way. `&`, `|` and `~` combine filters; the other methods add a stage. Immutable."""

    __slots__ = ("_filter", "_stages")

    def __init__(self, condition: ast.Filter, stages: tuple[ast.Stage, ...] = ()) -> None:
        self._filter = condition
        self._stages = stages

    def query(self) -> ast.Query:
        """The AST. Raises `QueryError` if it is too deep or too large."""
        return ast.Query(self._filter, self._stages)

    def filter(self) -> ast.Filter:
        """The filter alone. Raises `QueryError` if there are stages already."""
        if self._stages:
            raise QueryError("filters are combined before the first stage, found a query with stages")
        return self._filter

    def __and__(self, other: Condition) -> Condition:
        left = self.filter()
        items = left.items if isinstance(left, ast.And) else (left,)
        return Condition(ast.And((*items, other.filter())))

    def __or__(self, other: Condition) -> Condition:
        left = self.filter()
        items = left.items if isinstance(left, ast.Or) else (left,)
        return Condition(ast.Or((*items, other.filter())))

    def __invert__(self) -> Condition:
        return Condition(ast.Not(self.filter()))

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a condition is not true or false in Python; combine with & | ~, not with and, or, not"
        )

    def _with(self, stage: ast.Stage) -> Condition:
        return Condition(self._filter, (*self._stages, stage))

    def project(self, *members: str | ast.ObjectMember, **assigned: Any) -> Condition:
        """Maps of these members: a field by its name, `ALL`, `EXPANDED`, `drop(…)`, `follow(…)`, `name=expression`."""
        return self._with(obj(*members, **assigned))

    def count(self) -> Condition:
        return self._with(ast.Aggregate("count"))

    def sum(self, key: str | Operand) -> Condition:
        return self._with(ast.Aggregate("sum", _row_key(key)))

    def avg(self, key: str | Operand) -> Condition:
        return self._with(ast.Aggregate("avg", _row_key(key)))

    def min(self, key: str | Operand) -> Condition:
        return self._with(ast.Aggregate("min", _row_key(key)))

    def max(self, key: str | Operand) -> Condition:
        return self._with(ast.Aggregate("max", _row_key(key)))

    def distinct(self, key: str | Operand) -> Condition:
        return self._with(ast.Aggregate("distinct", _row_key(key)))

    def group(self, key: str | Operand) -> Condition:
        return self._with(ast.Group(_row_key(key)))

    def where(self, condition: Condition) -> Condition:
        """Only rows that the condition is true of; behind `group`, groups."""
        return self._with(ast.Where(condition.filter()))

    def unnest(self, key: str | Operand) -> Condition:
        """A row for each element of an array."""
        return self._with(ast.Unnest(_key(key)))

    def order_asc(self, key: str | Operand, *, ci: bool = False) -> Condition:
        """`ci`: without regard to case and accents."""
        return self._with(ast.Order(_row_key(key), "asc", ci))

    def order_desc(self, key: str | Operand, *, ci: bool = False) -> Condition:
        return self._with(ast.Order(_row_key(key), "desc", ci))

    def order(
        self, key: str | Operand, direction: Literal["asc", "desc"] | Operand, *, ci: bool = False
    ) -> Condition:
        return self._with(ast.Order(_row_key(key), _or_param(direction), ci))

    def reverse(self) -> Condition:
        return self._with(ast.Reverse())

    def skip(self, count: int | Operand) -> Condition:
        return self._with(ast.Slice("skip", _or_param(count)))

    def limit(self, count: int | Operand) -> Condition:
        return self._with(ast.Slice("limit", _or_param(count)))


class Operand:
    """A key, a parameter or an expression. Comparing it gives a `Condition`, calculating another operand."""

    __slots__ = ("_default", "_node")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: ast.Expression, default: ast.Expression | None = None) -> None:
        self._node = node
        self._default = default

    def __getitem__(self, name: str) -> Operand:
        """The field of that name in what this key leads to."""
        return Operand(ast.Member(_key(self), name))

    def __iter__(self) -> NoReturn:
        raise TypeError("an operand of a query cannot be iterated")

    def __contains__(self, _: object) -> NoReturn:
        raise TypeError("write field(…).contains(value) or field(…).in_(values), not `in`")

    def __bool__(self) -> NoReturn:
        raise TypeError("an operand of a query is not true or false in Python")

    def _compared(self, operator: str, value: Any) -> Condition:
        other = value._node if isinstance(value, Operand) else None
        if isinstance(self._node, _KEYS) and not isinstance(other, _CALCULATED):
            return Condition(ast.Comparison(operator, _key(self), _constant(value)))
        left = _expression(self)
        if isinstance(left, ast.Param):
            raise QueryError("expected a value behind a key that is a parameter, found an expression")
        return Condition(ast.Relation(operator, left, _expression(value)))

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        return self._compared("==", value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        return self._compared("!=", value)

    def __lt__(self, value: Any) -> Condition:
        return self._compared("<", value)

    def __le__(self, value: Any) -> Condition:
        return self._compared("<=", value)

    def __gt__(self, value: Any) -> Condition:
        return self._compared(">", value)

    def __ge__(self, value: Any) -> Condition:
        return self._compared(">=", value)

    def contains(self, value: Any, *, ci: bool = False) -> Condition:
        """`ci`: without regard to case and accents."""
        return self._compared("contains:ci" if ci else "contains", value)

    def like(self, pattern: Any, *, ci: bool = False) -> Condition:
        """`ci`: without regard to case and accents."""
        return self._compared("like:ci" if ci else "like", pattern)

    def in_(self, values: Any) -> Condition:
        return self._compared("in", values)

    def all_in(self, values: Any) -> Condition:
        return self._compared("all_in", values)

    def not_in(self, values: Any) -> Condition:
        return self._compared("not_in", values)

    def not_all_in(self, values: Any) -> Condition:
        return self._compared("not_all_in", values)

    def exists(self) -> Condition:
        return Condition(ast.Exists(_key(self)))

    def where(self, condition: Condition) -> Condition:
        """One element of the array satisfies the whole condition; `field` in it is a field of the element."""
        return Condition(ast.Subquery(_key(self), condition.filter()))

    def default(self, value: Any) -> Operand:
        """`?? value`; for a member of `project`."""
        return Operand(self._node, _expression(value))

    def part(self, name: str) -> Operand:
        """`year`, `month`, `day`, `hour`, `minute`, `second` or `weekday` of a time."""
        return Operand(ast.Call(name, (_expression(self),)))

    def trunc(self, unit: str) -> Operand:
        """The beginning of the `year`, `month`, `week`, `day`, `hour` or `minute` that a time is in."""
        return Operand(ast.Call("trunc", (_expression(self), ast.Scalar(unit))))

    def fold(self) -> Operand:
        """A text without regard to case and accents."""
        return Operand(ast.Call("fold", (_expression(self),)))

    def _calculated(self, operator: str, left: Any, right: Any) -> Operand:
        return Operand(ast.Arithmetic(operator, _expression(left), _expression(right)))

    def __add__(self, other: Any) -> Operand:
        return self._calculated("+", self, other)

    def __radd__(self, other: Any) -> Operand:
        return self._calculated("+", other, self)

    def __sub__(self, other: Any) -> Operand:
        return self._calculated("-", self, other)

    def __rsub__(self, other: Any) -> Operand:
        return self._calculated("-", other, self)

    def __mul__(self, other: Any) -> Operand:
        return self._calculated("*", self, other)

    def __rmul__(self, other: Any) -> Operand:
        return self._calculated("*", other, self)

    def __truediv__(self, other: Any) -> Operand:
        return self._calculated("/", self, other)

    def __rtruediv__(self, other: Any) -> Operand:
        return self._calculated("/", other, self)

    def __mod__(self, other: Any) -> Operand:
        return self._calculated("%", self, other)

    def __rmod__(self, other: Any) -> Operand:
        return self._calculated("%", other, self)


def field(name: str) -> Operand:
    """The field of that name, dots included; `field("a")["b"]` is its member."""
    return Operand(ast.Field(name))


def root(name: str) -> Operand:
    """The field of the root record, from inside `where` too."""
    return Operand(ast.Member(None, name))


def param(name: str) -> Operand:
    """A value that is given when the query runs."""
    return Operand(ast.Param(name))


def everything() -> Condition:
    """The query that keeps every row."""
    return Condition(ast.NullFilter())


def after(watermark: str | Operand) -> Condition:
    """Rows committed later."""
    node = _constant(watermark)
    if not isinstance(node, ast.Scalar | ast.Param):
        raise QueryError("expected a string or a parameter as watermark")
    return Condition(ast.After(node))


def drop(name: str) -> ast.ObjectMember:
    """`-name`, for `project`."""
    return ast.RemoveMember(name)


def follow(name: str) -> ast.ObjectMember:
    """`+name`, for `project`."""
    return ast.FollowRef(name)


def obj(*members: str | ast.ObjectMember, **assigned: Any) -> ast.Object:
    """A nested object for an expression, with the arguments of `project`."""
    made: list[ast.ObjectMember] = [
        ast.AssignMember(member, ast.Field(member)) if isinstance(member, str) else member
        for member in members
    ]
    for name, value in assigned.items():
        default = value._default if isinstance(value, Operand) else None
        node = value._node if isinstance(value, Operand) else _expression(value)
        made.append(ast.AssignMember(name, node, default))
    return ast.Object(tuple(made))


def _key(key: str | Operand) -> ast.Key:
    node = ast.Field(key) if isinstance(key, str) else key._node
    if not isinstance(node, ast.Field | ast.Member | ast.Param):
        raise QueryError(f"expected a key, found {type(node).__name__}")
    return node


def _row_key(key: str | Operand) -> ast.RowKey:
    node = None if isinstance(key, str) else key._node
    return node if isinstance(node, ast.Arithmetic | ast.Call) else _key(key)


def _or_param(value: Any) -> Any:
    return _constant(value) if isinstance(value, Operand) else value


def _constant(value: Any) -> ast.Constant:
    node = _node(value, _constant)
    if isinstance(node, _CALCULATED):
        raise QueryError(f"expected a constant or a parameter, found {type(node).__name__}")
    return node


def _relation(node: ast.Filter) -> ast.Relation:
    """A comparison as the value of a member."""
    match node:
        case ast.Relation():
            return node
        case ast.Comparison(operator, ast.Field() | ast.Member() as key, value) if not isinstance(
            value, ast.MapOf
        ):
            return ast.Relation(operator, key, value)
        case _:
            raise QueryError(f"expected an expression or one comparison, found {type(node).__name__}")


def _expression(value: Any) -> ast.Expression:
    return _node(value, _expression)


def _node(value: Any, part: Any) -> ast.Expression:
    match value:
        case Condition():
            return _relation(value.filter())
        case Operand():
            if value._default is not None:
                raise QueryError("a default belongs to a member of project, found one inside an expression")
            return value._node
        case ast.Node():
            return value  # type: ignore[return-value]
        case list() | tuple():
            return ast.ListOf(tuple([part(item) for item in value]))
        case dict() if part is _expression:
            return ast.Object(
                tuple([ast.AssignMember(name, _expression(item)) for name, item in value.items()])
            )
        case dict():
            return ast.MapOf(tuple([(name, part(item)) for name, item in value.items()]))
        case Case():
            return ast.CaseOf(value.name, None if value.arg is UNDEF else _constant(value.arg))
        case _:
            return ast.Scalar(value)
