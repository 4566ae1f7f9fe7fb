"""Stored versions into the index: into that of the write log as they come, into segments where these have none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from mix_db.index.memory import MemoryPart
from mix_db.index.segment import check
from mix_db.index.write import write_segment
from mix_db.versions.version import read_version

__all__ = ["add_python", "add_versions", "check_segment", "index_rows"]

_AT_ONCE: Final = 1_000


def add_python(part: MemoryPart, versions: tuple[bytes, ...]) -> None:
    """Index versions as the next rows of a part.

    Should one not go in, those before it have, and it may be added again.

    Raises:
        StorageError: the database has as many rows as it can have.
        ValueError, TypeError: one is no version.
    """
    for data in versions:
        part.add(part.stop, read_version(data))


def _adder() -> Callable[[MemoryPart, tuple[bytes, ...]], None]:
    try:
        from mix_db._index import add
    except ImportError:
        return add_python

    def add_native(part: MemoryPart, versions: tuple[bytes, ...]) -> None:
        part.check_room(len(versions))
        while versions:
            count, links, deleted = add(part.root, part.stop, versions)
            part.note(count, links, deleted)
            versions = versions[count:]

    return add_native


add_versions: Final = _adder()
"""The same by `mix_db._index`, where the extension was built."""


def index_rows(start: int, records: Iterable[bytes]) -> Iterable[bytes]:
    """The content of a segment, of whose rows `start` is the first."""
    part = MemoryPart(start)
    rest = iter(records)
    while versions := tuple(islice(rest, _AT_ONCE)):
        add_versions(part, versions)
    return write_segment(part)


def check_segment(name: str, data: memoryview) -> Iterable[str]:
    """What is wrong in a segment."""
    return map(str, check(name, data))
