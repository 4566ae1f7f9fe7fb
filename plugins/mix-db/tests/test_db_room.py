"""The room behind the commits of a write log: zeros, in which the next commits are written."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_db import _files
from mix_db.files import layer, write_log
from mix_db.files.check import check
from mix_db.files.errors import DamagedFile
from mix_db.files.faults import FaultyFolder
from mix_db.files.guard import GuardedFolder
from mix_db.files.layer import DiskFolder, identity_python
from mix_db.files.repair import repair
from mix_db.files.rows import Extent
from mix_db.files.store import Store
from mix_db.files.write_log import Commit, Header, WriteLog


def save(store: Store, *records: bytes) -> None:
    store.commit(lambda draft: records)


def contents(store: Store) -> list[bytes]:
    store.refresh()
    return [store.read(row) for row in range(store.rows)]


def end_of(folder: FaultyFolder) -> int:
    data, start = folder.files()["writelog"], write_log.HEADER_SIZE
    return write_log.scan(Header.unpack(data), data[start:], start, None).end


def lived() -> tuple[FaultyFolder, list[bytes]]:
    folder = FaultyFolder()
    store = Store(folder)
    save(store, b"flushed")
    store.flush()
    for number in range(3):
        save(store, b"record %d" % number, b"\0")
    return folder, contents(store)


def without_witness(folder: FaultyFolder, log: bytes) -> FaultyFolder:
    files = {name: data for name, data in folder.files().items() if name != "WITNESS"}
    return FaultyFolder.of({**files, "writelog": log})


# --- what it is for ---


def test_the_file_grows_once_for_many_commits(tmp_path: Path) -> None:
    store = Store(DiskFolder(tmp_path))
    sizes = set()
    for number in range(600):
        save(store, b"record %d" % number)
        sizes.add((tmp_path / "writelog").stat().st_size)
    assert len(sizes) < 10
    assert max(sizes) <= store.view.end + 2 * write_log._MOST_ROOM
    assert all(size % 4096 == 0 for size in sizes)
    assert contents(Store(DiskFolder(tmp_path), read_only=True)) == contents(store)
    assert list(check(DiskFolder(tmp_path))) == []


def test_a_large_commit_makes_no_room() -> None:
    folder = FaultyFolder()
    store = Store(folder)
    save(store, b"x" * 100_000)
    assert len(folder.files()["writelog"]) == store.view.end
    save(store, b"small")
    assert len(folder.files()["writelog"]) > store.view.end


def test_a_disk_without_space_for_it_takes_commits_all_the_same() -> None:
    folder = FaultyFolder()
    store = Store(folder)
    # The second write of the commit, which is the room.
    folder.fail, folder.error = len(folder.steps) + 2, errno.ENOSPC
    save(store, b"1")
    assert folder.steps[folder.fail - 1] == "write"
    folder.fail = None
    save(store, b"2")
    assert contents(store) == contents(Store(folder.restarted(random.Random(1)))) == [b"1", b"2"]


def test_looking_leaves_no_trace_in_the_inode(tmp_path: Path) -> None:
    """Otherwise the next sync writes it as well."""
    store, reader = Store(DiskFolder(tmp_path)), Store(DiskFolder(tmp_path), read_only=True)
    save(store, b"1")
    before = (tmp_path / "writelog").stat().st_atime_ns
    for number in range(20):
        save(store, b"%d" % number)
        contents(reader)
    assert (tmp_path / "writelog").stat().st_atime_ns == before


def test_the_files_of_another_user_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses to leave the times of these alone."""
    save(Store(DiskFolder(tmp_path)), b"1")
    real = layer.os.open

    def refuse(path: str, flags: int, *args: object, **options: object) -> int:
        if flags & layer._NOATIME:
            raise PermissionError(errno.EPERM, "not the owner, as the test wants it")
        return real(path, flags, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(layer.os, "open", refuse)
    assert contents(Store(DiskFolder(tmp_path), read_only=True)) == [b"1"]


def test_who_has_a_name_is_asked_the_same_in_both_twins(tmp_path: Path) -> None:
    assert layer._identity is _files.identity
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("nowhere")
    folder = layer.os.open(tmp_path, layer.os.O_RDONLY)
    try:
        for name in ("file", "link", "none"):
            assert _files.identity(folder, name) == identity_python(folder, name)
        assert _files.identity(folder, "none") is None
        found = (tmp_path / "file").stat()
        assert _files.identity(folder, "file") == (found.st_dev, found.st_ino)
        for identity in (_files.identity, identity_python):
            with pytest.raises(NotADirectoryError):
                identity(folder, "file/inside")
            with pytest.raises(ValueError, match="null"):
                identity(folder, "a\0b")
    finally:
        layer.os.close(folder)
    with pytest.raises(OSError, match="descriptor"):
        _files.identity(-1, "file")
    with pytest.raises(TypeError):
        _files.identity("file")  # type: ignore[call-arg,arg-type]


# --- what is in it ---


def test_any_number_of_zeros_means_nothing() -> None:
    folder, records = lived()
    log, end = folder.files()["writelog"], end_of(folder)
    assert len(log) > end
    for size in [*range(end, end + 70), len(log) - 1, len(log), len(log) + 5000]:
        found = FaultyFolder.of({**folder.files(), "writelog": log.ljust(size, b"\0")[:size]})
        assert list(check(found)) == []
        assert repair(found).aside == ()
        assert contents(Store(found, read_only=True)) == records
        store = Store(found)
        assert "truncate" not in found.steps, "nothing is removed"
        save(store, b"after")
        assert contents(Store(found.restarted(random.Random(size)))) == [*records, b"after"]


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=80), st.integers(1, 60))
def test_anything_else_in_it_is_removed_and_never_believed(place: int, garbage: bytes, size: int) -> None:
    folder, records = lived()
    log, end = bytearray(folder.files()["writelog"]), end_of(folder)
    log[end + place : end + place + len(garbage)] = garbage
    found = FaultyFolder.of({**folder.files(), "writelog": bytes(log)})
    findings = list(check(found))
    assert len(findings) == bool(garbage.strip(b"\0"))
    assert not any(finding.lost for finding in findings)
    reader = Store(FaultyFolder.of(found.files()), read_only=True)
    assert contents(reader) == records
    store = Store(found)
    assert contents(store) == records
    assert list(check(found)) == []
    save(store, b"x" * size)
    save(store, b"y")
    assert contents(Store(found.restarted(random.Random(size)))) == [*records, b"x" * size, b"y"]


@pytest.mark.parametrize("kept", [1, 3, 4, 5, 36, 40, -1])
def test_a_process_that_was_killed_as_it_wrote_into_it(kept: int) -> None:
    """Another one, which has the log open, finds what is left of the commit and goes on."""
    folder, records = lived()
    other = Store(FaultyFolder.of(folder.files()))
    save(other, b"killed as it was written")
    frame = other.folder.files()["writelog"][end_of(folder) : end_of(other.folder)]  # type: ignore[attr-defined]
    living, reader = Store(GuardedFolder(folder)), Store(folder, read_only=True)
    folder.open("writelog", write=True).write(end_of(folder), frame[:kept])
    assert contents(reader) == records
    save(living, b"shorter")
    assert contents(living) == contents(reader) == [*records, b"shorter"]
    assert contents(Store(folder.restarted(random.Random(kept)))) == [*records, b"shorter"]
    assert list(check(folder)) == []


@pytest.mark.parametrize("size", range(1, 12))
def test_a_later_commit_of_a_torn_group_does_not_come_back(size: int) -> None:
    """The power goes as two are written at once, the second alone is kept; then one of the size of the first is."""
    folder, records = lived()
    log, start = bytearray(folder.files()["writelog"]), end_of(folder)
    mark, number = Header.unpack(bytes(log)).mark, 5
    first, second = (
        write_log._frame(mark, number + place, start, 0, write_log._body([record], 0)[0])
        for place, record in enumerate((b"first", b"second"))
    )
    log[start + len(first) : start + len(first + second)] = second
    found = without_witness(folder, bytes(log))
    store = Store(found)
    assert contents(store) == records
    save(store, b"x" * size)
    assert contents(Store(found.restarted(random.Random(size)))) == [*records, b"x" * size]


def test_a_commit_that_has_become_zeros_is_missed() -> None:
    """To the log it looks like room; the witness, and every later commit, knows better."""
    folder, _ = lived()
    store = Store(folder)
    start = store.view.end
    save(store, b"acknowledged")
    log, end = bytearray(folder.files()["writelog"]), end_of(folder)
    log[start:end] = bytes(end - start)
    files = folder.files()
    with pytest.raises(DamagedFile, match="were acknowledged"):
        Store(FaultyFolder.of({**files, "writelog": bytes(log)}))
    assert [finding.lost for finding in check(FaultyFolder.of({**files, "writelog": bytes(log)}))] == [True]
    save(store, b"later")
    log = bytearray(folder.files()["writelog"])
    log[start:end] = bytes(end - start)
    with pytest.raises(DamagedFile, match="not intact") as caught:
        Store(without_witness(folder, bytes(log)))
    assert caught.value.offset == start


# --- who looks ---


def test_who_has_it_open_sees_every_commit_though_its_size_stays(tmp_path: Path) -> None:
    writer, other = Store(DiskFolder(tmp_path)), Store(DiskFolder(tmp_path))
    reader = Store(DiskFolder(tmp_path), read_only=True)
    expected = []
    for number in range(60):
        expected.append(b"%d" % number)
        save((writer, other)[number % 3 == 2], expected[-1])
        assert contents(reader) == contents(other) == contents(writer) == expected
        if number % 25 == 24:
            writer.flush()


def test_commits_that_are_written_while_a_reader_is_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads ahead: what was there before a commit was written, and behind that commits that follow its sync."""
    folder = FaultyFolder()
    store = Store(folder)
    save(store, b"0")
    reader = Store(folder, read_only=True)
    ends = [store.view.end]
    for number in range(1, 9):
        save(store, b"%d" % number)
        ends.append(store.view.end)
    file = reader.view.log._file
    real, looks = file.read, []

    def read(offset: int, size: int) -> bytes:
        data = bytearray(real(offset, size))
        if size > 4:
            # Each time one that was not there yet, further on each time.
            looks.append(offset)
            late = 2 * len(looks) - 2
            if late + 1 < len(ends):
                data[ends[late] - offset : ends[late + 1] - offset] = bytes(ends[late + 1] - ends[late])
        return bytes(data)

    monkeypatch.setattr(file, "read", read)
    assert contents(reader) == [b"%d" % number for number in range(9)]
    assert len(looks) == 5


def test_a_log_that_another_thread_closes_meanwhile() -> None:
    """Its descriptor, and what is unique of it only while it is open, may be another file's as they are looked at."""
    folder = FaultyFolder()
    store = Store(folder)
    save(store, b"1")
    real, old = folder.identity, folder.identity("writelog")

    def late(name: str) -> layer.Identity | None:
        folder.identity = real  # type: ignore[method-assign]
        store.flush()
        save(store, b"2")
        assert real(name) != old
        return old

    folder.identity = late  # type: ignore[method-assign]
    assert store.refresh().rows == 2


# --- versions ---


def of_version(version: int) -> FaultyFolder:
    folder = FaultyFolder()
    WriteLog.create(folder, Header(b"MARK", Extent(), 0, version=version), [Commit(1, 0, (b"old",))])
    return folder


def test_a_log_of_version_2_is_read_and_gets_no_room() -> None:
    """A process that knows only this version looks at its size."""
    folder = of_version(2)
    store = Store(GuardedFolder(folder))
    for number in range(3):
        save(store, b"%d" % number)
        assert len(folder.files()["writelog"]) == store.view.end
    assert contents(Store(folder, read_only=True)) == [b"old", b"0", b"1", b"2"]
    assert folder.files()["writelog"][6] == 2
    store.flush()
    assert folder.files()["writelog"][6] == 3
    save(store, b"new")
    assert contents(Store(folder.restarted(random.Random(1)))) == [b"old", b"0", b"1", b"2", b"new"]


# --- all of it at random ---


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400)), min_size=1, max_size=25),
    st.integers(1, 120),
    st.integers(0, 2**32),
)
def test_any_sizes_any_cut(plan: list[tuple[int, int]], cut: int, seed: int) -> None:
    """Several processes commit in turn, with little room, until the power goes."""
    folder = FaultyFolder(cut=cut)
    done: list[bytes] = []
    begun = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_log, "_LEAST_ROOM", 128)
        patch.setattr(write_log, "_MOST_ROOM", 512)
        try:
            stores = [Store(GuardedFolder(folder)) for _ in range(3)]
            for number, (who, size) in enumerate(plan):
                begun = b"%d" % number + b"\0" * size
                save(stores[who], begun)
                done.append(begun)
        except BaseException:
            assert not folder.on
        found = folder.restarted(random.Random(seed))
        rows = contents(Store(found))
        assert rows in (done, [*done, begun])
        assert list(check(found)) == []
