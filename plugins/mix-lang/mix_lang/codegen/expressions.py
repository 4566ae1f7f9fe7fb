"""Expressions to instructions. `into(fn, node, to)` leaves the value in a register; `value` says in which it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mix_lang import syntax as s
from mix_lang.codegen import (
    actions,
    calls,
    closures,
    names,
    operators,
    patterns,
    places,
    statements,
    types,
)
from mix_lang.codegen.fold import folded
from mix_lang.codegen.function import Fn

if TYPE_CHECKING:
    from mix_rt.qcode import Label

__all__ = ["block_body", "into", "jump_unless", "tail", "value"]

_FOLDED: Final = (s.Chain, s.Neg, s.Not, s.Array, s.MapLit)


def value(fn: Fn, node: s.Expr) -> int:
    """The register that has the value: of a local its own, else a new one."""
    if isinstance(node, s.Name):
        local = fn.find(node.name)
        if local is not None and not local.boxed and local.fn is fn:
            return fn.raw(local)
    register = fn.temp()
    into(fn, node, register)
    return register


def _looked_into(fn: Fn, node: s.Expr, key: s.Expr) -> int:
    """The register of what an element is read from: that gives nobody else the whole."""
    local = fn.find(node.name) if isinstance(node, s.Name) else None
    if local is not None and local.owned and local.fn is fn and not statements.assigns(key):
        return local.register
    return _kept(fn, node, key)


def into(fn: Fn, node: s.Expr, to: int) -> None:
    """Put the value into a register. Those above the mark are free again afterwards."""
    mark = fn.mark()
    if isinstance(node, _FOLDED):
        node = folded(node) or node
    _RULES[type(node)](fn, node, to)
    fn.release(mark)


def tail(fn: Fn, node: s.Expr) -> None:
    """Return the value from the function; calls in tail position take the function's place."""
    mark = fn.mark()
    match node:
        case s.Call() if calls.tail_call(fn, node):
            pass
        case s.If(branches=branches, otherwise=otherwise):
            for condition, result in branches:
                other = fn.b.label()
                jump_unless(fn, condition, other)
                tail(fn, result)
                fn.b.place(other)
            tail(fn, otherwise)
        case s.Let(bindings=bindings, body=body):
            fn.scopes.append({})
            for binding in bindings:
                patterns.bind(fn, binding)
            tail(fn, body)
            fn.scopes.pop()
        case s.Hint(operand=operand):
            tail(fn, operand)
        case s.Do(block=block) if not fn.do:
            block_body(fn, block)
        case _:
            register = value(fn, node)
            fn.b.emit("return", register)
    fn.release(mark)


def block_body(fn: Fn, block: s.Block) -> None:
    """A block as the body of a function: without a return it answers null."""
    statements.block(fn, block)
    register = fn.temp()
    fn.b.emit("literal", register, "null")
    fn.b.emit("return", register)
    fn.release(register)


def jump_unless(fn: Fn, node: s.Expr, label: Label) -> None:
    """Jump unless the value is exactly true."""
    mark = fn.mark()
    if isinstance(node, s.Chain) and len(node.parts) == 1 and not node.parts[0].ci:
        part = node.parts[0]
        fused = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq"}.get(part.op)
        constant = part.operand.value if isinstance(part.operand, s.Const) else None
        if fused and type(constant) is int and -(2**15) <= constant < 2**15:
            left = value(fn, node.first)
            fn.at(part.span)
            fn.b.emit(f"jump_not_{fused}_int", left, constant, label)
            fn.release(mark)
            return
        if fused:
            left = _kept(fn, node.first, part.operand)
            right = value(fn, part.operand)
            fn.at(part.span)
            if fused in ("gt", "ge"):
                left, right, fused = right, left, {"gt": "lt", "ge": "le"}[fused]
            fn.b.emit(f"jump_not_{fused}", left, right, label)
            fn.release(mark)
            return
    register = value(fn, node)
    fn.at(node.span)
    fn.b.emit("jump_not_true", register, label)
    fn.release(mark)


def _kept(fn: Fn, node: s.Expr, later: s.Expr) -> int:
    """A left operand: in its own register, unless what comes later may assign to it."""
    if isinstance(node, s.Name) and not statements.assigns(later):
        return value(fn, node)
    register = fn.temp()
    into(fn, node, register)
    return register


# ----------------------------------------------------------------------------------------------------------- rules


def _const(fn: Fn, node: s.Const, to: int) -> None:
    fn.constant(to, node.value)


def _regex(fn: Fn, node: s.Regex, to: int) -> None:
    fn.constant(to, node.pattern)


def _dynamic(fn: Fn, node: s.Dynamic | s.Index, to: int) -> None:
    key_node = node.key if isinstance(node, s.Dynamic) else node.index
    from_ = _looked_into(fn, node.object, key_node)
    number = key_node.value if isinstance(key_node, s.Const) else None
    # `m.(5)` is no index: what is wrong with it is said of a key.
    if isinstance(node, s.Index) and type(number) is int and 0 <= number < 65536:
        fn.at(node.span)
        fn.b.emit("get_int", to, from_, number)
        return
    key = value(fn, key_node)
    fn.at(node.span)
    fn.b.emit("get", to, from_, key)


def _tuple_at(fn: Fn, node: s.TupleAt, to: int) -> None:
    from_ = value(fn, node.object)
    fn.at(node.span)
    done = places.tuple_checked(fn, from_, node.size, to)
    fn.b.emit("get_int", to, from_, node.index)
    fn.b.place(done)


def _label(fn: Fn, node: s.Label, to: int) -> None:
    from_ = value(fn, node.object)
    fn.at(node.span)
    fn.b.emit("get_key", to, from_, node.name)


def _present(fn: Fn, node: s.Present, to: int) -> None:
    fn.b.emit("defined", to, value(fn, node.operand))


def _slice(fn: Fn, node: s.Slice, to: int) -> None:
    first = fn.b.register(3)
    into(fn, node.object, first + 2)
    if node.first is None:
        fn.constant(first, 0)
    else:
        into(fn, node.first, first)
    if node.last is None:
        fn.constant(first + 1, 2**31 - 1)
    else:
        into(fn, node.last, first + 1)
    fn.at(node.span)
    fn.b.emit("builtin", to, first, "array_range")


def _not(fn: Fn, node: s.Not, to: int) -> None:
    operand = value(fn, node.operand)
    fn.at(node.span)
    fn.b.emit("not", to, operand)


def _neg(fn: Fn, node: s.Neg, to: int) -> None:
    operand = value(fn, node.operand)
    fn.at(node.span)
    fn.b.emit("neg", to, operand)


def _chain(fn: Fn, node: s.Chain, to: int) -> None:
    if node.parts[0].op in ("&&", "||"):
        _logical(fn, node, to)
        return
    left = _kept(fn, node.first, s.Array(node.span, tuple(part.operand for part in node.parts)))
    for index, part in enumerate(node.parts):
        # The result goes to `to` last only: until then it may be a local that the operands read.
        result = to if index == len(node.parts) - 1 else fn.temp()
        mark = fn.mark()
        _operator(fn, part, left, result)
        fn.release(mark)
        left = result


def _operator(fn: Fn, part: s.Part, left: int, to: int) -> None:
    constant = part.operand.value if isinstance(part.operand, s.Const) else None
    if part.op == "+" and type(constant) is int and -(2**15) <= constant < 2**15:
        fn.at(part.span)
        fn.b.emit("add_int", to, left, constant)
        return
    operators.operate(fn, part, left, value(fn, part.operand), to)


def _logical(fn: Fn, node: s.Chain, to: int) -> None:
    result = fn.temp()
    into(fn, node.first, result)
    end = fn.b.label()
    for part in node.parts:
        mark = fn.mark()
        if part.op == "&&":
            fn.b.emit("jump_eq_const", result, False, end)
        else:
            fn.b.emit("jump_true", result, end)
        right = value(fn, part.operand)
        fn.at(part.span)
        fn.b.emit("and" if part.op == "&&" else "or", result, result, right)
        fn.release(mark)
    fn.b.place(end)
    fn.b.emit("move", to, result)


def _array(fn: Fn, node: s.Array, to: int) -> None:
    first = fn.b.register(max(len(node.items), 1))
    for index, item in enumerate(node.items):
        into(fn, item, first + index)
        operators.stored(fn, first + index, item, "an array")
    fn.b.emit("array", to, first, len(node.items))


def _labels(fn: Fn, node: s.Labels, to: int) -> None:
    _record(fn, [(name, item, "a tuple") for name, item in node.fields], to)


def _map(fn: Fn, node: s.MapLit, to: int) -> None:
    if all(isinstance(entry.key, s.Const) for entry in node.keys):
        names_ = [(entry.key.value, entry.value) for entry in node.keys if isinstance(entry.key, s.Const)]
        _record(fn, [(name, item, f"the key '{name}' of a map") for name, item in names_], to)
        return
    first = fn.b.register(2 * len(node.keys))
    for index, entry in enumerate(node.keys):
        register = first + 2 * index
        into(fn, entry.key, register)
        fn.at(entry.key.span)
        good = fn.b.label()
        fn.b.emit("jump_kind", register, "string", good)
        fn.raise_found("a string as the key of a map", register)
        fn.b.place(good)
        into(fn, entry.value, register + 1)
        where = f"the key '{entry.key.value}' of a map" if isinstance(entry.key, s.Const) else "a map"
        operators.stored(fn, register + 1, entry.value, where)
    fn.b.emit("map", to, first, len(node.keys))


def _record(fn: Fn, fields: list[tuple[str, s.Expr, str]], to: int) -> None:
    """A map of constant keys. The values are computed in the order of the text, the keys stand in that of bytes."""
    order = sorted(range(len(fields)), key=lambda index: fields[index][0].encode())
    first = fn.b.register(max(len(fields), 1))
    for index, (_, item, where) in enumerate(fields):
        register = first + order.index(index)
        into(fn, item, register)
        operators.stored(fn, register, item, where)
    fn.b.emit("record", to, first, [fields[index][0] for index in order])


def _lambda(fn: Fn, node: s.Lambda, to: int) -> None:
    closures.closure(fn, node.clauses, to)


def _if(fn: Fn, node: s.If, to: int) -> None:
    end = fn.b.label()
    for condition, result in node.branches:
        other = fn.b.label()
        jump_unless(fn, condition, other)
        into(fn, result, to)
        fn.b.emit("jump", end)
        fn.b.place(other)
    into(fn, node.otherwise, to)
    fn.b.place(end)


def _let(fn: Fn, node: s.Let, to: int) -> None:
    fn.scopes.append({})
    for binding in node.bindings:
        patterns.bind(fn, binding)
    into(fn, node.body, to)
    fn.scopes.pop()


def _try(fn: Fn, node: s.Try, to: int) -> None:
    window = fn.b.window(0)
    clause = s.Clause(node.span, (), None, node.operand)
    closures.closure(fn, (clause,), window)
    fn.at(node.span)
    fn.b.emit("try", to, window, 0)


def _do(fn: Fn, node: s.Do, to: int) -> None:
    result = fn.temp()
    end = fn.b.label()
    fn.do.append((result, end))
    statements.block(fn, node.block)
    fn.do.pop()
    fn.b.emit("literal", result, "null")
    fn.b.place(end)
    fn.b.emit("move", to, result)


def _with(fn: Fn, node: s.With, to: int) -> None:
    register = fn.temp()
    into(fn, node.object, register)
    for steps, new in node.updates:
        places.update(fn, register, steps, new)
    fn.b.emit("move", to, register)


def _hint(fn: Fn, node: s.Hint, to: int) -> None:
    into(fn, node.operand, to)


_RULES: Final[dict[type, Callable[[Fn, Any, int], None]]] = {
    s.Const: _const, s.Regex: _regex, s.Name: names.name, s.Qualified: names.qualified, s.Field: names.field,
    s.Dynamic: _dynamic, s.Index: _dynamic, s.TupleAt: _tuple_at, s.Label: _label, s.Present: _present,
    s.Slice: _slice, s.Call: calls.call, s.Previous: names.previous, s.Inverse: names.inverse, s.Not: _not, s.Neg: _neg,
    s.Chain: _chain, s.Array: _array, s.Labels: _labels, s.MapLit: _map, s.Lambda: _lambda, s.If: _if, s.Let: _let,
    s.Try: _try, s.Do: _do, s.With: _with, s.Hint: _hint, s.TypeCheck: types.checker, s.Action: actions.action,
}  # fmt: skip
