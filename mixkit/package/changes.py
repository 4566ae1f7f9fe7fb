"""Changing a workspace: one at a time, and whatever a change left that failed, or was killed, goes with the next."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mixkit.app_files import AppFiles
from mixkit.databases import Databases
from mixkit.errors import NotFound
from mixkit.package import disk
from mixkit.package.book import Book, place_of
from mixkit.storage import Database, Place
from mixkit.whole_file import sync_folder

__all__ = ["SIGNALS", "Changes"]

SIGNALS: Final = "signals.db"
"""Folder of the database for signals."""


class Changes:
    """What changes the apps of one workspace has to go through.

    The book says which apps there are. The folder of one that it says is no more is a leftover: the app is noted
    there before its folder is made, and before it is deleted. Any other folder is somebody else's.

    Args:
        root: folder of the workspace.
        databases: those of the apps.
        files: those of the apps, if there are any.
    """

    def __init__(self, root: Path, databases: Databases, files: AppFiles | None = None) -> None:
        self.root = root
        self.book = Book(root.name, root, databases)
        self._databases = databases
        self._files = files

    def signals(self, *, make: bool) -> Database:
        """The database for signals, opened if it is not, and made on wish. `NotFound` if there is none."""
        place = Place(self.root.name, "", self.root / SIGNALS)
        found = self._databases.at_hand(place)
        if found is not None:
            return found
        if not make and not place.home.is_dir():
            raise NotFound(f"no signals in workspace {self.root.name!r}")
        return self._databases.open(place)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Be the only one, of all processes and threads, who changes the workspace.

        Raises:
            NotFound: there is no such workspace.
            Busy: somebody else has been changing it for a minute.
        """
        with disk.locked(self.root):
            self._sweep()
            try:
                yield
            finally:
                # Removes what failed, and what was deleted.
                self._sweep()

    def make_home(self, app: str, code: Collection[str] = ()) -> Place:
        """Where the database of an app is that is about to be written into the book. Its folder is made, a new one,
        unless there is such an app already.

        Args:
            code: SHA-256 of what is kept in the book before that, for a new one.
        """
        known = self.book.apps().get(app)
        if known is not None and known.generation is not None:
            return known.place
        folder = self.book.note(app, code)
        (self.root / folder).mkdir()
        sync_folder(self.root)
        return place_of(self.root, folder)

    def _sweep(self) -> None:
        for name, app in self.book.apps().items():
            folder = app.place.home.parent
            if app.generation is None and folder.exists():
                # The folder goes last, which says that there is something to do.
                self.book.drop(name)
                self._databases.remove(app.place)
                if self._files is not None:
                    self._files.remove(app.place)
                disk.to_trash(folder)
        disk.empty_trash(self.root)
