"""A workspace, or an app of it, as a stream of bytes that `arriving` takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from mixkit import tagged_json
from mixkit.app_files import EPHEMERAL
from mixkit.errors import NotFound, PackageError
from mixkit.filesystem import FileInfo, Files, pieces
from mixkit.moving.layout import (
    BELONGINGS,
    MANIFEST,
    PART,
    AppEntry,
    ExportManifest,
    FileEntry,
    records_of,
)
from mixkit.moving.records import lines_of
from mixkit.moving.zip_out import ZipOut
from mixkit.package.document import dump
from mixkit.package.zip_headers import check_path

if TYPE_CHECKING:
    from mixkit.databases import Databases
    from mixkit.kernel import Kernel
    from mixkit.package import InstalledApp, Workspace

__all__ = ["Leaving", "export"]

_PIECE: Final = 1 << 20
"""Bytes of records, unpacked, that are packed at once."""
_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Leaving:
    """What is to be exported.

    Attributes:
        app: only this one; None for the whole workspace.
        history: all versions of the records, and tombstones.
        belongings: with the records of the workspace's own database that move with it, as grants.
        watch: called with records and bytes, unpacked, as they are written.
    """

    app: str | None = None
    history: bool = False
    belongings: bool = True
    watch: Callable[[int, int], object] = lambda records, size: None


async def export(kernel: Kernel, workspace: Workspace, what: Leaving) -> AsyncIterator[bytes]:
    """The file, piece by piece; each app's records are of one moment. Nothing is kept of what was answered.

    Raises:
        NotFound: there is no such workspace or app, or it was deleted meanwhile.
        StorageError, FileError: something cannot be read. The file is cut off then, and no reader takes it.
    """
    names = await asyncio.to_thread(workspace.apps) if what.app is None else [what.app]
    with ZipOut() as out:
        apps: list[InstalledApp] = [await asyncio.to_thread(workspace.app, name) for name in names]
        kind: Literal["workspace", "app"] = "workspace" if what.app is None else "app"
        entries = {app.name: AppEntry(package=_package(app), version=app.version or None) for app in apps}
        out.add(MANIFEST, ExportManifest.make(kind, workspace.name, entries, what.history).encode())
        for app in apps:
            with closing(app):
                async for piece in _app(out, app, kernel, what):
                    yield piece
        kinds = sorted(kernel.assembly.belongings) if what.belongings else []
        if belongings := await asyncio.to_thread(_belongings, workspace, kinds, what.app):
            await asyncio.to_thread(out.add, BELONGINGS, belongings)
        yield out.finish()


def _package(app: InstalledApp) -> str | None:
    return app.release.package if app.release else None


async def _app(out: ZipOut, app: InstalledApp, kernel: Kernel, what: Leaving) -> AsyncIterator[bytes]:
    if app.installation is not None:
        out.add(f"installed/{app.name}.json", dump(app.installation))
        for path in sorted(app.installation.release.code()):
            name = path.removeprefix(f"code/{app.name}/")
            await asyncio.to_thread(lambda path=path, name=name: out.add(path, app.file(name)))  # type: ignore[misc]
            yield out.taken()
    steps = _records(out, app, kernel.databases, what)
    # The generator holds a cursor, which is read by one thread at a time.
    try:
        while (piece := await asyncio.to_thread(next, steps, None)) is not None:
            yield piece
    finally:
        await asyncio.to_thread(steps.close)
    if kernel.filesystem is not None:
        async for piece in _files(out, app.name, kernel.files.open(app.place), what):
            yield piece


def _records(
    out: ZipOut, app: InstalledApp, databases: Databases, what: Leaving
) -> Generator[bytes, None, None]:
    database = databases.open(app.place)
    part, size, waiting = 0, PART, 0
    for count, lines in lines_of(database.as_of(database.watermark()), history=what.history):
        if size >= PART:
            if part:
                out.end()
            part, size = part + 1, 0
            out.begin(records_of(app.name, part))
        out.write(lines)
        size += len(lines)
        waiting += len(lines)
        what.watch(count, len(lines))
        if waiting >= _PIECE:
            waiting = 0
            yield out.taken()
    if part:
        out.end()
    yield out.taken()


async def _files(out: ZipOut, app: str, files: Files, what: Leaving) -> AsyncIterator[bytes]:
    said: list[bytes] = []
    names = _Names(app)
    after: str | None = None
    while True:
        page = await files.list("/", after=after, most=_PAGE)
        for info in page.files:
            if info.path.startswith(EPHEMERAL):
                # Gone in a while, here and there.
                continue
            try:
                reading = await files.read(info.path)
            except NotFound:
                # Deleted since it was listed.
                continue
            entry = names.of(info.path)
            said.append(_said(reading.info, entry))
            out.begin(entry, packed=False, size=reading.info.size)
            async for piece in pieces(reading):
                out.write(piece)
                what.watch(0, len(piece))
                yield out.taken()
            out.end()
        if (after := page.after) is None:
            break
    if said:
        await asyncio.to_thread(out.add, f"files/{app}.ndjson", b"".join(said))
    yield out.taken()


def _said(info: FileInfo, entry: str) -> bytes:
    import msgspec

    about = FileEntry(
        entry=entry,
        path=info.path,
        content_type=info.content_type or "application/octet-stream",
        metadata=dict(info.metadata or {}),
    )
    return msgspec.json.encode(about) + b"\n"


class _Names:
    """Names of entries for files: their paths, as far as those can be names of a zip beside each other."""

    def __init__(self, app: str) -> None:
        self._folder = f"files/{app}"
        self._taken: dict[str, bool] = {}

    def of(self, path: str) -> str:
        """A name that no other file has, whatever is looked at that does not tell upper from lower case."""
        name = self._folder + path
        if not self._free(name):
            number = 1
            while not self._free(name := f"{self._folder}/.moved-{len(self._taken) + number}"):
                number += 1
        folded = name.casefold()
        self._taken[folded] = True
        while "/" in folded:
            folded = folded.rpartition("/")[0]
            self._taken.setdefault(folded, False)
        return name

    def _free(self, name: str) -> bool:
        try:
            check_path(name)
        except PackageError:
            return False
        folded = name.casefold()
        if folded in self._taken:
            return False
        while "/" in folded:
            folded = folded.rpartition("/")[0]
            if self._taken.get(folded):
                return False
        return True


def _belongings(workspace: Workspace, kinds: Sequence[str], app: str | None) -> bytes:
    """Records of the workspace's own database that go with what is exported."""
    lines: list[str] = []
    database = workspace.database()
    reader = database.as_of(database.watermark())
    for kind in kinds:
        with reader.query('"_rmx_type" == $type', {"type": kind}) as cursor:
            for record in cursor:
                if app is None or record.get("app") == app:
                    kept: dict[str, Any] = {
                        name: value
                        for name, value in record.items()
                        if not name.startswith("_rmx_") or name in ("_rmx_id", "_rmx_type")
                    }
                    lines.append(tagged_json.dumps(kept))
    return "".join(f"{line}\n" for line in lines).encode()
