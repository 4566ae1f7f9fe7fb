"""The functions that make instances of modules: slots for members, cells, what runs first."""

from __future__ import annotations

from functools import partial

from mix_rt.qcode import FunctionBuilder

from mix_lang import syntax as s
from mix_lang.check.cells import definition_order
from mix_lang.codegen import closures, names, runtime, statements
from mix_lang.codegen.function import INSTANCE, Fn, Whole
from mix_lang.codegen.members import clauses_of, is_function
from mix_lang.program import Member, Unit, fallback_of

__all__ = ["import_into", "inner", "maker"]


def maker(gen: Whole, unit: Unit, output: str, key: str) -> None:
    """The function `key` takes the module's parameters. It answers the value of the cell `output`, or, if that is
    empty, a map of the members that other modules may use, in which cells are links."""
    params = unit.module.params
    count = max(len(params), 1) if output else len(params)
    fn = Fn(gen, gen.assembly.function(key, count, name=unit.name), unit)
    fn.at(unit.module.span)
    instance, answer = fn.temp(), fn.temp()
    fn.b.emit("slots", instance, gen.slot_count(unit))
    fn.declare(INSTANCE, instance)
    for index, param in enumerate(params):
        fn.b.emit("set_slot", instance, gen.slot(unit, param.name), index)
    if gen.numbered(unit):
        pair = fn.b.register(2)
        fn.constant(pair, unit.name)
        fn.b.emit("move", pair + 1, instance)
        runtime.call_cells(fn, "enrol", pair, [pair, pair + 1])
        fn.b.emit("set_slot", instance, gen.number_slot(unit), pair)
        fn.release(pair)
    if unit.stateful:
        outer = fn.temp()
        runtime.call_cells(fn, "outside", outer, [])
        _members(fn, unit, instance)
        _start(fn, unit, instance)
        runtime.call_cells(fn, "back", fn.temp(), [outer])
    else:
        _members(fn, unit, instance)
    if output:
        fn.b.emit("slot", answer, instance, gen.slot(unit, output))
        runtime.call_cells(fn, "begin", answer, [0, answer])
    else:
        _exports(fn, unit, answer)
    fn.b.emit("return", answer)


def _members(fn: Fn, unit: Unit, instance: int) -> None:
    """Functions first, then cells that are still to compute: what they use is in its slot by the time they run."""
    gen = fn.gen
    bound = [member for member in unit.members.values() if gen.bound(unit, member.name)]
    register = fn.temp()
    for member in bound:
        if is_function(member.item):
            assert isinstance(member.item, s.Def)
            _closure(fn, inner(gen, unit, member.name), register)
            fn.b.emit("set_slot", instance, gen.slot(unit, member.name), register)
    for member in bound:
        if member.kind in ("cell", "alias"):
            _cell(fn, unit, member, register)
            fn.b.emit("set_slot", instance, gen.slot(unit, member.name), register)
    for member in bound:
        if isinstance(member.item, s.Import):
            import_into(fn, member.item, register)
            fn.b.emit("set_slot", instance, gen.slot(unit, member.name), register)
    for name in definition_order(unit):
        item = unit.members[name].item
        body = fallback_of(item) if isinstance(item, s.Foreign) else getattr(item, "body", None)
        if gen.bound(unit, name) and not isinstance(body, s.Block | None):
            fn.into(body, register)
            fn.b.emit("set_slot", instance, gen.slot(unit, name), register)
    for done in unit.module.items:
        if isinstance(done, s.Def) and done.name == "_" and not isinstance(done.body, s.Block | None):
            fn.into(done.body, register)


def import_into(fn: Fn, item: s.Import, to: int) -> None:
    """An imported module as a value: a map of its members, or a function that takes the arguments that are missing."""
    unit = fn.gen.imported(fn.unit, item.module)
    args = item.args or ()
    fn.at(item.span)
    window = fn.b.window(len(args))
    fn.b.emit("func", window, fn.gen.maker(unit, ""))
    for index, arg in enumerate(args):
        fn.into(arg, window + 2 + index)
    if args or not unit.module.params:
        fn.b.emit("call", to, window, len(args))
    else:
        fn.b.emit("move", to, window)
    fn.release(window)


def _cell(fn: Fn, unit: Unit, member: Member, to: int) -> None:
    item = member.item
    mark = fn.mark()
    first = fn.b.register(4)
    live = isinstance(item, s.CellDef) and item.live
    kind = "alias" if isinstance(item, s.Alias) else "var" if member.var else "live" if live else "computed"
    local = fn.find(INSTANCE)
    assert local is not None
    fn.b.emit("slot", first, fn.raw(local), fn.gen.number_slot(unit))
    fn.constant(first + 1, member.name)
    fn.constant(first + 2, kind)
    _closure(fn, inner(fn.gen, unit, member.name), first + 3)
    runtime.call_cells(fn, "newCell", to, [first, first + 1, first + 2, first + 3])
    fn.release(mark)


def inner(gen: Whole, unit: Unit, label: str) -> FunctionBuilder:
    """A function of the instances of a module: one that needs the instance, what computes a cell, the initializer, or
    an observer by its number: `on 1`."""
    if label in unit.members:
        item = unit.members[label].item
    else:
        kind = s.Initializer if label == "initializer" else s.Observer
        number = int(label.partition(" ")[2] or 1)
        item = [item for item in unit.module.items if isinstance(item, kind)][number - 1]
    return gen.inner(unit, label, item, partial(_inner, gen, unit, label, item))


def _inner(gen: Whole, unit: Unit, label: str, item: s.Item | s.Param, key: str) -> None:
    # What stands for the function that makes the instance, and has it in a register.
    outer = Fn(gen, FunctionBuilder("", "", 1, 0), unit)
    outer.declare(INSTANCE, 0)
    name = f"{unit.name}.{label.partition(' ')[0]}"
    clauses = clauses_of(item) if isinstance(item, s.Def) else ()
    params = len(clauses[0].patterns) if clauses else 0
    fn = Fn(gen, gen.assembly.function(key, params, name=name), unit, outer)
    match item:
        case s.Def():
            closures.body_of(fn, clauses)
        case s.Initializer(block=block):
            _writing(fn, block, None)
        case s.Observer(block=block, condition=condition):
            _writing(fn, block, condition)
        case _:
            value = fn.temp()
            if isinstance(item, s.Alias):
                target = item.target
                if not (isinstance(target, s.Name | s.Qualified) and names.cell(fn, target.name, value)):
                    fn.into(target, value)
            else:
                assert isinstance(item, s.CellDef) and item.body is not None
                _computed(fn, item, value)
            fn.b.emit("return", value)
    fn.b.captures = len(fn.captured)


def _closure(fn: Fn, function: FunctionBuilder, to: int) -> None:
    """Such a function in an instance."""
    if not function.captures:
        fn.b.emit("func", to, function.key)
        return
    local = fn.find(INSTANCE)
    assert local is not None
    mark = fn.mark()
    first = fn.temp()
    fn.raw(local, first)
    fn.b.emit("closure", to, first, function.key)
    fn.release(mark)


def _computed(fn: Fn, item: s.CellDef, to: int) -> None:
    assert item.body is not None
    if item.params is not None:
        closures.closure(fn, clauses_of(item), to, f"{fn.unit.name}.{item.name}")
        return
    if isinstance(item.body, s.Block):
        fn.into(s.Do(item.body.span, item.body), to)
    else:
        fn.into(item.body, to)
    fn.at(item.body.span)
    fn.b.emit("check_stored", to, f"the cell '{item.name}'")


def _start(fn: Fn, unit: Unit, instance: int) -> None:
    """Var cells, all cells, the initializer; then observers watch."""
    cells = [member for member in unit.members.values() if member.kind in ("cell", "alias")]
    register = fn.temp()
    for member in sorted(cells, key=lambda member: not member.var):
        fn.b.emit("slot", register, instance, fn.gen.slot(unit, member.name))
        runtime.call_cells(fn, "fresh", register, [register])
    observers = 0
    for item in unit.module.items:
        mark = fn.mark()
        if isinstance(item, s.Initializer):
            done = fn.b.label()
            window = fn.b.window(0)
            runtime.call_cells(fn, "restoring", window, [])
            fn.b.emit("jump_true", window, done)
            _closure(fn, inner(fn.gen, unit, "initializer"), window)
            fn.at(item.span)
            fn.b.emit("call", window, window, 0)
            fn.b.place(done)
        elif isinstance(item, s.Observer):
            watched = fn.b.register(max(len(item.cells), 1))
            for index, cell in enumerate(item.cells):
                names.cell(fn, cell.name, watched + index)
            fn.b.emit("array", watched, watched, len(item.cells))
            body = fn.temp()
            observers += 1
            _closure(fn, inner(fn.gen, unit, f"on {observers}"), body)
            runtime.call_cells(fn, "observe", body, [watched, body])
        fn.release(mark)


def _writing(fn: Fn, block: s.Block, condition: s.Expr | None) -> None:
    """Statements that may write cells."""
    state = fn.temp()
    fn.b.emit("literal", state, "null")
    fn.declare("appstate", state)
    end = fn.b.label()
    if condition is not None:
        fn.jump_unless(condition, end)
    statements.block(fn, block)
    fn.b.place(end)
    fn.b.emit("return", state)


def _exports(fn: Fn, unit: Unit, to: int) -> None:
    shown = sorted(
        name for name, member in unit.members.items()
        if not member.private and member.kind in ("def", "case", "cell")
    )  # fmt: skip
    first = fn.b.register(max(len(shown), 1))
    for index, name in enumerate(shown):
        if not names.cell(fn, name, first + index):
            names.member(fn, unit, unit.members[name], first + index)
    fn.b.emit("record", to, first, shown)
