"""Workspaces in a directory: found, made, deleted; and the apps in them. Safe to use from many processes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mixkit.databases import Databases
from mixkit.errors import NotFound, StorageError
from mixkit.grants import Grants
from mixkit.near import meant
from mixkit.package import disk
from mixkit.package.app import InstalledApp
from mixkit.package.book import FOLDER
from mixkit.package.changes import Changes
from mixkit.package.errors import Exists
from mixkit.package.install import Installed, LoadFiles, LoadRecords, Options, RunSetup, Validate, install
from mixkit.package.names import check_name
from mixkit.package.package import Package
from mixkit.package.past import Event
from mixkit.storage import Place

__all__ = ["Workspace", "WorkspaceStore"]


class WorkspaceStore:
    """All workspaces below one directory, which is made if it is not there.

        <workspace>/
          workspace.db/       a database: which apps there are, what each may do, and their code
          <app>/data/         the app's own, with its database
          .lock  .trash-*     in use while something is changed

    Objects of this class and `Workspace` may be shared by threads and survive a fork.

    Args:
        databases: opens the databases, those of the workspaces and those of their apps: `Kernel.databases`.

    Raises:
        StorageError: the storage of the databases forgets what it is given.
    """

    def __init__(self, root: Path | str, databases: Databases) -> None:
        if not databases.storage.durable:
            raise StorageError(
                "workspaces need a storage that outlives the process, "
                f'found {databases.storage.name!r}; name another one in the profile, as storage = "mixquery"'
            )
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self._databases = databases
        self._workspaces: dict[str, Workspace] = {}

    def list(self) -> list[str]:
        """Names of the workspaces, sorted."""
        found = (path.parent.name for path in self.root.glob(f"*/{FOLDER}"))
        return sorted(name for name in found if not name.startswith("."))

    def create(self, name: str) -> Workspace:
        """Make an empty workspace.

        Raises:
            Exists: there is one of that name, or something else in its place.
            BadName: it cannot have that name.
            StorageError: its database cannot be made.
        """
        home = self.root / check_name("workspace", name)
        with disk.locked(self.root):
            disk.empty_trash(self.root, self._forget)
            # What was killed before it made the folder of the database left an empty one.
            if home.exists() and not (home.is_dir() and not any(home.iterdir())):
                raise Exists(f"there is a workspace {name!r} already")
            home.mkdir(exist_ok=True)
            try:
                disk.sync(self.root)
                (home / FOLDER).mkdir()
                disk.sync(home)
                workspace = self.workspace(name)
                workspace.apps()
            except BaseException:
                self._discard(name)
                raise
        return workspace

    def delete(self, name: str) -> None:
        """Delete a workspace with all apps and their data. What runs may end, but reads no code any more.

        Raises:
            NotFound: there is none.
        """
        home = self.workspace(name).root
        with disk.locked(self.root), disk.locked(home):
            self._discard(name)

    def _discard(self, name: str) -> None:
        self._workspaces.pop(name, None)
        disk.to_trash(self.root / name)
        disk.empty_trash(self.root, self._forget)

    def _forget(self, name: str, trash: Path) -> None:
        """Close and remove the databases of a workspace that was deleted, wherever the storage keeps them."""
        home = self.root / name
        if (home / FOLDER).exists():
            # There is another one of that name; it was made after this had been done.
            return
        for folder in trash.iterdir():
            if folder.name == FOLDER:
                self._databases.remove(Place(name, "", home / FOLDER))
            else:
                self._databases.remove(Place(name, folder.name, home / folder.name / "data"))

    def workspace(self, name: str) -> Workspace:
        """The workspace of that name; cheap.

        Raises:
            NotFound: there is none.
        """
        found = self._workspaces.get(name)
        if found is None:
            found = Workspace(Changes(self.root / check_name("workspace", name), self._databases))
        if not found.is_there():
            raise NotFound(f"no workspace {name!r}")
        self._workspaces[name] = found
        return found


class Workspace:
    """Apps of one workspace. Made by `WorkspaceStore`.

    All methods raise `NotFound` if the workspace was deleted, and `StorageError` if its database cannot be read.
    """

    def __init__(self, changes: Changes) -> None:
        self.root = changes.root
        self.name = changes.root.name
        self._changes = changes
        self._book = changes.book
        self._folder = str(changes.root / FOLDER)

    def apps(self) -> list[str]:
        """Names of the apps, sorted."""
        return sorted(app for app, generation in self._book.apps().items() if generation is not None)

    def generation(self, app: str) -> str:
        """What `app(app).generation` would be, for some microseconds as long as nothing changed: for caches.

        Raises:
            NotFound: there is no such app.
        """
        generation = self._book.apps().get(app)
        if generation is None:
            known = ", ".join(self.apps()) or "none"
            raise NotFound(
                f"no app {app!r:.80} in workspace {self.name!r}; there are: {known}"[:400]
                + meant(app, self.apps())
            )
        return generation

    def generation_at_hand(self, app: str) -> str | None:
        """The same, or None if there is no such app, or it takes more than a glance. An event loop may ask."""
        apps = self._book.apps_at_hand()
        return None if apps is None else apps.get(app)

    def place(self, app: str) -> Place:
        """Where the database of an app is. Raises as `generation`."""
        self.generation(app)
        return self._changes.place(app)

    def place_at_hand(self, app: str) -> Place | None:
        """The same, or None; see `generation_at_hand`."""
        return None if self.generation_at_hand(app) is None else self._changes.place(app)

    def app(self, name: str) -> InstalledApp:
        """The app as it is now, whichever process installed it. Close it when its code has been read.

        Raises:
            NotFound: there is no such app.
            PackageError: what the store has of it was changed.
        """
        place = self.place(name)
        page = self._book.page()
        entry = page.find(name)
        if entry is None:
            raise NotFound(f"no app {name!r} in workspace {self.name!r}: it has just been deleted")
        return InstalledApp(place, entry, page.code) if entry else InstalledApp(place)

    def past(self, app: str) -> list[Event]:
        """When the app was made, what was installed and granted when, and when it was deleted; oldest first.

        It goes back to when the database of the workspace was last compacted without its history.
        """
        return self._book.past(app)

    def create_app(self, name: str) -> InstalledApp:
        """Make an app without code. `Exists` if there is one; `BadName` if it cannot have that name."""
        check_name("app", name)
        with self._changes.begun():
            if name in self.apps() or (self.root / name).exists():
                raise Exists(f"there is an app {name!r} in workspace {self.name!r} already")
            self._changes.make_home(name)
            self._book.write({name: ""})
        return self.app(name)

    def delete_app(self, name: str) -> None:
        """Delete an app with its data. Runs that have begun may end. `NotFound` if there is none."""
        with self._changes.begun():
            self.generation(name)
            self._book.write({name: None})

    def install(
        self,
        package: Package,
        *,
        granted: Grants | None = None,
        validate: Validate | None = None,
        force: bool = False,
        trusted: Iterable[str] | None = None,
        load_records: LoadRecords | None = None,
        load_files: LoadFiles | None = None,
        run_setup: RunSetup | None = None,
    ) -> Installed:
        """Install a package, all or nothing; see `mixkit.package.install.Options` for the arguments.

        Raises:
            PackageError: it is refused; nothing was changed.
            Busy: somebody else has been changing the workspace for a minute.
        """
        options = Options(granted, validate, force, trusted, load_records, load_files, run_setup)
        return install(self._changes, package, options)

    def is_there(self) -> bool:
        """Whether the workspace was not deleted."""
        # PERF: asked for every request; going through `Path` doubles the price.
        return os.path.isdir(self._folder)  # noqa: PTH112
