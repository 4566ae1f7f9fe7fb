"""Contradictions between hints and expressions that are certain: those in which no value could have both kinds."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from mix_lang import syntax as s
from mix_lang.check.kinds import Kinds, clash, kinds_of_type, kinds_of_value, shown
from mix_lang.diagnostic import Report
from mix_lang.program import Member, Program, Unit, function_type, result_of
from mix_lang.types_text import type_text
from mix_lang.walk import children

__all__ = ["HintChecker"]

_NUMBER: Final = frozenset(("number",))
_BOOL: Final = frozenset(("bool",))
_MAP: Final = frozenset(("map",))
_FUNCTION: Final = frozenset(("function",))
_ADDED: Final = ("number", "string", "array", "map")


class HintChecker:
    """Reports what can never be of the type that a hint says, or of the kind that an operator takes."""

    def __init__(self, program: Program, unit: Unit, report: Report) -> None:
        self._program, self._unit, self._report = program, unit, report

    def item(self, item: s.Item) -> None:
        local: dict[str, s.Type | None] = {}
        if not isinstance(item, s.Def | s.CellDef):
            for child in children(item):
                self._walk(child, local)
            return
        declared = _declared(self._unit.members.get(item.name), item)
        of = item.type
        if of is None and declared is not None:
            of = declared
            for param in item.params or ():
                known = of.param if isinstance(of, s.TArrow) else None
                local[param.name] = param.type or known
                of = of.result if isinstance(of, s.TArrow) else None
            if item.params == ():
                of = result_of(of, 0)
        for param in item.params or ():
            local.setdefault(param.name, param.type)
        if isinstance(item.body, s.Block):
            self._block(item.body, local, of)
        elif item.body is not None:
            self._expect(item.body, of, local, f"'{item.name}' is declared as {type_text(of)}" if of else "")

    # What an expression has

    def _kinds(self, node: s.Expr, local: dict[str, s.Type | None]) -> Kinds:
        match node:
            case s.Const(value=value):
                return kinds_of_value(value)
            case s.Array():
                return frozenset(("array",))
            case s.MapLit() | s.Labels() | s.Action():
                return frozenset(("map",))
            case s.Lambda():
                return _FUNCTION
            case s.Slice():
                return frozenset(("stream",))
            case s.Present():
                return _BOOL
            case s.Try():
                return frozenset(("case ok", "case error"))
            case s.Chain(parts=parts) if parts[-1].op in ("===", "!=="):
                return _BOOL
            case s.Chain(parts=parts) if parts[-1].op == "+":
                return self._added(node, local)
            case s.With(object=object_):
                return self._kinds(object_, local)
            case _:
                of = self._type(node, local)
                return None if of is None else kinds_of_type(of, self._program, self._unit.name)

    def _added(self, node: s.Chain, local: dict[str, s.Type | None]) -> Kinds:
        """The kind of a sum, where the kinds of all operands are known; null operands are left out."""
        kinds = [self._kinds(part, local) for part in (node.first, *(part.operand for part in node.parts))]
        if any(part.op != "+" for part in node.parts):
            return None
        known = [next(iter(kind)) for kind in kinds if kind is not None and len(kind) == 1]
        if len(known) < len(kinds) or "null" in known:
            return None
        if len(set(known)) == 1:
            return frozenset((known[0],))
        return frozenset(("string",)) if set(known) == {"number", "string"} else None

    def _type(self, node: s.Expr, local: dict[str, s.Type | None]) -> s.Type | None:
        """The type that hints give an expression."""
        match node:
            case s.Name(name=name) if name in local:
                return local[name]
            case s.Name(name=name) | s.Qualified(scope="self", name=name):
                return self._member_type(self._unit, self._unit.members.get(name))
            case s.Field(object=s.Name(name=module), name=name) if module not in local:
                imported = self._unit.members.get(module)
                if imported is None or not isinstance(imported.item, s.Import):
                    return None
                other = self._program.units.get(imported.item.module)
                found = other.members.get(name) if other is not None else None
                if other is None or found is None or found.kind != "def" or not other.library:
                    # Types of other modules may name types of their own.
                    return None
                return self._member_type(other, found)
            case s.Hint(type=of):
                return of
            case s.Call(function=s.TypeCheck(type=of)):
                return of
            case s.Call(function=function, args=args):
                return result_of(self._type(function, local), len(args))
        return None

    def _member_type(self, unit: Unit, member: Member | None) -> s.Type | None:
        if member is None:
            return None
        item = member.item
        if isinstance(item, s.Foreign):
            return item.type
        if isinstance(item, s.CaseDef):
            of_case: s.Type = s.TName(item.span, "", item.name)
            return of_case if item.arg is None else s.TArrow(item.span, item.arg, of_case)
        if isinstance(item, s.Def) and item.params is not None and member.declared is None:
            return function_type(item)
        if isinstance(item, s.Def | s.CellDef | s.Param):
            return _declared(member, item) or item.type
        return None

    # What is expected of it

    def _expect(self, node: s.Expr, of: s.Type | None, local: dict[str, s.Type | None], why: str) -> None:
        """Report if an expression cannot be of the type; parts of literals are looked at one by one."""
        self._walk(node, local)
        if of is not None:
            self._compare(node, of, local, why)

    def _compare(self, node: s.Expr, of: s.Type, local: dict[str, s.Type | None], why: str) -> None:
        if isinstance(of, s.TName) and of.qualifier in ("", "self"):
            of = self._program.type_of(self._unit.name, "", of.name) or of
        match node, of:
            case s.If(branches=branches, otherwise=otherwise), _:
                for _, value in branches:
                    self._compare(value, of, local, why)
                self._compare(otherwise, of, local, why)
            case s.Array(items=items), s.TApply(qualifier="", name="array", args=(item,)):
                for part in items:
                    self._compare(part, item, local, why)
            case s.Array(items=items), s.TTuple(items=types) if len(items) == len(types):
                for part, item in zip(items, types, strict=True):
                    self._compare(part, item, local, why)
            case s.Array(items=items), s.TTuple(items=types):
                self._clash(node, f"a tuple of {len(types)}", f"one of {len(items)}", why)
            case s.MapLit(keys=keys), s.TRecord(fields=fields) if all(
                isinstance(k.key, s.Const) for k in keys
            ):
                given = {key.key.value: key.value for key in keys if isinstance(key.key, s.Const)}
                for name, item, optional in fields:
                    if name in given:
                        self._compare(given[name], item, local, why)
                    elif not optional:
                        self._clash(node, f"a map with the key '{name}'", "one without it", why)
            case s.MapLit(keys=keys), s.TApply(qualifier="", name="map", args=(item,)):
                for key in keys:
                    self._compare(key.value, item, local, why)
            case s.Lambda(clauses=clauses), s.TArrow():
                self._function(clauses, of, local, why)
            case _:
                expected = kinds_of_type(of, self._program, self._unit.name)
                found = self._kinds(node, local)
                if clash(expected, found):
                    self._clash(node, type_text(of), shown(found), why)

    def _function(
        self, clauses: tuple[s.Clause, ...], of: s.Type, local: dict[str, s.Type | None], why: str
    ) -> None:
        for clause in clauses:
            inner, result = dict(local), of
            if not clause.patterns:
                result = result_of(of, 0) or s.TName(clause.span, "", "any")
            for pattern in clause.patterns:
                known = result.param if isinstance(result, s.TArrow) else None
                _hide(pattern, inner)
                if isinstance(pattern, s.PVar):
                    inner[pattern.name] = known
                result = result.result if isinstance(result, s.TArrow) else s.TName(clause.span, "", "any")
            if not isinstance(clause.body, s.Block):
                self._compare(clause.body, result, inner, why)

    def _clash(self, node: s.Expr, expected: str, found: str, why: str) -> None:
        self._report.add(
            "M0404",
            node.span,
            f"expected {expected}, found {found}",
            hint=why,
            expected=expected,
            found=found,
        )

    # The walk

    def _walk(self, node: object, local: dict[str, s.Type | None]) -> None:
        match node:
            case s.Chain():
                self._chain(node, local)
            case s.Neg(operand=operand):
                self._operand(operand, _NUMBER, "'-' takes a number", local)
            case s.Not(operand=operand):
                self._operand(operand, _BOOL, "'not' takes a bool", local)
            case s.Hint(operand=operand, type=of):
                self._expect(operand, of, local, "")
            case s.Field(object=object_):
                why = (
                    "'?' answers whether it is there: leave it out" if isinstance(object_, s.Present) else ""
                )
                for kind in self._kinds(object_, local) or ():
                    if kind in ("array", "string", "number", "stream"):
                        why = f"functions of {kind}s are in the module {kind}: {kind}.{node.name}(…)"
                self._operand(object_, _MAP, why, local)
            case s.Call():
                self._call(node, local)
            case s.Let(bindings=bindings, body=body):
                inner = dict(local)
                for binding in bindings:
                    self._let(binding, inner)
                self._walk(body, inner)
            case s.Clause(patterns=patterns, guard=guard, body=clause_body):
                inner = dict(local)
                for pattern in patterns:
                    _hide(pattern, inner)
                if guard is not None:
                    self._walk(guard, inner)
                self._walk(clause_body, inner)
            case s.Action(params=params, block=block):
                inner = {**local, **{param.name: param.type for param in params}}
                self._block(block, inner, None)
            case s.Block():
                self._block(node, local, None)
            case _:
                for child in children(node):
                    self._walk(child, local)

    def _chain(self, node: s.Chain, local: dict[str, s.Type | None]) -> None:
        operands = [node.first, *(part.operand for part in node.parts)]
        for operand in operands:
            self._walk(operand, local)
        for part, pair in zip(node.parts, pairwise(operands), strict=True):
            for operand in pair if part is node.parts[0] else pair[1:]:
                if part.op in ("-", "*", "/", "%"):
                    self._operand(operand, _NUMBER, f"'{part.op}' takes numbers", local, walked=True)
                elif part.op in ("&&", "||"):
                    self._operand(operand, _BOOL, f"'{part.op}' takes bools", local, walked=True)
        if len(node.parts) == 1 and node.parts[0].op == "+":
            left, right = (self._kinds(operand, local) for operand in operands)
            if left and right and not _adds(left, right):
                self._report.add(
                    "M0404", node.parts[0].span, f"'+' cannot add {shown(left)} and {shown(right)}",
                    hint="it adds two numbers, strings, arrays or maps, and numbers to strings",
                    expected="+", found=f"{shown(left)} and {shown(right)}",
                )  # fmt: skip

    def _operand(
        self, node: s.Expr, expected: Kinds, why: str, local: dict[str, s.Type | None], walked: bool = False
    ) -> None:
        if not walked:
            self._walk(node, local)
        found = self._kinds(node, local)
        if clash(expected, found):
            self._clash(node, shown(expected), shown(found), why)

    def _call(self, node: s.Call, local: dict[str, s.Type | None]) -> None:
        self._walk(node.function, local)
        of = self._type(node.function, local)
        for number, arg in enumerate(node.args, 1):
            param = of.param if isinstance(of, s.TArrow) else None
            if isinstance(param, s.TName) and param.name in ("any", "data"):
                param = None
            why = ""
            if param is not None:
                at = self._defined(node.function, local)
                why = f"argument {number} of {_name_of(node.function)} is {type_text(param)}{at}"
            self._expect(arg, param, local, why)
            of = of.result if isinstance(of, s.TArrow) else None
        found = self._kinds(node.function, local)
        if clash(_FUNCTION, found):
            self._clash(node.function, "a function to call", shown(found), "")

    def _defined(self, node: s.Expr, local: dict[str, s.Type | None]) -> str:
        """Where a function of this module is defined, for messages."""
        if not isinstance(node, s.Name | s.Qualified) or node.name in local:
            return ""
        member = self._unit.members.get(node.name)
        if member is None:
            return ""
        found = self._report.source.location(getattr(member.item, "name_span", member.item.span))
        return f", at {found}"

    def _let(self, node: s.LetStmt, local: dict[str, s.Type | None]) -> None:
        why = ""
        if isinstance(node.pattern, s.PVar) and node.type is not None:
            why = f"'{node.pattern.name}' is hinted as {type_text(node.type)}"
        self._expect(node.value, node.type, local, why)
        of = node.type or self._type(node.value, local)
        _hide(node.pattern, local)
        if isinstance(node.pattern, s.PVar):
            local[node.pattern.name] = of

    def _block(self, block: s.Block, local: dict[str, s.Type | None], of: s.Type | None) -> None:
        inner = dict(local)
        for statement in block.statements:
            self._statement(statement, inner, of)

    def _statement(self, node: s.Stmt, local: dict[str, s.Type | None], of: s.Type | None) -> None:
        match node:
            case s.LetStmt():
                self._let(node, local)
            case s.VarStmt(name=name, type=hint, value=value):
                self._expect(value, hint, local, f"'{name}' is hinted as {type_text(hint)}" if hint else "")
                local[name] = hint
            case s.Assign(target=s.Name(name=name), steps=(), value=value):
                hint = local.get(name)
                self._expect(value, hint, local, f"'{name}' is hinted as {type_text(hint)}" if hint else "")
            case s.Return(value=value) if value is not None:
                self._expect(value, of, local, f"the result is declared as {type_text(of)}" if of else "")
            case s.IfStmt(branches=branches, otherwise=otherwise):
                for branch in branches:
                    self._walk(branch.condition, local)
                    self._block(branch.block, local, of)
                if otherwise is not None:
                    self._block(otherwise, local, of)
            case s.While(condition=condition, block=block):
                self._walk(condition, local)
                self._block(block, local, of)
            case s.ForVar(init=init, condition=condition, update=update, block=block):
                inner = dict(local)
                self._statement(init, inner, of)
                self._walk(condition, inner)
                self._statement(update, inner, of)
                self._block(block, inner, of)
            case s.ForIn(pattern=pattern, stream=stream, block=block):
                self._walk(stream, local)
                found = self._kinds(stream, local)
                if clash(frozenset(("stream",)), found):
                    why = "write a[] for the stream of an array" if found == frozenset(("array",)) else ""
                    self._clash(stream, "a stream", shown(found), why)
                inner = dict(local)
                _hide(pattern, inner)
                self._block(block, inner, of)
            case s.Switch(subject=subject, clauses=clauses):
                self._walk(subject, local)
                for clause in clauses:
                    inner = dict(local)
                    _hide(clause.patterns[0], inner)
                    if clause.guard is not None:
                        self._walk(clause.guard, inner)
                    if isinstance(clause.body, s.Block):
                        self._block(clause.body, inner, of)
            case _:
                for child in children(node):
                    self._walk(child, local)


def _declared(member: Member | None, item: s.Item | s.Param) -> s.Type | None:
    if member is not None and member.declared is not None and member.declared is not item:
        return member.declared.type
    return None


def _name_of(node: s.Expr) -> str:
    match node:
        case s.Name(name=name) | s.Qualified(name=name):
            return name
        case s.Field(object=s.Name(name=module), name=name):
            return f"{module}.{name}"
    return "this function"


def _adds(left: frozenset[str], right: frozenset[str]) -> bool:
    if "null" in left | right:
        return True
    for a in left:
        for b in right:
            if (a == b and a in _ADDED) or {a, b} == {"number", "string"}:
                return True
    return False


def _hide(pattern: s.Pattern, local: dict[str, s.Type | None]) -> None:
    """Names that a pattern binds have no type that is known."""
    todo: list[object] = [pattern]
    while todo:
        node = todo.pop()
        if isinstance(node, s.PVar | s.PAt | s.PCompare):
            local[node.name] = None
        todo += children(node)
