"""Workspaces in a directory: found, made, deleted; and the apps in them. Safe to use from many processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TypeVar

from mixkit.app_files import AppFiles
from mixkit.databases import Databases, gone
from mixkit.errors import NotFound, PackageError, StorageError
from mixkit.grants import Grants
from mixkit.near import meant
from mixkit.package import disk
from mixkit.package.app import Installation, InstalledApp
from mixkit.package.book import FOLDER, Standing, place_of
from mixkit.package.changes import SIGNALS, Changes
from mixkit.package.errors import Busy, Exists
from mixkit.package.glance import Glance
from mixkit.package.install import Installed, LoadFiles, LoadRecords, Options, RunSetup, Validate, install
from mixkit.package.names import check_name, is_name
from mixkit.package.package import Package
from mixkit.package.past import Event
from mixkit.package.release import Release
from mixkit.storage import Database, Place
from mixkit.whole_file import sync_folder

__all__ = ["Workspace", "WorkspaceStore"]

T = TypeVar("T")


class WorkspaceStore:
    """All workspaces below one directory, which is made if it is not there.

        <workspace>/
          workspace.db/       a database: which apps there are, what each may do, and their code
          signals.db/         a database: the promises of its runs, made with the first of them
          <app>.<hex>/data/   the app's own, with its database; no other app ever has that folder
          .lock  .trash-*     in use while something is changed
          .changes            counts the commits to the database, see `mixkit.package.disk`
          .making             it is being made, and nobody sees it yet

    Objects of this class and `Workspace` may be shared by threads and survive a fork.

    Args:
        databases: opens the databases, those of the workspaces and those of their apps: `Kernel.databases`.
        files: those of the apps, `Kernel.files`, so that they go with the apps; None where there are none.

    Raises:
        StorageError: the storage of the databases forgets what it is given.
    """

    def __init__(self, root: Path | str, databases: Databases, files: AppFiles | None = None) -> None:
        if not databases.storage.durable:
            raise StorageError(
                "workspaces need a storage that outlives the process, "
                f'found {databases.storage.name!r}; name another one in the profile, as storage = "mixquery"'
            )
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self._folder = str(self.root)
        self._databases = databases
        self._files = files
        self._workspaces: dict[str, Workspace] = {}

    def list(self) -> list[str]:
        """Names of the workspaces, sorted."""
        found = (path.parent for path in self.root.glob(f"*/{FOLDER}"))
        return sorted(
            home.name for home in found if home.name[0] != "." and not (home / disk.MAKING).exists()
        )

    def create(self, name: str) -> Workspace:
        """Make an empty workspace.

        Raises:
            Exists: there is one of that name, or something else in its place.
            BadName: it cannot have that name.
            StorageError: its database cannot be made.
        """
        with disk.locked(self.root):
            home = self._new_home(name)
            try:
                workspace = self._make(name, home)
            except BaseException:
                self._discard(name)
                raise
        self._workspaces[name] = workspace
        return workspace

    @contextmanager
    def making(self, name: str) -> Iterator[Workspace]:
        """Make a workspace that nobody sees before the block has ended well; if it fails, or the process is killed,
        there is none. Raises as `create`."""
        with contextlib.ExitStack() as made:
            with disk.locked(self.root):
                home = self._new_home(name)
                try:
                    made.enter_context(disk.locked(home, seconds=0, name=disk.MAKING))
                    workspace = self._make(name, home)
                except BaseException:
                    self._discard(name)
                    raise
            try:
                yield workspace
                # Under the lock, since who sweeps must not find the file before that and lock it after.
                with disk.locked(self.root):
                    (home / disk.MAKING).unlink()
                    sync_folder(home)
            except BaseException:
                with disk.locked(self.root):
                    self._discard(name)
                raise

    def _new_home(self, name: str) -> Path:
        """The folder for a workspace of that name, made, once what was left of others is gone. Under the lock."""
        home = self.root / check_name("workspace", name)
        disk.empty_trash(self.root, self._forget)
        self._sweep()
        # What was killed before it made the folder of the database left an empty one.
        if home.exists() and not (home.is_dir() and not any(home.iterdir())):
            raise Exists(f"there is a workspace {name!r} already")
        home.mkdir(exist_ok=True)
        return home

    def _make(self, name: str, home: Path) -> Workspace:
        sync_folder(self.root)
        (home / FOLDER).mkdir()
        sync_folder(home)
        workspace = Workspace(Changes(home, self._databases, self._files))
        workspace.apps()
        return workspace

    def _sweep(self) -> None:
        """Discard what was being made by somebody who was killed."""
        for marker in self.root.glob(f"*/{disk.MAKING}"):
            try:
                with disk.locked(marker.parent, seconds=0, name=disk.MAKING):
                    self._discard(marker.parent.name)
            except (Busy, NotFound):
                continue

    def delete(self, name: str) -> None:
        """Delete a workspace with all apps and their data; see `Workspace.delete_app` for what runs.

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
            elif folder.name == SIGNALS:
                self._databases.remove(Place(name, "", home / SIGNALS))
            elif not folder.name.startswith("."):
                place = place_of(home, folder.name)
                self._databases.remove(place)
                if self._files is not None:
                    self._files.remove(place)

    def has(self, name: str) -> bool:
        """Whether there may be a workspace of that name: False if there is none for sure. Takes a microsecond."""
        if not is_name(name):
            return False
        try:
            # NOTE: it takes as long as a look at the mark of one that is there, by which nobody can tell them apart.
            os.stat(f"{self._folder}/{name}/{FOLDER}")  # noqa: PTH116 - for every request
        except OSError:
            return False
        return True

    def workspace(self, name: str) -> Workspace:
        """The workspace of that name; cheap.

        Raises:
            NotFound: there is none.
        """
        found = self._workspaces.get(name)
        if found is None:
            # Nothing is made for a name that there is not: it would take longer than one that is known to be there, and
            # who may see neither could tell them apart.
            if not self.has(check_name("workspace", name)):
                raise NotFound(f"no workspace {name!r}")
            found = Workspace(Changes(self.root / name, self._databases, self._files))
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
        self._making = str(changes.root / disk.MAKING)

    def apps(self) -> list[str]:
        """Names of the apps, sorted."""
        return sorted(name for name, app in self._book.apps().items() if app.generation is not None)

    def database(self) -> Database:
        """The workspace's own, to be read: for what belongs to it. Records of the types `app` and `code` are the
        store's, and those that name an app in the field `app` go with it. Cheap if it is open."""
        return self._book.database()

    def writing(self) -> AbstractContextManager[Database]:
        """The same, for a commit to it, which every `glance` sees. `Busy` if others have been writing for a minute."""
        return self._book.writing()

    def signals(self, *, make: bool = True) -> Database:
        """The database for the signals of its runs (`mixkit.kept_signals`). Cheap if it is open. It is one of its own:
        it is written often, and no `glance` sees it.

        Args:
            make: it if it is not there; else that is a `NotFound`. Who only asks for a signal makes none.
        """
        if not self.is_there():
            raise NotFound(f"no workspace {self.name!r}")
        return self._changes.signals(make=make)

    def glance(self, read: Callable[[Database], tuple[T, str]]) -> Glance[T]:
        """What `read` makes of `database`, with the watermark that it is of: made again only when it was written."""
        return Glance(self._book, read)

    def mark(self) -> disk.Mark | None:
        """What stays the same as long as nothing was written of what a `glance` sees: what is installed, and what else
        is in `database`. None where that cannot be said. What is read after it is no older. Takes a microsecond."""
        return self._book.mark()

    def generation(self, app: str) -> str:
        """What `app(app).generation` would be, for some microseconds as long as nothing changed: for caches.

        Raises:
            NotFound: there is no such app.
        """
        return self._found(self._book.apps(), app)[1]

    def place(self, app: str) -> Place:
        """Where the database of an app is: another place for each app that is made. Raises as `generation`."""
        return self._found(self._book.apps(), app)[0]

    def place_beside(self, own: Place, app: str) -> Place:
        """The same for somebody who began with the app of the place `own`.

        Raises:
            NotFound: there is no such app, or theirs is gone, whether there is another one of its name or not.
        """
        apps = self._book.apps()
        standing = apps.get(own.app)
        if standing is None or standing.generation is None or standing.place != own:
            raise gone(own)
        return self._found(apps, app)[0]

    def place_at_hand(self, app: str) -> Place | None:
        """The same as `place`, or None if there is no such app, or it takes more than a glance. An event loop may
        ask."""
        apps = self._book.apps_at_hand()
        found = None if apps is None else apps.get(app)
        return None if found is None or found.generation is None else found.place

    def is_current(self, place: Place, generation: str) -> bool:
        """Whether the app of that place is there, with the code of that generation, as far as a glance shows."""
        apps = self._book.apps_at_hand()
        found = None if apps is None else apps.get(place.app)
        if found is None or found.generation != generation:
            return False
        # PERF: asked for every request, and as a rule it is the same object.
        return found.place is place or found.place == place

    def _found(self, apps: Mapping[str, Standing], app: str) -> tuple[Place, str]:
        found = apps.get(app)
        if found is None or found.generation is None:
            known = sorted(name for name, other in apps.items() if other.generation is not None)
            there = ", ".join(known) or "none"
            raise NotFound(
                f"no app {app!r:.80} in workspace {self.name!r}; there are: {there}"[:400] + meant(app, known)
            )
        return found.place, found.generation

    def app(self, name: str) -> InstalledApp:
        """The app as it is now, whichever process installed it. Close it when its code has been read.

        Raises:
            NotFound: there is no such app.
            PackageError: what the store has of it was changed.
        """
        self.generation(name)
        page = self._book.page()
        place, entry = page.find(name) or (None, None)
        if place is None or entry is None:
            raise NotFound(f"no app {name!r} in workspace {self.name!r}: it has just been deleted")
        return InstalledApp(place, entry, page.code) if entry else InstalledApp(place)

    def file(self, own: Place, generation: str, name: str) -> bytes:
        """A file among the code of the app of the place `own`, for somebody who began with that generation of it.

        Raises:
            NotFound: there is no such file, or theirs is gone, or was installed anew.
            PackageError: what the store has of it was changed.
        """
        with closing(self.app(own.app)) as app:
            if app.place != own:
                raise gone(own)
            if app.generation != generation:
                raise NotFound(f"app {own.app!r} was installed anew since this run began; start it again")
            return app.file(name)

    def past(self, app: str) -> list[Event]:
        """When the app was made, what was installed and granted when, and when it was deleted; oldest first.

        It goes back to when the database of the workspace was last compacted without its history.
        """
        return self._book.past(app)

    def create_app(self, name: str) -> InstalledApp:
        """Make an app without code. `Exists` if there is one; `BadName` if it cannot have that name."""
        check_name("app", name)
        with self._changes.begun():
            if name in self.apps():
                raise Exists(f"there is an app {name!r} in workspace {self.name!r} already")
            self._changes.make_home(name)
            self._book.write({name: ""})
        return self.app(name)

    def delete_app(self, name: str) -> None:
        """Delete an app with its data. `NotFound` if there is none.

        Runs that have begun may end, but find neither data nor other agents any more, also if there is another app of
        that name by then.
        """
        with self._changes.begun():
            self.generation(name)
            self._book.forget(name)
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
        dry_run: bool = False,
    ) -> Installed:
        """Install a package, all or nothing; see `mixkit.package.install.Options` for the arguments.

        Raises:
            PackageError: it is refused; nothing was changed.
            Busy: somebody else has been changing the workspace for a minute.
        """
        options = Options(granted, validate, force, trusted, load_records, load_files, run_setup, dry_run)
        return install(self._changes, package, options)

    def releases(self, package: Package) -> dict[str, Release]:
        """What is installed now of the apps that a package brings."""
        found = {}
        for name in package.manifest.apps.keys() & set(self.apps()):
            with closing(self.app(name)) as app:
                if app.release is not None:
                    found[name] = app.release
        return found

    def agree(self, app: str, powers: Iterable[str] | None = None) -> Installation:
        """Let an app have powers that its package asks for and that were withheld; answers what is installed now.

        Args:
            powers: as `Installation.withheld` has them; None for all.

        Raises:
            NotFound: there is no such app, or it has no code.
            PackageError: one of them is not withheld.
        """
        with self._changes.begun():
            with closing(self.app(app)) as found:
                installation = found.installation
            if installation is None:
                raise NotFound(f"app {app!r} has no code that could have powers")
            withheld = installation.withheld()
            wanted = withheld if powers is None else list(powers)
            for power in wanted:
                if power not in withheld:
                    raise PackageError(
                        f"app {app!r}: expected one of the powers that are withheld, {', '.join(withheld) or 'none'}; "
                        f"found {power!r:.200}{meant(power, withheld)}"
                    )
            if wanted:
                installation = installation.agreed(wanted)
                self._book.write({app: installation})
            return installation

    @contextmanager
    def changing(self) -> Iterator[Changes]:
        """Be the only one who changes the apps, for whoever makes them by other means than a package.

        Raises:
            Busy: somebody else has been changing the workspace for a minute.
        """
        with self._changes.begun():
            yield self._changes

    def is_there(self) -> bool:
        """Whether the workspace was not deleted."""
        # PERF: asked for every request; going through `Path` doubles the price.
        return os.path.isdir(self._folder) and not os.path.exists(self._making)  # noqa: PTH110, PTH112
