"""DuckDB: a table with a typed column for each field, the id as its primary key.

Its columns are what it is fast with; JSON in one column would be several times slower. Commits arrive as a file of
JSON lines, the quickest way into it without another library.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import duckdb

from database.contender import Row

__all__ = ["DuckDB"]

_COLUMNS = {
    "id": "varchar",
    "name": "varchar",
    "owner": "varchar",
    "city": "varchar",
    "status": "varchar",
    "quantity": "integer",
    "amount": "double",
    "active": "boolean",
    "note": "varchar",
    "tags": "varchar[]",
    "address": 'struct(street varchar, zip integer, "at" struct(lat double, lon double))',
    "created": "bigint",
    "parent": "varchar",
}
_TYPES = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in _COLUMNS.items()) + "}"


class DuckDB:
    name = "DuckDB"

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        self._folder = folder
        self._inbox = folder.parent / f"{folder.name}.{id(self)}.ndjson"
        self._connection = connection or duckdb.connect(str(folder / "records.duckdb"))
        columns = ", ".join(f'"{name}" {kind}' for name, kind in _COLUMNS.items())
        self._connection.execute(f"create table if not exists records ({columns}, primary key (id))")

    def _rows(self, where: str, *values: object) -> list[Row]:
        cursor = self._connection.execute(f"select * from records {where}", values)
        names = list(_COLUMNS)
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def save(self, records: Sequence[Row]) -> None:
        if len(records) == 1:
            values = [records[0].get(name) for name in _COLUMNS]
            marks = ", ".join("?" * len(values))
            self._connection.execute(f"insert or replace into records values ({marks})", values)
            return
        self._inbox.write_text("\n".join(map(json.dumps, records)))
        self._connection.execute(
            "insert or replace into records "
            f"select * from read_json('{self._inbox}', format = 'newline_delimited', columns = {_TYPES})"
        )
        self._inbox.unlink()

    def settle(self) -> None:
        self.flush()

    def flush(self) -> None:
        self._connection.execute("force checkpoint")

    def get(self, id: str) -> Row | None:
        rows = self._rows("where id = ?", id)
        return rows[0] if rows else None

    def equal(self, owner: str) -> list[Row]:
        return self._rows("where owner = ?", owner)

    def both(self, city: str, status: str) -> list[Row]:
        return self._rows("where city = ? and status = ?", city, status)

    def count(self, status: str, quantity: int) -> int:
        query = "select count(*) from records where status = ? and quantity >= ?"
        (number,) = self._connection.execute(query, (status, quantity)).fetchall()[0]
        return int(number)

    def groups(self) -> dict[str, int]:
        return dict(self._connection.execute("select status, count(*) from records group by 1").fetchall())

    def prefix(self, start: str) -> list[Row]:
        return self._rows("where starts_with(name, ?)", start)

    def between(self, low: float, high: float) -> list[Row]:
        return self._rows("where amount >= ? and amount < ?", low, high)

    def latest(self) -> list[Row]:
        return self._rows("order by created desc limit 20")

    def dearest(self) -> list[Row]:
        return self._rows("where status = 'open' order by amount desc limit 20")

    def plain(self, row: Row) -> Row:
        return row

    def another(self) -> DuckDB:
        return DuckDB(self._folder, self._connection.cursor())

    def close(self) -> None:
        self._connection.close()
