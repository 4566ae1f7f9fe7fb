"""Much binary, not copied: what an FFI answers, written where its codec words stand, and arguments that are views."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mixkit import codec
from mixkit.errors import CodecError
from mixkit.value import ok

if TYPE_CHECKING:
    from mixkit._codec_py import TokenReader

    def joined(parts: Iterable[bytes], /) -> bytes:
        """`b"".join(parts)`, which for megabytes takes a quarter of the time."""
else:
    try:
        from mixkit._codec import joined
    except ModuleNotFoundError:
        joined = b"".join

__all__ = ["LEAST", "Answer", "Octets", "arguments", "joined"]

Answer: TypeAlias = bytes | memoryview
"""Codec words of what an FFI answers."""
LEAST: Final = 64 << 10
"""Bytes of binary from which on it is worth the trouble."""

_MUCH: Final = 4 << 20
_AHEAD: Final = 64
"""Room for the words in front of the binary."""
_BINARY, _ARRAY = 8, 9
_FLAT: Final = frozenset(range(1, 9)) | {12}
"""Tags of values without others in them."""
_SIZED: Final = frozenset((6, 7, 8, 12))
_WIDE: Final = frozenset((4, 5))
_LONG: Final = 0xFFFFFF
_OK: Final = codec.encode(ok(b""))[:-4]
_ARRAY_OF_ONE: Final = codec.encode([None])[:-4]


class Octets:
    """Binary of so many bytes, which an FFI fills and answers: no copy of it is made until the guest takes it.

        sealed = Octets(len(content) + 28)
        cipher.encrypt_into(nonce, content, None, sealed.room[12:])
        return sealed

    An FFI that answers one says so: `-> Octets`, or `-> Result[Octets]`; its agents see binary.

    Attributes:
        room: the bytes, zero at first.
    """

    __slots__ = ("_memory", "room")

    def __init__(self, size: int) -> None:
        self._memory = memoryview(_zeros(_AHEAD + (size + 3) // 4 * 4))
        self.room = self._memory[_AHEAD : _AHEAD + size]

    def __len__(self) -> int:
        return len(self.room)

    def words(self, *, is_ok: bool = False) -> memoryview:
        """The codec words of the binary, or of `ok` of it."""
        size = len(self.room)
        head = size.to_bytes(4, "little") if size >= _LONG else b""
        head = (_BINARY | min(size, _LONG) << 8).to_bytes(4, "little") + head
        if is_ok:
            head = _OK + head
        begin = _AHEAD - len(head)
        self._memory[begin:_AHEAD] = head
        return self._memory[begin:]


def _zeros(size: int) -> bytearray | mmap.mmap:
    if size < _MUCH or not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(size)
    # PERF: pages of the usual size come one by one, and take several times as long as what is written there.
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def arguments(words: bytes, token: TokenReader | None = None) -> list[Any] | None:
    """The items of an array, of which large binary is a view of the words; None for `codec.decode` to do it.

    Arrays, maps and cases are taken only as the last one. What is wrong is for `codec.decode` to say.

    Args:
        token: as of `codec.decode`.
    """
    view = memoryview(words)
    if len(view) < 4 or len(view) % 4 or view[0] != _ARRAY:
        return None
    count, at = _length(view, 0)
    items: list[Any] = []
    while len(items) < count and at < len(view):
        tag = view[at]
        if tag not in _FLAT:
            if len(items) < count - 1:
                return None
            end = len(view)
        elif tag in _SIZED:
            size, begin = _length(view, at)
            end = begin + (size + 3) // 4 * 4
            if tag == _BINARY and size >= LEAST and _is_sound(view, at, begin + size, end):
                items.append(view[begin : begin + size])
                at = end
                continue
        else:
            end = at + (12 if tag in _WIDE else 4)
        try:
            # An array of this one: what may not be in an array, and how deep it may go, is the same then.
            items += codec.decode(_ARRAY_OF_ONE + view[at:end], token=token)  # type: ignore[arg-type]
        except CodecError:
            return None
        at = end
    return items if len(items) == count and at == len(view) else None


def _length(view: memoryview, at: int) -> tuple[int, int]:
    """The length or count in a header, and where it ends."""
    length = int.from_bytes(view[at + 1 : at + 4], "little")
    return (length, at + 4) if length != _LONG else (int.from_bytes(view[at + 4 : at + 8], "little"), at + 8)


def _is_sound(view: memoryview, at: int, last: int, end: int) -> bool:
    """Whether binary is all there, with zeros behind it, and its length in the form that it must have."""
    is_long = bytes(view[at + 1 : at + 4]) == b"\xff\xff\xff"
    return end <= len(view) and not any(view[last:end]) and is_long == (last - at - 8 >= _LONG)
