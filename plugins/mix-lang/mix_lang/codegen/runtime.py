"""Calls of what the generated code itself needs: functions of the prelude, and of what runs the cells."""

from __future__ import annotations

from mix_lang.codegen.function import Fn
from mix_lang.program import Unit

__all__ = ["call_cells", "call_global"]


def call_global(fn: Fn, name: str, to: int, args: list[int]) -> None:
    """Call a function of the prelude with registers."""
    _call_member(fn, fn.gen.prelude, name, to, args)


def call_cells(fn: Fn, name: str, to: int, args: list[int]) -> None:
    """Call a function of what runs the cells."""
    _call_member(fn, fn.gen.cells, name, to, args)


def _call_member(fn: Fn, unit: Unit, name: str, to: int, args: list[int]) -> None:
    key = fn.gen.function_key(unit, unit.members[name])
    mark = fn.mark()
    window = fn.b.window(len(args))
    for index, register in enumerate(args):
        fn.b.emit("move", window + 2 + index, register)
    fn.b.emit("call_func", to, window, key)
    fn.release(mark)
