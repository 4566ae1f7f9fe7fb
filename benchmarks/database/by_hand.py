"""LMDB: MessagePack by id, and a sub-database by hand for each of the six fields, kept up in the same transaction.

Strings are the keys as they are, numbers as eight bytes that sort like them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from database.contender import Row
from database.records import INDEXED

__all__ = ["LMDB"]

_MAP_SIZE = 8 << 30


def _key(value: str | float) -> bytes:
    if isinstance(value, str):
        return value.encode()
    (bits,) = struct.unpack(">Q", struct.pack(">d", value))
    return struct.pack(">Q", bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63))


class LMDB:
    name = "LMDB"

    def __init__(self, folder: Path, shared: LMDB | None = None) -> None:
        self._owner = shared is None
        if shared is not None:
            self._env, self._indexes = shared._env, shared._indexes
            return
        self._env = lmdb.open(str(folder / "records.lmdb"), map_size=_MAP_SIZE, max_dbs=len(INDEXED))
        self._indexes = {
            field: self._env.open_db(field.encode(), dupsort=True, dupfixed=True) for field in INDEXED
        }

    def save(self, records: Sequence[Row]) -> None:
        with self._env.begin(write=True) as txn:
            for record in records:
                id = record["id"].encode()
                packed = msgpack.packb(record)
                old = txn.get(id)
                before = msgpack.unpackb(old) if old is not None else {}
                for field, index in self._indexes.items():
                    if field in before and before[field] != record[field]:
                        txn.delete(_key(before[field]), id, index)
                    if before.get(field) != record[field]:
                        txn.put(_key(record[field]), id, db=index)
                txn.put(id, packed)

    def settle(self) -> None:
        pass

    def flush(self) -> None:
        self._env.sync()

    def _ids(self, txn: lmdb.Transaction, field: str, value: str | float) -> list[bytes]:
        with txn.cursor(self._indexes[field]) as cursor:
            return list(cursor.iternext_dup()) if cursor.set_key(_key(value)) else []

    def _from(
        self, txn: lmdb.Transaction, field: str, low: bytes, inside: Callable[[bytes], bool]
    ) -> Iterator[bytes]:
        with txn.cursor(self._indexes[field]) as cursor:
            if cursor.set_range(low):
                for key, id in cursor.iternext():
                    if not inside(key):
                        return
                    yield id

    def get(self, id: str) -> Row | None:
        with self._env.begin() as txn:
            packed = txn.get(id.encode())
        return None if packed is None else msgpack.unpackb(packed)

    def equal(self, owner: str) -> list[Row]:
        with self._env.begin() as txn:
            return [msgpack.unpackb(txn.get(id)) for id in self._ids(txn, "owner", owner)]

    def both(self, city: str, status: str) -> list[Row]:
        with self._env.begin() as txn:
            rows = (msgpack.unpackb(txn.get(id)) for id in self._ids(txn, "city", city))
            return [row for row in rows if row["status"] == status]

    def count(self, status: str, quantity: int) -> int:
        with self._env.begin() as txn:
            enough = set(self._from(txn, "quantity", _key(float(quantity)), lambda key: True))
            return len(enough.intersection(self._ids(txn, "status", status)))

    def groups(self) -> dict[str, int]:
        found = {}
        with self._env.begin() as txn, txn.cursor(self._indexes["status"]) as cursor:
            more = cursor.first()
            while more:
                found[cursor.key().decode()] = cursor.count()
                more = cursor.next_nodup()
        return found

    def prefix(self, start: str) -> list[Row]:
        low = start.encode()
        with self._env.begin() as txn:
            ids = self._from(txn, "name", low, lambda key: key.startswith(low))
            return [msgpack.unpackb(txn.get(id)) for id in ids]

    def between(self, low: float, high: float) -> list[Row]:
        end = _key(high)
        with self._env.begin() as txn:
            return [msgpack.unpackb(txn.get(id)) for id in self._from(txn, "amount", _key(low), end.__gt__)]

    def latest(self) -> list[Row]:
        with self._env.begin() as txn, txn.cursor() as cursor:
            rows = (msgpack.unpackb(value) for key, value in cursor if len(key) == 32)
            return sorted(rows, key=lambda row: row["created"], reverse=True)[:20]

    def dearest(self) -> list[Row]:
        found: list[Row] = []
        with self._env.begin() as txn, txn.cursor(self._indexes["amount"]) as cursor:
            cursor.last()
            for id in cursor.iterprev(keys=False):
                row: dict[str, Any] = msgpack.unpackb(txn.get(id))
                if row["status"] == "open":
                    found.append(row)
                    if len(found) == 20:
                        break
        return found

    def plain(self, row: Row) -> Row:
        return row

    def another(self) -> LMDB:
        return LMDB(Path(), self)

    def close(self) -> None:
        if self._owner:
            self._env.close()
