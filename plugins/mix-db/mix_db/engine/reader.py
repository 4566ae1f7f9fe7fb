"""What can be asked of a database, whether of its present state or of an earlier one."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mix_db.engine.records import read_id
from mix_db.query.execute import compile_query, run
from mix_db.query.explain import explain
from mix_db.versions.state import State
from mixkit.rows import Rows
from mixkit.storage import Cursor, Record
from mixkit.value import Ref

if TYPE_CHECKING:
    from mix_db.columns.tables import RecordTables

__all__ = ["PastReader", "StateReader"]


class StateReader:
    """Implements `mixkit.storage.Reader` on the state that `state` answers.

    Args:
        timeout: seconds for queries that name none.
        memory: bytes that a query may hold at once.
        table_bytes: bytes of records that a table of SQL may be made of.
        cursors: gets every cursor that is made, so that closing the database can cancel them.
    """

    def __init__(self, timeout: float, memory: int, table_bytes: int, cursors: weakref.WeakSet[Any]) -> None:
        self._timeout = timeout
        self._memory = memory
        self._table_bytes = table_bytes
        self._cursors = cursors

    @abstractmethod
    def state(self) -> State:
        """What is read. Raises `StorageError` if the database is closed."""

    def watermark(self) -> str:
        return self.state().watermark

    def get(self, id: Ref | str) -> Record | None:
        return self.state().newest(read_id(id))

    def get_rows(self, ids: Sequence[Ref | str]) -> Rows:
        return self.state().newest_rows([read_id(id) for id in ids])

    def history(self, id: Ref | str) -> list[Record]:
        state = self.state()
        return [state.read(row) for row in state.rows_of(read_id(id))]

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
    ) -> Cursor:
        cursor = run(
            compile_query(query),
            params,
            self.state(),
            deleted=deleted,
            superseded=superseded,
            skip=skip,
            limit=limit,
            timeout=self._timeout if timeout is None else timeout,
            memory=self._memory,
        )
        self._cursors.add(cursor)
        return cursor

    def tables(self) -> RecordTables:
        """Its records as tables, of this moment; see `mixkit.sql.Tabular`."""
        from mix_db.columns.tables import RecordTables

        return RecordTables(self.state(), self._table_bytes, self._timeout)

    def explain(
        self,
        query: Any,
        params: Mapping[str, Any] | None = None,
        *,
        deleted: bool = False,
        superseded: bool = False,
        run: bool = True,
    ) -> Mapping[str, Any]:
        return explain(
            compile_query(query),
            params,
            self.state(),
            deleted=deleted,
            superseded=superseded,
            run=run,
            timeout=self._timeout,
            memory=self._memory,
        )


class PastReader(StateReader):
    """The database as it was behind one commit."""

    def __init__(self, now: StateReader, past: State) -> None:
        super().__init__(now._timeout, now._memory, now._table_bytes, now._cursors)
        self._now = now
        self._past = past

    def state(self) -> State:
        # Raises if it is closed.
        self._now.state()
        return self._past
