"""Workspaces in a directory: found, made, deleted; and the apps in them. Safe to use from many processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from mixkit.errors import NotFound
from mixkit.grants import Grants
from mixkit.package import disk
from mixkit.package.app import InstalledApp, open_version
from mixkit.package.document import dump
from mixkit.package.errors import Busy, Exists
from mixkit.package.install import Installed, LoadFiles, LoadRecords, Options, RunSetup, Validate, install
from mixkit.package.leftovers import sweep_store, sweep_workspace
from mixkit.package.names import check_name
from mixkit.package.package import Package
from mixkit.package.switch import WORKSPACE_FILE, Switch, SwitchState

__all__ = ["Workspace", "WorkspaceStore"]

_READ_SECONDS = 10.0


class WorkspaceStore:
    """All workspaces below one directory, which is made if it is not there.

    Objects of this class and `Workspace` may be shared by threads and survive a fork.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self._workspaces: dict[str, Workspace] = {}

    def list(self) -> list[str]:
        """Names of the workspaces, sorted."""
        found = (path.parent.name for path in self.root.glob(f"*/{WORKSPACE_FILE}"))
        return sorted(name for name in found if not name.startswith("."))

    def create(self, name: str) -> Workspace:
        """Make an empty workspace.

        Raises:
            Exists: there is one of that name, or something else in its place.
            BadName: it cannot have that name.
        """
        home = self.root / check_name("workspace", name)
        with disk.locked(self.root):
            sweep_store(self.root)
            if home.exists():
                raise Exists(f"there is a workspace {name!r} already")
            staged = Path(tempfile.mkdtemp(prefix=disk.STAGING, dir=self.root))
            disk.write_file(staged / WORKSPACE_FILE, [dump(SwitchState())])
            disk.sync(staged)
            staged.rename(home)
            disk.sync(self.root)
        return self.workspace(name)

    def delete(self, name: str) -> None:
        """Delete a workspace with all apps and their data. Runs that read its code may end.

        Raises:
            NotFound: there is none.
        """
        home = self.workspace(name).root
        with disk.locked(self.root), disk.locked(home):
            disk.to_trash(home)
            disk.sync(self.root)
            self._workspaces.pop(name, None)
            sweep_store(self.root)

    def workspace(self, name: str) -> Workspace:
        """The workspace of that name; cheap, as long as it was not changed.

        Raises:
            NotFound: there is none.
        """
        found = self._workspaces.get(name)
        if found is None:
            found = Workspace(self.root / check_name("workspace", name))
        found.switch.read()
        self._workspaces[name] = found
        return found


class Workspace:
    """Apps of one workspace. Made by `WorkspaceStore`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.name
        self.switch = Switch(root)

    def apps(self) -> list[str]:
        """Names of the apps, sorted. `NotFound` if the workspace was deleted."""
        return sorted(self.switch.read().apps)

    def generation(self, app: str) -> str:
        """What `app(app).generation` would be, for a `stat` as long as nothing changed: for caches.

        Raises:
            NotFound: there is no such app, or the workspace was deleted.
        """
        apps = self.switch.read().apps
        if app not in apps:
            known = ", ".join(sorted(apps)) or "none"
            raise NotFound(f"no app {app!r:.80} in workspace {self.name!r}; there are: {known}"[:400])
        return apps[app]

    def app(self, name: str) -> InstalledApp:
        """The app as it is now, whichever process installed it. Close it when the run is over.

        Raises:
            NotFound: there is no such app, or the workspace was deleted.
            Busy: its version is missing on the disk, although it is the current one.
        """
        deadline = time.monotonic() + _READ_SECONDS
        while True:
            generation = self.generation(name)
            found = open_version(self.name, name, self.switch.home(name), generation)
            if found is not None:
                return found
            # It was replaced between reading the switch and opening the version: the switch says by what.
            if time.monotonic() > deadline:
                raise Busy(f"the code of app {name!r} is not on the disk; install it again")
            time.sleep(0.005)

    def create_app(self, name: str) -> InstalledApp:
        """Make an app without code. `Exists` if there is one; `BadName` if it cannot have that name."""
        check_name("app", name)
        with disk.locked(self.root):
            sweep_workspace(self.switch)
            apps = self.switch.read().apps
            if name in apps or self.switch.home(name).exists():
                raise Exists(f"there is an app {name!r} in workspace {self.name!r} already")
            staged = Path(tempfile.mkdtemp(prefix=disk.STAGING, dir=self.root))
            (staged / "versions").mkdir()
            disk.sync_tree(staged)
            staged.rename(self.switch.home(name))
            disk.sync(self.root)
            self.switch.write(SwitchState(apps=apps | {name: ""}))
        return self.app(name)

    def delete_app(self, name: str) -> None:
        """Delete an app with its data. Runs that read its code may end. `NotFound` if there is none."""
        with disk.locked(self.root):
            apps = dict(self.switch.read().apps)
            if apps.pop(name, None) is None:
                raise NotFound(f"no app {name!r:.80} in workspace {self.name!r}")
            self.switch.write(SwitchState(apps=apps))
            sweep_workspace(self.switch)

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
            NotFound: the workspace was deleted.
            Busy: somebody else has been changing the workspace for a minute.
        """
        options = Options(granted, validate, force, trusted, load_records, load_files, run_setup)
        return install(self.switch, package, options)
