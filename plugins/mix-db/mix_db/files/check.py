"""What is damaged in the files of a database, place by place.

Every byte that counts is covered by a checksum or can be computed from others. What cannot be seen is a write log
that was cut exactly between two commits: it looks like one to which the later commits were never written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

from mix_db.files import varcode, write_log
from mix_db.files.crc32c import crc32c
from mix_db.files.errors import DamagedFile
from mix_db.files.layer import Folder
from mix_db.files.rows import DATA, HEADER, OFFSETS, SUMS, Extent
from mix_db.files.write_log import Header

__all__ = ["Finding", "Place", "check"]


@dataclass(frozen=True, slots=True)
class Place:
    """`size` bytes of a file from an offset on; 0 where the file ends too early."""

    file: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. It is in one of `places`: a checksum may be wrong like its data."""

    message: str
    places: tuple[Place, ...]

    def __str__(self) -> str:
        where = " or ".join(f"{place.file} at offset {place.offset}" for place in self.places)
        return f"{where}: {self.message}"


def check(folder: Folder) -> Iterator[Finding]:
    """Everything that is damaged, the write log first. Reads all; changes nothing; take the write lock for it."""
    log = _content(folder, write_log.NAME)
    extent = None
    if log is None:
        if any(folder.exists(name) for name in (DATA, OFFSETS, SUMS)):
            yield _one("there is no such file, and it says how many rows there are", write_log.NAME, 0, 0)
    else:
        try:
            header = Header.unpack(bytes(log[: write_log.HEADER_SIZE]))
        except DamagedFile as exc:
            yield _one(str(exc), write_log.NAME, 0, min(len(log), write_log.HEADER_SIZE))
        else:
            extent = header.extent
            yield from _check_log(header, bytes(log))
    yield from _check_rows(folder, extent)


def _check_log(header: Header, log: bytes) -> Iterator[Finding]:
    position: int = write_log.HEADER_SIZE
    after = None
    while position < len(log):
        found = write_log.scan(header, log[position:], position, after)
        after = found.commits[-1] if found.commits else after
        position = found.end
        if position == len(log):
            return
        # Not believed any more: the numbers of what follows, only that it is whole.
        following = write_log.find_frame(header, log, position + 1)
        end = len(log) if following is None else following[0]
        message = "a commit that was stored is not whole" if found.damaged else "an unfinished commit"
        yield _one(message, write_log.NAME, position, end - position)
        if following is None:
            return
        position, after = following


def _check_rows(folder: Folder, extent: Extent | None) -> Iterator[Finding]:
    files = {name: _content(folder, name) for name in (DATA, OFFSETS, SUMS)}
    if extent is None:
        # As many as there may be.
        sizes = {name: len(content or b"") for name, content in files.items()}
        extent = Extent(max(0, (sizes[OFFSETS] - len(HEADER)) // 8), sizes[DATA])
    if not extent.rows:
        return
    for name, expected in extent.sizes().items():
        content = files[name]
        if content is None:
            yield _one(f"expected {expected} bytes, and there is no such file", name, 0, 0)
        elif len(content) < expected:
            yield _one(f"expected {expected} bytes, the file ends here", name, len(content), 0)
    data, offsets, sums = ((files[name] or memoryview(b""))[:size] for name, size in extent.sizes().items())
    if len(offsets) >= len(HEADER) and bytes(offsets[: len(HEADER)]) != HEADER:
        yield _one(f"expected the header {HEADER!r}", OFFSETS, 0, len(HEADER))
    position = 0
    for row in range(extent.rows):
        place, stored = len(HEADER) + 8 * row, _number("<Q", offsets, len(HEADER) + 8 * row)
        total = _number("<I", sums, 4 * row)
        end = _end(data, position, total)
        if end is None and stored is not None and stored != position:
            end = _end(data, stored, total)
            if end is not None:
                position = stored
        if end is None:
            following = _number("<Q", offsets, place + 8) if row + 1 < extent.rows else extent.size
            end = following if following is not None and position < following <= extent.size else extent.size
            places = (Place(DATA, position, end - position), Place(SUMS, 4 * row, 4))
            yield Finding(f"row {row} does not match its checksum", places)
        if stored is not None and stored != position:
            yield _one(f"row {row} is at {position}, found {stored}", OFFSETS, place, 8)
        position = end
    if position != extent.size:
        yield _one("bytes that belong to no row", DATA, position, extent.size - position)


def _end(data: memoryview, start: int, total: int | None) -> int | None:
    """Where the row that starts there ends, or None if it does not match its checksum."""
    try:
        length, body = varcode.read(data, start)
    except ValueError:
        return None
    end = body + length
    return end if end <= len(data) and total == crc32c(data[start:end]) else None


def _number(form: str, data: memoryview, offset: int) -> int | None:
    size = 8 if form == "<Q" else 4
    return int(unpack_from(form, data, offset)[0]) if offset + size <= len(data) else None


def _content(folder: Folder, name: str) -> memoryview | None:
    try:
        file = folder.open(name)
    except FileNotFoundError:
        return None
    try:
        return file.map(file.size())
    finally:
        file.close()


def _one(message: str, file: str, offset: int, size: int) -> Finding:
    return Finding(message, (Place(file, offset, size),))
