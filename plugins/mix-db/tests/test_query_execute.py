"""The fast way to run a query answers what the slow evaluator says, on any history, however its index is cut."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_db import Database
from mix_db.index.memory import MemoryPart
from mix_db.index.part import Kind
from mix_db.query import Query, parse, to_json
from mix_db.query.builder import field
from mix_db.query.clock import Clock
from mix_db.query.evaluate import Evaluation
from mix_db.query.execute import compile_query, matches, run
from mix_db.query.explain import explain, format_plan
from mix_db.query.folded_texts import folded_texts
from mix_db.query.refs import Refs
from mix_db.testing.listed import ListedSnapshot
from mix_db.testing.strategies import histories, queries
from pyroaring import BitMap

from mixkit.errors import MixError, QueryCancelled, QueryError, QueryTimeout, StorageError
from mixkit.testing.strategies import identical
from mixkit.value import Ref


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


def as_rows(query: Query, params: dict[str, Any], snapshot: ListedSnapshot, **options: Any) -> Any:
    """The same by who wants rows in whatever form they are."""
    try:
        cursor = run(query, params, snapshot, **options)
        found: list[Any] = []
        while rows := cursor.next_rows():
            found += rows.values()
        return found
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
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
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
    assert identical(as_rows(query, params, snapshot, deleted=deleted, superseded=superseded), slow)


@settings(parent=ANY, max_examples=50)
@given(snapshots(), queries())
def test_rows_that_match_are_those_that_the_filter_keeps(
    snapshot: ListedSnapshot, asked: tuple[Query, dict[str, Any]]
) -> None:
    query = Query(asked[0].filter)
    params = {name: value for name, value in asked[1].items() if name in query.parameters()}
    kept = [row["_rmx_row"] for row in slowly(query, params, snapshot, deleted=False, superseded=False)]
    assert list(matches(query, params, snapshot)) == kept
    assert list(matches(query, params, snapshot, rows=BitMap(range(3)))) == [row for row in kept if row < 3]


@settings(parent=ANY, max_examples=50)
@given(snapshots(), queries())
def test_a_plan_of_any_query_is_json_and_counts_its_rows(
    snapshot: ListedSnapshot, asked: tuple[Query, dict[str, Any]]
) -> None:
    query, params = asked
    rows = slowly(query, params, snapshot, deleted=False, superseded=False)
    tree = json.loads(json.dumps(explain(query, params, snapshot)))
    assert tree["rows"] == len(rows)
    planned = explain(query, params, snapshot, run=False)
    for node in _nodes(planned):
        assert node.keys() >= {"step", "detail", "estimate", "rows", "exact", "parts"}
        assert isinstance(node["estimate"], int)
    lines = len(list(_nodes(planned))) + len(planned["warnings"])
    assert format_plan(planned).count("\n") == lines - 1


def _nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield tree
    for part in tree["parts"]:
        yield from _nodes(part)


# What is not read, and when it ends


class Counting(ListedSnapshot):
    """Counts the rows that are read; `wait` is called before each."""

    def __init__(self, records: list[dict[str, Any]], **how: Any) -> None:
        versions = [
            {**record, "_rmx_id": Ref(f"{row:032}"), "_rmx_rev": f"{row:016}", "_rmx_last_modified_at": row}
            for row, record in enumerate(records)
        ]
        super().__init__(versions, **how)
        self._all = BitMap(range(self.rows))
        self.read_rows: list[int] = []
        self.wait: Callable[[], object] = lambda: None

    def current(self) -> BitMap:
        return self._all

    def visible(self, *, deleted: bool, superseded: bool) -> BitMap:
        return self._all

    def read(self, row: int) -> dict[str, Any]:
        self.wait()
        self.read_rows.append(row)
        return dict(self.records[row])


@pytest.fixture(scope="module", params=[False, True], ids=["memory", "segments"])
def many(request: pytest.FixtureRequest) -> Counting:
    records = [
        {
            "n": n,
            "half": n / 2,
            "kind": f"k{n % 7}",
            "flag": n % 2 == 0,
            "text": f"text {n}",
            "tags": [f"t{n % 3}", f"t{n % 5}"],
            "boss": Ref(f"{n % 10:032}"),
            "home": {"zip": n % 50},
            "blob": b"x",
        }
        for n in range(5_000)
    ]
    return Counting(records, cuts=[2_000, 4_000], segments=request.param)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ('kind == "k3" | count()', 0),
        ('kind == "k3" and not flag == true | count()', 0),
        ('kind != "k3" and n >= 100 and n < 200.5 | count()', 0),
        ('text like "text 12%" | count()', 0),
        ('text contains "99" | count()', 0),
        ('tags contains "t1" and tags all in ["t1", "t4"] | count()', 0),
        ('tags in [["t1"]] or exists nothing | count()', 5_000),
        ("home.zip == 7 or home.(zip == 8) | count()", 0),
        ('boss.kind == "k3" | count()', 1),
        ("boss.boss.n < 3 | count()", 6),
        ('after "0000000000004000" and _rmx_row < 4500 | count()', 0),
        ("_rmx_last_modified_at >= 10 and _rmx_deleted == true | count()", 0),
        ("n > 5 | group(kind) | count()", 0),
        ("n > 5 | distinct(flag)", 0),
        ("| group(half) | count() | limit(3)", 5_000),
        ('kind == "k1" | min(n) | max(text)', 2),
        ("| orderAsc(half) | limit(5)", 5),
        ("flag == true | orderDesc(text) | skip(2) | limit(5)", 5),
        ("n < 10 | orderDesc(text)", 10),
        ("| orderDesc(_rmx_last_modified_at) | limit(5)", 12),
        ("| orderAsc(kind) | skip(10) | count()", 0),
        ("n != 3 | reverse() | limit(4) | { n }", 4),
        ('blob == bin("eA==") | limit(3)', 3),
        ("| limit(3)", 3),
        ('n == 17 and text contains "7"', 1),
        (f'_rmx_id == ref("{17:032}")', 1),
        ("not true", 0),
    ],
)
def test_no_row_is_read_without_need(many: Counting, text: str, most: int) -> None:
    many.read_rows.clear()
    found = list(run(parse(text), None, many))
    assert len(many.read_rows) <= most
    assert identical(found, slowly(parse(text), {}, many, deleted=False, superseded=False))


def test_rows_are_read_batch_by_batch(many: Counting) -> None:
    many.read_rows.clear()
    cursor = run(parse("exists n"), None, many)
    assert not many.read_rows
    assert [row["n"] for row in cursor.next()] == list(range(100))
    assert len(many.read_rows) == 100
    assert [row["n"] for row in cursor.next()] == list(range(100, 200))
    assert cursor.watermark == f"{4_999:016}"


@pytest.mark.parametrize(
    "text", ["| orderAsc(kind)", "| orderDesc(kind)", "", "kind != 3 | orderAsc(kind) | limit(400)"]
)
def test_rows_that_are_added_meanwhile_are_not_seen(text: str) -> None:
    records = [{"kind": f"k{n % 3}"} for n in range(500)]
    snapshot = Counting(records, cuts=[200])
    expected = slowly(parse(text), {}, snapshot, deleted=False, superseded=False)
    cursor = run(parse(text), None, snapshot)
    found = cursor.next()
    growing = snapshot.parts[-1]
    assert isinstance(growing, MemoryPart)
    for row in range(500, 600):
        growing.add(row, {"kind": f"k{row % 4}", "_rmx_id": Ref(f"{row:032}")})
    assert identical(found + list(cursor), expected)


def test_a_cursor_that_is_closed_or_cancelled_says_so(many: Counting) -> None:
    with run(parse(""), None, many) as cursor:
        cursor.next()
    with pytest.raises(QueryCancelled, match="closed"):
        cursor.next()
    cursor = run(parse(""), None, many)
    cursor.cancel()
    for _ in range(2):
        with pytest.raises(QueryCancelled, match="cancelled"):
            cursor.next()


def test_an_error_ends_a_query_for_good(many: Counting) -> None:
    for error in (StorageError("row 3 is damaged"), MemoryError()):
        many.wait = lambda error=error: (_ for _ in ()).throw(error)  # type: ignore[misc]
        cursor = run(parse(""), None, many)
        try:
            with pytest.raises(type(error)):
                cursor.next()
        finally:
            many.wait = lambda: None
        with pytest.raises(MixError, match=r"damaged|ended by MemoryError"):
            cursor.next()


def test_queries_of_the_deepest_nesting_are_planned() -> None:
    deep: Any = {"n": 1}
    for turn in range(60):
        deep = {"a": [deep] if turn % 3 else deep, "r": Ref(f"{0:032}")}
    snapshot = Counting([deep, deep])
    for text in (
        "a.(" * 30 + "r.(" * 30 + "exists a" + ")" * 60,
        "(" * 29
        + "exists a"
        + "".join(f" {word} not exists r)" for word in ("and", "or") * 14)
        + " or n == 1)",
        ".".join(["r"] * 60) + ".a.n == 1",
        "r.(a.(" * 20 + "r.r.r.n == 1" + "))" * 20,
    ):
        query = parse(text)
        assert identical(
            list(run(query, None, snapshot)), slowly(query, {}, snapshot, deleted=False, superseded=False)
        )
        assert format_plan(explain(query, None, snapshot))


def test_a_batch_under_way_is_cancelled_from_another_thread(many: Counting) -> None:
    reading = threading.Event()
    cursor = run(parse('blob == bin("eQ==")'), None, many)

    def cancel() -> None:
        reading.wait(10)
        cursor.cancel()

    def wait() -> None:
        reading.set()
        # Reading goes on until the other thread was there.
        other.join(10)

    other = threading.Thread(target=cancel)
    other.start()
    many.read_rows.clear()
    many.wait = wait
    try:
        with pytest.raises(QueryCancelled):
            cursor.next()
    finally:
        many.wait = lambda: None
        other.join()
    assert len(many.read_rows) <= 1


def test_only_work_counts_as_time() -> None:
    clock = Clock(0.05)
    clock.go()
    clock.rest()
    time.sleep(0.1)
    clock.go()
    clock.tick()
    time.sleep(0.1)
    with pytest.raises(QueryTimeout):
        clock.tick()


HOSTILE = [
    "text contains $x and text like $y",
    " and ".join(f"boss{'.boss' * depth}.n >= 0" for depth in range(40)),
    "boss" + ".boss" * 60 + ".text contains $x",
    "n in $l and half not in $l",
    "tags all in $l and n in $l",
    "| orderDesc(blob)",
    "| group(blob)",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_time_is_up_in_the_midst_of_whatever_is_done(many: Counting, text: str) -> None:
    query = parse(text)
    given = {"x": "9", "y": "%9%", "l": list(range(100_000))}
    params = {name: given[name] for name in query.parameters()}
    with pytest.raises(QueryTimeout, match=r"within 0\.001 s"):
        run(query, params, many, timeout=0.001).next()
    start = time.process_time()
    with pytest.raises(QueryTimeout):
        list(run(query, params, many, timeout=0.001))
    # Far from the time that a run to the end may take; the border is not a figure but a sign of loops without ticks.
    assert time.process_time() - start < 5


def test_subqueries_in_subqueries_do_not_multiply(many: Counting) -> None:
    text = "exists nothing"
    for _ in range(30):
        text = f"boss.({text} or n < 0)"
    assert list(run(parse(text), None, many, timeout=30)) == []


def test_values_of_parameters_do_not_show_in_a_plan(many: Counting) -> None:
    tree = explain(parse("kind == $secret and n < 3 | limit(1)"), {"secret": "k1"}, many)
    assert "k1" not in json.dumps(tree)
    assert "$secret" in format_plan(tree)


def test_a_plan_says_what_was_done(many: Counting) -> None:
    tree = explain(
        parse('kind == "k1" and boss.n < 3 and text like "%7" | orderAsc(n) | limit(2)'), None, many
    )
    assert [node["step"] for node in tree["parts"]][:1] == ["and"]
    assert [node["step"] for node in tree["parts"]][-1] == "limit"
    steps = {node["step"] for node in _nodes(tree)}
    assert steps >= {"query", "and", "index", "join", "scan", "order", "limit"}
    assert tree["seconds"] > 0


@pytest.mark.parametrize("query", [None, 3, {"a": 1}, b"true", object()])
def test_what_is_no_query(query: object) -> None:
    with pytest.raises(QueryError, match="expected a query"):
        compile_query(query)


def test_spellings_of_a_query() -> None:
    query = parse("a == 1 | count()")
    built = (field("a") == 1).count()
    assert compile_query(query) is query
    assert compile_query("a == 1 | count()") == compile_query(to_json(query)) == compile_query(built) == query
    assert compile_query("a == 1 | count()") is compile_query("a == 1 | count()")


@pytest.mark.parametrize("doubled", ["[a, a]", "{ x: a, y: a }", "[[a, 1], a]"])
def test_a_row_that_grows_with_every_stage_is_refused(doubled: str) -> None:
    with Database.in_memory() as database:
        database.save({"a": "x"})
        small = "true" + f" | {{ a: {doubled} }}" * 10
        assert database.query(small).first() is not None
        for stages in (22, 30):
            with pytest.raises(QueryError, match="row of more than"):
                database.query("true" + f" | {{ a: {doubled} }}" * stages).first()


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("age > 3 and pets.name == 'Rex' or boss.age > 1".replace("'", '"'), []),
        ("agge > 3", ["no record has a field 'agge'; did you mean 'age'?"]),
        ("pets.(nmae == \"Rex\")", ["no record has a field 'nmae'; did you mean 'name'?"]),
        ("pets.nmae == 1", ["no record has a field 'pets.nmae'; did you mean 'name'?"]),
        ("boss.boss.agge == 1", ["no record has a field 'boss.boss.agge'; did you mean 'age'?"]),
        ("age + 1 > yaer | { agee, *, x: year(birht) }", [
            "no record has a field 'yaer'",
            "no record has a field 'agee'; did you mean 'age'?",
            "no record has a field 'birht'; did you mean 'birth'?",
        ]),
        ("not exists left", []),
        ("exists left", ["no record has a field 'left'"]),
        ("$key == 1", ["no record has a field 'nothing'"]),
        ("_rmx_type == \"persn\"", ["no record is of the type 'persn'; did you mean 'person'?"]),
        ("_rmx_type in [\"person\", \"cat\"]", ["no record is of the type 'cat'"]),
        ("age == \"3\"", ["no record has a string in 'age', only number"]),
        ("age < $n", ["no record has a string in 'age', only number"]),
        ("age == null and age != \"3\" and age == 3.5", []),
        ("_rmx_row > 1 and _rmx_rev == \"x\" and _rmx_previous.age == 1", []),
        ("| group(age) | count() | where(count > 1 and kye == 1)", []),
        ("| sum(aeg) | orderAsc(agge:ci)", [
            "no record has a field 'aeg'; did you mean 'age'?", "no record has a field 'agge'; did you mean 'age'?"
        ]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("segments", [False, True])
def test_what_no_record_has_is_said(text: str, warnings: list[str], segments: bool) -> None:
    people = [
        {"_rmx_type": "person", "age": 3, "pets": [[], {"name": "Rex"}], "birth": "2020-01-01"},
        {"_rmx_type": "person", "age": 4.5, "boss": Ref(f"{0:032}")},
        {"_rmx_type": "dog", "n\u00e4me": "Rex"},
    ]
    query = parse(text)
    params = {name: {"key": "nothing", "n": "3"}[name] for name in query.parameters()}
    snapshot = Counting(people, cuts=[2], segments=segments)
    assert explain(query, params, snapshot, run=False)["warnings"] == warnings
    assert run(query, params, snapshot).warnings() == warnings
    assert run(query, params, Counting([])).warnings() == []
    assert snapshot.read_rows == []


def test_folded_texts_of_files_are_kept_while_they_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "\u00c9" * 300
    rows = [{"a": text, "b": text} for text in ("\u00c9lan", "ann", long)] * 2
    snapshot = Counting(rows, cuts=[3], segments=True)
    segment, memory = [part.column(("a",), Kind.STRING) for part in snapshot.parts]
    ticks: list[None] = []
    texts = folded_texts(segment, lambda: ticks.append(None))
    assert texts == ["ann", "elan", None]
    assert folded_texts(segment, lambda: ticks.append(None)) is texts and len(ticks) == 1
    assert folded_texts(memory, lambda: None) is not folded_texts(memory, lambda: None)
    query = parse('a like:ci "EL%" or a contains:ci "\u00e9\u00e9\u00e9" | { _rmx_row }')
    for _ in range(2):
        assert list(run(query, {}, snapshot)) == [{"_rmx_row": row} for row in (0, 2, 3, 5)]
    monkeypatch.setattr("mix_db.query.folded_texts.MAX_KEPT", 5)
    other = snapshot.parts[0].column(("b",), Kind.STRING)
    assert folded_texts(other, lambda: None) is folded_texts(other, lambda: None)
    assert folded_texts(segment, lambda: None) is not texts
