"""Modules with their members by name: what the checks look names up in, and the evaluator runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from mix_lang import syntax as s
from mix_lang.memory import Memory
from mix_lang.passages import Passage
from mix_lang.source import Source
from mix_lang.walk import every

__all__ = [
    "Kind",
    "Member",
    "Program",
    "Read",
    "Unit",
    "actions_in",
    "arity_of",
    "fallback_of",
    "function_type",
    "members_of",
    "result_of",
]

T = TypeVar("T")

Kind: TypeAlias = Literal["param", "def", "cell", "alias", "case", "type", "import", "broken"]


@dataclass(slots=True)
class Member:
    """What a module's name means. `item` is the definition that counts: the last one that has a body.

    `declared` is the declaration, if there is one; `replaced` are definitions that do not count;
    `small` whether it is written out where it is called, once somebody asked.
    """

    name: str
    kind: Kind
    item: s.Item | s.Param
    private: bool = False
    declared: s.Def | s.CellDef | None = None
    replaced: list[s.Def] = field(default_factory=list)
    small: bool | None = None

    @property
    def var(self) -> bool:
        """Whether it is a cell that actions may write."""
        return (isinstance(self.item, s.CellDef) and self.item.var) or bool(
            self.declared and getattr(self.declared, "var", 0)
        )


@dataclass(slots=True, eq=False, repr=False)
class Unit:
    """A module with its source and its members. Types have names of their own: `type color` beside `case color`.

    The same text gives the same unit, as long as it is remembered; it never changes. One that was not read in passages,
    as those of the library, has none, and is what it is as a whole.
    """

    module: s.Module
    source: Source
    members: dict[str, Member]
    types: dict[str, s.TypeDef]
    passages: tuple[Passage, ...] = ()
    library: bool = False
    uses: dict[str, list[str]] | None = None
    facts: Hashable = None
    _passages: dict[int, Passage] | None = None
    _own: dict[Hashable, Any] = field(default_factory=dict)
    _actions: dict[int, str] | None = None
    _links: tuple[s.Import | s.Declare, ...] | None = None
    _imports: list[str] | None = None
    _stateful: bool | None = None

    @property
    def name(self) -> str:
        return self.module.name

    def __repr__(self) -> str:
        return f"<module {self.name} of {self.source.file}>"

    def passage_of(self, item: s.Item | s.Param) -> Passage:
        """The passage in which an item of the module stands."""
        if self._passages is None:
            self._passages = {id(param): self.passages[0] for param in self.module.params}
            for passage in self.passages:
                for each in passage.items:
                    self._passages[id(each)] = passage
        return self._passages[id(item)]

    def fact(self, item: s.Item | s.Param, what: str, find: Callable[[s.Item | s.Param], T]) -> T:
        """What is found out about an item alone, once."""
        facts = self.passage_of(item).facts if self.passages else self._own
        key = (what, id(item))
        if key not in facts:
            facts[key] = find(item)
        found: T = facts[key]
        return found

    def with_module(self, module: s.Module) -> Unit:
        """The same with other items, which a tool has made: one passage, that stands in no text."""
        mentioned = {
            name for item in module.items for node in every(item) if (name := getattr(node, "name", None))
        }
        first = self.passages[0]
        passage = Passage(first.start, "", module.items, tuple(sorted(mentioned)), first.head)
        return Unit(module, self.source, *members_of(module), passages=(passage,))

    @property
    def links(self) -> tuple[s.Import | s.Declare, ...]:
        """Its items that name other modules."""
        if self._links is None:
            self._links = tuple(item for item in self.module.items if isinstance(item, s.Import | s.Declare))
        return self._links

    @property
    def imports(self) -> list[str]:
        """The modules that it imports."""
        if self._imports is None:
            self._imports = [item.module for item in self.links if isinstance(item, s.Import)]
        return self._imports

    @property
    def stateful(self) -> bool:
        """Whether its instances differ by more than their parameters: by cells, and what writes them."""
        if self._stateful is None:
            self._stateful = any(
                isinstance(item, s.CellDef | s.Alias | s.Observer | s.Initializer)
                for item in self.module.items
            )
        return self._stateful

    @property
    def action_names(self) -> dict[int, str]:
        """Names of the actions in it, by the places where they start: `M.action`, `M.action/2` …, in the order of the
        text."""
        if self._actions is None:
            starts = sorted(
                {start for item in self.module.items for start in actions_in(self, item)},
                key=self.source.offset,
            )
            self._actions = {
                start: f"{self.name}.action" + (f"/{number}" if number > 1 else "")
                for number, start in enumerate(starts, 1)
            }
        return self._actions


def actions_in(unit: Unit, item: s.Item | s.Param) -> tuple[int, ...]:
    """Where actions start in an item."""
    return unit.fact(item, "actions", _actions)


def _actions(item: s.Item | s.Param) -> tuple[int, ...]:
    return tuple(node.span.start for node in every(item) if isinstance(node, s.Action))


@dataclass(frozen=True, slots=True)
class Read:
    """A type with where it is read: the module whose names are in it, and what its variables stand for."""

    type: s.Type
    module: str
    given: Mapping[str, Read] = field(default_factory=dict)

    def part(self, of: s.Type) -> Read:
        """A type in it."""
        return Read(of, self.module, self.given)


@dataclass(slots=True)
class Program:
    """All modules by name.

    Attributes:
        units: those that are there: the program's own, and what they import.
        known: names of the library's modules, which are there when somebody imports them.
        memory: what is remembered of programs before.
    """

    units: dict[str, Unit] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    memory: Memory = field(default_factory=Memory)

    def within(self, unit: Unit) -> tuple[Unit | str, ...]:
        """The module and all that it imports, through others too; those that are not there by name. What the compiler
        makes of a module depends on these and on nothing else."""
        found: dict[Unit | str, None] = {unit: None}
        todo = [unit]
        while todo:
            for name in todo.pop().imports:
                other = self.units.get(name)
                if other is None:
                    found[name] = None
                elif other not in found:
                    found[other] = None
                    todo.append(other)
        return tuple(found)

    def type_of(self, module: str, qualifier: str, name: str) -> s.Type | None:
        """What an abbreviation stands for; None if it is none of that module."""
        unit = self._owner(module, qualifier)
        named = unit.types.get(name) if unit is not None else None
        return named.type if named else None

    def meant(self, of: Read) -> Read | None:
        """What an abbreviation or a variable stands for; None if it is neither, or is not known."""
        match of.type:
            case s.TVar(name=name):
                return of.given.get(name)
            case s.TName(qualifier=qualifier, name=name):
                args: tuple[s.Type, ...] = ()
            case s.TApply(qualifier=qualifier, name=name, args=args):
                pass
            case _:
                return None
        unit = self._owner(of.module, qualifier)
        named = unit.types.get(name) if unit is not None else None
        if unit is None or named is None:
            return None
        given = {name: of.part(arg) for name, arg in zip(named.params, args, strict=False)}
        return Read(named.type, unit.name, given)

    def _owner(self, module: str, qualifier: str) -> Unit | None:
        """The module that a name with this in front is of."""
        unit = self.units[module]
        if qualifier in ("", "self"):
            return unit
        member = unit.members.get(qualifier)
        if member is None or not isinstance(member.item, s.Import):
            return None
        return self.units.get(member.item.module)


def members_of(module: s.Module) -> tuple[dict[str, Member], dict[str, s.TypeDef]]:
    """The members of a module by name, and its types. Of several definitions with a body the last counts."""
    members: dict[str, Member] = {}
    types: dict[str, s.TypeDef] = {}
    for param in module.params:
        members[param.name] = Member(param.name, "param", param, True)
    for item in module.items:
        if isinstance(item, s.TypeDef):
            types[item.name] = item
            continue
        named = _named(item)
        if named is None:
            continue
        name, kind, private = named
        member = members.get(name)
        declares = isinstance(item, s.Def | s.CellDef) and item.body is None
        if member is None or member.kind != kind:
            # Another kind under the same name is an error that `names` reports; the first one counts till then.
            if member is None:
                declared = item if isinstance(item, s.Def | s.CellDef) and declares else None
                members[name] = Member(name, kind, item, private, declared)
            continue
        if declares:
            assert isinstance(item, s.Def | s.CellDef)
            member.declared = member.declared or item
            continue
        if isinstance(member.item, s.Def) and member.item.body is not None:
            member.replaced.append(member.item)
        member.item, member.private = item, private or member.private
    return members, types


def _named(item: s.Item) -> tuple[str, Kind, bool] | None:
    match item:
        case s.Def(name=name, private=private):
            return None if name == "_" else (name, "def", private)
        case s.Foreign(name=name, private=private):
            return name, "def", private
        case s.CellDef(name=name, private=private):
            return name, "cell", private
        case s.Alias(name=name):
            return name, "alias", True
        case s.CaseDef(name=name, private=private):
            return name, "case", private
        case s.Import(alias=alias):
            return alias, "import", True
        case s.Broken(name=name):
            return name, "broken", False
    return None


HOSTS = ("agentServerEnvironment", "serverEnvironment")
"""What programs run in here; fallbacks of foreign definitions for others do not count."""


def fallback_of(item: s.Foreign) -> s.Expr | None:
    """What a foreign definition is here instead of the FFI, if it says so."""
    return next((body for host, body in item.fallbacks if host.name in HOSTS), None)


def arity_of(of: s.Type | None) -> int:
    """How many arguments a function of that type takes; 0 if it is none. One argument null is none: `() -> T`."""
    count = 0
    while isinstance(of, s.TArrow):
        count += not is_nothing(of.param)
        of = of.result
    return count


def is_nothing(of: s.Type) -> bool:
    """Whether this type of a parameter says that there is none."""
    return isinstance(of, s.TName) and of.qualifier == "" and of.name == "null"


def result_of(of: s.Type | None, count: int) -> s.Type | None:
    """What a function of that type answers to so many arguments; None if it is none."""
    if count == 0 and isinstance(of, s.TArrow) and is_nothing(of.param):
        return of.result
    for _ in range(count):
        of = of.result if isinstance(of, s.TArrow) else None
    return of


def function_type(item: s.Def) -> s.Type:
    """The type of a def that is a function, from the hints of its head."""
    params = item.params or ()
    of: s.Type = item.type or s.TName(item.span, "", "any")
    for param in reversed(params):
        of = s.TArrow(item.span, param.type or s.TName(item.span, "", "any"), of)
    return s.TArrow(item.span, s.TName(item.span, "", "null"), of) if item.params == () else of


def cells(unit: Unit) -> Iterable[Member]:
    """The members that are cells or aliases, in the order of the text."""
    return (member for member in unit.members.values() if member.kind in ("cell", "alias"))
