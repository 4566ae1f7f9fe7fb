"""Actions: maps that say what to run, and the functions that run it."""

from __future__ import annotations

from mix_lang import syntax as s
from mix_lang.codegen import runtime
from mix_lang.codegen.function import INSTANCE, Fn
from mix_lang.walk import every

__all__ = ["action"]


def action(fn: Fn, node: s.Action, to: int) -> None:
    """Put the map of an action into a register: its name, the number of its instance, and the locals that it mentions,
    as they are now. The function that runs it gets them from there, so that it does so later and elsewhere as well.
    """
    gen, unit = fn.gen, fn.unit
    name = unit.action_names[node.span.start]
    instance = fn.find(INSTANCE)
    seen = {part.name: None for part in every(node.block) if isinstance(part, s.Name)}
    found = [(text, local) for text in seen if text != "appstate" and (local := fn.find(text)) is not None]
    gen.act(name, _acting(fn, node, name, [text for text, _ in found]), unit.name if instance else "")
    mark = fn.mark()
    first = fn.b.register(3)
    fn.constant(first, name)
    if instance is None:
        fn.b.emit("literal", first + 1, "null")
    else:
        fn.b.emit("slot", first + 1, fn.raw(instance), gen.number_slot(unit))
    fn.constant(first + 2, {})
    for text, local in found:
        there = fn.temp()
        absent = fn.b.label()
        fn.read(local, there)
        fn.b.emit("jump_undef", there, absent)
        fn.b.emit("set_key", first + 2, text, there)
        fn.b.place(absent)
    fn.at(node.span)
    runtime.call_cells(fn, "newAction", to, [first, first + 1, first + 2])
    fn.release(mark)


def _acting(fn: Fn, node: s.Action, name: str, names: list[str]) -> str:
    """The function that runs an action: it takes the slots of the instance, the locals, and the arguments, of which
    those that are missing are null."""
    key = fn.gen.new_key(name)
    inner = Fn(fn.gen, fn.gen.assembly.function(key, 3, name=name), fn.unit)
    inner.at(node.span)
    if fn.find(INSTANCE) is not None:
        inner.declare(INSTANCE, 0)
    for text in names:
        register = inner.temp()
        inner.b.emit("get_key", register, 1, text)
        inner.declare(text, register)
    state = inner.temp()
    inner.b.emit("literal", state, "null")
    inner.declare("appstate", state)
    for index, param in enumerate(node.params):
        register, there = inner.temp(), inner.b.label()
        inner.b.emit("get_int", register, 2, index)
        inner.b.emit("jump_def", register, there)
        inner.b.emit("literal", register, "null")
        inner.b.place(there)
        inner.declare(param.name, register)
    inner.block_body(node.block)
    return key
