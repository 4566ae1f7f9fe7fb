"""What each name means: locals, members, imports, and what every module has."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.builtins import MOST_SLOTS, NAMES, NUMBERED, params_of
from mix_lang.check.bodies import BodyChecker
from mix_lang.check.globals import ARITIES, HOSTS, SCREEN_MODULES
from mix_lang.check.hints import counted, near, with_article
from mix_lang.check.scope import Local, Place, Scope
from mix_lang.diagnostic import Report
from mix_lang.elsewhere import WORDS
from mix_lang.program import Member, Program, Unit, arity_of
from mix_lang.source import Span

__all__ = ["NameChecker"]

_CELL: Final = Place("a cell", True, True, False)
_WRITES: Final = Place("an action", True, True, True)


class NameChecker(BodyChecker):
    """Reports every name of a module that means nothing, or not what it may mean there."""

    def __init__(self, program: Program, unit: Unit, report: Report) -> None:
        super().__init__(program, unit, report)
        self._def = Place("the body of a def", False, unit.module.static, False)

    def module(self) -> None:
        """What is wrong with members and parameters as such."""
        module = self._unit.module
        self._members()
        for param in module.params:
            self._type(param.type)
        if module.static and module.params:
            self._report.add(
                "M0310", module.params[0].span, "a static module has one instance, and no parameters",
                hint="leave the parameters out, or the word static",
            )  # fmt: skip
        last = None
        for item in module.items:
            if isinstance(item, s.Initializer):
                if last is not None:
                    self._report.add("M0302", item.span, "a module has one initializer, this is the second")
                last = item

    # Members

    def _members(self) -> None:
        """Names that are given twice, by kinds that exclude each other."""
        first: dict[str, tuple[str, s.Item]] = {}
        for item in self._unit.module.items:
            name = getattr(item, "name", None) if not isinstance(item, s.Import) else item.alias
            if name is None or isinstance(item, s.TypeDef | s.Test | s.Broken | s.Declare) or name == "_":
                continue
            kind = _kind(item)
            span = getattr(item, "name_span", item.span)
            member = self._unit.members[name]
            if member.kind == "param":
                self._report.add("M0302", span, f"'{name}' is a parameter of the module already", name=name)
                continue
            if name not in first:
                first[name] = (kind, item)
                continue
            was, other = first[name]
            declared = isinstance(other, s.Def | s.CellDef) and other.body is None
            declares = isinstance(item, s.Def | s.CellDef) and item.body is None
            line = self._report.source.place(other.span.start)[1]
            if was != kind and not (was == "cell" and kind == "alias" and declared):
                self._report.add(
                    "M0302",
                    span,
                    f"'{name}' is {with_article(was)} already, in line {line}, and no {kind}",
                    name=name,
                )
            elif not declared and not declares:
                if kind == "def":
                    self._report.warn(
                        "M0311", span, f"this replaces the '{name}' of line {line}, for what stands before it too",
                        hint="take another name, or remove one of the two", name=name,
                    )  # fmt: skip
                else:
                    self._report.add(
                        "M0302",
                        span,
                        f"there is {with_article(kind)} '{name}' in line {line} already",
                        name=name,
                    )
            if declared:
                first[name] = (kind, item)
        for member in self._unit.members.values():
            given = member.item
            if isinstance(given, s.Def | s.CellDef) and given.body is None:
                self._report.add(
                    "M0312", given.name_span, f"'{member.name}' is declared and never defined",
                    hint=f"write {'def' if isinstance(given, s.Def) else 'cell'} {member.name} = …", name=member.name,
                )  # fmt: skip

    # Items

    def item(self, item: s.Item) -> None:
        """What is wrong in a definition."""
        self._here = self._unit.source.offset(item.span.start)
        match item:
            case s.Import():
                self._import(item)
            case s.Declare(params=params):
                for param in params:
                    self._type(param.type)
                self._declare(item)
            case s.Def():
                self._def_item(item)
            case s.Foreign(type=of, fallbacks=fallbacks):
                self._type(of)
                if item.ffi.startswith("%"):
                    self._builtin(item)
                for host, body in fallbacks:
                    if host.name not in HOSTS:
                        self._report.add(
                            "M0313", host.span, f"no host environment '{host.name}'",
                            hint=near(host.name, HOSTS) or f"there are {', '.join(HOSTS)}", name=host.name,
                        )  # fmt: skip
                    self._expr(body, Scope(self._def))
            case s.CellDef(params=params, type=of, body=cell):
                self._type(of)
                scope = Scope(_CELL)
                self._params(params, scope)
                if cell is not None:
                    self._body(cell, scope, in_cell=True)
            case s.Alias(type=of, target=target):
                self._type(of)
                self._expr(target, Scope(_CELL))
            case s.CaseDef(arg=of):
                self._type(of)
            case s.TypeDef():
                self._type_def(item)
            case s.Initializer(block=block) | s.Test(block=block):
                self._block(block, self._writing(item.span))
            case s.Observer(cells=cells, condition=condition, block=block):
                for cell in cells:
                    self._watched(cell)
                if condition is not None:
                    self._expr(condition, Scope(_CELL))
                self._block(block, self._writing(item.span))
            case s.Meta() | s.Pragma() | s.Broken():
                pass

    def _builtin(self, item: s.Foreign) -> None:
        """It is there, and the type says how many arguments it takes."""
        takes, found = params_of(item.ffi), arity_of(item.type)
        if takes is None:
            name = item.ffi[1:].partition(" ")[0]
            hint = near(name, NAMES) or "they are listed in docs/qcode.md; an FFI has no % in front"
            if name in NUMBERED:
                hint = f"a number from 0 to {MOST_SLOTS} belongs behind it: %{name} 0"
            self._report.add(
                "M0323", item.ffi_span, f"there is no built-in '{item.ffi}'", hint=hint, name=item.ffi
            )
        elif takes != found:
            self._report.add(
                "M0323", item.type.span,
                f"'{item.ffi}' takes {counted(takes, 'argument')}, the type has {found or 'none'}", name=item.ffi,
            )  # fmt: skip

    @staticmethod
    def _writing(span: Span) -> Scope:
        return Scope(_WRITES, None, {"appstate": Local("appstate", "param", span, True)})

    def _def_item(self, item: s.Def) -> None:
        self._type(item.type)
        if item.body is None:
            return
        scope = Scope(self._def)
        if item.params and any(param.name == "appstate" for param in item.params):
            scope = Scope(Place("the body of a def", True, True, True))
        self._params(item.params, scope)
        self._defining = item.name
        self._body(item.body, scope)
        self._defining = ""
        if isinstance(item.body, s.Block):
            self._escaping(item.body)

    def _escaping(self, block: s.Block) -> None:
        """A def whose body has a var may not return a function, which could change it later."""
        variables = [statement for statement in _statements(block) if isinstance(statement, s.VarStmt)]
        if not variables:
            return
        for statement in _statements(block):
            if isinstance(statement, s.Return) and isinstance(statement.value, s.Lambda | s.Action):
                self._report.add(
                    "M0314", statement.value.span,
                    f"a def with a var, '{variables[0].name}', may not return a function",
                    hint="let the variable end in a let before the function is made", name=variables[0].name,
                )  # fmt: skip

    def _watched(self, cell: s.Name | s.Qualified) -> None:
        member = self._unit.members.get(cell.name)
        if member is None:
            self._unknown(
                cell.name, cell.span, [m.name for m in self._unit.members.values() if m.kind == "cell"]
            )
        elif member.kind not in ("cell", "alias", "broken"):
            self._report.add(
                "M0315",
                cell.span,
                f"an observer watches cells, '{cell.name}' is {with_article(member.kind)}",
                name=cell.name,
            )

    # Imports

    def _import(self, item: s.Import) -> None:
        for _, of in item.types:
            self._type(of)
        for arg in item.args or ():
            self._expr(arg, Scope(_CELL))
        if item.module in SCREEN_MODULES and item.module not in self._program.units:
            self._report.add(
                "M0702", item.module_span, f"the module '{item.module}' is about screens and builders, and is not here",
                hint="an agent answers with its cell output", name=item.module,
            )  # fmt: skip
            return
        found = self._program.units.get(item.module)
        if found is None:
            self._report.add(
                "M0316", item.module_span, f"there is no module '{item.module}'",
                hint=near(item.module, self._modules()), name=item.module,
            )  # fmt: skip
            return
        needed, given = len(found.module.params), len(item.args or ())
        if given > needed:
            self._report.add(
                "M0317", item.span,
                f"the module '{item.module}' takes {counted(needed, 'argument')}, found {given}",
                expected=needed, found=given,
            )  # fmt: skip
        for name, _ in item.types:
            if name not in found.module.types:
                self._report.add(
                    "M0318", item.module_span, f"the module '{item.module}' has no type variable '{name}'",
                    hint=near(name, found.module.types), name=name,
                )  # fmt: skip

    def _modules(self) -> frozenset[str]:
        """Names of all that can be imported."""
        return self._program.known.union(self._program.units)

    def _declare(self, item: s.Declare) -> None:
        """A module is declared with as many parameters as it has."""
        found = self._program.units.get(item.module)
        if found is None:
            self._report.add(
                "M0316", item.span, f"there is no module '{item.module}'", hint=near(item.module, self._modules()),
                name=item.module,
            )  # fmt: skip
        elif len(found.module.params) != len(item.params):
            has = counted(len(found.module.params), "parameter")
            self._report.add(
                "M0317", item.span, f"the module '{item.module}' has {has}, it is declared with {len(item.params)}",
                expected=len(found.module.params), found=len(item.params),
            )  # fmt: skip

    # Names

    def _unknown(self, name: str, span: Span, known: object = ()) -> None:
        """Say that a name means nothing, once for each place."""
        if self._report.full:
            return
        names = set(known) if isinstance(known, list | set) else set()
        names |= self._unit.members.keys() | ARITIES.keys()
        hint = near(name, names)
        unit = self._program.units.get(name)
        importable = (
            unit is not self._unit and not unit.module.params if unit else name in self._program.known
        )
        if importable:
            hint = f"add 'import {name}'"
        elif name in WORDS:
            hint = WORDS[name]
        elif name in SCREEN_MODULES:
            hint = "it is about screens and builders, and is not here"
        self._report.add("M0301", span, f"no name '{name}' here", hint=hint, name=name)

    def _use_member(self, member: Member, span: Span) -> None:
        """A def may be used behind its definition or declaration."""
        item = member.item
        if member.kind != "def" or not self._in_def:
            return
        offset = self._unit.source.offset
        known = offset(member.declared.span.start) if member.declared else min(
            offset(each.span.start) for each in (item, *member.replaced)
        )  # fmt: skip
        if member.name == self._defining and not member.declared and not (known < self._here):
            self._report.add(
                "M0306", span, f"'{member.name}' uses itself and is not declared before",
                hint=f"write its type above it: def {member.name} : … -> …", name=member.name,
            )  # fmt: skip
        elif known > self._here:
            line = self._report.source.place(item.span.start)[1]
            self._report.add(
                "M0306", span, f"'{member.name}' is defined in line {line}, behind its use",
                hint=f"move it up, or declare it above: def {member.name} : …", name=member.name,
            )  # fmt: skip


def _kind(item: s.Item) -> str:
    return {
        s.Def: "def", s.Foreign: "def", s.CellDef: "cell", s.Alias: "alias", s.CaseDef: "case", s.Import: "import",
    }.get(type(item), "name")  # fmt: skip


def _statements(block: s.Block) -> list[s.Stmt]:
    """Statements of a block and those inside of them, but not of lambdas in them."""
    found: list[s.Stmt] = []
    todo = list(block.statements)
    while todo:
        statement = todo.pop(0)
        found.append(statement)
        match statement:
            case s.IfStmt(branches=branches, otherwise=otherwise):
                todo += [inner for branch in branches for inner in branch.block.statements]
                todo += otherwise.statements if otherwise else ()
            case s.While(block=inner) | s.ForIn(block=inner):
                todo += inner.statements
            case s.ForVar(init=init, block=inner):
                todo += [init, *inner.statements]
            case s.Switch(clauses=clauses):
                todo += [
                    x
                    for clause in clauses
                    if isinstance(clause.body, s.Block)
                    for x in clause.body.statements
                ]
    return found
