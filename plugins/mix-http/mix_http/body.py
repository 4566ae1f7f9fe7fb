"""Bodies: what an agent sends, and decompression within bounds."""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from mix_http.message import HttpRequest, urlencoded
from mixkit.errors import FFIError
from mixkit.value import UNDEF, kind_of

__all__ = ["Decompressor", "encode_body"]

MAX_FORM: Final = 1024 * 1024
"""Characters of a form, which takes long to encode. What is larger is sent as a body."""


def encode_body(request: HttpRequest) -> tuple[bytes, str]:
    """The bytes to send and their media type; no bytes and no type when the request has no body.

    Raises:
        FFIError: more than one of body, form and json, or a value that JSON does not have.
    """
    given = [request.body is not None, request.form is not None, request.json is not UNDEF]
    if sum(given) > 1:
        raise FFIError("expected at most one of body, form and json")
    if request.form is not None:
        return urlencoded(request.form, "form", MAX_FORM).encode(), "application/x-www-form-urlencoded"
    if request.json is not UNDEF:
        try:
            text = json.dumps(request.json, ensure_ascii=False, allow_nan=False, default=_no_json)
        except ValueError:
            raise FFIError("json: JSON has neither NaN nor infinite numbers") from None
        return text.encode(), "application/json"
    if request.body is None:
        return b"", ""
    if isinstance(request.body, str):
        return request.body.encode(), "text/plain; charset=utf-8"
    return request.body, "application/octet-stream"


def _no_json(value: Any) -> Any:
    raise FFIError(f"json: JSON has no {kind_of(value)}; make it a string first")


NO_CODINGS: Final = frozenset(("identity", "none", "binary", "utf-8", "8bit"))
"""Content codings that leave the body as it is, and names of other things that servers write there."""


class Decompressor:
    """Undoes a `Content-Encoding` piece by piece and never makes more than `limit` bytes of all pieces.

    One coding only: a chain of codings is how small bombs become large ones, and no server needs it.

    Raises:
        FFIError: the coding is not gzip, deflate or identity; from `feed` and `finish`, the data is damaged.
    """

    def __init__(self, coding: str, limit: int) -> None:
        # Some servers name the coding that is none, by its own name or by a wrong one.
        named = [name for part in coding.split(",") if (name := part.strip().lower().removeprefix("x-"))]
        self.coding = ", ".join(name for name in named if name not in NO_CODINGS)
        self.left = limit
        self._start = b""
        self._inner: Any = None
        if self.coding not in ("", "gzip", "deflate"):
            raise FFIError(f"expected an answer in gzip or deflate, found Content-Encoding {coding[:100]!r}")

    def feed(self, data: bytes) -> bytes:
        """More of the body. Answers at most one byte more than the limit allows: then `left` is negative."""
        if not self.coding:
            self.left -= len(data)
            return data
        if self._inner is None:
            self._start += data
            if len(self._start) < 2:
                return b""
            data = self._start
            self._inner = zlib.decompressobj(self._window(data))
        parts = []
        while data and self.left >= 0:
            part, data = self._step(data)
            parts.append(part)
            self.left -= len(part)
        return b"".join(parts)

    def _window(self, start: bytes) -> int:
        """The `wbits` for zlib. "deflate" means zlib's format (RFC 1950), but some servers send bare data."""
        if self.coding == "gzip":
            return zlib.MAX_WBITS | 16
        has_header = start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        """What the next bytes give, and the bytes that are still to be read."""
        if self._inner.eof:
            if self.coding == "deflate" or (data := data.lstrip(b"\0")) == b"":
                # Blocks of a device are padded with zeros, which RFC 1952 lets a reader pass over.
                return b"", b""
            # A gzip body may have several members; servers that compress piecewise send such.
            self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            part = self._inner.decompress(data, self.left + 1)
        except zlib.error:
            raise FFIError(f"the answer is not valid {self.coding} data") from None
        return part, self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail

    def finish(self) -> None:
        """The body has ended: it must be whole."""
        if self._start and (self._inner is None or not self._inner.eof):
            raise FFIError(f"the answer ends in the middle of its {self.coding} data")
