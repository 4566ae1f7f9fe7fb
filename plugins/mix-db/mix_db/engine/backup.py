"""Copies of a database, made while it is used.

A view of the rows never changes and stays readable whatever becomes of the files, so a copy of one needs no lock: who
writes, flushes, merges or compacts meanwhile waits for nothing.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path
from typing import Final

from mix_db.files import names, rows, segments
from mix_db.files.errors import DamagedFile, explained
from mix_db.files.layer import DiskFolder
from mix_db.files.manifest import REMEDY, Entry, Manifest
from mix_db.files.rows import Extent
from mix_db.files.segments import SegmentFile
from mix_db.files.view import View
from mix_db.files.write_log import Header, WriteLog
from mix_db.versions.rows import RowsView, SegmentView
from mixkit.errors import StorageError

__all__ = ["copy_to"]

_CHUNK: Final = 1 << 20


def copy_to(path: Path, view: RowsView) -> None:
    """Make a database of all that a view has, with its history, in a folder that is missing or empty.

    Each row is compared with its checksum. The folder is there when the copy is whole and durable, not before.

    Raises:
        StorageError: there is something in the folder, it cannot be written, or a row is damaged.
    """
    path = path.absolute()
    with explained(f"the database cannot be copied to {path}"):
        if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
            raise StorageError(
                f"expected {path} to be an empty folder or none, found something there; name another one"
            )
        # Of its own, so that two who copy to one place do not mix their files.
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            with contextlib.closing(DiskFolder(part, create=True)) as folder:
                _copy(folder, view)
            # In one step; onto a folder only as long as it is empty.
            part.rename(path)
        except BaseException:
            _remove(part)
            raise
        with contextlib.closing(DiskFolder(path.parent)) as parent:
            parent.sync()


def _copy(folder: DiskFolder, view: RowsView) -> None:
    generation = view.generation
    extent = Extent(generation=generation)
    if view.extent_rows:
        extent = rows.append(folder, extent, map(view.read, range(view.extent_rows)))
        entries = tuple(_copy_segment(folder, generation, segment) for segment in view.segments)
        Manifest(generation, entries).write(folder)
        folder.sync()
    dropped = 0
    if isinstance(view, View):
        before = view.log.header
        dropped = before.dropped
        if extent.sum != before.extent.sum:
            raise DamagedFile(names.data(generation), 0, "its rows are not those that were acknowledged")
    header = Header.new(extent, view.flushed, view.horizon, view.horizon_time, dropped)
    WriteLog.create(folder, header, view.since(view.flushed))
    folder.sync()


def _copy_segment(folder: DiskFolder, generation: int, segment: SegmentView) -> Entry:
    data = segment.data
    parts = (bytes(data[start : start + _CHUNK]) for start in range(0, len(data), _CHUNK))
    entry = segments.write(folder, generation, segment.start, segment.stop, parts)
    if isinstance(segment, SegmentFile) and entry != segment.entry:
        raise DamagedFile(segment.name, 0, "the index segment does not match its checksum", REMEDY)
    return entry


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
