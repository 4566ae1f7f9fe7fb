"""A record on its way into a database, as it came: a map for who looks, bytes for who stores it whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from mixkit import codec, forms, tagged_json

__all__ = ["PackedRecord", "read_record"]

_MAP: Final = 10
_OWN: Final = "_rmx_"


class PackedRecord(Mapping[str, Any]):
    """A map by its codec words, of which no more is read than is asked for.

    Whoever is given one as a record may take it for the map that it is; a database that keeps MessagePack need not make
    the values first.

    Args:
        words: of a map, valid and without Tokens.
    """

    __slots__ = ("_own", "_value", "words")

    def __init__(self, words: bytes) -> None:
        self.words = words
        self._own: dict[str, Any] | None = None
        self._value: dict[str, Any] | None = None

    def msgpack(self) -> bytes:
        """It as `mixkit.msgpack_values` says."""
        return forms.words_to_msgpack(self.words)

    def own(self) -> dict[str, Any]:
        """The fields whose names begin with `_rmx_`, made when they are first asked for, without the others."""
        if self._own is None:
            self._own = _map(forms.entries(self.words, _OWN.encode()) or self.words)
        return self._own

    def value(self) -> dict[str, Any]:
        """The map, made when it is first asked for."""
        if self._value is None:
            self._value = _map(self.words)
        return self._value

    def __getitem__(self, key: str) -> Any:
        return self.own()[key] if key.startswith(_OWN) else self.value()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.value())

    def __len__(self) -> int:
        return len(self.value())

    def __repr__(self) -> str:
        return repr(self.value())


def _map(words: bytes) -> dict[str, Any]:
    return cast("dict[str, Any]", codec.decode(words))


def read_record(text: bytes) -> Any:
    """The value in tagged JSON (UTF-8); a map is packed if it is there in one walk, for whoever stores it as it is.

    Raises:
        TaggedJSONError: as `tagged_json.loads`.
    """
    words = forms.words_of(text)
    if words is None:
        return tagged_json.loads(text)
    return PackedRecord(words) if words[0] == _MAP else codec.decode(words)
