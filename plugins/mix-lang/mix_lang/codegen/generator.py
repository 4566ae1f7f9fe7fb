"""A checked program to QCode: which members are static, where each is kept, and the functions that are needed."""

from __future__ import annotations

from importlib import resources
from typing import Any

from mix_rt.qcode import Assembly

from mix_lang import syntax as s
from mix_lang.check.cells import cell_order, definition_order
from mix_lang.check.walk import every
from mix_lang.codegen import closures, expressions
from mix_lang.codegen.function import INSTANCE, Fn, NotYet
from mix_lang.diagnostic import Report
from mix_lang.parser import parse
from mix_lang.program import Member, Program, Unit, arity_of, members_of
from mix_lang.source import Source

__all__ = ["Generator", "generate"]


def generate(program: Program, module: str) -> Assembly:
    """The code of an agent: the function `module` takes the parameters and answers the output.

    Raises:
        NotYet: it has something that is not generated yet.
    """
    generator = Generator(program)
    generator.agent(program.units[module])
    return generator.assembly


class Generator:
    """Members are static unless they need an instance of their module: its parameters, cells, or what uses these.

    A static function is one of the code, a static value a global that is set at init. What needs an instance is in a
    slot of the object `$instance`, which the functions of the module capture like any local.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.assembly = Assembly()
        text = resources.files("mix_lang.codegen").joinpath("prelude.mix").read_text(encoding="utf-8")
        source = Source("prelude.mix", text)
        (module,) = parse(source, "prelude", Report(source))
        self.prelude = Unit(module, source, *members_of(module), library=True)
        self._keys: set[str] = set()
        self._functions: dict[tuple[str, str], str] = {}
        self._values: dict[tuple[str, str], int] = {}
        self._bound: dict[str, set[str]] = {}
        self._slots: dict[str, dict[str, int]] = {}
        self._todo: list[tuple[Unit, Member, str]] = []
        self._makers: dict[str, str] = {}

    # Classification

    def bound(self, unit: Unit, name: str) -> bool:
        """Whether a member needs an instance of its module."""
        if unit.name not in self._bound:
            self._bound[unit.name] = self._find_bound(unit)
        return name in self._bound[unit.name]

    def _find_bound(self, unit: Unit) -> set[str]:
        bound = {member.name for member in unit.members.values() if member.kind in ("param", "cell", "alias")}
        uses = {}
        for member in unit.members.values():
            item = member.item
            if isinstance(item, s.Import) and self._has_state(item.module):
                bound.add(member.name)
            uses[member.name] = {node.name for node in every(item) if isinstance(node, s.Name | s.Qualified)}
        while True:
            more = {name for name, used in uses.items() if name not in bound and used & bound}
            if not more:
                return bound
            bound |= more

    def _has_state(self, module: str) -> bool:
        """Whether each importing instance has an instance of its own: the module has cells."""
        return any(member.kind in ("cell", "alias") for member in self.program.units[module].members.values())

    def slot(self, unit: Unit, name: str) -> int:
        """The slot of a member that needs the instance."""
        slots = self._slots.setdefault(unit.name, {})
        return slots.setdefault(name, len(slots))

    # Functions and values

    def new_key(self, name: str) -> str:
        """A name for a function that no other has."""
        key, count = name, 1
        while key in self._keys:
            count += 1
            key = f"{name}/{count}"
        self._keys.add(key)
        return key

    def arity(self, unit: Unit, member: Member) -> int:
        """Parameters of a def that is a function."""
        item = member.item
        assert isinstance(item, s.Def)
        if item.params is not None:
            return len(item.params)
        assert isinstance(item.body, s.Lambda)
        return len(item.body.clauses[0].patterns)

    def function_key(self, unit: Unit, member: Member) -> str | None:
        """The function of a static def; None if it is a value. It is generated when its turn comes."""
        item = member.item
        if not isinstance(item, s.Def) or (item.params is None and not isinstance(item.body, s.Lambda)):
            return None
        where = (unit.name, member.name)
        if where not in self._functions:
            key = self.new_key(f"{unit.name}.{member.name}")
            self._functions[where] = key
            self._todo.append((unit, member, key))
        return self._functions[where]

    def value(self, unit: Unit, member: Member) -> int:
        """The global of a static value."""
        where = (unit.name, member.name)
        if where not in self._values:
            self._values[where] = self.assembly.new_global()
            self._todo.append((unit, member, self.new_key(f"{unit.name}.{member.name}")))
        return self._values[where]

    def constructor(self, name: str) -> str:
        """A function that makes a case."""
        key = f"case {name}"
        if key not in self._keys:
            self._keys.add(key)
            b = self.assembly.function(key, 1, name=name)
            b.emit("case", 0, name, 0)
            b.emit("return", 0)
        return key

    def destructor(self, name: str) -> str:
        """A function that takes the argument out of a case."""
        key = f"case {name}^"
        if key not in self._keys:
            self._keys.add(key)
            fn = Fn(self, self.assembly.function(key, 1, name=f"{name}^"), self.prelude)
            wrong = fn.b.label()
            fn.b.emit("jump_not_case", 0, name, wrong)
            fn.b.emit("argument", 0, 0)
            fn.b.emit("return", 0)
            fn.b.place(wrong)
            fn.raise_found(f"the case {name}", 0)
            fn.b.emit("return", 0)
        return key

    def foreign(self, unit: Unit, item: s.Foreign) -> str:
        """A function that calls a foreign one."""
        key = f"foreign {unit.name}.{item.name}"
        if key not in self._keys:
            self._keys.add(key)
            arity = arity_of(item.type)
            fn = Fn(self, self.assembly.function(key, arity, name=item.name), unit)
            fn.at(item.span)
            result = fn.temp()
            self.foreign_into(fn, item, 0, result)
            fn.b.emit("return", result)
        return key

    def foreign_into(self, fn: Fn, item: s.Foreign, first: int, to: int) -> None:
        """Call it with the registers from `first` on."""
        if not item.ffi.startswith("%"):
            self.assembly.ffi(item.ffi, arity_of(item.type))
            fn.b.emit("ffi", to, first, item.ffi)
            return
        name = item.ffi[1:]
        if name == "length":
            fn.b.emit("length", to, first)
        elif name == "raise":
            fn.b.emit("raise", first)
        elif name == "stream_next":
            window = fn.b.window(0)
            end, done = fn.b.label(), fn.b.label()
            fn.release(window)
            fn.b.emit("next", first, first, window)
            fn.b.emit("jump_end", first, end)
            fn.b.emit("case", to, "some", first)
            fn.b.emit("jump", done)
            fn.b.place(end)
            fn.b.emit("literal", to, "null")
            fn.b.place(done)
        elif name == "stream_of":
            fn.b.emit("closure", to, first, self._stepper())
            fn.b.emit("generate", to, to)
        else:
            fn.b.emit("builtin", to, first, name)

    def _stepper(self) -> str:
        """A function that calls the one that it captured, and answers its some(x) as x and its null as the end."""
        key = "stream step"
        if key not in self._keys:
            self._keys.add(key)
            b = self.assembly.function(key, 0, 1, name="stream")
            window = b.window(0)
            end = b.label()
            b.emit("capture", window, 0)
            b.emit("call", window, window, 0)
            b.emit("jump_kind", window, "null", end)
            b.emit("argument", window, window)
            b.emit("return", window)
            b.place(end)
            b.emit("literal", window, "end")
            b.emit("return", window)
        return key

    # Whole programs

    def agent(self, unit: Unit) -> None:
        """The agent's own function, everything that it needs, and what runs at init."""
        self.assembly.exports[unit.name] = self.maker(unit, "output")
        done: dict[tuple[str, str], str] = {}
        while self._todo:
            owner, member, key = self._todo.pop()
            if isinstance(member.item, s.Def) and self.function_key(owner, member) is not None:
                self._function(owner, member.item, key)
            else:
                self._initial(owner, member, key)
                done[owner.name, member.name] = key
        self._init(done)

    def _function(self, unit: Unit, item: s.Def, key: str) -> None:
        clauses = _clauses(item)
        fn = Fn(self, self.assembly.function(key, len(clauses[0].patterns), name=key), unit)
        closures.body_of(fn, clauses)
        assert not fn.captured, "a static function captures nothing"

    def _initial(self, unit: Unit, member: Member, key: str) -> None:
        """The function that computes a static value."""
        fn = Fn(self, self.assembly.function(key, 0, name=key), unit)
        register = fn.temp()
        self._compute(fn, member.item, register)
        fn.b.emit("return", register)

    def _compute(self, fn: Fn, item: Any, to: int) -> None:
        if isinstance(item, s.Import):
            fn.at(item.span)
            args = item.args or ()
            needed = len(self.program.units[item.module].module.params)
            window = fn.b.window(len(args))
            fn.b.emit("func", window, self.maker(self.program.units[item.module], ""))
            for index, arg in enumerate(args):
                expressions.into(fn, arg, window + 2 + index)
            if args or not needed:
                fn.b.emit("call", to, window, len(args))
            else:
                fn.b.emit("move", to, window)
            return
        assert isinstance(item, s.Def) and item.body is not None and not isinstance(item.body, s.Block)
        expressions.into(fn, item.body, to)

    def _init(self, done: dict[tuple[str, str], str]) -> None:
        """Values are computed module by module, imported ones first, and in a module in the order of their need."""
        builder = self.assembly.function("init", 0, name="init")
        fn = Fn(self, builder, self.prelude)
        for unit in self._units_in_order():
            names = [*definition_order(unit), *(m.name for m in unit.members.values() if m.kind == "import")]
            imports_first = sorted(names, key=lambda name: unit.members[name].kind != "import")
            for name in imports_first:
                key = done.get((unit.name, name))
                if key is None:
                    continue
                mark = fn.mark()
                window = fn.b.window(0)
                fn.b.emit("call_func", window, window, key)
                fn.b.emit("set_global", window, self._values[unit.name, name])
                fn.release(mark)
        register = fn.temp()
        fn.b.emit("literal", register, "null")
        fn.b.emit("return", register)
        self.assembly.init = "init"

    def _units_in_order(self) -> list[Unit]:
        order: list[Unit] = [self.prelude]
        state: set[str] = set()
        for start in self.program.units.values():
            way = [(start, [i.module for i in start.module.items if isinstance(i, s.Import)])]
            if start.name in state:
                continue
            state.add(start.name)
            while way:
                unit, left = way[-1]
                if not left:
                    way.pop()
                    order.append(unit)
                    continue
                name = left.pop()
                if name not in state and name in self.program.units:
                    state.add(name)
                    other = self.program.units[name]
                    way.append((other, [i.module for i in other.module.items if isinstance(i, s.Import)]))
        return order

    def maker(self, unit: Unit, result: str) -> str:
        """The function that makes an instance: it answers the cell `result`, or a map of what can be used outside."""
        key = f"{unit.name}.new {result}".rstrip()
        if key in self._keys:
            return key
        self._keys.add(key)
        params = unit.module.params
        count = max(len(params), 1) if result else len(params)
        fn = Fn(self, self.assembly.function(key, count, name=unit.name), unit)
        fn.at(unit.module.span)
        instance = fn.temp()
        placed = len(fn.b._code)
        fn.b.emit("slots", instance, 0)
        fn.declare(INSTANCE, instance)
        for index, param in enumerate(params):
            fn.b.emit("set_slot", instance, self.slot(unit, param.name), index)
        self._members_of_instance(fn, unit, instance)
        answer = fn.temp()
        if result:
            fn.b.emit("slot", answer, instance, self.slot(unit, result))
        else:
            self._exports(fn, unit, answer)
        fn.b.emit("return", answer)
        # How many slots there are is known now.
        fn.b._code[placed] = ("slots", [instance, len(self._slots.get(unit.name, {}))])
        return key

    def _members_of_instance(self, fn: Fn, unit: Unit, instance: int) -> None:
        for item in unit.module.items:
            if isinstance(item, s.Initializer | s.Observer):
                raise NotYet(unit, item.span, "initializers and observers")
            if isinstance(item, s.Alias):
                raise NotYet(unit, item.span, "aliases")
            if isinstance(item, s.Def) and item.name == "_" and not unit.library:
                raise NotYet(unit, item.span, "definitions for their effect")
        members = [unit.members[name] for name in unit.members if self.bound(unit, name)]
        register = fn.temp()
        for member in members:
            # Functions first: what they use is in slots by the time they are called.
            if isinstance(member.item, s.Def) and self._is_function(member.item):
                clauses = _clauses(member.item)
                key = self.new_key(f"{unit.name}.{member.name}")
                closures.closure(fn, clauses, register, f"{unit.name}.{member.name}", key)
                fn.b.emit("set_slot", instance, self.slot(unit, member.name), register)
        for member in members:
            if isinstance(member.item, s.Import):
                self._compute(fn, member.item, register)
                fn.b.emit("set_slot", instance, self.slot(unit, member.name), register)
        for name in definition_order(unit):
            given = unit.members[name].item
            if self.bound(unit, name) and isinstance(given, s.Def):
                self._compute(fn, given, register)
                fn.b.emit("set_slot", instance, self.slot(unit, name), register)
        for name in cell_order(unit):
            cell = unit.members[name].item
            assert isinstance(cell, s.CellDef)
            self._cell(fn, unit, cell, register)
            fn.b.emit("set_slot", instance, self.slot(unit, name), register)

    @staticmethod
    def _is_function(item: s.Def) -> bool:
        return item.params is not None or isinstance(item.body, s.Lambda)

    def _cell(self, fn: Fn, unit: Unit, item: s.CellDef, to: int) -> None:
        assert item.body is not None
        if item.params is not None:
            patterns = tuple(s.PVar(param.span, param.name) for param in item.params)
            clause = s.Clause(item.span, patterns, None, item.body)
            closures.closure(fn, (clause,), to, f"{unit.name}.{item.name}")
            return
        if isinstance(item.body, s.Block):
            expressions.into(fn, s.Do(item.body.span, item.body), to)
        else:
            expressions.into(fn, item.body, to)
        fn.at(item.body.span)
        fn.b.emit("check_stored", to, f"the cell '{item.name}'")

    def _exports(self, fn: Fn, unit: Unit, to: int) -> None:
        """A map of the members that other modules may use; of cells there are links, which are not here yet."""
        from mix_lang.codegen import names

        shown = sorted(
            name for name, member in unit.members.items()
            if not member.private and member.kind in ("def", "case")
        )  # fmt: skip
        first = fn.b.register(max(len(shown), 1))
        for index, name in enumerate(shown):
            names.member(fn, unit, unit.members[name], first + index, unit.module.span)
        fn.b.emit("record", to, first, shown)


def _clauses(item: s.Def) -> tuple[s.Clause, ...]:
    if item.params is None:
        assert isinstance(item.body, s.Lambda)
        return item.body.clauses
    assert item.body is not None
    patterns = tuple(s.PVar(param.span, param.name) for param in item.params)
    return (s.Clause(item.span, patterns, None, item.body),)
