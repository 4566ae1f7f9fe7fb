"""A file that is on its way into a bucket: at once if it is short, else in parts that nobody sees before the last."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from mix_files import trailer
from mix_files.s3.book import Claim
from mix_files.s3.shelf import Shelf
from mix_files.s3.store import Refused
from mix_files.trailer import Trailer
from mixkit.errors import FileConflict, FileError
from mixkit.filesystem import FileInfo

__all__ = ["S3Upload", "info_of", "settled"]

T = TypeVar("T")

_PART: Final = 8 << 20
"""Bytes of a part, and of the longest file that is stored at once."""
_MOST: Final = 9_900 * _PART
"""Stores take 10,000 parts."""

_LEAVING: Final = 1.0
"""Seconds for the store to forget the parts of an upload that is aborted."""

_working: set[asyncio.Task[Any]] = set()


async def settled(work: Coroutine[Any, Any, T]) -> T:
    """Do it, to its end even if nobody waits for it any more: half a change is none."""
    task = asyncio.get_running_loop().create_task(work)
    _working.add(task)
    task.add_done_callback(_ended)
    return await asyncio.shield(task)


def _ended(task: asyncio.Task[Any]) -> None:
    _working.discard(task)
    if not task.cancelled():
        task.exception()  # Whoever waited was told, or has left.


class _Aborted(Exception):
    pass


class S3Upload:
    """`Upload` into a bucket."""

    def __init__(
        self,
        shelf: Shelf,
        path: str,
        content_type: str,
        metadata: dict[str, str],
        only_if: str | None,
    ) -> None:
        self._shelf = shelf
        self._path = path
        self._type = content_type
        self._metadata = metadata
        self._only_if = only_if
        self._hash = hashlib.sha256()
        self._size = 0
        self._buffer = bytearray()
        self._claim: Claim | None = None
        self._old: int | None = None
        # Of a long file: what goes out next (nothing: it is aborted), and the request that takes it.
        self._parts: asyncio.Queue[bytes | None] | None = None
        self._sending: asyncio.Task[str] | None = None
        self._last: bytes | None = None
        self._moved: tuple[str, FileInfo] | None = None
        self._over = False
        # Whether it may have been stored without our knowing.
        self._unsure = False

    def moves(self, source: str, known: FileInfo) -> None:
        """The file at `source` goes when this one is there; no room is taken for both."""
        self._moved = source, known

    async def write(self, data: bytes) -> None:
        if self._over:
            raise FileError(f"the upload of {self._path!r:.200} has ended; begin another one")
        if self._size + len(data) > _MOST:
            raise FileError(f"expected files of at most {_MOST} bytes, found more at {self._path!r:.200}")
        if self._size + len(data) > _PART or self._claim is not None:
            await self._take(self._size + len(data))
        self._hash.update(data)
        self._size += len(data)
        self._buffer += data
        while len(self._buffer) > _PART:
            part = bytes(memoryview(self._buffer)[:_PART])
            del self._buffer[:_PART]
            await self._hand(part)
            assert self._sending is not None
            if self._sending.done():
                await self._sending
                raise FileError(f"the store ended the upload of {self._path!r:.200}; begin another one")

    async def _take(self, size: int) -> None:
        """Room for what has come, of a long file: a short one takes it at its end."""
        book = self._shelf.book
        if self._claim is None:
            found = await self._shelf.size_of(self._path, None)
            self._old = None if found is None else found[0]
            new = found is None and self._moved is None
            self._claim = await asyncio.to_thread(book.claim, 0, new=new, freed=self._freed(self._old))
        await asyncio.to_thread(book.grow, self._claim, size, freed=self._freed(self._old))

    def _freed(self, old: int | None) -> int:
        """Bytes that are free when it is done: of what it replaces, and of what moves."""
        return (old or 0) + (self._moved[1].size if self._moved else 0)

    async def _hand(self, part: bytes) -> None:
        """Give a part to the request, which is begun with the first; wait until it takes it, or ends."""
        if self._parts is None:
            self._parts = asyncio.Queue(1)
            body = self._body(self._parts)
            put = self._shelf.store.put(self._shelf.key(self._path), body, only_if=None, multipart=True)
            self._sending = asyncio.get_running_loop().create_task(put)
            _working.add(self._sending)
            self._sending.add_done_callback(_ended)
        assert self._sending is not None
        handing = asyncio.ensure_future(self._parts.put(part))
        try:
            await asyncio.wait([handing, self._sending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            handing.cancel()

    async def _body(self, parts: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while (part := await parts.get()) is not None:
            yield part
            if part is self._last:
                return
        # obstore forgets what it has sent then.
        raise _Aborted

    async def commit(self) -> FileInfo:
        if self._over:
            raise FileError(f"the upload of {self._path!r:.200} has ended; begin another one")
        self._over = True
        return await settled(self._commit())

    async def _commit(self) -> FileInfo:
        shelf, path = self._shelf, self._path
        try:
            shelf.book.check_there()
            paths = (path,) if self._moved is None else (path, self._moved[0])
            async with shelf.book.locked(*paths):
                found = await shelf.size_of(path, self._only_if)
                old = None if found is None else found[0]
                freed = self._freed(old)
                if self._claim is None:
                    new = old is None and self._moved is None
                    self._claim = await asyncio.to_thread(shelf.book.claim, self._size, new=new, freed=freed)
                else:
                    await asyncio.to_thread(shelf.book.grow, self._claim, self._size, freed=freed)
                if self._moved is not None:
                    await self._check_source(*self._moved)
                said = Trailer(
                    self._size,
                    self._type,
                    self._metadata,
                    self._hash.digest(),
                    secrets.token_hex(16),
                    time.time_ns() // 1_000_000,
                )
                self._unsure = True
                etag = await self._stored(said)
                await asyncio.to_thread(
                    shelf.book.settle, self._claim, int(old is None), self._size - (old or 0)
                )
                self._unsure = False
                if self._moved is not None:
                    source, known = self._moved
                    await shelf.remove(source, known.etag)
                return info_of(path, etag, said)
        finally:
            await self._end()

    async def _check_source(self, source: str, known: FileInfo) -> None:
        try:
            await self._shelf.size_of(source, known.etag)
        except FileConflict:
            raise FileError(f"file {source!r:.200} was changed while it was renamed; try again") from None

    async def _stored(self, said: Trailer) -> str:
        """Store it, and answer the ETag. The path is locked."""
        body = bytes(self._buffer) + said.pack()
        key, store = self._shelf.key(self._path), self._shelf.store
        assert self._claim is not None
        if self._sending is not None:
            self._last = body
            await self._hand(body)
            return await self._sending
        try:
            return await store.put(key, body, only_if=self._only_if)
        except Refused:
            # Of another machine, or of ourselves: the answer may have been lost, and the request sent again.
            found = await store.tail(key, trailer.SIZE)
            now = None if found is None else trailer.unpack(found[1], found[0]["size"])
            if found is None or now is None or now.version != said.version:
                self._unsure = False
                assert self._only_if is not None
                etag = None if found is None else (found[0]["e_tag"] or "").strip('"')
                raise FileConflict(self._path, self._only_if, etag) from None
            return str(found[0]["e_tag"] or "").strip('"')

    async def abort(self) -> None:
        if not self._over:
            self._over = True
            await settled(self._end())

    async def _end(self) -> None:
        """Free what it holds."""
        self._buffer.clear()
        if self._sending is not None and not self._sending.done() and self._parts is not None:
            with suppress(asyncio.QueueEmpty):
                self._parts.get_nowait()
            self._parts.put_nowait(None)
            # A store that says nothing is not waited for.
            await asyncio.wait([self._sending], timeout=_LEAVING)
        if self._claim is not None and not self._unsure:
            self._shelf.book.drop(self._claim)
        elif self._claim is not None:
            self._claim.leave()


def info_of(path: str, etag: str, said: Trailer) -> FileInfo:
    """What is known of a file."""
    return FileInfo(
        path=path,
        size=said.size,
        etag=etag,
        modified=said.modified,
        content_type=said.content_type,
        sha256=said.sha256.hex(),
        metadata=said.metadata,
    )
