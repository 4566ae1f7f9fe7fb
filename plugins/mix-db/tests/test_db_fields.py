"""Records with very many different fields are refused before they cost anybody memory and work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mix_db import Database
from mix_db.settings import Settings

from mixkit.errors import RecordError
from mixkit.value import Case

MOST = 50
REFUSAL = f"expected at most {MOST} different fields in a call, found more; .* or save fewer records at once"


@pytest.fixture
def database(tmp_path: Path) -> Any:
    with Database(tmp_path, settings=Settings(max_fields=MOST, background=False)) as database:
        yield database


def names(start: int, count: int) -> dict[str, int]:
    return {f"f{number}": number for number in range(start, start + count)}


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("records", "place"),
    [
        ([names(0, MOST + 1)], 0),
        ([names(0, MOST), {"one": 1}], 1),
        ([{"n": n, "by": {f"user{n}": 1}} for n in range(MOST)], MOST - 2),
        ([{"by": names(0, MOST)}], 0),
        ([{"rows": [{f"f{n}": n} for n in range(MOST)]}], 0),
        ([{"deep": nested(MOST)}], 0),
    ],
    ids=["one", "two", "maps", "a map", "an array of maps", "arrays in arrays"],
)
def test_too_many_different_fields_are_refused(
    database: Database, records: list[dict[str, Any]], place: int
) -> None:
    with pytest.raises(RecordError, match=REFUSAL) as refused:
        database.save(records)
    assert refused.value.path == f"$[{place}]"
    assert database.stats()["versions"] == 0


@pytest.mark.parametrize(
    "record",
    [
        names(0, MOST),
        {"points": [{"x": n, "y": n, "z": [n]} for n in range(500)]},
        {"case": Case("c", names(0, 500))},
        {"text": "x" * 10_000},
    ],
    ids=["as many as may be", "the same again", "in a case, which is not indexed", "long"],
)
def test_many_values_of_few_fields_are_stored(database: Database, record: dict[str, Any]) -> None:
    database.save([record] * 3)
    assert database.query().count() == 3


def test_an_upsert_counts_the_fields_that_were_there(database: Database) -> None:
    id = database.save(names(0, 30))["_rmx_id"]
    database.upsert({"_rmx_id": id} | names(20, 30))
    with pytest.raises(RecordError, match=REFUSAL) as refused:
        database.save([{"n": 1}, {"_rmx_id": id} | names(40, 11)], upsert=True)
    assert refused.value.path == "$[1]"
    assert database.stats()["versions"] == 2
