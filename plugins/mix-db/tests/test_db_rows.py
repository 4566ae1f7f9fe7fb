"""Rows of the real engine in each of their forms: byte for byte what the way by Python values gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_db.engine.handle import Handle
from mix_db.engine.opening import open_folder, open_memory
from mix_db.query import Query, parse
from mix_db.query.found import choice_of
from mix_db.settings import Settings
from mix_db.testing.strategies import queries, record_fields

from mixkit import codec, msgpack_values, tagged_json
from mixkit.errors import MixError, StorageError
from mixkit.rows import PackedRows, Rows
from mixkit.storage import BATCH_BYTES, SaveOptions

QUIET = Settings(background=False)
ALWAYS = SaveOptions(original_id_always=True)
ANY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

_changes = st.lists(
    st.tuples(st.sampled_from("xyzv"), record_fields | st.none(), st.integers(0, 4)), min_size=1, max_size=12
)


def filled(changes: Sequence[tuple[str, dict[str, Any] | None, int]]) -> Handle:
    """A database in memory: a record is saved or, where there is none, deleted; now and then it is flushed."""
    database = open_memory(QUIET)
    for id, record, then in changes:
        if record is None:
            database.delete([id])
        else:
            database.save([record | {"_rmx_id": id}], ALWAYS)
        if then == 0:
            database.flush()
    return database


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except MixError as exc:
        return type(exc), str(exc)


def all_rows(database: Handle, query: Query, params: dict[str, Any], **seen: bool) -> list[Rows]:
    batches: list[Rows] = []
    with database.query(query, params, **seen) as cursor:
        while rows := cursor.next_rows():
            batches.append(rows)
    return batches


@ANY
@given(_changes, queries(), st.booleans(), st.booleans())
def test_rows_of_any_query_are_those_of_the_way_by_values(
    changes: list[tuple[str, dict[str, Any] | None, int]],
    asked: tuple[Query, dict[str, Any]],
    deleted: bool,
    superseded: bool,
) -> None:
    query, params = asked
    database = filled(changes)
    seen = {"deleted": deleted, "superseded": superseded}
    expected = outcome(lambda: list(database.query(query, params, **seen)))
    found = outcome(lambda: all_rows(database, query, params, **seen))
    if type(expected) is tuple:
        assert found == expected
        return
    assert sum(map(len, found)) == len(expected)
    for rows in found[:1]:
        assert outcome(rows.words) == outcome(lambda: codec.encode(expected))
        assert outcome(rows.msgpack) == outcome(lambda: b"".join(map(msgpack_values.pack, expected)))
        assert outcome(rows.json) == outcome(
            lambda: b",".join(tagged_json.dumps(row).encode() for row in expected)
        )
    ids = [*"xyzv", "unknown"]
    assert database.get_rows(ids).words() == codec.encode([database.get(id) for id in ids])
    database.close()


@pytest.mark.parametrize(
    ("query", "is_packed"),
    [
        ("a == 1", True),
        ("a == 1 | orderDesc(a) | limit(3)", True),
        ("a == 1 | { a, id: ._rmx_id } | skip(1)", True),
        ("true | { *, -a }", True),
        ('a == 1 and b contains "x"', True),
        ("true | { a, b: .a }", False),
        ("true | { a: .a ?? 0 }", False),
        ("true | { ** }", False),
        ("true | { a: .b.c }", False),
        ("true | { a } | where(a == 1)", False),
        ("true | { a, *, b }", False),
        ("true | count()", False),
    ],
)
def test_what_is_whole_goes_on_as_it_is_stored(query: str, is_packed: bool) -> None:
    database = open_memory(QUIET)
    database.save([{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2}])
    with database.query(query) as cursor:
        assert isinstance(cursor.next_rows(), PackedRows) is is_packed
    database.close()


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("{ a, b }", {"a": "a", "b": "b"}),
        ("{ a, b: .c }", {"a": "a", "c": "b"}),
        ("{ a, b, -a }", {"b": "b"}),
        ("{ a, b: .c, a: .d }", {"c": "b", "d": "a"}),
        ("{ -a, a }", {"a": "a"}),
        ("{ }", {}),
    ],
)
def test_fields_that_are_picked(stage: str, names: dict[str, str]) -> None:
    [block] = parse(f"true | {stage}").stages
    choice = choice_of(block)  # type: ignore[arg-type]
    assert choice is not None and choice.picks == tuple(names.items())


def test_long_names_of_short_fields_make_small_batches() -> None:
    database = open_memory(QUIET)
    database.save([{"n": n} for n in range(400)])
    name = "x" * 60_000
    with database.query(f"true | {{ {name}: .n }}") as cursor:
        batches = []
        while rows := cursor.next_rows(1000):
            batches.append(rows)
    assert [row[name] for rows in batches for row in rows.values()] == list(range(400))
    assert max(len(rows.msgpack()) for rows in batches) < BATCH_BYTES + 2 * len(name)
    assert len(batches) == 3
    database.close()


def test_a_row_that_is_damaged_is_an_error_whichever_form_is_asked_for(tmp_path: Path) -> None:
    with closing(open_folder(tmp_path, create=True, read_only=False, settings=QUIET)) as database:
        database.save([{"n": n, "text": "x" * 50} for n in range(50)])
        database.flush()
    [data] = tmp_path.glob("**/db*.dat")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with closing(open_folder(tmp_path, create=False, read_only=True, settings=QUIET)) as database:
        for ask in ("next", "next_rows"):
            with database.query("true") as cursor, pytest.raises(StorageError):
                while getattr(cursor, ask)():
                    pass
            with database.query("true") as cursor:
                with pytest.raises(StorageError):
                    while getattr(cursor, ask)():
                        pass
                # It does not look as if there were no more.
                with pytest.raises(StorageError):
                    cursor.next_rows()
