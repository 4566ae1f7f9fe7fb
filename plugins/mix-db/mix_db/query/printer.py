"""A query as text that parses back to the same AST."""

from __future__ import annotations

import base64
import json
import math
from typing import Final

from mix_db.query import ast
from mix_db.query.lexer import is_bare
from mixkit.value import Ref

__all__ = ["format_filter", "format_query", "format_stage"]

_BACKQUOTE: Final = "\\`"


def format_query(query: ast.Query) -> str:
    """The query in the string form, on one line. `parse` answers an equal query, if the text is not too long."""
    return " | ".join([_filter(query.filter), *map(_stage, query.stages)])


def _filter(node: ast.Filter, tight: bool = False) -> str:
    """`tight` puts what is joined with `and` or `or` in parentheses."""
    match node:
        case ast.NullFilter():
            return "true"
        case ast.Comparison(operator, key, value):
            return f"{_key(key)} {_operator(operator)} {_expression(value)}"
        case ast.Relation(operator, left, right):
            return f"{_left(left, right)} {_operator(operator)} {_right(right)}"
        case ast.Exists(key):
            return f"exists {_key(key)}"
        case ast.After(watermark):
            return f"after {_expression(watermark)}"
        case ast.Not(item):
            return f"not {_filter(item, tight=True)}"
        case ast.Subquery(key, inner):
            return f"{_key(key)}.({_filter(inner)})"
        case ast.And(items) | ast.Or(items):
            word = " and " if isinstance(node, ast.And) else " or "
            text = word.join([_filter(item, tight=True) for item in items])
            return f"({text})" if tight else text


def _operator(operator: str) -> str:
    return operator.replace("_", " ")


def _left(node: ast.Expression, right: ast.Expression) -> str:
    """What a filter compares, so that it reads neither as a filter nor as a key that is compared with a value."""
    constant = isinstance(right, ast.Scalar | ast.Param | ast.CaseOf | ast.ListOf)
    plain = isinstance(node, ast.Call) or (ast.is_key(node) and not constant)
    return _expression(node) if plain else f"({_expression(node)})"


def _right(node: ast.Expression) -> str:
    """What is compared with, so that braces do not read as a map of constants."""
    return f"({_expression(node)})" if isinstance(node, ast.Object) else _expression(node, tight=True)


def _key(node: ast.Key) -> str:
    names: list[str] = []
    base: ast.Key | None = node
    while isinstance(base, ast.Member):
        names.append(f".{_name(base.name)}")
        base = base.base
    if base is not None:
        names.append(f"${base.name}" if isinstance(base, ast.Param) else _name(base.name))
    return "".join(reversed(names))


def _row_key(node: ast.RowKey) -> str:
    match node:
        case ast.Arithmetic(_, left):
            # What begins with a string would read as the name of a field.
            plain = isinstance(left, ast.Arithmetic | ast.Relation | ast.Call) or ast.is_key(left)
            return _expression(node, tight=not plain)
        case ast.Relation():
            return _expression(node, tight=True)
        case ast.Call():
            return _expression(node)
        case _:
            return _key(node)


def _name(name: str) -> str:
    if is_bare(name):
        return name
    return f"`{_quote(name)[1:-1].replace('`', _BACKQUOTE)}`"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _expression(node: ast.Expression, tight: bool = False) -> str:
    """`tight` puts an operation in parentheses."""
    match node:
        case ast.Scalar(value):
            return _scalar(value)
        case ast.Param(name):
            return f"${name}"
        case ast.ListOf(items):
            return f"[{', '.join([_expression(item) for item in items])}]"
        case ast.MapOf(entries):
            return f"{{{', '.join([f'{_name(name)}: {_expression(item)}' for name, item in entries])}}}"
        case ast.CaseOf(name, arg):
            return f"case({_quote(name)}{'' if arg is None else ', ' + _expression(arg)})"
        case ast.Field() | ast.Member():
            return _key(node)
        case ast.Arithmetic(operator, left, right):
            text = f"{_expression(left, tight=True)} {operator} {_expression(right, tight=True)}"
            return f"({text})" if tight else text
        case ast.Relation(operator, left, right):
            text = f"{_expression(left, tight=True)} {_operator(operator)} {_expression(right, tight=True)}"
            return f"({text})" if tight else text
        case ast.Call(function, args):
            return f"{function}({', '.join([_expression(arg) for arg in args])})"
        case ast.Object(members):
            return _object(members)


def _scalar(value: bool | int | float | str | Ref | bytes | None) -> str:
    match value:
        case Ref():
            return f"ref({_quote(value.id)})"
        case bytes():
            return f'bin("{base64.b64encode(value).decode()}")'
        case float() if not math.isfinite(value):
            return f'number("{value!r}")'
        case float():
            return repr(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _object(members: tuple[ast.ObjectMember, ...]) -> str:
    return f"{{ {', '.join(map(_member, members))} }}" if members else "{}"


def _member(node: ast.ObjectMember) -> str:
    match node:
        case ast.CloneMembers(expand):
            return "**" if expand else "*"
        case ast.RemoveMember(name):
            return f"-{_name(name)}"
        case ast.FollowRef(name):
            return f"+{_name(name)}"
        case ast.AssignMember(name, value, default):
            text = _name(name) if value == ast.Field(name) else f"{_name(name)}: {_expression(value)}"
            return text if default is None else f"{text} ?? {_expression(default)}"


def _stage(node: ast.Stage) -> str:
    match node:
        case ast.Object(members):
            return _object(members)
        case ast.Aggregate(function, key):
            return f"{function}({'' if key is None else _row_key(key)})"
        case ast.Group(key):
            return f"group({_row_key(key)})"
        case ast.Where(inner):
            return f"where({_filter(inner)})"
        case ast.Unnest(key):
            return f"unnest({_key(key)})"
        case ast.Order(key, direction, ci):
            text = f"{_row_key(key)}:ci" if ci else _row_key(key)
            if isinstance(direction, ast.Param):
                return f"order({text}, ${direction.name})"
            return f"order{'Asc' if direction == 'asc' else 'Desc'}({text})"
        case ast.Reverse():
            return "reverse()"
        case ast.Slice(function, count):
            return f"{function}({f'${count.name}' if isinstance(count, ast.Param) else count})"


def format_filter(node: ast.Filter) -> str:
    """The text of a filter alone."""
    return _filter(node)


def format_stage(node: ast.Stage) -> str:
    """The text of a stage alone."""
    return _stage(node)
