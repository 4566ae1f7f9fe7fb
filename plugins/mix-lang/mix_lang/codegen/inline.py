"""Small definitions, written out where they are called."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.codegen.function import Fn
from mix_lang.program import Member, Unit, fallback_of
from mix_lang.walk import every

__all__ = ["into", "is_small"]

_MOST: Final = 12
"""Nodes of a body: a call costs about as much as so many of them."""
_PLAIN: Final = (
    s.Const, s.Name, s.Qualified, s.Field, s.Chain, s.Part, s.Not, s.Neg, s.If, s.Present, s.Index, s.Dynamic,
    s.TupleAt, s.Array, s.MapLit, s.Key, s.Call,
)  # fmt: skip


def is_small(unit: Unit, member: Member, args: int | None = None) -> bool:
    """Whether a definition is a function, of so many arguments, and so small that it is written out."""
    item = member.item
    if not isinstance(item, s.Def) or not item.params or args not in (None, len(item.params)):
        return False
    body = item.body
    if body is None or isinstance(body, s.Block):
        return False
    if member.small is None:
        member.small = _is_small(unit, body, {param.name for param in item.params})
    return member.small


def _is_small(unit: Unit, body: s.Expr, params: set[str]) -> bool:
    """It calls nothing but what is an instruction: a call at its end would be one in the middle, and take stack."""
    for count, node in enumerate(every(body), 1):
        if count > _MOST or not isinstance(node, _PLAIN):
            return False
        if isinstance(node, s.Call):
            function = node.function
            member = unit.members.get(function.name) if isinstance(function, s.Name) else None
            item = member.item if member is not None else None
            plain = isinstance(item, s.Foreign) and item.ffi.startswith("%") and fallback_of(item) is None
            if not plain or (isinstance(function, s.Name) and function.name in params):
                return False
    return True


def into(fn: Fn, unit: Unit, member: Member, node: s.Call, to: int) -> None:
    """Leave the value of a call of a small definition in a register. Its code knows what function it is of."""
    item = member.item
    assert isinstance(item, s.Def) and item.params is not None
    assert item.body is not None and not isinstance(item.body, s.Block)
    first = fn.b.register(len(node.args))
    for index, arg in enumerate(node.args):
        fn.into(arg, first + index)
    file, line, column = fn.unit.source.origin(node.span.start)
    before = fn.unit, fn.scopes, fn.outer, fn.inlined
    fn.inlined = (f"{unit.name}.{member.name}", file, line, column, fn.inlined)
    fn.unit, fn.scopes, fn.outer = unit, [{}], None
    for index, param in enumerate(item.params):
        fn.declare(param.name, first + index)
    fn.at(item.body.span)
    fn.into(item.body, to)
    fn.unit, fn.scopes, fn.outer, fn.inlined = before
    fn.at(node.span)
