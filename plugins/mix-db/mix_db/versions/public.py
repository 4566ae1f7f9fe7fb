"""Stored versions in their public form: the MessagePack of what `read_version` makes, without making it.

The bytes of the client's fields are taken over as they are, and the engine's get their names. What a projection keeps
of whole fields is kept on the way. From there `mixkit.rows` knows all forms that rows leave in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from mix_db.versions.version import packer, read_python

__all__ = ["ALL", "MAX_NAMES", "Choice", "publish", "publish_python"]

MAX_NAMES: Final = 256
"""Fields that a choice names at most."""

_Dropped = tuple[bytes, ...]
_Picks = tuple[tuple[bytes, bytes], ...] | None


@dataclass(frozen=True)
class Choice:
    """Which fields of a version are wanted; all but those of `dropped`, or only `picks`.

    Attributes:
        dropped: names, `MAX_NAMES` at most.
        picks: names with what they are called in the answer, in its order, both each once; `MAX_NAMES` at most. What
            a version has not is left out. None for all fields.
    """

    dropped: frozenset[str] = frozenset()
    picks: tuple[tuple[str, str], ...] | None = None

    @cached_property
    def packed(self) -> tuple[_Dropped, _Picks]:
        """As `publish` takes it."""
        pack = packer()
        dropped = tuple([name.encode() for name in sorted(self.dropped)])
        if self.picks is None:
            return dropped, None
        return dropped, tuple([(name.encode(), pack(called)) for name, called in self.picks])

    @cached_property
    def size(self) -> int:
        """Bytes that its names take in each row."""
        return sum([len(called.encode()) for _, called in self.picks or ()])

    def of(self, record: dict[str, Any]) -> dict[str, Any]:
        """What it leaves of a record."""
        if self.picks is None:
            return {name: value for name, value in record.items() if name not in self.dropped}
        return {called: record[name] for name, called in self.picks if name in record}


ALL: Final = Choice()


def publish_python(
    records: list[bytes], rows: list[int], marks: dict[int, int], dropped: _Dropped, picks: _Picks
) -> bytes:
    """Stored versions in public form, one behind the other; `mix_db._version.publish` is its twin in C.

    Args:
        records: the versions.
        rows: their numbers.
        marks: since when those of them that are superseded are, by their numbers.
        dropped, picks: as `Choice.packed` has them.

    Raises:
        ValueError, TypeError: the bytes of one are no version.
    """
    pack = packer()
    parts: list[bytes] = []
    for data, row in zip(records, rows, strict=True):
        record = read_python(data) | {"_rmx_row": row}
        if row in marks:
            record |= {"_rmx_superseded": True, "_rmx_superseded_at": marks[row]}
        fields = {name.encode(): value for name, value in record.items() if name.encode() not in dropped}
        if picks is None:
            chosen = [(pack(name.decode()), value) for name, value in fields.items()]
        else:
            chosen = [(called, fields[name]) for name, called in picks if name in fields]
        header = pack({str(number): None for number in range(len(chosen))})
        parts.append(header[: 1 if len(chosen) < 16 else 3 if len(chosen) < 1 << 16 else 5])
        parts += [part for called, value in chosen for part in (called, pack(value))]
    return b"".join(parts)


def _publisher() -> Callable[[list[bytes], list[int], dict[int, int], _Dropped, _Picks], bytes]:
    try:
        from mix_db._version import publish
    except ImportError:
        return publish_python
    return publish


publish: Final = _publisher()
"""Stored versions in public form, one behind the other."""
