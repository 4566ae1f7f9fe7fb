"""One function that is being generated: its registers, the names in it, and what it captures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mix_rt.qcode import Assembly, Chain, FunctionBuilder, Label

from mix_lang import syntax as s
from mix_lang.codegen.members import Members
from mix_lang.program import Member, Program, Unit
from mix_lang.source import Span
from mixkit.value import UNDEF

__all__ = ["INSTANCE", "Fn", "Local", "Rules", "Whole"]

INSTANCE = "$instance"
"""The local that holds the instance of the module: an object of slots."""


@dataclass(eq=False, slots=True)
class Local:
    """A name in a register. A `boxed` one is a variable that closures share: the register has an object of one slot.

    An `owned` one is a variable whose elements are assigned to: in place, while the register alone has the array.
    """

    name: str
    register: int
    fn: Fn
    boxed: bool = False
    var: bool = False
    owned: bool = False


class Rules(Protocol):
    """How what stands in something becomes code: what is below asks what is above for it, by way of the function."""

    def into(self, fn: Fn, node: s.Expr, to: int, /) -> None: ...
    def value(self, fn: Fn, node: s.Expr, /) -> int: ...
    def tail(self, fn: Fn, node: s.Expr, /) -> None: ...
    def jump_unless(self, fn: Fn, node: s.Expr, label: Label, /) -> None: ...
    def block_body(self, fn: Fn, block: s.Block, /) -> None: ...


class Whole(Members, ABC):
    """The program that functions are generated for, and what they ask of it: the keys of others, which are generated
    when their turn comes.

    Attributes:
        assembly: where functions are put together.
        rules: how expressions become code.
    """

    def __init__(self, program: Program, cells: Unit, prelude: Unit, rules: Rules) -> None:
        super().__init__(program, cells, prelude)
        self.assembly = Assembly()
        self.rules = rules

    @abstractmethod
    def new_key(self, name: str) -> str:
        """A name for a function that no other has, in this program or another one."""

    @abstractmethod
    def function_key(self, unit: Unit, member: Member) -> str | None:
        """The function of a static def; None if it is a value."""

    @abstractmethod
    def value(self, unit: Unit, member: Member) -> str:
        """The global of a static value."""

    @abstractmethod
    def constructor(self, name: str) -> str:
        """A function that makes a case."""

    @abstractmethod
    def destructor(self, name: str) -> str:
        """A function that takes the argument out of a case."""

    @abstractmethod
    def foreign(self, unit: Unit, item: s.Foreign) -> str:
        """A function that calls a foreign one."""

    @abstractmethod
    def foreign_into(self, fn: Fn, item: s.Foreign, first: int, to: int) -> None:
        """Call a foreign one with the registers from `first` on."""

    @abstractmethod
    def act(self, name: str, key: str, module: str) -> None:
        """The function of an action, and the module that it needs an instance of, or ""."""

    @abstractmethod
    def maker(self, unit: Unit, output: str) -> str:
        """The function that makes an instance of a module."""

    @abstractmethod
    def inner(
        self, unit: Unit, label: str, item: s.Item | s.Param, make: Callable[[str], None]
    ) -> FunctionBuilder:
        """A function of the instances of a module, which captures nothing, or the instance."""


class Fn:
    """Generates into a builder. Registers are a stack: what is below `mark` is kept, what is above is free."""

    def __init__(self, gen: Whole, builder: FunctionBuilder, unit: Unit, outer: Fn | None = None) -> None:
        self.gen, self.b, self.unit, self.outer = gen, builder, unit, outer
        self.scopes: list[dict[str, Local]] = [{}]
        self.captured: dict[Local, int] = {}
        # The function that is being written out where it is called, if one is.
        self.inlined: Chain = None
        # Where `return` in a do block leads: the register of its value, and its end.
        self.do: list[tuple[int, Label]] = []

    # What stands within

    def into(self, node: s.Expr, to: int) -> None:
        """Put the value into a register."""
        self.gen.rules.into(self, node, to)

    def value(self, node: s.Expr) -> int:
        """The register that has the value."""
        return self.gen.rules.value(self, node)

    def tail(self, node: s.Expr) -> None:
        """Return the value from the function."""
        self.gen.rules.tail(self, node)

    def jump_unless(self, node: s.Expr, label: Label) -> None:
        """Jump unless the value is exactly true."""
        self.gen.rules.jump_unless(self, node, label)

    def block_body(self, block: s.Block) -> None:
        """A block as the body of the function."""
        self.gen.rules.block_body(self, block)

    # Names

    def declare(
        self, name: str, register: int, boxed: bool = False, var: bool = False, owned: bool = False
    ) -> Local:
        """A name for a register, in the innermost scope."""
        local = Local(name, register, self, boxed, var, owned)
        self.scopes[-1][name] = local
        return local

    def find(self, name: str) -> Local | None:
        """The local of that name here or around."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return self.outer.find(name) if self.outer is not None else None

    def raw(self, local: Local, to: int | None = None) -> int:
        """The register of a local, or of its box; copied to `to` if that is given."""
        if local.fn is self:
            if local.owned:
                self.b.emit("share", local.register)
            if to is None or to == local.register:
                return local.register
            self.b.emit("move", to, local.register)
            return to
        index = self.captured.setdefault(local, len(self.captured))
        register = self.temp() if to is None else to
        self.b.emit("capture", register, index)
        return register

    def read(self, local: Local, to: int | None = None) -> int:
        """The register of a local's value; `to` if that is given."""
        if not local.boxed:
            return self.raw(local, to)
        box = self.raw(local, None if local.fn is self else to)
        register = self.temp() if to is None else to
        self.b.emit("slot", register, box, 0)
        return register

    def write(self, local: Local, value: int) -> None:
        """Assign to a variable."""
        if local.boxed:
            mark = self.mark()
            self.b.emit("set_slot", self.raw(local), 0, value)
            self.release(mark)
        elif value != local.register:
            self.b.emit("move", local.register, value)

    # Registers

    def temp(self) -> int:
        return self.b.register()

    def mark(self) -> int:
        """What `release` takes to give back all registers taken since."""
        first = self.b.register()
        self.b.release(first)
        return first

    def release(self, mark: int) -> None:
        self.b.release(mark)

    # Instructions

    def at(self, span: Span) -> None:
        """What is emitted from now on comes from there."""
        self.b.source(*self.unit.source.origin(span.start), self.inlined)

    def raise_text(self, text: str) -> None:
        mark = self.mark()
        register = self.temp()
        self.b.emit("load", register, text)
        self.b.emit("raise", register)
        self.release(mark)

    def raise_found(self, expected: str, value: int) -> None:
        """Raise `expected …, found` and the kind of a value."""
        mark = self.mark()
        text = self.temp()
        kind = self.b.register()
        self.b.emit("move", kind, value)
        self.b.emit("builtin", kind, kind, "kind")
        self.b.emit("load", text, f"expected {expected}, found ")
        self.b.emit("add", text, text, kind)
        self.b.emit("raise", text)
        self.release(mark)

    def constant(self, to: int, value: Any) -> None:
        """Put a constant into a register."""
        if value is UNDEF:
            self.b.emit("literal", to, "undef")
        elif value is None or type(value) is bool:
            self.b.emit("literal", to, "null" if value is None else str(value).lower())
        elif type(value) is int and -(2**31) <= value < 2**31:
            self.b.emit("int", to, value)
        else:
            self.b.emit("load", to, value)
