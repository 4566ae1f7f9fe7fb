"""TinyDB, as it comes: one JSON file that is written anew with each commit, synced here as the others do."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tinydb import TinyDB, where
from tinydb.storages import JSONStorage

from database.contender import Row

__all__ = ["Tiny"]


class _Synced(JSONStorage):
    def write(self, data: dict[str, dict[str, Row]]) -> None:
        self._handle.seek(0)
        self._handle.write(json.dumps(data))
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.truncate()


class Tiny:
    name = "TinyDB"

    def __init__(self, folder: Path) -> None:
        self._database = TinyDB(folder / "records.json", storage=_Synced)
        self._table = self._database.table("_default", cache_size=0)

    def save(self, records: Sequence[Row]) -> None:
        """Of new records only, which is its cheapest way."""
        self._table.insert_multiple(records)

    def settle(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def get(self, id: str) -> Row | None:
        return self._table.get(where("id") == id)  # type: ignore[return-value]

    def _rows(self, condition: object) -> list[Row]:
        return list(self._table.search(condition))  # type: ignore[arg-type]

    def equal(self, owner: str) -> list[Row]:
        return self._rows(where("owner") == owner)

    def both(self, city: str, status: str) -> list[Row]:
        return self._rows((where("city") == city) & (where("status") == status))

    def count(self, status: str, quantity: int) -> int:
        return self._table.count((where("status") == status) & (where("quantity") >= quantity))

    def groups(self) -> dict[str, int]:
        return dict(Counter(row["status"] for row in self._table))

    def prefix(self, start: str) -> list[Row]:
        return self._rows(where("name").test(lambda name: name.startswith(start)))

    def between(self, low: float, high: float) -> list[Row]:
        return self._rows((where("amount") >= low) & (where("amount") < high))

    def _best(self, rows: Sequence[Row], key: Callable[[Row], float]) -> list[Row]:
        return sorted(rows, key=key, reverse=True)[:20]

    def latest(self) -> list[Row]:
        return self._best(self._table.all(), lambda row: row["created"])

    def dearest(self) -> list[Row]:
        return self._best(self._rows(where("status") == "open"), lambda row: row["amount"])

    def plain(self, row: Row) -> Row:
        return dict(row)

    def another(self) -> Tiny:
        raise NotImplementedError("TinyDB is for one thread")

    def close(self) -> None:
        self._database.close()
