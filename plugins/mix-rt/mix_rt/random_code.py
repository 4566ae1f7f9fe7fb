"""Random code that the verifier accepts, for tests of the machine."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from mix_rt.opcodes import BUILTINS
from mix_rt.qcode import FFI, OPERANDS, Code, Function, Instruction
from mixkit.value import Case, Ref

__all__ = ["random_code"]

_CONSTANTS: Final[list[Any]] = [
    *(None, True, 0, 7, -(2**40), 2**62, 0.5, float("nan"), "", "a", "key", "héé→" * 9, "x" * 300),
    *(
        [],
        [1, 2, "a"],
        list(range(70)),
        {},
        {"a": 1, "key": [2]},
        {f"k{index:02}": index for index in range(40)},
    ),
    *(Case("red"), Case("a", [1]), ["a", "b", "key"], b"\0\xff", Ref("r"), [["deep"], {"a": {"b": 1}}]),
]
_STRINGS: Final = [index for index, value in enumerate(_CONSTANTS) if type(value) is str]
_KEYS: Final = [_CONSTANTS.index([]), _CONSTANTS.index(["a", "b", "key"])]
_NAMES: Final = [name for name in OPERANDS if name != "jump_table"]
_PARAMETERS: Final = [len(parameters.split()) for parameters in BUILTINS.values()]
_FUNCTIONS: Final = 5
_SIZE: Final = 40
"""Instructions of each function."""
_REGISTERS: Final = 12


class _Maker:
    """Makes the instructions of one program."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.captures = [0, *(random.choice((0, 0, 0, 1, 2)) for _ in range(_FUNCTIONS - 1))]
        self.plain = [index for index, captures in enumerate(self.captures) if captures == 0]
        # A function calls mostly later ones, or most programs would end in endless recursion.
        self.callable = self.plain

    def operand(self, kind: str, at: int, captures: int, *, called: bool) -> int:
        random = self.random
        match kind:
            case "count":
                return random.randrange(4)
            case "builtin":
                return random.randrange(len(BUILTINS))
            case "ffi":
                return random.randrange(2)
            case "keys":
                return random.choice(_KEYS)
            case "string":
                return random.choice(_STRINGS)
            case "const" | "CONST":
                return random.randrange(len(_CONSTANTS))
            case "FUNC":
                return random.choice(self.callable)
            case "func":
                return random.choice(self.callable) if called else random.randrange(_FUNCTIONS)
            case "int":
                return random.choice((-1, 0, 1, 2, 300))
            case "INT":
                return random.choice((0, 1, -1, 5, 2**31 - 1))
            case "jump" | "JUMP":
                return random.randrange(_SIZE) - at - 1
            case "capture":
                return random.randrange(max(captures, 1))
            case "slot" | "global":
                return random.randrange(3)
            case "literal":
                return random.randrange(5)
            case "kind":
                return random.choice((0, 1, 2, 3, 5, 6, 9, 10, 11, 13, 14))
            case "call" | "first":
                return random.randrange(_REGISTERS - 7)
            case _:
                return random.randrange(_REGISTERS)

    def instruction(self, at: int, captures: int) -> Instruction:
        name = self.random.choice(_NAMES)
        while name in ("self", "capture") and not captures:
            name = self.random.choice(_NAMES)
        kinds = [kind for _, kind in OPERANDS[name]]
        numbers = (self.operand(kind, at, captures, called="call" in kinds) for kind in kinds)
        return Instruction(name, tuple(numbers))

    def start(self, register: int) -> Instruction:
        """Something in a register that instructions can work on."""
        random = self.random
        other = random.randrange(_REGISTERS)
        return random.choice(
            [
                Instruction("load", (register, random.randrange(len(_CONSTANTS)))),
                Instruction("load", (register, random.randrange(len(_CONSTANTS)))),
                Instruction("int", (register, random.randrange(-3, 100))),
                Instruction("func", (register, random.choice(self.callable))),
                Instruction("closure", (register, 0, random.randrange(_FUNCTIONS))),
                Instruction("slots", (register, 3)),
                Instruction("stream", (register, other)),
                Instruction("current", (register,)),
                Instruction("move", (register, other)),
            ]
        )

    def function(self, index: int) -> Function:
        params = 2 if index == 0 else self.random.randrange(4)
        captures = self.captures[index]
        later = [other for other in self.plain if other > index]
        self.callable = later if later and self.random.random() < 0.9 else self.plain
        code = [self.start(register) for register in range(params, _REGISTERS)]
        while len(code) < _SIZE - 2:
            if index == 0:
                # What the others raise does not end the program.
                code.append(Instruction("func", (5, self.random.choice(self.callable))))
                code.append(Instruction("try", (self.random.randrange(5), 5, 3)))
            else:
                code.append(self.instruction(len(code), captures))
        code += [self.instruction(_SIZE - 2, captures) for _ in range(_SIZE - 1 - len(code))]
        code.append(Instruction("return", (self.random.randrange(5),)))
        return Function(f"f{index}", params, captures, _REGISTERS + 1, code)


def random_code(random: Random) -> Code:
    """Code that the verifier accepts and whose instructions are as random as that allows."""
    maker = _Maker(random)
    functions = [maker.function(index) for index in range(_FUNCTIONS)]
    return Code(
        constants=_CONSTANTS,
        functions=functions,
        ffis=[FFI("$f", 1), FFI("$g", 0)],
        globals=3,
        exports={"main": 0},
    )
