"""A snapshot of versions in a list, for tests of queries without an engine."""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pyroaring import AbstractBitMap, BitMap

from mix_db.index.memory import MemoryPart
from mix_db.index.part import Part
from mix_db.index.segment import Segment
from mix_db.index.write import build
from mix_db.query.evaluate import is_current
from mix_db.versions.public import Choice
from mixkit.rows import Rows, ValueRows

__all__ = ["ListedSnapshot"]


class ListedSnapshot:
    """Implements `mix_db.versions.snapshot.Snapshot`.

    Args:
        versions: all rows as they are stored, with `_rmx_id`, `_rmx_rev`, `_rmx_last_modified_at`, and where they
            apply `_rmx_previous` and `_rmx_deleted`.
        rows: how many of them are seen; the parts hold all.
        cuts: first rows of further parts.
        segments: whether all parts but the last are segments, as those of files are.
    """

    def __init__(
        self,
        versions: Sequence[dict[str, Any]],
        *,
        rows: int | None = None,
        cuts: Sequence[int] = (),
        segments: bool = False,
    ) -> None:
        self.rows = len(versions) if rows is None else rows
        edges = sorted({0, *cuts, len(versions)})
        spans = list(pairwise(edges)) or [(0, 0)]
        self.parts: list[Part] = [
            _segment(start, versions[start:stop])
            if segments and stop < len(versions)
            else _memory(start, versions[start:stop])
            for start, stop in spans
        ]
        self.watermark = versions[self.rows - 1]["_rmx_rev"] if self.rows else "0" * 16
        self.records = [{**version, "_rmx_row": row} for row, version in enumerate(versions[: self.rows])]
        self._newest: dict[str, int] = {}
        for record in self.records:
            previous = record.get("_rmx_previous")
            if previous is not None:
                self.records[int(previous.id)] |= {
                    "_rmx_superseded": True,
                    "_rmx_superseded_at": record["_rmx_last_modified_at"],
                }
            self._newest[record["_rmx_id"].id] = record["_rmx_row"]

    def current(self) -> AbstractBitMap:
        return BitMap([record["_rmx_row"] for record in self.records if is_current(record)])

    def visible(self, *, deleted: bool, superseded: bool) -> AbstractBitMap:
        return BitMap([record["_rmx_row"] for record in self.seen(deleted=deleted, superseded=superseded)])

    def seen(self, *, deleted: bool, superseded: bool) -> list[dict[str, Any]]:
        """The records that a query with these options sees."""
        return [
            record
            for record in self.records
            if (deleted or "_rmx_deleted" not in record) and (superseded or "_rmx_superseded" not in record)
        ]

    def read(self, row: int) -> dict[str, Any]:
        return copy.deepcopy(self.records[row])

    def read_first(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [self.read(row) for row in rows]

    def take(self, rows: list[int], choice: Choice) -> Rows:
        return ValueRows([choice.of(self.read(row)) for row in rows])

    def row_of(self, id: str) -> int | None:
        return self._newest.get(id)

    def rows_of(self, id: str) -> list[int]:
        return [record["_rmx_row"] for record in self.records if record["_rmx_id"].id == id]

    def first_after(self, watermark: str) -> int:
        return bisect_right(self.records, watermark, key=lambda record: record["_rmx_rev"])

    def first_since(self, milliseconds: int) -> int:
        return bisect_left(self.records, milliseconds, key=lambda record: record["_rmx_last_modified_at"])


def _memory(start: int, versions: Sequence[dict[str, Any]]) -> MemoryPart:
    part = MemoryPart(start)
    for row, version in enumerate(versions, start):
        part.add(row, version)
    return part


def _segment(start: int, versions: Sequence[dict[str, Any]]) -> Segment:
    return Segment(f"{start}", memoryview(build(start, versions)))
