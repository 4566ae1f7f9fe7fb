"""The invariants of the files, checked at every step: the file layer's guard for tests.

`mix_db.files.store` says what they are. A `GuardedFolder` stands between whoever uses a folder and the folder; before
something is changed it looks whether the locks that this needs are held, and whether what would be there afterwards
still has everything that was acknowledged. It raises `AssertionError` before the change, and costs a look at the whole
write log for each.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mix_db.files import names, write_log
from mix_db.files.errors import DamagedFile
from mix_db.files.layer import File, Folder, Identity
from mix_db.files.manifest import Manifest
from mix_db.files.witness import Witness
from mix_db.files.write_log import Commit, Header

__all__ = ["GuardedFolder"]

_ORDER = (names.MERGE, names.FLUSH, names.LOCK)
_ROWS = (".dat", ".off", ".sum")


@dataclass(frozen=True, slots=True)
class _Log:
    header: Header
    commits: tuple[Commit, ...]
    end: int

    @property
    def last(self) -> int:
        return self.commits[-1].number if self.commits else self.header.commit

    def behind(self, number: int) -> tuple[int, int] | None:
        """Number of rows, and their sum, behind a commit; None if it is not of this log."""
        if number == self.header.commit:
            return self.header.extent.rows, self.header.extent.sum
        found = [commit for commit in self.commits if commit.number == number]
        return (found[0].row + len(found[0].records), found[0].sum) if found else None


class GuardedFolder:
    """A folder, with the interface of `mix_db.files.layer.Folder`. `folder` is the one that it guards."""

    def __init__(self, folder: Any) -> None:
        self.folder: Folder = folder
        self._local = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.folder, name)

    @contextlib.contextmanager
    def lock(self, timeout: float, name: str = names.LOCK) -> Iterator[None]:
        # Who does not wait may ask in any order.
        later = _ORDER[_ORDER.index(name) :]
        assert timeout == 0 or not self._held.intersection(later), (
            f"{name} is waited for by who has {self._held}"
        )
        with self.folder.lock(timeout, name):
            self._held.add(name)
            try:
                yield
            finally:
                self._held.discard(name)

    def open(self, name: str, *, write: bool = False, create: bool = False) -> File:
        file = self.folder.open(name, write=write, create=create)
        return _GuardedFile(self, file, name) if write else file

    def rename(self, old: str, new: str) -> None:
        if new == write_log.NAME:
            self._switch(old)
        elif new.endswith(".seg"):
            self._list(old, new)
        else:
            self._makes(new)
        self.folder.rename(old, new)

    def remove(self, name: str) -> None:
        log = self._log()
        if (
            log is not None
            and not name.endswith(names.NEW)
            and names.family(name) == log.header.extent.generation
        ):
            self._needs(names.LOCK)
            assert not name.endswith(_ROWS), f"{name} is in force, and to be removed"
            if self._held != set(_ORDER):
                assert not name.endswith(".seg"), f"{name} is in force, and to be removed"
                manifest = self._manifest(names.manifest(log.header.extent.generation), log)
                listed = [] if manifest is None else [manifest.file(entry) for entry in manifest.entries]
                assert name not in listed, f"{name} is listed, and to be removed"
        if name == names.WITNESS:
            assert log is None, "the witness of a database is to be removed"
        self.folder.remove(name)

    # What may be written

    def writes(self, name: str, offset: int) -> None:
        """Something is to be written at an offset of a file."""
        if name == write_log.NAME:
            self._needs(names.LOCK)
            log = self._log()
            assert log is None or offset >= log.end, f"commits are written over at offset {offset}"
        elif name.endswith(_ROWS):
            log = self._log()
            family = names.family(name)
            if log is None or family != log.header.extent.generation:
                self._needs(names.MERGE)
                return
            self._needs(names.FLUSH)
            counted = log.header.extent.sizes()[name] if log.header.extent.rows else 0
            assert offset >= counted, f"rows of {name} are written over at offset {offset} of {counted}"
        elif name == names.WITNESS:
            self._needs(names.LOCK)
        else:
            self._makes(name.removesuffix(names.NEW))

    def witnessed(self) -> None:
        """A witness was written: the log must have what it says."""
        witness, log = Witness.read(self.folder), self._log()
        assert witness is not None
        assert log is not None
        assert (message := witness.missing(log.header, log.commits)) is None, message

    def cuts(self, name: str, size: int) -> None:
        """A file is to be cut."""
        if name == write_log.NAME:
            self._needs(names.LOCK)
            log, witness = self._log(), Witness.read(self.folder)
            assert log is None or size >= log.end, f"commits are cut off at offset {size}"
            assert log is None or witness is None or witness.missing(log.header, log.commits) is None
        elif names.family(name) is not None:
            assert name.endswith(names.NEW), f"{name} is in use, and to be cut"

    def _makes(self, name: str) -> None:
        """A file is made whole, beside what is in force."""
        if name == write_log.NAME:
            self._needs(names.LOCK)
        elif name.endswith(".seg"):
            assert self._held, f"{name} is written with no lock held"
        elif name.endswith(".idx"):
            # Of rows that are just being flushed, or of others.
            log = self._log()
            start = int(name.removesuffix(".idx").rpartition(".")[2].partition("-")[0])
            extent = log.header.extent if log is not None else None
            flushing = extent is not None and extent.generation == names.family(name) and start >= extent.rows
            self._needs(names.FLUSH if flushing else names.MERGE)

    def _list(self, old: str, new: str) -> None:
        """A manifest is to be put in place."""
        log = self._log()
        if log is None or names.family(new) != log.header.extent.generation:
            self._needs(names.MERGE)
            return
        self._needs(names.LOCK)
        manifest = self._manifest(old, log)
        assert manifest is not None
        manifest.counted(log.header.extent.rows).check_covers(log.header.extent.rows)
        for entry in manifest.entries:
            assert self.folder.exists(manifest.file(entry)), (
                f"{manifest.file(entry)} is listed, and not there"
            )

    def _switch(self, new: str) -> None:
        """A log is to be put in the place of the present one."""
        self._needs(names.LOCK)
        before, after, witness = self._log(), self._log(new), Witness.read(self.folder)
        assert after is not None
        extent = after.header.extent
        for name, size in extent.sizes().items() if extent.rows else ():
            there = self.folder.size(name)
            assert there is not None, f"{name} is counted on, and not there"
            assert there >= size, f"{name} is counted on, and shorter than {size} bytes"
        if self.folder.exists(names.manifest(extent.generation)):
            manifest = self._manifest(names.manifest(extent.generation), after)
            assert manifest is not None
            manifest.check_covers(extent.rows)
        if witness is not None:
            assert (message := witness.missing(after.header, after.commits)) is None, message
        if before is None:
            return
        was, now = before.header, after.header
        assert now.horizon >= was.horizon, "what was forgotten is remembered"
        if now.extent.generation == was.extent.generation:
            if now.extent != was.extent:
                self._needs(names.FLUSH)
            assert (now.dropped, now.horizon) == (was.dropped, was.horizon)
            found = before.behind(now.commit)
            assert found == (now.extent.rows, now.extent.sum), f"flushed {now.extent}, of {found}"
            # A commit that failed may be gone; it is not the witness's.
            number = min(before.last, after.last)
            assert before.behind(number) == after.behind(number) or number < now.commit
            return
        for name in _ORDER:
            self._needs(name)
        assert now.extent.generation > was.extent.generation, "an old generation comes back"
        assert now.commit >= before.last, f"commits behind {now.commit} of {before.last} are not taken along"
        if now.commit == before.last:
            # Not a repair, which is a commit of its own.
            rows, _ = before.behind(before.last) or (0, 0)
            assert now.extent.rows + now.dropped == rows + was.dropped, "rows are neither there nor dropped"

    # What is there

    @property
    def _held(self) -> set[str]:
        held: set[str] = self._local.__dict__.setdefault("held", set())
        return held

    def _needs(self, name: str) -> None:
        assert name in self._held, f"expected {name} to be held, found {sorted(self._held)}"

    def _log(self, name: str = write_log.NAME) -> _Log | None:
        """The log as far as it is intact; None if there is none, or only a damaged one."""
        try:
            file = self.folder.open(name)
        except FileNotFoundError:
            return None
        try:
            data = file.read(0, file.size())
        finally:
            file.close()
        try:
            header = Header.unpack(data[: write_log.HEADER_SIZE])
        except DamagedFile:
            return None
        start = write_log.HEADER_SIZE
        found = write_log.scan(header, data[start:], start, None)
        return None if found.damaged else _Log(header, tuple(found.commits), found.end)

    def _manifest(self, name: str, log: _Log) -> Manifest | None:
        try:
            file = self.folder.open(name)
        except FileNotFoundError:
            return None
        try:
            return Manifest.unpack(log.header.extent.generation, file.read(0, file.size()))
        finally:
            file.close()


class _GuardedFile:
    def __init__(self, guard: GuardedFolder, file: File, name: str) -> None:
        self._guard = guard
        self._file = file
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def identity(self) -> Identity:
        return self._file.identity()

    def write(self, offset: int, data: bytes) -> None:
        if data:
            self._guard.writes(self._name, offset)
        self._file.write(offset, data)
        if self._name == names.WITNESS:
            self._guard.witnessed()

    def truncate(self, size: int) -> None:
        self._guard.cuts(self._name, size)
        self._file.truncate(size)
