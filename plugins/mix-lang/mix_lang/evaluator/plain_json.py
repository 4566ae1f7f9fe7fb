"""The built-ins of the machine for JSON. What is wrong with a text is said in Python's words."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from mix_lang.evaluator.operators import number_text
from mix_lang.evaluator.values import Panic, kind
from mixkit.value import INT64_MAX, INT64_MIN, Case

__all__ = ["format_json", "parse_json"]

_DEEPEST: Final = 256
_LONE: Final = re.compile("[\ud800-\udfff]")


def parse_json(text: str) -> Case:
    """ok(value), or error(message)."""
    try:
        value = json.loads(text, parse_int=_whole, parse_constant=_refused, object_pairs_hook=_unique)
        _levels(value, 0)
    except json.JSONDecodeError as exc:
        return Case("error", f"byte {len(text[: exc.pos].encode())}: {exc.msg}")
    except ValueError as exc:
        return Case("error", str(exc))
    return Case("ok", value)


def _whole(digits: str) -> int | float:
    number = int(digits) if len(digits) < 30 else INT64_MAX + 1
    return number if INT64_MIN <= number <= INT64_MAX else float(digits)


def _refused(word: str) -> None:
    raise ValueError(f"expected a value, found {word}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a repeated key")
    return found


def _levels(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} levels")
    if type(value) is str and _LONE.search(value):
        raise ValueError("a lone surrogate in a string")
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    for item in (*inner, *(value if type(value) is dict else ())):
        _levels(item, depth + 1)


def format_json(value: Any, path: str = "$", depth: int = 0) -> str:
    """JSON on one line, keys in the order of their bytes."""
    if depth > _DEEPEST:
        raise Panic(f"json_format: expected a value of at most {_DEEPEST} levels, found more")
    if value is None or type(value) in (bool, str):
        return json.dumps(value, ensure_ascii=False)
    if type(value) is float and math.isfinite(value):
        text = number_text(value)
        return text + ".0" if abs(value) >= 2**53 and "e" not in text else text
    if type(value) is int:
        return str(value)
    if type(value) is list:
        items = (format_json(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value))
        return f"[{','.join(items)}]"
    if type(value) is dict:
        keys = sorted(value, key=str.encode)
        pairs = (
            f"{json.dumps(key, ensure_ascii=False)}:{format_json(value[key], f'{path}.{key}', depth + 1)}"
            for key in keys
        )
        return f"{{{','.join(pairs)}}}"
    what = "a number that is not finite" if type(value) is float else kind(value)
    raise Panic(f"json_format: expected what JSON has, found {what} at {path}")
