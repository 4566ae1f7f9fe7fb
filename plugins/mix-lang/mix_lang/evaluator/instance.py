"""Instances of modules, and their cells.

A cell is computed when it is read and stale. While it is computed every cell that is read notes it as one that depends
on it; a change makes all that depend on it stale, and what they have is computed anew at the end of the interaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mix_lang import syntax as s
from mix_lang.evaluator.coroutine import Coroutine
from mix_lang.evaluator.running import Running
from mix_lang.evaluator.values import (
    ActionValue,
    Constructor,
    Env,
    Function,
    Link,
    ModuleFunction,
    Native,
    Panic,
    kind,
)  # fmt: skip
from mix_lang.program import Member, Program, Unit, arity_of, fallback_of
from mix_lang.source import Source
from mixkit.value import UNDEF, Case

__all__ = ["Cell", "Instance", "Program", "instantiate"]


@dataclass(eq=False, slots=True)
class Cell:
    """A cell of an instance."""

    name: str
    instance: Instance
    item: s.CellDef | s.Alias
    var: bool
    value: Any = UNDEF
    previous: Any = UNDEF
    stale: bool = True
    computing: Coroutine | None = None
    waiters: list[Coroutine] = field(default_factory=list)
    version: int = 0
    dependents: set[Cell] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Watch:
    """An observer, and the versions of its cells that it has seen."""

    item: s.Observer
    seen: tuple[int, ...] | None = None
    ran: bool = False


@dataclass(eq=False, slots=True)
class Instance:
    """A module that runs."""

    unit: Unit
    program: Program
    params: dict[str, Any]
    slots: dict[str, Any] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)
    watches: list[Watch] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)

    @property
    def module(self) -> s.Module:
        return self.unit.module

    @property
    def source(self) -> Source:
        return self.unit.source

    # Members

    def has(self, name: str) -> bool:
        return name in self.unit.members

    def cell(self, name: str) -> Cell | None:
        return self.cells.get(name)

    def read(self, machine: Running, name: str) -> Any:
        """What the name means inside of the module: of a cell its value."""
        cell = self.cells.get(name)
        if cell is not None:
            return self._read_cell(machine, cell)
        if name in self.params:
            return self.params[name]
        if name not in self.slots:
            self._make(machine, self.unit.members[name])
        return self.slots[name]

    def member(self, machine: Running, name: str) -> Any:
        """What it means outside: of a cell a link."""
        cell = self.cells.get(name)
        return Link(cell) if cell is not None else self.read(machine, name)

    def _make(self, machine: Running, member: Member) -> None:
        """The value of a definition when it is first needed, so that their order does not matter."""
        name, item = member.name, member.item
        if name in self.pending:
            raise Panic(f"'{name}' is needed for its own value")
        self.pending.add(name)
        try:
            self.slots[name] = self._value_of(machine, item, name)
        finally:
            self.pending.discard(name)

    def _value_of(self, machine: Running, item: Any, name: str) -> Any:
        match item:
            case s.Def():
                return self._def(machine, item)
            case s.Foreign() if (fallback := fallback_of(item)) is not None:
                return machine.eval(fallback, Env(self))
            case s.Foreign(ffi=ffi, type=of):
                arity = arity_of(of)
                return Native(name, arity, lambda machine, *args: machine.foreign(ffi, args))
            case s.CaseDef(arg=None):
                return Case(name)
            case s.CaseDef():
                return Constructor(name)
            case s.Import(module=module, args=args):
                given = tuple(machine.eval(arg, Env(self)) for arg in args or ())
                return bound(machine, module, given)
        raise AssertionError(item)

    def _def(self, machine: Running, item: s.Def) -> Any:
        env = Env(self)
        if item.body is None:
            raise Panic(f"'{item.name}' is declared and never defined")
        if item.params is None:
            assert not isinstance(item.body, s.Block)
            value = machine.eval(item.body, env)
            if type(value) is Function and not value.name:
                value.name = item.name
            return value
        patterns = tuple(s.PVar(param.span, param.name) for param in item.params)
        clause = s.Clause(item.span, patterns, None, item.body)
        return Function(item.name, (clause,), env, len(patterns))

    # Cells

    def _read_cell(self, machine: Running, cell: Cell) -> Any:
        if machine.reading and machine.reading[-1] is not None:
            cell.dependents.add(machine.reading[-1])
        return self._fresh(machine, cell)

    def contents(self, machine: Running, cell: Cell) -> Any:
        """Its value, without a note that somebody depends on it."""
        return cell.instance._fresh(machine, cell)

    def _fresh(self, machine: Running, cell: Cell) -> Any:
        coroutines = machine.coroutines
        while cell.computing is not None:
            if cell.computing is coroutines.running:
                raise Panic(f"the cell '{cell.name}' is needed for its own value")
            cell.waiters.append(coroutines.running)
            coroutines.park()
        if cell.stale:
            cell.computing = coroutines.running
            machine.reading.append(cell)
            try:
                value = self._compute(machine, cell)
            finally:
                machine.reading.pop()
                cell.computing = None
                waiters, cell.waiters = cell.waiters, []
                for waiter in waiters:
                    coroutines.wake(waiter, None)
            cell.stale = False
            self._set(cell, value)
        return cell.value

    def _compute(self, machine: Running, cell: Cell) -> Any:
        item, env = cell.item, Env(self)
        if isinstance(item, s.Alias):
            target = _linked(machine, self, item.target, env)
            return target.instance._read_cell(machine, target)
        if item.params is not None:
            assert item.body is not None
            patterns = tuple(s.PVar(param.span, param.name) for param in item.params)
            return Function(item.name, (s.Clause(item.span, patterns, None, item.body),), env, len(patterns))
        if item.body is None:
            raise Panic(f"the cell '{item.name}' is declared and never defined")
        if isinstance(item.body, s.Block):
            value = machine.block(item.body, env)
            value = None if type(value).__name__ == "_Next" else value
        else:
            value = machine.eval(item.body, env)
        if value is UNDEF:
            message = f"undefined may not be stored in the cell '{item.name}'"
            raise machine.at(Panic(message, "M0902"), item.body, env)
        return value

    def _set(self, cell: Cell, value: Any) -> None:
        cell.previous, cell.value = cell.value, value
        cell.version += 1

    def assign(self, machine: Running, cell: Cell, value: Any) -> None:
        """Write a var cell; what depends on it is stale then. An alias writes what it stands for."""
        if isinstance(cell.item, s.Alias):
            target = _linked(machine, self, cell.item.target, Env(self))
            target.instance.assign(machine, target, value)
            return
        if not cell.var:
            raise Panic(f"the cell '{cell.name}' is computed, and cannot be assigned to")
        cell.stale = False
        self._set(cell, value)
        _spoil(cell)

    def previous(self, machine: Running, name: str) -> Any:
        """`c'`."""
        cell = self.cells[name]
        self._read_cell(machine, cell)
        return cell.previous


def _spoil(cell: Cell) -> None:
    """Everything that depends on the cell is stale; it notes anew what it reads."""
    todo = [cell]
    while todo:
        changed = todo.pop()
        dependents, changed.dependents = changed.dependents, set()
        for dependent in dependents:
            if not dependent.stale:
                dependent.stale = True
                todo.append(dependent)


def _linked(machine: Running, instance: Instance, target: s.Expr, env: Env) -> Cell:
    """The cell that an alias stands for: a cell by name, or what a link links to."""
    if isinstance(target, s.Name | s.Qualified):
        cell = instance.cell(target.name)
        if cell is not None:
            return cell
    value = machine.eval(target, env)
    if type(value) is not Link:
        raise Panic(f"an alias stands for a cell or a link, found {kind(value)}")
    assert isinstance(value.cell, Cell)
    return value.cell


def bound(machine: Running, module: str, args: tuple[Any, ...]) -> Any:
    """A module with some of its arguments: an instance when they are all there."""
    unit = machine.program.units[module]
    needed = len(unit.module.params)
    if unit.module.static:
        if module not in machine.statics:
            machine.statics[module] = instantiate(machine, module, ())
        return machine.statics[module]
    if len(args) >= needed:
        return instantiate(machine, module, args)
    return machine.apply(ModuleFunction(module, needed), args) if args else ModuleFunction(module, needed)


def instantiate(machine: Running, name: str, args: tuple[Any, ...]) -> Instance:
    """A new instance: definitions that have effects, cells, then the initializer."""
    unit = machine.program.units[name]
    params = {param.name: value for param, value in zip(unit.module.params, args, strict=True)}
    instance = Instance(unit, machine.program, params)
    if unit.module.static:
        machine.statics[name] = instance
    for member in unit.members.values():
        if member.kind in ("cell", "alias") and isinstance(member.item, s.CellDef | s.Alias):
            instance.cells[member.name] = Cell(member.name, instance, member.item, member.var)
    machine.instances.append(instance)
    machine.reading.append(None)
    try:
        _start(machine, instance)
    finally:
        machine.reading.pop()
    return instance


def _start(machine: Running, instance: Instance) -> None:
    for item in instance.module.items:
        if isinstance(item, s.Def) and item.params is None and item.body is not None:
            if item.name == "_":
                assert not isinstance(item.body, s.Block)
                machine.eval(item.body, Env(instance))
            elif instance.unit.members[item.name].item is item:
                instance.read(machine, item.name)
    for cell in instance.cells.values():
        if cell.var:
            instance.contents(machine, cell)
    for cell in instance.cells.values():
        instance.contents(machine, cell)
    for item in instance.module.items:
        if isinstance(item, s.Initializer):
            machine.run_block(item.block, instance)
        elif isinstance(item, s.Observer):
            instance.watches.append(Watch(item))


def settle(machine: Running) -> None:
    """The end of an interaction: what is stale is computed, and observers run, each at most once."""
    for instance in machine.instances:
        for watch in instance.watches:
            watch.ran = False
    while True:
        _awaited(machine)
        for instance in list(machine.instances):
            for cell in instance.cells.values():
                machine.unwatched(instance.contents, machine, cell)
        if any(
            _observe(machine, instance, watch) for instance in machine.instances for watch in instance.watches
        ):
            continue
        if not machine.held:
            return


def _awaited(machine: Running) -> None:
    """Wait until the coroutines have ended that the output waits for."""
    while machine.held:
        machine.awaiting = machine.coroutines.running
        machine.coroutines.park()
        machine.awaiting = None


def _observe(machine: Running, instance: Instance, watch: Watch) -> bool:
    """Whether the observer had something to do, and did it."""
    names = [cell.name for cell in watch.item.cells]
    versions = tuple(_version(machine, instance, instance.cells[name]) for name in names)
    if watch.ran or versions == watch.seen:
        return False
    watch.seen, watch.ran = versions, True
    condition = watch.item.condition
    if condition is None or machine.unwatched(machine.eval, condition, Env(instance, appstate=True)) is True:
        machine.run_block(watch.item.block, instance)
    return True


def _version(machine: Running, instance: Instance, cell: Cell) -> int:
    return cell.version


def invoked(machine: Running, action: ActionValue, args: tuple[Any, ...]) -> None:
    """Run an action: one interaction."""
    env = Env(action.env.instance, action.env, appstate=True)
    env.values["appstate"] = machine.appstate
    for param, value in zip(action.action.params, args, strict=False):
        env.values[param.name] = value
    for param in action.action.params[len(args) :]:
        env.values[param.name] = None
    machine.unwatched(machine.block, action.action.block, env)
    for instance in machine.instances:
        for cell in instance.cells.values():
            if isinstance(cell.item, s.CellDef) and cell.item.live and not cell.stale:
                # The action may have changed what it follows, or somebody else.
                cell.stale = True
                _spoil(cell)
    settle(machine)
