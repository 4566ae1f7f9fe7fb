"""The Wasm binary format, as far as the kernel and the engines need it: what a module has, and one rewriting.

`read` gives imports, exports, types, memories, tables, globals and custom sections of a core module. `expose`
writes the same module with its state made reachable, for snapshots. Whatever this reader does not know is
refused, so that a construct whose state nobody can restore never gets as far as an engine.

Format: WebAssembly core specification 2.0, chapter 5 "Binary Format", with multiple memories and exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mixkit.contracts import FuncType, ValType
from mixkit.errors import EngineError
from mixkit.vm.wasm_reader import KINDS, Global, Reader, Size, check_count, leb

__all__ = ["PAGE", "RESERVED", "Exposed", "WasmModule", "custom_sections", "expose", "read"]

PAGE: Final = 65536
"""Bytes of a page, the unit of memory sizes."""

RESERVED: Final = "\0mix:"
"""Exports whose names begin so are added by `expose`; a module that brings its own is refused."""

_MAGIC: Final = b"\0asm\x01\0\0\0"
_COMPONENT: Final = b"\0asm\x0d\0\x01\0"

_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = range(5)

_CUSTOM, _START, _CODE, _TAGS = 0, 8, 10, 13
# The order in which sections must stand; the tags (13) come before the globals, the data count (12) before the code.
_ORDER: Final = {number: place for place, number in enumerate((1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11), 1)}
_EXPORT: Final = 7
_COUNTED: Final = {9: "element segments", 11: "data segments"}


@dataclass(frozen=True, slots=True)
class WasmModule:
    """What a core module declares. Memories, tables and globals are its own, without the imported ones."""

    code: bytes
    imports: Mapping[tuple[str, str], FuncType | str]
    exports: Mapping[str, FuncType | str]
    exported: Mapping[str, tuple[str, int]]
    """Export name to kind (`"function"`, `"table"`, `"memory"`, `"global"`) and index, as in the file."""
    memories: tuple[Size, ...]
    tables: tuple[Size, ...]
    globals: tuple[Global, ...]
    imported_memories: int
    imported_globals: int
    function_count: int
    """Functions, imported ones included."""
    start: int | None
    customs: tuple[tuple[str, bytes], ...]
    sections: tuple[tuple[int, int, int, int], ...]
    """Every section: its number, where its header begins, where its contents begin and end, in bytes."""

    @property
    def has_tags(self) -> bool:
        """Whether it has exceptions of its own."""
        return any(number == _TAGS for number, *_ in self.sections)

    def custom_sections(self, name: str) -> tuple[bytes, ...]:
        """Contents of the custom sections of that name, in order."""
        return tuple(content for found, content in self.customs if found == name)

    def reader(self, number: int) -> Reader | None:
        """Reads the contents of the section of that number; None if there is none."""
        for found, _, begin, end in self.sections:
            if found == number:
                return Reader(self.code, begin, end)
        return None

    def section(self, number: int) -> bytes:
        """Contents of the section of that number; empty if there is none."""
        for found, _, begin, end in self.sections:
            if found == number:
                return self.code[begin:end]
        return b""


def custom_sections(code: bytes, name: str) -> tuple[bytes, ...]:
    """Contents of the custom sections of that name, in order. Looks at no other section.

    Raises:
        EngineError: the bytes are no core-Wasm module.
    """
    found = []
    for number, _, begin, end in _sections(code):
        if number == _CUSTOM:
            reader = Reader(code, begin, end)
            if reader.name() == name:
                found.append(code[reader.at : end])
    return tuple(found)


def read(code: bytes) -> WasmModule:
    """What the module declares.

    Raises:
        EngineError: not a core module, malformed, or of a proposal that is switched off here (shared and
            64-bit memories, external references, garbage-collected types), or it keeps exceptions in globals or
            tables. The message has the byte offset.
    """
    sections = _sections(code)
    types: list[FuncType] = []
    functions: list[FuncType] = []
    globals_: list[Global] = []
    memories: list[Size] = []
    tables: list[Size] = []
    imports: dict[tuple[str, str], FuncType | str] = {}
    exported: dict[str, tuple[str, int]] = {}
    customs: list[tuple[str, bytes]] = []
    imported = [0] * len(KINDS)
    start: int | None = None

    for number, _, begin, end in sections:
        reader = Reader(code, begin, end)
        if number == _CUSTOM:
            customs.append((reader.name(), code[reader.at : end]))
            check_count("custom sections", len(customs))
            continue
        if number == 1:
            types = reader.vector("types", reader.functype)
        elif number == 2:
            for _ in range(reader.count("imports")):
                key = (reader.name(), reader.name())
                kind = reader.kind()
                imported[kind] += 1
                if kind == _FUNCTION:
                    functions.append(reader.indexed(types, "type"))
                elif kind == _TABLE:
                    reader.table()
                elif kind == _MEMORY:
                    reader.memory()
                elif kind == _TAG:
                    raise reader.error(
                        f"{key[0]}.{key[1]} is an exception tag; only functions can be imported"
                    )
                else:
                    reader.globaltype()
                what = functions[-1] if kind == _FUNCTION else KINDS[kind]
                if imports.setdefault(key, what) != what:
                    raise reader.error(f"import {key[0]}.{key[1]} stands twice with different types")
        elif number == 3:
            count = reader.count("functions", len(functions))
            functions += [reader.indexed(types, "type") for _ in range(count)]
        elif number == 4:
            tables = reader.vector("tables", reader.table)
        elif number == 5:
            memories = reader.vector("memories", reader.memory)
        elif number == 6:
            globals_ = reader.vector("globals", reader.definition)
        elif number == _TAGS:
            for _ in range(reader.count("exception tags")):
                reader.tag(types)
        elif number == _EXPORT:
            for _ in range(reader.count("exports")):
                name, kind, index = reader.name(), reader.kind(), reader.u32()
                if name in exported:
                    raise reader.error(f"the export {name!r} stands twice")
                if name.startswith(RESERVED):
                    raise reader.error(f"the export {name!r} has a prefix that is reserved for the engine")
                exported[name] = (KINDS[kind], index)
        elif number == _START:
            start = reader.u32()
            if start >= len(functions):
                raise reader.error(f"the start function {start} does not exist")
            if functions[start] != FuncType((), ()):
                raise reader.error(f"the start function has the type {functions[start]}, expected () -> ()")
        else:
            if number in _COUNTED:
                reader.count(_COUNTED[number])
            continue
        reader.finish()

    exports: dict[str, FuncType | str] = {}
    for name, (what, index) in exported.items():
        if what == "function":
            if index >= len(functions):
                raise EngineError(f"the export {name!r} names the function {index} of {len(functions)}")
            exports[name] = functions[index]
        else:
            exports[name] = what
    return WasmModule(
        code=code,
        imports=MappingProxyType(imports),
        exports=MappingProxyType(exports),
        exported=MappingProxyType(exported),
        memories=tuple(memories),
        tables=tuple(tables),
        globals=tuple(globals_),
        imported_memories=imported[_MEMORY],
        imported_globals=imported[_GLOBAL],
        function_count=len(functions),
        start=start,
        customs=tuple(customs),
        sections=sections,
    )


@dataclass(frozen=True, slots=True)
class Exposed:
    """A module rewritten so that an engine can save and restore all of its state, which it finds by export names."""

    code: bytes
    memories: tuple[str, ...]
    """Export names of all memories, in their order."""
    globals: tuple[tuple[str, ValType], ...]
    """Export name and type of every mutable global."""
    start: str | None
    """Export name of the start function, which no longer runs by itself: call it before anything else."""
    shift: int
    """Bytes that the functions stand further back than in the module as it was."""


def expose(module: WasmModule, changed: Mapping[int, bytes] = MappingProxyType({})) -> Exposed:
    """The module with its memories, mutable globals and start function exported, and without its start section.

    Without a start section an engine runs no guest code while it instantiates.

    Args:
        changed: new contents of other sections, by number.
    """
    names = {where: name for name, where in module.exported.items()}
    added: list[bytes] = []

    def export(kind: int, index: int) -> str:
        where = (KINDS[kind], index)
        name = names.get(where)
        if name is None:
            name = names[where] = f"{RESERVED}{KINDS[kind]}:{index}"
            raw = name.encode()
            added.append(leb(len(raw)) + raw + bytes([kind]) + leb(index))
        return name

    memories = tuple(
        export(_MEMORY, module.imported_memories + index) for index in range(len(module.memories))
    )
    mutable = tuple(
        (export(_GLOBAL, index), variable.type)
        for index, variable in enumerate(module.globals, module.imported_globals)
        if variable.mutable
    )
    start = None if module.start is None else export(_FUNCTION, module.start)

    old = module.section(_EXPORT)
    kept = old[Reader(old, 0, len(old)).skip() :] if old else b""
    body = leb(len(module.exported) + len(added)) + kept + b"".join(added)
    exports = bytes([_EXPORT]) + leb(len(body)) + body

    out = [_MAGIC]
    shift = 0
    written = not (old or added)
    for number, header, begin, end in module.sections:
        if not written and _ORDER.get(number, 0) >= _ORDER[_EXPORT]:
            out.append(exports)
            written = True
        if number == _CODE:
            shift = sum(map(len, out)) - header
        if number in changed:
            new = changed[number]
            out.append(bytes([number]) + leb(len(new)) + new)
            if number == _CODE:
                # Of what stands before the functions, the size and the count may be longer than before.
                shift += len(out[-1]) - len(new) + Reader(new, 0, len(new)).skip()
                shift -= Reader(module.code, begin, end).skip() - header
        elif number not in (_EXPORT, _START):
            out.append(module.code[header:end])
    if not written:
        out.append(exports)
    return Exposed(b"".join(out), memories, mutable, start, shift)


def _sections(code: bytes) -> tuple[tuple[int, int, int, int], ...]:
    if code[:8] != _MAGIC:
        if code[:8] == _COMPONENT:
            raise EngineError(
                "expected a core Wasm module, found a component; link it to a core module first"
            )
        raise EngineError(
            f"expected a Wasm module (00 61 73 6d 01 00 00 00), found {code[:8].hex(' ') or 'nothing'}"
        )
    reader = Reader(code, 8, len(code))
    sections = []
    last = 0
    while reader.at < len(code):
        header = reader.at
        number = reader.byte()
        size = reader.u32()
        begin = reader.at
        if begin + size > len(code):
            raise reader.error(f"section {number} claims {size} bytes, the file has {len(code) - begin} more")
        if number != _CUSTOM:
            order = _ORDER.get(number)
            if order is None:
                raise reader.error(f"unknown section {number}")
            if order <= last:
                raise reader.error(f"section {number} stands twice or in the wrong place")
            last = order
        reader.at = begin + size
        sections.append((number, header, begin, begin + size))
    return tuple(sections)
