"""Changing a workspace: one at a time, and whatever a change left that failed, or was killed, goes with the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixkit.databases import Databases
from mixkit.errors import PackageError
from mixkit.package import disk
from mixkit.package.book import Book
from mixkit.storage import Place

__all__ = ["Changes"]


class Changes:
    """What changes the apps of one workspace has to go through.

    The book says which apps there are. The folder of one that it says is no more is a leftover: it is noted there
    before its folder is made, and before it is deleted. Any other folder is somebody else's.

    Args:
        root: folder of the workspace.
        databases: those of the apps.
    """

    def __init__(self, root: Path, databases: Databases) -> None:
        self.root = root
        self.book = Book(root.name, root, databases)
        self._databases = databases

    def place(self, app: str) -> Place:
        """Where the database of an app is, whether there is such an app or not."""
        return Place(self.root.name, app, self.root / app / "data")

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

    def make_home(self, app: str) -> None:
        """Make the folder of an app that is about to be written into the book, unless it is there.

        Raises:
            PackageError: there is something else in its place.
        """
        known = self.book.apps()
        if known.get(app) is not None:
            return
        home = self.root / app
        if home.exists():
            raise PackageError(f"app {app!r}: {home} is there already, and is no app")
        if app not in known:
            self.book.write({app: None})
        home.mkdir()
        disk.sync(self.root)

    def _sweep(self) -> None:
        for app, generation in self.book.apps().items():
            if generation is None and (self.root / app).exists():
                self._databases.remove(self.place(app))
                disk.to_trash(self.root / app)
        disk.empty_trash(self.root)
