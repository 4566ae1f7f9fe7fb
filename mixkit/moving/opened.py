"""An export, read with suspicion: its layout is checked when it is opened, and each entry as it is read."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final

from mixkit.errors import PackageError
from mixkit.moving.layout import (
    BELONGINGS,
    MANIFEST,
    SUMS,
    ExportManifest,
    limits,
    owner_of,
    read_sums,
)
from mixkit.package.app import Installation
from mixkit.package.archive import Archive, lines_in
from mixkit.package.document import load
from mixkit.package.manifest import AppSpec, GrantsSpec, Manifest
from mixkit.package.release import Release

if TYPE_CHECKING:
    pass

__all__ = ["Opened", "manifest_of"]

_MOST_DOCUMENT: Final = 16 << 20
"""Bytes of a manifest, and of what is said of an app."""


class Opened:
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


def manifest_of(release: Release, grants: GrantsSpec | None = None) -> Manifest:
    """The manifest of a package that brings just this release."""
    return Manifest(
        format=3,
        name=release.package,
        version=release.version,
        kind="app",
        apps={release.app: AppSpec(agents=release.agents, widgets=release.widgets)},
        grants=grants or release.grants,
        limits=release.limits,
        setup=release.setup,
        save_options=release.save_options,
    )


def _checked(found: Installation, name: str) -> None:
    """Refuse what no package could have installed."""
    for grants in (found.release.grants, *found.consent):
        try:
            Manifest.decode(manifest_of(found.release, grants).encode())
        except PackageError as exc:
            raise PackageError(str(exc), name) from None
    for agent, spec in found.release.agents.items():
        if spec.code not in found.release.entries:
            raise PackageError(
                f"agent {agent!r} has code that is not in the export: {spec.code!r:.200}", name
            )
