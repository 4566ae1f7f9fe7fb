"""The file that a workspace or an app travels in: a zip, as a package is, with other entries. Version 3 of the format.

    manifest.json            `ExportManifest`
    installed/APP.json       what is installed as the app, and what was agreed to: `mixkit.package.app.Installation`;
                             missing for an app without code
    code/APP/…               its code, by the paths that it had in its package
    records/APP.ndjson       its records, one tagged JSON object a line, in the order of their commits; what is beyond
    records/APP.N.ndjson     `PART` bytes goes on in the parts 2, 3, …
    files/APP.ndjson         what is said of its files, one a line: `FileEntry`
    files/APP/…              their bytes
    workspace.ndjson         records that belong to the workspace, as grants
    SUMS                     SHA-256 of each entry but this one, in the text that a package's signature signs

The manifest comes first and the sums last, so that a file can be written in one go. Whoever reads has all of it before
anything is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from mixkit import strict_json
from mixkit.errors import PackageError
from mixkit.package.archive import ArchiveLimits
from mixkit.package.document import convert, dump
from mixkit.package.errors import BadName
from mixkit.package.names import check_name
from mixkit.package.signature import signed_text

__all__ = [
    "BELONGINGS",
    "MANIFEST",
    "MOST_ENTRIES",
    "PART",
    "SUMS",
    "ExportManifest",
    "Exported",
    "FileEntry",
    "limits",
    "owner_of",
    "read_sums",
    "records_of",
    "sums_of",
]

MANIFEST: Final = "manifest.json"
SUMS: Final = "SUMS"
BELONGINGS: Final = "workspace.ndjson"

PART: Final = 1 << 29
"""Bytes of records in one entry; the line that goes beyond is still in it."""

MOST_ENTRIES: Final = 1_000_000
"""Entries of an export: what is known of them is in memory, a kilobyte each."""

_DEFLATE: Final = 1_040
"""Deflate makes at most so many bytes of one (RFC 1951): no ratio is too good. What all of it becomes is bounded."""

_RECORDS: Final = re.compile(r"records/(?P<app>[^./]+)(?:\.(?P<part>[1-9][0-9]{0,5}))?\.ndjson", re.ASCII)
_SUM: Final = re.compile(r"([0-9a-f]{64})  (.+)")


class Exported(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the file was made. `history`: all versions are in it, and tombstones."""

    at: str
    history: bool


class AppEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An app in the manifest, with the package that it is from, for people."""

    package: str | None = None
    version: str | None = None


class ExportManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`manifest.json` of an export. `name` is the workspace's; `kind` "app" has one app of it."""

    format: Literal[3]
    kind: Literal["workspace", "app"]
    name: str
    exported: Exported
    apps: dict[str, AppEntry]

    @classmethod
    def make(
        cls, kind: Literal["workspace", "app"], name: str, apps: Mapping[str, AppEntry], history: bool
    ) -> ExportManifest:
        """One of now."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return cls(
            format=3, kind=kind, name=name, exported=Exported(at=now, history=history), apps=dict(apps)
        )

    @classmethod
    def decode(cls, data: bytes) -> ExportManifest:
        """The manifest in these bytes.

        Raises:
            PackageError: it is none, or that of a package, with what to do.
        """
        try:
            document = strict_json.loads(data)
        except ValueError as exc:
            raise PackageError(f"expected JSON: {exc}", MANIFEST) from None
        if isinstance(document, dict) and "exported" not in document:
            raise PackageError(
                "this is a package and no export: it is installed, with `mixkit remix install`", MANIFEST
            )
        manifest = convert(document, cls, MANIFEST)
        try:
            check_name("workspace", manifest.name)
            for app in manifest.apps:
                check_name("app", app)
        except BadName as exc:
            raise PackageError(str(exc), MANIFEST) from None
        if manifest.kind == "app" and len(manifest.apps) != 1:
            raise PackageError(
                f'expected one app in an export of kind "app", found {len(manifest.apps)}', MANIFEST
            )
        return manifest

    def encode(self) -> bytes:
        """As it stands in the file."""
        return dump(self)


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """What is said of a file of an app. `entry` has its bytes."""

    entry: str
    path: str
    content_type: str
    metadata: dict[str, str] = {}


def records_of(app: str, part: int) -> str:
    """The entry with that part of an app's records, from 1."""
    return f"records/{app}.ndjson" if part == 1 else f"records/{app}.{part}.ndjson"


def sums_of(digests: Mapping[str, str]) -> bytes:
    """The entry `SUMS` for the digests of all others."""
    return signed_text(digests)


def read_sums(data: bytes) -> dict[str, str]:
    """SHA-256 by path. `PackageError` if it is not as `sums_of` makes it."""
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as exc:
        raise PackageError(f"expected UTF-8: {exc}", SUMS) from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines[1:-1], 2):
        match = _SUM.fullmatch(line)
        if match is None:
            raise PackageError(f"line {number}: expected a SHA-256 and a path, found {line!r:.120}", SUMS)
        found[match[2]] = match[1]
    if signed_text(found) != data:
        raise PackageError("expected the text that docs/moving.md describes, sorted by path", SUMS)
    return found


def limits(packed: int) -> ArchiveLimits:
    """How large an export may be that has at most so many bytes: sixteen times as much when it is unpacked, which
    records that are not made to do harm do not reach."""
    total = 16 * packed
    return ArchiveLimits(
        packed=packed, entries=MOST_ENTRIES + 1, entry=total, total=total, ratio=_DEFLATE, wide=True
    )


def owner_of(path: str) -> str | None:
    """The app that an entry belongs to, by its path."""
    if match := _RECORDS.fullmatch(path):
        return match["app"]
    top, _, rest = path.partition("/")
    app, slash, _ = rest.partition("/")
    if top in ("code", "files") and slash:
        return app
    if top == "installed" and rest.endswith(".json"):
        return rest.removesuffix(".json")
    return rest.removesuffix(".ndjson") if top == "files" and rest.endswith(".ndjson") else None
