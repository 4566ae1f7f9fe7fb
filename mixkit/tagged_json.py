"""Tagged JSON: every Value but a Token as JSON; and plain JSON, for partners that know nothing of our tags.

What JSON has is written as itself, the rest as an object whose `_rmx_type` starts with `{tag}`. The table is
in docs/values.md. Plain mode interprets no tags on input and refuses on output what JSON cannot hold.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from mixkit._codec_py import INVALID, LINKED, MARK, MARKED
from mixkit._fault import Blemish, Fault, unique
from mixkit.codec import scan
from mixkit.errors import TaggedJSONError
from mixkit.value import (
    INT64_MAX,
    INT64_MIN,
    MAX_DEPTH,
    UNDEF,
    Case,
    Ref,
    Token,
    Undef,
    Value,
    find_fault,
    kind_of,
)

__all__ = ["dumps", "from_json", "loads", "to_json"]

TAG: Final = "{tag}"
ESCAPE: Final = "{str}"
VALUE: Final = "_rmx_value"
_CASE: Final = TAG + "case:"
REF_CASE: Final = "db.ref"
"""The case name that a Ref is written with; so no Case of this name can be."""
_REF: Final = _CASE + REF_CASE
_TAG_BYTES: Final = TAG.encode()
_ESCAPE_BYTES: Final = ESCAPE.encode()
_AS_IS: Final = frozenset({type(None), bool, int, str})


def dumps(value: Value, *, plain: bool = False) -> str:
    """Write a value as JSON text, compact, maps in their own order, non-ASCII characters as themselves.

    Args:
        value: any Value without a Token.
        plain: write no tags, and refuse what JSON cannot hold.

    Raises:
        TaggedJSONError: the value cannot be written; `.path` leads to the part that cannot, as
            `$.items[3].when` (the step into a case is its name).
    """
    found = scan(value)
    if found and (plain or found != LINKED):
        if found & ~(LINKED | MARKED) == 0 and not plain and (text := _written(value)) is not None:
            return text
        value = _to_json(value, found, plain)
    # PERF: msgspec writes what is plain JSON as we want it, and asks `_linked` about the two classes left.
    return msgspec.json.encode(value, enc_hook=_linked).decode()


def loads(text: str | bytes, *, plain: bool = False) -> Value:
    """Read a value from JSON text (bytes are UTF-8).

    A string that starts with `{ref}` stays a string: only a reader that expects a Ref in its place, as the
    database does for a field of a record, knows that the old form of a Ref is meant.

    Args:
        text: one JSON document. Refused are repeated keys, NaN and Infinity literals, numbers beyond int64 or
            double, lone surrogates, nesting above `MAX_DEPTH`, undefined inside arrays and maps.
        plain: take objects with `_rmx_type` for what they are, maps.

    Raises:
        TaggedJSONError: the text is refused; `.path` leads to the place, as in `dumps`, with `_rmx_value` for
            the content of a tag that is not a case.
    """
    value = _quick(text, plain)
    return from_json(_parse(text, _parser), plain=plain) if value is _MISSED else cast(Value, value)


def to_json(value: Value, *, plain: bool = False) -> Any:
    """What `dumps` writes, as a tree of dict, list, str, int, float, bool and None.

    It may share parts with `value`, or be `value` itself. Raises as `dumps` does.
    """
    return _to_json(value, scan(value), plain)


def from_json(tree: Any, *, plain: bool = False) -> Value:
    """What `loads` reads from the text that this tree was parsed from; a repeated key is lost by then.

    The answer may share parts with `tree`, or be `tree` itself. Raises as `loads` does.
    """
    found = scan(tree)
    if found == 0 or (plain and found == MARKED):
        return cast(Value, tree)
    try:
        value = _read(tree, plain, 0)
        if scan(value) & INVALID:
            raise find_fault(value) or Fault("a tree that changed while it was being read")
        return cast(Value, value)
    except Fault as fault:
        raise TaggedJSONError(fault.message, fault.path()) from None


# ---------------------------------------------------------------------------------------------------- writing


def _to_json(value: Any, found: int, plain: bool) -> Any:
    if found == 0 or (plain and found == MARKED):
        return value
    try:
        if found & INVALID:
            raise find_fault(value) or Fault("a value that changed while it was being written")
        return _write(value, plain)
    except Fault as fault:
        raise TaggedJSONError(fault.message, fault.path()) from None


def _write(value: Any, plain: bool) -> Any:
    """The JSON tree of a Value that `scan` found valid."""
    if type(value) in _AS_IS:
        return value
    match value:
        case dict():
            return _write_map(value, plain)
        case list():
            items = []
            for index, item in enumerate(value):
                try:
                    items.append(_write(item, plain))
                except Fault as fault:
                    raise fault.inside(index) from None
            return items
        case float() if math.isfinite(value):
            return value
        case Token():
            raise Fault("a Token is never serialised, found one")
        case _ if plain:
            what = "a number that is not finite" if isinstance(value, float) else f"the kind {kind_of(value)}"
            raise Fault(f"plain JSON cannot hold {what}")
        case float():
            return {MARK: TAG + ("nan" if math.isnan(value) else "posinf" if value > 0 else "neginf")}
        case bytes():
            return {MARK: f"{TAG}bin", VALUE: base64.b64encode(value).decode()}
        case Case(name=name, arg=arg):
            if name == REF_CASE:
                raise Fault(f"a Case named {REF_CASE} would be read as a Ref, write a Ref instead")
            try:
                return {MARK: _CASE + name} | ({} if arg is UNDEF else {VALUE: _write(arg, plain)})
            except Fault as fault:
                raise fault.inside(name) from None
        case Ref():
            return _linked(value)
        case _:
            return {MARK: f"{TAG}undefined"}


def _write_map(entries: dict[str, Any], plain: bool) -> dict[str, Any]:
    tree = {}
    for key, item in entries.items():
        try:
            tree[key] = _write(item, plain)
        except Fault as fault:
            raise fault.inside(key) from None
    mark = tree.get(MARK)
    if not plain and type(mark) is str and mark.startswith((TAG, ESCAPE)):
        tree[MARK] = ESCAPE + mark
    return tree


def _written(value: Any) -> str | None:
    """The text of a value whose maps have marks of their own; None if one of these must be escaped.

    PERF: several times faster than the walk, and records have marks: `_rmx_type` is the type of a record.
    """
    tags = 0

    def linked(part: Any) -> dict[str, Any]:
        nonlocal tags
        tags += 1
        return _linked(part)

    text = msgspec.json.encode(value, enc_hook=linked)
    # What looks like a tag and is none of ours is perhaps a mark, perhaps only text: the walk knows.
    return text.decode() if text.count(_TAG_BYTES) == tags and _ESCAPE_BYTES not in text else None


def _linked(value: Any) -> dict[str, Any]:
    """A Ref or Case one level deep, for msgspec, which then writes what the Case holds."""
    if type(value) is Ref:
        return {MARK: _REF, VALUE: value.id}
    assert type(value) is Case, "scan lets no other class through"
    mark = _CASE + value.name
    return {MARK: mark} if value.arg is UNDEF else {MARK: mark, VALUE: value.arg}


# ---------------------------------------------------------------------------------------------------- reading


def _literal(name: str) -> Blemish:
    return Blemish(f"{name} is not JSON, found it")


def _integer(digits: str) -> int | Blemish:
    # More digits than an int64 has are not worth parsing, and Python refuses very many without a path.
    return int(digits) if len(digits) <= 20 else Blemish("an integer beyond 64 bits")


def _quick(text: str | bytes, plain: bool) -> Any:
    """The value of a text without faults, whose tags are those of Refs and Cases; `_MISSED` for all others.

    PERF: msgspec reads several times faster than the careful parser, and reads the same, except that it lets a
    repeated key pass. One that got lost shows when the tree is written again: its quotes are missing.
    """
    try:
        data = text.encode() if isinstance(text, str) else text
        tree = _decode(data)
        found = scan(tree)
        if found & INVALID:
            return _MISSED
        again = _encode(tree)
        # A quote that is spelled as a number would come back as one more.
        if again != data and (again.count(b'"') != data.count(b'"') or b"\\u0022" in data):
            return _MISSED
        if plain or not found:
            return tree
        # Counted here and not in the text, which may have escapes in them.
        tags = again.count(_TAG_BYTES)
        if _ESCAPE_BYTES in again:
            return _MISSED
        whole = [tree]
        return whole[0] if not tags or _link(whole) == tags else _MISSED
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _MISSED


def _link(tree: Any) -> int:
    """Put Refs and Cases in place of the objects that stand for them; answers how many there were."""
    count = 0
    for key, item in tree.items() if type(tree) is dict else enumerate(tree):
        kind = type(item)
        if kind is dict:
            mark = item.get(MARK)
            if mark == _REF and len(item) == 2 and type(id := item.get(VALUE)) is str:
                tree[key] = Ref(id)
                count += 1
                continue
            count += _link(item)
            if type(mark) is str and mark.startswith(_CASE) and mark != _REF:
                arg = item.get(VALUE, UNDEF)
                if len(item) == (1 if arg is UNDEF else 2):
                    tree[key] = Case(mark.removeprefix(_CASE), arg)
                    count += 1
        elif kind is list:
            count += _link(item)
    return count


_MISSED: Final = object()
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_parser: Final = json.JSONDecoder(object_pairs_hook=unique, parse_constant=_literal)
_careful_parser: Final = json.JSONDecoder(
    object_pairs_hook=unique, parse_constant=_literal, parse_int=_integer
)


def _parse(text: str | bytes, parser: json.JSONDecoder) -> Any:
    """The tree of a JSON text, with a Blemish wherever there is something to refuse."""
    try:
        if not isinstance(text, str):
            text = str(text, "utf-8")
        try:
            return parser.decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError:
            return _careful_parser.decode(text)
    except UnicodeDecodeError as exc:
        raise TaggedJSONError(f"expected UTF-8, found something else at byte {exc.start}") from None
    except json.JSONDecodeError as exc:
        raise TaggedJSONError(f"expected JSON: {exc.msg} (line {exc.lineno}, column {exc.colno})") from None
    except RecursionError:
        raise TaggedJSONError(f"nesting above {MAX_DEPTH}") from None


def _read(tree: Any, plain: bool, depth: int) -> Any:
    """The Value of a JSON tree, faults of its scalars included: `scan` looks for those afterwards."""
    if depth > MAX_DEPTH:
        raise Fault(f"nesting above {MAX_DEPTH}")
    if type(tree) in _AS_IS:
        return tree
    match tree:
        case dict():
            return _read_object(tree, plain, depth)
        case list():
            items = []
            for index, item in enumerate(tree):
                try:
                    items.append(_part(_read(item, plain, depth + 1)))
                except Fault as fault:
                    raise fault.inside(index) from None
            return items
        case float():
            if math.isinf(tree):
                raise Fault("a number beyond the range of a double")
            if math.isnan(tree):
                raise Fault("NaN is not JSON, found it")
            return tree
        case bytes() | Ref() | Case() | Token() | Undef():
            raise Fault(f"expected a JSON tree, found the kind {kind_of(tree)}")
        case _:
            return tree


def _part(part: Any) -> Any:
    if part is UNDEF:
        raise Fault("undefined may not be stored in arrays, maps and cases, found it")
    return part


def _read_object(tree: dict[str, Any], plain: bool, depth: int) -> Any:
    mark = None if plain else tree.get(MARK)
    if type(mark) is str and mark.startswith(TAG):
        return _read_tagged(mark.removeprefix(TAG), tree, depth)
    entries = {}
    for key, item in tree.items():
        try:
            entries[key] = _part(_read(item, plain, depth + 1))
        except Fault as fault:
            raise fault.inside(key) from None
    if type(mark) is str:
        entries[MARK] = mark.removeprefix(ESCAPE)
    return entries


def _read_tagged(tag: str, tree: dict[str, Any], depth: int) -> Any:
    for key in tree:
        if key not in (MARK, VALUE):
            raise Fault(
                f"expected nothing but {MARK} and {VALUE} in a tagged object, found another key"
            ).inside(key)
    if tag.startswith("case:") and tag != f"case:{REF_CASE}":
        name = tag.removeprefix("case:")
        if VALUE not in tree:
            return Case(name)
        try:
            return Case(name, _part(_read(tree[VALUE], False, depth + 1)))
        except Fault as fault:
            raise fault.inside(name) from None
    if tag in _ALONE:
        if VALUE in tree:
            raise Fault(f"expected no {VALUE} with {TAG}{tag}, found one")
        return _ALONE[tag]
    if tag not in _SCALARS:
        raise Fault(f"unknown tag {TAG}{tag[:80]}")
    expected, read = _SCALARS[tag]
    try:
        value = read(tree.get(VALUE, UNDEF))
    except (ValueError, OverflowError):
        value = None
    if value is None and tag != "null":
        raise Fault(f"expected {expected} with {TAG}{tag}, found something else").inside(VALUE)
    return value


_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_HEX_FLOAT: Final = re.compile(r"-?0x[0-9a-f]{1,32}(\.[0-9a-f]{0,32})?(p[+-]?[0-9]{1,5})?", re.IGNORECASE)

# Each answers None, or raises ValueError, for what it does not accept.


def _text(part: Any) -> str | None:
    return part if type(part) is str else None


def _ref(part: Any) -> Ref | None:
    return Ref(part) if type(part) is str else None


def _binary(part: Any) -> bytes | None:
    return binascii.a2b_base64(part, strict_mode=True) if type(part) is str else None


def _int(part: Any) -> int | None:
    if type(part) is not str or not _DECIMAL.fullmatch(part):
        return None
    value = int(part)
    return value if INT64_MIN <= value <= INT64_MAX else None


def _float(part: Any) -> float | None:
    return float.fromhex(part) if type(part) is str and _HEX_FLOAT.fullmatch(part) else None


def _bool(part: Any) -> bool | None:
    return part if type(part) is bool else None


def _null(part: Any) -> None:
    if part is not UNDEF and part is not None:
        raise Fault(f"expected null or no {VALUE} with {TAG}null, found something else").inside(VALUE)


_ALONE: Final[dict[str, Any]] = {"undefined": UNDEF, "nan": math.nan, "posinf": math.inf, "neginf": -math.inf}

_SCALARS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    f"case:{REF_CASE}": ("a record id", _ref),
    "ref": ("a record id", _ref),
    "bin": ("a base64 string", _binary),
    "int": ("a decimal string within 64 bits", _int),
    "float": ("a hex float string", _float),
    "str": ("a string", _text),
    "bool": ("true or false", _bool),
    "null": ("null", _null),
}
