"""Opening databases: those who open the same one in a process share its engine."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, overload

from mix_db.engine.engine import Engine
from mix_db.engine.file_rows import FileRows
from mix_db.engine.handle import Handle
from mix_db.files.errors import explained
from mix_db.files.home import located
from mix_db.settings import Settings
from mix_db.versions.rows import MemoryRows
from mixkit.errors import NotFound

__all__ = ["open_folder", "open_memory", "remove_folder"]

_GONE: Final = ".removed"
_ATTEMPTS: Final = 20

_Identity = tuple[int, int, bool]


@dataclass
class _Shared:
    identity: _Identity
    engine: Engine
    handles: int = 0
    known: weakref.WeakSet[Handle] = field(default_factory=weakref.WeakSet)


class _Engines:
    """The engines that are open, by the folder's device and inode and by whether they may write."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self._open: dict[_Identity, _Shared] = {}

    def handle(
        self, path: Path, *, create: bool, read_only: bool, settings: Settings, parents: bool
    ) -> Handle:
        shared = self._shared(_identity(path, read_only))
        if shared is None:
            # With no lock held: one that is slow to open holds up nobody who opens another one, or forks.
            engine, identity = _engine(
                path, create=create, read_only=read_only, settings=settings, parents=parents
            )
            shared = self._shared(identity, engine)
            if shared.engine is not engine:
                engine.close()
        release = functools.partial(self._release, shared)
        # The working directory may change, and this handle's path is not that of others.
        in_place = functools.partial(_leads, str(path.absolute()), *shared.identity[:2])
        gone = functools.partial(_is_gone, path.absolute())
        handle = Handle(
            shared.engine, read_only=read_only, release=release, is_in_place=in_place, is_gone=gone
        )
        with self.mutex:
            shared.known.add(handle)
        return handle

    @overload
    def _shared(self, identity: _Identity | None) -> _Shared | None: ...

    @overload
    def _shared(self, identity: _Identity, engine: Engine) -> _Shared: ...

    def _shared(self, identity: _Identity | None, engine: Engine | None = None) -> _Shared | None:
        """The engine that is open, for one handle more; otherwise this one."""
        with self.mutex:
            shared = self._open.get(identity) if identity else None
            if shared is None and identity and engine:
                shared = self._open[identity] = _Shared(identity, engine)
            if shared is not None:
                shared.handles += 1
            return shared

    def close(self, path: Path) -> None:
        """Close all handles of a folder that is being removed."""
        identities = _identity(path, read_only=True), _identity(path, read_only=False)
        with self.mutex:
            found = [self._open[identity] for identity in identities if identity in self._open]
            handles = [handle for shared in found for handle in shared.known]
        for handle in handles:
            handle.close(removed=True)

    def _release(self, shared: _Shared) -> None:
        with self.mutex:
            shared.handles -= 1
            if shared.handles:
                return
            del self._open[shared.identity]
        shared.engine.close()


_engines: Final = _Engines()
os.register_at_fork(
    before=_engines.mutex.acquire,
    after_in_parent=_engines.mutex.release,
    after_in_child=_engines.mutex.release,
)


def open_folder(
    path: Path, *, create: bool, read_only: bool, settings: Settings, parents: bool = True
) -> Handle:
    """The database in a folder, or that of an app whose home the folder is.

    Args:
        create: make it if there is none.
        parents: make also what the folder is in. Not that of an app: it would come back after the app was deleted.

    Raises:
        NotFound: there is none, and it is not to be made.
        StorageError: it is damaged, of another format version, or cannot be reached; the message says what to do.
    """
    return _engines.handle(
        located(path), create=create, read_only=read_only, settings=settings, parents=parents
    )


def remove_folder(path: Path) -> None:
    """Close the database in a folder and remove the folder, in one step for whoever looks for it there.

    Raises:
        StorageError: it cannot be removed; the message says what to do.
    """
    _engines.close(path)
    gone = path.with_name(path.name + _GONE)
    with explained(f"the database in {path} cannot be removed"):
        # Of one that was killed while it did this.
        _remove_tree(gone)
        with contextlib.suppress(FileNotFoundError):
            path.rename(gone)
        _remove_tree(gone)


def _remove_tree(path: Path) -> None:
    if path.is_symlink():
        # Whoever put the files elsewhere knows where.
        path.unlink()
    for left in reversed(range(_ATTEMPTS)):
        # Somebody who has it open may make and remove files there, until they notice that it is gone.
        try:
            shutil.rmtree(path)
            return
        except FileNotFoundError:
            if not path.exists():
                return
        except OSError as exc:
            if exc.errno != errno.ENOTEMPTY or not left:
                raise


def open_memory(settings: Settings) -> Handle:
    """A new database in memory, gone when its handle goes."""
    engine = Engine(MemoryRows, settings, shared=False)
    return Handle(engine, read_only=False, release=engine.close)


def _engine(
    path: Path, *, create: bool, read_only: bool, settings: Settings, parents: bool
) -> tuple[Engine, _Identity]:
    made = create
    identity = 0, 0

    def rows() -> FileRows:
        nonlocal made, identity
        create, made = made, False
        rows = FileRows(
            path, create=create, read_only=read_only, timeout=settings.lock_timeout, parents=parents
        )
        identity = rows.identity
        return rows

    with explained(f"the database in {path} cannot be opened"):
        try:
            engine = Engine(rows, settings, shared=True)
            return engine, (*identity, read_only)
        except FileNotFoundError as exc:
            missing = exc
    raise NotFound(f"expected a database in {path}, found none; create it, or open another path") from missing


def _identity(path: Path, read_only: bool) -> _Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, read_only


def _is_gone(path: Path) -> bool:
    """Whether what the folder was in is gone as well: it has not only been moved."""
    try:
        return not path.parent.exists()
    except OSError:
        return False


def _leads(path: str, device: int, inode: int) -> bool:
    """Whether the path leads to that folder: asked twice by every commit."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half as long as by way of a Path
    except OSError:
        return False
    return found.st_ino == inode and found.st_dev == device
