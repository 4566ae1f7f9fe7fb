"""Reading the Wasm binary format, one item at a time, and the most that a module may have of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

from mixkit.contracts import FuncType, ValType
from mixkit.errors import EngineError

__all__ = ["KINDS", "MOST", "Global", "Reader", "Size", "check_count", "leb"]

MOST: Final[Mapping[str, int]] = MappingProxyType(
    {
        "types": 10_000,
        "functions": 100_000,
        "imports": 1_000,
        "exports": 10_000,
        "globals": 10_000,
        "tables": 100,
        "memories": 100,
        "exception tags": 1_000,
        "element segments": 10_000,
        "data segments": 100_000,
        "separate data segments": 10_000,
        "custom sections": 1_000,
        "parameters of a function": 255,
        "results of a function": 255,
    }
)
"""How many of everything a module may have. A few bytes of a package become one of these, and some cost a
microsecond in every run; programs of a hundred thousand lines have far fewer."""

KINDS: Final = ("function", "table", "memory", "global", "tag")
_VALTYPES: Final[dict[int, ValType]] = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x69: "exnref",
}
_KNOWN: Final = frozenset(_VALTYPES)
_EXTERNREF: Final = 0x6F

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Size:
    """Limits of a memory (in pages) or of a table (in elements); `maximum` is None without one."""

    minimum: int
    maximum: int | None


@dataclass(frozen=True, slots=True)
class Global:
    """A global variable of the module."""

    type: ValType
    mutable: bool


def check_count(what: str, count: int) -> None:
    """Raise `EngineError` if a module may not have so many."""
    if count > MOST[what]:
        raise EngineError(f"the Wasm module has {count} {what}, expected at most {MOST[what]}")


def leb(value: int, width: int = 1) -> bytes:
    """Unsigned LEB128, in at least `width` bytes."""
    out = bytearray()
    while value > 0x7F or len(out) < width - 1:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Reads code[at:end], never beyond."""

    __slots__ = ("at", "code", "end")

    def __init__(self, code: bytes, at: int, end: int) -> None:
        self.code = code
        self.at = at
        self.end = end

    def error(self, message: str) -> EngineError:
        return EngineError(f"malformed or unsupported Wasm module: {message}, at byte {self.at}")

    def finish(self) -> None:
        if self.at != self.end:
            raise self.error(f"a section ends {self.end - self.at} bytes later than its contents")

    def byte(self) -> int:
        if self.at >= self.end:
            raise self.error("the section ends in the middle of an item")
        value = self.code[self.at]
        self.at += 1
        return value

    def u32(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 28:
                raise self.error("a number has more than five bytes")
        if value > 0xFFFF_FFFF:
            raise self.error("a number is beyond 32 bits")
        return value

    def s32(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 28:
                raise self.error("a number has more than five bytes")
        if shift > 32 and byte & 0x78 not in (0, 0x78):
            raise self.error("a number is beyond 32 bits")
        return value - (1 << shift) if byte & 0x40 else value

    def skip(self) -> int:
        """Steps over one LEB number of any size; answers where it ended."""
        while self.byte() >= 0x80:
            pass
        return self.at

    def name(self) -> str:
        size = self.u32()
        if self.at + size > self.end:
            raise self.error(f"a name claims {size} bytes, the section has {self.end - self.at} more")
        raw = self.code[self.at : self.at + size]
        self.at += size
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.error("a name is not UTF-8") from None

    def count(self, what: str, before: int = 0) -> int:
        """The length of a vector of those, of which the module has `before` already."""
        count = self.u32()
        check_count(what, before + count)
        return count

    def vector(self, what: str, item: Callable[[], T]) -> list[T]:
        return [item() for _ in range(self.count(what))]

    def indexed(self, items: list[T], what: str) -> T:
        index = self.u32()
        if index >= len(items):
            raise self.error(f"{what} {index} of {len(items)} does not exist")
        return items[index]

    def kind(self) -> int:
        kind = self.byte()
        if kind >= len(KINDS):
            raise self.error(f"unknown kind {kind:#04x} of import or export")
        return kind

    def valtype(self) -> ValType:
        byte = self.byte()
        found = _VALTYPES.get(byte)
        if byte == _EXTERNREF:
            raise self.error("external references (externref) are switched off here")
        if found is None:
            raise self.error(f"value type {byte:#04x} is unknown or switched off")
        return found

    def valtypes(self, what: str) -> tuple[ValType, ...]:
        count = self.count(what)
        raw = self.code[self.at : min(self.at + count, self.end)]
        # At once, since a module may have millions; one by one when there is something wrong, to say where.
        if len(raw) == count and _KNOWN.issuperset(raw):
            self.at += count
            return tuple(map(_VALTYPES.__getitem__, raw))
        return tuple(self.valtype() for _ in range(count))

    def functype(self) -> FuncType:
        form = self.byte()
        if form != 0x60:
            raise self.error(f"type form {form:#04x} is unknown or switched off; only functions are known")
        params = self.valtypes("parameters of a function")
        return FuncType(params, self.valtypes("results of a function"))

    def size(self, what: str) -> Size:
        flags = self.byte()
        if flags > 1:
            raise self.error(
                f"{what} flags {flags:#04x}: shared and 64-bit ones and other page sizes are off"
            )
        minimum = self.u32()
        return Size(minimum, self.u32() if flags else None)

    def memory(self) -> Size:
        return self.size("memory")

    def table(self) -> Size:
        if self.valtype() != "funcref":
            raise self.error("a table holds references to functions")
        return self.size("table")

    def tag(self, types: list[FuncType]) -> FuncType:
        """What an exception of that tag carries."""
        attribute = self.byte()
        if attribute != 0:
            raise self.error(f"the attribute {attribute:#04x} of a tag is unknown; only exceptions are known")
        return self.indexed(types, "type")

    def globaltype(self) -> Global:
        kind = self.valtype()
        if kind == "exnref":
            raise self.error("a global holds an exception (exnref), which nothing could save and restore")
        mutable = self.byte()
        if mutable > 1:
            raise self.error(f"mutability {mutable:#04x} is unknown")
        return Global(kind, bool(mutable))

    def definition(self) -> Global:
        """A global and its constant initialiser, which is stepped over."""
        variable = self.globaltype()
        while (opcode := self.byte()) != 0x0B:
            if opcode in (0x41, 0x42, 0x23, 0xD0, 0xD2):
                self.skip()
            elif opcode in (0x43, 0x44):
                self.take(4 if opcode == 0x43 else 8)
            elif opcode == 0xFD and self.u32() == 12:
                self.take(16)
            elif opcode not in (0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E):
                raise self.error(f"opcode {opcode:#04x} is not constant")
        return variable

    def take(self, size: int) -> None:
        if self.at + size > self.end:
            raise self.error("the section ends in the middle of a number")
        self.at += size
