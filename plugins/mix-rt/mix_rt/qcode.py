"""A program in QCode as data: symbolic while it is put together (`Assembly`), in numbers as it is stored (`Code`).

The format is in docs/qcode.md. `Code.from_bytes` checks the container and that each number names an instruction; what
the instructions may do is checked by the machine when it loads them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from mix_rt.errors import QCodeError, TooLarge
from mix_rt.opcodes import BUILTINS, OPCODES
from mixkit import codec
from mixkit.errors import CodecError
from mixkit.value import Case

__all__ = [
    "EXECUTABLE",
    "FFI",
    "KINDS",
    "LIBRARY",
    "LITERALS",
    "OPERANDS",
    "WIDE",
    "Assembly",
    "Chain",
    "Code",
    "Function",
    "FunctionBuilder",
    "Inlined",
    "Instruction",
    "Label",
    "Place",
    "QCodeError",
    "TooLarge",
    "packed",
    "unpacked",
]

LIBRARY: Final = 1
EXECUTABLE: Final = 2

_MAGIC: Final = b"QCOD"
_VERSION: Final = 2
_NONE: Final = 0xFFFFFFFF
_ADDRESS: Final = re.compile(r" \(function (\d{1,9}), instruction (\d{1,9})\)")
_CONSTANTS, _FUNCTIONS, _CODE, _FFIS, _EXPORTS, _SYMBOLS, _MANIFEST, _LIBRARY = 1, 2, 3, 4, 16, 17, 18, 19

KINDS: Final = {
    "undef": 0, "null": 1, "bool": 2, "int": 3, "number": 5, "string": 6, "ref": 7, "binary": 8, "array": 9, "map": 10,
    "case": 11, "token": 12, "function": 13, "stream": 14, "slots": 15, "coroutine": 16,
}  # fmt: skip
"""Kinds of values by name."""

LITERALS: Final = {"undef": 0, "null": 1, "false": 2, "true": 3, "end": 4}
"""What the instruction `literal` makes, by name."""

OPERANDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    name: tuple((part.split(":")[0], part.split(":")[1]) for part in operands.split())
    for name, operands in OPCODES.items()
}
"""Names and kinds of each instruction's operands."""

WIDE: Final = frozenset({"CONST", "FUNC", "INT", "JUMP", "global"})
"""The kinds of operands that take the fields b and c."""

_NAMES: Final = tuple(OPCODES)
_NUMBERS: Final = {name: number for number, name in enumerate(OPCODES)}
_BUILTIN_NUMBERS: Final = {name: number for number, name in enumerate(BUILTINS)}
_CONSTANT_KINDS: Final = frozenset({"const", "CONST", "string", "keys"})
_OPEN: Final = _CONSTANT_KINDS | {"func", "FUNC", "ffi", "global"}
_JUMPS: Final = frozenset({"jump", "JUMP"})
_SIGNED: Final = frozenset({"int", "jump", "INT", "JUMP"})


_made: Final[Any] = tuple.__new__
_DEEPEST: Final = 100
"""How deep calls may be written out in each other."""

File: TypeAlias = str | int
"""A file; or a passage of one, by a number, in which lines are counted from 0."""

Passages: TypeAlias = Mapping[int, tuple[str, int]]
"""The files of passages, and the lines before them."""

Chain: TypeAlias = "tuple[str, File, int, int, Chain] | None"
"""A function that is written out, the place of its call, and what that place is itself in."""


class Instruction(NamedTuple):
    """One instruction: its name and the numbers of its operands, in the order of the list."""

    name: str
    operands: tuple[int, ...]


class Place(NamedTuple):
    """From the instruction of that number on, the code is of that place in a source. `inlined` is not 0 where it is
    that of another function, written out where it is called: `Code.inlined[inlined - 1]`."""

    start: int
    file: int
    line: int
    column: int
    inlined: int = 0


class Inlined(NamedTuple):
    """A call that was written out: the function, where the call stands, and what that place is itself inlined in."""

    name: str
    file: int
    line: int
    column: int
    outer: int = 0


@dataclass(slots=True)
class Function:
    """A function in numbers. `places` is empty where there are no symbols."""

    name: str
    params: int
    captures: int
    registers: int
    code: list[Instruction]
    places: list[Place] = field(default_factory=list)


class FFI(NamedTuple):
    """An FFI that the code calls, with its number of parameters."""

    name: str
    params: int


@dataclass(slots=True)
class Code:
    """A container in numbers.

    Attributes:
        kind: `LIBRARY` or `EXECUTABLE`.
        constants: values, of which the instructions' operands are indices.
        exports: names to indices of functions.
        init: index of the function that runs at init, or None.
        files: names of sources, to which `Place.file` is the index.
        inlined: calls that were written out, to which `Place.inlined` is the index, from 1 on; outer ones first.
        manifest: what callers see.
        library: of a library, what a compiler links; its own business.
    """

    kind: int = EXECUTABLE
    constants: list[Any] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    ffis: list[FFI] = field(default_factory=list)
    globals: int = 0
    init: int | None = None
    exports: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)
    inlined: list[Inlined] = field(default_factory=list)
    library: dict[str, Any] = field(default_factory=dict)

    def without_symbols(self) -> Code:
        """The same code, of which a backtrace has addresses."""
        functions = [replace(function, places=[]) for function in self.functions]
        return replace(self, functions=functions, files=[], inlined=[])

    def to_bytes(self) -> bytes:
        """The container. `QCodeError` names the function and the operand that does not fit in its field."""
        constants = list(self.constants)
        texts = {value: index for index, value in enumerate(constants) if type(value) is str}

        def text(value: str) -> int:
            if value not in texts:
                texts[value] = len(constants)
                constants.append(value)
            return texts[value]

        table, code = bytearray(), bytearray()
        for function in self.functions:
            start = len(code) // 8
            try:
                for name, operands in function.code:
                    code += _pack(name, operands)
            except ValueError as exc:
                raise TooLarge(function.name, str(exc)) from None
            shape = function.params | function.captures << 16
            table += struct.pack(
                "<5I", text(function.name), shape, function.registers, start, len(function.code)
            )
        ffis = b"".join(struct.pack("<2I", text(ffi.name), ffi.params) for ffi in self.ffis)
        sections = [
            (_CONSTANTS, codec.encode(constants)), (_FUNCTIONS, bytes(table)), (_CODE, bytes(code)), (_FFIS, ffis),
            (_EXPORTS, codec.encode(self.exports)),
        ]  # fmt: skip
        if self.files:
            lines = [[number for place in function.places for number in place] for function in self.functions]
            inlined = [list(call) for call in self.inlined]
            symbols = {"files": self.files, "inlined": inlined, "lines": lines}
            sections.append((_SYMBOLS, codec.encode(symbols)))
        if self.manifest:
            sections.append((_MANIFEST, codec.encode(self.manifest)))
        if self.library:
            sections.append((_LIBRARY, codec.encode(self.library)))
        return _container(self.kind, self.globals, _NONE if self.init is None else self.init, sections)

    @classmethod
    def from_bytes(cls, data: bytes) -> Code:
        """Read a container. `QCodeError` says what is wrong with it, and at which byte."""
        if len(data) < 40 or data[:4] != _MAGIC:
            raise QCodeError("expected QCode, which starts with the bytes QCOD; found something else", 0)
        version, kind, size, count, number_of_globals, init = struct.unpack_from("<6I", data, 4)
        if version != _VERSION:
            todo = (
                "compile the source again"
                if version < _VERSION
                else "it is of a newer mixkit; take that, or compile the source again with this one"
            )
            raise QCodeError(f"expected version {_VERSION} of QCode, found {version}: {todo}", 4)
        if kind not in (LIBRARY, EXECUTABLE):
            raise QCodeError(f"expected a library (1) or an executable (2), found {kind}", 8)
        if size != len(data):
            raise QCodeError(f"expected {size} bytes, found {len(data)}", 12)
        sections = _sections(data, count)
        constants = _value(sections, _CONSTANTS, list)
        code = cls(kind, constants, globals=number_of_globals, init=None if init == _NONE else init)
        code.exports = _value(sections, _EXPORTS, dict)
        code.manifest = _value(sections, _MANIFEST, dict)
        code.library = _value(sections, _LIBRARY, dict)
        code.functions = _functions(sections, constants)
        at, octets = sections.get(_FFIS, (0, b""))
        if len(octets) % 8:
            raise QCodeError("the section of FFIs ends inside an entry", at)
        code.ffis = [
            FFI(_name(constants, name, at), params) for name, params in struct.iter_unpack("<2I", octets)
        ]
        for name, index in code.exports.items():
            if type(index) is not int or not 0 <= index < len(code.functions):
                raise QCodeError(f"the export {name!r} is no function of the code")
        if code.init is not None and code.init >= len(code.functions):
            raise QCodeError(f"the function {code.init} that runs at init is not in the code", 24)
        _symbols(code, _value(sections, _SYMBOLS, dict))
        return code


@lru_cache(20_000)
def _pack(name: str, operands: tuple[int, ...]) -> bytes:
    """The words of an instruction. `ValueError` says what does not fit. Most programs have few that differ."""
    fields, wide = [_NUMBERS[name]], None
    for (operand, kind), number in zip(OPERANDS[name], operands, strict=True):
        bits = 32 if kind in WIDE else 16
        low, high = (-(1 << bits - 1), 1 << bits - 1) if kind in _SIGNED else (0, 1 << bits)
        if not low <= number < high:
            raise ValueError(
                f"{name}: expected {operand} within {bits} bits, found {number}"
                + ("; the function is too long" if kind == "jump" else ""),
            )
        if kind in WIDE:
            wide = number & _NONE
        else:
            fields.append(number & 0xFFFF)
    if wide is not None:
        fields += [0] * (2 - len(fields)) + [wide & 0xFFFF, wide >> 16]
    return struct.pack("<4H", *fields, *[0] * (4 - len(fields)))


def _container(kind: int, number_of_globals: int, init: int, sections: list[tuple[int, bytes]]) -> bytes:
    at = (40 + 12 * len(sections) + 7) & -8
    table, body = bytearray(), bytearray()
    for tag, content in sections:
        table += struct.pack("<3I", tag, at + len(body), len(content))
        body += content + bytes(-len(content) % 8)
    size = at + len(body)
    header = struct.pack(
        "<4s9I", _MAGIC, _VERSION, kind, size, len(sections), number_of_globals, init, 0, 0, 0
    )
    return (header + table).ljust(at, b"\0") + body


def _sections(data: bytes, count: int) -> dict[int, tuple[int, bytes]]:
    """Tag to (where it starts, content)."""
    if 40 + 12 * count > len(data):
        raise QCodeError(f"{count} sections do not fit in {len(data)} bytes", 16)
    sections: dict[int, tuple[int, bytes]] = {}
    end, last = 40 + 12 * count, 0
    for index in range(count):
        tag, start, size = struct.unpack_from("<3I", data, 40 + 12 * index)
        if tag <= last or start % 8 or start < end or start + size > len(data):
            raise QCodeError(
                f"the section {tag} overlaps, is out of order, or reaches beyond the end", 40 + 12 * index
            )
        sections[tag] = (start, data[start : start + size])
        end, last = start + size, tag
    return sections


def _value(sections: dict[int, tuple[int, bytes]], tag: int, kind: type) -> Any:
    at, octets = sections.get(tag, (0, b""))
    if not octets:
        return kind()
    try:
        value = codec.decode(octets)
    except CodecError as exc:
        raise QCodeError(f"section {tag}: {exc}", at) from None
    if type(value) is not kind:
        raise QCodeError(f"section {tag}: expected {kind.__name__}, found {type(value).__name__}", at)
    return value


def _name(constants: list[Any], index: int, at: int) -> str:
    if index >= len(constants) or type(constants[index]) is not str:
        raise QCodeError(f"expected the index of a string constant as a name, found {index}", at)
    name: str = constants[index]
    return name


def _functions(sections: dict[int, tuple[int, bytes]], constants: list[Any]) -> list[Function]:
    at, table = sections.get(_FUNCTIONS, (0, b""))
    start_of_code, code = sections.get(_CODE, (0, b""))
    if len(table) % 20 or len(code) % 8:
        raise QCodeError("the sections of functions or code end inside an entry", at)
    functions, end = [], 0
    for name, shape, registers, start, count in struct.iter_unpack("<5I", table):
        if start != end or (start + count) * 8 > len(code):
            raise QCodeError("the functions' code has gaps, overlaps, or reaches beyond the end", at)
        end = start + count
        instructions = [
            _unpack(fields, start_of_code) for fields in struct.iter_unpack("<4H", code[start * 8 : end * 8])
        ]
        functions.append(
            Function(_name(constants, name, at), shape & 0xFFFF, shape >> 16, registers, instructions)
        )
    return functions


def _unpack(fields: tuple[int, ...], at: int) -> Instruction:
    number, a, b, c = fields
    if number >= len(_NAMES):
        raise QCodeError(f"expected an instruction, 0 to {len(_NAMES) - 1}, found {number}", at)
    name = _NAMES[number]
    kinds = [kind for _, kind in OPERANDS[name]]
    if kinds and kinds[-1] in WIDE:
        wide = b | c << 16
        if kinds[-1] in _SIGNED and wide >> 31:
            wide -= 1 << 32
        return Instruction(name, (a, wide)[2 - len(kinds) :])
    numbers = [
        number - 0x10000 if kind in _SIGNED and number >> 15 else number
        for kind, number in zip(kinds, (a, b, c), strict=False)
    ]
    return Instruction(name, tuple(numbers))


def _symbols(code: Code, symbols: dict[str, Any]) -> None:
    if not symbols:
        return
    files, lines, inlined = symbols.get("files"), symbols.get("lines"), symbols.get("inlined", [])
    if type(files) is not list or not all(type(file) is str for file in files):
        raise QCodeError("symbols: expected the names of files")
    if type(lines) is not list or len(lines) != len(code.functions):
        raise QCodeError("symbols: expected lines for each function")
    if type(inlined) is not list:
        raise QCodeError("symbols: expected a list of calls that were written out")
    code.files = files
    code.inlined = [_inlined(call, index, len(files)) for index, call in enumerate(inlined)]
    for function, numbers in zip(code.functions, lines, strict=True):
        if (
            type(numbers) is not list
            or len(numbers) % 5
            or not all(type(number) is int for number in numbers)
        ):
            raise QCodeError(
                f"symbols: {function.name}: expected five integers an entry; compile the source again"
            )
        function.places = [Place(*numbers[index : index + 5]) for index in range(0, len(numbers), 5)]
        if not all(0 <= place.file < len(files) for place in function.places):
            raise QCodeError(f"symbols: {function.name}: a file that is not listed")
        if not all(0 <= place.inlined <= len(code.inlined) for place in function.places):
            raise QCodeError(f"symbols: {function.name}: a call that is not listed")


def _inlined(call: Any, index: int, files: int) -> Inlined:
    right = type(call) is list and len(call) == 5 and type(call[0]) is str
    if not right or not all(type(part) is int for part in call[1:]) or not 0 <= call[1] < files:
        raise QCodeError(f"symbols: call {index} that was written out: expected a name and four integers")
    if not 0 <= call[4] <= index:
        raise QCodeError(f"symbols: call {index} that was written out: one that is not before it")
    return Inlined(*call)


class Label:
    """A place in a function's code, to jump to; known once it is placed."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: int | None = None


class FunctionBuilder:
    """Puts one function together.

    Registers 0 … params−1 hold the arguments. `register` and `window` hand out the next ones, `release` takes back all
    from one on, so that registers are used like a stack.
    """

    def __init__(self, key: str, name: str, params: int, captures: int) -> None:
        self._code: list[tuple[str, list[Any]]] = []
        self._places: list[tuple[int, File, int, int, Chain]] = []
        self._place: tuple[File, int, int, Chain] | None = None
        self._drawn: _Drawn | None = None
        self._next = params
        self.key, self.name, self.params, self.captures = key, name, params, captures
        self.registers = params

    def register(self, count: int = 1) -> int:
        """The first of so many new registers."""
        first = self._next
        self._next += count
        self.registers = max(self.registers, self._next)
        return first

    def window(self, arguments: int) -> int:
        """A call window: the function goes into the register answered, the arguments from two further on."""
        return self.register(2 + arguments)

    def release(self, first: int) -> None:
        """All registers from that one on are free again."""
        self._next = first

    def label(self) -> Label:
        return Label()

    def place(self, label: Label) -> None:
        """The next instruction is where the label is."""
        label.at = len(self._code)

    def source(self, file: File, line: int, column: int, inlined: Chain = None) -> None:
        """What is emitted from now on comes from that place; lines of files and columns count from 1.

        Args:
            inlined: the function that it is of, if it is not this one, where that is called, and what that is of.
        """
        place = (file, line, column, inlined)
        if place != self._place:
            self._place = place
            if self._places and self._places[-1][0] == len(self._code):
                self._places.pop()
            self._places.append((len(self._code), *place))

    def emit(self, name: str, *operands: Any) -> int:
        """Append an instruction; answers its index.

        Operands: registers and numbers as ints; constants, strings and keys as values; functions by key; globals by
        number or by any name; built-ins, FFIs, kinds and literals by name; jumps as labels.
        """
        if name not in OPERANDS:
            raise QCodeError(f"{self.name}: there is no instruction {name!r}")
        if len(operands) != len(OPERANDS[name]):
            wanted = " ".join(operand for operand, _ in OPERANDS[name]) or "nothing"
            raise QCodeError(f"{self.name}: {name} takes {wanted}; found {len(operands)} operands")
        self._code.append((name, list(operands)))
        return len(self._code) - 1

    def _finish(
        self,
        number_of: Callable[[str, str, Any], int],
        file: Callable[[str], int],
        call: Callable[[Chain], int],
        passages: Passages,
    ) -> Function:
        if self._drawn is None or len(self._drawn.code) != len(self._code):
            self._drawn = self._draw(number_of)
        code = list(self._drawn.code)
        for index, name, operands in self._drawn.open:
            numbers = [
                operand if kind is None else number_of(self.name, kind, operand) for kind, operand in operands
            ]
            code[index] = _made(Instruction, (name, tuple(numbers)))
        places = []
        last: File | None = None
        of = before = 0
        for start, where, line, column, inlined in self._places:
            # PERF: places that follow each other are mostly of one passage.
            if where != last:
                last, of, before = where, *_before(where, file, passages)
            chain = 0 if inlined is None else call(inlined)
            places.append(_made(Place, (start, of, max(line + before, 1), column, chain)))
        return Function(self.name, self.params, self.captures, self.registers, code, places)

    def _draw(self, number_of: Callable[[str, str, Any], int]) -> _Drawn:
        """The code as far as it is the same in any program: all but what `_OPEN` names."""
        code, unknown = [], []
        for index, (name, operands) in enumerate(self._code):
            numbers: list[tuple[str | None, Any]] = []
            known = True
            for (_, kind), operand in zip(OPERANDS[name], operands, strict=True):
                if kind in _JUMPS:
                    if operand.at is None:
                        raise QCodeError(f"{self.name}: {name} jumps to a label that was not placed")
                    numbers.append((None, operand.at - index - 1))
                elif kind in _OPEN:
                    known = False
                    numbers.append((kind, operand))
                else:
                    numbers.append((None, number_of(self.name, kind, operand)))
            if not known:
                unknown.append((index, name, numbers))
            code.append(Instruction(name, tuple(number for _, number in numbers)))
        return _Drawn(code, unknown)


class _Drawn(NamedTuple):
    """A function's code, and the instructions in it whose operands depend on the program: each with its index, and with
    the kinds of these operands."""

    code: list[Instruction]
    open: list[tuple[int, str, list[tuple[str | None, Any]]]]


def _before(where: File, file: Callable[[str], int], passages: Passages) -> tuple[int, int]:
    """The index of a file, and what is to be added to lines there."""
    if type(where) is int:
        name, before = passages[where]
        return file(name), before + 1
    assert type(where) is str
    return file(where), 0


def _line(file: File, line: int, passages: Passages) -> tuple[str, int]:
    """A line of a file."""
    if type(file) is int:
        file, before = passages[file]
        line += before + 1
    assert type(file) is str
    return file, max(line, 1)


def packed(builder: FunctionBuilder, passages: Passages) -> list[Any]:
    """A function that is not put together yet, as a Value: operands are still names and values."""
    code = []
    for name, operands in builder._code:
        parts: list[Any] = [name]
        for (_, kind), operand in zip(OPERANDS[name], operands, strict=True):
            parts.append(operand.at if kind in ("jump", "JUMP") else Case("value", operand))
        code.append(parts)
    places = [
        [start, *_line(file, line, passages), column, _chain_value(call, passages)]
        for start, file, line, column, call in builder._places
    ]
    return [builder.key, builder.name, builder.params, builder.captures, builder.registers, code, places]


def unpacked(value: Any) -> FunctionBuilder:
    """The function of which that is the Value. `QCodeError` if it is none; what it does, the machine checks."""
    try:
        key, name, params, captures, registers, code, places = value
        shape = ((params, 250), (captures, 0xFFFF), (registers, 65_000))
        if type(key) is not str or type(name) is not str:
            raise QCodeError("expected a function's key and name")
        if not all(type(number) is int and 0 <= number <= most for number, most in shape):
            raise QCodeError(f"{name}: expected numbers of parameters, captures and registers")
        builder = FunctionBuilder(key, name, params, captures)
        builder.registers = registers
        for op, *operands in code:
            kinds = [kind for _, kind in OPERANDS[op]]
            found: list[Any] = []
            for kind, operand in zip(kinds, operands, strict=True):
                if kind in ("jump", "JUMP"):
                    label = Label()
                    label.at = operand
                    if type(operand) is not int:
                        raise QCodeError(f"{name}: expected where a jump leads")
                    found.append(label)
                else:
                    found.append(operand.arg)
            builder.emit(op, *found)
        builder._places = [
            (start, file, line, column, _chain(call, 0)) for start, file, line, column, call in places
        ]
        for start, file, line, column, _ in builder._places:
            if type(file) is not str or not all(type(number) is int for number in (start, line, column)):
                raise QCodeError(f"{name}: expected places")
    except (TypeError, ValueError, KeyError, AttributeError) as exc:
        raise QCodeError(f"a function of a library is malformed: {exc}") from None
    return builder


def _chain_value(chain: Chain, passages: Passages) -> list[Any] | None:
    if chain is None:
        return None
    name, file, line, column, outer = chain
    return [name, *_line(file, line, passages), column, _chain_value(outer, passages)]


def _chain(value: Any, depth: int) -> Chain:
    if value is None:
        return None
    name, file, line, column, outer = value
    if depth > _DEEPEST or type(name) is not str or type(file) is not str:
        raise QCodeError("expected a call that was written out")
    return name, file, line, column, _chain(outer, depth + 1)


class Assembly:
    """Puts a container together from functions whose operands are names and values.

    Attributes:
        exports: names to keys of functions.
        init: key of the function that runs at init.
    """

    def __init__(self, kind: int = EXECUTABLE) -> None:
        self._kind = kind
        self._constants: list[Any] = []
        self._indices: dict[bytes, int] = {}
        self._functions: dict[str, FunctionBuilder] = {}
        self._ffis: dict[str, FFI] = {}
        self._files: dict[str, int] = {}
        self._globals = 0
        self._named_globals: dict[str, int] = {}
        self._calls: list[Inlined] = []
        self._call_indices: dict[Chain, int] = {None: 0}
        self._passages: Passages = {}
        self.exports: dict[str, str] = {}
        self.init: str | None = None
        self.manifest: dict[str, Any] = {}

    def function(
        self, key: str, params: int = 0, captures: int = 0, *, name: str | None = None
    ) -> FunctionBuilder:
        """A new function. Others name it by the key; people see the name."""
        if key in self._functions:
            raise QCodeError(f"there is a function {key!r} already")
        builder = FunctionBuilder(key, key if name is None else name, params, captures)
        self._functions[key] = builder
        return builder

    @property
    def builders(self) -> list[FunctionBuilder]:
        """The functions, in the order in which they came."""
        return list(self._functions.values())

    def add(self, builder: FunctionBuilder) -> None:
        """A function of another assembly, unless there is one of its key."""
        self._functions.setdefault(builder.key, builder)

    def sort(self) -> None:
        """Put functions and FFIs into an order that does not depend on when they came."""
        self._functions = dict(sorted(self._functions.items()))
        self._ffis = dict(sorted(self._ffis.items()))

    def constant(self, value: Any) -> int:
        """Index of a constant: equal ones (of the same kinds) share it."""
        words = codec.encode(value)
        index = self._indices.get(words)
        if index is None:
            index = self._indices[words] = len(self._constants)
            self._constants.append(value)
        return index

    def ffi(self, name: str, params: int, key: str = "") -> str:
        """Declare an FFI; `emit("ffi", to, first, key)` calls it. The key is its name if none is given."""
        self._ffis[key or name] = FFI(name, params)
        return key or name

    def new_global(self) -> int:
        """Index of a new global."""
        self._globals += 1
        return self._globals - 1

    def file(self, name: str) -> int:
        """Index of a source file."""
        return self._files.setdefault(name, len(self._files))

    def _call(self, chain: Chain) -> int:
        """Index of a call that was written out."""
        if chain not in self._call_indices:
            name, of, line, column, outer = chain  # type: ignore[misc]
            file, line = _line(of, line, self._passages)
            self._calls.append(Inlined(name, self.file(file), line, column, self._call(outer)))
            self._call_indices[chain] = len(self._calls)
        return self._call_indices[chain]

    def code(self, passages: Passages | None = None) -> Code:
        """All of it in numbers. `QCodeError` names what is missing.

        Args:
            passages: of those that places name.
        """
        self._passages = passages or {}
        indices = {key: index for index, key in enumerate(self._functions)}
        ffis = {name: index for index, name in enumerate(self._ffis)}
        named = {
            "func": indices, "FUNC": indices, "ffi": ffis, "builtin": _BUILTIN_NUMBERS, "kind": KINDS,
            "literal": LITERALS,
        }  # fmt: skip

        def number_of(where: str, kind: str, operand: Any) -> int:
            if kind in _CONSTANT_KINDS:
                return self.constant(operand)
            if kind == "global" and type(operand) is str:
                if operand not in self._named_globals:
                    self._named_globals[operand] = self.new_global()
                return self._named_globals[operand]
            if kind in named and type(operand) is str:
                if operand not in named[kind]:
                    raise QCodeError(f"{where}: there is no {kind.lower()} {operand!r}")
                return named[kind][operand]
            if type(operand) is not int:
                raise QCodeError(f"{where}: expected a number or name as {kind}, found {operand!r}")
            return operand

        functions = [
            builder._finish(number_of, self.file, self._call, self._passages)
            for builder in self._functions.values()
        ]
        for key in [*self.exports.values(), *([] if self.init is None else [self.init])]:
            if key not in indices:
                raise QCodeError(f"there is no function {key!r}")
        return Code(
            self._kind,
            self._constants,
            functions,
            list(self._ffis.values()),
            self._globals,
            None if self.init is None else indices[self.init],
            {name: indices[key] for name, key in sorted(self.exports.items())},
            list(self._files),
            self.manifest,
            self._calls,
        )


def address(function: int, instruction: int) -> str:
    """An address as a backtrace has it where there are no symbols. `symbolised` reads it."""
    return f"function {function}, instruction {instruction}"


def symbolised(code: Code, frame: str) -> list[str]:
    """What a frame of a backtrace is with the symbols of the code: of calls that were written out several, none of what
    no source says; itself if it has no address, or the code no symbols. `QCodeError` if it cannot be of this code."""
    found = _ADDRESS.search(frame)
    if found is None:
        return [frame]
    index, at = int(found[1]), int(found[2])
    name = frame[: found.start()]
    if (
        index >= len(code.functions)
        or code.functions[index].name != name
        or at >= len(code.functions[index].code)
    ):
        has = f"is {code.functions[index].name!r}" if index < len(code.functions) else "is not there"
        raise QCodeError(
            f"expected the code that {name!r} failed in, found other code: its function {index} {has}"
        )
    (places,) = addresses(code, [(index, at)])
    if not places[0][1]:
        # The compiler made it of no line of a source, if there are any.
        return [] if code.files else [frame]
    return [f"{each} ({file}:{line}:{column}){frame[found.end() :]}" for each, file, line, column in places]


def addresses(code: Code, panics: Sequence[tuple[int, int]]) -> list[list[tuple[str, str, int, int]]]:
    """(function, file, line, column) of addresses (function, instruction); file "" where there are no symbols. An
    address in code that was written out where it is called is in several functions, the innermost first."""
    found = []
    for function_index, at in panics:
        function = code.functions[function_index]
        place = None
        for candidate in function.places:
            if candidate.start > at:
                break
            place = candidate
        if place is None:
            found.append([(function.name, "", 0, 0)])
            continue
        frames = []
        _, file, line, column, inlined = place
        while inlined:
            call = code.inlined[inlined - 1]
            frames.append((call.name, code.files[file], line, column))
            _, file, line, column, inlined = call
        found.append([*frames, (function.name, code.files[file], line, column)])
    return found
