"""The contract of a storage on a Python list: slow, without files and indexes, and obviously right.

The versions of all records lie in the order of their commits; whatever is asked is answered by looking at them all.
What every faster database answers must agree with it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import string
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Literal

from mix_db.query.ast import Aggregate, Group, Object, Query, Unnest
from mix_db.query.builder import Condition
from mix_db.query.evaluate import Evaluation
from mix_db.query.json_form import from_json, to_json
from mix_db.query.parser import parse
from mix_db.query.printer import format_query
from mixkit import codec
from mixkit.errors import (
    Conflict,
    DatabaseGone,
    NotFound,
    QueryCancelled,
    QueryError,
    QueryTimeout,
    RecordError,
    StorageError,
    printable,
)
from mixkit.rows import Rows, ValueRows
from mixkit.storage import BATCH, BATCH_BYTES, Change, Commit, Moment, Parsed, Place, Record, SaveOptions
from mixkit.value import Case, Ref, find_fault, kind_of

__all__ = ["MAX_NAME", "PlainDatabase", "PlainStorage"]

MAX_NAME: Final = 1024
"""Most bytes of a field's name, UTF-8."""

_LETTERS: Final = string.digits + string.ascii_letters
_ID: Final = re.compile(r"[0-9A-Za-z]{32}", re.ASCII)
_WATERMARK: Final = re.compile(r"[0-9]{16}", re.ASCII)
_OPTIONS: Final = SaveOptions()
_POLL: Final = 0.005
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class _Shared:
    """What all handles of one database have in common. `done` is notified of commits and of closing.
    `times` has the milliseconds of each commit; `horizon` is the last one whose history was dropped."""

    rows: list[Record] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    horizon: int = 0
    removed: bool = False
    done: threading.Condition = field(default_factory=threading.Condition)

    @property
    def commit(self) -> int:
        """The number of the last commit, from 1; 0 if there is none."""
        return len(self.times)


class PlainStorage:
    """Databases that live as long as this object, one for each place."""

    name = "plain"
    durable = False

    def __init__(self, settings: object = None) -> None:
        self._databases: dict[Place, _Shared] = {}
        self._lock = threading.Lock()

    def open(self, place: Place, *, mode: Literal["create", "write", "read"] = "create") -> PlainDatabase:
        with self._lock:
            if place not in self._databases:
                if mode != "create":
                    raise NotFound(f"no database of {place.workspace}/{place.app}")
                self._databases[place] = _Shared()
            return PlainDatabase(self._databases[place], read_only=mode == "read")

    def remove(self, place: Place) -> None:
        with self._lock:
            shared = self._databases.pop(place, None)
        if shared is not None:
            with shared.done:
                shared.removed = True
                shared.done.notify_all()


class _Reader:
    """The rows behind one commit."""

    def __init__(self, rows: Sequence[Record], watermark: str) -> None:
        self._rows = rows
        self._watermark = watermark

    def _seen(self) -> tuple[list[Record], str]:
        return _marked(self._rows), self._watermark

    def watermark(self) -> str:
        return self._seen()[1]

    def get(self, id: Ref | str) -> Record | None:
        found = self.history(id)
        return None if not found or "_rmx_deleted" in found[-1] else found[-1]

    def get_rows(self, ids: Sequence[Ref | str]) -> Rows:
        return ValueRows([self.get(id) for id in ids])

    def history(self, id: Ref | str) -> list[Record]:
        ref = Ref(_id_text(id, "$"))
        return [row for row in self._seen()[0] if row["_rmx_id"] == ref]

    def query(
        self,
        query: Any,
        params: Mapping[str, Any] | None = None,
        *,
        deleted: bool = False,
        superseded: bool = False,
        skip: int = 0,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> PlainCursor:
        rows, watermark = self._seen()
        search = _Search(_as_query(query), params, rows, deleted, superseded)
        return PlainCursor(search, watermark, timeout, slice(skip, None if limit is None else skip + limit))

    def explain(
        self,
        query: Any,
        params: Mapping[str, Any] | None = None,
        *,
        deleted: bool = False,
        superseded: bool = False,
        run: bool = True,
    ) -> Mapping[str, Any]:
        rows, _ = self._seen()
        search = _Search(_as_query(query), params, rows, deleted, superseded)
        found = len(search.run(lambda: None)) if run else None
        return {"step": "look at every row", "rows": found, "estimate": len(rows), "parts": []}


class PlainDatabase(_Reader):
    """A handle of a database."""

    def __init__(self, shared: _Shared | None = None, *, read_only: bool = False) -> None:
        self._shared = shared or _Shared()
        self._read_only = read_only
        self._closed = False

    def _seen(self) -> tuple[list[Record], str]:
        with self._shared.done:
            self._check_open()
            return _marked(self._shared.rows), _watermark(self._shared.commit)

    def _check_open(self, *, write: bool = False) -> None:
        if self._shared.removed:
            raise DatabaseGone
        if self._closed:
            raise StorageError("expected an open database, found a closed one; open it again")
        if write and self._read_only:
            raise StorageError("expected a database that may be written, found one opened for reading")

    def save(self, records: Sequence[Mapping[str, Any]], options: SaveOptions = _OPTIONS) -> Commit:
        with self._shared.done:
            self._check_open(write=True)
            given = [_checked(record, f"$[{index}]") for index, record in enumerate(records)]
            return self._write(_Draft(self._shared).save(given, options))

    def delete(self, ids: Sequence[Ref | str | Mapping[str, Any]]) -> Commit:
        with self._shared.done:
            self._check_open(write=True)
            texts = [
                _id_text(id.get("_rmx_id"), f"$[{index}]._rmx_id")
                if isinstance(id, Mapping)
                else _id_text(id, f"$[{index}]")
                for index, id in enumerate(ids)
            ]
            read = {index: id for index, id in enumerate(ids) if isinstance(id, Mapping)}
            return self._write(_Draft(self._shared).expect(texts, read).delete(texts))

    def _write(self, draft: _Draft) -> Commit:
        shared = self._shared
        if draft.added:
            shared.rows += draft.added
            shared.times.append(draft.now)
            shared.done.notify_all()
        marked = _marked(shared.rows)
        return Commit(
            _watermark(shared.commit),
            [{} if row is None else marked[row] for row in draft.answers],
            sum(len(codec.encode(row)) for row in draft.added),
        )

    def as_of(self, when: Moment) -> _Reader:
        with self._shared.done:
            self._check_open()
            times, horizon = self._shared.times, self._shared.horizon
            if type(when) is str:
                last = min(int(_checked_watermark(when)), len(times))
            else:
                last = bisect_right(times, _milliseconds(when))
            if last < horizon:
                raise QueryError(
                    "expected a moment that history reaches back to, found one before "
                    f"{_watermark(horizon)}; what was before has been dropped"
                )
            watermark = _watermark(last)
            return _Reader([row for row in self._shared.rows if row["_rmx_rev"] <= watermark], watermark)

    def changed(self, watermark: str, timeout: float | None = None) -> str | None:
        with self._shared.done:
            self._after(watermark)
            self._shared.done.wait_for(lambda: self._closed or self._after(watermark) is not None, timeout)
            return self._after(watermark)

    async def changed_async(self, watermark: str) -> str:
        while (now := self.changed(watermark, 0)) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        return now

    def _after(self, watermark: str) -> str | None:
        self._check_open()
        if int(_checked_watermark(watermark)) > self._shared.commit:
            raise QueryError(
                f"expected a watermark of this database, found {watermark}, which is not reached"
            )
        now = _watermark(self._shared.commit)
        return now if now > watermark else None

    def live(self, query: Any, params: Mapping[str, Any] | None = None) -> PlainLive:
        parsed = _as_query(query)
        for stage in parsed.stages:
            if isinstance(stage, Aggregate | Group | Unnest):
                name = stage.function if isinstance(stage, Aggregate) else type(stage).__name__.lower()
                raise QueryError(
                    f"expected a live query of records, found {name}(…), whose rows are not one record each"
                )
        Evaluation(parsed, params or {}, lambda ref: None)
        return PlainLive(self, parsed, params)

    def parse(self, query: Any) -> Parsed:
        self._seen()
        tree = _as_query(query)
        return Parsed(to_json(tree), format_query(tree))

    def flush(self) -> None:
        with self._shared.done:
            self._check_open(write=True)

    def compact(self, *, drop_history: bool = False) -> None:
        with self._shared.done:
            self._check_open(write=True)
            if not drop_history:
                return
            kept = [
                row
                for row in _marked(self._shared.rows)
                if not row.keys() & {"_rmx_deleted", "_rmx_superseded"}
            ]
            self._shared.rows = [
                {name: value for name, value in row.items() if name != "_rmx_previous"} | {"_rmx_row": number}
                for number, row in enumerate(kept)
            ]
            self._shared.horizon = self._shared.commit

    def check(self) -> list[str]:
        self._seen()
        return []

    def stats(self) -> Mapping[str, Any]:
        rows, _ = self._seen()
        live = [row for row in rows if not row.keys() & {"_rmx_deleted", "_rmx_superseded"}]
        size = sum(len(codec.encode(row)) for row in rows)
        return {"records": len(live), "versions": len(rows), "commits": self._shared.commit, "size": size}

    def close(self) -> None:
        with self._shared.done:
            self._closed = True
            self._shared.done.notify_all()


class _Draft:
    """The rows that a call adds, and for each thing given the row that is its version now, None for `{}`."""

    def __init__(self, shared: _Shared) -> None:
        self._start = len(shared.rows)
        self._rev = _watermark(shared.commit + 1)
        self.now = max([time.time_ns() // 1_000_000, *shared.times[-1:]])
        self._newest = {row["_rmx_id"].id: row for row in shared.rows}
        self.added: list[Record] = []
        self.answers: list[int | None] = []

    def save(self, given: Sequence[Record], options: SaveOptions) -> _Draft:
        ids = [
            _id_text(record["_rmx_id"], f"$[{index}]._rmx_id") if "_rmx_id" in record else None
            for index, record in enumerate(given)
        ]
        new: dict[str, str] = {}
        for text in ids:
            if text is not None and self._is_temporary(text, options):
                new.setdefault(text, _new_id())
        if options.unchanged:
            known = {}
            for index, (text, record) in enumerate(zip(ids, given, strict=True)):
                if text is not None and text not in new:
                    known[index] = record
                elif record.get("_rmx_rev") is not None:
                    raise RecordError("expected the id that goes with _rmx_rev", f"$[{index}]._rmx_id")
            self.expect(ids, known)
        for text, record in zip(ids, given, strict=True):
            id = _new_id() if text is None else new.get(text, text)
            old = self._newest.get(id)
            if options.keep_original and old is not None:
                self.answers.append(old["_rmx_row"])
                continue
            fields = {name: value for name, value in record.items() if _is_client(name)}
            fields = {name: _renamed(value, new) for name, value in fields.items()}
            if options.upsert and old is not None:
                fields = {name: value for name, value in old.items() if _is_client(name)} | fields
            self._add(id, fields, old)
        return self

    def _is_temporary(self, text: str, options: SaveOptions) -> bool:
        if options.dont_use_id:
            return True
        return not options.original_id_always and not _ID.fullmatch(text) and text not in self._newest

    def expect(self, ids: Sequence[str | None], read: Mapping[int, Mapping[str, Any]]) -> _Draft:
        """Raise unless the records that were read are unchanged; they are given by their places among the ids."""
        revs = {index: _rev(record, f"$[{index}]") for index, record in read.items()}
        for index, rev in revs.items():
            id = ids[index] or ""
            newest = self._newest.get(id)
            if rev is None and (newest is None or "_rmx_deleted" in newest):
                continue
            found = None if newest is None else newest["_rmx_rev"]
            if found != rev:
                raise Conflict(id, rev, found, f"$[{index}]")
        return self

    def delete(self, ids: Sequence[str]) -> _Draft:
        for id in ids:
            old = self._newest.get(id)
            if old is None or "_rmx_deleted" in old:
                self.answers.append(None)
            else:
                self._add(id, {"_rmx_deleted": True}, old)
        return self

    def _add(self, id: str, fields: Record, old: Record | None) -> None:
        row = self._start + len(self.added)
        made = fields | {
            "_rmx_id": Ref(id),
            "_rmx_row": row,
            "_rmx_rev": self._rev,
            "_rmx_last_modified_at": self.now,
        }
        if old is not None:
            made["_rmx_previous"] = Ref(str(old["_rmx_row"]))
        self._newest[id] = made
        self.added.append(made)
        self.answers.append(row)


class _Search:
    """A query with all that it reads."""

    def __init__(
        self,
        query: Query,
        params: Mapping[str, Any] | None,
        rows: list[Record],
        deleted: bool,
        superseded: bool,
    ) -> None:
        self._query = query
        self._rows = [
            row
            for row in rows
            if (deleted or "_rmx_deleted" not in row) and (superseded or "_rmx_superseded" not in row)
        ]
        present = {
            row["_rmx_id"].id: row for row in rows if not row.keys() & {"_rmx_deleted", "_rmx_superseded"}
        }
        known = {row["_rmx_id"].id for row in rows}
        numbers = {str(row["_rmx_row"]): row for row in rows}

        def resolve(ref: Ref) -> Record | None:
            # The id of a record goes before the number of a row, wherever the record is now.
            return present.get(ref.id) if ref.id in known else numbers.get(ref.id)

        self._evaluation = Evaluation(query, params or {}, resolve)

    def _kept(self, tick: Callable[[], None]) -> list[Record]:
        kept = []
        for row in self._rows:
            tick()
            if self._evaluation.keeps(row):
                kept.append(dict(row))
        return kept

    def run(self, tick: Callable[[], None]) -> list[Record]:
        """The rows; `tick` is called before each row is looked at, and may raise."""
        return self._evaluation.stages(self._kept(tick))

    def by_record(self) -> dict[str, Record]:
        """The row that is made of each record, by its id, for queries that make one of one."""
        rows = self._kept(lambda: None)
        ids = [row["_rmx_id"].id for row in rows]
        for stage in self._query.stages:
            if isinstance(stage, Object):
                rows = [self._evaluation.row(stage, row) for row in rows]
            else:
                # Rows are moved and left out here, but stay the same objects.
                id_of = {id(row): text for row, text in zip(rows, ids, strict=True)}
                rows = self._evaluation._stage(stage, rows)
                ids = [id_of[id(row)] for row in rows]
        return dict(zip(ids, rows, strict=True))


class PlainCursor:
    """All rows are made by the first `next`."""

    def __init__(self, search: _Search, watermark: str, timeout: float | None, wanted: slice) -> None:
        self._search = search
        self._wanted = wanted
        self._watermark = watermark
        self._timeout = timeout
        self._rest: list[Record] | None = None
        self._cancelled = False
        self._lock = threading.Lock()

    @property
    def watermark(self) -> str:
        return self._watermark

    def warnings(self) -> list[str]:
        return []

    def next(self) -> list[Record]:
        with self._lock:
            self._check_cancelled()
            if self._rest is None:
                deadline = None if self._timeout is None else time.monotonic() + self._timeout

                def tick() -> None:
                    self._check_cancelled()
                    if deadline is not None and time.monotonic() >= deadline:
                        raise QueryTimeout(self._timeout or 0.0)

                self._rest = self._search.run(tick)[self._wanted]
            batch = self._rest[:1]
            size = len(codec.encode(batch))
            for row in self._rest[1:BATCH]:
                if size >= BATCH_BYTES:
                    break
                batch.append(row)
                size += len(codec.encode(row))
            self._rest = self._rest[len(batch) :]
            return batch

    def next_rows(self, most: int = BATCH) -> Rows:
        return ValueRows(self.next())

    def _check_cancelled(self) -> None:
        if self._cancelled:
            raise QueryCancelled("the query was cancelled")

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        self._cancelled = True

    def __iter__(self) -> Iterator[Record]:
        while batch := self.next():
            yield from batch

    def __enter__(self) -> PlainCursor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class PlainLive:
    """The query is run again after each commit."""

    def __init__(self, database: PlainDatabase, query: Query, params: Mapping[str, Any] | None) -> None:
        self._database = database
        self._query = query
        self._params = params
        self._known: dict[str, bytes] = {}
        self._watermark: str | None = None
        self._closed = False

    def next(self, timeout: float | None = None) -> Change | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (change := self._step()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                return None
            time.sleep(_POLL)
        return change

    async def next_async(self) -> Change:
        while (change := self._step()) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        return change

    def _step(self) -> Change | None:
        """The change up to now, if there is one; always the first time."""
        if self._closed:
            raise QueryCancelled("the live query was closed")
        first = self._watermark is None
        rows, watermark = self._database._seen()
        if watermark == self._watermark:
            return None
        self._watermark = watermark
        found = _Search(self._query, self._params, rows, deleted=False, superseded=False).by_record()
        before, self._known = self._known, {id: codec.encode(row) for id, row in found.items()}
        change = Change(
            watermark,
            entered=[row for id, row in found.items() if id not in before],
            changed=[row for id, row in found.items() if id in before and before[id] != self._known[id]],
            left=[Ref(id) for id in before if id not in found],
        )
        return change if first or change.entered or change.changed or change.left else None

    def close(self) -> None:
        self._closed = True


def _marked(rows: Sequence[Record]) -> list[Record]:
    """Copies of the rows that say which are superseded, by what comes after them."""
    successor = {row["_rmx_previous"].id: row for row in rows if "_rmx_previous" in row}
    marked = []
    for row in rows:
        copied: Record = _copied(row)
        if (by := successor.get(str(row["_rmx_row"]))) is not None:
            copied |= {"_rmx_superseded": True, "_rmx_superseded_at": by["_rmx_last_modified_at"]}
        marked.append(copied)
    return marked


def _copied(value: Any) -> Any:
    return _renamed(value, {})


def _renamed(value: Any, ids: Mapping[str, str]) -> Any:
    """A copy in which refs to temporary ids are refs to the new ones."""
    match value:
        case Ref(id=id):
            return Ref(ids[id]) if id in ids else value
        case list():
            return [_renamed(item, ids) for item in value]
        case dict():
            return {name: _renamed(item, ids) for name, item in value.items()}
        case Case(name=name, arg=arg):
            return Case(name, _renamed(arg, ids))
        case _:
            return value


def _is_client(name: str) -> bool:
    return not name.startswith("_rmx_") or name == "_rmx_type"


def _checked(record: Mapping[str, Any], path: str) -> Record:
    if not isinstance(record, Mapping):
        raise RecordError(f"expected a record, a map, found {_kind(record)}", path)
    made = dict(record)
    if (fault := find_fault(made, tokens=False)) is not None:
        raise RecordError(fault.message, fault.path(path))
    _check_names(made, path)
    if type(made.get("_rmx_type", "")) is not str:
        raise RecordError(f"expected a string, found {_kind(made['_rmx_type'])}", f"{path}._rmx_type")
    return made


def _check_names(value: Any, path: str) -> None:
    match value:
        case dict():
            for name, item in value.items():
                if len(name.encode()) > MAX_NAME:
                    raise RecordError(
                        f"expected a field's name of at most {MAX_NAME} bytes, found a longer one", path
                    )
                _check_names(item, f"{path}.{name}")
        case list():
            for index, item in enumerate(value):
                _check_names(item, f"{path}[{index}]")
        case Case(arg=arg):
            _check_names(arg, path)


def _rev(record: Mapping[str, Any], path: str) -> str | None:
    if "_rmx_rev" not in record:
        raise RecordError("expected the _rmx_rev that was read", path)
    rev = record["_rmx_rev"]
    if rev is not None and (type(rev) is not str or not _WATERMARK.fullmatch(rev)):
        raise RecordError("expected a watermark, 16 digits, or null", f"{path}._rmx_rev")
    return rev


def _id_text(id: object, path: str) -> str:
    text = id.id if isinstance(id, Ref) else id
    if type(text) is not str:
        raise RecordError(f"expected an id, a ref or a string, found {_kind(id)}", path)
    if (fault := find_fault(text)) is not None:
        raise RecordError(fault.message, path)
    return text


def _kind(value: object) -> str:
    try:
        return kind_of(value)
    except TypeError:
        return type(value).__name__


def _new_id() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(32))


def _watermark(commit: int) -> str:
    return f"{commit:016d}"


def _checked_watermark(watermark: object) -> str:
    if type(watermark) is not str or not _WATERMARK.fullmatch(watermark):
        shown = printable(repr(watermark))[:80]
        raise QueryError(f"expected a watermark, 16 digits, found {shown}")
    return watermark


def _milliseconds(when: object) -> int:
    if type(when) is int:
        return when
    if isinstance(when, datetime) and when.tzinfo is not None:
        return (when - _EPOCH) // timedelta(milliseconds=1)
    found = "a time without a zone" if isinstance(when, datetime) else type(when).__name__
    raise QueryError(f"expected a watermark, Unix milliseconds or a time with its zone, found {found}")


def _as_query(query: Any) -> Query:
    if isinstance(query, Query):
        return query
    if isinstance(query, Condition):
        return query.query()
    if type(query) is str:
        return parse(query)
    if type(query) is list:
        return from_json(query)
    raise QueryError(f"expected a query, its text, its JSON form or its AST, found {type(query).__name__}")
