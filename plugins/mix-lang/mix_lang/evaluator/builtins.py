"""What the machine has built in: the globals of the language, and the built-ins that the library stands on.

The names of `BUILTINS` are those of `foreign def … = "%name"`; the machine in C has the same (docs/qcode.md).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, Final

from mix_lang.evaluator.operators import number_text
from mix_lang.evaluator.values import (
    END,
    Constructor,
    Native,
    Panic,
    Stream,
    describe,
    kind,
)  # fmt: skip
from mixkit.value import INT64_MAX, INT64_MIN, UNDEF, Case, compare

if TYPE_CHECKING:
    from mix_lang.evaluator.machine import Machine

__all__ = ["BUILTINS", "GLOBALS"]


def _fits(name: str, number: int, value: Any, wanted: str) -> None:
    found = "number" if type(value) in (int, float) else kind(value)
    if found != wanted:
        raise Panic(f"{name}: argument {number}: expected {wanted}, found {describe(value)}")


def _checked(name: str, kinds: tuple[str, ...], call: Callable[..., Any]) -> Callable[..., Any]:
    """Undefined arguments give undefined; others are of their kinds (`any`: whatever)."""

    def run(machine: Machine, *args: Any) -> Any:
        if any(arg is UNDEF for arg in args):
            return UNDEF
        for number, (value, wanted) in enumerate(zip(args, kinds, strict=True), 1):
            if wanted != "any":
                _fits(name, number, value, wanted)
        return call(*args)

    return run


# ---------------------------------------------------------------------------------------------------------- numbers


def _integral(value: float) -> Any:
    """A whole number as int where it fits."""
    return int(value) if math.isfinite(value) and INT64_MIN <= value <= INT64_MAX else value


def _rounded(value: Any) -> Any:
    if type(value) is int or not math.isfinite(value):
        return value
    whole = math.floor(abs(value))
    return _integral(math.copysign(whole + (abs(value) - whole >= 0.5), value))


def _whole(name: str, op: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    def run(a: Any, b: Any) -> Any:
        for value in (a, b):
            if type(value) is float and not value.is_integer():
                raise Panic(f"{name}: expected a whole number, found {describe(value)}")
        if not b:
            raise Panic(f"{name}: division by zero")
        value = op(int(a), int(b))
        return value if INT64_MIN <= value <= INT64_MAX else float(value)

    return run


def _quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _parsed(text: str) -> Any:
    import re

    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) or len(text) > 400:
        return UNDEF
    if re.fullmatch(r"[+-]?\d+", text) and INT64_MIN <= int(text) <= INT64_MAX:
        return int(text)
    return float(text)


def _bits(op: Callable[[int, int], int]) -> Callable[[Any, Any], int]:
    def run(a: Any, b: Any) -> int:
        return int(struct.unpack("<i", struct.pack("<I", op(int(a) & 0xFFFFFFFF, int(b) & 0xFFFFFFFF)))[0])

    return run


# ---------------------------------------------------------------------------------------------- strings and arrays


def _cut(start: Any, end: Any, whole: Any) -> Any:
    size = len(whole)
    first, last = min(max(int(start), 0), size), min(max(int(end), 0), size)
    return whole[first : max(first, last)]


def _found(index: int) -> Any:
    return UNDEF if index < 0 else index


def _joined(separator: str, parts: list[Any]) -> str:
    texts = []
    for part in parts:
        if type(part) not in (str, int, float):
            raise Panic(f"string_join: expected strings, found {describe(part)}")
        texts.append(part if type(part) is str else number_text(part))
    return separator.join(texts)


def _code_point(code: Any) -> str:
    if not 0 <= int(code) < 0x110000 or 0xD800 <= int(code) < 0xE000:
        raise Panic(f"string_from_code_point: {number_text(code)} is no character")
    return chr(int(code))


def _sorted(array: list[Any]) -> list[Any]:
    def order(a: Any, b: Any) -> int:
        found = compare(a, b)
        if found is UNDEF:
            raise Panic(f"sort: {describe(a)} and {describe(b)} do not compare")
        return found  # type: ignore[return-value]

    return sorted(array, key=cmp_to_key(order))


def _decoded(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return UNDEF


def _length(machine: Machine, value: Any) -> Any:
    if value is UNDEF or value is None:
        return UNDEF if value is UNDEF else 0
    if type(value) not in (list, dict, str, bytes):
        raise Panic(f"length: expected an array, a map, a string or binary, found {describe(value)}")
    return len(value)


def _stream_next(machine: Machine, stream: Any) -> Any:
    if type(stream) is not Stream:
        raise Panic(f"expected a stream, found {describe(stream)}")
    item = stream.take()
    return None if item is END else Case("some", item)


def _stream_of(machine: Machine, function: Any) -> Stream:
    def items() -> Any:
        while (item := machine.apply(function, ())) is not None:
            if item.arg is UNDEF:
                raise Panic("undefined may not be an element of a stream")
            yield item.arg

    return Stream(items())


def _entry(index: int, entries: dict[str, Any]) -> Any:
    keys = _keys(entries)
    return [keys[index], entries[keys[index]]] if 0 <= index < len(keys) else UNDEF


def _keys(entries: dict[str, Any]) -> list[str]:
    return sorted(entries, key=str.encode)


_N, _S, _A, _M = "number", "string", "array", "map"

_TYPED: Final[dict[str, tuple[tuple[str, ...], Callable[..., Any]]]] = {
    "to_text": (("any",), lambda x: x if type(x) is str else number_text(x)),
    "number_round": ((_N,), _rounded),
    "number_trunc": ((_N,), lambda x: _integral(math.trunc(x)) if math.isfinite(x) else x),
    "number_floor": ((_N,), lambda x: _integral(math.floor(x)) if math.isfinite(x) else x),
    "number_ceil": ((_N,), lambda x: _integral(math.ceil(x)) if math.isfinite(x) else x),
    "number_abs": ((_N,), lambda x: float(abs(x)) if type(x) is int and x == INT64_MIN else abs(x)),
    "number_sqrt": ((_N,), lambda x: math.sqrt(x) if x >= 0 else math.nan),
    "number_div_int": ((_N, _N), _whole("number_div_int", _quotient)),
    "number_rem_int": ((_N, _N), _whole("number_rem_int", lambda a, b: a - b * _quotient(a, b))),
    "number_mod_int": ((_N, _N), _whole("number_mod_int", lambda a, b: a % b)),
    "number_mod": ((_N, _N), lambda a, b: float(a) % float(b) if b else math.nan),
    "number_parse": ((_S,), _parsed),
    "number_is_int": ((_N,), lambda x: type(x) is int or (x.is_integer() and INT64_MIN <= x <= INT64_MAX)),
    "bit_and": ((_N, _N), _bits(lambda a, b: a & b)),
    "bit_or": ((_N, _N), _bits(lambda a, b: a | b)),
    "bit_xor": ((_N, _N), _bits(lambda a, b: a ^ b)),
    "string_sub": ((_N, _N, _S), _cut),
    "string_find": ((_S, _S), lambda part, text: _found(text.find(part))),
    "string_find_last": ((_S, _S), lambda part, text: _found(text.rfind(part))),
    "string_has_prefix": ((_S, _S), lambda part, text: text.startswith(part)),
    "string_has_suffix": ((_S, _S), lambda part, text: text.endswith(part)),
    "string_replace": ((_S, _S, _S), lambda old, new, text: text.replace(old, new) if old else text),
    "string_trim": ((_S,), str.strip),
    "string_trim_left": ((_S,), str.lstrip),
    "string_trim_right": ((_S,), str.rstrip),
    "string_split": ((_S, _S), lambda sep, text: text.split(sep) if sep else list(text)),
    "string_join": ((_S, _A), _joined),
    "string_repeat": ((_N, _S), lambda count, text: text * min(int(count), 1_000_000)),
    "string_from_code_point": ((_N,), _code_point),
    "string_code_point_at": ((_N, _S), lambda at, text: ord(text[at]) if 0 <= at < len(text) else UNDEF),
    "array_sub": ((_N, _N, _A), _cut),
    "array_reverse": ((_A,), lambda array: array[::-1]),
    "array_sort": ((_A,), _sorted),
    "int_range": ((_N, _N), lambda a, b: Stream(iter(range(int(a), int(b) + 1)))),
    "map_keys": ((_M,), _keys),
    "map_values": ((_M,), lambda m: [m[key] for key in _keys(m)]),
    "map_remove": ((_S, _M), lambda name, m: {key: value for key, value in m.items() if key != name}),
    "map_entry": ((_N, _M), _entry),
    "case_name": (("case",), lambda case: case.name),
    "binary_of_string": ((_S,), str.encode),
    "binary_to_string": (("binary",), _decoded),
}

BUILTINS: Final[dict[str, Callable[..., Any]]] = {
    name: _checked(name, kinds, call) for name, (kinds, call) in _TYPED.items()
} | {
    "kind": lambda machine, value: {"undefined": "undef", "float": "number"}.get(kind(value), kind(value)),
    "length": _length,
    "stream_next": _stream_next,
    "stream_of": _stream_of,
}


# ---------------------------------------------------------------------------------------------------------- globals


def _fail(machine: Machine, message: Any) -> Any:
    raise Panic(message if type(message) is str else "an error was raised", "M0906", value=message)


def _no_default(machine: Machine, value: Any) -> Any:
    if value is UNDEF:
        raise Panic("noDefault: the value is undefined")
    return value


def _recurse(arity: int) -> Callable[..., Any]:
    def make(machine: Machine, function: Any) -> Any:
        def call(machine: Machine, *args: Any) -> Any:
            return machine.apply(function, (itself, *args))

        itself = Native("recurse", arity, call)
        return itself

    return make


def _datacase(machine: Machine, value: Any) -> Any:
    found = kind(value)
    return (
        UNDEF if value is UNDEF else {"int": "number", "float": "number", "map": "object"}.get(found, found)
    )


def _debug(machine: Machine, value: Any) -> None:
    machine.log.append(value if type(value) is str else describe(value))


def _actions(name: str, change: Callable[[Machine, list[Any]], None]) -> Native:
    def call(machine: Machine, appstate: Any, chain: Any) -> None:
        if type(chain) is not list:
            raise Panic(f"{name}: argument 2: expected array, found {describe(chain)}")
        change(machine, chain)

    return Native(name, 2, call)


def _set_next(machine: Machine, chain: list[Any]) -> None:
    machine.next_actions[:] = chain


GLOBALS: Final[dict[str, Any]] = {
    "some": Constructor("some"),
    "ok": Constructor("ok"),
    "error": Constructor("error"),
    "unset": Case("unset"),
    "withDefault": Native("withDefault", 2, lambda machine, default, x: default if x is UNDEF else x),
    "noDefault": Native("noDefault", 1, _no_default),
    "fail": Native("fail", 1, _fail),
    "recurse": Native("recurse", 1, _recurse(1)),
    "recurse2": Native("recurse2", 1, _recurse(2)),
    "datacase": Native("datacase", 1, _datacase),
    "debug": Native("debug", 1, _debug),
    "floor": Native("floor", 1, BUILTINS["number_floor"]),
    "ceil": Native("ceil", 1, BUILTINS["number_ceil"]),
    "getNextActions": Native("getNextActions", 0, lambda machine: list(machine.next_actions)),
    "setNextActions": _actions("setNextActions", _set_next),
    "pushNextActions": _actions("pushNextActions", lambda machine, chain: machine.next_actions.extend(chain)),
    "pushIdleActions": _actions("pushIdleActions", lambda machine, chain: machine.idle_actions.extend(chain)),
    "contents": Native("contents", 1, lambda machine, link: link.cell.instance.contents(machine, link.cell)),
    "link": Native("link", 1, lambda machine, link: link),
}
"""Names that every module has."""
