"""Types of expressions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mix_lang import syntax as s
from mix_lang.check.hints import counted
from mix_lang.infer import patterns
from mix_lang.infer.relations import Locals, Relations
from mix_lang.infer.solver import (
    Clash,
    Missing,
    accessed,
    added,
    chained,
    indexed,
    sliced,
)  # fmt: skip
from mix_lang.infer.types import (
    ANY,
    BOOL,
    DATA,
    NULLS,
    NUMBER,
    STRING,
    Con,
    Record,
    Scheme,
    Type,
    Var,
    Variant,
    array,
    arrow,
    map_of,
    named,
    prune,
    text,
)  # fmt: skip
from mix_lang.program import Unit

__all__ = ["Bodies"]


class Bodies(Relations):
    """Finds out the types of what stands inside of definitions."""

    def member(self, unit: Unit, name: str) -> Scheme:
        raise NotImplementedError

    def block(self, block: s.Block, local: Locals, result: Type) -> None:
        raise NotImplementedError

    def check(self, node: s.Expr, wanted: Type, local: Locals, why: str) -> None:
        """An expression where a type is wanted; what is wanted goes inward, to where it is missed."""
        known = prune(wanted)
        match node, known:
            case s.Array(items=items), Con(name="tuple", args=args) if len(items) == len(args):
                for item, part in zip(items, args, strict=True):
                    self.check(item, part, local, why)
            case s.Array(items=items), Con(name="tuple", args=args):
                for item in items:
                    self.infer(item, local)
                self.error(
                    "M0406", node.span, f"expected a tuple of {len(args)}, found one of {len(items)}", why,
                    expected=text(known), found=str(len(items)),
                )  # fmt: skip
            case s.Array(items=items), Con(name="array", args=(part,)):
                for item in items:
                    self.check(item, part, local, why)
            case s.MapLit(keys=keys), Con(name="map", args=(part,)):
                for key in keys:
                    self.check(key.key, STRING, local, "keys are strings")
                    self.check(key.value, part, local, why)
            case s.MapLit(keys=keys), Record(fields=fields) if _is_record(node):
                self._record(node, fields, local, why)
            case s.Lambda(clauses=clauses), Con(name="->"):
                self._lambda(clauses, known, local, why)
            case s.If(branches=branches, otherwise=otherwise), Con() | Record() | Variant():
                for condition, value in branches:
                    self.check(condition, BOOL, local, "a condition is a bool")
                    self.check(value, known, local, why)
                self.check(otherwise, known, local, why)
            case s.Let(bindings=bindings, body=body), _:
                self.check(body, wanted, self.lets(bindings, local), why)
            case _:
                self.relate(node.span, self.infer(node, local), wanted, why)

    def infer(self, node: s.Expr, local: Locals) -> Type:
        """The type of an expression."""
        match node:
            case s.Const(value=value):
                return self.constant(value)
            case s.Regex():
                return STRING
            case s.Name(name=name):
                return self._named(node, name, local)
            case s.Qualified(scope="self", name=name):
                return self._member(node, self.unit, name)
            case s.Qualified(name=name):
                return self._global(node, name)
            case s.Field():
                return self._field(node, local)
            case s.Dynamic(object=of, key=key) | s.Index(object=of, index=key):
                return self._indexed(node, of, key, local)
            case s.TupleAt(object=of, index=index, size=size):
                items: list[Type] = [self.solver.new() for _ in range(size)]
                self.check(of, Con("tuple", tuple(items)), local, f"an element of {size} is taken")
                return items[index]
            case s.Label(object=of, name=name):
                return self._access(node, self.infer(of, local), name)
            case s.Present(operand=operand):
                self.infer(operand, local)
                return BOOL
            case s.Slice(object=of, first=first, last=last):
                for end in (first, last):
                    if end is not None:
                        self.check(end, NUMBER, local, "a slice goes from number to number")
                result = self.solver.new()
                self.defer(node.span, sliced, (self.infer(of, local), result), "a stream is made of an array")
                return result
            case s.Call():
                return self._call(node, local)
            case s.Previous(name=name):
                return self._member(node, self.unit, name)
            case s.Not(operand=operand):
                self.check(operand, BOOL, local, "'not' takes a bool")
                return BOOL
            case s.Neg(operand=operand):
                self.check(operand, NUMBER, local, "'-' takes a number")
                return NUMBER
            case s.Chain():
                return self._chain(node, local)
            case s.Array(items=items_):
                return self._array([self.infer(item, local) for item in items_])
            case s.Labels(fields=fields):
                return Record({name: (self.infer(value, local), False) for name, value in fields})
            case s.MapLit():
                return self._map(node, local)
            case s.Lambda(clauses=clauses):
                return self._lambda(clauses, None, local, "")
            case s.If(branches=branches, otherwise=otherwise):
                for condition, _ in branches:
                    self.check(condition, BOOL, local, "a condition is a bool")
                return self.join([(value, self.infer(value, local)) for _, value in branches]
                                 + [(otherwise, self.infer(otherwise, local))])  # fmt: skip
            case s.Let(bindings=bindings, body=body):
                return self.infer(body, self.lets(bindings, local))
            case s.Try(operand=operand):
                return Variant({"ok": self.infer(operand, local), "error": ANY})
            case s.Do(block=block):
                result = self.solver.new()
                self.block(block, local, result)
                return result
            case s.With():
                return self._with(node, local)
            case s.Hint(operand=operand, type=of_hint):
                wanted = self.hinted(of_hint)
                self.check(operand, wanted, local, "it is hinted so")
                return wanted
            case s.TypeCheck(type=of_hint):
                return arrow([ANY], self.hinted(of_hint))
            case s.Action(params=params, block=block):
                inner = dict(local)
                for param in params:
                    inner[param.name] = Scheme(
                        (), (), self.hinted(param.type) if param.type else self.solver.new()
                    )
                inner["appstate"] = Scheme((), (), Con("appstate"))
                self.block(block, inner, self.solver.new())
                return map_of(DATA)
            case s.Inverse(case=case):
                part = self.solver.new()
                name = case.name if isinstance(case, s.Name | s.Qualified | s.Field) else ""
                return arrow([Variant({name: part}, True)], part)
        raise AssertionError(node)

    # Names

    def _use(self, node: s.Expr, scheme: Scheme) -> Type:
        return self.solver.instance(scheme, partial(self._guard, node.span))

    def _named(self, node: s.Expr, name: str, local: Locals) -> Type:
        if name in local:
            return self._use(node, local[name])
        return self._member(node, self.unit, name) if name in self.unit.members else self._global(node, name)

    def _member(self, node: s.Expr, unit: Unit, name: str) -> Type:
        member = unit.members.get(name)
        if member is None or isinstance(member.item, s.Import):
            # A module as a value has no type of its own.
            return ANY
        return self._use(node, self.member(unit, name))

    def _global(self, node: s.Expr, name: str) -> Type:
        a: Type = self.solver.new()
        b: Type = self.solver.new()
        c: Type = self.solver.new()
        return {
            "some": arrow([a], Variant({"some": a})), "ok": arrow([a], Variant({"ok": a})),
            "error": arrow([a], Variant({"error": a})), "unset": Variant({"unset": None}),
            "withDefault": arrow([a, a], a), "noDefault": arrow([a], a), "fail": arrow([ANY], a),
            "recurse": arrow([arrow([arrow([a], b), a], b)], arrow([a], b)),
            "recurse2": arrow([arrow([arrow([a, b], c), a, b], c)], arrow([a, b], c)),
            "datacase": arrow([ANY], STRING), "debug": arrow([ANY], NULLS), "floor": arrow([NUMBER], NUMBER),
            "ceil": arrow([NUMBER], NUMBER), "getNextActions": arrow([], array(DATA)),
            "contents": arrow([Con("link", (a,))], a), "link": arrow([a], Con("link", (a,))),
        }.get(name) or arrow([Con("appstate"), array(DATA)], NULLS)  # fmt: skip

    def _field(self, node: s.Field, local: Locals) -> Type:
        module = node.object.name if isinstance(node.object, s.Name) else ""
        found = self.unit.members.get(module) if module not in local else None
        if found is not None and isinstance(found.item, s.Import):
            other = self.program.units.get(found.item.module)
            if other is None or node.name not in other.members:
                return ANY
            of = self._member(node, other, node.name)
            return Con("link", (of,)) if other.members[node.name].kind in ("cell", "alias") else of
        return self._access(node, self.infer(node.object, local), node.name)

    # Places in values

    def _access(self, node: s.Expr, of: Type, name: str) -> Type:
        result = self.solver.new()
        self.defer(node.span, accessed(name), (of, result), f"the field '{name}' is taken of it")
        return result

    def _indexed(self, node: s.Expr, of: s.Expr, key: s.Expr, local: Locals) -> Type:
        whole = self.infer(of, local)
        known = prune(whole)
        if isinstance(key, s.Const) and type(known) is Record and type(key.value) is str:
            return self._access(node, known, key.value)
        if (
            isinstance(key, s.Const)
            and type(key.value) is int
            and type(known) is Con
            and known.name == "tuple"
        ):
            return known.args[key.value] if 0 <= key.value < len(known.args) else self.solver.new()
        result = self.solver.new()
        self.defer(node.span, indexed, (whole, self.infer(key, local), result), "an element is taken of it")
        return result

    def _with(self, node: s.With, local: Locals) -> Type:
        of = self.infer(node.object, local)
        for steps, value in node.updates:
            of = self.updated(of, steps, value, local)
        return of

    def updated(self, of: Type, steps: tuple[s.Step, ...], value: s.Expr, local: Locals) -> Type:
        """The type of a value in which a place is changed: maps may get fields that they lacked."""
        step = steps[0]
        for each in steps:
            if each.key is not None:
                self.infer(each.key, local)
        known = prune(of)
        if len(steps) == 1 and step.kind in ("field", "label") and type(known) is Record:
            if step.name in known.fields:
                self.check(value, known.fields[step.name][0], local, f"the field '{step.name}' has that type")
                return of
            return Record({**known.fields, step.name: (self.infer(value, local), False)})
        part = self._part(step, of, local)
        if len(steps) > 1:
            self.updated(part, steps[1:], value, local)
        else:
            self.check(value, part, local, "what is there has that type")
        return of

    def _part(self, step: s.Step, of: Type, local: Locals) -> Type:
        part: Type = self.solver.new()
        if step.kind in ("field", "label"):
            self.defer(step.span, accessed(step.name), (of, part), f"the field '{step.name}' is changed")
        elif step.kind == "tuple":
            items: list[Type] = [self.solver.new() for _ in range(step.size)]
            self.relate(step.span, of, Con("tuple", tuple(items)), "an element of a tuple is changed")
            part = items[step.index]
        elif step.key is not None:
            self.defer(step.span, indexed, (of, self.infer(step.key, local), part), "an element is changed")
        return part

    # Literals

    def _array(self, items: list[Type]) -> Type:
        """An array; a tuple where the elements are of types that do not go together, or may not."""
        if len(items) > 1 and any(type(prune(item)) is Var for item in items):
            return Con("tuple", tuple(items))
        found: Type = self.solver.new()
        try:
            for index, item in enumerate(items):
                found = item if index == 0 else self.solver.joined(found, item)
        except (Clash, Missing):
            return Con("tuple", tuple(items))
        return array(found)

    def _record(self, node: s.MapLit, wanted: dict[str, tuple[Type, bool]], local: Locals, why: str) -> None:
        given = {key.key.value: key.value for key in node.keys if isinstance(key.key, s.Const)}
        for name, value in given.items():
            if name in wanted:
                self.check(value, wanted[name][0], local, why)
            else:
                self.infer(value, local)
        for name, (_, absent) in wanted.items():
            if name not in given and not absent:
                self.error("M0405", node.span, f"the field '{name}' is missing", why, name=name)

    def _map(self, node: s.MapLit, local: Locals) -> Type:
        if not node.keys:
            return map_of(self.solver.new())
        if _is_record(node):
            return Record({key.key.value: (self.infer(key.value, local), False)
                           for key in node.keys if isinstance(key.key, s.Const)})  # fmt: skip
        for key in node.keys:
            self.check(key.key, STRING, local, "keys are strings")
        return map_of(self.join([(key.value, self.infer(key.value, local)) for key in node.keys]))

    def join(self, parts: Sequence[tuple[s.Expr | s.Block, Type]]) -> Type:
        """The type of what is one of several."""
        found = parts[0][1]
        for node, of in parts[1:]:
            found = self._joined(node, found, of)
        return found

    def _joined(self, node: s.Expr | s.Block, before: Type, of: Type) -> Type:
        joined = [before]
        why = f"what stands before gives {text(before)}"
        self._guarded(node.span, why, lambda: joined.append(self.solver.joined(before, of)), None, None)
        return joined[-1]

    # Operators

    def _chain(self, node: s.Chain, local: Locals) -> Type:
        left = self.infer(node.first, local)
        operand: s.Expr = node.first
        for part in node.parts:
            right = self.infer(part.operand, local)
            if part.op in ("-", "*", "/", "%"):
                for other, of in ((operand, left), (part.operand, right)):
                    self.relate(other.span, of, NUMBER, f"'{part.op}' takes numbers")
                result: Type = NUMBER
            elif part.op in ("&&", "||"):
                for other, of in ((operand, left), (part.operand, right)):
                    self.relate(other.span, of, BOOL, f"'{part.op}' takes bools")
                result = BOOL
            elif part.op in ("+", "++"):
                result = self.solver.new()
                what = "'+' adds two numbers, strings, arrays or maps, and numbers to strings"
                self.defer(part.span, added if part.op == "+" else chained, (left, right, result), what)
            else:
                self.same(part.span, left, right, f"'{part.op}' compares values of one type")
                result = BOOL
            left, operand = result, part.operand
        return left

    # Functions

    def _call(self, node: s.Call, local: Locals) -> Type:
        if isinstance(node.function, s.TypeCheck) and len(node.args) == 1:
            self.infer(node.args[0], local)
            return self.hinted(node.function.type)
        if isinstance(node.function, s.Name) and node.function.name == "contents" and len(node.args) == 1:
            of = prune(self.infer(node.args[0], local))
            return of.args[0] if type(of) is Con and of.name == "link" else of
        of = self.infer(node.function, local)
        called = _called(node.function)
        if isinstance(node.function, s.Name):
            called += self.defined(node.function.name, local)
        if not node.args:
            known = prune(of)
            return known.args[0] if type(known) is Con and known.name == "() ->" else of
        for number, arg in enumerate(node.args, 1):
            known = prune(of)
            if named(known) == "any":
                self.infer(arg, local)
                continue
            if type(known) is Var:
                self.solver.unify(known, arrow([self.solver.new()], self.solver.new()))
                known = prune(of)
            if type(known) is not Con or known.name != "->":
                self.error(
                    "M0406", node.function.span, f"expected a function, found {text(known)}",
                    f"it is called with {counted(len(node.args), 'argument')}", expected="function", found=text(known),
                )  # fmt: skip
                return ANY
            self.check(
                arg, known.args[0], local, f"{text(known.args[0])} is what argument {number} is of {called}"
            )
            of = known.args[1]
        return of

    def _lambda(self, clauses: tuple[s.Clause, ...], wanted: Type | None, local: Locals, why: str) -> Type:
        params: list[Type] = []
        rest = prune(wanted) if wanted is not None else None
        for _ in clauses[0].patterns:
            if type(rest) is Con and rest.name == "->":
                params.append(rest.args[0])
                rest = prune(rest.args[1])
            else:
                params.append(self.solver.new())
                rest = None
        for index, param in enumerate(params):
            patterns.alternatives(self, [clause.patterns[index] for clause in clauses], param)
        results: list[tuple[s.Expr | s.Block, Type]] = []
        for number, clause in enumerate(clauses):
            inner = dict(local)
            for index, (pattern, param) in enumerate(zip(clause.patterns, params, strict=True)):
                left = patterns.narrowed(param, clauses[:number], index) if len(params) == 1 else param
                patterns.bind(self, pattern, left, inner)
            if clause.guard is not None:
                self.check(clause.guard, BOOL, inner, "a guard is a bool")
            if isinstance(clause.body, s.Block):
                result: Type = self.solver.new()
                self.block(clause.body, inner, result)
                results.append((clause.body, result))
            elif rest is not None:
                self.check(clause.body, rest, inner, why)
            else:
                results.append((clause.body, self.infer(clause.body, inner)))
        if rest is None:
            return arrow(params, self.join(results))
        for body, result in results:
            self.relate(body.span, result, rest, why)
        return arrow(params, rest)

    def lets(self, bindings: tuple[s.LetStmt, ...], local: Locals) -> Locals:
        """The names that some lets bind, in order. A function is for all types that it can be of."""
        inner = dict(local)
        for binding in bindings:
            self.let(binding, inner)
        return inner

    def let(self, node: s.LetStmt, local: Locals) -> None:
        """A let; its names are added to `local`."""
        self.solver.level += 1
        if node.type is None:
            of = self.infer(node.value, local)
        else:
            of = self.hinted(node.type)
            self.check(node.value, of, local, f"it is hinted as {text(of)}")
        self.solver.level -= 1
        if isinstance(node.pattern, s.PVar) and isinstance(node.value, s.Lambda):
            local[node.pattern.name] = self.solver.generalized(of)
            return
        for var in _deeper(of, self.solver.level):
            var.level = self.solver.level
        patterns.alternatives(self, [node.pattern], of)
        patterns.bind(self, node.pattern, of, local)


def _is_record(node: s.MapLit) -> bool:
    """Whether the keys of a map literal are known."""
    return all(isinstance(key.key, s.Const) and type(key.key.value) is str for key in node.keys)


def _deeper(of: Type, level: int) -> list[Var]:
    from mix_lang.infer.types import free

    return [var for var in free(of) if var.level > level]


def _called(node: s.Expr) -> str:
    match node:
        case s.Name(name=name) | s.Qualified(name=name):
            return f"'{name}'"
        case s.Field(object=s.Name(name=module), name=name):
            return f"'{module}.{name}'"
    return "the function"
