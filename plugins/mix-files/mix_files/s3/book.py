"""What a store cannot do for us: locks of paths, and what the files of an app take, in the home of the app.

    <home>/s3/
      locks/    files to lock, each for some of the paths
      new/      one for each write that is under way, locked by who makes it, as long as what it takes
      state     the numbers (`mix_files.ledger`)
      counted   changed whenever they were counted anew

All processes that write files of an app have its home. A write whose process was killed may have been done or not: the
next one finds its file unlocked, and has everything counted.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

from mix_files.explained import explained
from mix_files.ledger import Ledger, Totals
from mix_files.settings import FilesSettings
from mixkit.databases import gone
from mixkit.errors import FileError, FilesFull
from mixkit.filesystem import Usage
from mixkit.storage import Place

__all__ = ["Book", "Claim"]

_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCKS: Final = 64
_PAUSE: Final = (0.002, 0.05)
_STEP: Final = 4 << 20
_NEW: Final = "+"
"""Ends the name of a write that makes a file."""


class Claim:
    """What a write that is under way takes. Locked as long as its descriptor is open."""

    def __init__(self, path: Path, file: int, counted: bytes) -> None:
        self.path = path
        self.file = file
        self.counted = counted
        self.size = 0

    def leave(self) -> None:
        """Nobody knows whether it was done: the next write has everything counted. Idempotent."""
        # Taken first: of two who leave at once, the other one would close what has its number by then.
        file, self.file = self.file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            self.leave()


class Book:
    """Of one app.

    Args:
        count: counts its files. May block.
    """

    def __init__(self, place: Place, settings: FilesSettings, count: Callable[[], Totals]) -> None:
        self._place = place
        self._home = place.home
        self._settings = settings
        self._count = count

    def check_there(self) -> None:
        """Raise `NotFound` if the app was deleted."""
        if not self._home.parent.exists():
            raise gone(self._place)

    @asynccontextmanager
    async def locked(self, *paths: str) -> AsyncIterator[None]:
        """Be the only one, in all processes, who changes the files of these paths.

        Raises:
            FileError: somebody else does, for too long.
        """
        with explained("lock the files"), ExitStack() as held:
            folder = self._folder() / "locks"
            for number in sorted({zlib.crc32(path.encode()) % _LOCKS for path in paths}):
                file = os.open(folder / f"{number:02}", _OPEN, 0o600)
                held.callback(os.close, file)
                await self._take(file)
            yield

    async def _take(self, file: int) -> None:
        # Tried again and again: a thread that waited for it could not be told to stop.
        deadline = time.monotonic() + 6 * self._settings.s3_timeout
        pause, most = _PAUSE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise FileError(
                        "somebody else has been writing the file, or one that shares its lock, for too long; try again"
                    ) from None
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, most)

    def usage(self, totals: Totals) -> Usage:
        """These numbers, beside what there may be."""
        limits = self._settings
        return Usage(totals.files, totals.bytes, limits.max_files or None, limits.max_bytes or None)

    # -- numbers; all of it may block --------------------------------------------------------------

    def totals(self) -> Totals:
        """What there is."""
        if not (self._home / "s3").exists():
            return Totals(0, 0)
        with self._ledger() as (ledger, _):
            return ledger.totals

    def claim(self, more: int, *, new: bool, freed: int) -> Claim:
        """Take room for a write of so many bytes, which makes a file or not, and frees so many bytes when it is done.

        Raises:
            FilesFull: there is none.
        """
        with self._ledger() as (ledger, folder):
            limits = self._settings
            files = ledger.totals.files + self._new(folder)
            if limits.max_files and new and files >= limits.max_files:
                raise FilesFull(ledger.totals.files, 1, limits.max_files, "files", "settings.files.max_files")
            self._check(ledger, folder, more, freed, 0)
            path = folder / "new" / (secrets.token_hex(12) + (_NEW if new else ""))
            claim = Claim(path, os.open(path, _OPEN, 0o600), _counted(folder))
            fcntl.flock(claim.file, fcntl.LOCK_EX)
            os.ftruncate(claim.file, more)
            claim.size = more
            return claim

    def grow(self, claim: Claim, size: int, *, freed: int) -> None:
        """Take more room, for so many bytes altogether."""
        if size <= claim.size:
            return
        with self._ledger() as (ledger, folder):
            used = self._check(ledger, folder, size, freed, claim.size)
            most = self._settings.max_bytes
            claim.size = min(size + _STEP, most - used) if most else size + _STEP
            os.ftruncate(claim.file, claim.size)

    def settle(self, claim: Claim, files: int, size: int) -> None:
        """The write is done: there are so many more files, and bytes."""
        with self._ledger() as (ledger, folder):
            if claim.counted == _counted(folder):
                with ledger.changing(files, size):
                    pass
            else:
                # They were counted meanwhile, and nobody knows whether with this.
                _forget_totals(folder)
            claim.path.unlink(missing_ok=True)
            claim.leave()

    def drop(self, claim: Claim) -> None:
        """The write was not done. Idempotent."""
        if claim.file >= 0:
            claim.path.unlink(missing_ok=True)
            claim.leave()

    def _check(self, ledger: Ledger, folder: Path, more: int, freed: int, mine: int) -> int:
        """Bytes that are taken by others."""
        most = self._settings.max_bytes
        used = ledger.totals.bytes + _reserved(folder) - mine - freed
        if most and more > mine and used + more > most:
            raise FilesFull(used, more, most, "bytes", "settings.files.max_bytes")
        return used

    @staticmethod
    def _new(folder: Path) -> int:
        return sum(entry.name.endswith(_NEW) for entry in os.scandir(folder / "new"))

    def _folder(self) -> Path:
        folder = self._home / "s3"
        if not (folder / "new").exists():
            try:
                self._home.mkdir(exist_ok=True)
            except FileNotFoundError:
                raise gone(self._place) from None
            for path in (folder, folder / "locks", folder / "new"):
                path.mkdir(mode=0o700, exist_ok=True)
        return folder

    @contextmanager
    def _ledger(self) -> Iterator[tuple[Ledger, Path]]:
        with explained("count the files"):
            folder = self._folder()
            file = os.open(folder / "state", _OPEN, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _swept(folder):
                    os.ftruncate(file, 0)
                yield Ledger(file, lambda: self._counted_anew(folder)), folder
            finally:
                os.close(file)

    def _counted_anew(self, folder: Path) -> Totals:
        (folder / "counted").write_bytes(secrets.token_bytes(16))
        return self._count()


def _forget_totals(folder: Path) -> None:
    """Have the numbers counted when they are asked for next. By whoever holds the lock."""
    os.truncate(folder / "state", 0)


def _counted(folder: Path) -> bytes:
    try:
        return (folder / "counted").read_bytes()
    except FileNotFoundError:
        return b""


def _reserved(folder: Path) -> int:
    total = 0
    for entry in os.scandir(folder / "new"):
        with suppress(FileNotFoundError):
            total += entry.stat(follow_symlinks=False).st_size
    return total


def _swept(folder: Path) -> bool:
    """Whether there were writes whose process ended in the middle; they are forgotten. By whoever holds the lock."""
    found = False
    for entry in os.scandir(folder / "new"):
        try:
            file = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Path(entry.path).unlink()
            found = True
        except OSError:
            continue
        finally:
            os.close(file)
    return found
