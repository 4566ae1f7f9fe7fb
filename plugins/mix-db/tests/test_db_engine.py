"""The engine against the plain database: whatever is done to the files, the answers are the same."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from mix_db import Database
from mix_db.engine.compaction import Compaction
from mix_db.engine.engine import Engine
from mix_db.engine.file_rows import FileRows
from mix_db.engine.handle import Handle
from mix_db.settings import Settings
from mix_db.testing.plain import PlainDatabase
from mix_db.versions.rows import MemoryRows

from mixkit.errors import QueryError, StorageError
from mixkit.storage import Live, Reader, SaveOptions
from mixkit.value import Case, Ref

QUIET = Settings(background=False)
IDS = ("a", "b", "c", "d")
QUERIES = (
    "",
    "n == 1",
    "n > 0 and not exists m",
    'tags contains "x"',
    'text like "a%" | orderDesc(n)',
    "link.n == 1",
    "_rmx_previous.n == 1",
    "exists _rmx_previous | {n, was: ._rmx_previous.n, before: ._rmx_previous._rmx_previous.n ?? 0}",
    "m.(k == 1)",
    "exists n | {n, _rmx_id} | orderAsc(n) | limit(2)",
    "| group(n) | count()",
    "n != 2 | count() | sum(n) | min(n) | max(n)",
    "after $w",
    "| distinct(tags)",
)
LIVE = (
    "n == 1",
    "exists n | {n}",
    "exists n | orderDesc(n) | limit(2)",
    "link.n == 1 | {*, +link}",
    "m.(k == 1)",
)
TIMES = ("_rmx_last_modified_at", "_rmx_superseded_at")

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, 1.5, 1.0, float("inf")]),
    st.sampled_from(["a", "ab", "x", "a" * 300]),
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "n": values,
        "text": st.sampled_from(["a", "ab", "b", "a" * 300]),
        "tags": st.lists(st.sampled_from(["x", "y", 1]), max_size=3),
        "m": st.one_of(
            values, st.fixed_dictionaries({"k": values}), st.lists(st.fixed_dictionaries({"k": values}))
        ),
        "link": st.sampled_from((*IDS, "0", "3", "03", "99")).map(Ref),
        "case": st.one_of(st.just(Case("on")), st.sampled_from(IDS).map(lambda id: Case("of", [Ref(id)]))),
        "_rmx_type": st.sampled_from(["p", "q"]),
        "_rmx_row": st.just(99),
    },
)
records = st.tuples(st.sampled_from(IDS), fields).map(lambda pair: {"_rmx_id": pair[0], **pair[1]})


def timeless(value: Any) -> Any:
    """Without times, which differ between two databases; and so that NaN and 1.0 are told apart from others."""
    if isinstance(value, dict):
        return {name: timeless(item) for name, item in value.items() if name not in TIMES}
    if isinstance(value, list):
        return [timeless(item) for item in value]
    return (type(value), repr(value)) if isinstance(value, float) else value


def outcome(reader: Reader, query: str, params: dict[str, Any], **flags: bool) -> Any:
    try:
        return timeless(list(reader.query(query, params, **flags)))
    except QueryError:
        return QueryError


def drop_before(plain: PlainDatabase, watermark: str, horizon: int) -> None:
    """Drop versions that were replaced by then, and tombstones; the others get new numbers."""
    shared = plain._shared
    replaced = {
        row["_rmx_previous"].id
        for row in shared.rows
        if "_rmx_previous" in row and row["_rmx_rev"] <= watermark
    }
    kept = [
        row
        for row in shared.rows
        if str(row["_rmx_row"]) not in replaced
        and not ("_rmx_deleted" in row and row["_rmx_rev"] <= watermark)
    ]
    numbers = {str(row["_rmx_row"]): number for number, row in enumerate(kept)}
    shared.rows = []
    for number, row in enumerate(kept):
        previous = numbers.get(row["_rmx_previous"].id) if "_rmx_previous" in row else None
        made = {name: value for name, value in row.items() if name != "_rmx_previous"} | {"_rmx_row": number}
        shared.rows.append(made if previous is None else made | {"_rmx_previous": Ref(str(previous))})
    shared.horizon = max(shared.horizon, horizon)


class Compared(RuleBasedStateMachine):
    """Does the same to both."""

    watermarks = Bundle("watermarks")

    def __init__(self) -> None:
        super().__init__()
        self.plain = PlainDatabase()
        self.folder = Path(tempfile.mkdtemp(prefix="mix-db-"))
        self.handles: list[Handle] = []
        self.lives: dict[str, tuple[Live, Live]] = {}

    def open_rows(self) -> Any:
        raise NotImplementedError

    @property
    def engine(self) -> Engine:
        return self.handle._engine

    @property
    def handle(self) -> Handle:
        if not self.handles:
            engine = Engine(self.open_rows, QUIET, shared=True)
            self.handles.append(Handle(engine, read_only=False, release=engine.close))
        return self.handles[-1]

    def teardown(self) -> None:
        for handle in self.handles:
            handle.close()
        shutil.rmtree(self.folder)

    @rule(
        target=watermarks,
        given=st.lists(records, max_size=4),
        upsert=st.booleans(),
        keep=st.booleans(),
    )
    def save(self, given: list[Any], upsert: bool, keep: bool) -> str:
        options = SaveOptions(original_id_always=True, upsert=upsert, keep_original=keep)
        commits = [database.save(given, options) for database in (self.handle, self.plain)]
        assert commits[0].watermark == commits[1].watermark
        assert timeless(list(commits[0].records)) == timeless(list(commits[1].records))
        return commits[0].watermark

    @rule(target=watermarks, ids=st.lists(st.sampled_from((*IDS, "unknown")), max_size=3))
    def delete(self, ids: list[str]) -> str:
        commits = [database.delete(ids) for database in (self.handle, self.plain)]
        assert commits[0].watermark == commits[1].watermark
        assert timeless(list(commits[0].records)) == timeless(list(commits[1].records))
        return commits[0].watermark

    @rule()
    def flush(self) -> None:
        self.handle.flush()

    @precondition(lambda self: len(self.engine.state().segments) > 1)
    @rule(data=st.data())
    def merge(self, data: Any) -> None:
        segments = self.engine.state().view.segments
        first = data.draw(st.integers(0, len(segments) - 2))
        last = data.draw(st.integers(first + 2, len(segments)))
        # Another process may have merged them already, which shows only when one tries: no log tells of it.
        assert self.engine._merge_those(segments[first:last]) or self.engine.state().view.segments != segments

    @rule(drop=st.booleans())
    def compact(self, drop: bool) -> None:
        for database in (self.handle, self.plain):
            database.compact(drop_history=drop)
        # The plain database tells followers of a row's new number.
        self.lives.clear()

    @rule(watermark=watermarks)
    def forget_before(self, watermark: str) -> None:
        """What a retention does: older history is dropped, later history stays."""
        engine = self.engine
        engine.flush()
        state = engine.state()
        plan = Compaction(state, state.first_after(watermark))
        drop_before(self.plain, watermark, plan.horizon)
        engine._compact(lambda state: plan)
        self.lives.clear()

    @rule(query=st.sampled_from(LIVE))
    def follow(self, query: str) -> None:
        """The changes of a query since it was followed the last time."""
        if query not in self.lives:
            self.lives[query] = self.handle.live(query), self.plain.live(query)
        ours, theirs = (live.next(0) for live in self.lives[query])
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert ours.watermark == theirs.watermark
            for one, two in ((ours.entered, theirs.entered), (ours.changed, theirs.changed)):
                assert sorted(timeless(list(one)), key=repr) == sorted(timeless(list(two)), key=repr)
            assert sorted(map(repr, ours.left)) == sorted(map(repr, theirs.left))

    @rule(watermark=watermarks)
    def look_back(self, watermark: str) -> None:
        pasts: list[Any] = []
        for database in (self.handle, self.plain):
            try:
                pasts.append(database.as_of(watermark))
            except QueryError:
                pasts.append(None)
        if pasts[1] is None:
            assert pasts[0] is None
            return
        self.compare(*pasts, superseded=True)

    @rule(query=st.sampled_from(QUERIES), deleted=st.booleans(), superseded=st.booleans())
    def query(self, query: str, deleted: bool, superseded: bool) -> None:
        params = {"w": f"{self.engine.state().last // 2:016d}"} if "$w" in query else {}
        ours, theirs = (
            outcome(reader, query, params, deleted=deleted, superseded=superseded)
            for reader in (self.handle, self.plain)
        )
        assert ours == theirs

    @invariant()
    def same(self) -> None:
        self.compare(self.handle, self.plain, superseded=False)

    def compare(self, ours: Reader, theirs: Reader, *, superseded: bool) -> None:
        assert ours.watermark() == theirs.watermark()
        for id in IDS:
            assert timeless(ours.get(id)) == timeless(theirs.get(id))
            assert timeless(ours.history(id)) == timeless(theirs.history(id))
        flags = {"superseded": superseded, "deleted": superseded}
        assert outcome(ours, "", {}, **flags) == outcome(theirs, "", {}, **flags)


class InFiles(Compared):
    def open_rows(self) -> FileRows:
        return FileRows(self.folder, create=True, read_only=False, timeout=5.0)

    @rule()
    def reopen(self) -> None:
        self.lives.clear()
        self.handles.pop().close()
        assert self.handle.check() == []

    @rule()
    def go_on_as_another_process(self) -> None:
        """Handles take turns: each sees what the other did only in the files."""
        if len(self.handles) == 1:
            engine = Engine(self.open_rows, QUIET, shared=True)
            self.handles.append(Handle(engine, read_only=False, release=engine.close))
        else:
            self.handles.reverse()


class InMemory(Compared):
    def open_rows(self) -> MemoryRows:
        return MemoryRows()


TestFiles = InFiles.TestCase
TestFiles.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestMemory = InMemory.TestCase
TestMemory.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("flushed", [False, True])
def test_links_lead_to_the_new_numbers_of_rows(tmp_path: Path, flushed: bool) -> None:
    engine = Engine(lambda: FileRows(tmp_path, create=True, read_only=False, timeout=5.0), QUIET, shared=True)
    handle = Handle(engine, read_only=False, release=engine.close)
    options = SaveOptions(original_id_always=True)
    watermarks = [
        handle.save([{"_rmx_id": id, "n": number}], options).watermark for number, id in enumerate("aabbaab")
    ]
    if flushed:
        handle.flush()
    # Rows 0 and 2 were replaced by then.
    engine._compact(lambda state: Compaction(state, state.first_after(watermarks[3])))
    for id, numbers, links in (("a", [1, 4, 5], [None, "0", "2"]), ("b", [3, 6], [None, "1"])):
        history = handle.history(id)
        assert [version["n"] for version in history] == numbers
        found = [version.get("_rmx_previous") for version in history]
        assert [None if ref is None else ref.id for ref in found] == links
        assert [version.get("_rmx_superseded", False) for version in history] == [True] * (len(links) - 1) + [
            False
        ]
    assert [row["n"] for row in handle.as_of(watermarks[3]).query("")] == [1, 3]
    with pytest.raises(QueryError, match="history"):
        handle.as_of(watermarks[2])
    assert handle.check() == []
    handle.close()


def test_what_is_no_moment_is_told_all_that_may_be_one() -> None:
    with Database.in_memory() as database:
        for bad in ("yesterday", "2026-01-31", "", "9" * 17, 1.5, datetime(2026, 1, 31)):
            with pytest.raises(QueryError, match=r"watermark.*Unix milliseconds,? or a time with its zone"):
                database.as_of(bad)  # type: ignore[arg-type]


def test_a_damaged_row_harms_who_asks_for_it_and_nobody_else(tmp_path: Path) -> None:
    """Rows are read several at once; those before it are there, whatever was read with them."""
    with Database(tmp_path) as database:
        ids = [record["_rmx_id"] for record in database.save([{"n": n, "b": b"%d" % n} for n in range(80)])]
        database.flush()
    data = tmp_path / "db.dat"
    # Byte strings are in no index: the row has to be read.
    data.write_bytes(data.read_bytes().replace(b"\xc4\x0240", b"\xc4\x0241"))
    with Database(tmp_path, read_only=True) as database:
        assert [row["n"] for row in database.query("n < 40")] == list(range(40))
        checked = database.query('b != bin("eA==") | limit(40)')
        assert [row["n"] for row in checked] == list(range(40))
        for query in ("n <= 40", 'b != bin("eA==") | limit(41)'):
            with pytest.raises(StorageError, match="row 40 does not match"):
                list(database.query(query))
        assert [row["n"] for row in database.query("n > 40")] == list(range(41, 80))
        assert database.get(ids[41])["n"] == 41  # type: ignore[index]
