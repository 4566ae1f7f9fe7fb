"""What is damaged in the files of a database, place by place.

Every byte that counts is covered by a checksum or can be computed from others. Rows and commits that are whole, but
not those that were acknowledged, show in the sums that are carried on from commit to commit; a write log that was cut
exactly between two commits, or an older one, in the witness. Where a power cut took that, it looks like a log to which
the later commits were never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from struct import unpack_from
from typing import TypeAlias

from crc32c import crc32c

from mix_db.files import names, varcode, write_log
from mix_db.files.errors import DamagedFile, FilesError
from mix_db.files.layer import Folder
from mix_db.files.manifest import HEAD, Manifest
from mix_db.files.rows import HEADER, Extent, added
from mix_db.files.witness import Witness
from mix_db.files.write_log import Commit, Header

__all__ = [
    "CheckSegment",
    "Finding",
    "Place",
    "Row",
    "check",
    "content",
    "log_content",
    "newest_generation",
    "read_log",
    "read_rows",
    "whole_extent",
]

CheckSegment: TypeAlias = Callable[[str, memoryview], Iterable[str]]
"""Says what is wrong in a segment that is as it was written, from its name and content."""


@dataclass(frozen=True, slots=True)
class Place:
    """`size` bytes of a file from an offset on; 0 where the file ends too early."""

    file: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. It is in one of `places`: a checksum may be wrong like its data.

    `lost` is true if commits that were acknowledged may be missing, whatever repair saves."""

    message: str
    places: tuple[Place, ...]
    lost: bool = False

    def __str__(self) -> str:
        where = " or ".join(f"{place.file} at offset {place.offset}" for place in self.places)
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the row files that is intact, as far as can be known: where its checksum is cut off, it is one that
    ends where the next begins."""

    number: int
    record: bytes


def check(folder: Folder, check_segment: CheckSegment | None = None) -> Iterator[Finding]:
    """Everything that is damaged, the write log first. Reads all; changes nothing; take the write lock for it.

    Raises:
        FormatVersion: another version of mixkit wrote it.
    """
    witness = Witness.read(folder)
    log = log_content(folder)
    header = None
    generation = newest_generation(folder)
    if log is None:
        if generation is not None:
            yield _one("there is no such file, and it says how many rows there are", write_log.NAME, 0, 0)
    else:
        try:
            header = Header.unpack(log[: write_log.HEADER_SIZE])
        except DamagedFile as exc:
            yield _one(str(exc), write_log.NAME, 0, min(len(log), write_log.HEADER_SIZE))
        else:
            yield from _check_log(header, log, witness)
    if header is not None:
        extent = header.extent
    elif generation is not None:
        extent = whole_extent(folder, generation)
    else:
        return
    total, whole = 0, True
    for row in read_rows(folder, extent):
        if isinstance(row, Finding):
            whole = False
            yield row
        else:
            total = added(total, write_log.row_sum(row.record))
    if header is not None and whole and total != extent.sum:
        message = f"the {extent.rows} rows are whole, but not those that were acknowledged: their sum differs"
        yield _lost(message, names.data(extent.generation), 0, extent.size)
    yield from _check_segments(folder, extent, check_segment, certain=header is not None)


def read_log(
    header: Header, log: bytes, position: int = write_log.HEADER_SIZE, after: Commit | None = None
) -> Iterator[Commit | Finding]:
    """The commits that are intact, and between them what is not. Behind a finding `Commit.row` is meaningless."""
    while position < len(log):
        found = write_log.scan(header, log[position:], position, after)
        yield from found.commits
        after = found.commits[-1] if found.commits else after
        position = found.end
        if not found.torn:
            return
        # Not believed any more: the numbers of what follows, only that it is whole.
        following = write_log.find_frame(header, log, position + 1)
        end = len(log) if following is None else following[0]
        message = "a commit that was stored is not whole" if found.damaged else "an unfinished commit"
        yield Finding(message, (Place(write_log.NAME, position, end - position),), lost=found.damaged)
        if following is None:
            return
        position, after = following


def _check_log(header: Header, log: bytes, witness: Witness | None) -> Iterator[Finding]:
    commits: list[Commit] = []
    total: int | None = header.extent.sum
    torn: Finding | None = None
    damaged = False
    for found in read_log(header, log):
        if isinstance(found, Finding):
            total = None
            if found.lost:
                damaged = True
                yield found
            else:
                torn = found
            continue
        if total is not None:
            for record in found.records:
                total = added(total, write_log.row_sum(record))
            if total != found.sum:
                message = (
                    f"the rows up to commit {found.number} are whole, but not those that were acknowledged"
                )
                yield _lost(message, write_log.NAME, 0, len(log))
        total = found.sum
        commits.append(found)
    missing = witness.missing(header, commits) if witness is not None and not damaged else None
    if torn is not None:
        yield torn if missing is None else replace(torn, message=f"{torn.message}; {missing}", lost=True)
    elif missing is not None:
        yield _lost(missing, write_log.NAME, len(log), 0)


def whole_extent(folder: Folder, generation: int) -> Extent:
    """As many rows as the row files may hold, where no log says how many count."""
    data, offsets, sums = (
        len(content(folder, name) or b"") for name in Extent(generation=generation).sizes()
    )
    return Extent(max(0, (offsets - len(HEADER)) // 8, sums // 4), data, generation)


def read_rows(folder: Folder, extent: Extent) -> Iterator[Row | Finding]:
    """The rows that are intact, in order, and everything that is not as it was written."""
    if not extent.rows:
        return
    sizes = extent.sizes()
    files = {name: content(folder, name) for name in sizes}
    for name, expected in sizes.items():
        found = files[name]
        if found is None:
            yield _one(f"expected {expected} bytes, and there is no such file", name, 0, 0)
        elif len(found) < expected:
            yield _one(f"expected {expected} bytes, the file ends here", name, len(found), 0)
    data_name, offsets_name, sums_name = sizes
    data, offsets, sums = ((files[name] or memoryview(b""))[:size] for name, size in sizes.items())
    if len(offsets) >= len(HEADER) and bytes(offsets[: len(HEADER)]) != HEADER:
        yield _one(f"expected the header {HEADER!r}", offsets_name, 0, len(HEADER))
    position = 0
    for row in range(extent.rows):
        place, stored = len(HEADER) + 8 * row, _number("<Q", offsets, len(HEADER) + 8 * row)
        total = _number("<I", sums, 4 * row)
        span = None if total is None else _span(data, position, total)
        if total is not None and span is None and stored is not None and stored != position:
            span = _span(data, stored, total)
            if span is not None:
                position = stored
        following = _number("<Q", offsets, place + 8) if row + 1 < extent.rows else extent.size
        if span is None:
            end = following if following is not None and position < following <= extent.size else extent.size
            places = (Place(data_name, position, end - position), Place(sums_name, 4 * row, 4))
            unsure = _span(data, position, None)
            if total is None and stored == position and unsure is not None and unsure[1] == following:
                yield Row(row, bytes(data[unsure[0] : end]))
            yield Finding(f"row {row} does not match its checksum", places)
        else:
            body, end = span
            yield Row(row, bytes(data[body:end]))
        if stored is not None and stored != position:
            yield _one(f"row {row} is at {position}, found {stored}", offsets_name, place, 8)
        position = end
    if position != extent.size:
        yield _one("bytes that belong to no row", data_name, position, extent.size - position)


def log_content(folder: Folder) -> bytes | None:
    """The whole write log; None if there is none. Not mapped: who writes may make it shorter at any time."""
    try:
        file = folder.open(write_log.NAME)
    except FileNotFoundError:
        return None
    try:
        return file.read(0, file.size())
    finally:
        file.close()


def content(folder: Folder, name: str) -> memoryview | None:
    """A whole file, memory-mapped; None if there is none."""
    try:
        file = folder.open(name)
    except FileNotFoundError:
        return None
    try:
        return memoryview(file.map(file.size()))
    finally:
        file.close()


def _check_segments(
    folder: Folder, extent: Extent, check_segment: CheckSegment | None, *, certain: bool
) -> Iterator[Finding]:
    listing = content(folder, names.manifest(extent.generation))
    if listing is None and not _has_segments(folder, extent.generation):
        # A store without an index; one that has it makes it.
        return
    size = len(listing or b"")
    try:
        manifest = Manifest.read(folder, extent.generation)
        if certain:
            manifest = manifest.counted(extent.rows)
            manifest.check_covers(extent.rows)
    except DamagedFile as exc:
        yield _one(str(exc), exc.file, 0, size)
        return
    for entry in manifest.entries:
        name = manifest.file(entry)
        data = content(folder, name)
        if data is None:
            yield _one(f"expected {entry.size} bytes, and there is no such file", name, 0, 0)
        elif len(data) != entry.size:
            yield _one(f"expected {entry.size} bytes, found {len(data)}", name, min(len(data), entry.size), 0)
        elif crc32c(data) != entry.sum or crc32c(data[:HEAD]) != entry.head:
            yield _one("the index segment does not match its checksum", name, 0, len(data))
        elif check_segment is not None:
            try:
                messages = list(check_segment(name, data))
            except FilesError as exc:
                messages = [str(exc)]
            yield from (_one(message, name, 0, len(data)) for message in messages)


def newest_generation(folder: Folder) -> int | None:
    """The generation that is in force where no log says so: the newest that was finished."""
    found = {family for name in folder.listing() if (family := names.family(name)) is not None}
    # Compaction writes the manifest last; without an index there is none, and one generation as a rule.
    finished = {generation for generation in found if folder.exists(names.manifest(generation))}
    return max(finished or found, default=None)


def _has_segments(folder: Folder, generation: int) -> bool:
    return any(name.endswith(".idx") and names.family(name) == generation for name in folder.listing())


def _span(data: memoryview, start: int, total: int | None) -> tuple[int, int] | None:
    """Where the record of the row that starts there begins and ends, or None if it does not match its checksum, where
    there is one."""
    try:
        length, body = varcode.read(data, start)
    except ValueError:
        return None
    end = body + length
    return (body, end) if end <= len(data) and total in (None, crc32c(data[start:end])) else None


def _number(form: str, data: memoryview, offset: int) -> int | None:
    size = 8 if form == "<Q" else 4
    return int(unpack_from(form, data, offset)[0]) if offset + size <= len(data) else None


def _one(message: str, file: str, offset: int, size: int) -> Finding:
    return Finding(message, (Place(file, offset, size),))


def _lost(message: str, file: str, offset: int, size: int) -> Finding:
    return Finding(message, (Place(file, offset, size),), lost=True)
