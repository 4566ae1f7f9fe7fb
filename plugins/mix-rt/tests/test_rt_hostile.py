"""Broken and hostile QCode, memory that runs out at each place, and what is written from sources."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mix_rt.errors import QCodeError
from mix_rt.qcode import Assembly, Code, FunctionBuilder, Instruction
from mix_rt.random_code import random_code
from mix_rt.testing import SLICE, Panicked, execute, finish, run_random
from mix_rt.vm import Virtual

from mixkit import codec

ROOT = Path(__file__).parents[3]


def test_random_code_ends_with_an_event(native: Callable[[], Virtual]) -> None:
    """What the verifier accepts runs without a trap; `fuzz_qcode.py` goes on for longer."""
    seed = random.randrange(2**32)
    for number in range(seed, seed + 6):
        run_random(native(), random.Random(number))


def test_broken_code_is_refused_or_runs(native: Callable[[], Virtual]) -> None:
    """Bits of a good container are changed, in its code most of all."""
    good = random_code(random.Random(1)).to_bytes()
    source = random.Random(random.randrange(2**32))
    for _ in range(25):
        broken = bytearray(good)
        for _ in range(source.randrange(1, 4)):
            broken[source.randrange(len(broken))] ^= 1 << source.randrange(8)
        virtual = native()
        virtual.limits(8 << 20, 4000)
        try:
            virtual.load(bytes(broken))
        except QCodeError:
            continue
        run_random(virtual, source, loaded=True)


def one(*instructions: tuple[str, tuple[int, ...]], registers: int = 3) -> bytes:
    """A container of a function with these instructions and a return, whatever they are."""
    assembly = Assembly()
    assembly.function("main")
    code = assembly.code()
    code.constants = [1, "a", ["b", "a"]]
    code.functions[0].registers = registers
    code.functions[0].code = [*(Instruction(*each) for each in instructions), Instruction("return", (0,))]
    return code.to_bytes()


REFUSED = [
    (("move", (0, 3)), "move.*a register that the function does not have"),
    (("load", (0, 9)), "load.*a constant that is not there"),
    (("jump_case", (0, 0, 0)), "expected a constant that is a string"),
    (("record", (0, 0, 2)), "an array of ascending strings"),
    (("jump", (5,)), "a jump out of the function"),
    (("jump_true", (0, -2)), "a jump out of the function"),
    (("call", (0, 1, 0)), None), (("call", (0, 1, 1)), "registers that reach beyond"),
    (("call", (0, 2, 0)), "a call window that reaches beyond the registers"),
    (("call_func", (0, 0, 1)), "a function that is not there"),
    (("self", (0,)), "the function captures nothing"),
    (("capture", (0, 0)), "a captured value that the function does not have"),
    (("array", (0, 0, 4)), "registers that reach beyond"), (("map", (0, 0, 2)), "registers that reach beyond"),
    (("builtin", (0, 0, 60000)), "there is no built-in"), (("builtin", (0, 2, 16)), "registers that reach beyond"),
    (("ffi", (0, 0, 0)), "an FFI that is not there"), (("literal", (0, 5)), "there is no literal"),
    (("jump_kind", (0, 4, 0)), "there is no kind"), (("global", (0, 0)), "a global that is not there"),
    (("jump_table", (0, 0)), "an array of ascending strings"),
]  # fmt: skip


def test_the_verifier_names_what_is_wrong(native: Callable[[], Virtual]) -> None:
    for instruction, message in REFUSED:
        if message is None:
            native().load(one(instruction))
        else:
            with pytest.raises(QCodeError, match=message):
                native().load(one(instruction))


def test_a_function_may_not_go_on_behind_its_end(native: Callable[[], Virtual]) -> None:
    code = Code.from_bytes(one())
    code.functions[0].code = [Instruction("move", (0, 0))]
    with pytest.raises(QCodeError, match="the function's last instruction goes on"):
        native().load(code.to_bytes())


def worker() -> Assembly:
    """main(n): builds an array, a map, a string and a sorted array of n, over calls that raise and are caught."""
    assembly = Assembly()
    deep = assembly.function("deep", params=1)
    deep.emit("raise", 0)

    def write(f: FunctionBuilder) -> None:
        array, table, text, index, key, caught = (f.register() for _ in range(6))
        again = f.label()
        f.emit("load", array, [])
        f.emit("load", table, {})
        f.emit("load", text, "")
        f.emit("int", index, 0)
        f.place(again)
        f.emit("load", key, "k")
        f.emit("add", key, key, index)
        f.emit("push", array, key)
        f.emit("set", table, key, index)
        f.emit("add", text, text, key)
        window = f.window(1)
        f.emit("func", window, "deep")
        f.emit("move", window + 2, text)
        f.emit("try", caught, window, 1)
        f.release(window)
        f.emit("add_int", index, index, 1)
        f.emit("jump_lt", index, 0, again)
        f.emit("builtin", array, array, "array_sort")
        f.emit("array", array, array, 6)
        f.emit("return", array)

    write(assembly.function("main", params=1))
    assembly.exports["main"] = "main"
    return assembly


def test_an_allocation_that_fails_once_changes_nothing(native: Callable[[], Virtual]) -> None:
    code = worker().code()
    expected = execute(native(), worker(), "main", 40)
    for number in range(1, 400, 9):
        virtual = native()
        virtual.load(code.to_bytes())
        virtual.test(fail_from=number, fail_until=number + 1)
        assert finish(virtual, virtual.enter(code.exports["main"], codec.encode([40]), SLICE)) == expected


def test_allocations_that_fail_for_good_are_a_panic(native: Callable[[], Virtual]) -> None:
    code = worker().code()
    for number in range(1, 300, 13):
        virtual = native()
        virtual.load(code.to_bytes())
        virtual.test(fail_from=number, fail_until=2**31)
        with pytest.raises((Panicked, QCodeError), match="memory"):
            finish(virtual, virtual.enter(code.exports["main"], codec.encode([40]), SLICE))


def test_the_module_is_what_its_sources_make() -> None:
    pytest.importorskip("ziglang")
    subprocess.run([sys.executable, ROOT / "mixrt" / "build.py", "--check"], check=True)
