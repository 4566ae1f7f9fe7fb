"""Index segments, views, merges and generations: what there is after each, and what others see meanwhile."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st
from mix_db.files import names, segments
from mix_db.files.check import check
from mix_db.files.compaction import Plan
from mix_db.files.errors import DamagedFile, FilesError, FormatVersion
from mix_db.files.faults import FaultyFolder
from mix_db.files.layer import DiskFolder
from mix_db.files.manifest import Entry, Manifest
from mix_db.files.repair import repair
from mix_db.files.store import Store
from mix_db.files.view import View
from mix_db.files.write_log import Commit

Folder = DiskFolder | FaultyFolder


def index(start: int, records: Iterable[bytes]) -> Iterator[bytes]:
    """A segment that says what it was made of."""
    yield b"%d:" % start
    for record in records:
        yield b"%d," % crc32c(record)


def of_commits(commits: Sequence[Commit]) -> Iterator[bytes]:
    return index(commits[0].row, (record for commit in commits for record in commit.records))


def verify(view: View) -> None:
    """The segments cover the flushed rows without gaps, and each was made of its rows."""
    reached = 0
    for segment in view.segments:
        assert segment.start == reached
        reached = segment.stop
        assert bytes(segment.data) == b"".join(
            index(segment.start, map(view.read, range(segment.start, segment.stop)))
        )
    assert reached == view.extent_rows


def contents(view: View) -> list[bytes]:
    verify(view)
    assert view.read_many(range(view.rows)) == [view.read(row) for row in range(view.rows)]
    return view.read_many(range(view.rows))


def fill(store: Store, start: int, stop: int) -> None:
    for number in range(start, stop):
        assert store.commit(lambda draft, number=number: [b"%d" % number]).row == number  # type: ignore[misc]


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return DiskFolder(tmp_path) if request.param == "disk" else FaultyFolder()


# --- the manifest ---


def test_the_manifest_byte_by_byte() -> None:
    folder = FaultyFolder()
    store = Store(folder, index=index)
    fill(store, 0, 2)
    store.flush()
    content = b"0:%d,%d," % (crc32c(b"0"), crc32c(b"1"))
    head = b"MXSEGS\1\0" + struct.pack("<III", crc32c(b"MXSEGS\1\0"), 0, 1)
    head += struct.pack("<QQQII", 0, 2, len(content), crc32c(content), crc32c(content))
    assert folder.files()["db.seg"] == head + struct.pack("<I", crc32c(head))
    assert folder.files()["db.0-2.idx"] == content


@given(
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(*[st.integers(0, 2**64 - 1)] * 3, *[st.integers(0, 2**32 - 1)] * 2).map(
            lambda fields: Entry(*fields)
        ),
        max_size=5,
    ),
)
def test_the_manifest_round_trip(generation: int, entries: list[Entry]) -> None:
    manifest = Manifest(generation, tuple(entries))
    assert Manifest.unpack(generation, manifest.pack()) == manifest
    with pytest.raises(DamagedFile, match="generation"):
        Manifest.unpack(generation ^ 1, manifest.pack())


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("db.dat", 0),
        ("db.seg.new", 0),
        ("db.12.off", 12),
        ("db.0-7.idx", 0),
        ("db.3.10-20.idx.new", 3),
        ("writelog", None),
        ("db.dat.damaged-20270131T235959Z", None),
        ("name.txt", None),
        ("db.07.dat", None),
        ("db.0.dat", None),
        ("xdb.dat", None),
    ],
)
def test_names_of_a_generation(name: str, generation: int | None) -> None:
    assert names.family(name) == generation


# --- flush and merge ---


def test_views_and_segments_through_flush_and_merge(folder: Folder) -> None:
    store = Store(folder, index=index)
    reader = Store(folder, read_only=True, index=index)
    first = store.view
    fill(store, 0, 3)
    assert store.flush(of_commits) == 3
    fill(store, 3, 5)
    assert [commit.number for commit in store.view.since(4)] == [5]
    assert (store.view.flushed, store.view.last, store.view.extent_rows) == (3, 5, 3)
    middle = store.view
    assert store.flush() == 2
    fill(store, 5, 6)
    assert [(s.start, s.stop) for s in store.view.segments] == [(0, 3), (3, 5)]
    assert store.view.segments[0] is middle.segments[0], "an open segment is not opened again"
    before = reader.refresh()
    assert store.merge(
        store.view.segments, lambda: index(0, map(store.view.read, range(store.view.extent_rows)))
    )
    assert [(s.start, s.stop) for s in store.view.segments] == [(0, 5)]
    assert {n for n in folder.listing() if n.endswith(".idx")} == {"db.0-5.idx"}
    for each in (first, middle, before, store.view, Store(folder, index=index).view, reader.refresh()):
        assert contents(each) == numbers(each.rows)
    assert [view.rows for view in (first, middle, before)] == [0, 5, 6]
    assert list(check(folder)) == []


def test_commits_that_come_while_a_segment_is_made(folder: Folder) -> None:
    store, other = Store(folder, index=index), Store(folder, index=index)
    fill(store, 0, 4)

    def make(commits: Sequence[Commit]) -> Iterator[bytes]:
        # A generator: this runs when the parts are asked for.
        fill(store, 4, 6)
        fill(other, 6, 8)
        yield from of_commits(commits)

    assert store.flush(make) == 4
    for each in (store, other):
        assert contents(each.refresh()) == numbers(8)
        assert (each.view.extent_rows, each.view.last) == (4, 8)
        assert [commit.number for commit in each.view.commits] == [5, 6, 7, 8]
    assert store.flush() == 4
    assert contents(other.refresh()) == numbers(8)


def test_merge_only_what_is_in_force(folder: Folder) -> None:
    store, other = Store(folder, index=index), Store(folder, index=index)
    for stop in (2, 4, 6):
        fill(store, stop - 2, stop)
        store.flush()
    olds = other.refresh().segments

    def make(stop: int) -> Callable[[], Iterator[bytes]]:
        return lambda: index(0, map(store.read, range(stop)))

    with pytest.raises(ValueError, match="follow each other"):
        store.merge([olds[0], olds[2]], make(4))
    assert store.merge(olds[:2], make(4))
    assert not other.merge(olds[:2], make(4))
    assert [(s.start, s.stop) for s in other.view.segments] == [(0, 4), (4, 6)]
    with folder.lock(1, names.MERGE):
        assert not other.merge(other.view.segments, make(6)), "another one merges"
    with pytest.raises(ZeroDivisionError):
        store.merge(store.view.segments, lambda: [bytes(1 // 0)])
    assert not [name for name in folder.listing() if name.endswith(names.NEW)]

    def meanwhile() -> Iterator[bytes]:
        """A flush in the middle of a merge is not lost."""
        fill(other, 6, 7)
        assert other.flush() == 1
        return index(0, map(store.read, range(6)))

    assert store.merge(store.view.segments, meanwhile)
    assert [(s.start, s.stop) for s in store.view.segments] == [(0, 6), (6, 7)]
    assert contents(other.refresh()) == contents(store.view) == numbers(7)
    assert list(check(folder)) == []


def test_segments_are_made_again(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    """Missing, cut, damaged at the beginning; the list of them missing or damaged."""
    plain = Store(folder)
    fill(plain, 0, 2)
    plain.flush()
    assert plain.view.segments == ()
    with pytest.raises(DamagedFile, match=r"db\.seg.*for writing"):
        Store(folder, index=index, read_only=True)
    fill(Store(folder, index=index), 2, 4)
    store = Store(folder, index=index)
    store.flush()
    assert [(s.start, s.stop) for s in store.view.segments] == [(0, 2), (2, 4)]

    def spoil(name: str, how: str) -> None:
        file = folder.open(name, write=True)
        if how == "cut":
            file.truncate(3)
        elif how == "flip":
            file.write(1, bytes([file.read(1, 1)[0] ^ 1]))
        else:
            folder.remove(name)
        file.close()

    for name in ("db.0-2.idx", "db.2-4.idx", "db.seg"):
        for how in ("cut", "flip", "remove"):
            spoil(name, how)
            with pytest.raises(DamagedFile) as caught:
                Store(folder, index=index, read_only=True)
            assert caught.value.file == name
            assert name in {place.file for finding in check(folder) for place in finding.places}
            caplog.clear()
            assert contents(Store(folder, index=index).view) == numbers(4)
            assert name in caplog.text
            assert "again from the rows" in caplog.text
            assert list(check(folder)) == []


def test_a_long_segment_damaged_deep_inside() -> None:
    """It opens, check names it, and repair makes it again and keeps the old one."""
    folder = FaultyFolder()
    store = Store(folder, index=index)
    store.commit(lambda draft: numbers(2000))
    store.flush()
    files = folder.files()
    spoiled = bytearray(files["db.0-2000.idx"])
    spoiled[-1] ^= 1
    folder = FaultyFolder.of({**files, "db.0-2000.idx": bytes(spoiled)})
    assert Store(folder, index=index).view.segments
    (finding,) = check(folder)
    assert "db.0-2000.idx" in str(finding)
    report = repair(folder, index=index)
    assert (report.rows, report.lost, len(report.aside)) == (2000, 0, 1)
    assert folder.files()[report.aside[0]] == bytes(spoiled)
    assert contents(Store(folder, index=index).view) == numbers(2000)
    assert list(check(folder)) == []


def test_check_asks_for_what_only_the_index_knows() -> None:
    folder = FaultyFolder()
    store = Store(folder, index=index)
    fill(store, 0, 2)
    store.flush()
    seen = []

    def look(name: str, data: memoryview) -> Iterable[str]:
        seen.append((name, bytes(data[:2])))
        return ["the rows are out of order"]

    assert [str(f) for f in check(folder, look)] == ["db.0-2.idx at offset 0: the rows are out of order"]
    assert seen == [("db.0-2.idx", b"0:")]


def test_many_segments_for_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A maker of segments is never given more rows than fit."""
    monkeypatch.setattr(segments, "ROWS", 10)
    folder = FaultyFolder()
    store = Store(folder)
    store.commit(lambda draft: numbers(25))
    store.flush()
    store = Store(folder, index=index)
    assert [(s.start, s.stop) for s in store.view.segments] == [(0, 10), (10, 20), (20, 25)]
    store.compact(lambda view: Plan(lambda view, start: map(view.read, range(start, view.rows, 2))))
    assert [(s.start, s.stop) for s in store.view.segments] == [(0, 10), (10, 13)]
    verify(store.view)


# --- compaction ---


def test_compaction(folder: Folder) -> None:
    store, other = Store(folder, index=index), Store(folder, index=index)
    reader = Store(folder, read_only=True, index=index)
    fill(store, 0, 10)
    store.flush()
    fill(store, 10, 12)
    old = reader.refresh()
    calls: list[tuple[int, int]] = []

    def rewrite(view: View, start: int) -> Iterator[bytes]:
        calls.append((view.rows, start))
        if start == 0:
            # They can write and flush all the while.
            fill(other, 12, 15)
            other.flush()
            fill(other, 15, 16)
        for row in range(start, view.rows):
            if row % 2:
                yield view.read(row)

    store.compact(lambda view: Plan(rewrite, 12))
    assert calls == [(12, 0), (16, 12)]
    for each in (store, other, reader):
        view = each.refresh()
        assert contents(view) == [b"%d" % n for n in range(1, 16, 2)]
        assert (view.generation, view.horizon, view.last, view.extent_rows) == (1, 12, 16, 8)
    assert contents(old) == numbers(12), "who reads goes on reading the old files"
    assert {n for n in folder.listing() if n.startswith("db")} == {
        "db.1.dat", "db.1.off", "db.1.sum", "db.1.seg", "db.1.0-6.idx", "db.1.6-8.idx",
    }  # fmt: skip
    assert other.commit(lambda draft: [b"%d" % draft.number]).number == 17
    assert other.flush() == 1
    store.compact(lambda view: Plan(lambda view, start: map(view.read, range(start, view.rows))))
    view = Store(folder, index=index).view
    assert contents(view) == [b"%d" % n for n in [*range(1, 16, 2), 17]]
    assert (view.generation, view.horizon, view.last) == (2, 12, 17)
    assert list(check(folder)) == []


def test_compaction_of_nothing_and_to_nothing(folder: Folder) -> None:
    store = Store(folder, index=index)
    store.compact(lambda view: Plan(lambda view, start: []))
    fill(store, 0, 3)
    store.compact(lambda view: Plan(lambda view, start: []))
    assert (store.rows, store.last, store.view.generation) == (0, 3, 2)
    assert store.commit(lambda draft: [b"x"]).number == 4
    store.flush()
    assert contents(Store(folder, index=index).view) == [b"x"]
    assert list(check(folder)) == []


def test_a_failing_compaction_leaves_nothing(folder: Folder) -> None:
    store = Store(folder, index=index)
    fill(store, 0, 3)
    store.flush()
    before = set(folder.listing())

    def fail(view: View, start: int) -> Iterator[bytes]:
        yield b"1"
        raise RuntimeError("no rows")

    with pytest.raises(RuntimeError, match="no rows"):
        store.compact(lambda view: Plan(fail))
    assert set(folder.listing()) - before <= {names.MERGE}
    assert contents(store.view) == contents(Store(folder, index=index).view) == numbers(3)


def test_leftovers_are_swept(folder: Folder) -> None:
    store = Store(folder, index=index)
    fill(store, 0, 3)
    store.flush()
    kept = set(folder.listing())
    left = ("db.1.dat", "db.7.0-9.idx", "db.3-9.idx", "db.0-3.idx.new", "writelog.new")
    others = ("name.txt", "db.dat.damaged-20270131T235959Z", "db.txt")
    for name in (*left, *others):
        folder.open(name, write=True, create=True).close()
    Store(folder, read_only=True, index=index)
    assert set(left) < set(folder.listing()), "a reader changes nothing"
    with folder.lock(1, names.MERGE):
        Store(folder, index=index)
    assert set(left) < set(folder.listing()), "they may belong to the one who is at it"
    Store(folder, index=index)
    assert set(folder.listing()) - {names.MERGE, names.FLUSH} == kept - {names.MERGE, names.FLUSH} | set(
        others
    )


# --- format versions ---


@pytest.mark.parametrize(
    ("name", "present", "version", "remedy"),
    [
        ("writelog", 3, 4, "newer.*open it with"),
        # 2 is read.
        ("writelog", 3, 1, "older.*mixkit db export"),
        ("db.seg", 1, 2, "newer.*open it with"),
        ("db.seg", 1, 0, "older.*mixkit db export"),
    ],
)
def test_other_versions(name: str, present: int, version: int, remedy: str) -> None:
    folder = FaultyFolder()
    store = Store(folder, index=index)
    fill(store, 0, 3)
    store.flush()
    data = bytearray(folder.files()[name])
    data[6] = version
    data[8:12] = struct.pack("<I", crc32c(bytes(data[:8])))
    files = {**folder.files(), name: bytes(data)}
    for read_only in (False, True):
        with pytest.raises(FormatVersion, match=f"{name}.*version {present}.*version {version}.*{remedy}"):
            Store(FaultyFolder.of(files), index=index, read_only=read_only)
    for call in (lambda: list(check(FaultyFolder.of(files))), lambda: repair(FaultyFolder.of(files))):
        with pytest.raises(FormatVersion):
            call()


# --- full disks and other refusals ---


def work(folder: FaultyFolder) -> list[bytes]:
    """Everything that a store does; the records whose commit returned. Goes on after each error."""
    done: list[bytes] = []
    store: Store | None = None

    def step(call: Callable[[Store], object]) -> None:
        nonlocal store
        try:
            store = store or Store(folder, index=index)
            call(store)
        except FilesError as error:
            assert "as the test wants" in str(error) or "in doubt" in str(error), error
            if folder.error in (errno.ENOSPC, errno.EMFILE):
                assert "free some space" in str(error) or "too many open files" in str(error), error

    def save(name: bytes) -> None:
        def call(store: Store) -> None:
            store.commit(lambda draft: [name])
            done.append(name)

        step(call)

    for number in range(3):
        save(b"a%d" % number)
        save(b"b%d" % number)
        step(lambda store: store.flush())
    step(
        lambda store: (
            store.merge(store.view.segments[:2] or 1 / 0, lambda: merged(store))
            if store.view.segments
            else None
        )
    )
    save(b"c")
    step(
        lambda store: store.compact(
            lambda view: Plan(lambda view, start: map(view.read, range(start, view.rows)))
        )
    )
    save(b"d")
    return done


def merged(store: Store) -> Iterator[bytes]:
    return index(0, map(store.read, range(store.view.segments[:2][-1].stop)))


def steps_of_work() -> tuple[int, int]:
    folder = FaultyFolder()
    assert len(work(folder)) == 8
    return len(folder.steps), folder.opened


STEPS, OPENED = steps_of_work()


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EMFILE, errno.EIO])
def test_refusals_at_every_operation(error: int, lasting: bool) -> None:
    for fail in range(1, (OPENED if error == errno.EMFILE else STEPS) + 1):
        folder = FaultyFolder(fail=fail, error=error, lasting=lasting)
        done = work(folder)
        folder.fail = None
        store = Store(folder, index=index)
        found = contents(store.view)
        assert [record for record in found if record in done] == done, (fail, "nothing is lost")
        if error != errno.EIO and not lasting:
            assert found == done, (fail, "what was refused is not there")
        # All works again.
        store.commit(lambda draft: [b"after"])
        store.flush()
        store.compact(lambda view: Plan(lambda view, start: map(view.read, range(start, view.rows))))
        assert contents(Store(folder, index=index).view) == [*found, b"after"]
        assert list(check(folder)) == []


def test_the_same_store_goes_on_when_there_is_room_again() -> None:
    folder = FaultyFolder()
    store, reader = Store(folder, index=index), Store(folder, read_only=True, index=index)
    fill(store, 0, 2)
    folder.fail, folder.error, folder.lasting = len(folder.steps) + 1, errno.ENOSPC, True
    for call in (lambda: fill(store, 2, 3), store.flush, lambda: fill(store, 2, 3)):
        with pytest.raises(FilesError, match="free some space"):
            call()
        assert contents(store.refresh()) == contents(reader.refresh()) == numbers(2)
    folder.fail = None
    fill(store, 2, 4)
    store.flush()
    assert contents(reader.refresh()) == contents(store.view) == numbers(4)


def test_a_folder_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a read-only file system answers; permissions mean nothing to a test that runs as root."""
    store = Store(DiskFolder(tmp_path), index=index)
    fill(store, 0, 2)
    store.flush()
    fill(store, 2, 3)
    folder = DiskFolder(tmp_path)
    import os

    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & (os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", path)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FilesError, match=r"LOCK: Read-only file system.*read-only, or elsewhere"):
        Store(folder, index=index)
    assert contents(Store(folder, read_only=True, index=index).view) == numbers(3)
