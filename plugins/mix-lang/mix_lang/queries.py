"""`db.filter` and `db.map` with what they do written as a function: made a query of, which the database runs.

A function of a row becomes an expression that makes the query's JSON form, as docs/query-language.md has it. What does
not touch the row is computed here, by whatever code, and given as a parameter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeAlias

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.memory import Memory
from mix_lang.passages import Passage
from mix_lang.record import changed
from mix_lang.source import Span
from mix_lang.walk import every, mapped

__all__ = ["with_queries"]

_NAMES: Final = "$names"
_COMPARED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""Comparisons, and what they are with sides changed."""
_HERE: Final = (
    "db.filterWithFallback and db.mapWithFallback run any function, on the rows that have been read"
)
_WHAT: Final[dict[type, str]] = {
    s.If: "an if", s.Do: "statements", s.Block: "statements", s.Lambda: "a function", s.Slice: "a stream",
    s.TupleAt: "an element of a tuple", s.Try: "try", s.Hint: "a hint", s.Action: "an action", s.Neg: "a sign",
    s.Dynamic: "access by what is computed", s.Index: "an element of an array", s.With: "an update of a part of it",
}  # fmt: skip
_Bound: TypeAlias = dict[str, s.Expr]


class _Refused(Exception):
    def __init__(self, node: s.Expr | s.Block, what: str = "") -> None:
        self.node, self.what = node, what or _WHAT.get(type(node), "this")


def with_queries(
    module: s.Module, passages: tuple[Passage, ...], report: Report, memory: Memory
) -> tuple[s.Module, tuple[Passage, ...]]:
    """The module with queries in place of such functions. What no database can run is reported."""
    modules = {item.alias: item.module for item in module.items if isinstance(item, s.Import)}
    if "db" not in modules.values():
        return module, passages
    names = tuple(sorted(modules.items()))
    found: list[Passage] = []
    for passage in passages:
        key = ("queries", passage, names)
        made = memory.find(key)
        if made is None:
            own = Report(report.source)
            made = replace(passage, items=_with_queries(passage.items, modules, own), facts={})
            for item in own.found:
                report.take(item)
            if not own.found:
                memory.note(key, made, 20 * len(passage.text))
        found.append(made)
    return changed(module, items=tuple(item for passage in found for item in passage.items)), tuple(found)


def _with_queries(items: tuple[s.Item, ...], modules: dict[str, str], report: Report) -> tuple[s.Item, ...]:
    def made(node: object) -> object:
        if (
            isinstance(node, s.Call)
            and isinstance(node.function, s.Field)
            and isinstance(node.function.object, s.Name)
            and modules.get(node.function.object.name) == "db"
            and node.function.name in ("filter", "map")
            and node.args
        ):
            try:
                return _Query(node, node.function, modules).call()
            except _Refused as exc:
                report.add(
                    "M0806", exc.node.span, f"the database cannot run {exc.what}",
                    hint=f"{_HERE}; what does not touch the row may stand outside of the function",
                )  # fmt: skip
        return node

    found: tuple[s.Item, ...] = mapped(items, made)
    return found


class _Query:
    """One call."""

    def __init__(self, node: s.Call, function: s.Field, modules: dict[str, str]) -> None:
        self._node, self._function, self._modules = node, function, modules
        self._values: list[s.Expr] = []
        self._row = self._outer = ""

    def call(self) -> s.Call:
        node, function = self._node, self._function
        of = node.args[0]
        if not isinstance(of, s.Lambda):
            raise _Refused(of, "what is not written as a function here")
        clause = of.clauses[0]
        pattern = clause.patterns[0]
        if len(of.clauses) > 1 or clause.guard is not None or len(clause.patterns) > 1:
            raise _Refused(of, "alternatives, guards, or a function of several arguments")
        if not isinstance(pattern, s.PVar):
            raise _Refused(of, "a pattern")
        if isinstance(clause.body, s.Block):
            raise _Refused(clause.body)
        self._row = pattern.name
        extra: tuple[s.Expr, ...] = ()
        if function.name == "filter":
            made = self.filter(clause.body, {})
        else:
            made, alone = self.stage(clause.body)
            extra = (self.const(of.span, alone),)
        names = s.PVar(of.span, _NAMES)
        maker = s.Lambda(of.span, (s.Clause(of.span, (names,), None, made),))
        values = s.Array(of.span, tuple(self._values))
        target = s.Field(function.span, function.object, f"{function.name}Query", function.name_span)
        return s.Call(node.span, target, (maker, values, *extra, *node.args[1:]), node.piped)

    # The query's JSON form, as expressions

    @staticmethod
    def const(span: Span, value: object) -> s.Expr:
        return s.Const(span, value)

    def form(self, span: Span, *parts: object) -> s.Expr:
        items = tuple(part if isinstance(part, s.Node) else s.Const(span, part) for part in parts)
        return s.Array(span, items)  # type: ignore[arg-type]

    def touches(self, node: object, bound: _Bound) -> bool:
        """Whether something depends on the row."""
        for part in every(node):
            if isinstance(part, s.Name) and (
                part.name in (self._row, self._outer)
                or (part.name in bound and self.touches(bound[part.name], {}))
            ):
                return True
        return False

    def given(self, node: s.Expr, bound: _Bound) -> s.Expr:
        """What does not touch the row: a constant, or a parameter."""
        if isinstance(node, s.Name) and node.name in bound:
            node = bound[node.name]
        if isinstance(node, s.Const) and (node.value is None or type(node.value) in (bool, int, float, str)):
            return node
        self._values.append(node)
        index = s.Const(node.span, len(self._values) - 1)
        return self.form(node.span, "param", s.Index(node.span, s.Name(node.span, _NAMES), index))

    def key(self, node: s.Expr, bound: _Bound) -> s.Expr | None:
        """A field of the row, or a field in one; None for anything else."""
        if isinstance(node, s.Name) and node.name in bound:
            return self.key(bound[node.name], bound)
        if isinstance(node, s.Call) and self._called(node) == ("db", "deref") and len(node.args) == 1:
            # A field of what a ref leads to is read through it.
            return self.key(node.args[0], bound)
        name: object = None
        if isinstance(node, s.Field):
            name = node.name
        elif isinstance(node, s.Dynamic | s.Index):
            at = node.key if isinstance(node, s.Dynamic) else node.index
            name = at.value if isinstance(at, s.Const) else None
        if isinstance(node, s.Dynamic) and not isinstance(node.key, s.Const):
            return self._chosen(node, bound)
        if type(name) is not str:
            return None
        of = node.object  # type: ignore[union-attr]
        if isinstance(of, s.Name) and of.name == self._row:
            return self.form(node.span, "token", name)
        if isinstance(of, s.Name) and of.name == self._outer and of.name not in bound:
            return self.form(node.span, "objectMember", None, name)
        inner = self.key(of, bound)
        return None if inner is None else self.form(node.span, "objectMember", inner, name)

    def _chosen(self, node: s.Dynamic, bound: _Bound) -> s.Expr | None:
        """A field of the row whose name is computed here: a parameter."""
        if (
            not isinstance(node.object, s.Name)
            or node.object.name != self._row
            or self.touches(node.key, bound)
        ):
            return None
        return self.given(node.key, bound)

    def filter(self, node: s.Expr, bound: _Bound) -> s.Expr:
        """What is true or false of a row."""
        key = self.key(node, bound)
        if key is not None:
            return self.form(node.span, "comparison", "==", key, True)
        match node:
            case s.Const(value=bool() as value):
                every_row = self.form(node.span, "nullFilter")
                return every_row if value else self.form(node.span, "not", every_row)
            case s.Name(name=name) if name in bound:
                return self.filter(bound[name], bound)
            case _ if not self.touches(node, bound):
                return self.form(node.span, "arithmetic", "==", self.given(node, bound), True)
            case s.Not(operand=operand):
                return self.form(node.span, "not", self.filter(operand, bound))
            case s.Present(operand=operand):
                found = self.key(operand, bound)
                if found is None:
                    raise _Refused(operand, "'?' of what is no field")
                return self.form(node.span, "exists", found)
            case s.Chain(first=first, parts=parts) if parts[0].op in ("&&", "||"):
                word = "and" if parts[0].op == "&&" else "or"
                filters = [self.filter(part, bound) for part in (first, *(part.operand for part in parts))]
                return self.form(node.span, word, s.Array(node.span, tuple(filters)))
            case s.Chain(parts=(s.Part(op=op),)) if op in _COMPARED:
                return self._compared(node, bound)
            case s.Chain(parts=(s.Part(op="===" | "!==" as op, ci=False, operand=right),), first=left):
                return self._same(node, op, left, right, bound)
            case s.Call():
                return self._test(node, bound)
            case s.Let(bindings=bindings, body=body):
                return self.filter(body, self._let(bindings, bound))
        raise _Refused(node, f"'{node.parts[0].op}'" if isinstance(node, s.Chain) else "")

    def _let(self, bindings: tuple[s.LetStmt, ...], bound: _Bound) -> _Bound:
        inner = dict(bound)
        for binding in bindings:
            if not isinstance(binding.pattern, s.PVar):
                raise _Refused(binding.value, "a pattern")
            inner[binding.pattern.name] = binding.value
        return inner

    def _compared(self, node: s.Chain, bound: _Bound) -> s.Expr:
        (part,) = node.parts
        left, right, op = node.first, part.operand, part.op
        if part.ci:
            raise _Refused(node, f"'{op}:ci'")
        for key, other, sign in ((left, right, op), (right, left, _COMPARED[op])):
            found = self.key(key, bound)
            if found is not None and not self.touches(other, bound):
                return self.form(node.span, "comparison", sign, found, self.given(other, bound))
        return self.form(node.span, "arithmetic", op, self.operand(left, bound), self.operand(right, bound))

    def _same(self, node: s.Chain, op: str, left: s.Expr, right: s.Expr, bound: _Bound) -> s.Expr:
        """Equality that is false where the field is not there."""
        for of, other in ((left, right), (right, left)):
            key = self.key(of, bound)
            if key is not None and not self.touches(other, bound):
                equal = self.form(node.span, "comparison", "==", key, self.given(other, bound))
                there = self.form(node.span, "exists", key)
                both = self.form(node.span, "and", s.Array(node.span, (there, equal)))
                return both if op == "===" else self.form(node.span, "not", both)
        raise _Refused(node, f"'{op}' of two that are computed")

    def _called(self, node: s.Expr) -> tuple[str, str]:
        """The module and the name of a function that is called; the module is empty if it is not the library's."""
        if not isinstance(node, s.Call) or not isinstance(node.function, s.Field | s.Name):
            return "", ""
        of = node.function.object if isinstance(node.function, s.Field) else None
        return self._modules.get(of.name, "") if isinstance(of, s.Name) else "", node.function.name

    def _within(self, test: s.Lambda, key: s.Expr, node: s.Expr, bound: _Bound) -> s.Expr:
        """`array.exists(x -> …, r.items)`: one element satisfies it all."""
        clause = test.clauses[0]
        pattern = clause.patterns[0]
        plain = len(test.clauses) == 1 and clause.guard is None and len(clause.patterns) == 1
        if not plain or not isinstance(pattern, s.PVar) or isinstance(clause.body, s.Block):
            raise _Refused(test, "alternatives, guards, patterns or statements")
        if self._outer:
            raise _Refused(test, "a function in a function")
        inner = {name: value for name, value in bound.items() if name != pattern.name}
        self._outer, self._row = self._row, pattern.name
        try:
            return self.form(node.span, "subquery", key, self.filter(clause.body, inner))
        finally:
            self._outer, self._row = "", self._outer

    def _test(self, node: s.Call, bound: _Bound) -> s.Expr:
        """A call of a function of the library that the database has too."""
        module, name = self._called(node)
        if len(node.args) == 2:
            first, second = node.args
            if module == "string" and name in ("startsWith", "endsWith", "like"):
                first, second = second, first
            key = self.key(second, bound)
            if module == "string" and name in ("hasPrefix", "startsWith", "hasSuffix", "endsWith"):
                if key is not None and not self.touches(first, bound):
                    pattern = self._pattern(
                        first, "prefix" if name in ("hasPrefix", "startsWith") else "suffix"
                    )
                    return self.form(node.span, "comparison", "like", key, self.given(pattern, bound))
            elif module == "string" and name in ("like", "rlike"):
                if key is not None and not self.touches(first, bound):
                    return self.form(
                        node.span, "comparison", "like", key, self.given(self._pattern(first, "like"), bound)
                    )
            elif module == "array" and name == "exists":
                if key is not None and isinstance(first, s.Lambda):
                    return self._within(first, key, node, bound)
            elif module == "map" and name == "contains":
                found = self.key(s.Dynamic(node.span, second, first), bound)
                if found is not None:
                    return self.form(node.span, "exists", found)
            elif name == "contains" and module in ("string", "array"):
                if key is not None and not self.touches(first, bound):
                    return self.form(node.span, "comparison", "contains", key, self.given(first, bound))
                key = self.key(first, bound)
                if module == "array" and key is not None and not self.touches(second, bound):
                    return self.form(node.span, "comparison", "in", key, self.given(second, bound))
        raise _Refused(node, f"a call of '{f'{module}.' if module else ''}{name}'" if name else "a call")

    def _pattern(self, node: s.Expr, what: str) -> s.Expr:
        """The pattern of `like` for texts that begin or end so; made when it runs."""
        function = self._function
        target = s.Field(node.span, function.object, f"{what}Pattern", function.name_span)
        return s.Call(node.span, target, (node,))

    def operand(self, node: s.Expr, bound: _Bound) -> s.Expr:
        """What is calculated of a row."""
        key = self.key(node, bound)
        if key is not None:
            return key
        if isinstance(node, s.Name) and node.name in bound:
            return self.operand(bound[node.name], bound)
        if not self.touches(node, bound):
            return self.given(node, bound)
        match node:
            case s.Chain(first=first, parts=parts) if all(
                part.op in ("+", "-", "*", "/", "%") for part in parts
            ):
                found = self.operand(first, bound)
                for part in parts:
                    found = self.form(
                        node.span, "arithmetic", part.op, found, self.operand(part.operand, bound)
                    )
                return found
            case s.Chain(parts=(s.Part(op=op, ci=False, operand=right),), first=left) if op in _COMPARED:
                return self.form(
                    node.span, "arithmetic", op, self.operand(left, bound), self.operand(right, bound)
                )
            case s.MapLit():
                return self._object(node, bound)
            case s.Array(items=items):
                parts_ = tuple(self.operand(item, bound) for item in items)
                return self.form(node.span, "list", s.Array(node.span, parts_))
            case s.Let(bindings=bindings, body=body):
                return self.operand(body, self._let(bindings, bound))
            case s.Name():
                raise _Refused(node, "the row as a whole")
            case s.Call(function=function):
                name = function.name if isinstance(function, s.Field | s.Name) else "a function"
                raise _Refused(node, f"a call of '{name}'")
        raise _Refused(node, f"'{node.parts[0].op}'" if isinstance(node, s.Chain) else "")

    def _object(self, node: s.MapLit, bound: _Bound) -> s.Expr:
        assigned = []
        for key in node.keys:
            if not isinstance(key.key, s.Const):
                raise _Refused(key.key, "keys that are computed")
            assigned.append(
                self.form(key.span, "assignMember", key.key.value, self.operand(key.value, bound))
            )
        return self.form(node.span, "object", s.Array(node.span, tuple(assigned)))

    def stage(self, node: s.Expr) -> tuple[s.Expr, bool]:
        """What a row becomes, and whether that is a value alone, which the database makes a field of."""
        match node:
            case s.MapLit():
                return self._object(node, {}), False
            case s.With(object=s.Name(name=name), updates=updates) if name == self._row:
                parts = [self.form(node.span, "cloneMembers")]
                for steps, value in updates:
                    if len(steps) != 1 or steps[0].kind != "field":
                        raise _Refused(node)
                    new = self.operand(value, {})
                    parts.append(self.form(node.span, "assignMember", steps[0].name, new))
                return self.form(node.span, "object", s.Array(node.span, tuple(parts))), False
        alone = self.form(node.span, "assignMember", "value", self.operand(node, {}))
        return self.form(node.span, "object", s.Array(node.span, (alone,))), True
