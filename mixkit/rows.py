"""Rows of an answer, which go on in one form whole: as JSON, as codec words, or as MessagePack.

A database keeps records as MessagePack, a client gets JSON, an agent words. Whoever answers rows says what they are by
`Rows`; whoever sends them on asks for the form that he sends. Python values are made only where somebody looks at them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from mixkit import codec, forms
from mixkit.value import Value

__all__ = ["PackedRows", "Rows", "ValueRows"]


class Rows(ABC):
    """Values in their order."""

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def values(self) -> list[Any]:
        """The rows as Python values, made now."""
        ...

    @abstractmethod
    def words(self) -> bytes:
        """The codec words of an array of them. `CodecError` if they have none, as those nested too deep."""
        ...

    @abstractmethod
    def json(self, between: bytes = b",") -> bytes:
        """The tagged JSON of each (UTF-8), with `between` between them.

        Raises:
            TaggedJSONError: one cannot be written; `.path` leads from that row on.
        """
        ...

    @abstractmethod
    def msgpack(self) -> bytes:
        """The MessagePack of each, one behind the other. `ValueKindError` if one has none."""
        ...


class PackedRows(Rows):
    """Rows by their MessagePack, one behind the other. Whoever makes them vouches for it, and that they are maps, or
    None where a record is not there."""

    # PERF: no dataclass, since a frozen one takes several times as long to make.
    __slots__ = ("_count", "_packed")

    def __init__(self, count: int, packed: bytes) -> None:
        self._count = count
        self._packed = packed

    def __len__(self) -> int:
        return self._count

    def values(self) -> list[Any]:
        from mixkit import msgpack_values

        return msgpack_values.unpack_rows(self._packed, self._count)

    def words(self) -> bytes:
        return forms.rows_to_words(self._packed, self._count)

    def json(self, between: bytes = b",") -> bytes:
        return forms.rows_to_json(self._packed, self._count, between)

    def msgpack(self) -> bytes:
        return self._packed


class ValueRows(Rows):
    """Rows that are Python values: what is calculated, and what comes from where nothing is packed."""

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[Value]) -> None:
        self._values = list(values)

    def __len__(self) -> int:
        return len(self._values)

    def values(self) -> list[Any]:
        return self._values

    def words(self) -> bytes:
        return codec.encode(self._values)

    def json(self, between: bytes = b",") -> bytes:
        from mixkit import tagged_json

        return between.join([tagged_json.dumps(row).encode() for row in self._values])

    def msgpack(self) -> bytes:
        from mixkit import msgpack_values

        return b"".join(map(msgpack_values.pack, self._values))
