"""Constants computed while compiling: what has the same value in every run is a constant of the code."""

from __future__ import annotations

from typing import Any

from mix_lang import syntax as s
from mix_lang.evaluator.machine import negated, operated
from mix_lang.evaluator.operators import arithmetic
from mix_lang.evaluator.values import Panic, Stream
from mixkit.value import UNDEF

__all__ = ["folded"]

_MOST = 10_000
"""Characters or elements of a constant that is worth keeping."""


def folded(node: s.Expr) -> s.Const | None:
    """The constant that an expression is; None if it has to be computed, or raises."""
    try:
        return s.Const(node.span, _value(node))
    except (_NoConstantError, Panic):
        return None


class _NoConstantError(Exception):
    pass


def _value(node: s.Expr) -> Any:
    match node:
        case s.Const(value=value):
            return value
        case s.Hint(operand=operand):
            return _value(operand)
        case s.Neg(operand=operand):
            inner = _value(operand)
            return arithmetic("-", 0, inner) if type(inner) is int else _negative(inner)
        case s.Not(operand=operand):
            return negated(_value(operand))
        case s.Array(items=items):
            return [_stored(_value(item)) for item in items]
        case s.MapLit(keys=keys):
            found: dict[str, Any] = {}
            for entry in keys:
                key = _value(entry.key)
                if type(key) is not str:
                    raise _NoConstantError
                found[key] = _stored(_value(entry.value))
            return found
        case s.Chain(first=first, parts=parts):
            value = _value(first)
            for part in parts:
                if (part.op == "&&" and value is False) or (part.op == "||" and value is True):
                    continue
                value = operated(part, value, _value(part.operand))
                if type(value) is Stream or (type(value) in (str, list) and len(value) > _MOST):
                    raise _NoConstantError
            return value
    raise _NoConstantError


def _negative(value: Any) -> Any:
    if type(value) is not float:
        raise _NoConstantError
    return -value


def _stored(value: Any) -> Any:
    if value is UNDEF:
        raise _NoConstantError
    return value
