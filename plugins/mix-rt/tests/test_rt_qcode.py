"""QCode as data: put together, written, read; and the page is true to the list."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mix_rt.errors import QCodeError
from mix_rt.qcode import KINDS, LITERALS, OPERANDS, Assembly, Code, Inlined, Instruction, Place, addresses
from mix_rt.vm import Virtual

ROOT = Path(__file__).parents[3]


def sample() -> Assembly:
    assembly = Assembly()
    greet = assembly.function("greet/1", params=1, name="greet")
    greet.source("greet.mix", 2, 3)
    far = greet.label()
    text = greet.register()
    greet.emit("load", text, "Good day, ")
    greet.source("greet.mix", 2, 20)
    greet.emit("jump_undef", 0, far)
    greet.emit("add", text, text, 0)
    greet.place(far)
    greet.emit("add_int", text, text, -32768)
    greet.emit("int", text, -(2**31))
    greet.emit("builtin", text, text, "to_text")
    greet.emit("jump_kind", text, "string", far)
    greet.emit("ffi", text, text, assembly.ffi("$log", 1))
    greet.emit("return", text)
    start = assembly.function("start")
    one = start.register()
    start.emit("literal", one, "true")
    start.emit("set_global", one, assembly.new_global())
    start.emit("return", one)
    assembly.exports["greet"] = "greet/1"
    assembly.init = "start"
    assembly.manifest = {"description": "Greets"}
    return assembly


def test_what_is_written_is_read() -> None:
    code = sample().code()
    again = Code.from_bytes(code.to_bytes())
    assert again.functions == code.functions and again.constants[: len(code.constants)] == code.constants
    assert again.exports == {"greet": 0} and again.init == 1 and again.globals == 1
    assert again.functions[0].places == [Place(0, 0, 2, 3), Place(1, 0, 2, 20)]
    assert again.manifest == {"description": "Greets"} and again.files == ["greet.mix"]
    assert again.to_bytes() == Code.from_bytes(again.to_bytes()).to_bytes()


def test_a_place_knows_what_it_was_written_out_from() -> None:
    assembly = Assembly()
    f = assembly.function("f", 1)
    f.source("f.mix", 1, 1)
    f.emit("nop")
    outer = ("g", "f.mix", 1, 5, None)
    f.source("h.mix", 7, 2, ("h", "g.mix", 3, 4, outer))
    f.emit("nop")
    f.source("g.mix", 3, 9, outer)
    f.emit("return", 0)
    code = Code.from_bytes(assembly.code().to_bytes())
    assert addresses(code, [(0, 0), (0, 1), (0, 2)]) == [
        [("f", "f.mix", 1, 1)],
        [("h", "h.mix", 7, 2), ("g", "g.mix", 3, 4), ("f", "f.mix", 1, 5)],
        [("g", "g.mix", 3, 9), ("f", "f.mix", 1, 5)],
    ]
    for wrong in ([Inlined("g", 0, 1, 1, 1)], [Inlined("g", 9, 1, 1)]):
        code.inlined = wrong
        code.functions[0].places = [Place(0, 0, 1, 1)]
        with pytest.raises(QCodeError, match="written out"):
            Code.from_bytes(code.to_bytes())
    code.inlined = []
    code.functions[0].places = [Place(0, 0, 1, 1, 1)]
    with pytest.raises(QCodeError, match="a call that is not listed"):
        Code.from_bytes(code.to_bytes())


def test_jumps_count_from_the_next_instruction() -> None:
    greet = sample().code().functions[0]
    assert greet.code[1] == Instruction("jump_undef", (0, 1))
    assert greet.code[6] == Instruction("jump_kind", (1, KINDS["string"], -4))


def test_each_kind_of_operand_survives() -> None:
    """The extremes of each operand of each instruction are what is read back."""
    wide = {"CONST", "FUNC", "global"}
    extremes = {"int": (-(2**15), 2**15 - 1), "jump": (-(2**15), 2**15 - 1)}
    extremes |= {"INT": (-(2**31), 2**31 - 1), "JUMP": (-(2**31), 2**31 - 1)}
    code = sample().code()
    for end in (0, 1):
        code.functions[0].code = [
            Instruction(
                name,
                tuple(
                    extremes.get(kind, (0, 2**32 - 1) if kind in wide else (0, 2**16 - 1))[end]
                    for _, kind in operands
                ),
            )
            for name, operands in OPERANDS.items()
        ]
        assert Code.from_bytes(code.to_bytes()).functions[0].code == code.functions[0].code


@pytest.mark.parametrize(
    ("operands", "message"),
    [
        (("jumps", 1), "there is no instruction 'jumps'"),
        (("move", 1), "move takes to from; found 1 operands"),
        (("func", 0, "grete"), "there is no func 'grete'"),
        (("builtin", 0, 0, "sort"), "there is no builtin 'sort'"),
        (("move", 0, 65536), "expected from within 16 bits, found 65536"),
        (("move", 0, "x"), "expected a number or name as in, found 'x'"),
    ],
)
def test_mistakes_are_named(operands: tuple[str, int], message: str) -> None:
    assembly = sample()
    with pytest.raises(QCodeError, match=message):
        _ = assembly.function("wrong").emit(*operands), assembly.code().to_bytes()


def test_broken_containers_are_refused() -> None:
    """Whatever single bit is changed: it is read, or it is a `QCodeError`."""
    good = sample().code().to_bytes()
    refused = 0
    for bit in range(8 * len(good)):
        broken = bytearray(good)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            Code.from_bytes(bytes(broken))
        except QCodeError:
            refused += 1
    assert refused > len(good)
    for size in range(len(good)):
        with pytest.raises(QCodeError):
            Code.from_bytes(good[:size])


def test_literals_and_kinds_have_numbers_of_their_own() -> None:
    assert len(set(KINDS.values())) == len(KINDS) and len(set(LITERALS.values())) == len(LITERALS)


def test_what_is_written_from_the_list_is_up_to_date() -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "qcode.py", "--check"], check=True)


@pytest.mark.parametrize(("version", "todo"), [(1, "compile the source again"), (99, "of a newer mixkit")])
def test_other_versions_are_refused(native: Callable[[], Virtual], version: int, todo: str) -> None:
    assembly = Assembly()
    main = assembly.function("main")
    main.emit("return", main.register())
    data = bytearray(assembly.code().to_bytes())
    struct.pack_into("<I", data, 4, version)
    for load in (Code.from_bytes, native().load):
        with pytest.raises(QCodeError, match=f"expected version 2.*, found {version}: .*{todo}"):
            load(bytes(data))
