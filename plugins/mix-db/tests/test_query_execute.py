"""The fast way to run a query answers what the slow evaluator says, on any history, however its index is cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_db.query import Query, parse
from mix_db.query.evaluate import Evaluation
from mix_db.query.execute import matches, run
from mix_db.query.explain import explain, format_plan
from mix_db.query.refs import Refs
from mix_db.testing.listed import ListedSnapshot
from mix_db.testing.strategies import histories, queries

from mixkit.errors import QueryError
from mixkit.testing.strategies import identical


def slowly(query: Query, params: dict[str, Any], snapshot: ListedSnapshot, **seen: bool) -> Any:
    try:
        evaluation = Evaluation(query, params, Refs(snapshot))
        return evaluation.run(snapshot.seen(**seen), history=True)
    except QueryError as exc:
        return str(exc)


def fast(query: Query, params: dict[str, Any], snapshot: ListedSnapshot, **seen: bool) -> Any:
    try:
        return list(run(query, params, snapshot, **seen))
    except QueryError as exc:
        return str(exc)


@st.composite
def snapshots(draw: st.DrawFn) -> ListedSnapshot:
    versions = draw(histories())
    size = len(versions)
    return ListedSnapshot(
        versions,
        rows=draw(st.just(size) | st.just(size) | st.integers(0, size)),
        cuts=draw(st.lists(st.integers(0, size), max_size=3)),
        segments=draw(st.booleans()),
    )


ANY = settings(
    max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@ANY
@given(snapshots(), queries(), st.booleans(), st.booleans())
def test_any_query_has_the_rows_of_the_evaluator(
    snapshot: ListedSnapshot, asked: tuple[Query, dict[str, Any]], deleted: bool, superseded: bool
) -> None:
    query, params = asked
    slow = slowly(query, params, snapshot, deleted=deleted, superseded=superseded)
    quick = fast(query, params, snapshot, deleted=deleted, superseded=superseded)
    assert identical(quick, slow)
