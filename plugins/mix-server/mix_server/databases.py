"""The databases of the apps: found by name, opened when first asked for, called where they cannot hold up others."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from mix_server.errors import NoStorage
from mixkit.errors import NotFound
from mixkit.storage import Database, Place

if TYPE_CHECKING:
    from pathlib import Path

    from mix_server.admission import Admission
    from mixkit.package import WorkspaceStore

__all__ = ["Databases", "Opener"]

T = TypeVar("T")

_MOST: Final = 256
"""Databases that are remembered as open; each costs a descriptor."""


class Opener(Protocol):
    """What opens databases and keeps them open."""

    def open(self, place: Place) -> Database:
        """The database of that place; cheap if it is open already."""
        ...

    def forget(self, place: Place) -> None:
        """Close the database if it is open."""
        ...


@dataclass(slots=True)
class _Folder:
    """A folder as it was found. Holding it open keeps its number from being given to another one."""

    path: Path
    _descriptor: int = field(init=False)
    _identity: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found = os.fstat(self._descriptor)
        self._identity = (found.st_dev, found.st_ino)

    def is_there(self) -> bool:
        """Whether the path still leads to this very folder."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - before every request; going through `Path` costs more
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def close(self) -> None:
        os.close(self._descriptor)


class Databases:
    """The databases of all apps.

    Another process may delete an app and make one of the same name; so each look-up asks, for the price of two
    `stat`, whether the folder is still the one that was opened.

    Args:
        opener: opens them; None if the profile names no storage.
        admission: who calls a database takes a place there, as a run does.
    """

    def __init__(self, opener: Opener | None, store: WorkspaceStore, admission: Admission) -> None:
        self._opener = opener
        self._store = store
        self._admission = admission
        self._folders: OrderedDict[Place, _Folder] = OrderedDict()
        self._lock = threading.Lock()
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None

    async def of(self, ws: str, app: str) -> Database:
        """The database of an app, made if it is not there.

        Raises:
            NotFound: no such workspace or app.
            NoStorage: this server keeps no databases.
            StorageError: it cannot be opened.
        """
        if self._opener is None:
            raise NoStorage
        place = self._place(ws, app)
        folder = self._folders.get(place)
        if folder is not None and folder.is_there():
            # PERF: once opened it is at hand, and a thread would cost more than a whole get.
            return self._opener.open(place)
        return await self.call(lambda: self._open(place))

    def _place(self, ws: str, app: str) -> Place:
        workspace = self._store.workspace(ws)
        workspace.generation(app)
        return Place(ws, app, workspace.switch.home(app) / "data")

    def _open(self, place: Place) -> Database:
        assert self._opener is not None
        with self._lock:
            folder = self._folders.pop(place, None)
            if folder is not None and not folder.is_there():
                folder.close()
                self._opener.forget(place)
                folder = None
            if folder is None:
                try:
                    folder = _Folder(place.home.parent)
                except OSError:
                    raise NotFound(f"no app {place.app!r:.80} in workspace {place.workspace!r:.80}") from None
            self._folders[place] = folder
            while len(self._folders) > _MOST:
                self._forget(next(iter(self._folders)))
        return self._opener.open(place)

    def forget(self, ws: str, app: str | None = None) -> None:
        """Close the databases of a workspace, or of one app of it, because they are about to be deleted."""
        with self._lock:
            for place in list(self._folders):
                if place.workspace == ws and app in (None, place.app):
                    self._forget(place)

    def _forget(self, place: Place) -> None:
        assert self._opener is not None
        self._folders.pop(place).close()
        self._opener.forget(place)

    async def call(self, work: Callable[[], T], cancel: Callable[[], None] | None = None) -> T:
        """Call `work` in a thread, when there is a place for it.

        Args:
            cancel: makes `work` end soon; called when the task is cancelled. The task leaves when `work` has ended.

        Raises:
            Overloaded, Stopping: there is no place.
        """
        loop = asyncio.get_running_loop()
        async with self._admission:
            done = loop.run_in_executor(self._executor(), work)
            try:
                return await asyncio.shield(done)
            except asyncio.CancelledError:
                if cancel is not None:
                    cancel()
                await asyncio.wait([done])
                if not done.cancelled():
                    done.exception()
                raise

    def _executor(self) -> concurrent.futures.ThreadPoolExecutor:
        # Made when first needed, which is after the fork.
        if self._threads is None:
            self._threads = concurrent.futures.ThreadPoolExecutor(
                self._admission.max_runs, thread_name_prefix="mixkit-database"
            )
        return self._threads

    def close(self) -> None:
        """End the threads. The databases are closed by whoever opened them. Idempotent."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            while self._folders:
                self._folders.popitem()[1].close()
