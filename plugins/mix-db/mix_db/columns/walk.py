"""Stored rows walked twice: `scan` tells which kinds of values are where, `fill` puts the values into columns.

Here are the twins in Python of what `mix_db._columns` does without making an object of any value; they are used where
it was not built.

A *seen* is `(kinds, fields, item)`: the kinds of all values at a place, a sum of `Seen`; by name what was seen in the
fields of maps there; what was seen in arrays there, or None.

A *plan* is `(code, name, children)`: a column of the kind `Code` for the field of that name (UTF-8), and those inside.
*Filled* is `(length, nulls, valid, offsets, data, children)`: a column as Arrow keeps it in memory, in bytes.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum, IntFlag
from itertools import accumulate, chain
from typing import Any, Final, TypeAlias

from mix_db.versions.version import ENGINE_FIELDS, packer, read_version
from mixkit.value import Case, Ref

__all__ = ["EXACT", "Code", "Filled", "Plan", "Seen", "SeenAt", "fill", "fill_python", "scan", "scan_python"]

SeenAt: TypeAlias = tuple[int, dict[str, Any], Any]
Plan: TypeAlias = tuple[int, bytes, tuple[Any, ...]]
Filled: TypeAlias = tuple[int, int, bytes, bytes, bytes, list[Any]]

EXACT: Final = 2**53
"""Integers up to here are the same as a double."""


class Seen(IntFlag):
    """Kinds of values. BIG is an INT that no double is; WIDE: there is more than was looked at."""

    NULL = 1
    BOOL = 2
    INT = 4
    BIG = 8
    FLOAT = 16
    STRING = 32
    BINARY = 64
    REF = 128
    CASE = 256
    ARRAY = 512
    MAP = 1024
    WIDE = 2048


class Code(IntEnum):
    """Kinds of columns. TEXT takes strings and refs, FLOAT integers too, RAW any value as its MessagePack, REST as such
    a map all fields of the record that have no column. ID, REV and TIME are fields of the engine's."""

    BOOL = 0
    INT = 1
    FLOAT = 2
    TEXT = 3
    BINARY = 4
    RAW = 5
    LIST = 6
    STRUCT = 7
    REST = 8
    ID = 9
    REV = 10
    TIME = 11


# ---------------------------------------------------------------------------------------------------------- scan


def scan_python(rows: list[bytes], fields: int, most: int, depth: int) -> SeenAt:
    """What is in the client's fields of rows.

    Args:
        fields: of one map that are told from each other; the map is WIDE if there are more.
        most: places that are told from each other in all.
        depth: levels of maps and arrays that are looked into.

    Raises:
        ValueError: a row is none.
    """
    left = most
    root: list[Any] = [0, {}, None]

    def note(at: list[Any], value: Any, level: int) -> None:
        nonlocal left
        at[0] |= _kind(value)
        if isinstance(value, dict | list) and level >= depth:
            at[0] |= Seen.WIDE
        elif isinstance(value, dict):
            note_fields(at, value, level)
        elif isinstance(value, list):
            if at[2] is None:
                if not left:
                    at[0] |= Seen.WIDE
                    return
                at[2] = [0, {}, None]
                left -= 1
            for item in value:
                note(at[2], item, level + 1)

    def note_fields(at: list[Any], value: Mapping[str, Any], level: int) -> None:
        nonlocal left
        for name, item in value.items():
            if name not in at[1]:
                if len(at[1]) >= fields or not left:
                    at[0] |= Seen.WIDE
                    continue
                at[1][name] = [0, {}, None]
                left -= 1
            note(at[1][name], item, level + 1)

    for row in rows:
        record = read_version(row)
        note_fields(root, {name: value for name, value in record.items() if name not in ENGINE_FIELDS}, 0)
    return _frozen(root)


def _kind(value: Any) -> int:
    match value:
        case None:
            return Seen.NULL
        case bool():
            return Seen.BOOL
        case int():
            return Seen.INT if -EXACT <= value <= EXACT else Seen.INT | Seen.BIG
        case float():
            return Seen.FLOAT
        case str():
            return Seen.STRING
        case bytes():
            return Seen.BINARY
        case Ref():
            return Seen.REF
        case Case():
            return Seen.CASE
        case list():
            return Seen.ARRAY
        case _:
            return Seen.MAP


def _frozen(at: list[Any]) -> SeenAt:
    item = None if at[2] is None else _frozen(at[2])
    return int(at[0]), {name: _frozen(field) for name, field in at[1].items()}, item


# ---------------------------------------------------------------------------------------------------------- fill


def fill_python(rows: list[bytes], plan: Plan) -> Filled:
    """The columns of a plan whose root is a STRUCT, one item for each row.

    A null and what is not there are the same.

    Raises:
        ValueError: a row is none, or has a value that its column cannot take.
    """
    code, _, children = plan
    if code != Code.STRUCT:
        raise ValueError("a plan whose root is no struct")
    records = [read_version(row) for row in rows]
    known = {child[1].decode() for child in children}
    filled = []
    for child in children:
        match child[0]:
            case Code.REST:
                others = [
                    {k: v for k, v in record.items() if k not in known and k not in ENGINE_FIELDS}
                    for record in records
                ]
                raw = [b"\xdf" + len(rest).to_bytes(4) + _body(rest) if rest else None for rest in others]
                filled.append(_sized(raw))
            case Code.ID:
                filled.append(_column((Code.TEXT, b"", ()), [record.get("_rmx_id") for record in records]))
            case Code.REV:
                filled.append(_column((Code.TEXT, b"", ()), [record.get("_rmx_rev") for record in records]))
            case Code.TIME:
                times = [record.get("_rmx_last_modified_at") for record in records]
                filled.append(_column((Code.INT, b"", ()), times))
            case _:
                name = child[1].decode()
                filled.append(_column(child, [record.get(name) for record in records]))
    return len(rows), 0, _bits(True for _ in rows), b"", b"", filled


def _body(rest: Mapping[str, Any]) -> bytes:
    pack = packer()
    return b"".join(pack(part) for part in chain.from_iterable(rest.items()))


_TAKES: Final[dict[int, tuple[type, ...]]] = {
    Code.BOOL: (bool,),
    Code.INT: (int,),
    Code.FLOAT: (int, float),
    Code.TEXT: (str, Ref),
    Code.BINARY: (bytes,),
    Code.LIST: (list,),
    Code.STRUCT: (dict,),
}


def _column(plan: Plan, values: list[Any]) -> Filled:
    code, _, children = plan
    takes = _TAKES.get(code)
    if takes is not None and not all(value is None or type(value) in takes for value in values):
        raise ValueError("expected the MessagePack of records, found a value that the plan has no place for")
    nulls = sum(value is None for value in values)
    valid = _bits(value is not None for value in values)
    match code:
        case Code.BOOL:
            return len(values), nulls, valid, b"", _bits(map(bool, values)), []
        case Code.INT | Code.FLOAT:
            numbers = array(
                "q" if code == Code.INT else "d", (0 if value is None else value for value in values)
            )
            return len(values), nulls, valid, b"", _little(numbers), []
        case Code.LIST:
            items = list(chain.from_iterable(value or () for value in values))
            offsets = _offsets(len(value or ()) for value in values)
            return len(values), nulls, valid, offsets, b"", [_column(children[0], items)]
        case Code.STRUCT:
            fields = [
                _column(child, [None if value is None else value.get(child[1].decode()) for value in values])
                for child in children
            ]
            return len(values), nulls, valid, b"", b"", fields
    write = _text if code == Code.TEXT else bytes if code == Code.BINARY else packer()
    return _sized([None if value is None else write(value) for value in values])


def _text(value: Any) -> bytes:
    text: str = value.id if isinstance(value, Ref) else value
    return text.encode()


def _sized(parts: list[bytes | None]) -> Filled:
    nulls = sum(part is None for part in parts)
    valid = _bits(part is not None for part in parts)
    offsets = _offsets(len(part or b"") for part in parts)
    return len(parts), nulls, valid, offsets, b"".join(part or b"" for part in parts), []


def _bits(flags: Iterable[bool]) -> bytes:
    kept = list(flags)
    return sum(flag << place for place, flag in enumerate(kept)).to_bytes(-(-len(kept) // 8), "little")


def _offsets(sizes: Iterable[int]) -> bytes:
    return _little(array("i", accumulate(sizes, initial=0)))


def _little(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _load() -> tuple[Callable[[list[bytes], int, int, int], SeenAt], Callable[[list[bytes], Plan], Filled]]:
    try:
        from mix_db import _columns
    except ImportError:
        return scan_python, fill_python
    return _columns.scan, _columns.fill


scan, fill = _load()
