"""Index segments of stored versions."""

from __future__ import annotations

from collections.abc import Iterable

from mix_db.index.segment import check
from mix_db.index.write import build
from mix_db.versions.version import read_version

__all__ = ["check_segment", "index_rows"]


def index_rows(start: int, records: Iterable[bytes]) -> Iterable[bytes]:
    """The content of a segment, of whose rows `start` is the first."""
    return [build(start, map(read_version, records))]


def check_segment(name: str, data: memoryview) -> Iterable[str]:
    """What is wrong in a segment."""
    return map(str, check(name, data))
