"""Acknowledged commits that are missing are noticed, although all that is left is whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from mix_db import Database
from mix_db.engine.compaction import Compaction
from mix_db.files import rows, write_log
from mix_db.files.check import check
from mix_db.files.compaction import Plan
from mix_db.files.errors import DamagedFile, FilesError
from mix_db.files.faults import FaultyFolder
from mix_db.files.repair import repair
from mix_db.files.store import Store
from mix_db.files.witness import Witness
from mix_db.files.write_log import Commit, Header, WriteLog
from mix_db.mending import check_folder, repair_folder

from mixkit.errors import QueryError, StorageError


def save(store: Store, *records: bytes) -> None:
    store.commit(lambda draft: records)


def contents(store: Store) -> list[bytes]:
    return [store.read(row) for row in range(store.rows)]


def log_of(folder: FaultyFolder) -> tuple[Header, list[Commit]]:
    data = folder.files()["writelog"]
    header = Header.unpack(data)
    start = write_log.HEADER_SIZE
    return header, write_log.scan(header, data[start:], start, None).commits


def older_log(folder: FaultyFolder) -> None:
    """The log that was there before the last commits."""
    header, commits = log_of(folder)
    WriteLog.create(folder, header, commits[:-2])


def empty_log(folder: FaultyFolder) -> None:
    """A new log of somebody who has not seen the commits."""
    header, _ = log_of(folder)
    extent = header.extent
    WriteLog.create(folder, Header.new(extent, header.commit, header.horizon, header.horizon_time))


def other_commit(folder: FaultyFolder) -> None:
    """Two have written at the same place, each a whole commit."""
    header, commits = log_of(folder)
    last = commits[-1]
    WriteLog.create(folder, header, [*commits[:-1], Commit(last.number, last.row, (b"other",))])


def lost_rows(folder: FaultyFolder) -> None:
    """A switch to a generation that lacks rows."""
    _, commits = log_of(folder)
    extent = rows.append(folder, rows.Extent(generation=1), [b"1", b"3"])
    WriteLog.create(folder, Header.new(extent, commits[-1].number))


LOSSES = [older_log, empty_log, other_commit, lost_rows]


def lived() -> FaultyFolder:
    folder = FaultyFolder()
    store = Store(folder)
    save(store, b"1", b"2")
    store.flush()
    for record in (b"3", b"4", b"5"):
        save(store, record)
    return folder


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_missing_is_noticed(lose: Callable[[FaultyFolder], None], read_only: bool) -> None:
    folder = lived()
    assert list(check(folder)) == []
    lose(folder)
    files = folder.files()
    (finding,) = check(folder)
    assert finding.lost
    assert finding.places[0].file == "writelog"
    with pytest.raises(DamagedFile, match=r"acknowledged|expected 5 rows"):
        Store(folder, read_only=read_only)
    assert {name: folder.files()[name] for name in files} == files


@pytest.mark.parametrize("lose", LOSSES)
def test_a_store_that_is_open_does_not_write_over_it(lose: Callable[[FaultyFolder], None]) -> None:
    folder = lived()
    store = Store(folder)
    lose(folder)
    files = folder.files()
    for call in (lambda: save(store, b"6"), store.refresh, store.flush):
        with pytest.raises(DamagedFile):
            call()
    assert folder.files() == files


@pytest.mark.parametrize("lose", LOSSES)
def test_repair_takes_what_is_left_for_the_truth(lose: Callable[[FaultyFolder], None]) -> None:
    folder = lived()
    lose(folder)
    kept = set(folder.files().values())
    report = repair(folder)
    assert report.findings[0].lost
    assert report.last > 4, "a number that was acknowledged does not come again"
    assert kept <= set(folder.files().values())
    assert list(check(folder)) == []
    store = Store(folder)
    assert set(contents(store)) <= {b"1", b"2", b"3", b"4", b"5", b"other"}
    assert store.view.horizon == store.last == report.last, "there is no looking back behind a loss"
    save(store, b"6")
    store.flush()
    assert list(check(folder)) == []


def test_rows_that_are_whole_and_others() -> None:
    folder = lived()
    Store(folder).flush()
    header, _ = log_of(folder)
    other = rows.append(folder, rows.Extent(), [b"1", b"2", b"3", b"4", b"6"])
    assert other.size == header.extent.size
    (finding,) = check(folder)
    assert finding.lost
    assert finding.places[0].file == "db.dat"
    assert repair(folder).rows == 5
    assert list(check(folder)) == []


def test_a_commit_in_the_middle_that_is_whole_and_another() -> None:
    folder = lived()
    header, commits = log_of(folder)
    body, _ = write_log._body([b"9"], 0)
    log = bytearray(header.pack())
    for commit in commits:
        mine = body if commit.number == 3 else write_log._body(commit.records, 0)[0]
        log += write_log._frame(header.mark, commit.number, len(log), commit.sum, mine)
    folder.open("writelog", write=True).write(0, bytes(log))
    assert [str(finding) for finding in check(folder) if finding.lost]


def test_what_is_lost_is_not_flushed_or_compacted() -> None:
    folder = lived()
    store = Store(folder)
    files = folder.files()
    with pytest.raises(FilesError, match="expected 5 rows less 1, made 3"):
        store.compact(lambda view: Plan(lambda view, start: [b"1", b"2", b"3"][start:], dropped=1))
    names = files.keys()
    assert {name: folder.files()[name] for name in names} == files
    log = store.view.log
    log.commits[-1] = Commit(4, 3, (b"!",), log.commits[-1].sum)
    with pytest.raises(FilesError, match="do not add up"):
        store.flush()
    assert folder.files()["writelog"] == files["writelog"]
    assert contents(Store(folder)) == [b"1", b"2", b"3", b"4", b"5"]


def test_a_witness_that_is_not_whole_says_nothing() -> None:
    files = lived().files()
    whole = files["WITNESS"]
    for size in range(len(whole)):
        flipped = whole[:size] + bytes([whole[size] ^ 1]) + whole[size + 1 :]
        for data in (whole[:size], whole[:size] + bytes(len(whole) - size), flipped):
            # A log that was cut is nothing that it could tell.
            folder = FaultyFolder.of({**files, "WITNESS": data})
            empty_log(folder)
            assert list(check(folder)) == [] or data == whole
            assert contents(Store(folder)) == [b"1", b"2"]


def test_a_witness_is_kept_by_all_who_write_and_follows_all_they_do() -> None:
    folder = FaultyFolder()
    stores = [Store(folder), Store(folder)]
    chance = random.Random(5)
    for number in range(60):
        store = chance.choice(stores)
        what = chance.choice(["save", "save", "flush", "compact", "drop", "repair", "reopen"])
        if what == "save":
            save(store, b"%d" % number)
            witness = Witness.read(folder)
            assert witness is not None
            assert (witness.number, witness.rows) == (store.last, store.rows)
        elif what == "flush":
            store.flush()
        elif what == "repair":
            repair(folder)
        elif what == "reopen":
            stores[stores.index(store)] = Store(folder)
        else:
            stop = store.refresh().rows
            step = 2 if what == "drop" else 1
            store.compact(
                lambda view, step=step, stop=stop: Plan(  # type: ignore[misc]
                    lambda view, start: map(view.read, range(start, view.rows, step)),
                    dropped=stop // 2 if step == 2 else 0,
                )
            )
        assert list(check(folder)) == []
        assert contents(Store(folder, read_only=True)) == contents(Store(folder))


def test_a_new_database_begins_without_the_witness_of_another() -> None:
    folder = FaultyFolder.of({"WITNESS": lived().files()["WITNESS"]})
    store = Store(folder)
    save(store, b"1")
    assert contents(Store(folder)) == [b"1"]
    assert list(check(folder)) == []


def test_where_the_witness_cannot_be_written_commits_go_on() -> None:
    folder = FaultyFolder()
    real = folder.open

    def refusing(name: str, *, write: bool = False, create: bool = False) -> object:
        if name == "WITNESS" and write:
            raise PermissionError(name)
        return real(name, write=write, create=create)

    folder.open = refusing  # type: ignore[assignment,method-assign]
    store = Store(folder)
    save(store, b"1")
    assert contents(Store(folder)) == [b"1"]


# --- damage of the log, and how far back one can look ---


def test_a_repair_that_lost_a_commit_moves_the_horizon() -> None:
    """The header is whole, and so are the row files; what was lost was in the log."""
    folder = lived()
    data = bytearray(folder.files()["writelog"])
    _, commits = log_of(folder)
    data[data.rindex(b"\x014")] ^= 1
    folder = FaultyFolder.of({**folder.files(), "writelog": bytes(data)})
    report = repair(folder)
    assert (report.rows, report.lost) == (4, 0)
    view = Store(folder).view
    assert view.horizon == view.last > commits[-1].number
    assert view.horizon_time > 0


def test_a_repair_of_an_unfinished_commit_leaves_the_horizon() -> None:
    folder = lived()
    files = folder.files()
    _, commits = log_of(folder)
    torn = FaultyFolder.of({**files, "writelog": files["writelog"] + b"unfinished"})
    assert [finding.lost for finding in check(torn)] == [False]
    assert repair(torn).rows == 5
    view = Store(torn).view
    assert (view.horizon, view.rows) == (0, 5)
    assert view.last > commits[-1].number


# --- as it is used ---


def test_the_database_says_that_commits_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with Database(path) as database:
        notes = database.save([{"n": number} for number in range(3)])
        kept = (path / "writelog").read_bytes()
        database.save([{**notes[0], "n": 7}])
        assert database.check() == []
    (path / "writelog").write_bytes(kept)
    (finding,) = check_folder(path).findings
    assert "commits up to 2 were acknowledged, and it ends with 1" in str(finding)
    with pytest.raises(StorageError, match=r"were acknowledged.*mixkit db repair"):
        Database(path)
    assert repair_folder(path).rows == 3
    with Database(path) as database:
        assert database.check() == []
        assert database.get(notes[0]["_rmx_id"])["n"] == 0
        with pytest.raises(QueryError, match="history reaches back"):
            database.as_of(database.watermark()[:-1] + "1")


def test_a_backup_of_it_all_is_whole(tmp_path: Path) -> None:
    for memory in (False, True):
        copy = tmp_path / f"copy{memory}"
        with Database.in_memory() if memory else Database(tmp_path / "db") as database:
            for number in range(9):
                database.save({"_rmx_id": "one", "n": number}, original_id_always=True)
                if number % 3 == 2:
                    database.compact(drop_history=number == 5)
            database.save({"n": 10})
            database.backup(copy)
        with Database(copy) as database:
            assert database.check() == []
            database.save({"n": 11})
            database.compact()
            assert database.check() == []


def test_no_version_is_dropped_that_nothing_has_replaced() -> None:
    with Database.in_memory() as database:
        ids = [database.save({"n": number})["_rmx_id"] for number in range(4)]
        database.upsert({"_rmx_id": ids[0], "n": 7})
        database.delete(ids[1])
        state = database.contract._engine.state()
        plan = Compaction(state, state.rows)
        assert len(list(plan.rewrite(state.view, 0))) == 3
        plan._dropped.add(2)
        with pytest.raises(StorageError, match="row 2, the newest version of record"):
            list(plan.rewrite(state.view, 0))
