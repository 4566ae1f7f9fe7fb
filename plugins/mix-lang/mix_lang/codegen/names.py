"""What names mean: locals, members of modules, and what every module has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mix_lang import syntax as s
from mix_lang.codegen import operators, places, runtime
from mix_lang.codegen.function import INSTANCE, Fn
from mix_lang.program import Unit, fallback_of
from mixkit.value import Case

if TYPE_CHECKING:
    from mix_lang.program import Member

__all__ = ["assign", "cell", "field", "inverse", "member", "member_of", "name", "previous", "qualified"]


def name(fn: Fn, node: s.Name, to: int) -> None:
    local = fn.find(node.name)
    if local is not None:
        fn.read(local, to)
        return
    found = fn.unit.members.get(node.name)
    if found is not None:
        fn.at(node.span)
        member(fn, fn.unit, found, to)
    else:
        global_name(fn, node.name, to)


def qualified(fn: Fn, node: s.Qualified, to: int) -> None:
    if node.scope == "global":
        global_name(fn, node.name, to)
    else:
        fn.at(node.span)
        member(fn, fn.unit, fn.unit.members[node.name], to)


def global_name(fn: Fn, name: str, to: int) -> None:
    """What every module has: cases, and functions of the prelude."""
    if name == "unset":
        fn.constant(to, Case("unset"))
    elif name in ("some", "ok", "error"):
        fn.b.emit("func", to, fn.gen.constructor(name))
    else:
        member(fn, fn.gen.prelude, fn.gen.prelude.members[name], to)


def member(fn: Fn, unit: Unit, found: Member, to: int) -> None:
    """The value of a module's member, inside or outside of it."""
    item = found.item
    match item:
        case s.CaseDef(arg=None):
            fn.constant(to, Case(found.name))
        case s.CaseDef():
            fn.b.emit("func", to, fn.gen.constructor(found.name))
        case s.Foreign() if fallback_of(item) is not None and not fn.gen.bound(unit, found.name):
            fn.b.emit("global", to, fn.gen.value(unit, found))
        case s.Foreign(type=of) if fallback_of(item) is None:
            key = fn.gen.foreign(unit, item)
            if isinstance(of, s.TArrow):
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
            if found.kind in ("cell", "alias"):
                runtime.call_cells(fn, "read", to, [to])
            fn.release(mark)
        case s.Def() if (function := fn.gen.function_key(unit, found)) is not None:
            fn.b.emit("func", to, function)
        case s.Def() | s.Import():
            fn.b.emit("global", to, fn.gen.value(unit, found))
        case _:
            raise AssertionError(f"a {found.kind} without an instance")


def member_of(fn: Fn, node: s.Expr) -> tuple[Unit, Member] | None:
    """The member that `M.name` is for certain, where the module needs no instance for it."""
    if not isinstance(node, s.Field) or not isinstance(node.object, s.Name) or fn.find(node.object.name):
        return None
    imported = fn.unit.members.get(node.object.name)
    if imported is None or not isinstance(imported.item, s.Import):
        return None
    unit = fn.gen.imported(fn.unit, imported.item.module)
    return None if fn.gen.bound(unit, node.name) else (unit, unit.members[node.name])


def field(fn: Fn, node: s.Field, to: int) -> None:
    certain = member_of(fn, node)
    if certain is not None:
        fn.at(node.span)
        member(fn, certain[0], certain[1], to)
        return
    from_ = fn.value(node.object)
    fn.at(node.span)
    fn.b.emit("get_key", to, from_, node.name)


def inverse(fn: Fn, node: s.Inverse, to: int) -> None:
    case = node.case
    assert isinstance(case, s.Name | s.Qualified | s.Field), "the check of names lets nothing else through"
    fn.b.emit("func", to, fn.gen.destructor(case.name))


def cell(fn: Fn, name: str, to: int) -> bool:
    """The cell itself of a member that is one."""
    found = fn.unit.members.get(name)
    local = fn.find(INSTANCE)
    if found is None or found.kind not in ("cell", "alias") or local is None:
        return False
    mark = fn.mark()
    fn.b.emit("slot", to, fn.raw(local), fn.gen.slot(fn.unit, name))
    fn.release(mark)
    return True


def assign(fn: Fn, node: s.Assign) -> None:
    """To a cell of the module, or one that a link leads to."""
    target = node.target
    assert isinstance(target, s.Name | s.Qualified)
    mark = fn.mark()
    pair = fn.b.register(2)
    local = fn.find(target.name) if isinstance(target, s.Name) else None
    if local is not None:
        fn.read(local, pair)
    else:
        cell(fn, target.name, pair)
    if node.steps:
        runtime.call_cells(fn, "fresh", pair + 1, [pair])
        places.update(fn, pair + 1, node.steps, node.value)
    else:
        fn.into(node.value, pair + 1)
        operators.stored(fn, pair + 1, node.value, f"the cell '{target.name}'")
    fn.at(node.span)
    runtime.call_cells(fn, "assign", fn.temp(), [pair, pair + 1])
    fn.release(mark)


def previous(fn: Fn, node: s.Previous, to: int) -> None:
    """`c'`."""
    cell(fn, node.name, to)
    fn.at(node.span)
    runtime.call_cells(fn, "previous", to, [to])
