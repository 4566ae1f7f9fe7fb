"""How many values a body holds, before any is made: small ones are few bytes, and much memory and time."""

from __future__ import annotations

import re
from typing import Final

import msgpack  # type: ignore[import-untyped]

from mix_server.errors import BodyTooRich

__all__ = ["check_json", "check_msgpack"]

_EMPTY: Final = re.compile(rb"\[[ \t\r\n]*\]|\{[ \t\r\n]*\}")
# Possessive, and to the end where a text is not closed: nothing is ever gone over twice, whatever stands there.
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def check_json(body: bytes, most: int) -> None:
    """Raise `BodyTooRich` if JSON holds more than `most` values, keys included. Of what is no JSON it says nothing."""
    if len(body) <= most:
        # Each takes a byte.
        return
    # PERF: marks in texts and empty containers count at first, which is quick, and nearly always few enough.
    if _marks(body) > most and _marks(_EMPTY.sub(b"0", _TEXT.sub(b"0", body))) > most:
        raise BodyTooRich(most)


def _marks(body: bytes) -> int:
    """Values of JSON without texts and empty containers: one, and one more behind each mark."""
    return 1 + sum(map(body.count, (b",", b":", b"[", b"{")))


def check_msgpack(body: bytes, most: int) -> None:
    """The same of MessagePack."""
    if len(body) <= most:
        # Each takes a byte.
        return
    found = 0

    def count(values: int) -> None:
        nonlocal found
        found += values
        if found > most:
            raise BodyTooRich(most)

    # What a container was made of is dropped as soon as it is counted.
    unpacker = msgpack.Unpacker(
        list_hook=lambda items: count(len(items)),
        object_pairs_hook=lambda pairs: count(2 * len(pairs)),
        ext_hook=lambda code, data: None,
        max_array_len=most,
        max_map_len=most,
        max_buffer_size=len(body),
        strict_map_key=False,
    )
    unpacker.feed(body)
    try:
        for _ in unpacker:
            pass
    except BodyTooRich:
        raise
    except (ValueError, msgpack.exceptions.UnpackException) as exc:
        if "exceeds max_" in str(exc):
            raise BodyTooRich(most) from None
        # Whoever reads it says better what is wrong.
