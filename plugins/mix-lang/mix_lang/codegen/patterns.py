"""Patterns to tests and moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mix_lang import syntax as s
from mix_lang.codegen import operators, types
from mix_lang.codegen.function import Fn
from mixkit.value import UNDEF

if TYPE_CHECKING:
    from mix_rt.qcode import Label

__all__ = ["bind", "match", "names_of"]


def bind(fn: Fn, node: s.LetStmt) -> None:
    """A let: its names are in the innermost scope afterwards, in the place of what was called so in it."""
    register = fn.temp()
    fn.into(node.value, register)
    if isinstance(node.pattern, s.PVar):
        fn.declare(node.pattern.name, register)
        return
    if isinstance(node.pattern, s.PAny):
        return
    fail, done = fn.b.label(), fn.b.label()
    # What the pattern compares with does not know the names yet.
    fn.scopes.append({})
    names_of(fn, node.pattern)
    match(fn, node.pattern, register, fail)
    bound = fn.scopes.pop()
    fn.scopes[-1].update(bound)
    fn.b.emit("jump", done)
    fn.b.place(fail)
    fn.at(node.value.span)
    fn.b.emit("no_match", register)
    fn.b.place(done)


def names_of(fn: Fn, pattern: s.Pattern) -> None:
    """Registers for all names that a pattern binds, in the innermost scope."""
    for name in _names(pattern):
        if name not in fn.scopes[-1]:
            fn.declare(name, fn.temp())


def _names(pattern: s.Pattern) -> list[str]:
    match pattern:
        case s.PVar(name=name):
            return [name]
        case s.PAt(name=name, pattern=inner):
            return [name, *_names(inner)]
        case s.PCompare(name=name):
            return [] if name == "_" else [name]
        case s.PArray(slots=slots):
            return [name for slot in slots for name in _names(slot.pattern)]
        case s.PMap(fields=fields):
            return [name for _, inner, _ in fields for name in _names(inner)]
        case s.PCase(arg=arg):
            return [] if arg is None else _names(arg)
        case s.PAll(parts=parts):
            return [name for part in parts for name in _names(part)]
    return []


def match(fn: Fn, pattern: s.Pattern, value: int, fail: Label) -> None:
    """Go on with the names bound, or jump to `fail`."""
    mark = fn.mark()
    _match(fn, pattern, value, fail)
    fn.release(mark)


def _move(fn: Fn, name: str, value: int) -> None:
    local = fn.scopes[-1][name]
    if local.register != value:
        fn.b.emit("move", local.register, value)


def _match(fn: Fn, pattern: s.Pattern, value: int, fail: Label) -> None:
    match pattern:
        case s.PVar(name=name):
            _move(fn, name, value)
        case s.PConst(value=constant):
            if constant is UNDEF:
                fn.b.emit("jump_def", value, fail)
            else:
                fn.b.emit("jump_not_eq_const", value, constant, fail)
        case s.PAt(name=name, pattern=inner):
            _match(fn, inner, value, fail)
            _move(fn, name, value)
        case s.PArray(slots=slots):
            fn.b.emit("jump_not_kind", value, "array", fail)
            _array(fn, slots, value, fail)
        case s.PMap(fields=fields):
            fn.b.emit("jump_not_kind", value, "map", fail)
            for key, inner, optional in fields:
                _field(fn, key, inner, optional, value, fail)
        case s.PCase(name=name, arg=arg):
            fn.b.emit("jump_not_case", value, name, fail)
            held = fn.temp()
            fn.b.emit("argument", held, value)
            if arg is None:
                fn.b.emit("jump_def", held, fail)
            else:
                fn.b.emit("jump_undef", held, fail)
                _match(fn, arg, held, fail)
        case s.PType(type=of):
            types.test(fn, of, value, fail)
        case s.PCompare():
            _compare(fn, pattern, value, fail)
        case s.PAll(op="and", parts=parts):
            for part in parts:
                _match(fn, part, value, fail)
        case s.PAll(parts=parts):
            done = fn.b.label()
            for part in parts[:-1]:
                other = fn.b.label()
                match_in(fn, part, value, other)
                fn.b.emit("jump", done)
                fn.b.place(other)
            _match(fn, parts[-1], value, fail)
            fn.b.place(done)


match_in = match


def _compare(fn: Fn, pattern: s.PCompare, value: int, fail: Label) -> None:
    scope = fn.scopes.pop()
    right = fn.temp()
    fn.into(pattern.right, right)
    fn.scopes.append(scope)
    result = fn.temp()
    part = s.Part(pattern.op, pattern.ci, pattern.span, pattern.right)
    operators.operate(fn, part, value, right, result)
    fn.b.emit("jump_not_true", result, fail)
    if pattern.name != "_":
        _move(fn, pattern.name, value)


def _field(fn: Fn, key: str, inner: s.Pattern, optional: bool, value: int, fail: Label) -> None:
    item = fn.temp()
    fn.b.emit("get_key", item, value, key)
    if not optional:
        fn.b.emit("jump_undef", item, fail)
        _match(fn, inner, item, fail)
        return
    absent, done = fn.b.label(), fn.b.label()
    fn.b.emit("jump_undef", item, absent)
    _match(fn, inner, item, fail)
    fn.b.emit("jump", done)
    fn.b.place(absent)
    for name in _names(inner):
        fn.b.emit("literal", fn.scopes[-1][name].register, "undef")
    fn.b.place(done)


def _array(fn: Fn, slots: tuple[s.Slot, ...], value: int, fail: Label) -> None:
    needed = sum(slot.mode == "one" for slot in slots)
    optional = sum(slot.mode == "optional" for slot in slots)
    many = any(slot.mode == "multiple" for slot in slots)
    length = fn.temp()
    fn.b.emit("length", length, value)
    if many or optional:
        fn.b.emit("jump_lt_int", length, needed, fail)
        if not many:
            fn.b.emit("jump_gt_int", length, needed + optional, fail)
    else:
        fn.b.emit("jump_not_eq_int", length, needed, fail)
    if not many and not optional:
        for index, slot in enumerate(slots):
            if not isinstance(slot.pattern, s.PAny):
                item = fn.temp()
                fn.b.emit("get_int", item, value, index)
                _match(fn, slot.pattern, item, fail)
        return
    at, spare = fn.temp(), fn.temp()
    fn.constant(at, 0)
    fn.b.emit("add_int", spare, length, -needed)
    for slot in slots:
        _slot(fn, slot, value, at, spare, fail)


def _slot(fn: Fn, slot: s.Slot, value: int, at: int, spare: int, fail: Label) -> None:
    """One slot where positions are known only when it runs."""
    item = fn.temp()
    if slot.mode == "multiple":
        first = fn.b.register(3)
        fn.b.emit("move", first, at)
        fn.b.emit("add", first + 1, at, spare)
        fn.b.emit("move", first + 2, value)
        fn.b.emit("builtin", item, first, "array_sub")
        fn.b.emit("add", at, at, spare)
        fn.constant(spare, 0)
    elif slot.mode == "optional":
        absent, done = fn.b.label(), fn.b.label()
        fn.b.emit("jump_not_gt_int", spare, 0, absent)
        fn.b.emit("get", item, value, at)
        fn.b.emit("add_int", at, at, 1)
        fn.b.emit("add_int", spare, spare, -1)
        fn.b.emit("jump", done)
        fn.b.place(absent)
        fn.b.emit("literal", item, "undef")
        fn.b.place(done)
    else:
        fn.b.emit("get", item, value, at)
        fn.b.emit("add_int", at, at, 1)
    _match(fn, slot.pattern, item, fail)
