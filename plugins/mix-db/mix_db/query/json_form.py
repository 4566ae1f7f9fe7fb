"""The JSON form of a query: arrays that begin with the name of a node.

    query       filter  |  ["query", filter, [stage, …]]
    filter      ["nullFilter"]  ["comparison", OP, key, constant]  ["exists", key]  ["after", W]
                ["and", [filter, …]]  ["or", [filter, …]]  ["not", filter]  ["subquery", key, filter]
                ["arithmetic", COMPARISON, expression, expression]
    key         ["token", NAME] or NAME  ["objectMember", key or null, NAME]  ["param", NAME]
    constant    tagged JSON, with ["param", NAME] for a parameter
    stage       ["object", [member, …]]  ["count"]  ["sum", row key] …  ["group", row key]  ["where", filter]
                ["unnest", key]  ["reverse"]  ["skip", N]  ["limit", N], and with "ci" behind it or without
                ["orderAsc", row key]  ["orderDesc", row key]  ["order", row key, DIR]
    row key     key  ["arithmetic", …]
    member      ["assignMember", NAME, expression]  ["assignMember", NAME, expression, default]
                ["cloneMembers"]  ["cloneMembersWithExpansion"]  ["removeMember", NAME]  ["followRef", NAME]
    expression  constant without maps  ["token", NAME]  ["objectMember", key or null, NAME]
                ["arithmetic", OP or COMPARISON or FUNCTION, expression, …]  ["object", [member, …]]

A list of constants that begins with the name of a node of its place (`"param"` …) or with `"list"` would read as
that node: it is written `["list", [item, …]]`. Who puts strings of strangers into JSON writes all lists so, or
better gives them as parameters.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

from mix_db.query import ast
from mix_db.query.errors import QueryError, QueryFormError
from mix_db.query.functions import FUNCTIONS
from mixkit import tagged_json
from mixkit.errors import TaggedJSONError

__all__ = ["from_json", "to_json"]

_MARK: Final = "_rmx_type"
_CASE: Final = tagged_json.TAG + "case:"
_REF: Final = _CASE + tagged_json.REF_CASE
_PREFIXES: Final = (tagged_json.TAG, tagged_json.ESCAPE)
_HEADS: Final = ("param", "list", "token", "objectMember", "arithmetic", "object")
"""What a list in the place of a constant or an expression does not begin with, unless it is such a node."""

N = TypeVar("N", bound=ast.Node)


def to_json(query: ast.Query) -> Any:
    """The form that `json.dumps` can write; a query without stages is its filter."""
    condition = _write(query.filter)
    return ["query", condition, [_write(stage) for stage in query.stages]] if query.stages else condition


def _write(node: ast.Node | None) -> Any:
    match node:
        case None:
            return None
        case ast.Scalar(value):
            return tagged_json.to_json(value)
        case ast.Param(name):
            return ["param", name]
        case ast.ListOf(items):
            listed = [_write(item) for item in items]
            return ["list", listed] if listed and listed[0] in _HEADS else listed
        case ast.MapOf(entries):
            return _write_map(entries)
        case ast.CaseOf(name, arg):
            case: dict[str, Any] = {_MARK: _CASE + name}
            return case if arg is None else case | {tagged_json.VALUE: _write(arg)}
        case ast.Field(name):
            return ["token", name]
        case ast.Member(base, name):
            return ["objectMember", _write(base), name]
        case ast.NullFilter():
            return ["nullFilter"]
        case ast.Comparison(operator, key, value):
            return ["comparison", operator, _write(key), _write(value)]
        case ast.Exists(key):
            return ["exists", _write(key)]
        case ast.After(watermark):
            return ["after", _write(watermark)]
        case ast.And(items) | ast.Or(items):
            return ["and" if isinstance(node, ast.And) else "or", [_write(item) for item in items]]
        case ast.Not(item):
            return ["not", _write(item)]
        case ast.Subquery(key, inner):
            return ["subquery", _write(key), _write(inner)]
        case ast.Arithmetic(operator, left, right) | ast.Relation(operator, left, right):
            return ["arithmetic", operator, _write(left), _write(right)]
        case ast.Call(function, args):
            return ["arithmetic", function, *map(_write, args)]
        case ast.AssignMember(name, value, default):
            return ["assignMember", name, _write(value), *([] if default is None else [_write(default)])]
        case ast.CloneMembers(expand):
            return ["cloneMembersWithExpansion" if expand else "cloneMembers"]
        case ast.RemoveMember(name):
            return ["removeMember", name]
        case ast.FollowRef(name):
            return ["followRef", name]
        case ast.Object(members):
            return ["object", [_write(member) for member in members]]
        case ast.Aggregate(function, aggregated):
            return [function] if aggregated is None else [function, _write(aggregated)]
        case ast.Group(key):
            return ["group", _write(key)]
        case ast.Where(inner):
            return ["where", _write(inner)]
        case ast.Unnest(key):
            return ["unnest", _write(key)]
        case ast.Order(key, direction, ci):
            behind = ["ci"] if ci else []
            if isinstance(direction, ast.Param):
                return ["order", _write(key), _write(direction), *behind]
            return ["orderAsc" if direction == "asc" else "orderDesc", _write(key), *behind]
        case ast.Reverse():
            return ["reverse"]
        case ast.Slice(function, count):
            return [function, _write(count) if isinstance(count, ast.Param) else count]
        case _:
            raise TypeError(f"{type(node).__name__} has no JSON form of its own")


def _write_map(entries: tuple[tuple[str, ast.Constant], ...]) -> dict[str, Any]:
    tree = {name: _write(item) for name, item in entries}
    mark = tree.get(_MARK)
    if isinstance(mark, str) and mark.startswith(_PREFIXES):
        tree[_MARK] = tagged_json.ESCAPE + mark
    return tree


def from_json(tree: Any) -> ast.Query:
    """The query of a JSON form, as `json.loads` gives it.

    `["and", []]` is read as the filter that keeps everything, `["or", []]` as its opposite, and either of one
    filter as that filter.

    Raises:
        QueryFormError: the form is wrong or too large; with the path.
    """
    return _Reader().query(tree)


class _Reader:
    def __init__(self) -> None:
        self._nodes = 0
        self._depth = 0

    def query(self, tree: Any) -> ast.Query:
        condition: Any = tree
        stages: list[ast.Stage] = []
        path = "$"
        if isinstance(tree, list) and tree[:1] == ["query"]:
            _arity(tree, path, 2)
            condition, path = tree[1], "$[1]"
            stages = [self.stage(item, f"$[2][{i}]") for i, item in enumerate(_items(tree[2], "$[2]"))]
        try:
            return ast.Query(self.filter(condition, path), tuple(stages))
        except QueryFormError:
            raise
        except QueryError as exc:
            raise QueryFormError(str(exc), "$") from None

    def _head(self, tree: Any, path: str, expected: str) -> str:
        self._nodes += 1
        if self._nodes > ast.MAX_NODES:
            raise QueryFormError(f"expected at most {ast.MAX_NODES} nodes, found more", path)
        if type(tree) is not list or not tree or type(tree[0]) is not str:
            raise QueryFormError(f"expected {expected}, found {_shown(tree)}", path)
        return tree[0]

    def _enter(self, path: str) -> None:
        self._depth += 1
        if self._depth > ast.MAX_DEPTH + 2:
            raise QueryFormError(f"expected nesting of at most {ast.MAX_DEPTH}, found more", path)

    def filter(self, tree: Any, path: str) -> ast.Filter:
        self._enter(path)
        node = self._filter(tree, path)
        self._depth -= 1
        return node

    def _filter(self, tree: Any, path: str) -> ast.Filter:
        match self._head(tree, path, "a filter"):
            case "nullFilter":
                _arity(tree, path, 0)
                return ast.NullFilter()
            case "comparison":
                _arity(tree, path, 3)
                operator = _text(tree[1], f"{path}[1]")
                key, value = self.key(tree[2], f"{path}[2]"), self.constant(tree[3], f"{path}[3]")
                return _made(path, ast.Comparison, operator, key, value)
            case "exists":
                _arity(tree, path, 1)
                return ast.Exists(self.key(tree[1], f"{path}[1]"))
            case "after":
                _arity(tree, path, 1)
                return _made(path, ast.After, self.constant(tree[1], f"{path}[1]"))
            case "not":
                _arity(tree, path, 1)
                return ast.Not(self.filter(tree[1], f"{path}[1]"))
            case "subquery":
                _arity(tree, path, 2)
                return ast.Subquery(self.key(tree[1], f"{path}[1]"), self.filter(tree[2], f"{path}[2]"))
            case "arithmetic":
                node = self._operation(tree, path)
                if not isinstance(node, ast.Relation):
                    raise QueryFormError(f"expected a comparison, found {tree[1]!r}", path)
                return node
            case "and" | "or" as word:
                _arity(tree, path, 1)
                listed = _items(tree[1], f"{path}[1]")
                items = tuple([self.filter(item, f"{path}[1][{i}]") for i, item in enumerate(listed)])
                if not items:
                    return ast.NullFilter() if word == "and" else ast.Not(ast.NullFilter())
                return items[0] if len(items) == 1 else ast.And(items) if word == "and" else ast.Or(items)
            case head:
                raise QueryFormError(f"expected a filter, found {head!r}", path)

    def key(self, tree: Any, path: str) -> ast.Key:
        self._enter(path)
        node: ast.Key
        if type(tree) is str:
            tree = ["token", tree]
        match self._head(tree, path, "a key"):
            case "token":
                _arity(tree, path, 1)
                node = _made(path, ast.Field, tree[1])
            case "param":
                _arity(tree, path, 1)
                node = _made(path, ast.Param, tree[1])
            case "objectMember":
                _arity(tree, path, 2)
                base = None if tree[1] is None else self.key(tree[1], f"{path}[1]")
                node = _made(path, ast.Member, base, tree[2])
            case head:
                raise QueryFormError(f"expected a key, found {head!r}", path)
        self._depth -= 1
        return node

    def row_key(self, tree: Any, path: str) -> ast.RowKey:
        if type(tree) is list and tree[:1] == ["arithmetic"]:
            self._enter(path)
            self._head(tree, path, "a key")
            node = self._operation(tree, path)
            self._depth -= 1
            return node
        return self.key(tree, path)

    def constant(self, tree: Any, path: str) -> ast.Constant:
        node = self.expression(tree, path, constant=True)
        return cast(ast.Constant, node)

    def expression(self, tree: Any, path: str, *, constant: bool = False) -> ast.Expression:
        """Constants are expressions but for maps, which in an expression are objects."""
        self._enter(path)
        node = self._expression(tree, path, constant)
        self._depth -= 1
        return node

    def _expression(self, tree: Any, path: str, constant: bool) -> ast.Expression:
        if type(tree) is dict and not _is_tagged(tree):
            if not constant:
                raise QueryFormError('expected an expression, found a map; write ["object", …]', path)
            return self._map(tree, path)
        if type(tree) is dict and str(tree[_MARK]).startswith(_CASE) and tree[_MARK] != _REF:
            return self._case(tree, path)
        if type(tree) is not list:
            return self._scalar(tree, path)
        self._head(["list"], path, "")
        match tree[0] if tree and type(tree[0]) is str else None:
            case "param":
                _arity(tree, path, 1)
                return _made(path, ast.Param, tree[1])
            case "list":
                _arity(tree, path, 1)
                return self._list(_items(tree[1], f"{path}[1]"), f"{path}[1]", constant)
            case "token" | "objectMember" if not constant:
                key = self.key(tree, path)
                base: ast.Key | None = key
                while isinstance(base, ast.Member):
                    base = base.base
                if isinstance(base, ast.Param):
                    raise QueryFormError("expected a key that begins with a field, found a parameter", path)
                return cast(ast.Expression, key)
            case "arithmetic" if not constant:
                return self._operation(tree, path)
            case "object" if not constant:
                return self.object(tree, path)
            case head if head in _HEADS:
                raise QueryFormError(
                    f'expected a constant, found {head!r}; a list of such strings is ["list", […]], and what compares '
                    'with a field is ["arithmetic", OPERATOR, left, right]',
                    path,
                )
            case _:
                return self._list(tree, path, constant)

    def _operation(self, tree: list[Any], path: str) -> ast.Arithmetic | ast.Relation | ast.Call:
        name = _text(tree[1], f"{path}[1]") if len(tree) > 1 else ""
        if name not in FUNCTIONS:
            _arity(tree, path, 3)
        args = tuple([self.expression(x, f"{path}[{i}]") for i, x in enumerate(tree[2:], 2)])
        if name in FUNCTIONS:
            return _made(path, ast.Call, name, args)
        if name in ast.COMPARISONS or name in ast.LIST_OPERATORS:
            return _made(path, ast.Relation, name, *args)
        return _made(path, ast.Arithmetic, name, *args)

    def _list(self, tree: list[Any], path: str, constant: bool) -> ast.ListOf:
        return ast.ListOf(
            tuple([self.expression(x, f"{path}[{i}]", constant=constant) for i, x in enumerate(tree)])
        )

    def _map(self, tree: dict[str, Any], path: str) -> ast.MapOf:
        entries = []
        for name, item in tree.items():
            if name == _MARK and type(item) is str:
                item = item.removeprefix(tagged_json.ESCAPE)
            entries.append((name, self.constant(item, f"{path}.{name}")))
        return _made(path, ast.MapOf, tuple(entries))

    def _case(self, tree: dict[str, Any], path: str) -> ast.CaseOf:
        if tree.keys() - {_MARK, tagged_json.VALUE}:
            raise QueryFormError(
                f"expected nothing but {_MARK} and {tagged_json.VALUE}, found another key", path
            )
        arg = None
        if tagged_json.VALUE in tree:
            arg = self.constant(tree[tagged_json.VALUE], f"{path}.{tagged_json.VALUE}")
        return _made(path, ast.CaseOf, tree[_MARK].removeprefix(_CASE), arg)

    def _scalar(self, tree: Any, path: str) -> ast.Scalar:
        self._head(["scalar"], path, "")
        try:
            return _made(path, ast.Scalar, tagged_json.from_json(tree))
        except TaggedJSONError as exc:
            raise QueryFormError(str(exc), path) from None

    def object(self, tree: Any, path: str) -> ast.Object:
        self._enter(path)
        if self._head(tree, path, "an object") != "object":
            raise QueryFormError(f"expected an object, found {_shown(tree)}", path)
        _arity(tree, path, 1)
        listed = _items(tree[1], f"{path}[1]")
        node = ast.Object(tuple([self.member(item, f"{path}[1][{i}]") for i, item in enumerate(listed)]))
        self._depth -= 1
        return node

    def member(self, tree: Any, path: str) -> ast.ObjectMember:
        match self._head(tree, path, "a member"):
            case "assignMember":
                _arity(tree, path, 3 if len(tree) == 4 else 2)
                default = self.expression(tree[3], f"{path}[3]") if len(tree) == 4 else None
                return _made(path, ast.AssignMember, tree[1], self.expression(tree[2], f"{path}[2]"), default)
            case "cloneMembers" | "cloneMembersWithExpansion" as head:
                _arity(tree, path, 0)
                return ast.CloneMembers(expand=head != "cloneMembers")
            case "removeMember":
                _arity(tree, path, 1)
                return _made(path, ast.RemoveMember, tree[1])
            case "followRef":
                _arity(tree, path, 1)
                return _made(path, ast.FollowRef, tree[1])
            case head:
                raise QueryFormError(f"expected a member, found {head!r}", path)

    def stage(self, tree: Any, path: str) -> ast.Stage:
        match self._head(tree, path, "a stage"):
            case "object":
                return self.object(tree, path)
            case "count":
                _arity(tree, path, 0)
                return ast.Aggregate("count")
            case head if head in ast.AGGREGATES:
                _arity(tree, path, 1)
                return ast.Aggregate(head, self.row_key(tree[1], f"{path}[1]"))
            case "group":
                _arity(tree, path, 1)
                return ast.Group(self.row_key(tree[1], f"{path}[1]"))
            case "where":
                _arity(tree, path, 1)
                return ast.Where(self.filter(tree[1], f"{path}[1]"))
            case "unnest":
                _arity(tree, path, 1)
                return ast.Unnest(self.key(tree[1], f"{path}[1]"))
            case "orderAsc" | "orderDesc" | "order" as head:
                ci = tree[-1] == "ci" and len(tree) == (4 if head == "order" else 3)
                _arity(tree[:-1] if ci else tree, path, 2 if head == "order" else 1)
                key = self.row_key(tree[1], f"{path}[1]")
                if head == "order":
                    return _made(path, ast.Order, key, self._number_or_word(tree[2], f"{path}[2]"), ci)
                return ast.Order(key, "asc" if head == "orderAsc" else "desc", ci)
            case "reverse":
                _arity(tree, path, 0)
                return ast.Reverse()
            case "skip" | "limit" as head:
                _arity(tree, path, 1)
                return _made(path, ast.Slice, head, self._number_or_word(tree[1], f"{path}[1]"))
            case head:
                raise QueryFormError(f"expected a stage, found {head!r}", path)

    def _number_or_word(self, tree: Any, path: str) -> Any:
        if type(tree) is list:
            node = self.constant(tree, path)
            if not isinstance(node, ast.Param):
                raise QueryFormError("expected a parameter, found a list", path)
            return node
        if type(tree) not in (int, str):
            raise QueryFormError(f"expected a number, a word or a parameter, found {_shown(tree)}", path)
        return tree


def _is_tagged(tree: dict[str, Any]) -> bool:
    mark = tree.get(_MARK)
    return type(mark) is str and mark.startswith(tagged_json.TAG)


def _made(path: str, node: type[N], *parts: Any) -> N:
    try:
        return node(*parts)
    except QueryError as exc:
        raise QueryFormError(str(exc), path) from None


def _arity(tree: list[Any], path: str, count: int) -> None:
    if len(tree) != count + 1:
        raise QueryFormError(f"expected {count} parts behind {tree[0]!r}, found {len(tree) - 1}", path)


def _items(tree: Any, path: str) -> list[Any]:
    if type(tree) is not list:
        raise QueryFormError(f"expected a list, found {_shown(tree)}", path)
    return tree


def _text(tree: Any, path: str) -> str:
    if type(tree) is not str:
        raise QueryFormError(f"expected a string, found {_shown(tree)}", path)
    return tree


def _shown(tree: Any) -> str:
    match tree:
        case list():
            return (
                f"a list that begins with {_shown(tree[0])}"
                if tree and type(tree[0]) is not list
                else "a list"
            )
        case dict():
            return "a map"
        case str():
            return repr(tree[:40])
        case None | bool() | int() | float():
            return repr(tree) if not isinstance(tree, int) or abs(tree) < 2**64 else "a large integer"
        case _:
            return f"a {type(tree).__name__}"
