"""What the machine has built in: the globals of the language, and the built-ins that the library stands on.

The names of `BUILTINS` are those of `foreign def … = "%name"`; the machine in C has the same (docs/qcode.md).
"""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Callable
from typing import Any, Final

from mix_rt.opcodes import BUILTINS as _PARAMETERS

from mix_lang.check.hints import with_article
from mix_lang.evaluator.functions import FUNCTIONS
from mix_lang.evaluator.operators import number_text
from mix_lang.evaluator.plain_json import format_json, parse_json
from mix_lang.evaluator.running import Running
from mix_lang.evaluator.sorting import (
    groups,
    matches,
    sort_close,
    sort_open,
    sort_step,
    sorted_array,
    sorted_by,
)
from mix_lang.evaluator.values import (
    END,
    Constructor,
    Native,
    Panic,
    Slots,
    Stream,
    kind,
)  # fmt: skip
from mixkit import codec
from mixkit.value import INT64_MAX, INT64_MIN, UNDEF, Case, Ref

__all__ = ["BUILTINS", "GLOBALS"]


def _checked(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Undefined arguments give undefined, others are of their kinds: those that the list of built-ins names."""
    params = [param.split(":") for param in _PARAMETERS[name].split()]

    def run(machine: Running, *args: Any) -> Any:
        if any(arg is UNDEF and wanted != "any" for arg, (_, wanted) in zip(args, params, strict=True)):
            return UNDEF
        for value, (param, wanted) in zip(args, params, strict=True):
            if not _FITS.get(wanted, lambda value, wanted=wanted: kind(value) == wanted)(value):
                shown = "whole number" if wanted == "whole" else wanted
                found = "a number with a fraction" if type(value) is float else kind(value)
                raise Panic(
                    f"{_SIGNS.get(name, name)}: expected {with_article(shown)} as {param}, found {found}"
                )
        return call(*args)

    return run


_SIGNS: Final = {"array_range": "a[p..q]"}
"""What has a sign in programs, not a name."""

_FITS: Final[dict[str, Callable[[Any], bool]]] = {
    "any": lambda value: True,
    "data": lambda value: True,
    "number": lambda value: type(value) in (int, float),
    "whole": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
}


# ---------------------------------------------------------------------------------------------------------- numbers


def _integral(value: float) -> Any:
    """A whole number as int where it fits."""
    return int(value) if math.isfinite(value) and INT64_MIN <= value <= INT64_MAX else value


def _rounded(value: Any) -> Any:
    if type(value) is int or not math.isfinite(value):
        return value
    whole = math.floor(abs(value))
    return _integral(math.copysign(whole + (abs(value) - whole >= 0.5), value))


def _whole(op: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    def run(a: Any, b: Any) -> Any:
        if not b:
            raise Panic("expected a divisor other than 0")
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
    return lambda a, b: op(int(a) & 0xFFFFFFFF, int(b) & 0xFFFFFFFF)


# ---------------------------------------------------------------------------------------------- strings and arrays


def _cut(start: Any, end: Any, whole: Any) -> Any:
    size = len(whole)
    first, last = min(max(int(start), 0), size), min(max(int(end), 0), size)
    return whole[first : max(first, last)]


def _range(first: Any, last: Any, array: list[Any]) -> Stream:
    end = min(max(int(last) + 1, 0), len(array))
    return Stream(iter(array[min(max(int(first), 0), end) : end]))


def _found(index: int) -> Any:
    return UNDEF if index < 0 else index


def _joined(separator: str, parts: list[Any]) -> str:
    for index, part in enumerate(parts):
        if type(part) not in (str, int, float):
            raise Panic(f"string_join: expected strings or numbers, found {kind(part)} as element {index}")
    return separator.join(map(_text, parts))


def _text(value: Any) -> str:
    if type(value) not in (str, int, float):
        raise Panic(f"to_text: expected a number or a string, found {kind(value)}")
    return value if type(value) is str else number_text(value)


def _code_point(code: Any) -> str:
    if not 0 <= int(code) < 0x110000 or 0xD800 <= int(code) < 0xE000:
        found = number_text(code)
        raise Panic(f"string_from_code_point: expected the code of a character, found {found}")
    return chr(int(code))


def _decoded(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return UNDEF


def _of_base64(text: str) -> Any:
    """Of either alphabet, padded or not; undefined if it is none."""
    digits = text.replace("-", "+").replace("_", "/")
    bare = digits.rstrip("=")
    padded = bare + "=" * (-len(bare) % 4)
    if len(bare) % 4 == 1 or (digits != bare and digits != padded):
        return UNDEF
    try:
        found = base64.b64decode(padded, validate=True)
    except ValueError:
        return UNDEF
    return found if base64.b64encode(found).decode() == padded else UNDEF


def _length(machine: Running, value: Any) -> Any:
    if value is UNDEF or value is None:
        return UNDEF if value is UNDEF else 0
    if type(value) not in (list, dict, str, bytes):
        raise Panic(f"length: expected an array, map, string or binary, found {kind(value)}")
    return len(value)


def _expect(machine: Running, function: Any, wanted: str, argument: Any, value: Any) -> None:
    found = kind(value)
    fits = {
        "number": found in ("int", "number"),
        "whole number": found in ("int", "number") and _FITS["whole"](value),
        "option": value is None or (type(value) is Case and value.name == "some"),
        "result": type(value) is Case and value.name in ("ok", "error"),
    }
    if found != wanted and not fits.get(wanted):
        found = "a number with a fraction" if wanted == "whole number" and found == "number" else found
        raise Panic(f"{function}: expected {with_article(wanted)} as {argument}, found {found}")


def _stream_next(machine: Running, stream: Any) -> Any:
    if type(stream) is not Stream:
        raise Panic(f"expected a stream to read from, found {kind(stream)}")
    item = stream.take()
    return None if item is END else Case("some", item)


class _Made:
    """An iterator over what a function answers. Several coroutines may wait in it."""

    def __init__(self, machine: Running, function: Any) -> None:
        self._machine, self._function = machine, function

    def __iter__(self) -> _Made:
        return self

    def __next__(self) -> Any:
        if self._function is None:
            raise StopIteration
        item = self._machine.apply(self._function, ())
        if item is None:
            self._function = None
            raise StopIteration
        if item.arg is UNDEF:
            raise Panic("undefined may not be an element of a stream")
        return item.arg


def _stream_of(machine: Running, function: Any) -> Stream:
    return Stream(_Made(machine, function))


def _unread(element: Any, stream: Stream) -> Stream:
    stream.ahead.append(element)
    return stream


def _slot(machine: Running, number: int, slots: Any) -> Any:
    if type(slots) is not Slots:
        raise Panic(f"expected an object of slots, found {kind(slots)}")
    return slots.at[number]


def _set_slot(machine: Running, number: int, slots: Any, value: Any) -> None:
    _slot(machine, number, slots)
    slots.at[number] = value


def _set_local(machine: Running, index: Any, value: Any) -> None:
    machine.coroutines.running.locals[index] = value


def _unhold(machine: Running) -> None:
    machine.held -= 1
    if machine.held == 0 and machine.awaiting is not None:
        machine.coroutines.wake(machine.awaiting, None)


def _hold(machine: Running) -> None:
    machine.held += 1


def _flattened(array: list[Any]) -> list[Any]:
    for index, inner in enumerate(array):
        if type(inner) is not list:
            raise Panic(f"array_flatten: expected arrays, found {kind(inner)} as element {index}")
    return [element for inner in array for element in inner]


def _of_pairs(array: list[Any]) -> dict[str, Any]:
    for index, pair in enumerate(array):
        if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str:
            raise Panic(f"map_of_pairs: expected a pair of a string and a value as element {index}")
    return dict(array)


def _entry(index: int, entries: dict[str, Any]) -> Any:
    keys = _keys(entries)
    return [keys[index], entries[keys[index]]] if 0 <= index < len(keys) else UNDEF


def _keys(entries: dict[str, Any]) -> list[str]:
    return sorted(entries, key=str.encode)


_CALLS: Final[dict[str, Callable[..., Any]]] = FUNCTIONS | {
    "to_text": _text,
    "number_round": _rounded,
    "number_trunc": lambda x: _integral(math.trunc(x)) if math.isfinite(x) else x,
    "number_floor": lambda x: _integral(math.floor(x)) if math.isfinite(x) else x,
    "number_ceil": lambda x: _integral(math.ceil(x)) if math.isfinite(x) else x,
    "number_abs": lambda x: float(abs(x)) if type(x) is int and x == INT64_MIN else abs(x),
    "number_sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    "number_div_int": _whole(_quotient),
    "number_rem_int": _whole(lambda a, b: a - b * _quotient(a, b)),
    "number_mod_int": _whole(lambda a, b: a % b),
    "number_mod": lambda a, b: float(a) % float(b) if b else math.nan,
    "number_parse": _parsed,
    "number_is_int": lambda x: type(x) is int or (x.is_integer() and INT64_MIN <= x <= INT64_MAX),
    "bit_and": _bits(lambda a, b: a & b),
    "bit_or": _bits(lambda a, b: a | b),
    "bit_xor": _bits(lambda a, b: a ^ b),
    "string_sub": _cut,
    "string_find": lambda part, text: _found(text.find(part)),
    "string_find_last": lambda part, text: _found(text.rfind(part)),
    "string_has_prefix": lambda part, text: text.startswith(part),
    "string_has_suffix": lambda part, text: text.endswith(part),
    "string_replace": lambda old, new, text: text.replace(old, new) if old else text,
    "string_uppercase": str.upper,
    "string_lowercase": str.lower,
    "string_fold": str.casefold,
    "string_capitalize": lambda text: text[:1].upper() + text[1:],
    "string_trim": str.strip,
    "string_trim_left": str.lstrip,
    "string_trim_right": str.rstrip,
    "string_split": lambda sep, text: text.split(sep) if sep else list(text),
    "string_join": _joined,
    "string_repeat": lambda count, text: text * min(int(count), 1_000_000),
    "string_from_code_point": _code_point,
    "string_code_point_at": lambda at, text: ord(text[at]) if 0 <= at < len(text) else UNDEF,
    "array_sub": _cut,
    "array_range": _range,
    "array_reverse": lambda array: array[::-1],
    "array_sort": sorted_array,
    "array_sort_by": sorted_by,
    "array_flatten": _flattened,
    "map_of_pairs": _of_pairs,
    "map_of_groups": lambda keys, array: groups(keys, array),
    "array_matches": matches,
    "sort_open": sort_open,
    "int_range": lambda a, b: Stream(iter(range(int(a), int(b) + 1))),
    "map_keys": _keys,
    "map_values": lambda m: [m[key] for key in _keys(m)],
    "map_remove": lambda name, m: {key: value for key, value in m.items() if key != name},
    "map_entry": _entry,
    "json_parse": parse_json,
    "json_format": format_json,
    "case_name": lambda case: case.name,
    "case_make": Case,
    "stream_unread": _unread,
    "ref_of_string": Ref,
    "ref_to_string": lambda ref: ref.id,
    "random_int": lambda first, last: random.randint(int(first), int(last)),
    "random_float": random.random,
    "binary_of_string": str.encode,
    "binary_to_string": _decoded,
    "binary_of_base64": _of_base64,
    "binary_to_base64": lambda binary: base64.b64encode(binary).decode(),
    "format_words": codec.encode,
}

BUILTINS: Final[dict[str, Callable[..., Any]]] = {
    name: _checked(name, call) for name, call in _CALLS.items()
} | {
    "kind": lambda machine, value: kind(value),
    "length": _length,
    "expect": _expect,
    "sort_step": lambda machine, greater, sort: sort_step(greater, sort),
    "sort_close": lambda machine, sort: sort_close(sort),
    "stream_next": _stream_next,
    "stream_of": _stream_of,
    "identical": lambda machine, a, b: a is b,
    "raise": lambda machine, value: _fail(machine, value),
    "raise_again": lambda machine, value: machine.raise_again(value),
    "argument": lambda machine, case: case.arg,
    "slots": lambda machine, count: Slots([UNDEF] * count),
    "slot": _slot,
    "set_slot": _set_slot,
    "spawn": lambda machine, function: machine.coroutines.spawn(function),
    "current": lambda machine: machine.coroutines.running,
    "yield": lambda machine: machine.coroutines.pause(),
    "park": lambda machine: machine.coroutines.park(),
    "wake": lambda machine, coroutine, value: machine.coroutines.wake(coroutine, value),
    "cancel": lambda machine, coroutine: machine.coroutines.cancel(coroutine),
    "coroutine_local": lambda machine, index: machine.coroutines.running.locals[index],
    "coroutine_set_local": _set_local,
    "hold": _hold,
    "unhold": _unhold,
}


# ---------------------------------------------------------------------------------------------------------- globals


def _fail(machine: Running, message: Any) -> Any:
    raise Panic(message if type(message) is str else "an error was raised", "M0906", value=message)


def _no_default(machine: Running, value: Any) -> Any:
    if value is UNDEF:
        raise Panic("noDefault: the value is undefined")
    return value


def _recurse(arity: int) -> Callable[..., Any]:
    def make(machine: Running, function: Any) -> Any:
        def call(machine: Running, *args: Any) -> Any:
            return machine.apply(function, (itself, *args))

        itself = Native("recurse", arity, call)
        return itself

    return make


def _datacase(machine: Running, value: Any) -> Any:
    found = kind(value)
    return (
        UNDEF if value is UNDEF else {"int": "number", "float": "number", "map": "object"}.get(found, found)
    )


def _debug(machine: Running, value: Any) -> None:
    machine.log.append(value if type(value) is str else kind(value))
    machine.coroutines.pause()


def _actions(name: str, change: Callable[[Running, list[Any]], None]) -> Native:
    def call(machine: Running, appstate: Any, chain: Any) -> None:
        if type(chain) is not list:
            raise Panic(f"{name}: expected an array, found {kind(chain)}")
        change(machine, chain)

    return Native(name, 2, call)


def _set_next(machine: Running, chain: list[Any]) -> None:
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
