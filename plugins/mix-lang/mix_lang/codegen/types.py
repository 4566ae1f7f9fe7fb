"""`type(T)` when it runs: tests of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mix_lang import syntax as s
from mix_lang.codegen.function import Fn
from mix_lang.program import Read
from mix_lang.types_text import type_text

if TYPE_CHECKING:
    from mix_rt.qcode import Label

__all__ = ["checked", "checker", "test"]

_KINDS = {
    "null": "null",
    "bool": "bool",
    "number": "number",
    "string": "string",
    "array": "array",
    "map": "map",
}


def checker(fn: Fn, node: s.TypeCheck, to: int) -> None:
    """A function that answers its argument, or raises."""
    key = fn.gen.new_key("type")
    inner = Fn(fn.gen, fn.gen.assembly.function(key, 1, name="type"), fn.unit)
    inner.at(node.span)
    checked(inner, node.type, 0)
    inner.b.emit("return", 0)
    fn.b.emit("func", to, key)


def checked(fn: Fn, of: s.Type, value: int) -> None:
    """Raise unless the value is of the type."""
    fail, good = fn.b.label(), fn.b.label()
    mark = fn.mark()
    test(fn, of, value, fail)
    fn.release(mark)
    fn.b.emit("jump", good)
    fn.b.place(fail)
    fn.raise_found(type_text(of), value)
    fn.b.place(good)


def test(fn: Fn, of: s.Type, value: int, fail: Label) -> None:
    """Jump to `fail` unless the value is of the type, as far as one can tell from the value."""
    _tested(fn, Read(of, fn.unit.name), value, fail)


def _tested(fn: Fn, read: Read, value: int, fail: Label) -> None:
    mark = fn.mark()
    _test(fn, read, value, fail)
    fn.release(mark)


def _test(fn: Fn, read: Read, value: int, fail: Label) -> None:
    match of := read.type:
        case s.TVar():
            meant = fn.gen.program.meant(read)
            if meant is not None:
                _test(fn, meant, value, fail)
        case s.TName(qualifier="", name=name) if name in _KINDS:
            fn.b.emit("jump_not_kind", value, _KINDS[name], fail)
        case s.TName(qualifier="", name="any"):
            fn.b.emit("jump_undef", value, fail)
        case s.TName(qualifier="", name="word"):
            good = fn.b.label()
            fn.b.emit("jump_kind", value, "string", good)
            fn.b.emit("jump_not_kind", value, "number", fail)
            fn.b.place(good)
        case s.TName(qualifier="", name="data"):
            fn.b.emit("jump_undef", value, fail)
            for kind in ("function", "stream", "slots", "coroutine"):
                fn.b.emit("jump_kind", value, kind, fail)
        case s.TName(qualifier="", name="stream") | s.TApply(qualifier="", name="stream"):
            fn.b.emit("jump_not_kind", value, "stream", fail)
        case s.TArrow():
            fn.b.emit("jump_not_kind", value, "function", fail)
        case s.TApply(qualifier="", name="array", args=(item,)):
            fn.b.emit("jump_not_kind", value, "array", fail)
            _each(fn, read.part(item), value, fail)
        case s.TApply(qualifier="", name="map", args=(item,)):
            fn.b.emit("jump_not_kind", value, "map", fail)
            values = fn.temp()
            fn.b.emit("move", values, value)
            fn.b.emit("builtin", values, values, "map_values")
            _each(fn, read.part(item), values, fail)
        case s.TApply(qualifier="", name="option", args=(item,)):
            some = s.TApply(of.span, "", "some", (item,))
            _either(fn, [read.part(s.TName(of.span, "", "null")), read.part(some)], value, fail)
        case s.TApply(qualifier="", name="result", args=(good_type, bad_type)):
            ok, error = s.TApply(of.span, "", "ok", (good_type,)), s.TApply(of.span, "", "error", (bad_type,))
            _either(fn, [read.part(ok), read.part(error)], value, fail)
        case s.TName(name=name) | s.TApply(name=name):
            meant = fn.gen.program.meant(read)
            if meant is not None:
                _test(fn, meant, value, fail)
                return
            fn.b.emit("jump_not_case", value, name, fail)
            for item in of.args if isinstance(of, s.TApply) else ():
                held = fn.temp()
                fn.b.emit("argument", held, value)
                _test(fn, read.part(item), held, fail)
        case s.TUnion(options=options):
            _either(fn, [read.part(option) for option in options], value, fail)
        case s.TTuple(items=items):
            fn.b.emit("jump_not_kind", value, "array", fail)
            length = fn.temp()
            fn.b.emit("length", length, value)
            fn.b.emit("jump_not_eq_int", length, len(items), fail)
            for index, item in enumerate(items):
                held = fn.temp()
                fn.b.emit("get_int", held, value, index)
                _test(fn, read.part(item), held, fail)
        case s.TLabels(fields=labels):
            _fields(fn, [(name, read.part(item), False) for name, item in labels], value, fail)
        case s.TRecord(fields=fields):
            _fields(fn, [(name, read.part(item), optional) for name, item, optional in fields], value, fail)


def _fields(fn: Fn, fields: list[tuple[str, Read, bool]], value: int, fail: Label) -> None:
    fn.b.emit("jump_not_kind", value, "map", fail)
    for name, of, optional in fields:
        held, absent = fn.temp(), fn.b.label()
        fn.b.emit("get_key", held, value, name)
        fn.b.emit("jump_undef", held, absent if optional else fail)
        _test(fn, of, held, fail)
        fn.b.place(absent)


def _either(fn: Fn, options: list[Read], value: int, fail: Label) -> None:
    done = fn.b.label()
    for option in options[:-1]:
        other = fn.b.label()
        _tested(fn, option, value, other)
        fn.b.emit("jump", done)
        fn.b.place(other)
    _test(fn, options[-1], value, fail)
    fn.b.place(done)


def _each(fn: Fn, of: Read, array: int, fail: Label) -> None:
    """All elements of an array."""
    index, length, item = fn.temp(), fn.temp(), fn.temp()
    fn.constant(index, 0)
    fn.b.emit("length", length, array)
    again, done = fn.b.label(), fn.b.label()
    fn.b.place(again)
    fn.b.emit("jump_not_lt", index, length, done)
    fn.b.emit("get", item, array, index)
    _tested(fn, of, item, fail)
    fn.b.emit("add_int", index, index, 1)
    fn.b.emit("jump", again)
    fn.b.place(done)
