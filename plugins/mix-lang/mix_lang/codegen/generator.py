"""A checked program to QCode: which members are static, where each is kept, and the functions that are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from typing import Any, Final

from mix_rt.qcode import Code, FunctionBuilder

from mix_lang import syntax as s
from mix_lang.check.cells import definition_order
from mix_lang.codegen import closures, expressions, instances
from mix_lang.codegen.function import Fn, Whole
from mix_lang.codegen.members import clauses_of, is_function
from mix_lang.codegen.shapes import Shapes
from mix_lang.diagnostic import Report
from mix_lang.parser import parse
from mix_lang.program import Member, Program, Unit, arity_of, fallback_of, members_of
from mix_lang.record import changed
from mix_lang.source import Source

__all__ = ["Generator", "Part", "generate"]


@cache
def _runtime(name: str) -> Unit:
    """A module of what the generated code itself needs; programs cannot name it."""
    file = f"{name}.mix"
    text = resources.files("mix_lang.codegen").joinpath(file).read_text(encoding="utf-8")
    source = Source(file, text)
    report = Report(source)
    (module,) = parse(source, name, report)
    assert not report.failed, report.found
    module = changed(module, name=f"mix.{name}")
    return Unit(module, source, *members_of(module), library=True)


def generate(program: Program, module: str, given: Mapping[tuple[str, Unit], Part] | None = None) -> Code:
    """The code of an agent: the function `module` takes the parameters and answers the output.

    Actions in it are maps with `_rmx_type` `msg_view_invoke`. `$invoke(name, env)` runs one, in the program that is
    there, or in one that is made again from what `env` keeps; it answers the output then.

    Args:
        given: what there is of modules already, from libraries.
    """
    generator = Generator(program, given)
    generator.agent(program.units[module])
    return generator.assembly.code(generator.whereabouts())


_DISPATCH: Final = "actions"
_AGENT: Final = "agent"


@dataclass(frozen=True, slots=True)
class Part:
    """What was generated for something: functions, and what they ask for beside themselves."""

    builders: tuple[FunctionBuilder, ...]
    asked: tuple[tuple[str, ...], ...]


class Generator(Whole):
    """A static function is one of the code, a static value a global that is set at init. What needs an instance is in a
    slot of the object `$instance`, which the functions of the module capture like any local.
    """

    def __init__(self, program: Program, given: Mapping[tuple[str, Unit], Part] | None = None) -> None:
        super().__init__(program, _runtime("cells"), _runtime("prelude"), expressions)
        self.parts: dict[tuple[str, Unit], Part] = {}
        """What the program consists of, by what it is and the module that it is of."""
        self._given = given or {}
        self._inner: set[str] = set()
        self._shapes: dict[Unit, Shapes] = {}
        self._keys: set[str] = set()
        self._names: dict[str, int] = {}
        self._functions: dict[tuple[str, str], str] = {}
        self._values: dict[tuple[str, str], str] = {}
        self._asked: list[tuple[str, ...]] = []
        self._part_name = ""
        self._makers: set[str] = set()
        self._inners: dict[tuple[str, str], FunctionBuilder] = {}
        self._todo: list[tuple[Unit, Member, str]] = []
        self.actions: dict[str, tuple[str, str]] = {}
        """Names of actions to their functions, and to the modules that they need an instance of, or ""."""

    # Functions and values

    def new_key(self, name: str) -> str:
        """A name for a function that no other has, in this program or another one."""
        first = f"{self._part_name}: {name}"
        count = self._names.get(first, 0) + 1
        while (key := first if count == 1 else f"{first}/{count}") in self._keys:
            count += 1
        self._names[first] = count
        self._keys.add(key)
        return key

    def function_key(self, unit: Unit, member: Member) -> str | None:
        """The function of a static def; None if it is a value. It is generated when its turn comes."""
        if not is_function(member.item):
            return None
        where = (unit.name, member.name)
        self._asked.append(("function", *where))
        if where not in self._functions:
            key = ".".join(where)
            self._functions[where] = key
            self._todo.append((unit, member, key))
        return self._functions[where]

    def value(self, unit: Unit, member: Member) -> str:
        """The global of a static value."""
        where = self._where(unit, member)
        self._asked.append(("value", unit.name, member.name))
        if where not in self._values:
            self._values[where] = ".".join(where)
            self._todo.append((unit, member, ".".join(where)))
        return self._values[where]

    def _where(self, unit: Unit, member: Member) -> tuple[str, str]:
        """Under what a value is kept: that of a static module is one for all that import it."""
        if isinstance(member.item, s.Import) and self.imported(unit, member.item.module).module.static:
            return member.item.module, "$instance"
        return unit.name, member.name

    def constructor(self, name: str) -> str:
        """A function that makes a case."""
        key = f"case {name}"
        self._asked.append(("constructor", name))
        if key not in self._keys:
            self._keys.add(key)
            b = self.assembly.function(key, 1, name=name)
            b.emit("case", 0, name, 0)
            b.emit("return", 0)
        return key

    def destructor(self, name: str) -> str:
        """A function that takes the argument out of a case."""
        key = f"case {name}^"
        self._asked.append(("destructor", name))
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
        self._asked.append(("foreign", unit.name, item.name))
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
            fn.b.emit("ffi", to, first, self._ffi(item.ffi, str(arity_of(item.type))))
            return
        name = item.ffi[1:]
        name, _, number = name.partition(" ")
        if name == "length":
            fn.b.emit("length", to, first)
        elif name == "slots":
            fn.b.emit("slots", to, int(number))
        elif name == "slot":
            fn.b.emit("slot", to, first, int(number))
        elif name == "set_slot":
            fn.b.emit("set_slot", first, int(number), first + 1)
            fn.b.emit("literal", to, "null")
        elif name in ("raise", "raise_again"):
            fn.b.emit(name, first)
        elif name == "argument":
            fn.b.emit("argument", to, first)
        elif name in ("dispatch", "agent"):
            count = arity_of(item.type)
            window = fn.b.window(count)
            for index in range(count):
                fn.b.emit("move", window + 2 + index, first + index)
            fn.b.emit("call_func", to, window, _DISPATCH if name == "dispatch" else _AGENT)
        elif name in ("hold", "unhold", "cancel"):
            window = fn.b.window(int(name == "cancel"))
            if name == "cancel":
                fn.b.emit("move", window + 2, first)
            fn.b.emit("call_func", to, window, self.function_key(self.cells, self.cells.members[name]))
        elif name in ("yield", "park", "current"):
            fn.b.emit(name, *(() if name == "yield" else (to,)))
            if name == "yield":
                fn.b.emit("literal", to, "null")
        elif name == "wake":
            fn.b.emit("wake", first, first + 1)
            fn.b.emit("literal", to, "null")
        elif name == "stop":
            # Of the cells' own: what `cancel` does last.
            fn.b.emit("cancel", first)
            fn.b.emit("literal", to, "null")
        elif name == "spawn":
            fn.b.emit("spawn", to, first)
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
        self._asked.append(("stepper",))
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

    def _ffi(self, name: str, params: str) -> str:
        """An FFI as it is called with so many arguments: the last ones of some may be left out."""
        self._asked.append(("ffi", name, params))
        return self.assembly.ffi(name, int(params), f"{name}/{params}")

    def act(self, name: str, key: str, module: str) -> None:
        """The function of an action, and the module that it needs an instance of, or ""."""
        self._asked.append(("act", name, key, module))
        # Both ways of making an instance have it; either does.
        self.actions[name] = min(self.actions.get(name, (key, module)), (key, module))

    # What was generated before

    def shapes(self, unit: Unit) -> Shapes:
        """What the members of a module are to code."""
        if unit not in self._shapes:
            self._shapes[unit] = Shapes(self, unit, self.shapes)
        return self._shapes[unit]

    def _part(
        self, unit: Unit, what: str, make: Callable[[], Any], item: s.Item | s.Param | None = None
    ) -> Part:
        """Generate something of a module, or take what was generated of it when all was as it is now.

        Args:
            item: the definition that it is made of; None if it is made of all of them.
        """
        part = self._given.get((what, unit))
        if part is None:
            make_it = partial(self._made, f"{what} {unit.name}", make)
            key = self.shapes(unit).of(item)
            part = make_it() if key is None else self.program.memory.remembered((what, key), make_it)
        self.parts[what, unit] = part
        for builder in part.builders:
            self._keys.add(builder.key)
            self._inner.add(builder.key)
            self.assembly.add(builder)
        before, self._asked = self._asked, []
        for asked in part.asked:
            self._ask(*asked)
        self._asked = before
        return part

    def _made(self, name: str, make: Callable[[], Any]) -> Part:
        before = self._asked, self._part_name, self._inner
        self._asked, self._part_name, self._inner = [], name, set()
        count = len(self.assembly.builders)
        make()
        own = tuple(each for each in self.assembly.builders[count:] if each.key not in self._inner)
        asked = tuple(dict.fromkeys(self._asked))
        inner = self._inner
        self._asked, self._part_name, self._inner = before
        self._inner |= inner
        return Part(own, asked)

    def _ask(self, what: str, *names: str) -> None:
        if what in ("function", "value", "foreign", "maker", "inner"):
            unit = {"mix.cells": self.cells, "mix.prelude": self.prelude}.get(names[0]) or self.program.units[
                names[0]
            ]
            if what == "maker":
                self.maker(unit, names[1])
                return
            if what == "inner":
                instances.inner(self, unit, names[1])
                return
            member = unit.members[names[1]]
            if what == "foreign":
                assert isinstance(member.item, s.Foreign)
                self.foreign(unit, member.item)
            elif what == "function":
                self.function_key(unit, member)
            else:
                self.value(unit, member)
        else:
            {
                "constructor": self.constructor,
                "destructor": self.destructor,
                "stepper": self._stepper,
                "ffi": self._ffi,
                "act": self.act,
            }[what](*names)  # type: ignore[operator]

    # Whole programs

    def agent(self, unit: Unit) -> None:
        """The agent's own function, everything that it needs, and what runs at init."""
        made = self.assembly.exports[unit.name] = self.maker(unit, "output")
        if any(other.action_names for other in self.program.units.values()):
            key = self.function_key(self.cells, self.cells.members["invoke"])
            assert key is not None
            self.assembly.exports["$invoke"] = key
        self._finish(made)

    def library(self, units: list[Unit]) -> None:
        """All of some modules, whether anything needs it or not."""
        for unit in units:
            self.maker(unit, "")
            for member in unit.members.values():
                mine = isinstance(member.item, s.Def) and not self.bound(unit, member.name)
                if mine and self.function_key(unit, member) is None:
                    self.value(unit, member)
        self._generate()

    def _generate(self) -> dict[tuple[str, str], str]:
        """What was asked for. Answers the functions that compute values."""
        done: dict[tuple[str, str], str] = {}
        while self._todo:
            owner, member, key = self._todo.pop()
            if isinstance(member.item, s.Def) and self.function_key(owner, member) is not None:
                self._part(
                    owner, f"code {key}", partial(self._function, owner, member.item, key), member.item
                )
            else:
                self._part(owner, f"code {key}", partial(self._initial, owner, member, key), member.item)
                done[self._where(owner, member)] = key
        return done

    def _finish(self, made: str) -> None:
        done = self._generate()
        if "$invoke" in self.assembly.exports:
            self._dispatch()
            again = self.assembly.function(_AGENT, 1, name="action")
            window = again.window(1)
            again.emit("move", window + 2, 0)
            again.emit("tail_func", window, made)
        self._init(done)
        # The same program is the same code, whatever of it was remembered.
        self.assembly.sort()

    def _dispatch(self) -> None:
        """The function that calls the one of an action: takes its name, the module and the slots of its instance, the
        locals that it saw, its arguments."""
        fn = Fn(self, self.assembly.function(_DISPATCH, 5, name="action"), self.cells)
        tried = fn.temp()
        for name, (key, module) in sorted(self.actions.items()):
            other = fn.b.label()
            for register, text in ((0, name), *([(1, module)] if module else [])):
                fn.b.emit("load", tried, text)
                fn.b.emit("same", tried, register, tried)
                fn.b.emit("jump_not_true", tried, other)
            window = fn.b.window(3)
            for index in range(3):
                fn.b.emit("move", window + 2 + index, 2 + index)
            fn.b.emit("tail_func", window, key)
            fn.release(window)
            fn.b.place(other)
        fn.b.emit("load", tried, "there is no action ")
        fn.b.emit("add", tried, tried, 0)
        fn.b.emit("raise", tried)

    def _function(self, unit: Unit, item: s.Def, key: str) -> None:
        clauses = clauses_of(item)
        fn = Fn(self, self.assembly.function(key, len(clauses[0].patterns), name=key), unit)
        closures.body_of(fn, clauses)
        assert not fn.captured, "a static function captures nothing"

    def _initial(self, unit: Unit, member: Member, key: str) -> None:
        """The function that computes a static value."""
        fn = Fn(self, self.assembly.function(key, 0, name=key), unit)
        register = fn.temp()
        item = member.item
        if isinstance(item, s.Import):
            instances.import_into(fn, item, register)
        else:
            body = (
                fallback_of(item)
                if isinstance(item, s.Foreign)
                else item.body
                if isinstance(item, s.Def)
                else None
            )
            assert body is not None and not isinstance(body, s.Block)
            fn.into(body, register)
        fn.b.emit("return", register)

    def _init(self, done: dict[tuple[str, str], str]) -> None:
        """Values are computed module by module, imported ones first, and in a module in the order of their need."""
        builder = self.assembly.function("init", 0, name="init")
        fn = Fn(self, builder, self.prelude)
        owners = {owner for owner, _ in done}
        for unit in self._units_in_order():
            if unit.name not in owners:
                continue
            imports = [member.name for member in unit.members.values() if isinstance(member.item, s.Import)]
            order = self.program.memory.remembered(("order", unit), partial(definition_order, unit))
            for name in [*imports, *order, "$instance"]:
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
        order: list[Unit] = [self.cells, self.prelude]
        state: set[str] = set()
        for start in self.program.units.values():
            way = [(start, list(start.imports))]
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
                    way.append((other, list(other.imports)))
        return order

    def inner(
        self, unit: Unit, label: str, item: s.Item | s.Param, make: Callable[[str], None]
    ) -> FunctionBuilder:
        """A function of the instances of a module, which captures nothing, or the instance.

        Args:
            label: what no other one in the module is called.
            make: generates the function of that key.
        """
        where = (unit.name, label)
        self._asked.append(("inner", *where))
        if where not in self._inners:
            key = f"{unit.name}.new: {label}"
            part = self._part(unit, f"inner {label}", partial(make, key), item)
            self._inners[where] = {builder.key: builder for builder in part.builders}[key]
        return self._inners[where]

    def whereabouts(self) -> dict[int, tuple[str, int]]:
        """Passages, by what their spans count from, to files and the lines before them."""
        return {
            passage: (unit.source.file, lines)
            for unit in self.program.units.values()
            for passage, lines in unit.source.passages.items()
        }

    def maker(self, unit: Unit, output: str) -> str:
        """The function that makes an instance of a module."""
        key = f"{unit.name}.new {output}".rstrip()
        self._asked.append(("maker", unit.name, output))
        if key not in self._makers:
            self._makers.add(key)
            self._part(unit, f"maker {output}", partial(instances.maker, self, unit, output, key))
        return key
