"""The files of an export, stored as those of an app that has none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from mixkit.errors import FileError, PackageError, PathError
from mixkit.fields import read_json
from mixkit.file_value import REGISTERED, check_url
from mixkit.filesystem import ABSENT, Files
from mixkit.moving.layout import FileEntry

__all__ = ["store_files"]


def store_files(
    files: Files,
    listed: str,
    said: Sequence[bytes],
    entries: set[str],
    chunks: Callable[[str], Iterator[bytes]],
    watch: Callable[[int, int], object],
) -> int:
    """Store all files, with their types and metadata; answers how many. To be called where no event loop runs.

    Args:
        listed: name of the entry with what is said of them, for errors.
        said: its lines.
        entries: names of the entries with their bytes, each of which must be listed once.
        chunks: answers the content of an entry.
        watch: called with no records and bytes that are stored.

    Raises:
        PackageError: a line is wrong, or there is an entry of which none tells.
        FileError: a file cannot be stored.
    """
    found: dict[str, FileEntry] = {}
    for number, line in enumerate(said, 1):
        try:
            entry = read_json(line, FileEntry)
        except msgspec.MsgspecError as exc:
            raise PackageError(f"line {number}: {exc}", listed) from None
        if entry.entry not in entries or entry.entry in found:
            raise PackageError(
                f"line {number}: expected an entry of the app, each once, found {entry.entry!r:.200}", listed
            )
        if (url := entry.metadata.get(REGISTERED)) is not None:
            try:
                check_url(url)
            except FileError as exc:
                raise PackageError(f"line {number}: {exc}", listed) from None
        found[entry.entry] = entry
    for name in sorted(entries - found.keys()):
        raise PackageError(f"{listed} says nothing of the entry", name)
    return asyncio.run(_store(files, listed, found.values(), chunks, watch))


async def _store(
    files: Files,
    listed: str,
    entries: Iterable[FileEntry],
    chunks: Callable[[str], Iterator[bytes]],
    watch: Callable[[int, int], object],
) -> int:
    count = 0
    for entry in entries:
        try:
            upload = await files.begin(
                entry.path, content_type=entry.content_type, metadata=entry.metadata, only_if=ABSENT
            )
        except (PathError, FileError) as exc:
            raise PackageError(str(exc), f"{listed}: {entry.path!r:.200}") from exc
        try:
            for chunk in chunks(entry.entry):
                await upload.write(chunk)
                watch(0, len(chunk))
            await upload.commit()
        finally:
            await upload.abort()
        count += 1
    return count
