"""Alternatives that nothing reaches, and those that are missing where the type is a union that is known from hints."""

from __future__ import annotations

from typing import TypeAlias

from mix_lang import syntax as s
from mix_lang.check.earlier import Earlier
from mix_lang.check.missing import covers, missing
from mix_lang.diagnostic import Report
from mix_lang.program import Program, Unit, function_type, result_of
from mix_lang.walk import children

__all__ = ["PatternChecker"]

Local: TypeAlias = dict[str, s.Type | None]


class PatternChecker:
    """Reports alternatives of lambdas and switches."""

    def __init__(self, program: Program, unit: Unit, report: Report) -> None:
        self._program, self._unit, self._report = program, unit, report
        self._members: dict[str, s.Type] = {}
        for member in unit.members.values():
            item = member.item
            of: s.Type | None = None
            if isinstance(item, s.Def) and item.params is not None:
                if item.type is not None or any(param.type for param in item.params):
                    of = function_type(item)
            elif isinstance(item, s.Def | s.CellDef | s.Foreign | s.Param):
                of = item.type
            if of is None and member.declared is not None:
                of = member.declared.type
            if of is not None:
                self._members[member.name] = of

    def item(self, item: s.Item) -> None:
        # Names that hide members have a type, or None if it is not known.
        local: Local = {}
        if isinstance(item, s.Def | s.CellDef):
            declared = self._members.get(item.name)
            of = declared if item.params is None else None
            for param in item.params or ():
                known, declared = (
                    (declared.param, declared.result) if isinstance(declared, s.TArrow) else (None, None)
                )
                self._bind(local, param.name, param.type or known)
            if item.body is not None:
                self._walk(item.body, local, of)
            return
        for child in children(item):
            self._walk(child, local)

    @staticmethod
    def _bind(local: Local, name: str, of: s.Type | None) -> None:
        local[name] = of

    # What is known of types

    def _type(self, node: s.Expr, local: Local) -> s.Type | None:
        match node:
            case s.Name(name=name) | s.Qualified(scope="self", name=name):
                return local[name] if name in local else self._members.get(name)
            case s.Hint(type=of):
                return of
            case s.Call(function=s.TypeCheck(type=of)):
                return of
            case s.Call(function=function, args=args):
                return result_of(self._type(function, local), len(args))
            case s.Try(operand=operand):
                good = self._type(operand, local)
                return s.TApply(node.span, "", "result", (good or _any(node), _any(node)))
            case s.Array(items=items):
                types = [self._type(item, local) for item in items]
                return s.TTuple(node.span, tuple(of or _any(node) for of in types)) if any(types) else None
        return None

    # The walk

    def _walk(self, node: object, local: Local, of: s.Type | None = None) -> None:
        """Look at everything below; `of` is the type that a lambda here is declared to have."""
        match node:
            case s.Lambda(clauses=clauses):
                types: list[s.Type] = []
                for _ in clauses[0].patterns:
                    if not isinstance(of, s.TArrow):
                        break
                    types.append(of.param)
                    of = of.result
                self._clauses(clauses, types, local, node)
            case s.Switch(subject=subject, clauses=clauses):
                self._walk(subject, local)
                subject_type = self._type(subject, local)
                self._clauses(clauses, [subject_type] if subject_type else [], local, subject)
            case s.Call(function=s.Lambda() as function, args=args):
                for arg in args:
                    self._walk(arg, local)
                arg_types = [self._type(arg, local) for arg in args]
                arrow: s.Type = _any(node)
                for known in reversed(arg_types):
                    arrow = s.TArrow(node.span, known or _any(node), arrow)
                self._walk(function, local, arrow)
            case s.Let(bindings=bindings, body=body):
                inner = dict(local)
                for binding in bindings:
                    self._let(binding, inner)
                self._walk(body, inner)
            case s.Block(statements=statements):
                inner = dict(local)
                for statement in statements:
                    self._statement(statement, inner)
            case _:
                for child in children(node):
                    self._walk(child, local)

    def _statement(self, node: s.Stmt, local: Local) -> None:
        if isinstance(node, s.LetStmt):
            self._let(node, local)
            return
        self._walk(node, dict(local))
        if isinstance(node, s.VarStmt):
            self._bind(local, node.name, node.type)

    def _let(self, node: s.LetStmt, local: Local) -> None:
        self._walk(node.value, local, node.type)
        of = node.type or self._type(node.value, local)
        _hide(node.pattern, local)
        if isinstance(node.pattern, s.PVar):
            self._bind(local, node.pattern.name, of)

    def _clauses(
        self, clauses: tuple[s.Clause, ...], types: list[s.Type], local: Local, node: s.Node
    ) -> None:
        before = Earlier()
        for clause in clauses:
            for other in before.candidates(clause):
                if all(covers(a, b) for a, b in zip(other.patterns, clause.patterns, strict=True)):
                    line = self._report.source.place(other.span.start)[1]
                    span = clause.patterns[0].span.to(clause.patterns[-1].span)
                    self._report.warn(
                        "M0506", span, f"nothing reaches this alternative: the one in line {line} matches all of it",
                        hint="remove it, or put it before the other",
                    )  # fmt: skip
                    break
            if clause.guard is None:
                before.add(clause)
            inner = dict(local)
            for index, pattern in enumerate(clause.patterns):
                _hide(pattern, inner)
                if index < len(types) and isinstance(pattern, s.PVar):
                    inner[pattern.name] = types[index]
            if clause.guard is not None:
                self._walk(clause.guard, inner)
            self._walk(clause.body, inner)
        if len(types) == len(clauses[0].patterns) if clauses else False:
            self._complete(before.all, tuple(types), node)

    def _complete(self, clauses: list[s.Clause], types: tuple[s.Type, ...], node: s.Node) -> None:
        example = missing(self._program, self._unit.name, types, [clause.patterns for clause in clauses])
        if example is not None:
            self._report.warn(
                "M0507", node.span, f"these alternatives leave out {example}",
                hint=f"add {example}, or _ for all others", example=example,
            )  # fmt: skip


def _hide(pattern: s.Pattern, local: Local) -> None:
    """Names that a pattern binds are others than those outside."""
    todo: list[object] = [pattern]
    while todo:
        node = todo.pop()
        if isinstance(node, s.PVar | s.PAt | s.PCompare):
            local[node.name] = None
        todo += children(node)


def _any(node: s.Node) -> s.Type:
    return s.TName(node.span, "", "any")
