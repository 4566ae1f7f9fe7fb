"""Names in expressions, statements, patterns and types."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.check.globals import ARITIES, CASES, TYPES
from mix_lang.check.hints import counted, near, with_article
from mix_lang.check.scope import Local, LocalKind, Place, Scope
from mix_lang.check.sizes import MOST_PARTS, Sizes
from mix_lang.check.unused import is_unused
from mix_lang.diagnostic import Report
from mix_lang.elsewhere import TYPES as TYPES_ELSEWHERE
from mix_lang.program import Member, Program, Unit, arity_of
from mix_lang.regex import wrong
from mix_lang.source import Span
from mix_lang.walk import every

__all__ = ["BodyChecker"]

_ACTION: Final = Place("an action", True, True, True)
_KINDS: Final = {
    "cell": "a computed cell",
    "import": "an imported module",
    "param": "a parameter of the module",
}
_CELL_FORMS: Final = ("contents", "link")


class BodyChecker:
    """The half of the check of names that is about what stands inside of definitions."""

    def __init__(self, program: Program, unit: Unit, report: Report) -> None:
        self._program, self._unit, self._report = program, unit, report
        self._here = 0
        self._defining = ""
        self._in_def = False
        self._circles: set[str] = set()
        self._sizes = Sizes(program)
        self._large = False

    def _unknown(self, name: str, span: Span, known: object = ()) -> None:
        raise NotImplementedError

    def _use_member(self, member: Member, span: Span) -> None:
        raise NotImplementedError

    # Bodies

    def _params(self, params: tuple[s.Param, ...] | None, scope: Scope) -> None:
        for param in params or ():
            self._type(param.type)
            scope.names[param.name] = Local(param.name, "param", param.span, True)

    def _body(self, body: s.Body, scope: Scope, in_cell: bool = False) -> None:
        self._in_def = not in_cell
        if isinstance(body, s.Block):
            self._block(body, scope)
        else:
            self._expr(body, scope)
        self._in_def = False

    def _add(self, scope: Scope, name: str, kind: LocalKind, span: Span) -> None:
        if name == "_":
            return
        local = Local(name, kind, span)
        if kind == "pattern":
            case = self._unit.members.get(name)
            if case is not None and case.kind == "case":
                self._report.warn(
                    "M0503", span, f"'{name}' here is a new variable that matches everything, not the case",
                    hint=f"write self.{name} for the case", name=name,
                )  # fmt: skip
        scope.names[name] = local

    # Expressions

    def _expr(self, node: s.Expr, scope: Scope) -> None:
        match node:
            case s.Name(name=name):
                self._name(name, node.span, scope)
            case s.Qualified():
                self._qualified(node, scope)
            case s.Field():
                self._field(node, scope)
            case s.Previous(name=name):
                self._cell(name, node.span, scope)
            case s.Call():
                self._call(node, scope)
            case s.Chain(first=first, parts=parts):
                self._expr(first, scope)
                for part in parts:
                    self._expr(part.operand, scope)
            case s.MapLit():
                self._map(node, scope)
            case s.Lambda(clauses=clauses):
                for clause in clauses:
                    self._clause(clause, scope)
            case s.Let(bindings=bindings, body=body):
                inner = scope.inner()
                for binding in bindings:
                    self._let(binding, inner)
                self._expr(body, inner)
            case s.Do(block=block):
                self._block(block, scope)
            case s.Action(params=params, block=block):
                inner = scope.inner(_ACTION)
                inner.names["appstate"] = Local("appstate", "param", node.span, True)
                self._params(params, inner)
                self._block(block, inner)
            case s.With(object=object_, updates=updates):
                self._expr(object_, scope)
                for steps, value in updates:
                    self._steps(steps, scope)
                    self._expr(value, scope)
            case s.Hint(operand=operand, type=of):
                self._expr(operand, scope)
                self._type(of)
            case s.TypeCheck(type=of):
                self._type(of)
            case s.Regex(pattern=pattern):
                self._pattern_text(node.span, pattern)
            case s.Const():
                pass
            case _:
                self._children(node, scope)

    def _pattern_text(self, span: Span, pattern: str) -> None:
        found = wrong(pattern)
        if found is not None:
            at, what = found
            self._report.add(
                "M0213", span, f"a wrong regular expression, at its character {at + 1}: {what}",
                at=at, pattern=pattern,
            )  # fmt: skip

    def _children(self, node: s.Expr, scope: Scope) -> None:
        match node:
            case s.Dynamic(object=a, key=b) | s.Index(object=a, index=b):
                self._expr(a, scope)
                self._expr(b, scope)
            case s.TupleAt(object=a) | s.Label(object=a):
                self._expr(a, scope)
            case s.Present(operand=a) | s.Not(operand=a) | s.Neg(operand=a) | s.Try(operand=a):
                self._expr(a, scope)
            case s.Inverse(case=a):
                unit = self._module_of(a.object, scope) if isinstance(a, s.Field) else None
                if isinstance(a, s.Field) and unit is not None:
                    self._exported(unit, a.name, a.name_span, taken_apart=True)
                else:
                    self._expr(a, scope)
                self._inverse(node, a, scope)
            case s.Slice(object=a, first=first, last=last):
                for part in (a, first, last):
                    if part is not None:
                        self._expr(part, scope)
            case s.Array(items=items):
                for item in items:
                    self._expr(item, scope)
            case s.Labels(fields=fields):
                for _, item in fields:
                    self._expr(item, scope)
            case s.If(branches=branches, otherwise=otherwise):
                for condition, value in branches:
                    self._expr(condition, scope)
                    self._expr(value, scope)
                self._expr(otherwise, scope)

    def _inverse(self, node: s.Expr, case: s.Expr, scope: Scope) -> None:
        """`c^` of a case that has an argument."""
        name = case.name if isinstance(case, s.Name | s.Qualified | s.Field) else ""
        unit = self._unit if not isinstance(case, s.Field) else self._module_of(case.object, scope)
        member = unit.members.get(name) if unit is not None else None
        if isinstance(case, s.Name) and scope.find(name) is not None:
            member = None
        elif member is None and not isinstance(case, s.Field) and CASES.get(name):
            return
        if member is not None and member.kind == "broken":
            return
        if member is None or not isinstance(member.item, s.CaseDef) or member.item.arg is None:
            self._report.add(
                "M0508", node.span, "only the name of a case with an argument may stand before '^'",
                hint="take the argument out with a pattern: v |> (self.name(x) -> x)",
            )  # fmt: skip

    def _map(self, node: s.MapLit, scope: Scope) -> None:
        seen: set[str] = set()
        for entry in node.keys:
            if isinstance(entry.key, s.Const):
                name = entry.key.value
                if name in seen:
                    self._report.add(
                        "M0303", entry.key.span, f"the key '{name}' stands here twice", name=name
                    )
                seen.add(name)
            else:
                self._expr(entry.key, scope)
            self._expr(entry.value, scope)

    def _clause(self, clause: s.Clause, scope: Scope) -> None:
        inner = scope.inner()
        for pattern in clause.patterns:
            self._pattern(pattern, inner, scope)
        if "appstate" in inner.names:
            inner.place = Place(scope.place.what, True, True, True)
        if clause.guard is not None:
            self._expr(clause.guard, inner)
        if isinstance(clause.body, s.Block):
            self._block(clause.body, inner)
        else:
            self._expr(clause.body, inner)

    def _call(self, node: s.Call, scope: Scope) -> None:
        function = node.function
        special = (
            isinstance(function, s.Name) and function.name in _CELL_FORMS and not scope.find(function.name)
        )
        if special and len(node.args) == 1 and isinstance(node.args[0], s.Name | s.Qualified):
            # The cell itself is meant: allowed everywhere.
            cell = node.args[0]
            local = scope.find(cell.name) if isinstance(cell, s.Name) else None
            if local is None and cell.name in self._unit.members:
                return
        self._expr(function, scope)
        for arg in node.args:
            self._expr(arg, scope)

    # Names

    def _name(self, name: str, span: Span, scope: Scope) -> None:
        local = scope.find(name)
        if local is not None:
            local.used = True
            return
        member = self._unit.members.get(name)
        if member is not None:
            self._member(member, span, scope)
        elif name not in ARITIES:
            self._unknown(name, span, scope.visible())

    def _member(self, member: Member, span: Span, scope: Scope) -> None:
        if member.kind in ("cell", "alias"):
            self._readable(member, span, scope)
        else:
            self._use_member(member, span)

    def _readable(self, member: Member, span: Span, scope: Scope) -> None:
        place = scope.place
        if place.reads_cells or (member.var and place.reads_vars):
            return
        self._report.add(
            "M0307", span, f"the cell '{member.name}' is not visible in {place.what}",
            hint=f"pass its value as an argument, take a parameter appstate, or read contents({member.name})",
            name=member.name,
        )  # fmt: skip

    def _qualified(self, node: s.Qualified, scope: Scope) -> None:
        if node.scope == "global":
            if node.name not in ARITIES:
                self._report.add(
                    "M0301", node.span, f"no name '{node.name}' that every module has",
                    hint=near(node.name, ARITIES), name=node.name,
                )  # fmt: skip
            return
        member = self._unit.members.get(node.name)
        if member is None:
            self._report.add(
                "M0301", node.span, f"this module has no '{node.name}'",
                hint=near(node.name, self._unit.members), name=node.name,
            )  # fmt: skip
        else:
            self._member(member, node.span, scope)

    def _cell(self, name: str, span: Span, scope: Scope) -> None:
        """What must be a cell."""
        member = self._unit.members.get(name)
        if member is None:
            self._unknown(name, span)
        elif member.kind not in ("cell", "alias", "broken"):
            self._report.add("M0315", span, f"'{name}' is no cell, and has no previous value", name=name)
        else:
            self._member(member, span, scope)

    def _field(self, node: s.Field, scope: Scope) -> None:
        """`M.name`: the members of a module are known; fields of maps are not."""
        self._expr(node.object, scope)
        unit = self._module_of(node.object, scope)
        if unit is not None:
            self._exported(unit, node.name, node.name_span)

    def _module_of(self, node: s.Expr, scope: Scope) -> Unit | None:
        """The module that an expression is for certain: a name of an import, or one with its arguments."""
        args = 0
        if isinstance(node, s.Call):
            args, node = len(node.args), node.function
        if not isinstance(node, s.Name) or scope.find(node.name):
            return None
        member = self._unit.members.get(node.name)
        if member is None or not isinstance(member.item, s.Import):
            return None
        unit = self._program.units.get(member.item.module)
        if unit is None:
            return None
        needed = len(unit.module.params) - len(member.item.args or ())
        return unit if args == max(needed, 0) else None

    def _exported(self, unit: Unit, name: str, span: Span, *, taken_apart: bool = False) -> Member | None:
        """What others see of a module. Of a private case that is all but how it is made."""
        member = unit.members.get(name)
        if member is None or member.kind in ("param", "import"):
            known = [other.name for other in unit.members.values() if not other.private]
            if not any(other.kind == "broken" for other in unit.members.values()):
                self._report.add(
                    "M0308", span, f"the module '{unit.name}' has no '{name}'", hint=near(name, known), name=name,
                    module=unit.name,
                )  # fmt: skip
            return None
        if member.private and not (taken_apart and member.kind == "case"):
            self._report.add("M0309", span, f"'{name}' is private to the module '{unit.name}'", name=name)
            return None
        return member

    # Statements

    def _block(self, block: s.Block, scope: Scope) -> None:
        inner = scope.inner()
        for statement in block.statements:
            self._statement(statement, inner)

    def _statement(self, node: s.Stmt, scope: Scope) -> None:
        """Check one; the names that it gives are in the scope afterwards."""
        match node:
            case s.LetStmt():
                self._let(node, scope)
            case s.VarStmt(name=name, name_span=span, type=of, value=value):
                self._expr(value, scope)
                self._type(of)
                self._add(scope, name, "var", span)
            case s.Assign():
                self._assign(node, scope)
            case s.IfStmt(branches=branches, otherwise=otherwise):
                for branch in branches:
                    self._expr(branch.condition, scope)
                    self._block(branch.block, scope)
                if otherwise is not None:
                    self._block(otherwise, scope)
            case s.While(condition=condition, block=block):
                self._expr(condition, scope)
                self._block(block, scope)
            case s.ForVar(init=init, condition=condition, update=update, block=block):
                inner = scope.inner()
                self._statement(init, inner)
                self._expr(condition, inner)
                self._statement(update, inner)
                self._block(block, inner)
            case s.ForIn(pattern=pattern, stream=stream, block=block):
                self._expr(stream, scope)
                inner = scope.inner()
                self._pattern(pattern, inner, scope)
                self._block(block, inner)
            case s.Switch(subject=subject, clauses=clauses):
                self._expr(subject, scope)
                for clause in clauses:
                    self._clause(clause, scope)
            case s.Return(value=result):
                if result is not None:
                    self._expr(result, scope)
            case s.ExprStmt(value=value):
                self._expr(value, scope)
                self._value_unused(value, scope)

    def _value_unused(self, value: s.Expr, scope: Scope) -> None:
        """What is surely a mistake: nothing happens, and the value is not kept."""
        if is_unused(value):
            self._report.warn(
                "M0322", value.span, "nothing uses this value",
                hint="write return in front of it, or keep it: let x = …",
            )  # fmt: skip
        elif isinstance(value, s.Call) and (takes := self._arity(value.function, scope)) > len(value.args):
            self._report.warn(
                "M0322", value.span,
                f"this call has {counted(len(value.args), 'argument')} of {takes}: it gives a function of the rest, "
                "and nothing uses that",
                hint="functions that write take appstate first" if takes - len(value.args) == 1 else "",
            )  # fmt: skip

    def _arity(self, node: s.Expr, scope: Scope) -> int:
        """How many arguments a function takes, where its definition is known; else 0."""
        if isinstance(node, s.Field):
            unit = self._module_of(node.object, scope)
            member = unit.members.get(node.name) if unit is not None else None
        elif isinstance(node, s.Name) and scope.find(node.name) is None:
            member = self._unit.members.get(node.name)
            if member is None:
                return ARITIES.get(node.name, 0)
        else:
            return 0
        if member is None or not isinstance(member.item, s.Def | s.Foreign) or member.kind != "def":
            return 0
        if isinstance(member.item, s.Foreign):
            return arity_of(member.item.type)
        return len(member.item.params or ())

    def _let(self, node: s.LetStmt, scope: Scope) -> None:
        """The value, and what the pattern compares with, do not know the names yet."""
        self._expr(node.value, scope)
        self._type(node.type)
        bound = scope.inner()
        self._pattern(node.pattern, bound, scope)
        if isinstance(node.pattern, s.PVar) and node.pattern.name in bound.names:
            bound.names[node.pattern.name].kind = "let"
        scope.names.update(bound.names)

    def _assign(self, node: s.Assign, scope: Scope) -> None:
        self._steps(node.steps, scope)
        self._expr(node.value, scope)
        target = node.target
        if isinstance(target, s.Field):
            return
        local = scope.find(target.name) if isinstance(target, s.Name) else None
        if local is not None:
            if local.kind == "var" and self._outside_of_action(scope, target.name):
                self._report.add(
                    "M0319", target.span,
                    f"'{target.name}' is a var outside of the action, which has a copy of what it was",
                    hint="keep it in a var cell, or copy it into a var of the action", name=target.name,
                )  # fmt: skip
                return
            if local.kind == "var" or (scope.place.writes_cells and local.kind == "param"):
                return
            words = {"let": "a let", "pattern": "bound by a pattern", "param": "a parameter", "var": "a var"}
            self._report.add(
                "M0319", target.span, f"'{target.name}' is {words[local.kind]}, and cannot be assigned to",
                hint="declare it with var" if local.kind in ("let", "pattern") else "copy it into a var first",
                name=target.name,
            )  # fmt: skip
            return
        member = self._unit.members.get(target.name)
        if member is None:
            self._unknown(target.name, target.span, scope.visible())
        elif member.kind == "broken":
            pass
        elif member.kind == "alias" or (member.kind == "cell" and member.var):
            if not scope.place.writes_cells:
                self._report.add(
                    "M0320", target.span, f"the cell '{target.name}' may be written in actions only",
                    hint="write action { … }, or take a parameter appstate", name=target.name,
                )  # fmt: skip
        else:
            what = _KINDS.get(member.kind, f"a {member.kind}")
            self._report.add(
                "M0319", target.span, f"'{target.name}' is {what}, and cannot be assigned to",
                hint="make it a var cell" if member.kind == "cell" else "", name=target.name,
            )  # fmt: skip

    @staticmethod
    def _outside_of_action(scope: Scope, name: str) -> bool:
        """Whether a local is of what is around the action that names it."""
        here: Scope | None = scope
        while here is not None and name not in here.names:
            if here.place is _ACTION and "appstate" in here.names:
                return True
            here = here.up
        return False

    def _steps(self, steps: tuple[s.Step, ...], scope: Scope) -> None:
        for step in steps:
            if step.key is not None:
                self._expr(step.key, scope)

    # Patterns

    def _pattern(self, pattern: s.Pattern, scope: Scope, outer: Scope) -> None:
        """Add what it binds to `scope`; what it compares with comes from `outer`."""
        seen: dict[str, Span] = {}
        self._binds(pattern, scope, outer, seen)

    def _binds(self, pattern: s.Pattern, scope: Scope, outer: Scope, seen: dict[str, Span]) -> None:
        match pattern:
            case s.PVar(name=name):
                self._bind(name, pattern.span, scope, seen)
            case s.PAt(name=name, pattern=inner):
                self._bind(name, pattern.span, scope, seen)
                self._binds(inner, scope, outer, seen)
            case s.PArray(slots=slots):
                for slot in slots:
                    self._binds(slot.pattern, scope, outer, seen)
            case s.PMap(fields=fields):
                for _, inner, _ in fields:
                    self._binds(inner, scope, outer, seen)
            case s.PCase():
                self._case_pattern(pattern)
                if pattern.arg is not None:
                    self._binds(pattern.arg, scope, outer, seen)
            case s.PType(type=of):
                self._type(of)
            case s.PCompare(name=name, right=right):
                self._expr(right, outer)
                if name not in seen:
                    # `n >= 3 && n < 7` names one value twice.
                    self._bind(name, pattern.span, scope, seen)
            case s.PAll(op="and", parts=parts):
                for part in parts:
                    self._binds(part, scope, outer, seen)
            case s.PAll(parts=parts):
                self._alternatives(parts, scope, outer, seen)

    def _alternatives(
        self, parts: tuple[s.Pattern, ...], scope: Scope, outer: Scope, seen: dict[str, Span]
    ) -> None:
        """All alternatives of `||` bind the same names."""
        bound: list[dict[str, Span]] = []
        for part in parts:
            inner = dict(seen)
            self._binds(part, scope, outer, inner)
            bound.append({name: span for name, span in inner.items() if name not in seen})
        for other, part in zip(bound[1:], parts[1:], strict=True):
            for name in bound[0].keys() ^ other.keys():
                self._report.add(
                    "M0504",
                    part.span,
                    f"'{name}' is bound in one alternative of '||' and not in the other",
                    name=name,
                )
        for names in bound:
            seen.update(names)

    def _bind(self, name: str, span: Span, scope: Scope, seen: dict[str, Span]) -> None:
        if name in seen:
            self._report.add("M0505", span, f"this pattern binds '{name}' twice", name=name)
        if name != "_":
            seen[name] = span
        self._add(scope, name, "pattern", span)

    def _case_pattern(self, pattern: s.PCase) -> None:
        name, has_arg = pattern.name, pattern.arg is not None
        takes: bool | None
        if pattern.qualifier == "global" or (pattern.qualifier == "" and name not in self._unit.members):
            takes = CASES.get(name)
            if takes is None:
                self._report.add(
                    "M0501", pattern.span, f"there is no case '{name}'",
                    hint=near(name, [*CASES, *(m.name for m in self._unit.members.values() if m.kind == "case")]),
                    name=name,
                )  # fmt: skip
                return
        else:
            member = self._case_member(pattern)
            if member is None:
                return
            takes = isinstance(member.item, s.CaseDef) and member.item.arg is not None
        if takes != has_arg:
            self._report.add(
                "M0502", pattern.span, f"the case '{name}' has {'an' if takes else 'no'} argument",
                hint=f"write {_dotted(pattern)}{'(_)' if takes else ''}", name=name,
            )  # fmt: skip

    def _case_member(self, pattern: s.PCase) -> Member | None:
        member: Member | None
        if pattern.qualifier in ("", "self"):
            member = self._unit.members.get(pattern.name)
            if member is None:
                known = [other.name for other in self._unit.members.values() if other.kind == "case"]
                self._report.add(
                    "M0501", pattern.span, f"this module has no case '{pattern.name}'", hint=near(pattern.name, known),
                    name=pattern.name,
                )  # fmt: skip
                return None
        else:
            imported = self._unit.members.get(pattern.qualifier)
            if imported is None:
                self._unknown(pattern.qualifier, pattern.span)
                return None
            if not isinstance(imported.item, s.Import) or imported.item.module not in self._program.units:
                return None
            member = self._exported(
                self._program.units[imported.item.module], pattern.name, pattern.span, taken_apart=True
            )
        if member is None or member.kind == "broken":
            return None
        if member.kind != "case":
            self._report.add(
                "M0501",
                pattern.span,
                f"'{pattern.name}' is {with_article(member.kind)}, no case",
                name=pattern.name,
            )
            return None
        return member

    # Types

    def _type(self, of: s.Type | None, variables: tuple[str, ...] = ()) -> None:
        for node in every(of):
            match node:
                case s.TName(qualifier=qualifier, name=name):
                    self._type_name(qualifier, name, 0, node.span, variables)
                case s.TApply(qualifier=qualifier, name=name, args=args):
                    self._type_name(qualifier, name, len(args), node.span, variables)

    def _type_name(
        self, qualifier: str, name: str, args: int, span: Span, variables: tuple[str, ...]
    ) -> None:
        unit = self._unit
        if qualifier not in ("", "self"):
            imported = unit.members.get(qualifier)
            if imported is None or not isinstance(imported.item, s.Import):
                self._unknown(qualifier, span)
                return
            if imported.item.module not in self._program.units:
                return
            unit = self._program.units[imported.item.module]
        elif name in variables:
            return
        elif name in TYPES and qualifier == "":
            # `array` alone is an array of anything.
            if args != TYPES[name] and not (args == 0 and TYPES[name]):
                self._report.add(
                    "M0402",
                    span,
                    f"the type {name} takes {counted(TYPES[name], 'argument')}, found {args}",
                    name=name,
                )
            return
        named, member = unit.types.get(name), unit.members.get(name)
        if named is not None:
            if len(named.params) != args:
                self._report.add(
                    "M0402",
                    span,
                    f"the type {name} takes {counted(len(named.params), 'argument')}, found {args}",
                    name=name,
                )
        elif member is None or member.kind not in ("case", "broken"):
            if name in CASES and qualifier == "":
                return
            known = [*TYPES, *unit.types, *(m.name for m in unit.members.values() if m.kind == "case")]
            hint = f"write {TYPES_ELSEWHERE[name]}" if name in TYPES_ELSEWHERE else near(name, known)
            self._report.add("M0401", span, f"there is no type '{name}'", hint=hint, name=name)

    def _type_def(self, item: s.TypeDef) -> None:
        self._type(item.type, item.params)
        seen: set[str] = set()
        todo = [item.name]
        while todo:
            current = self._unit.types.get(todo.pop())
            if current is None:
                continue
            for node in every(current.type):
                if isinstance(node, s.TName | s.TApply) and node.qualifier in ("", "self"):
                    if node.name == item.name and node.name in self._unit.types:
                        if self._circles & seen:
                            return
                        self._circles.add(item.name)
                        self._report.add(
                            "M0403", item.name_span, f"the type '{item.name}' stands for itself",
                            hint="a type abbreviates and is not recursive: use data for the inner part", name=item.name,
                        )  # fmt: skip
                        return
                    if node.name not in seen:
                        seen.add(node.name)
                        todo.append(node.name)
        # Those that are made of one that is too large are so for the same cause.
        if self._sizes.of(self._unit, item.name) > MOST_PARTS and not self._large:
            self._large = True
            self._report.add(
                "M0409", item.name_span, f"the type '{item.name}' stands for more than {MOST_PARTS} types",
                hint="use data for a part of it", name=item.name, limit=MOST_PARTS,
            )  # fmt: skip


def _dotted(pattern: s.PCase) -> str:
    return f"{pattern.qualifier}.{pattern.name}" if pattern.qualifier else pattern.name
