"""Operators of values that are in registers, and what may be stored."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.codegen import runtime
from mix_lang.codegen.function import Fn
from mixkit.value import UNDEF

__all__ = ["operate", "stored"]

_BINARY: Final = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "%": "rem", "==": "eq", "!=": "ne", "<": "lt", "<=": "le",
    "===": "same", "!==": "differ", "++": "concat",
}  # fmt: skip
_SWAPPED: Final = {">": "lt", ">=": "le"}


def operate(fn: Fn, part: s.Part, left: int, right: int, to: int) -> None:
    """An operator of two values at hand."""
    if part.ci:
        folded = fn.b.register(2)
        for register, from_ in ((folded, left), (folded + 1, right)):
            fn.b.emit("move", register, from_)
            runtime.call_global(fn, "folded", register, [register])
        left, right = folded, folded + 1
    if part.op == "++":
        left, right = _lifted(fn, left), _lifted(fn, right)
    fn.at(part.span)
    if part.op in _SWAPPED:
        fn.b.emit(_SWAPPED[part.op], to, right, left)
    else:
        fn.b.emit(_BINARY[part.op], to, left, right)


def _lifted(fn: Fn, register: int) -> int:
    """An operand of `++`: an array is one element, though the instruction would take its elements."""
    lifted, other = fn.temp(), fn.b.label()
    fn.b.emit("move", lifted, register)
    fn.b.emit("jump_not_kind", lifted, "array", other)
    fn.b.emit("array", lifted, lifted, 1)
    fn.b.place(other)
    return lifted


def stored(fn: Fn, register: int, node: s.Expr, where: str) -> None:
    """Raise where undefined would be stored, unless the value is surely defined."""
    if isinstance(node, s.Const) and node.value is not UNDEF:
        return
    if isinstance(node, s.Array | s.MapLit | s.Lambda | s.Slice):
        return
    fn.at(node.span)
    fn.b.emit("check_stored", register, where)
