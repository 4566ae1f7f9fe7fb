"""Text out of the bytes of an answer, as browsers read it."""

from __future__ import annotations

import codecs
import re
from typing import Final

import webencodings  # type: ignore[import-untyped]

__all__ = ["decode_text", "media_type"]

_PIECE: Final = 64 * 1024
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
_NO_TEXT: Final = frozenset(("replacement", "x-user-defined"))
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"))


def media_type(content_type: str) -> str:
    """`text/html` of `Text/HTML; charset=utf-8`."""
    return content_type.partition(";")[0].strip().lower()


def decode_text(body: bytes, content_type: str) -> tuple[str, bool]:
    """A body as text, and whether something in it was none: U+FFFD stands for such bytes.

    A byte order mark decides, and is not part of the text; else the charset of the media type, whose name means what
    the WHATWG's Encoding Standard says (`latin1` is windows-1252, `gb2312` is gbk); else UTF-8.
    """
    encoding = _charset(content_type)
    for mark, name in _MARKS:
        if body.startswith(mark):
            body, encoding = body[len(mark) :], name
            break
    try:
        return _decoded(body, encoding, "strict"), False
    except UnicodeDecodeError:
        return _decoded(body, encoding, "replace"), True


def _decoded(body: bytes, encoding: str, errors: str) -> str:
    if len(body) <= _PIECE:
        return body.decode(encoding, errors)
    # In pieces, between which other threads run: some codecs take a second for what is all damaged.
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    last = max(0, (len(body) - 1) // _PIECE * _PIECE)
    parts = [decoder.decode(body[at : at + _PIECE]) for at in range(0, last, _PIECE)]
    return "".join((*parts, decoder.decode(body[last:], True)))


def _charset(content_type: str) -> str:
    """The codec for a media type."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            label = value.strip(" \t\"'")
            found = webencodings.lookup(label) if _PARAMETER.fullmatch(label) else None
            if found is not None and found.name not in _NO_TEXT:
                # The standard reads gbk with the decoder of gb18030, of which it is a part.
                return "gb18030" if found.name == "gbk" else str(found.codec_info.name)
            break
    return "utf-8"
