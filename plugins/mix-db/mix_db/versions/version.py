"""A version as it is stored: one MessagePack map, the client's fields first and the engine's behind them.

    header                    number of fields
    4  true                   `_rmx_deleted`; only in a tombstone, which has no fields of the client
    the client's fields       in their order, `_rmx_type` among them
    0  ref                    `_rmx_id`
    1  int                    number of the commit, read as `_rmx_rev`: the watermark, 16 decimal digits
    2  int                    `_rmx_last_modified_at`, Unix milliseconds; never less than in the row before
    3  int                    `_rmx_previous`, read as a Ref; only if the version replaced one

The engine's fields have integers as keys: a client's are strings, so none can pass for the engine's, and a row is 50
bytes shorter than with their names. They are spliced in as bytes, since what a client sent is packed before the
number of the commit is known. Bytes come from the files, which check them, or from this module, so that reading
trusts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, cast

import msgpack  # type: ignore[import-untyped]

from mixkit import msgpack_values
from mixkit.msgpack_values import CASE, REF
from mixkit.value import UNDEF, Case, Ref

__all__ = [
    "ENGINE_FIELDS",
    "MAX_WATERMARK",
    "Fields",
    "client_fields",
    "is_tombstone",
    "packer",
    "read_fields",
    "read_python",
    "read_version",
    "relinked",
    "split",
    "stamp",
    "unstamped",
    "watermark",
]

ENGINE_FIELDS: Final = frozenset(
    {
        "_rmx_id",
        "_rmx_rev",
        "_rmx_last_modified_at",
        "_rmx_previous",
        "_rmx_deleted",
        "_rmx_row",
        "_rmx_superseded",
        "_rmx_superseded_at",
    }
)
"""What a client cannot set; the last three are never stored."""

MAX_WATERMARK: Final = 10**16 - 1

Fields = tuple[int, bytes]
"""Number of fields, and the fields themselves as MessagePack, without the header of a map."""

_ID: Final = b"\x00"
_COMMIT: Final = b"\x01"
_TIME: Final = b"\x02"
_PREVIOUS: Final = b"\x03"
_DELETED: Final = b"\x04\xc3"


def watermark(number: int) -> str:
    """The watermark of a commit."""
    return f"{number:016d}"


def packer(translate: Callable[[str], str] | None = None) -> Callable[[Any], bytes]:
    """A function that packs one value after the other; `translate` gets the id of each Ref."""

    def extension(value: Any) -> Any:
        if type(value) is Ref:
            id = value.id if translate is None else translate(value.id)
            return msgpack.ExtType(REF, id.encode())
        if type(value) is not Case:
            raise TypeError(f"{type(value).__name__} is not a Value")
        parts = [value.name] if value.arg is UNDEF else [value.name, value.arg]
        return msgpack.ExtType(CASE, msgpack.Packer(default=extension, buf_size=256).pack(parts))

    # Not a cast, which would make the type at each commit.
    pack: Callable[[Any], bytes] = msgpack.Packer(default=extension, buf_size=4096).pack
    return pack


def split(packed: bytes, count: int) -> Fields:
    """The fields of a packed map with `count` of them."""
    return count, packed[1 if count < 16 else 3 if count < 1 << 16 else 5 :]


def unstamped(fields: Fields, id: str) -> Fields:
    """The fields with the id behind them."""
    count, body = fields
    return count + 1, b"".join((body, _ID, _ref(id)))


def stamp(number: int, milliseconds: int) -> Callable[[Fields, int | None, bool], bytes]:
    """What makes versions of the commit of that number and time.

    The function takes the fields with their id, the row that is replaced, and whether the version is a tombstone.
    """
    end = _COMMIT + msgpack.packb(number) + _TIME + msgpack.packb(milliseconds)

    def version(fields: Fields, previous: int | None, deleted: bool) -> bytes:
        count, body = fields
        if previous is None and not deleted:
            return b"".join((_header(count + 2), body, end))
        link = b"" if previous is None else _PREVIOUS + msgpack.packb(previous)
        count += 2 + (previous is not None) + deleted
        return b"".join((_header(count), _DELETED if deleted else b"", body, end, link))

    return version


def read_python(data: bytes) -> dict[str, Any]:
    """All that is stored of a version; `mix_db._version.read` is its twin in C."""
    try:
        record = msgpack.unpackb(data, ext_hook=_extension, strict_map_key=False)
    except _HasCase:
        record = _read_with_cases(data)
    if type(record) is not dict:
        raise ValueError(f"expected a map, found {type(record).__name__}")
    deleted = record.pop(4, False)
    if 0 in record:
        record["_rmx_id"] = record.pop(0)
    if 1 in record:
        record["_rmx_rev"] = watermark(record.pop(1))
    if 2 in record:
        record["_rmx_last_modified_at"] = record.pop(2)
    if 3 in record:
        record["_rmx_previous"] = Ref(str(record.pop(3)))
    if deleted:
        record["_rmx_deleted"] = True
    if not all(type(name) is str for name in record):
        raise ValueError("expected names that are strings, found another key")
    return cast(dict[str, Any], record)


def _read_with_cases(data: bytes) -> dict[Any, Any]:
    """`msgpack_values` puts cases into each other without deep recursion, but knows no keys that are integers."""
    raw = msgpack.unpackb(data, strict_map_key=False)
    own = {key: raw.pop(key) for key in range(5) if key in raw}
    if isinstance(own.get(0), msgpack.ExtType):
        if own[0].code != REF:
            raise ValueError("expected a Ref as the id, found another kind")
        own[0] = _extension(own[0].code, own[0].data)
    return cast(dict[Any, Any], msgpack_values.unpack(msgpack.packb(raw))) | own


def _reader() -> Callable[[bytes], dict[str, Any]]:
    try:
        from mix_db import _version
    except ImportError:
        return read_python
    return _version.read


read_version: Final = _reader()
"""All that is stored of a version. `ValueError` or `TypeError` if the bytes are none."""


def read_fields(fields: Fields) -> dict[str, Any]:
    """What the client gave of a version."""
    count, body = fields
    return client_fields(read_version(_header(count) + body))


def client_fields(version: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a version that are the client's own."""
    return {name: value for name, value in version.items() if name not in ENGINE_FIELDS}


def is_tombstone(data: bytes) -> bool:
    """Whether a stored version is one; only these begin so."""
    return data[1:3] == _DELETED


def relinked(data: bytes, moved: Callable[[int], int | None]) -> bytes:
    """The version with the new number of the row that it replaced, without a link if `moved` answers None."""
    record = read_version(data)
    previous = record.get("_rmx_previous")
    if previous is None:
        return data
    number = moved(int(previous.id))
    fields = client_fields(record)
    id = record["_rmx_id"].id
    version = stamp(int(record["_rmx_rev"]), record["_rmx_last_modified_at"])
    return version(
        unstamped(split(packer()(fields), len(fields)), id), number, record.get("_rmx_deleted") is True
    )


class _HasCase(Exception):
    """Not an error: the record is read in the way that can put one Case into another."""


def _extension(code: int, data: bytes) -> Ref:
    if code != REF:
        _has_case()
    return Ref(str(data, "utf-8"))


def _has_case() -> NoReturn:
    raise _HasCase


def _header(count: int) -> bytes:
    if count < 16:
        return bytes((0x80 | count,))
    if count < 1 << 16:
        return b"\xde" + count.to_bytes(2)
    return b"\xdf" + count.to_bytes(4)


def _ref(id: str) -> bytes:
    content = id.encode()
    if len(content) == 32:
        return b"\xc7\x20\x01" + content
    return cast(bytes, msgpack.packb(msgpack.ExtType(REF, content)))
