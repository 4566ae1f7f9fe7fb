"""A query as text that parses back to the same AST."""

from __future__ import annotations

import base64
import json
import math
from typing import Final

from mix_db.query.ast import (
    After,
    Aggregate,
    And,
    Arithmetic,
    AssignMember,
    CaseOf,
    CloneMembers,
    Comparison,
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
    ObjectMember,
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
from mix_db.query.lexer import is_bare
from mixkit.value import Ref

__all__ = ["format_filter", "format_query", "format_stage"]

_BACKQUOTE: Final = "\\`"


def format_query(query: Query) -> str:
    """The query in the string form, on one line. `parse` answers an equal query, if the text is not too long."""
    return " | ".join([_filter(query.filter), *map(_stage, query.stages)])


def _filter(node: Filter, tight: bool = False) -> str:
    """`tight` puts what is joined with `and` or `or` in parentheses."""
    match node:
        case NullFilter():
            return "true"
        case Comparison(operator, key, value):
            return f"{_key(key)} {operator.replace('_', ' ')} {_expression(value)}"
        case Exists(key):
            return f"exists {_key(key)}"
        case After(watermark):
            return f"after {_expression(watermark)}"
        case Not(item):
            return f"not {_filter(item, tight=True)}"
        case Subquery(key, inner):
            return f"{_key(key)}.({_filter(inner)})"
        case And(items) | Or(items):
            word = " and " if isinstance(node, And) else " or "
            text = word.join([_filter(item, tight=True) for item in items])
            return f"({text})" if tight else text


def _key(node: Key) -> str:
    names: list[str] = []
    base: Key | None = node
    while isinstance(base, Member):
        names.append(f".{_name(base.name)}")
        base = base.base
    if base is not None:
        names.append(f"${base.name}" if isinstance(base, Param) else _name(base.name))
    return "".join(reversed(names))


def _name(name: str) -> str:
    if is_bare(name):
        return name
    return f"`{_quote(name)[1:-1].replace('`', _BACKQUOTE)}`"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _expression(node: Expression, tight: bool = False) -> str:
    """`tight` puts an operation in parentheses."""
    match node:
        case Scalar(value):
            return _scalar(value)
        case Param(name):
            return f"${name}"
        case ListOf(items):
            return f"[{', '.join([_expression(item) for item in items])}]"
        case MapOf(entries):
            return f"{{{', '.join([f'{_name(name)}: {_expression(item)}' for name, item in entries])}}}"
        case CaseOf(name, arg):
            return f"case({_quote(name)}{'' if arg is None else ', ' + _expression(arg)})"
        case Field() | Member():
            return _key(node)
        case Arithmetic(operator, left, right):
            text = f"{_expression(left, tight=True)} {operator} {_expression(right, tight=True)}"
            return f"({text})" if tight else text
        case Object(members):
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


def _object(members: tuple[ObjectMember, ...]) -> str:
    return f"{{ {', '.join(map(_member, members))} }}" if members else "{}"


def _member(node: ObjectMember) -> str:
    match node:
        case CloneMembers(expand):
            return "**" if expand else "*"
        case RemoveMember(name):
            return f"-{_name(name)}"
        case FollowRef(name):
            return f"+{_name(name)}"
        case AssignMember(name, value, default):
            text = _name(name) if value == Field(name) else f"{_name(name)}: {_expression(value)}"
            return text if default is None else f"{text} ?? {_expression(default)}"


def _stage(node: Stage) -> str:
    match node:
        case Object(members):
            return _object(members)
        case Aggregate(function, key):
            return f"{function}({'' if key is None else _key(key)})"
        case Group(key):
            return f"group({_key(key)})"
        case Order(key, Param(name)):
            return f"order({_key(key)}, ${name})"
        case Order(key, direction):
            return f"order{'Asc' if direction == 'asc' else 'Desc'}({_key(key)})"
        case Reverse():
            return "reverse()"
        case Slice(function, count):
            return f"{function}({f'${count.name}' if isinstance(count, Param) else count})"


def format_filter(node: Filter) -> str:
    """The text of a filter alone."""
    return _filter(node)


def format_stage(node: Stage) -> str:
    """The text of a stage alone."""
    return _stage(node)
