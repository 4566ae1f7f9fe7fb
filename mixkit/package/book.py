"""The workspace's own database: which apps there are, what each may do, and the code of their agents.

    app:NAME        one for each app that there is or was; its versions are the history of its installs
        name
        folder          of its own below that of the workspace: another one for each app that is made
        generation      of its code; "" without code; null if there is no such app (yet, or any more)
        code            SHA-256 of each of its entries with code, also while it is about to be made
        package, version, signer    for whoever looks into the database
        installation    `mixkit.package.app.Installation` as JSON, of which the generation is the hash
    code:SHA256:N   a part of code, numbered from 0
        parts           how many there are
        content         its bytes; missing since no app needs them

The folder is what an app is known by. One that is made again under a name has another: what began with the one before,
in whatever process, finds nothing there. Installs keep it.

A change is one commit: a crash leaves what was before or what is behind it. What was replaced stays in the history
until the database is compacted without it.

Others may keep records of other types in it, which belong to the workspace, and write them through `Book.writing`. One
that names an app in the field `app` or `subject_app` is deleted before that app is. Only who has the store opens the
database: names from agents and requests are looked up among the apps, and no app can have the name of its folder.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mixkit.errors import NotFound, PackageError
from mixkit.package import disk
from mixkit.package.app import Installation
from mixkit.package.document import dump, load
from mixkit.package.glance import Glance
from mixkit.package.past import Event
from mixkit.storage import Database, Place, Reader, Record, SaveOptions

if TYPE_CHECKING:
    from mixkit.databases import Databases

__all__ = ["FOLDER", "MAX_CODE", "Book", "Page", "Standing", "place_of", "root_of"]

FOLDER: Final = "workspace.db"
"""The folder of the database, in that of the workspace. Where it is, there is a workspace."""

MAX_CODE: Final = 128 << 20
"""Bytes of new code that one change may bring, because it is in memory as a whole."""

Entry: TypeAlias = Installation | Literal[""] | None
"""What the book says of an app: what is installed; `""` if it has no code; None if there is no such app."""

_PART: Final = 1 << 20
_APPS: Final = '"_rmx_type" == "app"'
_OF_APP: Final = '"app" == $app || "subject_app" == $app'
_BY_NAME: Final = SaveOptions(original_id_always=True)


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with the app of a name.

    Attributes:
        place: where its database is. No other app has had it or will, whatever its name.
        generation: of its code; `""` without code; None if there is no such app (yet, or any more).
    """

    place: Place
    generation: str | None


@lru_cache(4096)
def place_of(workspace: Path, folder: str) -> Place:
    """Where the database of the app is that has that folder of the workspace."""
    # No name has a dot.
    return Place(workspace.name, folder.partition(".")[0], workspace / folder / "data")


def root_of(place: Place) -> Path:
    """The folder of the workspace that a place is of."""
    return place.home.parent.parent


class Page:
    """What the book says at one moment, whatever is written later.

    Args:
        root: folder of the workspace.
    """

    def __init__(self, reader: Reader, root: Path) -> None:
        self._reader = reader
        self._root = root

    def find(self, app: str) -> tuple[Place, Entry] | None:
        """What it says of an app; None if there never was one. `PackageError` if that is not what was written."""
        record = self._reader.get(f"app:{app}")
        return None if record is None else (_standing(self._root, record).place, _entry(record))

    def code(self, digest: str) -> bytes | None:
        """The code with that SHA-256; None if it is missing, or is not what was written."""
        parts: list[bytes] = []
        count: Any = 1
        while len(parts) < count:
            record = self._reader.get(f"code:{digest}:{len(parts)}") or {}
            content, count = record.get("content"), record.get("parts")
            if not isinstance(content, bytes) or not isinstance(count, int):
                return None
            parts.append(content)
        found = b"".join(parts)
        return found if hashlib.sha256(found).hexdigest() == digest else None

    def parts(self, digest: str) -> int:
        """How many records the code has."""
        count = (self._reader.get(f"code:{digest}:0") or {}).get("parts")
        return count if isinstance(count, int) else 0


class Book:
    """The database of one workspace. Safe to use from many threads and processes, and after a fork.

    Whoever writes holds the lock of the workspace.

    Args:
        name: of the workspace.
        root: its folder.
        databases: opens it, and keeps it open.
    """

    def __init__(self, name: str, root: Path, databases: Databases) -> None:
        self._name = name
        self._root = root
        self._databases = databases
        self._place = Place(name, "", root / FOLDER)
        self._changes = str(root / disk.CHANGES)
        self._seen: Glance[Mapping[str, Standing]] = Glance(self, self._read)

    def apps(self) -> Mapping[str, Standing]:
        """How it stands with all apps that there ever were, by name.

        Cheap as long as nothing was written, by any process.

        Raises:
            NotFound: there is no such workspace.
            StorageError: its database cannot be opened.
        """
        return self._seen.value()

    def mark(self) -> disk.Mark | None:
        """What stays the same as long as nobody has written the database; None where that cannot be said. Cheap."""
        return disk.mark(self._changes)

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """The database, for a commit to it. Raises as `apps`, and `Busy` if others have been writing for a minute."""
        database = self.database()
        with disk.counted(self._root):
            yield database

    def apps_at_hand(self) -> Mapping[str, Standing] | None:
        """The same, if the database is open; else None. Never waits for anybody, so an event loop may ask."""
        return self._seen.at_hand()

    def _read(self, database: Database) -> tuple[Mapping[str, Standing], str]:
        with database.query(_APPS) as cursor:
            apps = {record["name"]: _standing(self._root, record) for record in cursor}
            return apps, cursor.watermark

    def page(self) -> Page:
        """What it says now. Raises as `apps`."""
        database = self.database()
        return Page(database.as_of(database.watermark()), self._root)

    def note(self, app: str, code: Collection[str] = ()) -> str:
        """Write that an app is about to be made, which there is not; answers the folder that it is to have.

        Args:
            code: SHA-256 of what may be kept for it before it is there.
        """
        folder = f"{app}.{secrets.token_hex(8)}"
        with self.writing() as database:
            database.save([_record(app, folder, None) | {"code": sorted(set(code))}], _BY_NAME)
        return folder

    def write(
        self,
        entries: Mapping[str, Entry],
        code: Mapping[str, bytes] | None = None,
        others: Iterable[Record] = (),
    ) -> None:
        """Write entries of apps that were noted, with the code that they bring, in one commit. Code that nothing needs
        any more goes.

        Args:
            code: content by SHA-256.
            others: records of other types, which come with the apps.
        """
        database = self.database()
        with database.query(_APPS) as cursor:
            known = {record["name"]: record for record in cursor}
        before = {app: set(record.get("code", ())) for app, record in known.items()}
        records = [_record(app, _folder(known[app]), entry) for app, entry in entries.items()]
        needed = _needed([*(record for app, record in known.items() if app not in entries), *records])
        for digest, content in (code or {}).items():
            records += _parts(digest, content)
        page = Page(database, self._root)
        for digest in set().union(*before.values()) - needed:
            records += (_part(digest, number, {}) for number in range(page.parts(digest)))
        with self.writing():
            database.save([*records, *others], _BY_NAME)

    def keep(self, digest: str, content: bytes) -> None:
        """Write code that entries will need which are written later, in a commit of its own. An app that was noted
        with it is what tells of it until then."""
        with self.writing() as database:
            database.save(list(_parts(digest, content)), _BY_NAME)

    def drop(self, app: str) -> None:
        """Take back what was kept for an app that was noted, and is not there."""
        database = self.database()
        page = Page(database, self._root)
        with database.query(_APPS) as cursor:
            known = {record["name"]: record for record in cursor}
        gone = [
            f"code:{digest}:{number}"
            for digest in set(known[app].get("code", ())) - _needed(known.values())
            for number in range(page.parts(digest))
        ]
        if gone:
            with self.writing():
                database.delete(gone)

    def forget(self, app: str) -> None:
        """Delete what others keep of an app that is about to be deleted: the next of its name is not to have it."""
        database = self.database()
        with database.query(_OF_APP, {"app": app}) as cursor:
            ids = [record["_rmx_id"] for record in cursor]
        if ids:
            with self.writing():
                database.delete(ids)

    def past(self, app: str) -> list[Event]:
        """What became of an app, oldest first, as far as the history goes back."""
        events: list[Event] = []
        there = False
        for record in self.database().history(f"app:{app}"):
            entry = _entry(record)
            # An app is noted before its folder is made.
            if entry is not None or there:
                when = datetime.fromtimestamp(record["_rmx_last_modified_at"] / 1000, UTC)
                events.append(Event.of(when, entry))
            there = entry is not None
        return events

    def database_at_hand(self) -> Database | None:
        """The database itself, if it is open. Never waits for anybody."""
        return self._databases.at_hand(self._place)

    def database(self) -> Database:
        """The database itself, opened if it is not. Raises as `apps`."""
        found = self.database_at_hand()
        if found is not None:
            return found
        # Opening it would make one in any folder of that name.
        if self._place.home.is_dir():
            try:
                return self._databases.open(self._place)
            except NotFound:
                # Deleted between the two.
                pass
        raise NotFound(f"no workspace {self._name!r}")


def _standing(root: Path, record: Mapping[str, Any]) -> Standing:
    return Standing(place_of(root, _folder(record)), record["generation"])


def _needed(records: Iterable[Mapping[str, Any]]) -> set[str]:
    """The code that apps have which are there."""
    return {digest for record in records if record["generation"] for digest in record.get("code", ())}


def _folder(record: Mapping[str, Any]) -> str:
    # One that was made when a folder had the name alone keeps that.
    folder: str = record.get("folder", record["name"])
    return folder


def _record(app: str, folder: str, entry: Entry) -> Record:
    record: Record = {"_rmx_id": f"app:{app}", "_rmx_type": "app", "name": app, "folder": folder}
    if not entry:
        return record | {"generation": entry}
    release = entry.release
    return record | {
        "generation": entry.generation,
        "package": release.package,
        "version": release.version,
        "signer": release.signer,
        "code": sorted(set(release.code().values())),
        # Not as a map, since settings may be as deep as a record may be.
        "installation": dump(entry),
    }


def _entry(record: Mapping[str, Any]) -> Entry:
    if not record["generation"]:
        return "" if record["generation"] == "" else None
    installation = load(record["installation"], Installation, str(record["_rmx_id"].id))
    if installation.generation != record["generation"]:
        raise PackageError("this is not what was installed; install it again", str(record["_rmx_id"].id))
    return installation


def _parts(digest: str, content: bytes) -> Iterator[Record]:
    starts = range(0, len(content), _PART) or range(1)
    for number, start in enumerate(starts):
        yield _part(digest, number, {"parts": len(starts), "content": content[start : start + _PART]})


def _part(digest: str, number: int, fields: Record) -> Record:
    return {"_rmx_id": f"code:{digest}:{number}", "_rmx_type": "code"} | fields
