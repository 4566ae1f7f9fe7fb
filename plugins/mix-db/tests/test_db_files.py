"""The files byte by byte: what is written, and that no damage goes unseen."""

from __future__ import annotations

import os
import stat
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_db import _files
from mix_db.files import layer, rows, varcode, write_log
from mix_db.files.check import check
from mix_db.files.errors import DamagedFile, FilesError, LockTimeout
from mix_db.files.faults import FaultyFolder
from mix_db.files.layer import DiskFolder
from mix_db.files.rows import Extent, RowReader
from mix_db.files.store import Store

from mixkit.testing.descriptors import descriptors

RECORDS = [b"one", b"", b"x" * 130, b"four"]
LOGGED = [(b"five", b"six"), (), (b"seven",)]


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> DiskFolder | FaultyFolder:
    return DiskFolder(tmp_path) if request.param == "disk" else FaultyFolder()


def small() -> dict[str, bytes]:
    folder = FaultyFolder()
    store = Store(folder)
    store.commit(lambda draft: RECORDS)
    store.flush()
    for group in LOGGED:
        store.commit(lambda draft, group=group: group)  # type: ignore[misc]
    # Of the log what counts; `test_db_room` is about the rest.
    return {name: data for name, data in folder.files().items() if data} | {"writelog": used(folder)}


def used(folder: FaultyFolder) -> bytes:
    """The write log without the room for commits to come."""
    data, start = folder.files()["writelog"], write_log.HEADER_SIZE
    return data[: write_log.scan(write_log.Header.unpack(data), data[start:], start, None).end]


SMALL = small()
# A witness that is not whole means nothing.
FILES = sorted(SMALL.keys() - {"WITNESS"})
ALL = RECORDS + [record for group in LOGGED for record in group]


# --- varcodes and checksums ---


@pytest.mark.parametrize(
    ("number", "data"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**64 - 1, "ff" * 9 + "01")]
)
def test_varcode_examples(number: int, data: str) -> None:
    assert varcode.write(number) == bytes.fromhex(data)
    assert varcode.read(b"zz" + bytes.fromhex(data) + b"z", 2) == (number, 2 + len(data) // 2)


@given(st.integers(0, 2**64 - 1))
def test_varcode_round_trip(number: int) -> None:
    data = varcode.write(number)
    assert varcode.read(data) == (number, len(data))


@pytest.mark.parametrize("data", ["", "80", "ff" * 9, "8000", "ff00", "ff" * 9 + "02", "80" * 10 + "01"])
def test_varcodes_that_are_none(data: str) -> None:
    with pytest.raises(ValueError, match="varcode"):
        varcode.read(bytes.fromhex(data))


@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_that_no_varcode_holds(number: int) -> None:
    with pytest.raises(ValueError, match="found"):
        varcode.write(number)


@pytest.mark.parametrize(
    ("data", "value"),
    # RFC 3720, B.4; and the check value of the CRC catalogue.
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_crc32c_examples(data: bytes, value: int) -> None:
    assert crc32c(data) == value


@given(st.binary(max_size=60), st.integers(0, 60))
def test_crc32c_bit_by_bit_and_in_parts(data: bytes, cut: int) -> None:
    slow = 0xFFFFFFFF
    for byte in data:
        slow ^= byte
        for _ in range(8):
            slow = slow >> 1 ^ (0x82F63B78 if slow & 1 else 0)
    assert crc32c(data) == slow ^ 0xFFFFFFFF
    assert crc32c(memoryview(data)[cut:], crc32c(data[:cut])) == crc32c(data)


# --- the layout ---


def test_the_row_files_byte_by_byte() -> None:
    folder = FaultyFolder()
    first, second = b"\x03abc", b"\xc8\x01" + b"d" * 200
    extent = Extent(2, 206, sum=crc32c(first) + crc32c(second))
    assert rows.append(folder, Extent(), [b"abc", b"d" * 200]) == extent
    assert folder.files() == {
        "db.dat": first + second,
        "db.off": b"MXO1" + struct.pack("<2Q", 0, 4),
        "db.sum": struct.pack("<2I", crc32c(first), crc32c(second)),
    }


def test_the_log_byte_by_byte() -> None:
    folder = FaultyFolder()
    store = Store(folder)
    store.commit(lambda draft: [b"abc", b""])
    store.commit(lambda draft: [])
    log = folder.files()["writelog"]
    mark = log[12:16]
    assert 0 not in mark
    head = (
        b"MXWLOG\3\0"
        + struct.pack("<I", crc32c(b"MXWLOG\3\0"))
        + mark
        + struct.pack("<IQQQQQQQ", 0, 0, 0, 0, 0, 0, 0, 0)
    )
    body = b"\x03abc\x00"
    total = crc32c(body[:4]) + crc32c(body[4:])
    first, second = (
        mark + struct.pack("<IQQQ", 5, 1, 80, total),
        mark + struct.pack("<IQQQ", 0, 2, 121, total),
    )
    expected = head + struct.pack("<I", crc32c(head))
    expected += (
        first + struct.pack("<I", crc32c(first + body)) + body + second + struct.pack("<I", crc32c(second))
    )
    assert log == expected + bytes(4096 - len(expected)), "and room"
    witness = (
        b"MXWITN\1\0" + struct.pack("<I", crc32c(b"MXWITN\1\0")) + struct.pack("<IQQQQ", 0, 2, 2, 0, total)
    )
    assert folder.files()["WITNESS"] == witness + struct.pack("<I", crc32c(witness))


def test_rows_in_log_and_files_read_the_same(folder: DiskFolder | FaultyFolder) -> None:
    store = Store(folder)
    seen = []

    def build(draft):  # type: ignore[no-untyped-def]
        seen.append((draft.number, draft.row, list(draft.unsynced)))
        return RECORDS

    commit = store.commit(build)
    assert (commit.number, commit.row, commit.records) == (1, 0, tuple(RECORDS))
    assert list(store.commits()) == [commit]
    handed: list[object] = []

    def make(commits: object) -> list[bytes]:
        handed.append(commits)
        return [b"segment"]

    assert store.flush(make) == len(RECORDS)
    assert handed == [[commit]]
    assert store.flush() == 0
    assert store.commit(build).row == len(RECORDS)
    assert seen == [(1, 0, []), (2, len(RECORDS), [])]
    for each in (store, Store(folder), Store(folder, read_only=True)):
        assert [each.read(row) for row in range(each.rows)] == RECORDS * 2
        assert each.last == 2
        for row in (-1, 2 * len(RECORDS)):
            with pytest.raises(IndexError):
                each.read(row)
    assert list(check(folder)) == []


def test_other_stores_on_the_folder_follow(folder: DiskFolder | FaultyFolder) -> None:
    one, two, reader = Store(folder), Store(folder), Store(folder, read_only=True)
    for number in range(6):
        writer = (one, two)[number % 2]
        assert writer.commit(lambda draft, number=number: [b"%d" % number]).row == number  # type: ignore[misc]
        if number % 3 == 2:
            assert writer.flush() == 3
        reader.refresh()
        assert [reader.read(row) for row in range(reader.rows)] == [b"%d" % n for n in range(number + 1)]
    one.refresh()
    assert one.rows == 6


def test_what_is_refused(folder: DiskFolder | FaultyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        Store(folder, read_only=True)
    store = Store(folder, timeout=0.01)
    reader = Store(folder, read_only=True)
    for call in (lambda: reader.commit(lambda draft: []), reader.flush):
        with pytest.raises(FilesError, match="read-only"):
            call()
    with pytest.raises(ZeroDivisionError):
        store.commit(lambda draft: [bytes(1 // 0)])
    monkeypatch.setattr(write_log, "MAX_COMMIT", 10)
    with pytest.raises(FilesError, match="at most 10 bytes"):
        store.commit(lambda draft: [b"123456789", b""])
    with folder.lock(1), pytest.raises(LockTimeout, match=r"0\.01 s"):
        store.commit(lambda draft: [b""])
    assert store.rows == 0
    assert store.commit(lambda draft: [b"12345678", b""]).number == 1


def test_a_failing_segment_leaves_the_log_in_force(folder: DiskFolder | FaultyFolder) -> None:
    store = Store(folder)
    store.commit(lambda draft: RECORDS)

    def fail(commits: object) -> None:
        raise RuntimeError("no index")

    with pytest.raises(RuntimeError):
        store.flush(fail)
    assert [store.read(row) for row in range(store.rows)] == RECORDS
    assert store.flush() == len(RECORDS)
    assert [store.read(row) for row in range(store.rows)] == RECORDS


# --- damage ---


def harmed(name: str, data: bytes) -> FaultyFolder:
    return FaultyFolder.of({**SMALL, name: data})


def readable(folder: FaultyFolder) -> bool:
    """Whether all opens and reads. What can be read must be right in any case."""
    try:
        store = Store(folder)
    except DamagedFile:
        return False
    whole = True
    for row in range(store.rows):
        try:
            assert store.read(row) == ALL[row], "a wrong record"
        except DamagedFile:
            whole = False
    return whole and store.rows == len(ALL)


@pytest.mark.parametrize("name", FILES)
def test_every_byte_flipped(name: str) -> None:
    for offset in range(len(SMALL[name])):
        for flip in (0x01, 0x80, 0xFF, SMALL[name][offset]):
            data = bytearray(SMALL[name])
            data[offset] ^= flip
            if data == SMALL[name]:
                continue
            folder = harmed(name, bytes(data))
            places = [place for finding in check(folder) for place in finding.places]
            assert any(
                place.file == name and place.offset <= offset < place.offset + place.size for place in places
            ), (offset, flip, places)
            assert not readable(folder), (offset, flip)


def test_a_flip_is_found_where_it_is_and_nowhere_else() -> None:
    """One byte of a row harms that row alone; of the offsets, none that check would call lost."""
    for name, count in (("db.dat", 1), ("db.off", 1), ("db.sum", 1)):
        for offset in range(len(SMALL[name])):
            data = bytearray(SMALL[name])
            data[offset] ^= 0x40
            assert len(list(check(harmed(name, bytes(data))))) == count, (name, offset)


def frame_ends() -> set[int]:
    header = write_log.Header.unpack(SMALL["writelog"])
    start = write_log.HEADER_SIZE
    ends = {start}
    for size in range(start, len(SMALL["writelog"]) + 1):
        ends.add(write_log.scan(header, SMALL["writelog"][start:size], start, None).end)
    return ends


@pytest.mark.parametrize("name", FILES)
def test_every_truncation(name: str) -> None:
    ends = frame_ends()
    assert len(ends) == len(LOGGED) + 1
    for size in range(len(SMALL[name])):
        folder = harmed(name, SMALL[name][:size])
        assert not readable(FaultyFolder.of(folder.files())), size
        places = [place for finding in check(folder) for place in finding.places]
        assert any(p.file == name and p.offset <= size <= p.offset + p.size for p in places), (size, places)
        if name == "writelog" and size in ends:
            # Where a power cut took the witness, nothing that is left tells that there was more.
            folder.remove("WITNESS")
            assert list(check(folder)) == []


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(name: str) -> None:
    folder = FaultyFolder.of({other: data for other, data in SMALL.items() if other != name})
    assert name in {place.file for finding in check(folder) for place in finding.places}
    with pytest.raises(DamagedFile) as caught:
        Store(folder)
    assert caught.value.file == name


@given(st.sampled_from(sorted(SMALL)), st.integers(0, 400), st.binary(min_size=1, max_size=40))
def test_no_overwriting_yields_a_wrong_record(name: str, offset: int, garbage: bytes) -> None:
    data = bytearray(SMALL[name])
    data[offset : offset + len(garbage)] = garbage
    folder = harmed(name, bytes(data))
    findings = list(check(FaultyFolder.of(folder.files())))
    whole = readable(folder)
    assert whole or findings


def test_check_finds_its_way_again() -> None:
    """A row and the offset of the next are both spoiled; the rows behind them are not called damaged."""
    data, offsets = bytearray(SMALL["db.dat"]), bytearray(SMALL["db.off"])
    data[1] ^= 1
    offsets[12:20] = b"\xff" * 8
    findings = list(check(FaultyFolder.of({**SMALL, "db.dat": bytes(data), "db.off": bytes(offsets)})))
    assert not any("row 2" in str(finding) or "row 3" in str(finding) for finding in findings)
    assert {place.file for finding in findings for place in finding.places} == {"db.dat", "db.off", "db.sum"}


def test_damage_in_the_middle_is_no_torn_tail() -> None:
    """The last commit may have been cut off by a crash; one with another behind it was acknowledged."""
    *_, first, second, last, _end = sorted({*frame_ends(), len(SMALL["writelog"])} | {-1})[-5:]
    assert first == write_log.HEADER_SIZE
    for start, end in ((first, second), (second, last)):
        data = bytearray(SMALL["writelog"])
        data[end - 1] ^= 1
        for read_only in (False, True):
            with pytest.raises(DamagedFile) as caught:
                Store(harmed("writelog", bytes(data)), read_only=read_only)
        assert (caught.value.file, caught.value.offset) == ("writelog", start)
    data = bytearray(SMALL["writelog"])
    data[-1] ^= 1
    folder = harmed("writelog", bytes(data))
    with pytest.raises(DamagedFile, match="were acknowledged"):
        Store(folder)
    assert folder.files()["writelog"] == bytes(data), "nothing is changed"
    folder.remove("WITNESS")
    store = Store(folder)
    assert store.rows == len(ALL) - 1
    assert used(folder) == SMALL["writelog"][:last]


def test_a_frame_is_not_read_twice() -> None:
    """A block of the log that turns up again behind its end is whole, and is no new commit."""
    log = SMALL["writelog"]
    store = Store(harmed("writelog", log + log[write_log.HEADER_SIZE :]))
    assert [store.read(row) for row in range(store.rows)] == ALL


def test_a_record_cannot_pretend_to_be_a_frame() -> None:
    """A client stores the bytes of a later commit; a crash tears the frame around them."""
    folder = FaultyFolder()
    store = Store(folder)
    mark = folder.files()["writelog"][12:16]
    other = bytes(b ^ 1 for b in mark)
    body = varcode.write(6) + b"forged"
    store.commit(lambda draft: [write_log._frame(other, n, 1000, 0, body) for n in range(1, 9)])
    files = folder.files()
    torn = bytearray(files["writelog"])
    torn[write_log.HEADER_SIZE + 20] ^= 1
    again = Store(FaultyFolder.of({"writelog": bytes(torn)}))
    assert again.rows == 0


def test_rows_point_outside() -> None:
    """An attacker's db.off and varcodes make nothing but an error, however large they are."""
    for value in (2**64 - 1, 2**63, len(SMALL["db.dat"]), 3):
        offsets = bytearray(SMALL["db.off"])
        offsets[12:20] = struct.pack("<Q", value)
        reader = RowReader(harmed("db.off", bytes(offsets)), Extent(len(RECORDS), len(SMALL["db.dat"])))
        with pytest.raises(DamagedFile):
            reader.read(1)
    data = varcode.write(2**63) + SMALL["db.dat"][9:]
    reader = RowReader(
        harmed("db.dat", data.ljust(len(SMALL["db.dat"]), b"\0")), Extent(len(RECORDS), len(SMALL["db.dat"]))
    )
    with pytest.raises(DamagedFile, match="do not follow"):
        reader.read(0)


# --- the disk ---


def test_files_are_private_and_links_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "db"
    store = Store(DiskFolder(path, create=True))
    store.commit(lambda draft: [b"1"])
    store.flush()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for name in ("writelog", "db.dat", "db.off", "db.sum", "LOCK"):
        assert stat.S_IMODE((path / name).stat().st_mode) & 0o077 == 0, name
    store.close()
    secret = tmp_path / "secret"
    secret.write_bytes(b"kept")
    (path / "LOCK").unlink()
    (path / "LOCK").symlink_to(secret)
    with pytest.raises(FilesError, match=r"LOCK.*symbolic link"):
        Store(DiskFolder(path))
    assert secret.read_bytes() == b"kept"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_names_are_plain(tmp_path: Path, name: str) -> None:
    folder = DiskFolder(tmp_path)
    for call in (lambda: folder.open(name), lambda: folder.exists(name), lambda: folder.rename("x", name)):
        with pytest.raises(FilesError, match="plain file name"):
            call()


def test_a_reader_keeps_its_files_while_they_are_replaced(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path)
    store = Store(folder)
    store.commit(lambda draft: RECORDS)
    store.flush()
    view = store._view
    for number in range(3):
        store.commit(lambda draft, number=number: [b"%d" % number])  # type: ignore[misc]
        store.flush()
    assert [view.reader.read(row) for row in range(len(RECORDS))] == RECORDS


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    for _ in range(3):
        store = Store(DiskFolder(tmp_path))
        store.commit(lambda draft: RECORDS)
        store.flush()
        store.commit(lambda draft: RECORDS)
        list(check(store.folder))
        assert descriptors(str(tmp_path))
        store.close()
        del store
    assert not descriptors(str(tmp_path))


# --- many rows at once ---


def test_the_extension_is_taken() -> None:
    assert rows._rows is _files.rows
    assert rows.lay is _files.lay


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([b"", b"m" * 127, b"n" * 128, b"o" * 20_000]), max_size=8
    ).map(tuple),
    st.integers(0, 2**40),
)
def test_twins_lay_the_same_rows(records: tuple[bytes, ...], at: int) -> None:
    found = _files.lay(records, at)
    assert found == rows.lay_python(records, at)
    data, offsets, sums, total = found
    starts = memoryview(offsets).cast("Q").tolist()
    pieces = [data[start - at : end - at] for start, end in pairwise([*starts, at + len(data)])]
    assert [varcode.write(len(record)) + record for record in records] == pieces
    assert memoryview(sums).cast("I").tolist() == list(map(crc32c, pieces))
    assert total == sum(map(crc32c, pieces))


def test_the_twin_in_c_lays_nothing_else() -> None:
    for arguments in ((), ([b""], 0), ((b"", "text"), 0), ((b"",), "0"), ((b"",), None)):
        with pytest.raises(TypeError):
            _files.lay(*arguments)  # type: ignore[call-arg,arg-type]
    with pytest.raises(OverflowError):
        _files.lay((), -1)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([b"", b"m" * 127, b"n" * 128, b"o" * 20_000]), max_size=8
    ),
    st.lists(st.integers(-2, 9), max_size=12),
    st.integers(0, 3),
    st.integers(-1, 300) | st.just(2**40),
    st.tuples(st.sampled_from(["data", "offsets", "sums"]), st.integers(0, 70), st.integers(0, 255)),
)
def test_twins_read_the_same_rows(
    records: list[bytes], wanted: list[int], at: int, most: int, harm: tuple[str, int, int]
) -> None:
    folder = FaultyFolder()
    extent = rows.append(folder, Extent(), records)
    reader = RowReader(folder, extent)
    parts = {"data": bytes(reader._data), "offsets": bytes(reader._offsets), "sums": bytes(reader._sums)}
    name, place, value = harm
    spoiled = bytearray(parts[name])
    if place < len(spoiled):
        spoiled[place] = value
    parts[name] = bytes(spoiled)
    given = parts["data"], memoryview(parts["offsets"]).cast("Q"), memoryview(parts["sums"]).cast("I"), wanted
    found = _files.rows(*given, at, most)
    assert found == rows.rows_python(*given, at, most)
    for row, record in zip(wanted[at:], found, strict=False):
        assert parts["data"] != bytes(reader._data) or record == records[row]


def test_the_twin_in_c_refuses_what_it_cannot_read() -> None:
    empty = memoryview(b"").cast("Q"), memoryview(b"").cast("I")
    assert _files.rows(b"", *empty, [0, 2**70, -1], 0, 100) == []
    for arguments in (
        (b"",),
        (b"", *empty, (0,), 0, 1),
        (b"", *empty, ["0"], 0, 1),
        (None, *empty, [], 0, 1),
    ):
        with pytest.raises(TypeError):
            _files.rows(*arguments)  # type: ignore[call-arg,arg-type]
    with pytest.raises(ValueError, match="place"):
        _files.rows(b"", *empty, [], -1, 1)


def test_rows_are_read_up_to_so_many_bytes() -> None:
    folder = FaultyFolder()
    store = Store(folder)
    store.commit(lambda draft: [b"x" * 100] * 6)
    for _ in range(2):
        assert len(store.view.read_many(range(6))) == 6
        assert len(store.view.read_many(range(6), 250)) == 3
        assert len(store.view.read_many(range(6), 1)) == 1
        assert store.view.read_many([], 1) == []
        store.flush()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_of_two_who_close_it_at_once_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    folder = DiskFolder(tmp_path)
    closing = folder.open("a", write=True, create=True) if what == "file" else folder
    closed: list[int] = []

    def close(descriptor: int) -> None:
        closed.append(descriptor)
        # As another thread, while the system closes it for this one.
        closing.close()

    with monkeypatch.context() as patch:
        patch.setattr(layer.os, "close", close)
        closing.close()
    assert len(closed) == 1
    os.close(closed[0])
    folder.close()
