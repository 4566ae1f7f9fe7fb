"""One session inside the process that runs its SQL: a connection, answers that are being read, tables handed over."""

from __future__ import annotations

import mmap
import os
import random
import re
import time
from contextlib import suppress
from typing import Any, Final

from mix_duckdb.engine import grow
from mix_duckdb.rows import Batches, Rows, Shape, batches_of, direct_rows, rows_of, shape_of
from mix_duckdb.settings import DuckdbSettings
from mix_duckdb.statements import GROWING, admit
from mix_duckdb.wanted import wanted_columns
from mix_duckdb.watch import Watch
from mix_duckdb.wire import Batch as MoreRows
from mix_duckdb.wire import Close, Failed, Need, Next, Offer, Query, Result, Table, Wire
from mixkit import codec
from mixkit.errors import FFIError

__all__ = ["Connection", "Lost", "full"]

_CHANGES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE_INTO"})
_MISSING: Final = re.compile(r"Table with name (.{1,500}?) does not exist")
_RETURNING: Final = re.compile(r"\breturning\b", re.IGNORECASE)
_WORD: Final = re.compile(r"\w+")
_OPEN: Final = 100
_SHAPES: Final = 100
_PAUSES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


class Lost(Exception):
    """The server is gone, or speaks another language."""


class Connection:
    """Answers the messages of one session.

    Args:
        connection: DuckDB's, for this session alone.
        path: of the database file, not to be shown; empty without.
    """

    def __init__(
        self, wire: Wire, connection: Any, settings: DuckdbSettings, watch: Watch, path: str
    ) -> None:
        self._wire = wire
        self._connection = connection
        self._settings = settings
        self._watch = watch
        self._file = bool(path)
        self._path = path
        self._in_transaction = False
        self._mapped = 0
        self._offered: dict[str, str] = {}
        self._loaded: dict[str, Any] = {}
        self._registered: set[str] = set()
        # The columns of tables that are loaded in part: as long as all that is asked is in the texts of the statements,
        # and not in a view or a macro.
        self._parts: dict[str, frozenset[str]] = {}
        self._told = not self._file
        self._answers: dict[int, Rows] = {}
        self._shapes: dict[str, Shape] = {}
        self._readable: dict[str, frozenset[str]] = {}

    def handle(self, message: Any, body: bytes) -> tuple[Any, bytes] | None:
        """The answer to a message, None if it wants none.

        Raises:
            MixError, duckdb.Error, MemoryError, and what pyarrow raises: it failed.
            Lost: the session is over.
        """
        match message:
            case Query():
                return self._query(message, body)
            case Next():
                rows = self._answers.get(message.id)
                if rows is None:
                    return MoreRows(0, True), b""
                with self._watch.over(self._connection, message.deadline):
                    return self._more(message.id, rows)
            case Close():
                if (rows := self._answers.pop(message.id, None)) is not None:
                    rows.close()
                return None
            case Offer():
                self._offer(message.names)
                return None
        raise Lost

    def _more(self, id: int, rows: Rows) -> tuple[MoreRows, bytes]:
        try:
            body, count, done = rows.next()
        except BaseException:
            self._answers.pop(id, None)
            raise
        if done:
            self._answers.pop(id, None)
        return MoreRows(count, done), body

    def _query(self, message: Query, body: bytes) -> tuple[Result, bytes]:
        # Whatever DuckDB does with a text is on the clock, parsing too.
        with self._watch.over(self._connection, message.deadline):
            for rows in self._answers.values():
                rows.drain()
            if len(self._answers) >= _OPEN:
                raise FFIError(f"{_OPEN} answers are open, read them to their end or close them")
            params = codec.decode(body)
            statements = admit(self._connection, message.text, file=self._file)
            if self._file and any(statement.type.name in GROWING for statement in statements):
                self._check_room()
        result: tuple[Result, bytes] = Result([], 0, True, None), b""
        for number, statement in enumerate(statements, 1):
            last = number == len(statements)
            if self._told and statement.type.name not in ("SELECT", "EXPLAIN"):
                self._told = False
                self._complete()
            self._prepare(statement, message.deadline)
            with self._watch.over(self._connection, message.deadline):
                if last and (quick := self._quickly(message, statement, params)) is not None:
                    return quick
                relation = self._execute(statement, params if last else None, message.deadline)
                if last:
                    result = self._result(message, statement, params, relation)
                elif relation is not None and not _is_counted(statement):
                    # What nobody reads is executed all the same.
                    for _ in relation.to_arrow_reader(self._settings.batch_rows):
                        pass
            if statement.type.name == "TRANSACTION":
                self._in_transaction = statement.query.lstrip()[:1] in "bBsS"  # BEGIN, START
                self._registered.clear()  # A rollback takes them back.
        return result

    def _execute(self, statement: Any, params: Any, deadline: float) -> Any:
        import duckdb

        pauses, tried = iter(_PAUSES), set[str]()
        counted = _is_counted(statement)
        while True:
            try:
                if counted:
                    # A relation would take as long once more.
                    return self._connection.execute(statement, params or None)
                if params:
                    return self._connection.sql(statement, params=params)
                return self._connection.sql(statement)
            except duckdb.TransactionException as exc:
                # Two changed the same at once, and the one that failed has done nothing.
                pause = None if self._in_transaction else next(pauses, None)
                if "onflict" not in str(exc) or pause is None:
                    raise
                time.sleep(pause * (0.5 + random.random()))
            except duckdb.CatalogException as exc:
                # A view of the file names a table that the text does not, or somebody has dropped it.
                found = _MISSING.search(str(exc))
                name = found[1].strip('"').casefold() if found else ""
                if name not in self._offered or name in tried:
                    raise
                tried.add(name)
                with self._watch.pause(self._connection, deadline):
                    self._register(name)
            except duckdb.BinderException:
                # A column that is not there, or that the text does not name; whole tables tell.
                if not self._parts:
                    raise
                with self._watch.pause(self._connection, deadline):
                    self._complete()

    def _check_room(self) -> None:
        """Raise `FFIError` if the file is as large as it may be. What was deleted in it is room."""
        most = self._settings.file_bytes
        if sum(size(self._path + end) for end in ("", ".wal")) < most:
            return
        used, block = self._connection.execute(
            "select used_blocks, block_size from pragma_database_size()"
        ).fetchall()[0]
        if used * block + size(self._path + ".wal") >= most:
            raise full(most)

    def _result(self, message: Query, statement: Any, params: Any, relation: Any) -> tuple[Result, bytes]:
        kind = statement.type.name
        if relation is None:
            return Result([], 0, True, None), b""
        if _is_counted(statement):
            return Result([], 0, True, int(relation.fetchall()[0][0])), b""
        if kind not in ("SELECT", "EXPLAIN", "MULTI") and kind not in _CHANGES:
            return Result([], 0, True, None), b""
        types = relation.types
        if len(types) > self._settings.max_columns:
            raise FFIError(
                f"the answer has {len(types)} columns, at most {self._settings.max_columns} are answered; name those "
                "that are needed, or raise the setting duckdb.max_columns"
            )
        shape = None if message.arrow else shape_of(statement, relation)
        if shape is not None:
            self._shapes[statement.query] = shape
            if len(self._shapes) > _SHAPES:
                self._shapes.pop(next(iter(self._shapes)))
            quick = self._quickly(message, statement, params)
            if quick is not None:
                return quick
        columns = [(name, str(type)) for name, type in zip(relation.columns, types, strict=True)]
        batches = self._batches(message, relation.columns)
        return self._first(message, columns, rows_of(relation, self._settings, batches, arrow=message.arrow))

    @staticmethod
    def _batches(message: Query, names: list[str]) -> Batches:
        return batches_of(names, message.most_bytes, message.most_values, arrow=message.arrow)

    def _quickly(self, message: Query, statement: Any, params: Any) -> tuple[Result, bytes] | None:
        """The answer of a query that is known: it is executed without being looked at first. None if it is not."""
        shape = None if message.arrow else self._shapes.get(statement.query)
        if shape is None:
            return None
        import duckdb

        try:
            batches = self._batches(message, [name for name, _ in shape.columns])
            rows = direct_rows(self._connection, statement, params, shape, self._settings, batches)
        except duckdb.CatalogException:
            if self._in_transaction:
                raise
            rows = None
        if rows is None:
            del self._shapes[statement.query]
            return None
        return self._first(message, shape.columns, rows)

    def _first(self, message: Query, columns: list[tuple[str, str]], rows: Rows) -> tuple[Result, bytes]:
        body, count, done = rows.next()
        if not done:
            self._answers[message.id] = rows
        names = unique([name for name, _ in columns])
        return Result(
            [(name, type) for name, (_, type) in zip(names, columns, strict=True)], count, done, None
        ), body

    # -- tables that are handed over ------------------------------------------------------------------

    def _offer(self, names: list[str]) -> None:
        import duckdb

        for name in names:
            known = name.casefold()
            self._loaded.pop(known, None)
            self._parts.pop(known, None)
            if known in self._registered:
                self._registered.discard(known)
                with suppress(
                    duckdb.Error
                ):  # In a transaction that was aborted: it is replaced when it is named.
                    self._connection.unregister(self._offered[known])
            self._offered[known] = name

    def _prepare(self, statement: Any, deadline: float) -> None:
        """Have the tables that a statement names, as far as its text tells."""
        if not self._offered:
            return
        text = statement.query.casefold()
        words = set(_WORD.findall(text))
        named = [
            name
            for name in self._offered
            if (name not in self._registered or name in self._parts)
            and (name in words or (not name.isidentifier() and name in text))
        ]
        columns: frozenset[str] | None = None
        if named and statement.type.name == "SELECT":
            # A word may be the name of a column as well; DuckDB knows better.
            known, readable = self._named(statement, deadline)
            columns = readable if self._told else None
            named = [name for name in named if known is None or name in known]
        for name in named:
            if name not in self._registered or columns is None or not columns <= self._parts[name]:
                self._register(name, columns)

    def _named(self, statement: Any, deadline: float) -> tuple[set[str] | None, frozenset[str] | None]:
        """The tables that a query names, and the columns that it can read of them; None if that is not known."""
        import duckdb

        # On a connection of its own: an error would abort the transaction.
        probe = self._connection.cursor()
        try:
            with self._watch.over(probe, deadline):
                tables = {name.casefold() for name in probe.get_table_names(statement.query)}
                return tables, self._columns_of(probe, statement.query)
        except duckdb.Error:
            return None, None
        finally:
            probe.close()

    def _columns_of(self, probe: Any, text: str) -> frozenset[str] | None:
        """The columns that a query can read, which only its text says."""
        columns = self._readable.get(text)
        if columns is None and (columns := wanted_columns(probe, text)) is not None:
            self._readable[text] = columns
            if len(self._readable) > _SHAPES:
                self._readable.pop(next(iter(self._readable)))
        return columns

    def _register(self, name: str, columns: frozenset[str] | None = None) -> None:
        """Have a table, with these columns at least, or all."""
        table, part = self._loaded.get(name), self._parts.get(name)
        if table is None or (part is not None and (columns is None or not columns <= part)):
            # Who asks for others once does so again.
            columns = columns if table is None else None
            table = self._loaded[name] = self._fetch(self._offered[name], columns)
            self._parts.pop(name, None)
            if columns is not None:
                self._parts[name] = columns
        self._connection.register(self._offered[name], table)
        self._registered.add(name)

    def _complete(self) -> None:
        """Have all columns of the tables that are there."""
        for name in list(self._parts):
            self._register(name)

    def _fetch(self, name: str, columns: frozenset[str] | None) -> Any:
        self._wire.send(Need(name, None if columns is None else sorted(columns)))
        # While the server makes the table.
        import pyarrow

        received = self._wire.receive()
        if received is None:
            raise Lost
        message, _, descriptors = received
        if isinstance(message, Failed):
            raise FFIError(message.message)
        if not isinstance(message, Table) or len(descriptors) != 1:
            raise Lost
        try:
            grow(message.size)
            self._mapped += message.size
            mapped = mmap.mmap(descriptors[0], message.size, prot=mmap.PROT_READ)
        finally:
            os.close(descriptors[0])
        return pyarrow.ipc.open_stream(pyarrow.py_buffer(mapped)).read_all()

    def close(self) -> None:
        """Roll back what is open, and forget the rest."""
        self._answers.clear()
        self._connection.close()
        self._loaded.clear()
        grow(-self._mapped)


def _is_counted(statement: Any) -> bool:
    """Whether it answers how many rows it has changed, and no rows."""
    return statement.type.name in _CHANGES and not _RETURNING.search(statement.query)


def size(path: str) -> int:
    """Of a file, 0 if there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def full(most: int) -> FFIError:
    """The error of a file that has grown to its limit."""
    return FFIError(
        f"the database file has {most} bytes, which is the limit; delete rows, or raise the setting duckdb.file_bytes"
    )


def unique(names: list[str]) -> list[str]:
    """Names of columns, a second `a` as `a_2`: in a map there is one of each."""
    taken = set(names)
    seen: set[str] = set()
    answer = []
    for name in names:
        count = 1
        found = name
        while found in seen or (count > 1 and found in taken):
            count += 1
            found = f"{name}_{count}"
        seen.add(found)
        answer.append(found)
    return answer
