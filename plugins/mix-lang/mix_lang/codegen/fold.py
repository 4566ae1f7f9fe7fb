"""Constants computed while compiling: what has the same value in every run is a constant of the code."""

from __future__ import annotations

from typing import Any

from mix_lang import syntax as s
from mixkit.value import INT64_MIN, UNDEF

__all__ = ["folded"]

_MOST = 10_000
"""Characters or elements of a constant that is worth keeping."""


def folded(node: s.Expr) -> s.Const | None:
    """The constant that an expression is; None if it has to be computed, or raises."""
    try:
        return s.Const(node.span, _value(node))
    except _NoConstantError:
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
            return _negative(_value(operand))
        case s.Not(operand=operand):
            return _negated(_value(operand))
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
                value = _operated(part, value, _value(part.operand))
            return value
    raise _NoConstantError


def _operated(part: s.Part, left: Any, right: Any) -> Any:
    """What an operator makes of constants. The first program that has such imports the evaluator for it."""
    from mix_lang.evaluator.machine import operated
    from mix_lang.evaluator.values import Panic, Stream

    try:
        value = operated(part, left, right)
    except Panic:
        raise _NoConstantError from None
    if type(value) is Stream or (type(value) in (str, list) and len(value) > _MOST):
        raise _NoConstantError
    return value


def _negative(value: Any) -> Any:
    # The least integer has no negative among integers.
    if type(value) is float or (type(value) is int and value > INT64_MIN):
        return -value
    raise _NoConstantError


def _negated(value: Any) -> Any:
    if type(value) is bool:
        return not value
    if value is UNDEF:
        return UNDEF
    raise _NoConstantError


def _stored(value: Any) -> Any:
    if value is UNDEF:
        raise _NoConstantError
    return value
