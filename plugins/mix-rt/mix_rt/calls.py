"""Each built-in and some operators of a machine as Python calls, for tests."""

from __future__ import annotations

from typing import Any

from mix_rt.opcodes import BUILTINS
from mix_rt.qcode import Assembly
from mix_rt.testing import SLICE, finish
from mix_rt.vm import Event, Virtual
from mixkit import codec

__all__ = ["Calls"]


class Calls:
    """`calls(NAME, …)` is what a built-in or operator answers.

    After `calls("begin", [value, …])` there are versions: `calls("v_NAME", index, …)` makes one more of that one, and
    `calls("all")` answers them all.
    """

    def __init__(self, virtual: Virtual) -> None:
        assembly = Assembly()
        for name, parameters in BUILTINS.items():
            count = len(parameters.split())
            f = assembly.function(name, count)
            f.registers = max(count, 1)
            f.emit("builtin", 0, 0, name)
            f.emit("return", 0)
        for name in ("add", "sub", "mul", "rem", "eq", "lt"):
            f = assembly.function(name, 2)
            f.emit(name, 0, 0, 1)
            f.emit("return", 0)
        versions = assembly.new_global()
        # v_NAME(version, …): the instruction on one version makes a new one.
        for name, operands in (("push", 1), ("set", 2), ("add", 1), ("array_sub", 2), ("map_remove", 1)):
            f = assembly.function(f"v_{name}", 1 + operands)
            all_ = f.register()
            f.emit("global", all_, versions)
            if name == "add":
                f.emit("get", 1, all_, 1)
            f.emit("get", 0, all_, 0)
            if name in BUILTINS:
                first = f.register(operands + 1)
                for operand in range(operands):
                    f.emit("move", first + operand, 1 + operand)
                f.emit("move", first + operands, 0)
                f.emit("builtin", 0, first, name)
            elif name == "add":
                f.emit("add", 0, 0, 1)
            else:
                f.emit(name, 0, *range(1, 1 + operands))
            f.emit("push", all_, 0)
            f.emit("set_global", all_, versions)
            f.emit("return", 0)
        start = assembly.function("begin", 1)
        start.emit("set_global", 0, versions)
        start.emit("return", 0)
        end = assembly.function("all")
        end.emit("global", end.register(), versions)
        end.emit("return", 0)
        assembly.exports.update({name: name for name in assembly._functions})
        self._code = assembly.code()
        self.virtual = virtual
        self.seed = 0
        virtual.load(self._code.to_bytes())

    def enter(self, name: str, *arguments: Any, budget: int = SLICE) -> Event:
        """Begin a call, and answer what the machine says first."""
        return self.virtual.enter(self._code.exports[name], codec.encode(list(arguments)), budget, self.seed)

    def __call__(self, name: str, *arguments: Any, budget: int = SLICE) -> Any:
        return finish(self.virtual, self.enter(name, *arguments, budget=budget), budget=budget)
