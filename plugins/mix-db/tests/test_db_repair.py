"""Damage anywhere: nothing wrong is read in silence, the file is named, and repair saves the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from crc32c import crc32c
from mix_db.files import rows, write_log
from mix_db.files.check import check
from mix_db.files.errors import DamagedFile, FilesError, LockTimeout
from mix_db.files.faults import FaultyFolder
from mix_db.files.layer import DiskFolder
from mix_db.files.repair import Report, repair
from mix_db.files.store import Store


def index(start: int, records: Iterable[bytes]) -> Iterator[bytes]:
    yield b"%d:" % start
    for record in records:
        yield b"%d," % crc32c(record)


def commit_of(record: bytes) -> int:
    return int(record.split(b":")[0])


# Records say of which commit they are.
COMMITS: list[tuple[bytes, ...]] = [
    (b"1:a", b"1:" + b"b" * 140, b"1:c"),
    (b"2:d",),
    (b"3:e", b"3:f"),
    (),
    (b"5:g",),
    (b"6:h", b"6:i"),
]
FLUSHED = 3
ALL = [record for commit in COMMITS for record in commit]


def small() -> dict[str, bytes]:
    folder = FaultyFolder()
    store = Store(folder, index=index)
    for number, records in enumerate(COMMITS):
        assert store.commit(lambda draft, records=records: records).number == number + 1  # type: ignore[misc]
        if number in (1, FLUSHED - 1):
            store.flush()
    files = {name: data for name, data in folder.files().items() if data}
    # Of the log what counts: no number of zeros behind it makes a difference.
    log, start = files["writelog"], write_log.HEADER_SIZE
    found = write_log.scan(write_log.Header.unpack(log), log[start:], start, None)
    return files | {"writelog": log[: found.end]}


SMALL = small()
# A witness that is not whole means nothing.
FILES = sorted(SMALL.keys() - {"WITNESS"})


def within(part: list[bytes], whole: list[bytes]) -> bool:
    """Whether the parts are of the whole, in its order."""
    rest = iter(whole)
    return all(any(each == other for other in rest) for each in part)


def look(files: dict[str, bytes], name: str, *, cut: bool = False) -> None:
    """Open, read, check and repair with one file damaged."""
    found = list(check(FaultyFolder.of(files)))
    named = {place.file for finding in found for place in finding.places}
    assert name in named
    for read_only in (False, True):
        try:
            store = Store(FaultyFolder.of(files), index=index, read_only=read_only)
        except DamagedFile as error:
            assert error.file == name
            continue
        seen = []
        for row in range(store.rows):
            try:
                seen.append(store.read(row))
                assert seen[-1] == ALL[row], "a wrong record"
            except DamagedFile as error:
                # The checksum may be what is wrong; then its file is named beside the row.
                assert name in str(error)
        # What remains unseen: damage deep in a segment, in an offset that no read needs, behind the last commit.
        if name == "writelog":
            assert within(seen, ALL)
    folder = FaultyFolder.of(files)
    report = repair(folder, commit_of=commit_of, index=index)
    store = Store(folder, index=index)
    kept = [store.read(row) for row in range(store.rows)]
    assert within(kept, ALL)
    assert report.rows == len(kept)
    lost = len(ALL) - len(kept)
    if name.endswith((".seg", ".idx", ".off")):
        assert lost == 0
    elif name == "writelog":
        assert kept[:6] == ALL[:6]
        assert lost <= 3 if cut else lost <= 2
    elif not cut:
        assert lost <= 1
    assert bool(report.aside) == bool(found)
    assert list(check(folder)) == []
    for each in report.aside:
        assert folder.files()[each] == files[each.partition(".damaged-")[0]]
    # Nothing that was known by its number comes again.
    assert store.commit(lambda draft: [b"x"]).number > len(COMMITS)


@pytest.mark.parametrize("name", FILES)
def test_every_byte_flipped(name: str) -> None:
    for offset in range(len(SMALL[name])):
        for flip in (0x01, 0x80, 0xFF):
            data = bytearray(SMALL[name])
            data[offset] ^= flip
            look({**SMALL, name: bytes(data)}, name)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation(name: str) -> None:
    for size in range(len(SMALL[name])):
        look({**SMALL, name: SMALL[name][:size]}, name, cut=True)


def fixed(files: dict[str, bytes]) -> tuple[Report, list[bytes]]:
    folder = FaultyFolder.of(files)
    report = repair(folder, commit_of=commit_of, index=index)
    store = Store(folder, index=index)
    assert list(check(folder)) == []
    return report, [store.read(row) for row in range(store.rows)]


def test_nothing_to_repair() -> None:
    folder = FaultyFolder.of(SMALL)
    report = repair(folder, index=index)
    assert (report.rows, report.lost, report.findings, report.aside, report.last) == (len(ALL), 0, (), (), 6)
    assert folder.files() == SMALL


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(name: str) -> None:
    files = {other: data for other, data in SMALL.items() if other != name}
    report, kept = fixed(files)
    expected = {"writelog": ALL[:6], "db.dat": ALL[6:]}.get(name, ALL)
    if name == "db.sum":
        # Rows whose checksum is gone are saved where they begin and end as the offsets say.
        assert any(finding.places[0].file == name for finding in report.findings)
    assert kept == expected
    if not name.endswith((".idx", ".seg")):
        assert {each.partition(".damaged-")[0] for each in report.aside} == set(files) - {"WITNESS"}


def test_the_row_files_alone() -> None:
    files = {name: SMALL[name] for name in ("db.dat", "db.off", "db.sum")}
    with pytest.raises(DamagedFile, match="repair"):
        Store(FaultyFolder.of(files), index=index)
    report, kept = fixed(files)
    assert kept == ALL[:6]
    assert report.last >= 3


def test_a_flush_that_was_cut_off_and_a_log_without_header() -> None:
    """Rows that are both in the row files and in the log count once."""
    folder = FaultyFolder.of(SMALL)
    store = Store(folder, index=index)
    header = store.view.log.header
    rows.append(folder, header.extent, [r for commit in store.commits() for r in commit.records])
    files = folder.files()
    files["writelog"] = bytes(20) + files["writelog"][20:]
    assert fixed({name: data for name, data in files.items() if data})[1] == ALL


def test_what_salvage_is_told() -> None:
    data = bytearray(SMALL["db.dat"])
    data[1] ^= 1
    log = bytearray(SMALL["writelog"])
    log[log.index(b"5:g")] ^= 1
    folder = FaultyFolder.of({**SMALL, "db.dat": bytes(data), "writelog": bytes(log)})
    told: list[tuple[int | None, bytes]] = []

    def salvage(saved: Iterable[tuple[int | None, bytes]]) -> Iterator[bytes]:
        for number, record in saved:
            told.append((number, record))
            if record != b"2:d":
                yield record

    report = repair(folder, salvage=salvage, commit_of=commit_of, index=index)
    assert told == [*list(enumerate(ALL))[1:6], (None, b"6:h"), (None, b"6:i")]
    assert (report.rows, report.lost) == (6, 1)
    view = Store(folder, index=index).view
    assert view.horizon == view.last == report.last, "there is no looking back behind a loss"
    assert len(report.findings) == 2


def test_a_second_repair_keeps_what_the_first_one_kept() -> None:
    folder = FaultyFolder.of(SMALL)
    aside: list[str] = []
    for _ in range(3):
        name = next(name for name in folder.listing() if name.endswith(".dat"))
        file = folder.open(name, write=True)
        file.write(1, b"\xff")
        aside += repair(folder, index=index).aside
    assert len(aside) == len(set(aside))
    assert set(aside) < set(folder.listing())


def test_repair_on_a_disk_and_stores_that_are_open(tmp_path: Path) -> None:
    for name, data in SMALL.items():
        (tmp_path / name).write_bytes(data)
    folder = DiskFolder(tmp_path)
    store = Store(folder, index=index, timeout=0.01)
    reader = Store(folder, index=index, read_only=True)
    with (tmp_path / "db.dat").open("r+b") as file:
        file.write(b"\xff\xff")
    with store.writing(), pytest.raises(LockTimeout):
        repair(folder, index=index, timeout=0.01)
    report = repair(folder, commit_of=commit_of, index=index)
    assert report.lost == 1
    assert store.commit(lambda draft: [b"7:j"]).number > 6
    view = reader.refresh()
    assert [view.read(row) for row in range(view.rows)] == [*ALL[1:], b"7:j"]
    assert (tmp_path / report.aside[0]).exists()
    with pytest.raises(FileNotFoundError):
        repair(DiskFolder(tmp_path / "new", create=True))


def test_a_repair_that_fails_changes_nothing() -> None:
    data = bytearray(SMALL["db.dat"])
    data[1] ^= 1
    files = {**SMALL, "db.dat": bytes(data)}
    whole = FaultyFolder.of(files)
    repair(whole, index=index)
    for fail in range(1, whole.steps.index("rename", whole.steps.index("link")) + 1):
        folder = FaultyFolder.of(files)
        folder.fail = fail
        with pytest.raises(FilesError, match="cannot be repaired"):
            repair(folder, index=index)
        folder.fail = None
        assert {name: folder.files()[name] for name in files} == files
        assert repair(folder, index=index).lost == 1


def test_a_log_with_a_forged_header_and_frames_that_lie() -> None:
    """Numbers in damaged files are bounded by the files, whatever they claim."""
    log = bytearray(SMALL["writelog"])
    for offset in range(12, write_log.HEADER_SIZE, 4):
        forged = bytearray(log)
        forged[offset : offset + 4] = b"\xff\xff\xff\x7f"
        total = crc32c(bytes(forged[: write_log.HEADER_SIZE - 4]))
        forged[write_log.HEADER_SIZE - 4 : write_log.HEADER_SIZE] = total.to_bytes(4, "little")
        files = {**SMALL, "writelog": bytes(forged)}
        try:
            store = Store(FaultyFolder.of(files), index=index)
        except FilesError:
            continue
        assert within([store.read(row) for row in range(store.rows)], ALL)
