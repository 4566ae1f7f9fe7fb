"""The rows of a query in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from mix_db.query.clock import Clock
from mix_db.query.found import Found, Made
from mixkit.errors import MixError, QueryError
from mixkit.rows import Rows
from mixkit.storage import BATCH

__all__ = ["QueryCursor"]

T = TypeVar("T")


class QueryCursor:
    """A `mixkit.storage.Cursor`. An error that ended the query is raised again by every later `next`.

    Args:
        find: answers the rows, which are made as they are asked for; called by the first `next`.
        watermark: the state that they are made from.
        clock: started and stopped around each batch.
        before: called before each batch, when rows given before may have been changed.
        warn: answers what `warnings` says.
    """

    def __init__(
        self,
        find: Callable[[], Found],
        watermark: str,
        clock: Clock,
        before: Callable[[], None],
        warn: Callable[[], list[str]] = list,
    ) -> None:
        self._find = find
        self._found: Found | None = None
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
        return self._next(lambda found: found.values())

    def next_rows(self, most: int = BATCH) -> Rows:
        """The same in whatever form they are at hand, at most `most`. Raises what `next` does."""
        return self._next(lambda found: found.rows(most))

    def _next(self, batch: Callable[[Found], T]) -> T:
        with self._lock:
            if self._error is not None:
                raise self._error
            self._clock.go()
            try:
                self._clock.tick()
                self._before()
                if self._found is None:
                    self._found = self._find()
                return batch(self._found)
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

    def cancel(self) -> None:
        """From any thread: make a `next` that runs, or the next one, raise `QueryCancelled` soon."""
        self._clock.cancel("the query was cancelled")

    def close(self) -> None:
        """Idempotent. What the query holds in memory is let go."""
        self._clock.cancel("the query was closed")
        # A batch that is being made ends by itself.
        if self._lock.acquire(blocking=False):
            try:
                self._found = Made(iter(()))
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
