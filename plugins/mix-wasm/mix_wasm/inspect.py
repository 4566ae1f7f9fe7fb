"""What is in a Wasm module, and whether it is a guest: the kernel's judgement, but all of it at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from mixkit.contracts import FuncType, Module
from mixkit.errors import GuestError
from mixkit.schema import RecordType
from mixkit.vm.guest import HOST_IMPORTS
from mixkit.vm.manifest import ENTRY_PREFIX, Manifest, read_manifest
from mixkit.vm.wasm import PAGE, WasmModule, read

__all__ = ["Report", "inspect"]

_SIGNATURES = {
    "_initialize": FuncType((), ()),
    "mix_alloc": FuncType(("i32",), ("i32",)),
    "mix_call": FuncType(("i32", "i32", "i32", "i32"), ("i64",)),
    "mix_init": FuncType(("i32", "i32"), ()),
    "mix_resume": FuncType(("i32",), ()),
}
_DIRECT = FuncType(("i32", "i32"), ("i64",))


@dataclass(frozen=True, slots=True)
class Report:
    """A module from outside.

    Attributes:
        size: bytes of the file.
        sha256: of the file, in hex.
        imports: `(module, name)` to signature or kind.
        exports: name to signature or kind.
        memories: smallest and largest size of each memory, in bytes; the largest is None without a limit.
        sections: name and size in bytes of each custom section.
        manifest: what the guest says of itself, None when that cannot be read.
        problems: why it is no guest; empty if it is one.
    """

    size: int
    sha256: str
    imports: Mapping[tuple[str, str], str]
    exports: Mapping[str, str]
    memories: tuple[tuple[int, int | None], ...]
    sections: tuple[tuple[str, int], ...]
    manifest: Manifest | None
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return {
            "size": self.size,
            "sha256": self.sha256,
            "imports": [{"module": m, "name": n, "type": t} for (m, n), t in self.imports.items()],
            "exports": [{"name": name, "type": kind} for name, kind in self.exports.items()],
            "memories": [{"minimum": low, "maximum": high} for low, high in self.memories],
            "sections": [{"name": name, "size": size} for name, size in self.sections],
            "manifest": _manifest(self.manifest) if self.manifest else None,
            "problems": list(self.problems),
        }


def inspect(code: bytes) -> Report:
    """Report on a module.

    Raises:
        EngineError: the bytes are no core-Wasm module, or a malformed one.
    """
    module = read(code)
    manifest: Manifest | None = None
    problems = [*_import_problems(module), *_export_problems(module)]
    try:
        # A read module has the exports and sections that this looks at; only a compiled one has a hash too.
        manifest = read_manifest(cast(Module, module))
    except GuestError as exc:
        # The kernel stops at the first of these; what the lines above said already is not said again.
        if not problems:
            problems.append(str(exc))
    else:
        problems += _entry_problems(module, manifest)
    return Report(
        size=len(code),
        sha256=hashlib.sha256(code).hexdigest(),
        imports={key: str(kind) for key, kind in module.imports.items()},
        exports={name: str(kind) for name, kind in module.exports.items()},
        memories=tuple(
            (m.minimum * PAGE, None if m.maximum is None else m.maximum * PAGE) for m in module.memories
        ),
        sections=tuple((name, len(content)) for name, content in module.customs),
        manifest=manifest,
        problems=tuple(problems),
    )


def _import_problems(module: WasmModule) -> list[str]:
    problems = []
    for (space, name), found in module.imports.items():
        offered = HOST_IMPORTS.get((space, name))
        if offered is None:
            known = ", ".join(n for s, n in HOST_IMPORTS if s == space)
            hint = (
                f"that module has {known}"
                if known
                else "guests import from mix, wasi_snapshot_preview1 and env"
            )
            problems.append(f"import {space}.{name}: no host function of that name; {hint}")
        elif found != offered.type:
            problems.append(f"import {space}.{name}: expected {offered.type}, found {found}")
    return problems


def _export_problems(module: WasmModule) -> list[str]:
    problems = []
    exports = module.exports
    if exports.get("memory") != "memory":
        problems.append(f"export memory: expected a memory, found {exports.get('memory', 'nothing')}")
    required = ["mix_alloc"]
    if not any(name.startswith(ENTRY_PREFIX) for name in exports):
        required.append("mix_call")
    for name, expected in _SIGNATURES.items():
        found = exports.get(name)
        if (found is not None or name in required) and found != expected:
            problems.append(f"export {name}: expected {expected}, found {found or 'nothing'}")
    for name, found in exports.items():
        if name.startswith(ENTRY_PREFIX) and found != _DIRECT:
            problems.append(f"export {name}: expected {_DIRECT}, found {found}")
    if "_start" in exports:
        problems.append("export _start: a guest is a library (a WASI reactor), this is a program")
    return problems


def _entry_problems(module: WasmModule, manifest: Manifest) -> list[str]:
    """Entries that the manifest has and the code has not, or the other way round, where the code tells."""
    coded = {name.removeprefix(ENTRY_PREFIX) for name in module.exports if name.startswith(ENTRY_PREFIX)}
    if not manifest.declared or not coded:
        return []
    declared = set(manifest.entries)
    return [
        *(
            f"entry {name}: stands in the manifest, but no code answers it"
            for name in sorted(declared - coded)
        ),
        *(f"entry {name}: has code, but does not stand in the manifest" for name in sorted(coded - declared)),
    ]


def _manifest(manifest: Manifest) -> dict[str, Any]:
    return {
        "declared": manifest.declared,
        "name": manifest.name,
        "description": manifest.description,
        "grants": None if manifest.grants is None else manifest.grants.patterns(),
        "entries": {
            entry.name: {
                "description": entry.description,
                "inParams": _params(entry.params),
                "outParams": str(entry.result),
            }
            for entry in manifest.entries.values()
        },
    }


def _params(params: Any) -> Any:
    """Parameters as a manifest writes them: a map where they are a record, else the type's text."""
    if not isinstance(params, RecordType):
        return str(params)
    return {
        f"{name}{'?' if field.optional else ''}": str(field.type) for name, field in params.fields.items()
    }
