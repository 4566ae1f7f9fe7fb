"""The operators: what they do with each kind, with null, and with undefined."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

from mix_lang.evaluator.values import END, Panic, Stream, kind
from mixkit.value import INT64_MAX, INT64_MIN, UNDEF, compare, equal

__all__ = ["arithmetic", "compared", "concat", "elements", "number_text", "same"]


def number_text(value: float) -> str:
    """A number as text: the shortest that reads back as it, without `.0`, with an exponent from 1e21 on."""
    if type(value) is int:
        return str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    # The digits without zeros at either end, and where the point stands in them.
    digits = whole + ("" if fraction == "0" else fraction)
    point = len(whole) + int(exponent or 0)
    leading = len(digits) - len(digits.lstrip("0"))
    digits, point = digits.strip("0"), point - leading
    if 0 < point <= 21:
        if len(digits) <= point:
            return sign + digits.ljust(point, "0")
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{'-' if point <= 0 else '+'}{abs(point - 1)}"


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def arithmetic(op: str, a: Any, b: Any) -> Any:
    """`+ - * / %`. Undefined wins over null, null over everything else."""
    if a is UNDEF or b is UNDEF:
        return UNDEF
    if a is None or b is None:
        return None
    if _is_number(a) and _is_number(b):
        return _NUMERIC[op](a, b)
    if op == "+":
        if type(a) is str and (type(b) is str or _is_number(b)):
            return a + (b if type(b) is str else number_text(b))
        if type(b) is str and _is_number(a):
            return number_text(a) + b
        if type(a) is list and type(b) is list:
            return a + b
        if type(a) is dict and type(b) is dict:
            return a | b
        raise Panic(f"+: expected two numbers, strings, arrays or maps, found {kind(a)} and {kind(b)}")
    raise Panic(f"{op}: expected two numbers, found {kind(a)} and {kind(b)}")


def _int(value: int, a: Any, b: Any, op: Callable[[float, float], float]) -> Any:
    return value if INT64_MIN <= value <= INT64_MAX else op(float(a), float(b))


def _add(a: Any, b: Any) -> Any:
    return _int(a + b, a, b, lambda x, y: x + y) if type(a) is int and type(b) is int else float(a) + float(b)


def _sub(a: Any, b: Any) -> Any:
    return _int(a - b, a, b, lambda x, y: x - y) if type(a) is int and type(b) is int else float(a) - float(b)


def _mul(a: Any, b: Any) -> Any:
    return _int(a * b, a, b, lambda x, y: x * y) if type(a) is int and type(b) is int else float(a) * float(b)


def _div(x: Any, y: Any) -> float:
    a, b = float(x), float(y)
    if b:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _rem(x: Any, y: Any) -> float:
    a, b = float(x), float(y)
    return math.nan if not b or math.isinf(a) else math.fmod(a, b)


_NUMERIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": _add,
    "-": _sub,
    "*": _mul,
    "/": _div,
    "%": _rem,
}


def compared(op: str, ci: bool, a: Any, b: Any) -> Any:
    """The comparisons; `ci` compares strings without regard to case."""
    if op == "===":
        return same(a, b, ci)
    if op == "!==":
        return not same(a, b, ci)
    if a is UNDEF or b is UNDEF:
        return UNDEF
    if ci:
        a, b = _folded(a), _folded(b)
    if op == "==":
        return equal(a, b)
    if op == "!=":
        return not equal(a, b)
    order = compare(a, b)
    if order is UNDEF:
        return UNDEF
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[op]  # type: ignore[operator]


def same(a: Any, b: Any, ci: bool = False) -> bool:
    """`===`: equal and both defined, or both undefined."""
    if a is UNDEF or b is UNDEF:
        return a is b
    return equal(_folded(a), _folded(b)) if ci else equal(a, b)


def _folded(value: Any) -> Any:
    return value.casefold() if type(value) is str else value


def concat(a: Any, b: Any) -> Any:
    """`++`: a stream of both; what is no stream is one element of it."""
    if a is UNDEF or b is UNDEF:
        return UNDEF
    return Stream(chain(elements(a), elements(b)))


def elements(value: Any) -> Any:
    """The elements of a stream, or the value itself as the only one."""
    return drained(value) if type(value) is Stream else iter((value,))


def drained(stream: Stream) -> Any:
    """A Python iterator over what is left of a stream."""
    while (item := stream.take()) is not END:
        yield item
