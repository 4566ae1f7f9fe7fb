"""Bodies: what an agent sends, decompression within bounds, text out of bytes."""

from __future__ import annotations

import codecs
import json
import re
import zlib
from typing import Any, Final
from urllib.parse import urlencode

from mix_http.message import HttpRequest, pairs
from mixkit.errors import FFIError
from mixkit.value import UNDEF, kind_of

__all__ = ["Decompressor", "decode_text", "encode_body", "media_type"]


def encode_body(request: HttpRequest) -> tuple[bytes, str]:
    """The bytes to send and their media type; no bytes and no type when the request has no body.

    Raises:
        FFIError: more than one of body, form and json, or a value that JSON does not have.
    """
    given = [request.body is not None, request.form is not None, request.json is not UNDEF]
    if sum(given) > 1:
        raise FFIError("expected at most one of body, form and json")
    if request.form is not None:
        return urlencode(list(pairs(request.form))).encode(), "application/x-www-form-urlencoded"
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


class Decompressor:
    """Undoes a `Content-Encoding` piece by piece and never makes more than `limit` bytes of all pieces.

    One coding only: a chain of codings is how small bombs become large ones, and no server needs it.

    Raises:
        FFIError: the coding is not gzip, deflate or identity; from `feed` and `finish`, the data is damaged.
    """

    def __init__(self, coding: str, limit: int) -> None:
        self.coding = coding.strip().lower()
        self.left = limit
        self._first = True
        self._inner: Any = None
        if self.coding in ("gzip", "x-gzip"):
            self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)
        elif self.coding == "deflate":
            self._inner = zlib.decompressobj()
        elif self.coding not in ("", "identity"):
            raise FFIError(
                f"expected an answer in gzip, deflate or identity, found Content-Encoding {coding[:100]!r}"
            )

    def feed(self, data: bytes) -> bytes:
        """More of the body. Answers at most one byte more than the limit allows: then `left` is negative."""
        if self._inner is None:
            self.left -= len(data)
            return data
        parts = []
        while data and self.left >= 0:
            part, data = self._step(data)
            parts.append(part)
            self.left -= len(part)
        return b"".join(parts)

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        """What the next bytes give, and the bytes that are still to be read."""
        inner = self._inner
        if inner.eof:
            if self.coding == "deflate":
                return b"", b""
            # A gzip file may have several members; servers that compress piecewise send such.
            inner = self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            part = inner.decompress(data, self.left + 1)
        except zlib.error:
            if not self._first or self.coding != "deflate":
                raise FFIError(f"the answer is not valid {self.coding} data") from None
            # "deflate" means zlib, but some servers send the bare stream.
            inner = self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
            self._first = False
            return self._step(data)
        self._first = False
        return part, inner.unused_data if inner.eof else inner.unconsumed_tail

    def finish(self) -> None:
        """The body has ended: it must be whole."""
        if self._inner is not None and not self._first and not self._inner.eof:
            raise FFIError(f"the answer ends in the middle of its {self.coding} data")


# Only real character sets: Python also has codecs that take quadratic time or make no text (idna …).
_CHARSETS: Final = re.compile(
    r"ascii|utf-(8|16|32)(-[bl]e)?|iso8859-\d+|cp(125\d|437|85\d|866|874|932|949|950)|koi8-[rut]|mac-(roman|cyrillic)"
    r"|gb2312|gbk|gb18030|big5(hkscs)?|euc_(jp|kr)|shift_jis|iso2022_(jp|kr)|tis-620"
)
_CHARSET_PARAMETER: Final = re.compile(r";\s*charset\s*=\s*\"?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)


def media_type(content_type: str) -> str:
    """`text/html` of `Text/HTML; charset=utf-8`."""
    return content_type.partition(";")[0].strip().lower()


def decode_text(body: bytes, content_type: str) -> str:
    """A body as text: by its charset, else UTF-8 (without its mark), else Latin-1, which takes any bytes."""
    charsets = ["utf-8-sig"]
    match = _CHARSET_PARAMETER.search(content_type)
    if match is not None:
        try:
            name = codecs.lookup(match[1]).name
        except LookupError:
            name = ""
        if name not in ("", "utf-8") and _CHARSETS.fullmatch(name):
            charsets.insert(0, name)
    for charset in charsets:
        try:
            return body.decode(charset)
        except UnicodeDecodeError:
            continue
    return body.decode("latin-1")
