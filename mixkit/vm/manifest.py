"""What a guest says of itself: the custom section `mix.manifest`, or the exports by the naming rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mixkit import strict_json
from mixkit.contracts import FuncType, Module
from mixkit.errors import GuestError, MixError
from mixkit.grants import Grants
from mixkit.near import meant
from mixkit.schema import ANY, Type
from mixkit.schema_text import parse, parse_params

__all__ = ["ENTRY_PREFIX", "Entry", "Manifest", "manifest_of", "read_manifest"]

ENTRY_PREFIX = "mix_entry_"
"""A guest without a manifest exposes each export `mix_entry_NAME(args, len) -> i64` as the entry NAME."""
CALL = FuncType(("i32", "i32", "i32", "i32"), ("i64",))
DIRECT = FuncType(("i32", "i32"), ("i64",))
ALLOC = FuncType(("i32",), ("i32",))
_MAX_SIZE = 1 << 20
_KEYS = {"version", "name", "description", "entries", "grants"}
_ENTRY_KEYS = {"description", "inParams", "outParams"}


class Entry(msgspec.Struct, frozen=True):
    """An entry of a guest: what may be called from outside."""

    name: str
    description: str = ""
    params: Type = ANY
    result: Type = ANY
    direct: bool = False
    """Called through its own export instead of `mix_call`."""


class Manifest(msgspec.Struct, frozen=True):
    """Name, description, entries and requested powers of a guest."""

    name: str = ""
    description: str = ""
    entries: Mapping[str, Entry] = {}
    grants: Grants | None = None
    """What it asks for; None if it does not say."""
    declared: bool = False
    """False if the guest has no manifest: then it may be called by any name that it understands."""


def read_manifest(module: Module) -> Manifest:
    """The module's manifest, or one made by the naming rule.

    Raises:
        GuestError: the module is no guest, or its manifest is malformed; says what is missing or wrong.
    """
    exports = module.exports
    if exports.get("memory") != "memory":
        raise GuestError('no guest of mixkit: it does not export its memory as "memory"')
    _expect(exports, "mix_alloc", ALLOC)
    sections = module.custom_sections("mix.manifest")
    if len(sections) > 1:
        raise GuestError(f"a guest has one section mix.manifest, found {len(sections)}")
    if sections:
        _expect(exports, "mix_call", CALL)
        return _parse(sections[0])
    entries = {
        name.removeprefix(ENTRY_PREFIX): Entry(name.removeprefix(ENTRY_PREFIX), direct=True)
        for name, kind in exports.items()
        if name.startswith(ENTRY_PREFIX) and kind == DIRECT
    }
    if not entries:
        _expect(exports, "mix_call", CALL)
    return Manifest(entries=entries)


def _expect(exports: Mapping[str, FuncType | str], name: str, expected: FuncType) -> None:
    found = exports.get(name)
    if found != expected:
        what = "nothing" if found is None else str(found)
        raise GuestError(f"no guest of mixkit: expected an export {name}{expected}, found {what}")


def _parse(section: bytes) -> Manifest:
    where = "mix.manifest"
    if len(section) > _MAX_SIZE:
        raise GuestError(f"{where}: larger than {_MAX_SIZE} bytes")
    try:
        raw = strict_json.loads(section)
    except ValueError as exc:
        raise GuestError(f"{where}: {exc}") from None
    return manifest_of(raw, where)


def manifest_of(raw: Any, where: str = "mix.manifest") -> Manifest:
    """The manifest that a JSON tree is. `GuestError` says what is malformed."""
    _keys(raw, _KEYS, where)
    if type(raw.get("version")) is not int or raw["version"] != 1:
        raise GuestError(f"{where}: expected version 1, found {raw.get('version')!r}")
    entries: dict[str, Entry] = {}
    listed = raw.get("entries", {})
    if not isinstance(listed, dict) or not listed:
        raise GuestError(f"{where}.entries: expected a map with at least one entry")
    for name, item in listed.items():
        path = f"{where}.entries.{name}"
        _keys(item, _ENTRY_KEYS, path)
        try:
            params = parse_params(item["inParams"]) if "inParams" in item else ANY
            out = item.get("outParams", "data")
            result = parse(out) if isinstance(out, str) else parse_params(out)
        except MixError as exc:
            raise GuestError(f"{path}: {exc}") from None
        entries[name] = Entry(name, _text(item, "description", path), params, result)
    return Manifest(
        _text(raw, "name", where),
        _text(raw, "description", where),
        entries,
        _grants(raw, where),
        declared=True,
    )


def _grants(raw: dict[str, Any], where: str) -> Grants | None:
    if "grants" not in raw:
        return None
    grants = raw["grants"]
    _keys(grants, {"ffis", "options"}, f"{where}.grants")
    ffis, options = grants.get("ffis", []), grants.get("options", {})
    if (
        not isinstance(ffis, list)
        or not all(isinstance(f, str) for f in ffis)
        or not isinstance(options, dict)
    ):
        raise GuestError(f'{where}.grants: expected {{"ffis": ["$name", …], "options": {{…}}}}')
    try:
        return Grants(ffis, options)
    except MixError as exc:
        raise GuestError(f"{where}.grants: {exc}") from None


def _keys(raw: Any, allowed: set[str], path: str) -> None:
    if not isinstance(raw, dict):
        raise GuestError(f"{path}: expected a map, found {type(raw).__name__}")
    unknown = sorted(raw.keys() - allowed)
    if unknown:
        near = meant(unknown[0], allowed)
        raise GuestError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(sorted(allowed))}{near}")


def _text(raw: dict[str, Any], key: str, path: str) -> str:
    text = raw.get(key, "")
    if not isinstance(text, str):
        raise GuestError(f"{path}.{key}: expected a string")
    return text
