"""The hot loops of the segments in C; their twins in Python say what they do."""

from collections.abc import Mapping, Sequence

from mix_db.index.memory import Posting
from mix_db.index.pack import Packed, Source
from mix_db.index.part import Key

def pack(
    packed: Packed, keys: Sequence[Key], postings: Mapping[Key, Posting], start: int, stop: int, /
) -> None:
    """`mix_db.index.pack.pack_python`; keys are a list, postings a dict."""

def unite(packed: Packed, sources: Sequence[Source], limit: int, /) -> bool:
    """`mix_db.index.pack.unite_python`; sources are a list."""

def seek(keys: memoryview, key: int, /) -> int:
    """`bisect.bisect_left`."""

def find(
    keys: memoryview,
    data: memoryview,
    flags: bytearray,
    tails: int,
    width: int,
    postings: int,
    text: bytes,
    /,
) -> int:
    """The row of a text, as `mix_db.index.segment.SegmentColumn.lookup` finds it; -1 if it is not there, -2 where that
    has to look itself."""
