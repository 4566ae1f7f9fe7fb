"""What names mean: locals, members of modules, and what every module has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mix_lang import syntax as s
from mix_lang.codegen import expressions
from mix_lang.codegen.function import INSTANCE, Fn, NotYet
from mix_lang.program import Unit, arity_of
from mix_lang.source import Span
from mixkit.value import Case

if TYPE_CHECKING:
    from mix_lang.program import Member

__all__ = ["assign", "field", "inverse", "member", "member_of", "name", "qualified"]


def name(fn: Fn, node: s.Name, to: int) -> None:
    local = fn.find(node.name)
    if local is not None:
        fn.read(local, to)
        return
    found = fn.unit.members.get(node.name)
    if found is not None:
        fn.at(node.span)
        member(fn, fn.unit, found, to, node.span)
    else:
        global_name(fn, node.name, to)


def qualified(fn: Fn, node: s.Qualified, to: int) -> None:
    if node.scope == "global":
        global_name(fn, node.name, to)
    else:
        fn.at(node.span)
        member(fn, fn.unit, fn.unit.members[node.name], to, node.span)


def global_name(fn: Fn, name: str, to: int) -> None:
    """What every module has: cases, and functions of the prelude."""
    if name == "unset":
        fn.constant(to, Case("unset"))
    elif name in ("some", "ok", "error"):
        fn.b.emit("func", to, fn.gen.constructor(name))
    elif name in fn.gen.prelude.members:
        member(fn, fn.gen.prelude, fn.gen.prelude.members[name], to, Span(0, 0))
    else:
        raise NotYet(fn.unit, Span(0, 0), name)


def member(fn: Fn, unit: Unit, found: Member, to: int, span: Span) -> None:
    """The value of a module's member, inside or outside of it."""
    item = found.item
    match item:
        case s.CaseDef(arg=None):
            fn.constant(to, Case(found.name))
        case s.CaseDef():
            fn.b.emit("func", to, fn.gen.constructor(found.name))
        case s.Foreign(type=of):
            key = fn.gen.foreign(unit, item)
            if arity_of(of):
                fn.b.emit("func", to, key)
            else:
                window = fn.b.window(0)
                fn.b.emit("call_func", to, window, key)
        case _ if fn.gen.bound(unit, found.name):
            slot = fn.gen.slot(unit, found.name)
            local = fn.find(INSTANCE)
            assert local is not None and unit is fn.unit, "an instance is known inside of its module only"
            mark = fn.mark()
            fn.b.emit("slot", to, fn.raw(local), slot)
            fn.release(mark)
        case s.Def() if (function := fn.gen.function_key(unit, found)) is not None:
            fn.b.emit("func", to, function)
        case s.Def() | s.Import():
            fn.b.emit("global", to, fn.gen.value(unit, found))
        case _:
            raise NotYet(fn.unit, span, f"a {found.kind} of another module")


def member_of(fn: Fn, node: s.Expr) -> tuple[Unit, Member] | None:
    """The member that `M.name` is for certain, where the module needs no instance for it."""
    if not isinstance(node, s.Field) or not isinstance(node.object, s.Name) or fn.find(node.object.name):
        return None
    imported = fn.unit.members.get(node.object.name)
    if imported is None or not isinstance(imported.item, s.Import):
        return None
    unit = fn.gen.program.units[imported.item.module]
    found = unit.members[node.name]
    if found.kind in ("cell", "alias"):
        raise NotYet(fn.unit, node.span, "cells of other modules")
    return None if fn.gen.bound(unit, node.name) else (unit, found)


def field(fn: Fn, node: s.Field, to: int) -> None:
    certain = member_of(fn, node)
    if certain is not None:
        fn.at(node.span)
        member(fn, certain[0], certain[1], to, node.span)
        return
    from_ = expressions.value(fn, node.object)
    fn.at(node.span)
    fn.b.emit("get_key", to, from_, node.name)


def inverse(fn: Fn, node: s.Inverse, to: int) -> None:
    case = node.case
    name_ = case.name if isinstance(case, s.Name | s.Qualified | s.Field) else ""
    if not name_:
        raise NotYet(fn.unit, node.span, "the inverse of a case that is computed")
    fn.b.emit("func", to, fn.gen.destructor(name_))


def assign(fn: Fn, node: s.Assign) -> None:
    """To a cell."""
    raise NotYet(fn.unit, node.span, "assignments to cells")
