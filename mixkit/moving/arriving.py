"""An export, read with suspicion, and brought into a directory of workspaces: all of it or nothing.

What is brought is where nobody sees it, until one commit of the workspace's database has all of it; a process that is
killed before leaves what the next one that makes or changes something there removes.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from mixkit import tagged_json
from mixkit.errors import GrantError, MixError, PackageError
from mixkit.moving.file_records import store_files
from mixkit.moving.layout import (
    BELONGINGS,
    MANIFEST,
    SUMS,
    ExportManifest,
    limits,
    owner_of,
    read_sums,
    records_of,
)
from mixkit.moving.records import Player
from mixkit.package import agreement
from mixkit.package.app import Installation
from mixkit.package.archive import Archive, lines_in
from mixkit.package.document import load
from mixkit.package.errors import Exists
from mixkit.package.manifest import AppSpec, GrantsSpec, Manifest
from mixkit.package.release import Release
from mixkit.storage import Record
from mixkit.value import kind_of

if TYPE_CHECKING:
    from mixkit.kernel import Kernel
    from mixkit.package import Workspace, WorkspaceStore
    from mixkit.package.changes import Changes
    from mixkit.storage import Place

__all__ = ["Bringing", "Brought", "Export"]

_MOST_DOCUMENT: Final = 16 << 20
"""Bytes of a manifest, and of what is said of an app."""


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


class Export:
    """An export whose layout is right; its contents are checked as they are read.

    Args:
        file: that nobody else writes.
        most: bytes that it may have.

    Raises:
        PackageError: it is refused; the message names the entry.

    Attributes:
        installations: what is installed, by app; None for an app without code.
    """

    def __init__(self, file: IO[bytes], most: int) -> None:
        size = file.seek(0, 2)
        if size > most:
            raise PackageError(f"an export has at most {most} bytes here, found {size}")
        if not size:
            raise PackageError("expected an export, found an empty file")
        self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        self.archive = Archive(self._map, limits(most))
        self.manifest = ExportManifest.decode(self._document(MANIFEST))
        self._sums = read_sums(self._document(SUMS))
        self._check_layout()
        # Read again, since what is in the manifest is checked only now.
        self._document(MANIFEST, checked=True)
        self.installations = {app: self._installation(app) for app in self.manifest.apps}

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of an entry, which is as the sums say when all of it was read. `PackageError` if it is not."""
        digest = hashlib.sha256()
        for chunk in self.archive.chunks(name):
            digest.update(chunk)
            yield chunk
        # What was looked at need not stay in memory.
        self._map.madvise(mmap.MADV_DONTNEED)
        if digest.hexdigest() != self._sums[name]:
            raise PackageError(
                f"expected the SHA-256 {self._sums[name]} as {SUMS} says, found {digest.hexdigest()}", name
            )

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of an entry that are not empty."""
        return lines_in(self.chunks(name), name)

    def check(self, watch: Callable[[int, int], object] = lambda records, size: None) -> None:
        """Read everything. `PackageError` names the first entry that is damaged."""
        for name in self._sums:
            for chunk in self.chunks(name):
                watch(0, len(chunk))

    def described(self) -> dict[str, Any]:
        """What it holds, with the powers that each app has and those that were withheld, as JSON can hold it."""
        return {
            "workspace": self.manifest.name,
            "kind": self.manifest.kind,
            "exported_at": self.manifest.exported.at,
            "history": self.manifest.exported.history,
            "apps": [
                {
                    "name": app,
                    "package": entry.package,
                    "version": entry.version,
                    "powers": found.allowed() if (found := self.installations[app]) else [],
                    "withheld": found.withheld() if found else [],
                }
                for app, entry in self.manifest.apps.items()
            ],
        }

    def _document(self, name: str, *, checked: bool = False) -> bytes:
        entry = self.archive.entries.get(name)
        if entry is None:
            raise PackageError("the export has no such entry, which it must have", name)
        if entry.size > _MOST_DOCUMENT and name != SUMS:
            raise PackageError(f"expected at most {_MOST_DOCUMENT} bytes, found {entry.size}", name)
        return b"".join(self.chunks(name)) if checked else self.archive.read(name)

    def _check_layout(self) -> None:
        entries = self.archive.entries.keys()
        for path in sorted(entries - self._sums.keys() - {SUMS}):
            raise PackageError(f"the entry is not among the sums of {SUMS}", path)
        for path in sorted(self._sums.keys() - entries):
            raise PackageError(f"the export lacks the entry, of which {SUMS} tells", path)
        for path in sorted(entries - {MANIFEST, SUMS, BELONGINGS}):
            if owner_of(path) not in self.manifest.apps:
                raise PackageError(
                    "unknown entry; an export has manifest.json, workspace.ndjson, SUMS, and installed/APP.json, "
                    f"code/APP/…, records/APP.ndjson, files/APP/… of its apps ({', '.join(self.manifest.apps)})"[
                        :400
                    ],
                    path,
                )

    def _installation(self, app: str) -> Installation | None:
        name = f"installed/{app}.json"
        code = {path for path in self.archive.entries if path.startswith(f"code/{app}/")}
        if name not in self.archive.entries:
            for path in sorted(code):
                raise PackageError(f"app {app!r} has code, and nothing says what it is: no {name}", path)
            return None
        found = load(self._document(name, checked=True), Installation, name)
        release = found.release
        if release.app != app:
            raise PackageError(f"expected the app {app!r}, found {release.app!r:.80}", name)
        for path in sorted(code ^ release.code().keys()):
            raise PackageError(f"{name} and the code in the export contradict each other", path)
        for path, digest in release.code().items():
            if self._sums[path] != digest:
                raise PackageError(f"expected the code with the SHA-256 {digest} that {name} names", path)
        _checked(found, name)
        return found

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
            about = _App(_manifest(release), self.archive)
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
        kept: list[str] = []
        try:
            for app in self.manifest.apps:
                place = changes.make_home(app)
                records += self._records(kernel, app, place, how)
                files += self._files(kernel, app, place, how)
                kept += self._code(changes, app)
            changes.book.write(
                {app: found or "" for app, found in self.installations.items()}, None, [*others, *how.others]
            )
        except BaseException:
            changes.book.drop(kept)
            raise
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

    def _code(self, changes: Changes, app: str) -> list[str]:
        installation = self.installations[app]
        kept = []
        page = changes.book.page()
        for path, digest in installation.release.code().items() if installation else ():
            if page.code(digest) is None:
                changes.book.keep(digest, b"".join(self.chunks(path)))
                kept.append(digest)
        return kept

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


def _manifest(release: Release, grants: GrantsSpec | None = None) -> Manifest:
    """The manifest of a package that brings just this release."""
    return Manifest(
        format=3,
        name=release.package,
        version=release.version,
        kind="app",
        apps={release.app: AppSpec(agents=release.agents)},
        grants=grants or release.grants,
        limits=release.limits,
        setup=release.setup,
        save_options=release.save_options,
    )


def _checked(found: Installation, name: str) -> None:
    """Refuse what no package could have installed."""
    for grants in (found.release.grants, *found.consent):
        try:
            Manifest.decode(_manifest(found.release, grants).encode())
        except PackageError as exc:
            raise PackageError(str(exc), name) from None
    for agent, spec in found.release.agents.items():
        if spec.code not in found.release.entries:
            raise PackageError(
                f"agent {agent!r} has code that is not in the export: {spec.code!r:.200}", name
            )
