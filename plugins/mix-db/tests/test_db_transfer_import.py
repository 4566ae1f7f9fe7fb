"""Imports: every record once, however often and wherever they are cut off; and what is refused is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_db.engine.opening import open_memory
from mix_db.settings import Settings
from mix_db.transfer.errors import TransferError
from mix_db.transfer.exporter import export
from mix_db.transfer.formats import writing
from mix_db.transfer.importer import Import, ImportOptions, Outcome
from mix_db.transfer.item import stripped
from mix_db.transfer.output import new_file
from mix_db.transfer.references import Reference
from mix_db.transfer.source import Source

from mixkit import tagged_json
from mixkit.storage import Commit, Database, SaveOptions
from mixkit.value import Ref

QUIET = Settings(background=False)


@pytest.fixture
def database() -> Iterator[Database]:
    opened = open_memory(QUIET)
    yield opened
    opened.close()


def load(target: Any, path: Path, format: str = "ndjson", **options: Any) -> Outcome:
    with Source(path) as source:
        return Import(target, source, ImportOptions(format=format, **options)).run()


def lines(path: Path, *records: Any) -> Path:
    path.write_text(
        "".join(f"{record if isinstance(record, str) else json.dumps(record)}\n" for record in records)
    )
    return path


def column(database: Database, name: str = "n") -> list[Any]:
    with database.query("true") as cursor:
        return [row[name] for row in cursor if name in row]


class PulledPlug(Exception):
    pass


class Plug:
    """A database whose process ends at one of its calls, before or after the call did its work."""

    def __init__(self, database: Database, calls: int, *, after: bool) -> None:
        self._database = database
        self._left = calls
        self._after = after

    def _call(self, work: Any) -> Any:
        self._left -= 1
        if self._left < 0 and not self._after:
            raise PulledPlug
        answer = work()
        if self._left < 0:
            raise PulledPlug
        return answer

    def save(self, records: Sequence[Mapping[str, Any]], options: SaveOptions) -> Commit:
        return self._call(lambda: self._database.save(records, options))

    def delete(self, ids: Sequence[Ref | str]) -> Commit:
        return self._call(lambda: self._database.delete(ids))

    def history(self, id: Ref | str) -> list[dict[str, Any]]:
        return self._database.history(id)

    def query(self, query: Any) -> Any:
        return self._database.query(query)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 12),
    bad=st.sets(st.integers(0, 11), max_size=3),
    refused=st.sets(st.integers(0, 11), max_size=2),
    batch=st.integers(1, 5),
    keep=st.booleans(),
    cuts=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=4),
)
def test_every_record_once_wherever_it_is_cut_off(
    count: int,
    bad: set[int],
    refused: set[int],
    batch: int,
    keep: bool,
    cuts: list[tuple[int, bool]],
    tmp_path: Path,
) -> None:
    rejects = tmp_path / "rejects"
    rejects.unlink(missing_ok=True)
    path = lines(
        tmp_path / "in.ndjson",
        *(
            '{"n": ' if n in bad else {"n": n, "_rmx_type": 5} if n in refused else {"n": n}
            for n in range(count)
        ),
    )
    options: dict[str, Any] = {
        "batch": batch, "skip_bad": True, "rejects": rejects, "keep_original": keep,
    }  # fmt: skip
    database = open_memory(QUIET)
    try:
        for calls, after in cuts:
            try:
                load(Plug(database, calls, after=after), path, **options)
            except PulledPlug:
                continue
        outcome = load(database, path, **options)
        good = [n for n in range(count) if n not in bad | refused]
        assert column(database) == good
        assert (outcome.imported, outcome.rejected) == (len(good), count - len(good))
        kept = [json.loads(line) for line in rejects.read_text().splitlines()] if rejects.exists() else []
        assert sorted(entry["place"] - 1 for entry in kept) == [n for n in range(count) if n not in good]
        # Nothing is left behind.
        assert database.stats()["records"] == len(good)
        again = load(database, path, **options)
        assert again.already and column(database) == good
    finally:
        database.close()


def test_a_mended_line_lets_it_go_on(database: Database, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.ndjson", {"n": 0}, {"n": 1}, "{oops", {"n": 3})
    with pytest.raises(TransferError, match=r"a\.ndjson, line 3: expected JSON.*--on-error skip"):
        load(database, path)
    assert column(database) == [0, 1]
    lines(path, {"n": 0}, {"n": 1}, {"n": 2}, {"n": 3})
    outcome = load(database, path)
    assert column(database) == [0, 1, 2, 3]
    assert (outcome.imported, outcome.resumed) == (4, 2)


def test_a_record_that_the_database_refuses_stops_behind_those_before(
    database: Database, tmp_path: Path
) -> None:
    path = lines(tmp_path / "a.ndjson", {"n": 0}, {"n": 1}, {"n": 2, "_rmx_type": []}, {"n": 3})
    with pytest.raises(
        TransferError, match=r"line 3: .* at \$\._rmx_type; what stands before it is imported"
    ):
        load(database, path)
    assert column(database) == [0, 1]


def test_a_file_that_grew_brings_what_is_new(database: Database, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.ndjson", {"n": 0})
    load(database, path)
    lines(path, {"n": 0}, {"n": 1})
    assert load(database, path).imported == 2
    assert column(database) == [0, 1]


def test_a_file_that_grew_after_its_rejects_were_put_away(database: Database, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects"
    path = lines(tmp_path / "a.ndjson", {"n": 0}, "oops")
    load(database, path, skip_bad=True, rejects=rejects)
    rejects.unlink()
    lines(path, {"n": 0}, "oops", "again", {"n": 1})
    outcome = load(database, path, skip_bad=True, rejects=rejects)
    assert (column(database), outcome.rejected) == ([0, 1], 2)
    assert [json.loads(line)["place"] for line in rejects.read_text().splitlines()] == [3]


def test_another_file_of_the_same_name_is_another_file(database: Database, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.ndjson", {"n": 0}, {"n": 1})
    load(database, path)
    lines(path, {"n": 5})
    assert load(database, path).imported == 1
    assert column(database) == [0, 1, 5]


def test_a_file_that_was_changed_while_it_was_imported_is_refused(database: Database, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.ndjson", {"n": 0}, {"n": 1}, "oops")
    with pytest.raises(TransferError):
        load(database, path)
    lines(path, {"n": 7}, {"n": 1}, {"n": 2})
    with pytest.raises(TransferError, match=r"have been changed in the file.*--restart"):
        load(database, path)
    assert load(database, path, restart=True).imported == 3
    assert column(database) == [0, 1, 7, 1, 2]


def test_other_options_in_the_middle_are_refused(database: Database, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.ndjson", {"n": 0}, "oops")
    with pytest.raises(TransferError):
        load(database, path)
    with pytest.raises(TransferError, match=r"other options.*--restart"):
        load(database, path, type="t")


def test_a_file_is_imported_by_one_at_a_time(database: Database, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.ndjson", {"n": 0})
    with Source(path) as source:
        source.lock()
        with pytest.raises(TransferError, match="another import of this file runs"):
            load(database, path)


def test_ids_do_not_depend_on_batches(database: Database, tmp_path: Path) -> None:
    ref = {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "ann@example.org"}
    path = lines(
        tmp_path / "a.ndjson", {"mail": "bob", "boss": ref}, {"mail": "ann@example.org"}, {"mail": 7}
    )
    load(database, path, batch=1, id_field="mail", type="person")
    with database.query('boss.mail == "ann@example.org"') as cursor:
        assert [row["mail"] for row in cursor] == ["bob"]
    found = database.get("7")
    assert found is not None and (found["_rmx_type"], found["mail"]) == ("person", 7)


@pytest.mark.parametrize("value", [None, 1.5, True, "", [], {"a": 1}])
def test_what_is_no_id(database: Database, tmp_path: Path, value: Any) -> None:
    path = lines(tmp_path / "a.ndjson", {"id": value})
    with pytest.raises(TransferError, match="expected a string or an integer in the field 'id'"):
        load(database, path, id_field="id")


def test_known_ids(database: Database, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.ndjson", {"_rmx_id": "a", "n": 1})
    database.save([{"_rmx_id": "a", "m": 2}], SaveOptions(original_id_always=True))
    load(database, path, keep_original=True)
    assert column(database) == []
    load(database, path, upsert=True, restart=True)
    assert column(database) == [1] and column(database, "m") == [2]
    load(database, path, restart=True)
    assert column(database) == [1] and column(database, "m") == []


def test_values_become_refs(database: Database, tmp_path: Path) -> None:
    people = lines(
        tmp_path / "people", {"no": 7, "n": "Ann"}, {"no": "08", "n": "Bob"}, {"no": "a"}, {"no": "a"}
    )
    load(database, people, type="person")
    with database.query("exists n | orderAsc(n)") as cursor:
        ann, bob = [row["_rmx_id"] for row in cursor]
    refs = [Reference.read(text) for text in ("by=person.no", "to")]
    orders = lines(
        tmp_path / "orders",
        {"o": 1, "by": "7", "to": "x"},
        {"o": 2, "by": ["08", 7.0], "to": 5},
        {"o": 3, "by": None},
        {"o": 4},
    )
    assert load(database, orders, references=refs).imported == 4
    with database.query("exists o | orderAsc(o)") as cursor:
        assert [(row.get("by", "-"), row.get("to", "-")) for row in cursor] == [
            (ann, Ref("x")), ([bob, ann], Ref("5")), (None, "-"), ("-", "-")
        ]  # fmt: skip
    with database.query('by.n == "Ann" | count()') as cursor:
        assert cursor.next() == [{"count": 1}]
    for wrong, said in (
        ("8", "found none; import those"),
        ("a", "found several"),
        (True, "bool"),
        ("", "none"),
    ):
        bad = lines(tmp_path / "bad", {"o": 5, "by": wrong})
        with pytest.raises(TransferError, match=said):
            load(database, bad, references=refs)
    for text in ("=a.b", "by=", "by=person", "by=.no", "by=person."):
        with pytest.raises(ValueError, match="FIELD=TYPE"):
            Reference.read(text)


def test_what_is_no_record(database: Database, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects"
    path = lines(tmp_path / "a.ndjson", "[1]", "null", '"x"', '{"_rmx_deleted": true}', {"n": 1})
    outcome = load(database, path, skip_bad=True, rejects=rejects)
    assert (outcome.imported, outcome.rejected) == (1, 4)
    kept = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [entry["text"] for entry in kept] == ["[1]", "null", '"x"', '{"_rmx_deleted": true}']
    assert kept[0]["reason"] == "expected a record, a map; found the kind array"


def test_refused_bytes_are_kept(database: Database, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects"
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"a": "\xff"}\n')
    load(database, path, skip_bad=True, rejects=rejects)
    assert json.loads(rejects.read_text())["base64"] == "eyJhIjogIv8ifQ=="
    lines(path, "oops")
    with pytest.raises(TransferError, match="refused records in it already"):
        load(database, path, skip_bad=True, rejects=rejects)


@pytest.mark.parametrize("format", ["ndjson", "json", "msgpack", "csv", "parquet"])
def test_history_is_played_again(format: str, database: Database, tmp_path: Path) -> None:
    always = SaveOptions(original_id_always=True)
    database.save([{"_rmx_id": "a", "n": 1}, {"_rmx_id": "b", "n": 2, "_rmx_type": "t"}], always)
    database.save([{"_rmx_id": "a", "n": 3}], always)
    database.delete(["b"])
    database.delete(["a"])
    database.save([{"_rmx_id": "a", "n": 4}], always)
    path = tmp_path / "history"
    with new_file(path) as file, writing(format, file) as writer:
        assert export(database, writer, history=True) == 6
    other = open_memory(QUIET)
    try:
        load(other, path, format)
        for id in "ab":
            before, after = database.history(id), other.history(id)
            assert [version.get("n") for version in after] == [version.get("n") for version in before]
            assert [version.get("_rmx_deleted") for version in after] == [
                version.get("_rmx_deleted") for version in before
            ]
        assert column(other) == [4]
    finally:
        other.close()


def test_an_export_leaves_out_what_belongs_to_the_engine(database: Database, tmp_path: Path) -> None:
    database.save([{"n": 1, "_rmx_type": "t"}, {"_rmx_type": "mixkit.import"}])
    path = tmp_path / "out"
    with new_file(path) as file, writing("ndjson", file) as writer:
        assert export(database, writer) == 1
    assert json.loads(path.read_text()).keys() == {"n", "_rmx_type", "_rmx_id"}


@pytest.mark.parametrize("query", [None, "n > 1", "n > 1 | limit(2)", "true | { n, _rmx_type, _rmx_row }"])
@pytest.mark.parametrize("keep", [False, True])
def test_an_export_has_the_rows_of_the_query(
    query: str | None, keep: bool, database: Database, tmp_path: Path
) -> None:
    database.save(
        [
            {"n": n, "_rmx_type": ("t", "mixkit.import")[n == 2]} if n else {"m": [Ref("x")]}
            for n in range(250)
        ]
    )
    path = tmp_path / "out"
    with new_file(path) as file, writing("ndjson", file) as writer:
        count = export(database, writer, query=query, own_fields=keep)
    expected = [
        row if keep else stripped(row)
        for row in database.query(query or "true")
        if row.get("_rmx_type") != "mixkit.import"
    ]
    assert count == len(expected)
    assert path.read_text() == "".join(tagged_json.dumps(dict(row)) + "\n" for row in expected)


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    path.write_text("old")
    with pytest.raises(PulledPlug), new_file(path) as file:
        file.write(b"new")
        raise PulledPlug
    assert [found.name for found in tmp_path.iterdir()] == ["out.ndjson"]
    assert path.read_text() == "old"
    with pytest.raises(TransferError, match="cannot be written"), new_file(tmp_path / "no" / "out"):
        pass
