"""mixquery, which indexes every field without being told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mix_db import Database

from database.contender import Row
from mixkit.value import Ref

__all__ = ["Mixquery"]

_SETTLED = 60.0
"""Seconds that merging may take in the background before what there is is measured."""


class Mixquery:
    name = "mixquery"

    def __init__(self, folder: Path, shared: Mixquery | None = None) -> None:
        self._owner = shared is None
        self._database: Any = Database(folder / "records") if shared is None else shared._database

    def save(self, records: Sequence[Row]) -> None:
        packed = []
        for given in records:
            record = given.copy()
            record["_rmx_id"] = record.pop("id")
            if record["parent"] is not None:
                record["parent"] = Ref(record["parent"])
            packed.append(record)
        self._database.save(packed)

    def settle(self) -> None:
        self._database.flush()
        until, before = time.monotonic() + _SETTLED, None
        while time.monotonic() < until:
            stats = self._database.stats()
            now = (stats.get("segments"), stats["size"])
            if now == before:
                return
            before = now
            time.sleep(1.0)

    def flush(self) -> None:
        self._database.flush()

    def _rows(self, text: str, **params: object) -> list[Row]:
        return list(self._database.query(text, **params))

    def get(self, id: str) -> Row | None:
        found: Row | None = self._database.get(id)
        return found

    def equal(self, owner: str) -> list[Row]:
        return self._rows("owner == $owner", owner=owner)

    def both(self, city: str, status: str) -> list[Row]:
        return self._rows("city == $city and status == $status", city=city, status=status)

    def count(self, status: str, quantity: int) -> int:
        (row,) = self._rows("status == $status and quantity >= $q | count()", status=status, q=quantity)
        return int(row["count"])

    def groups(self) -> dict[str, int]:
        return {row["key"]: row["count"] for row in self._rows("true | group(status) | count()")}

    def prefix(self, start: str) -> list[Row]:
        return self._rows("name like $pattern", pattern=start + "%")

    def between(self, low: float, high: float) -> list[Row]:
        return self._rows("amount >= $low and amount < $high", low=low, high=high)

    def latest(self) -> list[Row]:
        return self._rows("true | orderDesc(created) | limit(20)")

    def dearest(self) -> list[Row]:
        return self._rows('status == "open" | orderDesc(amount) | limit(20)')

    def plain(self, row: Row) -> Row:
        found = {key: value for key, value in row.items() if not key.startswith("_rmx_")}
        found["id"] = row["_rmx_id"].id
        if found["parent"] is not None:
            found["parent"] = found["parent"].id
        return found

    def another(self) -> Mixquery:
        return Mixquery(Path(), self)

    def close(self) -> None:
        if self._owner:
            self._database.close()
