"""The files that a package brings, stored among those of its app."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Iterable
from typing import Final

from mixkit.app_files import EPHEMERAL
from mixkit.errors import MixError, NotFound, PackageError, PathError
from mixkit.file_fields import guessed
from mixkit.filesystem import ABSENT, Files

__all__ = ["load_files"]

_log = logging.getLogger("mixkit.package_files")

_COPY: Final = "install-"
"""How the folder below `/ephemeral` begins with what is being replaced: it goes by itself if nobody takes it away."""


def load_files(files: Files, items: Iterable[tuple[str, Iterable[bytes]]]) -> int:
    """Store the files of a package, each at `/` and its path; answers how many it stored.

    A file that is there with the same bytes is left as it is, so installing again what is installed stores nothing;
    one with others is replaced. If it fails, what was stored is taken back. To be called where no event loop runs.

    Args:
        items: path and content of each, in any pieces.

    Raises:
        PackageError: no file can have that path.
        FileError: it cannot be stored.
    """
    return asyncio.run(_load(files, items))


async def _load(files: Files, items: Iterable[tuple[str, Iterable[bytes]]]) -> int:
    folder = f"{EPHEMERAL}{_COPY}{secrets.token_hex(8)}"
    stored: list[tuple[str, str | None]] = []
    try:
        for name, chunks in items:
            path = f"/{name}"
            try:
                if (copy := await _store(files, path, chunks, f"{folder}/{len(stored)}")) is not None:
                    stored.append((path, copy or None))
            except PathError as exc:
                raise PackageError(str(exc), f"files/…/{name!r:.200}") from exc
    except BaseException:
        try:
            await _take_back(files, stored)
        except MixError:
            _log.exception("files of a package could not be taken back; the next install puts them right")
        raise
    for _, copy in stored:
        if copy is not None:
            await files.delete(copy)
    return len(stored)


async def _store(files: Files, path: str, chunks: Iterable[bytes], copy: str) -> str | None:
    """Store one. Answers where the one is that was replaced, empty if there was none; None if nothing was to do."""
    try:
        old = await files.stat(path)
    except NotFound:
        old = None
    digest = hashlib.sha256()
    upload = await files.begin(
        path, content_type=guessed(path, text=False), only_if=ABSENT if old is None else old.etag
    )
    try:
        for chunk in chunks:
            digest.update(chunk)
            await upload.write(chunk)
        if old is not None and old.sha256 == digest.hexdigest():
            return None
        if old is not None:
            await files.copy(path, copy)
        try:
            await upload.commit()
        except BaseException:
            if old is not None:
                await files.delete(copy)
            raise
    finally:
        await upload.abort()
    return "" if old is None else copy


async def _take_back(files: Files, stored: list[tuple[str, str | None]]) -> None:
    for path, copy in reversed(stored):
        if copy is None:
            await files.delete(path)
        else:
            await files.rename(copy, path)
