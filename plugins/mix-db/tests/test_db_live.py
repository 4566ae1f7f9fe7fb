"""A live query takes no longer for a change than a query may take."""

from __future__ import annotations

import pytest
from mix_db import Database
from mix_db.engine.live import LiveQuery
from mix_db.query import parse
from mix_db.settings import Settings
from mix_db.versions.state import State

from mixkit.errors import QueryCancelled, QueryTimeout

# The first is settled by reading rows, the second by the index alone.
QUERIES = ("blob == $blob", "true", "true | { n }", "true | orderDesc(n) | limit(2)", "true | { ** }")


@pytest.mark.parametrize("query", QUERIES)
def test_a_change_has_the_time_of_a_query(query: str) -> None:
    with Database.in_memory(settings=Settings(query_timeout=1e-9)) as database:
        database.save([{"n": n, "blob": b"x"} for n in range(10)])
        params = {"blob": b"x"} if "$" in query else {}
        with database.live(query, params) as live:
            for _ in range(2):
                with pytest.raises(QueryTimeout, match="narrow its filter"):
                    live.next(0)


@pytest.mark.parametrize("query", QUERIES)
def test_closing_ends_a_change_that_is_being_computed(query: str) -> None:
    with Database.in_memory() as database:
        database.save([{"n": n, "blob": b"x"} for n in range(10)])

        def closing() -> State:
            live.close()
            return database.contract.state()

        params = {"blob": b"x"} if "$" in query else {}
        live = LiveQuery(parse(query), params, closing, database.contract._engine.arrivals, 30.0, None)
        with pytest.raises(QueryCancelled, match="the live query was closed"):
            live.next(0)


def test_a_change_that_took_too_long_is_not_lost() -> None:
    with Database.in_memory() as database:
        live = LiveQuery(
            parse("n > 0"), {}, database.contract.state, database.contract._engine.arrivals, 30.0, None
        )
        assert live.next(0) is not None
        database.save([{"n": 1}, {"n": 2}])
        live._seconds = 1e-9
        with pytest.raises(QueryTimeout):
            live.next(0)
        live._seconds = 30.0
        change = live.next(0)
        assert change is not None and [row["n"] for row in change.entered] == [1, 2]
        live.close()
