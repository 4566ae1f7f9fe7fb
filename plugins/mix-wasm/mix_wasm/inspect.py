"""What is in a Wasm module, and whether it is a guest: the kernel's judgement, but all of it at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from mixkit.contracts import Module
from mixkit.errors import GuestError
from mixkit.schema import REST, RecordType
from mixkit.vm import interface
from mixkit.vm.manifest import ENTRY_PREFIX, Manifest, read_manifest
from mixkit.vm.wasm import PAGE, WasmModule, read

__all__ = ["Report", "inspect"]


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
    problems = interface.problems(module)
    if "_start" in module.exports:
        problems.append("export _start: a guest is a library (a WASI reactor), this is a program")
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
    written = {
        f"{name}{'?' if field.optional else ''}": str(field.type) for name, field in params.fields.items()
    }
    return written | {REST: "data"} if params.open else written
