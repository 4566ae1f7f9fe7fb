"""Files of index segments: writing them, opening those that a manifest lists, making missing ones again.

What is in a segment does not matter here: an immutable file that belongs to a range of rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from crc32c import crc32c

from mix_db.files import names
from mix_db.files.errors import DamagedFile
from mix_db.files.layer import Folder, write_whole
from mix_db.files.manifest import HEAD, REMEDY, Entry, Manifest
from mix_db.files.rows import RowReader, map_file

__all__ = ["ROWS", "MakeIndex", "SegmentFile", "open_all", "open_one", "rebuild", "write"]

MakeIndex: TypeAlias = Callable[[int, Iterable[bytes]], Iterable[bytes]]
"""Makes the content of a segment, in parts of any size, from the number of its first row and its records."""

ROWS: Final = 1 << 16
"""Most rows of a segment that is made from rows, so that its maker need not hold them all."""

_log = logging.getLogger("mixkit.db")


@dataclass(frozen=True, slots=True, eq=False)
class SegmentFile:
    """A segment that is open: rows `start` to `stop`, without it, and the whole file, memory-mapped.

    It is the same object as long as the file is the same one, so it can be the key of what is made from it.
    """

    name: str
    start: int
    stop: int
    data: memoryview
    entry: Entry


def write(folder: Folder, generation: int, start: int, stop: int, content: Iterable[bytes]) -> Entry:
    """Write a segment; its content is durable then, its name after `Folder.sync`. It counts once it is listed."""
    size, head, total = 0, 0, 0

    def summed() -> Iterator[bytes]:
        nonlocal size, head, total
        for part in content:
            if size < HEAD:
                head = crc32c(part[: HEAD - size], head)
            total = crc32c(part, total)
            size += len(part)
            yield part

    write_whole(folder, names.segment(generation, start, stop), summed())
    return Entry(start, stop, size, head, total)


def open_one(folder: Folder, manifest: Manifest, entry: Entry) -> SegmentFile:
    """Raises `DamagedFile` if the file is missing, has another size, or begins otherwise than it was written."""
    name = manifest.file(entry)
    try:
        size = folder.size(name)
        if size is not None and size > entry.size:
            raise DamagedFile(name, entry.size, f"expected {entry.size} bytes, found {size}", REMEDY)
        data = map_file(folder, name, entry.size)
    except DamagedFile as exc:
        raise DamagedFile(exc.file, exc.offset, "the index segment is missing or cut", REMEDY) from exc
    if crc32c(data[:HEAD]) != entry.head:
        raise DamagedFile(name, 0, "the beginning of the index segment does not match its checksum", REMEDY)
    return SegmentFile(name, entry.start, entry.stop, memoryview(data), entry)


def open_all(
    folder: Folder, generation: int, rows: int, known: Mapping[Entry, SegmentFile]
) -> tuple[SegmentFile, ...]:
    """The segments of the first `rows` rows; those that are open already are taken from `known`.

    Raises:
        DamagedFile: the manifest or a segment is missing or damaged. If the generation is no longer in force,
            that is why.
    """
    if not rows:
        return ()
    manifest = Manifest.read(folder, generation)
    while True:
        counted = manifest.counted(rows)
        counted.check_covers(rows)
        try:
            return tuple(known.get(entry) or open_one(folder, counted, entry) for entry in counted.entries)
        except DamagedFile:
            # A merge removes the segments that it has merged; then there is a new manifest.
            before, manifest = manifest, Manifest.read(folder, generation)
            if manifest == before:
                raise


def rebuild(folder: Folder, reader: RowReader, make: MakeIndex, distrusted: Container[str] = ()) -> None:
    """Make the segments again that are missing, damaged where that shows on opening, or `distrusted`, by their names.

    Needs the lock MERGE, and the write lock.
    """
    generation, rows = reader.extent.generation, reader.extent.rows
    whole: list[Entry] = []
    try:
        manifest = Manifest.read(folder, generation)
    except DamagedFile as exc:
        _log.warning("%s", exc)
        manifest = Manifest(generation)
    for entry in manifest.counted(rows).entries:
        try:
            if manifest.file(entry) in distrusted:
                continue
            open_one(folder, manifest, entry)
        except DamagedFile as exc:
            _log.warning("%s", exc)
        else:
            if (whole[-1].stop if whole else 0) <= entry.start < entry.stop <= rows:
                whole.append(entry)
    entries: list[Entry] = []
    for stop, known in [*((entry.start, entry) for entry in whole), (rows, None)]:
        start = entries[-1].stop if entries else 0
        while start < stop:
            upto = min(stop, start + ROWS)
            _log.warning(
                "making the index segment %s again from the rows", names.segment(generation, start, upto)
            )
            entries.append(
                write(folder, generation, start, upto, make(start, map(reader.read, range(start, upto))))
            )
            start = upto
        if known is not None:
            entries.append(known)
    folder.sync()
    Manifest(generation, tuple(entries)).write(folder)
    folder.sync()
