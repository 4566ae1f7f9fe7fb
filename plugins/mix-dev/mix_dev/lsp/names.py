"""What each name in a module means: its definition, and all other places that mean the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mix_lang import syntax as s
from mix_lang.check.globals import ARITIES
from mix_lang.check.names import NameChecker
from mix_lang.check.scope import Local, LocalKind, Scope
from mix_lang.diagnostic import Report
from mix_lang.program import Program, Unit
from mix_lang.source import Span

__all__ = ["MARK", "Index", "Meaning", "Seen", "Use", "index_of"]

MARK: Final = "cursorOfTheEditor"
"""The name that is written where a name is asked for."""


class Meaning(NamedTuple):
    """What a name means.

    Attributes:
        kind: local, member, type, module or global.
        module: that it is of; "" of a global.
        name: its name.
        start: where a local is defined; else 0.
    """

    kind: str
    module: str
    name: str
    start: int = 0


class Use(NamedTuple):
    """A place where a name stands. `short` if it is key and value in one: `{name}`."""

    span: Span
    meaning: Meaning
    defines: bool = False
    short: bool = False


@dataclass(slots=True)
class Seen:
    """What there is at the mark.

    Attributes:
        locals: names around it, with what they are.
        module: the module that is in front of the dot; None if there is none.
        object: what is in front of the dot; None without a dot.
    """

    locals: dict[str, Local] = field(default_factory=dict)
    module: Unit | None = None
    object: s.Expr | None = None


@dataclass(slots=True)
class Index:
    """All names of a module.

    Attributes:
        uses: where names stand.
        seen: what there is at the mark, if that is in the text.
        values: where locals are defined to the value and the type that they are given there.
    """

    unit: Unit
    uses: list[Use] = field(default_factory=list)
    seen: Seen | None = None
    values: dict[int, tuple[s.Expr | None, s.Type | None]] = field(default_factory=dict)

    def at(self, offset: int) -> Use | None:
        """The name at a character, or right before it."""
        found = [use for use in self.uses if use.span.start <= offset <= use.span.end]
        return min(
            found, key=lambda use: (offset == use.span.end, use.span.end - use.span.start), default=None
        )

    def of(self, meaning: Meaning) -> Iterator[Use]:
        """The places that mean it, each once."""
        found: dict[Span, Use] = {}
        for use in self.uses:
            if use.meaning == meaning:
                known = found.get(use.span)
                found[use.span] = use if known is None or use.defines or use.short else known
        return iter(sorted(found.values()))


def index_of(program: Program, unit: Unit) -> Index:
    """The names of a module of a program."""
    reader = _Reader(program, unit)
    # What is nested too deep has an error that says so.
    with contextlib.suppress(RecursionError):
        reader.read()
    return reader.index


class _Reader(NameChecker):
    """Looks names up as the check of names does, and notes what it finds."""

    def __init__(self, program: Program, unit: Unit) -> None:
        super().__init__(program, unit, Report(unit.source))
        self.index = Index(unit)
        self._text = unit.source.text
        self._short: set[int] = set()
        self._begun = 0

    def read(self) -> None:
        unit = self._unit
        for param in unit.module.params:
            self._defined("member", param.span, param.name)
        for item in unit.module.items:
            match item:
                case s.TypeDef(name=name, name_span=span):
                    self._defined("type", span, name)
                case s.Import():
                    self._note(item.module_span, Meaning("module", item.module, item.module))
                    start = self._text.find(item.alias, item.span.start)
                    if item.alias != item.module and item.span.start <= start < item.span.end:
                        self._defined("member", Span(start, start), item.alias)
                case s.Def() | s.Foreign() | s.CellDef() | s.Alias() | s.CaseDef():
                    self._defined("member", item.name_span, item.name)
                case _:
                    pass
        self.module()
        for item in unit.module.items:
            self.item(item)

    # Notes

    def _note(self, span: Span, meaning: Meaning, defines: bool = False) -> None:
        self.index.uses.append(Use(span, meaning, defines, span.start in self._short))

    def _defined(self, kind: str, span: Span, name: str) -> None:
        self._note(Span(span.start, span.start + len(name)), Meaning(kind, self._unit.name, name), True)

    def _used(self, name: str, start: int, scope: Scope | None) -> None:
        """A name that is looked up, at its first character."""
        span = Span(start, start + len(name))
        local = scope.find(name) if scope is not None else None
        if local is not None:
            if name != "appstate":
                self._note(span, Meaning("local", self._unit.name, name, local.span.start))
        elif name in self._unit.members:
            self._note(span, Meaning("member", self._unit.name, name))
        elif name in ARITIES:
            self._note(span, Meaning("global", "", name))

    def _mark(self, scope: Scope, module: Unit | None = None, node: s.Expr | None = None) -> None:
        found: dict[str, Local] = {}
        here: Scope | None = scope
        while here is not None:
            found = here.names | found
            here = here.up
        self.index.seen = Seen(found, module, node)

    # What the check does

    def _add(self, scope: Scope, name: str, kind: LocalKind, span: Span) -> None:
        before = scope.names.get(name)
        super()._add(scope, name, kind, span)
        if name != "_":
            if kind == "pattern" and before is not None and before.span.start >= self._begun:
                # Bound in each alternative of `||`, and not by a statement above.
                scope.names[name].span = before.span
            meaning = Meaning("local", self._unit.name, name, scope.names[name].span.start)
            self._note(Span(span.start, span.start + len(name)), meaning, True)

    def _params(self, params: tuple[s.Param, ...] | None, scope: Scope) -> None:
        super()._params(params, scope)
        for param in params or ():
            meaning = Meaning("local", self._unit.name, param.name, param.span.start)
            self._note(Span(param.span.start, param.span.start + len(param.name)), meaning, True)
            self.index.values[param.span.start] = None, param.type

    def _let(self, node: s.LetStmt, scope: Scope) -> None:
        if isinstance(node.pattern, s.PVar):
            self.index.values[node.pattern.span.start] = node.value, node.type
        around, self._begun = self._begun, node.pattern.span.start
        super()._let(node, scope)
        self._begun = around

    def _statement(self, node: s.Stmt, scope: Scope) -> None:
        if isinstance(node, s.VarStmt):
            self.index.values[node.name_span.start] = node.value, node.type
        super()._statement(node, scope)

    def _name(self, name: str, span: Span, scope: Scope) -> None:
        if name == MARK:
            self._mark(scope)
        self._used(name, span.start, scope)
        super()._name(name, span, scope)

    def _qualified(self, node: s.Qualified, scope: Scope) -> None:
        start = node.span.end - len(node.name)
        if node.scope == "self":
            if node.name == MARK:
                self._mark(scope, self._unit, node)
            if node.name in self._unit.members:
                self._note(Span(start, node.span.end), Meaning("member", self._unit.name, node.name))
        elif node.name in ARITIES:
            self._note(Span(start, node.span.end), Meaning("global", "", node.name))
        super()._qualified(node, scope)

    def _cell(self, name: str, span: Span, scope: Scope) -> None:
        self._used(name, span.start, None)
        super()._cell(name, span, scope)

    def _watched(self, cell: s.Name | s.Qualified) -> None:
        self._used(cell.name, cell.span.end - len(cell.name), None)
        super()._watched(cell)

    def _call(self, node: s.Call, scope: Scope) -> None:
        function = node.function
        if (
            isinstance(function, s.Name)
            and function.name in ("contents", "link")
            and len(node.args) == 1
            and isinstance(cell := node.args[0], s.Name | s.Qualified)
            and scope.find(function.name) is None
            and (isinstance(cell, s.Qualified) or scope.find(cell.name) is None)
            and cell.name in self._unit.members
        ):
            # The check has nothing to say of them.
            self._used(function.name, function.span.start, scope)
            self._used(cell.name, cell.span.end - len(cell.name), None)
        super()._call(node, scope)

    def _field(self, node: s.Field, scope: Scope) -> None:
        if node.name == MARK:
            self._mark(scope, self._module_of(node.object, scope), node.object)
        self._member_of(node, scope)
        super()._field(node, scope)

    def _member_of(self, node: s.Field, scope: Scope) -> None:
        unit = self._module_of(node.object, scope)
        if unit is not None and node.name in unit.members:
            self._note(node.name_span, Meaning("member", unit.name, node.name))

    def _children(self, node: s.Expr, scope: Scope) -> None:
        if isinstance(node, s.Inverse) and isinstance(node.case, s.Field):
            self._expr(node.case.object, scope)
            self._member_of(node.case, scope)
        super()._children(node, scope)

    def _assign(self, node: s.Assign, scope: Scope) -> None:
        target = node.target
        if isinstance(target, s.Field):
            self._expr(target.object, scope)
            self._member_of(target, scope)
        else:
            own = scope if isinstance(target, s.Name) else None
            self._used(target.name, target.span.end - len(target.name), own)
        super()._assign(node, scope)

    def _map(self, node: s.MapLit, scope: Scope) -> None:
        self._short.update(
            entry.value.span.start
            for entry in node.keys
            if isinstance(entry.value, s.Name) and entry.value.span == entry.key.span
        )
        super()._map(node, scope)

    def _binds(self, pattern: s.Pattern, scope: Scope, outer: Scope, seen: dict[str, Span]) -> None:
        if isinstance(pattern, s.PMap):
            for _, part, _ in pattern.fields:
                if isinstance(part, s.PVar) and not self._text[: part.span.start].rstrip().endswith(":"):
                    self._short.add(part.span.start)
        if isinstance(pattern, s.PCompare) and pattern.name in seen:
            meaning = Meaning("local", self._unit.name, pattern.name, seen[pattern.name].start)
            self._note(Span(pattern.span.start, pattern.span.start + len(pattern.name)), meaning)
        super()._binds(pattern, scope, outer, seen)

    def _case_pattern(self, pattern: s.PCase) -> None:
        at = pattern.span.start + (len(pattern.qualifier) + 1 if pattern.qualifier else 0)
        if pattern.qualifier in ("", "self"):
            self._used(pattern.name, at, None)
        elif pattern.qualifier != "global":
            self._used(pattern.qualifier, pattern.span.start, None)
            self._of_module(pattern.qualifier, pattern.name, at, "member")
        super()._case_pattern(pattern)

    def _of_module(self, qualifier: str, name: str, start: int, kind: str) -> None:
        member = self._unit.members.get(qualifier)
        if member is not None and isinstance(member.item, s.Import):
            self._note(Span(start, start + len(name)), Meaning(kind, member.item.module, name))

    def _type_name(
        self, qualifier: str, name: str, args: int, span: Span, variables: tuple[str, ...]
    ) -> None:
        at = span.start + (len(qualifier) + 1 if qualifier else 0)
        if qualifier not in ("", "self"):
            self._used(qualifier, span.start, None)
            imported = self._unit.members.get(qualifier)
            other = (
                self._program.units.get(imported.item.module)
                if imported is not None and isinstance(imported.item, s.Import)
                else None
            )
            if other is not None:
                self._of_module(qualifier, name, at, "type" if name in other.types else "member")
        elif name in self._unit.types and name not in variables:
            self._note(Span(at, at + len(name)), Meaning("type", self._unit.name, name))
        elif name in self._unit.members:
            self._used(name, at, None)
        super()._type_name(qualifier, name, args, span, variables)
