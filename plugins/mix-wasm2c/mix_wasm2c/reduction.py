"""A module reduced to what is translated: no name of a stranger's ends up in C.

What wasm2c is given has neither exports nor names nor a start function, and its imports have names of ours; the
functions are known by their index. The memories, tables, globals, code and data stay as they are.
"""

from __future__ import annotations

from typing import Final

from mixkit.contracts import FuncType
from mixkit.errors import EngineError
from mixkit.vm.wasm import WasmModule
from mixkit.vm.wasm_bulk import split
from mixkit.vm.wasm_data import joined
from mixkit.vm.wasm_reader import leb

__all__ = ["MAX_MEMORIES", "imported", "reduced", "unsupported"]

MAX_MEMORIES: Final = 16
_NUMBERS: Final = frozenset({"i32", "i64", "f32", "f64"})
_MAX_PARAMS: Final = 32
_MAGIC: Final = b"\0asm\x01\0\0\0"
_CUSTOM, _IMPORT, _EXPORT, _START, _ELEMENT, _CODE = 0, 2, 7, 8, 9, 10
_DECLARED: Final = b"\x03\x00"
"""An element segment that only says which functions code may take references of, as exports do."""


def unsupported(module: WasmModule) -> str:
    """Why the engine cannot take the module, as far as its declarations tell; empty if it may."""
    if module.has_tags:
        return "it has exceptions"
    if len(module.memories) > MAX_MEMORIES:
        return f"it has {len(module.memories)} memories, expected at most {MAX_MEMORIES}"
    for (where, name), kind in module.imports.items():
        if not isinstance(kind, FuncType):
            return f"it imports the {kind} {where}.{name}; only functions can be imported"
        if (
            len(kind.params) > _MAX_PARAMS
            or len(kind.results) > 1
            or not _NUMBERS.issuperset(kind.params + kind.results)
        ):
            return (
                f"it imports {where}.{name} {kind}; expected numbers, {_MAX_PARAMS} at most, and one result"
            )
    return ""


def reduced(module: WasmModule) -> bytes:
    """The module for wasm2c.

    Raises:
        EngineError: an export names what does not exist.
    """
    _check_exports(module)
    changed = {**joined(module), **split(module)}
    changed[_IMPORT] = _imports(module)
    exported = sorted({index for kind, index in module.exported.values() if kind == "function"})
    # Element segments are known by their number too, so that one more stands at the end.
    old = module.reader(_ELEMENT)
    count, rest = (old.u32(), module.code[old.at : old.end]) if old else (0, b"")
    declared = _DECLARED + leb(len(exported)) + b"".join(map(leb, exported)) if exported else b""
    changed[_ELEMENT] = leb(count + bool(exported)) + rest + declared

    out = [_MAGIC]
    written = False

    def write(number: int, body: bytes) -> None:
        out.append(bytes([number]) + leb(len(body)) + body)

    for number, _, begin, end in module.sections:
        if number in (_CUSTOM, _EXPORT, _START):
            continue
        # Element segments stand before the count of the data segments (12), the code (10) and the data (11).
        if number >= _ELEMENT and number != 13 and not written:
            write(_ELEMENT, changed[_ELEMENT])
            written = True
        if number != _ELEMENT:
            write(number, changed.get(number, module.code[begin:end]))
    if not written:
        write(_ELEMENT, changed[_ELEMENT])
    return b"".join(out)


def imported(module: WasmModule) -> list[tuple[str, str]]:
    """The imported functions in the order of their indexes: an import that stands twice is two functions."""
    return [key for key, _ in _read_imports(module)]


def _imports(module: WasmModule) -> bytes:
    found = _read_imports(module)
    names = (f"i{index}".encode() for index in range(len(found)))
    return leb(len(found)) + b"".join(
        b"\x01h" + leb(len(name)) + name + b"\0" + leb(kind)
        for name, (_, kind) in zip(names, found, strict=True)
    )


def _read_imports(module: WasmModule) -> list[tuple[tuple[str, str], int]]:
    """Keys and numbers of the types; only functions are imported here (`unsupported`)."""
    reader = module.reader(_IMPORT)
    found = []
    if reader is not None:
        for _ in range(reader.u32()):
            key = (reader.name(), reader.name())
            reader.kind()
            found.append((key, reader.u32()))
    return found


def _check_exports(module: WasmModule) -> None:
    counts = {"memory": len(module.memories), "table": len(module.tables), "global": len(module.globals)}
    for name, (kind, index) in module.exported.items():
        if kind != "function" and index >= counts.get(kind, 0):
            raise EngineError(f"the export {name!r} names the {kind} {index} of {counts.get(kind, 0)}")
