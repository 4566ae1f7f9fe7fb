"""Records as clients give them, packed, made into the fields of versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from mix_db.versions.version import packer, split, unstamped
from mixkit import msgpack_values
from mixkit.value import Case

__all__ = ["Taken", "client_part", "take", "take_python"]

_OWN: Final = "_rmx_"
_TYPE: Final = "_rmx_type"

Taken: TypeAlias = tuple[int, bytes, int, int, int]
"""Number of fields and their bytes, as `mix_db.versions.version.unstamped` makes them; what the fields take without the
id; bytes of the longest name; and how many paths there are, one counted as often as it occurs."""


def client_part(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record that a client can set. Its `_rmx_id` says which record it is, and is none of them."""
    return {name: value for name, value in record.items() if not name.startswith(_OWN) or name == _TYPE}


def take_python(packed: bytes, id: str) -> Taken:
    """The fields of the version that a record is to be, with its id. `packed` is as `msgpack_values.pack` makes it."""
    record = msgpack_values.unpack(packed)
    assert type(record) is dict, "nothing else is a record"
    kept = client_part(record)
    fields = packer()(kept)
    longest, paths = _measure(kept)
    return (*unstamped(split(fields, len(kept)), id), len(fields), longest, paths)


def _measure(value: Any) -> tuple[int, int]:
    """Bytes of the longest name, and the number of paths: those in a case are none."""
    longest = paths = 0
    parts: list[Any] = []
    if type(value) is dict:
        longest, paths = max((len(name.encode()) for name in value), default=0), len(value)
        parts = list(value.values())
    elif type(value) is list:
        paths, parts = 1, value
    elif type(value) is Case:
        return _measure(value.arg)[0], 0
    for part in parts:
        longest_there, more = _measure(part)
        longest, paths = max(longest, longest_there), paths + more
    return longest, paths


def _taker() -> Callable[[bytes, str], Taken]:
    try:
        from mix_db import _given
    except ImportError:
        return take_python
    return _given.take


take: Final = _taker()
"""The same by `mix_db._given`, where the extension was built."""
