"""The functions of numbers that the machine has built in: a number for what mathematics has none for, as C gives it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

__all__ = ["FUNCTIONS"]


def _numeric(call: Callable[..., float]) -> Callable[..., float]:
    """Python raises where C answers NaN or Infinity."""

    def run(*args: float) -> float:
        try:
            return float(call(*map(float, args)))
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf

    return run


def _log(call: Callable[[float], float], least: float) -> Callable[[float], float]:
    return lambda x: -math.inf if x == least else call(x)


def _atanh(x: float) -> float:
    return math.copysign(math.inf, x) if abs(x) == 1 else math.atanh(x)


def _sinh(x: float) -> float:
    try:
        return math.sinh(x)
    except OverflowError:
        return math.copysign(math.inf, x)


def _pow(base: float, exponent: float) -> float:
    odd = math.isfinite(exponent) and exponent % 2 == 1
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and odd else math.inf
    except ValueError:
        # 0 to a negative power, or a fractional power of what is negative.
        return math.copysign(math.inf, base if odd else 1) if base == 0 else math.nan


_CALLS: Final[dict[str, Callable[..., float]]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "sinh": _sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "asinh": math.asinh,
    "acosh": math.acosh,
    "atanh": _atanh,
    "exp": math.exp,
    "expm1": math.expm1,
    "log": _log(math.log, 0),
    "log10": _log(math.log10, 0),
    "log1p": _log(math.log1p, -1),
    "atan2": math.atan2,
    "pow": _pow,
    "hypot": math.hypot,
    "copysign": math.copysign,
}

FUNCTIONS: Final = {f"number_{name}": _numeric(call) for name, call in _CALLS.items()}
"""Names of built-ins to what they do."""
