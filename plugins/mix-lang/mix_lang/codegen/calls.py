"""Calls: of known functions, of constructors and built-ins, and of what turns out to be a function."""

from __future__ import annotations

from mix_lang import syntax as s
from mix_lang.codegen import inline, names, runtime, types
from mix_lang.codegen.function import Fn
from mix_lang.program import Member, Unit, arity_of, fallback_of

__all__ = ["call", "tail_call"]


def call(fn: Fn, node: s.Call, to: int) -> None:
    if _special(fn, node, to):
        return
    small = _small(fn, node)
    if small is not None:
        inline.into(fn, *small, node, to)
        return
    known = _known(fn, node)
    if known is not None:
        window = fn.b.window(len(node.args))
        _arguments(fn, node.args, window + 2)
        fn.at(node.span)
        fn.b.emit("call_func", to, window, known)
        return
    window = fn.b.window(len(node.args))
    fn.into(node.function, window)
    _arguments(fn, node.args, window + 2)
    fn.at(node.span)
    fn.b.emit("call", to, window, len(node.args))


def tail_call(fn: Fn, node: s.Call) -> bool:
    """Call in place of the running function; False if this call is none that can."""
    if isinstance(node.function, s.TypeCheck) or _inlined(fn, node) is not None or _names_cell(fn, node):
        return False
    if _small(fn, node) is not None:
        return False
    known = _known(fn, node)
    window = fn.b.window(len(node.args))
    if known is not None:
        _arguments(fn, node.args, window + 2)
        fn.at(node.span)
        fn.b.emit("tail_func", window, known)
        return True
    fn.into(node.function, window)
    _arguments(fn, node.args, window + 2)
    fn.at(node.span)
    fn.b.emit("tail", window, len(node.args))
    return True


def _arguments(fn: Fn, args: tuple[s.Expr, ...], first: int) -> None:
    for index, arg in enumerate(args):
        fn.into(arg, first + index)


def _target(fn: Fn, node: s.Expr) -> tuple[Unit, Member] | None:
    """The member that is called, if that is known."""
    if isinstance(node, s.Name):
        if fn.find(node.name):
            return None
        found = fn.unit.members.get(node.name)
        if found is not None:
            return fn.unit, found
        prelude = fn.gen.prelude
        return (prelude, prelude.members[node.name]) if node.name in prelude.members else None
    if isinstance(node, s.Qualified):
        unit = fn.unit if node.scope == "self" else fn.gen.prelude
        return (unit, unit.members[node.name]) if node.name in unit.members else None
    return names.member_of(fn, node)


def _small(fn: Fn, node: s.Call) -> tuple[Unit, Member] | None:
    """The function that is called, if it is written out here."""
    target = _target(fn, node.function)
    if target is None or fn.gen.bound(*_named(target)) or not inline.is_small(*target, len(node.args)):
        return None
    return target


def _named(target: tuple[Unit, Member]) -> tuple[Unit, str]:
    return target[0], target[1].name


def _known(fn: Fn, node: s.Call) -> str | None:
    """The key of the function that is called with all its arguments."""
    target = _target(fn, node.function)
    if target is None:
        return None
    unit, found = target
    if not isinstance(found.item, s.Def) or fn.gen.bound(unit, found.name):
        return None
    key = fn.gen.function_key(unit, found)
    return key if key is not None and fn.gen.arity(unit, found) == len(node.args) else None


def _inlined(fn: Fn, node: s.Call) -> str | s.Foreign | None:
    """What is no call at all: the name of a case, or a foreign function, with all its arguments."""
    function = node.function
    name = function.name if isinstance(function, s.Name | s.Qualified) else ""
    local = isinstance(function, s.Name) and fn.find(name) is not None
    mine = (
        not local
        and name in fn.unit.members
        and not (isinstance(function, s.Qualified) and function.scope == "global")
    )
    if name in ("some", "ok", "error") and not local and not mine and len(node.args) == 1:
        return name
    target = _target(fn, function)
    if target is None:
        return None
    _, found = target
    item = found.item
    if isinstance(item, s.CaseDef) and item.arg is not None and len(node.args) == 1:
        return found.name
    if isinstance(item, s.Foreign) and fallback_of(item) is None and arity_of(item.type) == len(node.args):
        return item
    return None


def _names_cell(fn: Fn, node: s.Call) -> str:
    """The cell that `contents(c)` and `link(c)` name; they take it as such, and not its value."""
    function = node.function
    if not isinstance(function, s.Name) or function.name not in ("contents", "link") or len(node.args) != 1:
        return ""
    arg = node.args[0]
    if fn.find(function.name) or function.name in fn.unit.members:
        return ""
    if not isinstance(arg, s.Name | s.Qualified) or (isinstance(arg, s.Name) and fn.find(arg.name)):
        return ""
    found = fn.unit.members.get(arg.name)
    return arg.name if found is not None and found.kind in ("cell", "alias") else ""


def _cell_itself(fn: Fn, node: s.Call, to: int) -> bool:
    name = _names_cell(fn, node)
    if not name:
        return False
    names.cell(fn, name, to)
    if isinstance(node.function, s.Name) and node.function.name == "contents":
        fn.at(node.span)
        runtime.call_cells(fn, "fresh", to, [to])
    return True


def _special(fn: Fn, node: s.Call, to: int) -> bool:
    if isinstance(node.function, s.TypeCheck) and len(node.args) == 1:
        register = fn.value(node.args[0])
        fn.at(node.span)
        types.checked(fn, node.function.type, register)
        if register != to:
            fn.b.emit("move", to, register)
        return True
    if _cell_itself(fn, node, to):
        return True
    inlined = _inlined(fn, node)
    if inlined is None:
        return False
    if isinstance(inlined, str):
        register = fn.value(node.args[0])
        fn.at(node.span)
        fn.b.emit("case", to, inlined, register)
        return True
    first = fn.b.register(max(len(node.args), 1))
    _arguments(fn, node.args, first)
    fn.at(node.span)
    fn.gen.foreign_into(fn, inlined, first, to)
    return True
