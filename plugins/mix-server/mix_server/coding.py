"""Content codings of bodies (RFC 9110, section 8.4): what is compressed is decompressed under the limit of the body."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from mix_server.errors import BadRequest, BodyTooLarge, UnsupportedCoding

__all__ = ["Decoder", "coding_of"]

_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Codings, and what zlib calls them. `deflate` is in zlib's format, as HTTP has it."""
_PIECE: Final = 262_144
"""Bytes that are made at once, however much the rest would become."""
_MEMBERS: Final = 1024
"""Parts of a gzip file, each of which begins anew. One part for 64 KiB is usual where there are several."""


def coding_of(header: str | None) -> str | None:
    """The coding that `Content-Encoding` names, None for a body as it is.

    Raises:
        UnsupportedCoding: it is none that is read here, or there are several.
    """
    if header is None:
        return None
    named = [name for name in (part.strip().lower() for part in header.split(",")) if name != "identity"]
    if not any(named):
        return None
    if len(named) > 1 or named[0] not in _WINDOW_BITS:
        raise UnsupportedCoding(header)
    return named[0]


class Decoder:
    """Decompresses one body.

    Args:
        coding: as `coding_of` has it.
        limit: bytes that the body may become.
    """

    def __init__(self, coding: str, limit: int) -> None:
        self._coding = coding
        self._limit = limit
        self._size = 0
        self._begun = 0
        self._inner: zlib._Decompress | None = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes mean, piece by piece.

        Raises:
            BodyTooLarge: it becomes longer than the limit.
            BadRequest: it is not in the coding.
        """
        more = False
        while data or more:
            inner = self._inner or self._begin()
            try:
                piece = inner.decompress(data, _PIECE)
            except zlib.error as exc:
                raise BadRequest(f"expected a body in the coding {self._coding}: {exc}") from None
            self._size += len(piece)
            if self._size > self._limit:
                raise BodyTooLarge(self._limit)
            # NOTE: zlib may have taken all bytes in, and still have more to give than it was asked for.
            more = len(piece) == _PIECE and not inner.eof
            data = inner.unused_data if inner.eof else inner.unconsumed_tail
            self._inner = None if inner.eof else inner
            yield piece

    def finish(self) -> None:
        """The body has ended. `BadRequest` if what it holds has not."""
        if self._inner is not None:
            raise BadRequest(f"expected a whole body in the coding {self._coding}, found one that is cut off")

    def _begin(self) -> zlib._Decompress:
        self._begun += 1
        if self._begun > (1 if self._coding == "deflate" else _MEMBERS):
            raise BadRequest(
                f"expected nothing after the body in the coding {self._coding}, or fewer parts of it"
            )
        self._inner = zlib.decompressobj(_WINDOW_BITS[self._coding])
        return self._inner
