"""QCode as text, and what it is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from mix_rt.opcodes import BUILTINS
from mix_rt.qcode import KINDS, LITERALS, OPERANDS, Code, Instruction

__all__ = ["functions", "heading", "lines", "stats"]

_BUILTINS: Final = tuple(BUILTINS)
_KINDS: Final = {number: name for name, number in KINDS.items()}
_LITERALS: Final = {number: name for name, number in LITERALS.items()}
_MAX_CONSTANT: Final = 60


def functions(code: Code) -> Iterator[dict[str, Any]]:
    """Each function with its instructions, jumps as where they lead to, and the places of the source where they begin.

    Answers `{index, name, parameters, registers, captures, exported, init, instructions}`, of which an instruction is
    `{at, instruction, operands, place}`: `exported` and `place` may be None.
    """
    exported = {index: name for name, index in code.exports.items()}
    for index, function in enumerate(code.functions):
        places = {
            place.start: f"{code.files[place.file]}:{place.line}:{place.column}" for place in function.places
        }
        yield {
            "index": index,
            "name": function.name,
            "parameters": function.params,
            "registers": function.registers,
            "captures": function.captures,
            "exported": exported.get(index),
            "init": index == code.init,
            "instructions": [
                {
                    "at": at,
                    "instruction": instruction.name,
                    "operands": list(_operands(code, at, instruction)),
                    "place": places.get(at),
                }
                for at, instruction in enumerate(function.code)
            ],
        }


def lines(function: dict[str, Any]) -> Iterator[str]:
    """One of `functions` as text."""
    marks = [f"{function['parameters']} parameters", f"{function['registers']} registers"]
    if function["captures"]:
        marks.append(f"{function['captures']} captures")
    if function["exported"] is not None:
        marks.append(f"exported as {function['exported']}")
    if function["init"]:
        marks.append("runs at init")
    yield f"function {function['index']} {function['name']}: {', '.join(marks)}"
    for each in function["instructions"]:
        if each["place"]:
            yield f"        {each['place']}"
        yield f"  {each['at']:4}  {each['instruction']:18} {' '.join(each['operands'])}".rstrip()


def heading(code: Code) -> str:
    """A line about all of it."""
    kind = "executable" if code.kind == 2 else "library"
    return f"{kind}, {len(code.functions)} functions, {code.globals} globals"


def _operands(code: Code, at: int, instruction: Instruction) -> Iterator[str]:
    for (_, kind), number in zip(OPERANDS[instruction.name], instruction.operands, strict=True):
        match kind:
            case "out" | "in" | "inout" | "call" | "first":
                yield f"r{number}"
            case "jump" | "JUMP":
                yield f"-> {at + 1 + number}"
            case "const" | "CONST" | "string" | "keys":
                yield _at(code.constants, number, _constant)
            case "func" | "FUNC":
                yield _at(code.functions, number, lambda function: function.name)
            case "ffi":
                yield _at(code.ffis, number, lambda ffi: ffi.name)
            case "builtin":
                yield _at(_BUILTINS, number, str)
            case "kind":
                yield _KINDS.get(number, f"?{number}")
            case "literal":
                yield _LITERALS.get(number, f"?{number}")
            case "global":
                yield f"g{number}"
            case _:
                yield str(number)


def _at(items: Any, number: int, show: Any) -> str:
    """What is at that index, or the number itself in code that is broken."""
    return str(show(items[number])) if number < len(items) else f"?{number}"


def _constant(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_CONSTANT else f"{text[: _MAX_CONSTANT - 1]}…"


def stats(code: Code) -> dict[str, Any]:
    """Numbers of functions, instructions, constants, FFIs, and how often each instruction is there."""
    counts = Counter(instruction.name for function in code.functions for instruction in function.code)
    return {
        "functions": len(code.functions),
        "instructions": counts.total(),
        "constants": len(code.constants),
        "globals": code.globals,
        "ffis": [ffi.name for ffi in code.ffis],
        "exports": sorted(code.exports),
        "most_registers": max((function.registers for function in code.functions), default=0),
        "used": dict(counts.most_common()),
    }
