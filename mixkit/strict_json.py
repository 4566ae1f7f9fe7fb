"""JSON written by strangers, of which nothing may be read in two ways: in UTF-8, each key once, Values only."""

from __future__ import annotations

import codecs
import json
import math
from typing import Any, NoReturn

from mixkit import value
from mixkit.errors import ValueKindError

__all__ = ["loads"]


def loads(data: bytes) -> Any:
    """The value of a JSON text in UTF-8. A byte order mark before it, as some editors write, is not part of it.

    Raises:
        ValueError: no UTF-8, no JSON, a key that stands twice, a number or text that is no Value; says where.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        parsed = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
        value.check(parsed)
    except UnicodeDecodeError as exc:
        raise ValueError(f"expected UTF-8, found byte {data[exc.start]:#04x} at {exc.start}") from None
    except ValueKindError as exc:
        raise ValueError(str(exc)) from None
    except RecursionError:
        raise ValueError(f"nested more than {value.MAX_DEPTH} deep") from None
    except ValueError as exc:
        raise ValueError(f"expected JSON: {exc}") from None
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r:.80} stands twice in one object")
            seen.add(key)
    return found


def _finite(text: str) -> float:
    # JSON has no way to write the infinity that Python makes of 1e999, so it could not be written back.
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text:.40} is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
