"""The rows of a query in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from mix_db.query.clock import Clock
from mix_db.query.weight import weigh
from mixkit.errors import MixError, QueryError
from mixkit.storage import BATCH, BATCH_BYTES

__all__ = ["QueryCursor"]


class QueryCursor:
    """A `mixkit.storage.Cursor`. An error that ended the query is raised again by every later `next`.

    Args:
        rows: the rows, made as they are asked for.
        watermark: the state that they are made from.
        clock: started and stopped around each batch.
        before: called before each batch, when rows given before may have been changed.
        warn: answers what `warnings` says.
    """

    def __init__(
        self,
        rows: Iterator[dict[str, Any]],
        watermark: str,
        clock: Clock,
        before: Callable[[], None],
        warn: Callable[[], list[str]] = list,
    ) -> None:
        self._rows = rows
        self._watermark = watermark
        self._clock = clock
        self._before = before
        self._warn = warn
        self._lock = threading.Lock()
        self._error: MixError | None = None

    @property
    def watermark(self) -> str:
        return self._watermark

    def warnings(self) -> list[str]:
        return self._warn()

    def next(self) -> list[dict[str, Any]]:
        """The next rows, at most `BATCH`, and fewer as soon as they have `BATCH_BYTES`; none when there are no more.

        Raises:
            QueryTimeout: the query's time is used up.
            QueryCancelled: `cancel` or `close` was called.
            QueryError: the rows cannot be computed.
            StorageError: a row is damaged.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            self._clock.go()
            try:
                self._clock.tick()
                self._before()
                return self._batch()
            except BaseException as exc:
                # The rows are at their end now, and must not look as if they were all.
                self._error = (
                    exc
                    if isinstance(exc, MixError)
                    else QueryError(f"the query was ended by {type(exc).__name__}")
                )
                raise
            finally:
                self._clock.rest()

    def _batch(self) -> list[dict[str, Any]]:
        batch: list[dict[str, Any]] = []
        left = BATCH_BYTES
        for row in self._rows:
            batch.append(row)
            left -= weigh(row, left)
            if left <= 0 or len(batch) == BATCH:
                break
        return batch

    def cancel(self) -> None:
        """From any thread: make a `next` that runs, or the next one, raise `QueryCancelled` soon."""
        self._clock.cancel("the query was cancelled")

    def close(self) -> None:
        """Idempotent. What the query holds in memory is let go."""
        self._clock.cancel("the query was closed")
        # A batch that is being made ends by itself.
        if self._lock.acquire(blocking=False):
            try:
                self._rows = iter(())
            finally:
                self._lock.release()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while batch := self.next():
            yield from batch

    def __enter__(self) -> QueryCursor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
