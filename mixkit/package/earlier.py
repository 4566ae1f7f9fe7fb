"""The original's earlier packages, which are read to make packages of format 3 of them, and nothing else.

A zip whose `manifest.json` has no `format`:

    manifest.json                   apps (name to bool), records (app to ids), setup, metadata
    records.mp                      MessagePack, a map from app to an array of records
    apps/APP.mp                     MessagePack, an array of records about the app
    apps/APP/runtime.json           dbName, appName, settings, styles
    apps/APP/resources.json         name to {public, identifier, bundled}
    apps/APP/public/SHA256.EXT      the files that resources name
    apps/APP/libraries/…            code for another machine

Refs are texts that begin with `{ref}`, and times are ISO texts. The fields that are the original's bookkeeping
(`_rmx_created_at` and its kin) would be the engine's here, so they are called as before without the first `_`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from mixkit import strict_json, tagged_json
from mixkit.errors import MixError, PackageError, PathError
from mixkit.package import manifest
from mixkit.package.archive import Archive
from mixkit.package.build import pack
from mixkit.package.document import dump
from mixkit.package.manifest import ENTRY, AppSpec, Manifest
from mixkit.package.names import check_name
from mixkit.package.package import RUNTIME, Package
from mixkit.package.zip_headers import check_path
from mixkit.paths import check_path as check_file
from mixkit.value import Ref

__all__ = ["Earlier", "is_earlier"]

_RECORDS: Final = "records.mp"
_REF: Final = "{ref}"
_OURS: Final = frozenset({"_rmx_id", "_rmx_type"})
_KNOWN: Final = frozenset({"apps", "records", "setup", "metadata"})
_IN_APP: Final = re.compile(r"apps/([^/]{1,255})/(.{1,1024})")
_ABOUT_APP: Final = re.compile(r"apps/([^/]{1,255})\.mp")
_MOST_INT: Final = 1 << 63


@dataclass
class _App:
    """An app, as it becomes.

    Attributes:
        was: the name that it had.
        records: lines of tagged JSON.
        files: paths to entries that have their bytes.
    """

    was: str
    records: list[bytes] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def is_earlier(archive: Archive) -> bool:
    """Whether that is such a package."""
    try:
        document = strict_json.loads(archive.read(ENTRY))
    except (PackageError, ValueError):
        return False
    return manifest.is_earlier(document)


class Earlier:
    """Such a package, read whole.

    Raises:
        PackageError: it is none, or is damaged; names the entry.

    Attributes:
        apps: by the names that they get.
        left: what cannot be carried, a line each.
    """

    def __init__(self, archive: Archive) -> None:
        if not is_earlier(archive):
            raise PackageError(
                "expected a manifest of the earlier format, without `format` and with `apps`", ENTRY
            )
        self._archive = archive
        self.apps: dict[str, _App] = {}
        self.left: list[str] = []
        said = self._object(ENTRY)
        for name in said["apps"]:
            self.apps[self._name(name)] = _App(name)
        self._leave_manifest(said)
        self._read_records()
        for new, app in self.apps.items():
            self._read_app(new, app)
        self._leave_others()

    @property
    def records(self) -> dict[str, int]:
        """How many records each app has."""
        return {name: len(app.records) for name, app in self.apps.items()}

    def convert(self, name: str, version: str = "1.0") -> bytes:
        """A package of format 3 with all that can be carried.

        Args:
            name: of the package.

        Raises:
            PackageError: no package can hold it.
        """
        check_name("package", name)
        kind: Any = "app" if len(self.apps) == 1 else "workspace"
        made = Manifest(
            format=3,
            name=name,
            version=version,
            kind=kind,
            description="Converted from a package of the earlier format",
            apps={app: AppSpec(agents={}) for app in self.apps},
            save_options={"OriginalIdAlways": True},
        )
        entries: dict[str, Any] = {ENTRY: made.encode}
        settings = {name: app.settings for name, app in self.apps.items() if app.settings}
        if settings:
            document = next(iter(settings.values())) if kind == "app" else settings
            entries[RUNTIME] = partial(dump, document)
        for new, app in self.apps.items():
            if app.records:
                entries[f"records/{new}.ndjson"] = partial(b"\n".join, app.records)
            for path, entry in app.files.items():
                entries[f"files/{new}{path}"] = partial(self._archive.read, entry)
        packed = pack(entries)
        Package.open(packed).verify()
        return packed

    # -- reading ------------------------------------------------------------------------------

    def _name(self, was: str) -> str:
        """The name that an app gets: its own, as far as an app can have it."""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", was)[:60].lstrip("-") or "app"
        new, number = name, 1
        while new in self.apps:
            number += 1
            new = f"{name}_{number}"
        if new != was:
            self.left.append(f"the name {was!r} of an app, which is {new!r} now")
        return new

    def _object(self, entry: str) -> dict[str, Any]:
        try:
            found = strict_json.loads(self._archive.read(entry))
        except ValueError as exc:
            raise PackageError(str(exc), entry) from None
        if not isinstance(found, dict):
            raise PackageError("expected an object", entry)
        return found

    def _leave_manifest(self, said: Mapping[str, Any]) -> None:
        if said.get("setup"):
            self.left.append(f"setup {_short(said['setup'])}, which is code")
        found = said.get("metadata")
        metadata: dict[str, Any] = found if isinstance(found, dict) else {}
        for key in sorted(metadata):
            if metadata[key] and key != "record_counts":
                self.left.append(f"metadata.{key} {_short(metadata[key])}")
        self.left += [f"{ENTRY}: {key}" for key in sorted(said.keys() - _KNOWN)]

    def _read_records(self) -> None:
        if _RECORDS not in self._archive.entries:
            return
        found = self._unpacked(_RECORDS)
        if not isinstance(found, dict):
            raise PackageError(f"expected a map from apps to records, found {type(found).__name__}", _RECORDS)
        by_name = {app.was: app for app in self.apps.values()}
        for was, records in found.items():
            app = by_name.get(was)
            if app is None:
                raise PackageError(
                    f"it has records of the app {was!r:.80}, which the manifest lacks", _RECORDS
                )
            app.records += self._lines(records, f"{_RECORDS}: {was}")

    def _read_app(self, new: str, app: _App) -> None:
        about = f"apps/{app.was}.mp"
        if about in self._archive.entries:
            app.records += self._lines(self._unpacked(about), about)
        runtime = f"apps/{app.was}/{RUNTIME}"
        if runtime in self._archive.entries:
            said = self._object(runtime)
            settings = said.get("settings") or {}
            if not isinstance(settings, dict):
                raise PackageError("expected an object as settings", runtime)
            app.settings = settings
            if said.get("styles"):
                self.left.append(f"{new}: styles, which are for screens")
        self._read_files(new, app)

    def _read_files(self, new: str, app: _App) -> None:
        folder = f"apps/{app.was}/public/"
        there = {path for path in self._archive.entries if path.startswith(folder)}
        by_digest = {path.removeprefix(folder).partition(".")[0].lower(): path for path in sorted(there)}
        named: set[str] = set()
        listed = f"apps/{app.was}/resources.json"
        resources = self._object(listed) if listed in self._archive.entries else {}
        for name, said in resources.items():
            if not isinstance(said, dict):
                raise PackageError(f"expected an object for {name!r:.80}", listed)
            identifier = str(said.get("identifier") or "")
            entry = by_digest.get(identifier.rpartition("/")[2].partition(".")[0].lower())
            if entry is None:
                self.left.append(f"{new}: file {name!r:.200}, whose bytes are not in the package")
                continue
            named.add(entry)
            self._keep(new, app, name, bool(said.get("public")), entry)
        for entry in sorted(there - named):
            self._keep(new, app, entry.removeprefix(folder), True, entry)

    def _keep(self, new: str, app: _App, name: str, public: bool, entry: str) -> None:
        digest = entry.rpartition("/")[2].partition(".")[0].lower()
        if len(digest) == 64:
            found = hashlib.sha256()
            for chunk in self._archive.chunks(entry):
                found.update(chunk)
            if found.hexdigest() != digest:
                raise PackageError(
                    f"expected bytes with the SHA-256 {digest}, found {found.hexdigest()}", entry
                )
        path = f"{'/public' if public else ''}/{name.lstrip('/')}"
        try:
            check_file(path)
            check_path(f"files/{new}{path}")
            if any(path.casefold() == other.casefold() for other in app.files):
                raise PathError("another file has that path")
        except (PathError, PackageError):
            better = f"{'/public' if public else ''}/{entry.rpartition('/')[2]}"
            self.left.append(f"{new}: the name {name!r:.200} of a file, which is {better!r} now")
            path = better
        app.files[path] = entry

    def _leave_others(self) -> None:
        known = {ENTRY, _RECORDS}
        apps = {app.was: new for new, app in self.apps.items()}
        for path in self._archive.entries:
            match, about = _IN_APP.fullmatch(path), _ABOUT_APP.fullmatch(path)
            if path in known or (about is not None and about[1] in apps):
                continue
            if match is not None and match[1] in apps:
                if match[2] in (RUNTIME, "resources.json") or match[2].startswith("public/"):
                    continue
                if match[2].startswith("libraries/"):
                    self.left.append(f"{apps[match[1]]}: {path}, which is code for another machine")
                    continue
            self.left.append(path)

    def _unpacked(self, entry: str) -> Any:
        import msgpack  # type: ignore[import-untyped]

        try:
            return msgpack.unpackb(self._archive.read(entry), timestamp=3, strict_map_key=False)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as exc:
            raise PackageError(f"expected MessagePack: {exc or type(exc).__name__}", entry) from None

    def _lines(self, records: Any, entry: str) -> Iterator[bytes]:
        if not isinstance(records, list):
            raise PackageError(f"expected an array of records, found {type(records).__name__}", entry)
        for index, record in enumerate(records):
            place = f"{entry}: $[{index}]"
            if not isinstance(record, dict):
                raise PackageError(f"expected a record, a map, found {type(record).__name__}", place)
            fields = {}
            for key, value in record.items():
                name = key if key in _OURS or not str(key).startswith("_rmx_") else key.removeprefix("_")
                fields[_key(name, place)] = _value(value, place)
            id = fields.get("_rmx_id")
            if isinstance(id, str):
                fields["_rmx_id"] = Ref(id)
            try:
                yield tagged_json.dumps(fields).encode()
            except MixError as exc:
                raise PackageError(str(exc), place) from None


def _key(key: Any, place: str) -> str:
    if not isinstance(key, str):
        raise PackageError(f"expected texts as names of fields, found {key!r:.80}", place)
    return key


def _value(value: Any, place: str) -> Any:
    """A value of the earlier format as one of ours."""
    if isinstance(value, str):
        return Ref(value.removeprefix(_REF)) if value.startswith(_REF) and value != _REF else value
    if isinstance(value, dict):
        return {_key(key, place): _value(item, place) for key, item in value.items()}
    if isinstance(value, list):
        return [_value(item, place) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -_MOST_INT <= value < _MOST_INT:
        raise PackageError(f"expected an integer of 64 bits, found {value}", place)
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise PackageError(f"expected a value of MessagePack, found {type(value).__name__}", place)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else f"{text[:117]}..."
