"""Changes of places in values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mix_lang import syntax as s
from mix_lang.codegen import operators
from mix_lang.codegen.function import Fn, Local

if TYPE_CHECKING:
    from mix_rt.qcode import Label

__all__ = ["tuple_checked", "update"]


def update(fn: Fn, register: int, steps: tuple[s.Step, ...], new: s.Expr, local: Local | None = None) -> None:
    """Change a place in the value of a register to what `new` gives; of a local, in what it has after that."""
    mark = fn.mark()
    keys: list[int] = []
    for step in steps:
        key = -1
        if step.key is not None:
            key = fn.temp()
            fn.into(step.key, key)
        keys.append(key)
    stored = fn.temp()
    fn.into(new, stored)
    operators.stored(fn, stored, new, "a value")
    fn.at(steps[0].span)
    owned = False
    if local is not None:
        owned = local.register == register and local.owned and local.fn is fn
        if not owned:
            fn.read(local, register)
    # Down to the innermost value, then up again with the changed ones.
    values = [register]
    for step, key in zip(steps[:-1], keys, strict=False):
        inner = fn.temp()
        _get(fn, step, key, values[-1], inner)
        values.append(inner)
    for step, key, value in zip(reversed(steps), reversed(keys), reversed(values), strict=True):
        _set(fn, step, key, value, stored, owned and value == register)
        stored = value
    fn.release(mark)


def tuple_checked(fn: Fn, value: int, size: int, to: int | None = None) -> Label:
    """Raise unless the value is an array of that size. With `to`, undefined and null give undefined: the label answered
    is behind what is done for a tuple."""
    good, wrong, done = fn.b.label(), fn.b.label(), fn.b.label()
    if to is not None:
        absent, there = fn.b.label(), fn.b.label()
        fn.b.emit("jump_undef", value, absent)
        fn.b.emit("jump_not_kind", value, "null", there)
        fn.b.place(absent)
        fn.b.emit("literal", to, "undef")
        fn.b.emit("jump", done)
        fn.b.place(there)
    mark = fn.mark()
    fn.b.emit("jump_not_kind", value, "array", wrong)
    length = fn.temp()
    fn.b.emit("length", length, value)
    fn.b.emit("jump_eq_int", length, size, good)
    fn.b.place(wrong)
    fn.raise_found(f"a tuple of {size}", value)
    fn.b.place(good)
    fn.release(mark)
    return done


def _get(fn: Fn, step: s.Step, key: int, from_: int, to: int) -> None:
    if step.kind in ("field", "label"):
        fn.b.emit("get_key", to, from_, step.name)
    elif step.kind == "tuple":
        fn.b.place(tuple_checked(fn, from_, step.size))
        fn.b.emit("get_int", to, from_, step.index)
    else:
        fn.b.emit("get", to, from_, key)


def _set(fn: Fn, step: s.Step, key: int, into: int, value: int, owned: bool) -> None:
    if step.kind in ("field", "label"):
        fn.b.emit("set_key", into, step.name, value)
    elif step.kind == "tuple":
        fn.b.place(tuple_checked(fn, into, step.size))
        fn.b.emit("set_int", into, step.index, value)
    else:
        fn.b.emit("set_own" if owned else "set", into, key, value)
