"""An export that is brought into a directory of workspaces: all of it or nothing.

What is brought is where nobody sees it, until one commit of the workspace's database has all of it; a process that is
killed before leaves what the next one that makes or changes something there removes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixkit import tagged_json
from mixkit.errors import GrantError, MixError, PackageError
from mixkit.moving.file_records import store_files
from mixkit.moving.layout import (
    BELONGINGS,
    records_of,
)
from mixkit.moving.opened import Opened, manifest_of
from mixkit.moving.records import Player
from mixkit.package import agreement
from mixkit.package.archive import Archive
from mixkit.package.errors import Exists
from mixkit.package.manifest import Manifest
from mixkit.storage import Record
from mixkit.value import kind_of

if TYPE_CHECKING:
    from mixkit.kernel import Kernel
    from mixkit.package import Workspace, WorkspaceStore
    from mixkit.package.changes import Changes
    from mixkit.storage import Place

__all__ = ["Bringing", "Brought", "Export"]


@dataclass(frozen=True, slots=True)
class Bringing:
    """How to bring it.

    Attributes:
        others: records that the workspace gets beside what is in the file, as who owns it.
        belongings: with what is in the file of the workspace's own, as grants.
        watch: called with records and bytes, unpacked, as they are stored.
    """

    others: Sequence[Record] = ()
    belongings: bool = True
    watch: Callable[[int, int], object] = lambda records, size: None


@dataclass(frozen=True, slots=True)
class Brought:
    """What came.

    Attributes:
        records: versions and tombstones that were stored.
        left_out: records of the workspace's own that nobody here knows, or that cannot come along, by type.
    """

    workspace: str
    apps: tuple[str, ...]
    records: int
    files: int
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _App:
    """An app of the file, as `agreement` looks at it."""

    manifest: Manifest
    archive: Archive


class Export(Opened):
    """An export that can be brought into a directory of workspaces. Arguments, attributes and errors are those of
    `Opened`."""

    def bring(
        self,
        kernel: Kernel,
        store: WorkspaceStore,
        workspace: str,
        how: Bringing | None = None,
        *,
        new: bool = True,
    ) -> Brought:
        """Make the workspace of it, or bring it into the one of that name.

        An export of a workspace goes into a new one or one without apps; that of an app into one that has no app of its
        name. Blocks, and runs an event loop of its own.

        Args:
            new: make the workspace, which is not there; else it must be.

        Raises:
            PackageError, GrantError: the file is refused, or its code cannot be used here.
            Exists: there is a workspace of that name, or it has apps, already.
            NotFound: there is none, and none is to be made.
            MixError: something could not be stored. Nothing has come then, whatever is raised.
        """
        how = how or Bringing()
        self._usable(kernel)
        if not new:
            found = store.workspace(workspace)
            with found.changing() as changes:
                return self._bring(kernel, found, changes, how)
        with store.making(workspace) as made, made.changing() as changes:
            return self._bring(kernel, made, changes, how)

    def _usable(self, kernel: Kernel) -> None:
        """Whether the profile can have what is in the file: nothing is dropped for want of a plugin."""
        for app, installation in self.installations.items():
            if installation is None:
                continue
            release, name = installation.release, f"installed/{app}.json"
            try:
                kernel.ffis.check_grants(installation.grants())
            except GrantError as exc:
                raise PackageError(str(exc), name) from None
            about = _App(manifest_of(release), self.archive)
            agreement.check(about)
            seen = set()
            for agent_name, agent in release.agents.items():
                entry = agent.entry or agent_name
                if (entry, agent.code) in seen:
                    continue
                seen.add((entry, agent.code))
                try:
                    kernel.check_code(entry, self.archive.read(agent.code))
                except MixError as exc:
                    raise PackageError(
                        f"the code of agent {agent_name!r} cannot be used: {exc}", agent.code
                    ) from exc
        if kernel.filesystem is None:
            for path in self.archive.entries:
                if path.startswith("files/"):
                    raise PackageError(
                        "the export has files, and there is nothing to keep them; it needs a file system (plugin "
                        "mix-files)",
                        path,
                    )

    def _bring(self, kernel: Kernel, workspace: Workspace, changes: Changes, how: Bringing) -> Brought:
        known = workspace.apps()
        taken = (
            known
            if self.manifest.kind == "workspace"
            else [app for app in self.manifest.apps if app in known]
        )
        if taken:
            raise Exists(
                f"workspace {workspace.name!r} has the apps {', '.join(taken)[:200]} already; nothing was imported"
            )
        others, left_out = self._belongings(kernel, workspace.name, how)
        records = files = 0
        for app in self.manifest.apps:
            place = changes.make_home(app, self._code(app).values())
            records += self._records(kernel, app, place, how)
            files += self._files(kernel, app, place, how)
            self._keep_code(changes, app)
        changes.book.write(
            {app: found or "" for app, found in self.installations.items()}, None, [*others, *how.others]
        )
        return Brought(workspace.name, tuple(self.manifest.apps), records, files, left_out)

    def _records(self, kernel: Kernel, app: str, place: Place, how: Bringing) -> int:
        database = kernel.databases.open(place)
        count, part = 0, 1
        while (name := records_of(app, part)) in self.archive.entries:
            count += Player(database, name, how.watch).play(self.lines(name))
            part += 1
        return count

    def _files(self, kernel: Kernel, app: str, place: Place, how: Bringing) -> int:
        listed = f"files/{app}.ndjson"
        mine = {path for path in self.archive.entries if path.startswith(f"files/{app}/")}
        said = list(self.lines(listed)) if listed in self.archive.entries else []
        if not said and not mine:
            return 0
        return store_files(kernel.files.open(place), listed, said, mine, self.chunks, how.watch)

    def _code(self, app: str) -> Mapping[str, str]:
        installation = self.installations[app]
        return installation.release.code() if installation else {}

    def _keep_code(self, changes: Changes, app: str) -> None:
        page = changes.book.page()
        for path, digest in self._code(app).items():
            if page.code(digest) is None:
                changes.book.keep(digest, b"".join(self.chunks(path)))

    def _belongings(
        self, kernel: Kernel, workspace: str, how: Bringing
    ) -> tuple[list[Record], dict[str, int]]:
        if BELONGINGS not in self.archive.entries:
            return [], {}
        by_type: dict[str, list[Record]] = {}
        for number, line in enumerate(self.lines(BELONGINGS), 1):
            try:
                record = tagged_json.loads(line)
                if type(record) is not dict:
                    raise TypeError(f"found {kind_of(record)}")
                kind = record["_rmx_type"]
            except (MixError, TypeError, KeyError) as exc:
                raise PackageError(
                    f"line {number}: expected a record with a type: {exc}", BELONGINGS
                ) from None
            by_type.setdefault(str(kind), []).append(record)
        found: list[Record] = []
        left_out: dict[str, int] = {}
        for kind, records in by_type.items():
            judge = kernel.belonging(kind) if how.belongings else None
            try:
                kept = [] if judge is None else list(judge(records, self.manifest.name, workspace))
            except MixError as exc:
                raise PackageError(f"a record of the type {kind!r:.80}: {exc}", BELONGINGS) from exc
            for record in kept:
                if self.manifest.kind == "app" and record.get("app") not in self.manifest.apps:
                    raise PackageError(f"a record of the type {kind!r:.80} is not of the app", BELONGINGS)
            found += kept
            if len(kept) < len(records):
                left_out[kind] = len(records) - len(kept)
        return found, left_out
