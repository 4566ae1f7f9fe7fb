"""Temporary: queries by the evaluator."""

from __future__ import annotations

import time
from typing import Any

from pyroaring import BitMap

from mix_db.query.ast import Query
from mix_db.query.builder import Condition
from mix_db.query.evaluate import Evaluation
from mix_db.query.json_form import from_json
from mix_db.query.parser import parse
from mixkit.errors import QueryCancelled, QueryError, QueryTimeout


def compile_query(query: Any) -> Query:
    if isinstance(query, Query):
        return query
    if isinstance(query, Condition):
        return query.query()
    if type(query) is str:
        return parse(query)
    if type(query) is list:
        return from_json(query)
    raise QueryError(f"expected a query, found {type(query).__name__}")


def _resolver(snapshot: Any) -> Any:
    def resolve(ref: Any) -> Any:
        row = snapshot.row_of(ref.id)
        if row is None or row not in snapshot.current():
            return None
        return snapshot.read(row)

    return resolve


class _Cursor:
    def __init__(self, evaluation: Any, snapshot: Any, seen: Any, timeout: float | None) -> None:
        self._e = evaluation
        self._s = snapshot
        self._seen = seen
        self._rest: Any = None
        self._cancelled = False
        self._timeout = timeout

    @property
    def watermark(self) -> str:
        return str(self._s.watermark)

    def _check(self) -> None:
        if self._cancelled:
            raise QueryCancelled("cancelled")

    def next(self) -> Any:
        self._check()
        if self._rest is None:
            end = time.monotonic() + (self._timeout if self._timeout is not None else 1e9)
            kept = []
            for row in self._seen:
                self._check()
                if time.monotonic() >= end:
                    raise QueryTimeout(self._timeout or 0)
                record = self._s.read(row)
                if self._e.keeps(record):
                    kept.append(record)
            self._rest = self._e.stages(kept)
        batch, self._rest = self._rest[:100], self._rest[100:]
        return batch

    def cancel(self) -> None:
        self._cancelled = True

    close = cancel

    def __iter__(self) -> Any:
        while batch := self.next():
            yield from batch

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *a: Any) -> None:
        self.close()


def run(
    query: Any,
    params: Any,
    snapshot: Any,
    *,
    deleted: bool = False,
    superseded: bool = False,
    timeout: Any = None,
) -> Any:
    return _Cursor(
        Evaluation(query, params or {}, _resolver(snapshot)),
        snapshot,
        snapshot.visible(deleted=deleted, superseded=superseded),
        timeout,
    )


def explain(
    query: Any,
    params: Any,
    snapshot: Any,
    *,
    deleted: bool = False,
    superseded: bool = False,
    run: bool = True,
) -> Any:
    return {"step": "slow", "rows": None, "estimate": snapshot.rows, "parts": []}


def matches(query: Any, params: Any, snapshot: Any) -> Any:
    e = Evaluation(query, params or {}, _resolver(snapshot))
    return BitMap([row for row in snapshot.current() if e.keeps(snapshot.read(row))])
