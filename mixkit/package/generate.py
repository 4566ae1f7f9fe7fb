"""A package made of another one, the template, and of records that take the place of those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from mixkit import tagged_json
from mixkit.errors import PackageError, TaggedJSONError
from mixkit.package import manifest, signature
from mixkit.package.build import pack
from mixkit.package.manifest import Manifest
from mixkit.package.package import Package

__all__ = ["generate"]


def generate(
    template: Package,
    records: Iterable[Mapping[str, Any]],
    *,
    app: str | None = None,
    name: str | None = None,
    version: str | None = None,
) -> bytes:
    """The template with these records, which keep their ids and types; unsigned, since it is another package.

    Args:
        app: of the template, whose records they are; needed where it has several.
        name, version: of the package, where they are to be others than the template's.

    Raises:
        PackageError: the template has no such app, or is damaged, or a record cannot be written.
    """
    apps = template.manifest.apps
    if app is None and len(apps) == 1:
        app = next(iter(apps))
    if app not in apps:
        found = "none" if app is None else repr(app)[:80]
        raise PackageError(f"expected one of the template's apps, {', '.join(apps)}; found {found}")
    made = msgspec.structs.replace(
        template.manifest,
        name=name or template.name,
        version=version or template.version,
        save_options=template.manifest.save_options or {"OriginalIdAlways": True},
    )
    place = f"records/{app}.ndjson"
    left = {signature.ENTRY, place, manifest.ENTRY}
    entries: dict[str, Any] = {
        path: partial(template.archive.read, path) for path in template.archive.entries if path not in left
    }
    lines = [_line(record, number) for number, record in enumerate(records)]
    if lines:
        entries[place] = partial(b"\n".join, lines)
    # As it would be read, so that a name or a version that cannot be is refused here.
    encoded = Manifest.decode(made.encode()).encode()
    packed = pack(entries | {manifest.ENTRY: lambda: encoded})
    Package.open(packed).verify()
    return packed


def _line(record: Mapping[str, Any], number: int) -> bytes:
    kept = {
        key: value
        for key, value in record.items()
        if not key.startswith("_rmx_") or key in ("_rmx_id", "_rmx_type")
    }
    try:
        return tagged_json.dumps(kept).encode()
    except TaggedJSONError as exc:
        raise PackageError(f"record {number} of the result cannot be written: {exc}") from None
