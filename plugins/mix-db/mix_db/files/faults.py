"""A disk that can lose power: the file layer's twin for tests.

It keeps what is durable apart from what was only written. Every write, truncate, sync, creation and rename is a
step; at a chosen one the power goes, or the call fails. What a disk may have kept then is drawn at random, within
what POSIX allows: of all that was not synced any part, in any order, writes torn at any byte.
"""

from __future__ import annotations

import contextlib
import errno
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from mix_db.files import names
from mix_db.files.errors import LockTimeout
from mix_db.files.layer import Identity

__all__ = ["FaultyFolder", "PowerCut"]


class PowerCut(BaseException):
    """The machine is off. No `Exception`, because no program gets to handle it."""


@dataclass(eq=False)
class _Inode:
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    unsynced: list[tuple[int, bytes] | int] = field(default_factory=list)
    """(offset, data) of writes, and sizes of truncates, in order."""


def _apply(content: bytearray, change: tuple[int, bytes] | int) -> None:
    offset, data = change if isinstance(change, tuple) else (change, None)
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


class FaultyFile:
    def __init__(self, folder: FaultyFolder, inode: _Inode) -> None:
        self._folder = folder
        self.inode = inode

    def size(self) -> int:
        return len(self.inode.content)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.inode.content[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        with self._folder.step("write") as happens:
            # When the power goes in the middle of a write, it is one of those that were not synced.
            self.inode.unsynced.append((offset, data))
            if happens:
                _apply(self.inode.content, (offset, data))
            elif self._folder.on:
                _apply(self.inode.content, (offset, data[: len(data) // 2]))

    def truncate(self, size: int) -> None:
        with self._folder.step("truncate") as happens:
            self.inode.unsynced.append(size)
            if happens:
                _apply(self.inode.content, size)

    def sync(self) -> None:
        with self._folder.step("sync") as happens:
            if happens:
                self.inode.durable = bytes(self.inode.content)
                self.inode.unsynced.clear()

    def identity(self) -> Identity:
        return 0, id(self.inode)

    def map(self, size: int) -> bytes:
        return bytes(self.inode.content[:size])

    def close(self) -> None:
        pass


class FaultyFolder:
    """A folder in memory, with the interface of `mix_db.files.layer.Folder`.

    Args:
        cut: the step, counted from 1, at which the power goes; None for never.
        fail: the step that raises `OSError` instead; a write that fails has written half.
        error: the number of that error.
        lasting: all further steps that need room on the disk or a descriptor fail like it, until `fail` is None.
            With EMFILE it is the opening of files that fails, counted in `opened`; with others the steps.
    """

    def __init__(
        self,
        cut: int | None = None,
        fail: int | None = None,
        error: int = errno.EIO,
        *,
        lasting: bool = False,
    ) -> None:
        self.cut = cut
        self.fail = fail
        self.error = error
        self.lasting = lasting
        self.opened = 0
        self.steps: list[str] = []
        self.on = True
        self._names: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._unsynced: list[tuple[str, str, _Inode]] = []
        self._locks = {name: threading.Lock() for name in (names.LOCK, names.FLUSH, names.MERGE)}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[bool]:
        if not self.on:
            raise PowerCut
        self.steps.append(name)
        number = len(self.steps)
        if number == self.cut:
            self.on = False
            yield False
            raise PowerCut
        if self.error != errno.EMFILE and self._fails(number, name in ("write", "create")):
            yield False
            raise OSError(self.error, f"{name} fails as the test wants it")
        yield True

    def _fails(self, number: int, hungry: bool) -> bool:
        if self.fail is None:
            return False
        return number == self.fail or (self.lasting and hungry and number > self.fail)

    def open(self, name: str, *, write: bool = False, create: bool = False) -> FaultyFile:
        self.opened += 1
        if self.error == errno.EMFILE and self._fails(self.opened, hungry=True):
            raise OSError(errno.EMFILE, "too many open files, as the test wants it")
        if name not in self._names:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", name)
            with self.step("create") as happens:
                inode = _Inode()
                self._unsynced.append(("", name, inode))
                if happens:
                    self._names[name] = inode
        return FaultyFile(self, self._names[name])

    def exists(self, name: str) -> bool:
        return name in self._names

    def identity(self, name: str) -> Identity | None:
        inode = self._names.get(name)
        return None if inode is None else (0, id(inode))

    def size(self, name: str) -> int | None:
        inode = self._names.get(name)
        return None if inode is None else len(inode.content)

    def spoil(self, name: str) -> None:
        """The first byte of a file goes bad, for who opens it from now on."""
        inode = self._names[name]
        inode.content[0] ^= 1
        inode.durable = bytes(inode.content)

    def listing(self) -> list[str]:
        return list(self._names)

    def rename(self, old: str, new: str) -> None:
        with self.step("rename") as happens:
            self._unsynced.append((old, new, self._names[old]))
            if happens:
                self._names[new] = self._names.pop(old)

    def link(self, old: str, new: str) -> None:
        if new in self._names:
            raise FileExistsError(errno.EEXIST, "file exists", new)
        with self.step("link") as happens:
            self._unsynced.append(("", new, self._names[old]))
            if happens:
                self._names[new] = self._names[old]

    def remove(self, name: str) -> None:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        with self.step("remove") as happens:
            self._unsynced.append((name, "", self._names[name]))
            if happens:
                del self._names[name]

    def sync(self) -> None:
        with self.step("sync folder") as happens:
            if happens:
                self._durable = dict(self._names)
                self._unsynced.clear()

    @contextlib.contextmanager
    def lock(self, timeout: float, name: str = names.LOCK) -> Iterator[None]:
        lock = self._locks[name]
        if not lock.acquire(timeout=timeout):
            raise LockTimeout(timeout, name)
        try:
            yield
        finally:
            lock.release()

    def close(self) -> None:
        pass

    def killed(self) -> FaultyFolder:
        """The folder after the process alone has died: what had been written is there, though not yet durable."""
        folder = FaultyFolder.of(self.files())
        for inode, old in zip(folder._names.values(), self._names.values(), strict=True):
            if old.unsynced:
                inode.durable, inode.unsynced = old.durable, [len(old.content), (0, bytes(old.content))]
        folder._durable = {
            name: folder._names[name] if self._names.get(name) is inode else _Inode(durable=inode.durable)
            for name, inode in self._durable.items()
        }
        folder._unsynced = [
            ("", name, folder._names[name])
            for name, inode in self._names.items()
            if self._durable.get(name) is not inode
        ]
        folder._unsynced += [
            (name, "", inode) for name, inode in folder._durable.items() if name not in self._names
        ]
        return folder

    def restarted(self, chance: random.Random) -> FaultyFolder:
        """The folder that the next start finds after the power cut, as one of the many that are possible."""
        present = dict(self._durable)
        for old, new, inode in self._unsynced:
            if chance.random() < 0.5:
                # What was made under the name since is another file.
                if new or present.get(old) is inode:
                    present.pop(old, None)
                if new:
                    present[new] = inode
        survivors = {inode: _survivor(inode, chance) for inode in present.values()}
        return self.of({name: survivors[inode] for name, inode in present.items()})

    def files(self) -> dict[str, bytes]:
        """The contents by name."""
        return {name: bytes(inode.content) for name, inode in self._names.items()}

    @classmethod
    def of(cls, files: dict[str, bytes]) -> FaultyFolder:
        """A folder with these files in it, durable."""
        folder = cls()
        folder._names = {name: _Inode(bytearray(data), data) for name, data in files.items()}
        folder._durable = dict(folder._names)
        return folder


def _survivor(inode: _Inode, chance: random.Random) -> bytes:
    content = bytearray(inode.durable)
    changes = list(inode.unsynced)
    chance.shuffle(changes)
    for change in changes:
        fate = chance.randrange(4)
        if fate == 0:
            continue
        if fate > 1 or not isinstance(change, tuple):
            _apply(content, change)
            continue
        offset, data = change
        start, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        # The length may be kept without the data, which then reads as zeros.
        _apply(content, (offset + start, data[start:end]))
        if chance.random() < 0.5 and len(content) < offset + len(data):
            content.extend(bytes(offset + len(data) - len(content)))
    return bytes(content)
