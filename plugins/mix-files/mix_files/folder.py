"""The files of one app in a folder of its home. Everything here blocks for as long as the disk takes.

    <home>/files/
      names/    the files, called as `descent` says, each with its block (`trailer`)
      new/      drafts: what is being written
      state     the lock, and what the files take (`ledger`)

A file is written as a draft, is on disk, gets its name by a rename under the lock, and then the folder with the name is
on disk: only then is it acknowledged. Whatever is killed in between leaves a draft at most, which is swept.
"""

from __future__ import annotations

import hashlib
import os
import stat as modes
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from mix_files import descent, draft, ledger, trailer
from mix_files.draft import Draft
from mix_files.explained import explained, missing
from mix_files.ledger import Ledger, Totals
from mix_files.settings import FilesSettings
from mix_files.trailer import Trailer, read_trailer
from mixkit.databases import gone
from mixkit.errors import FileConflict, FileError, FilesFull
from mixkit.file_fields import check_fields
from mixkit.filesystem import ABSENT, PIECE, FileInfo, Page, Usage
from mixkit.paths import check_folder, check_path
from mixkit.storage import Place

__all__ = ["Folder", "Open", "Written"]

_STEP: Final = 4 << 20
"""Bytes of room that an upload of unknown size takes ahead at most."""


class Folder:
    """The files of an app. Holds nothing open."""

    def __init__(self, place: Place, settings: FilesSettings) -> None:
        self._place = place
        self._home = str(place.home)
        self._settings = settings

    # -- reading ------------------------------------------------------------------------------

    def stat(self, path: str) -> FileInfo:
        """As `Files.stat`."""
        check_path(path)
        found = self._open(path)
        try:
            return found.info
        finally:
            found.close()

    def read(self, path: str, start: int, stop: int | None, only_if: str | None) -> Open:
        """As `Files.read`; the first piece has been read."""
        check_path(path)
        if start < 0 or (stop is not None and stop < start):
            raise FileError(
                f"expected a part from 0 on that does not end before it begins, found {start} to {stop}"
            )
        found = self._open(path)
        try:
            if only_if is not None and found.info.etag != only_if:
                raise FileConflict(path, only_if, found.info.etag)
            found.begin(start, stop)
        except BaseException:
            found.close()
            raise
        return found

    def list(self, folder: str, after: str | None, most: int) -> Page:
        """As `Files.list`."""
        prefix = check_folder(folder)
        if after is not None:
            check_path(after)
        if most < 1:
            raise FileError(f"expected at least 1 file of a list, found {most}")
        found: list[FileInfo] = []
        with explained("list the files"):
            root = self._root(make=False)
            if root is None:
                return Page([], None)
            try:
                folders = [f"{name}.d" for name in prefix[1:-1].split("/")] if prefix != "/" else []
                with suppress(FileNotFoundError), descent.within(root, ["names", *folders]) as here:
                    for info in _below(here, prefix, after or ""):
                        if len(found) == most:
                            return Page(found, found[-1].path)
                        found.append(info)
            finally:
                os.close(root)
        return Page(found, None)

    def usage(self) -> Usage:
        """As `Files.usage`."""
        totals = Totals(0, 0)
        with explained("read the files"):
            root = self._root(make=False)
            if root is not None:
                with _closing(root), self._locked(root) as book:
                    totals = book.totals
        limits = self._settings
        return Usage(totals.files, totals.bytes, limits.max_files or None, limits.max_bytes or None)

    def _open(self, path: str) -> Open:
        folders, name = descent.split(path)
        file = -1
        with explained("read", path):
            here = self._root(make=False)
            if here is None:
                raise missing(path)
            # PERF: without context managers, since this is all that stands between a reader and the bytes.
            try:
                for folder in ("names", *folders):
                    outer, here = here, descent.open_folder(folder, here)
                    os.close(outer)
                file, found = descent.open_file(name, here)
                return Open(path, file, found)
            except BaseException:
                if file >= 0:
                    os.close(file)
                raise
            finally:
                os.close(here)

    # -- writing ------------------------------------------------------------------------------

    def put(
        self,
        path: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str] | None,
        only_if: str | None,
    ) -> FileInfo:
        """As `Files.put`."""
        written = self.begin(path, content_type, metadata, only_if, size=len(data))
        try:
            return written.fill(data)
        finally:
            written.abort()

    def begin(
        self,
        path: str,
        content_type: str,
        metadata: Mapping[str, str] | None,
        only_if: str | None,
        *,
        size: int = 0,
    ) -> Written:
        """As `Files.begin`. Room for `size` bytes is taken."""
        check_path(path)
        said = dict(metadata or {})
        check_fields(content_type, said)
        with explained("write", path):
            root = self._root(make=True)
            assert root is not None
            try:
                return Written(
                    self, root, path, self._draft(root, path, size, only_if), content_type, said, only_if
                )
            except BaseException:
                os.close(root)
                raise

    def copy(
        self,
        source: str,
        target: str,
        content_type: str | None,
        metadata: Mapping[str, str] | None,
        only_if: str | None,
    ) -> FileInfo:
        """As `Files.copy`."""
        check_path(source)
        check_path(target)
        found = self._open(source)
        try:
            said = found.said
            kept_type = said.content_type if content_type is None else content_type
            written = self.begin(
                target, kept_type, said.metadata if metadata is None else metadata, only_if, size=said.size
            )
            try:
                return written.take_from(found)
            finally:
                written.abort()
        finally:
            found.close()

    def delete(self, path: str, only_if: str | None) -> None:
        """As `Files.delete`."""
        check_path(path)
        folders, name = descent.split(path)
        with explained("delete", path):
            root = self._root(make=False)
            if root is None:
                raise missing(path)
            with _closing(root), self._locked(root) as book:
                with descent.within(root, ["names", *folders]) as here:
                    size = self._checked(here, name, path, only_if)
                    if size is None:
                        raise missing(path)
                    with book.changing(-1, -size):
                        os.unlink(name, dir_fd=here)
                    os.fsync(here)
                self._prune(root, folders)

    def rename(self, source: str, target: str, only_if: str | None) -> FileInfo:
        """As `Files.rename`."""
        check_path(source)
        check_path(target)
        if source == target:
            raise FileError(f"expected two paths, found {source!r:.200} twice")
        (folders, name), (other_folders, other_name) = descent.split(source), descent.split(target)
        with explained("rename", source):
            root = self._root(make=False)
            if root is None:
                raise missing(source)
            with _closing(root), self._locked(root) as book:
                with descent.within(root, ["names", *folders]) as here:
                    if self._checked(here, name, source, None) is None:
                        raise missing(source)
                    with self._look(root, other_folders) as there:
                        old = None if there is None else self._checked(there, other_name, target, only_if)
                    if there is None and only_if:
                        raise FileConflict(target, only_if, None)
                    with (
                        book.changing(0 if old is None else -1, -(old or 0)),
                        _closing(descent.make_folders(root, ["names", *other_folders])) as into,
                    ):
                        os.rename(name, other_name, src_dir_fd=here, dst_dir_fd=into)
                        os.fsync(into)
                    os.fsync(here)
                self._prune(root, folders)
        return self.stat(target)

    def settle(self, root: int, path: str, written: Draft, only_if: str | None) -> None:
        """Let a finished draft take its place."""
        folders, name = descent.split(path)
        with self._locked(root) as book:
            with self._look(root, folders) as here:
                old = None if here is None else self._checked(here, name, path, only_if)
            if here is None and only_if:
                raise FileConflict(path, only_if, None)
            more = written.size - (old or 0)
            self._check_files(book.totals, old is None)
            self._check_bytes(book.totals.bytes, more)
            with book.changing(old is None, more):
                into = descent.make_folders(root, ["names", *folders])
                try:
                    written.place(into, name)
                except BaseException:
                    os.close(into)
                    raise
        with _closing(into):
            os.fsync(into)

    def grow(self, root: int, path: str, written: Draft, size: int) -> None:
        """Take room for a draft that becomes larger than it has room for."""
        folders, name = descent.split(path)
        most = self._settings.max_bytes
        with self._locked(root) as book, descent.within(root, ["new"]) as new:
            with self._look(root, folders) as here:
                old = None if here is None else self._checked(here, name, path, None)
            used = book.totals.bytes + draft.reserved(new) - written.room - (old or 0)
            self._check_bytes(used, size)
            room = min(2 * size, size + _STEP)
            written.take(min(room, most - used) if most else room)

    def _draft(self, root: int, path: str, size: int, only_if: str | None) -> Draft:
        folders, name = descent.split(path)
        with self._locked(root) as book, descent.within(root, ["new"]) as new:
            draft.sweep(new)
            with self._look(root, folders) as here:
                old = None if here is None else self._checked(here, name, path, only_if)
            if here is None and only_if:
                raise FileConflict(path, only_if, None)
            self._check_files(book.totals, old is None)
            self._check_bytes(book.totals.bytes + draft.reserved(new) - (old or 0), size)
            return Draft(new, size)

    def _check_files(self, totals: Totals, new: bool) -> None:
        most = self._settings.max_files
        if most and new and totals.files >= most:
            raise FilesFull(totals.files, 1, most, "files", "settings.files.max_files")

    def _check_bytes(self, used: int, more: int) -> None:
        most = self._settings.max_bytes
        if most and more > 0 and used + more > most:
            raise FilesFull(used, more, most, "bytes", "settings.files.max_bytes")

    # -- what is there ------------------------------------------------------------------------

    def _root(self, *, make: bool) -> int | None:
        """The folder `files`, open; None if it is not there and is not to be made. The caller closes it."""
        if make:
            try:
                self._place.home.mkdir(exist_ok=True)
            except FileNotFoundError:
                raise gone(self._place) from None
        try:
            home = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if make or not self._place.home.parent.exists():
                raise gone(self._place) from None
            return None
        try:
            if make:
                _made(home, "files")
            root = descent.open_folder("files", home)
        except FileNotFoundError:
            return None
        finally:
            os.close(home)
        try:
            if make:
                _made(root, "names", "new")
        except BaseException:
            os.close(root)
            raise
        return root

    @contextmanager
    def _locked(self, root: int) -> Iterator[Ledger]:
        with ledger.locked(root, lambda: _counted(root)) as book:
            yield book

    @contextmanager
    def _look(self, root: int, folders: Sequence[str]) -> Iterator[int | None]:
        """A folder of files, open; None if it is not there."""
        with ExitStack() as stack:
            try:
                here: int | None = stack.enter_context(descent.within(root, ["names", *folders]))
            except FileNotFoundError:
                here = None
            yield here

    @staticmethod
    def _checked(here: int, name: str, path: str, only_if: str | None) -> int | None:
        """Size of a file in an open folder, None if there is none. `FileConflict` if it is not as it must be."""
        try:
            found = os.stat(name, dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:
            if only_if:
                raise FileConflict(path, only_if, None) from None
            return None
        if not modes.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise descent.foreign(name)
        if only_if is not None and (only_if == ABSENT or only_if != _etag(found)):
            raise FileConflict(path, only_if, _etag(found))
        return max(0, found.st_size - trailer.SIZE)

    @staticmethod
    def _prune(root: int, folders: Sequence[str]) -> None:
        if folders:
            with descent.within(root, ["names"]) as names:
                descent.prune(names, folders)


class Open:
    """A file that is being read, by one thread at a time."""

    def __init__(self, path: str, file: int, found: os.stat_result) -> None:
        said = read_trailer(file, found.st_size)
        if said is None:
            raise descent.foreign(descent.split(path)[1])
        if not said.sha256:
            said = Trailer(said.size, said.content_type, said.metadata, _digest(file, said.size))
        self.said = said
        self.info = _info(path, found, said)
        self.file = file
        self.start = self.stop = 0
        self._at = 0
        self._first = b""
        # A number that is closed while another thread still uses it may be another file's by then.
        self._lock = threading.Lock()

    def begin(self, start: int, stop: int | None) -> None:
        """Read that part; its first piece now."""
        size = self.said.size
        self.stop = size if stop is None else min(stop, size)
        self.start = min(start, self.stop)
        self._at = self.start
        # PERF: most files are short, and another way into a thread takes longer than reading them.
        self._first = self._take(PIECE)

    def at_hand(self, most: int) -> bytes | None:
        """What `read` would answer, if nothing needs to be read for it."""
        if self._first:
            data, self._first = self._first[:most], self._first[most:]
            return data
        return b"" if self._at >= self.stop else None

    def read(self, most: int) -> bytes:
        """As `Reading.read`."""
        with explained("read", self.info.path):
            return self._take(min(most, PIECE))

    def _take(self, most: int) -> bytes:
        with self._lock:
            if self.file < 0:
                raise FileError(f"the reading of {self.info.path!r:.200} is closed; begin another one")
            data = os.pread(self.file, min(most, self.stop - self._at), self._at)
        if not data and self._at < self.stop:
            raise FileError(f"file {self.info.path!r:.200} became shorter; look who else writes to the disk")
        self._at += len(data)
        return data

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            file, self.file = self.file, -1
            if file >= 0:
                os.close(file)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            self.close()


class Written:
    """An upload, by one thread at a time."""

    def __init__(
        self,
        folder: Folder,
        root: int,
        path: str,
        written: Draft,
        content_type: str,
        metadata: dict[str, str],
        only_if: str | None,
    ) -> None:
        self._folder = folder
        self._root = root
        self._path = path
        self._draft = written
        self._type = content_type
        self._metadata = metadata
        self._only_if = only_if
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        """As `Upload.write`."""
        with self._at_work():
            size = self._draft.size + len(data)
            if size > self._draft.room:
                self._folder.grow(self._root, self._path, self._draft, size)
            self._draft.write(data)

    def commit(self) -> FileInfo:
        """As `Upload.commit`."""
        with self._at_work():
            return self._settled(self._draft.finish(self._type, self._metadata))

    def fill(self, data: bytes) -> FileInfo:
        """Write all of it and commit."""
        with self._at_work():
            return self._settled(self._draft.fill(data, self._type, self._metadata))

    def take_from(self, found: Open) -> FileInfo:
        """Copy an open file and commit."""
        with self._at_work():
            return self._settled(
                self._draft.take_from(found.file, found.said, self._type, self._metadata),
                found.said.sha256.hex(),
            )

    def _settled(self, found: os.stat_result, sha256: str = "") -> FileInfo:
        self._folder.settle(self._root, self._path, self._draft, self._only_if)
        said = Trailer(
            self._draft.size, self._type, self._metadata, bytes.fromhex(sha256 or self._draft.sha256)
        )
        return _info(self._path, found, said)

    def abort(self) -> None:
        """As `Upload.abort`; to be called after `commit` too, to free what it holds."""
        with self._lock:
            self._draft.forget()
            root, self._root = self._root, -1
            if root >= 0:
                os.close(root)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._lock, explained("write", self._path):
            if self._root < 0:
                raise FileError(f"the upload of {self._path!r:.200} has ended; begin another one")
            yield

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            self.abort()


def _made(inside: int, *names: str) -> None:
    """Make folders in an open folder unless they are there, for good."""
    new = False
    for name in names:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=inside)
            new = True
    if new:
        os.fsync(inside)


def _below(here: int, prefix: str, after: str) -> Iterator[FileInfo]:
    """The files in an open folder and below, behind a path, in order. What vanishes meanwhile is left out."""
    for name, is_folder in descent.entries(here):
        path = prefix + name
        if path <= after and not (is_folder and after.startswith(path)):
            continue
        if not is_folder:
            with suppress(FileNotFoundError):
                found = os.stat(f"{name}.f", dir_fd=here, follow_symlinks=False)
                if modes.S_ISREG(found.st_mode) and found.st_nlink <= 1:
                    yield FileInfo(
                        path=path,
                        size=max(0, found.st_size - trailer.SIZE),
                        etag=_etag(found),
                        modified=found.st_mtime_ns // 1_000_000,
                    )
            continue
        try:
            inner = descent.open_folder(f"{name[:-1]}.d", here)
        except OSError:
            continue
        with _closing(inner):
            yield from _below(inner, path, after)


def _counted(root: int) -> Totals:
    """How many files there are, and how many bytes they have, by looking at all of them."""
    files = size = 0
    with descent.within(root, ["names"]) as names:
        for info in _below(names, "/", ""):
            files += 1
            size += info.size
    return Totals(files, size)


def _info(path: str, found: os.stat_result, said: Trailer) -> FileInfo:
    return FileInfo(
        path=path,
        size=said.size,
        etag=_etag(found),
        modified=found.st_mtime_ns // 1_000_000,
        content_type=said.content_type,
        sha256=said.sha256.hex(),
        metadata=said.metadata,
    )


def _etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size - trailer.SIZE:x}"


def _digest(file: int, size: int) -> bytes:
    digest, at = hashlib.sha256(), 0
    while at < size and (data := os.pread(file, min(PIECE, size - at), at)):
        digest.update(data)
        at += len(data)
    return digest.digest()


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
