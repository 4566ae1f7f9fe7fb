"""Types of modules: of each member when it is first asked for, and what is wrong where typing is strict."""

from __future__ import annotations

from functools import partial
from typing import Any

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.infer.statements import Statements
from mix_lang.infer.types import ANY, Con, Scheme, Type, Var, Variant, arrow, prune, text
from mix_lang.program import Member, Program, Unit
from mix_lang.source import Span

__all__ = ["check_types", "member_types", "strict_items"]


def strict_items(module: s.Module) -> set[int]:
    """Where the items start that stand behind `_pragma_ {strictTyping: true}`."""
    found: set[int] = set()
    strict = False
    for item in module.items:
        if isinstance(item, s.Pragma):
            values = item.values if isinstance(item.values, dict) else {}
            strict = values.get("strictTyping", strict) is True
        elif strict:
            found.add(item.span.start)
    return found


def check_types(program: Program, units: list[tuple[Unit, Report]]) -> None:
    """Infer what is to be strict, and report what does not go together."""
    strict = {unit.name: strict_items(unit.module) for unit, _ in units}
    if not any(strict.values()):
        return
    inference = _Inference(program, strict, {unit.name: report for unit, report in units})
    for unit, report in units:
        if strict[unit.name] and not any(item.cls == "error" and item.code < "M04" for item in report.found):
            try:
                inference.unit_types(unit)
            except RecursionError:
                report.add("M0203", Span(0, 0), "this module is nested too deep")


def member_types(program: Program, unit: Unit) -> dict[str, str]:
    """The types of the members of a module, as they are written, as far as they are certain."""
    inference = _Inference(program, {}, {})
    found = {}
    for name, member in unit.members.items():
        if member.kind not in ("def", "cell"):
            continue
        try:
            scheme = inference.member(unit, name)
        except RecursionError:
            continue
        shown = text(scheme.type)
        # What a type has to fulfil beside, and what is open, cannot be written.
        if scheme.type is not ANY and not scheme.constraints and "…" not in shown:
            found[name] = shown
    return found


class _Inference(Statements):
    """All members of a program. A module that is not strict is inferred as well, for those that use it; what does not
    go together there is of no certain type."""

    def __init__(self, program: Program, strict: dict[str, set[int]], reports: dict[str, Report]) -> None:
        super().__init__(program)
        self._strict, self._reports = strict, reports
        self._known: dict[tuple[str, str], Scheme] = {}
        self._running: dict[tuple[str, str], Type] = {}
        self._quiet = False
        self._failed = False

    def error(self, code: str, span: Any, message: str, hint: str, **params: Any) -> None:
        self._failed = True
        report = self._reports.get(self.unit.name)
        if not self._quiet and report is not None:
            report.add(code, span, message, hint=hint, **params)

    def unit_types(self, unit: Unit) -> None:
        """Each item of a module that is strict."""
        report = self._reports[unit.name]
        for param in unit.module.params:
            if param.type is None:
                report.add("M0407", param.span, f"the parameter '{param.name}' has no type",
                           hint=f"write {param.name}: data, or a narrower type", name=param.name)  # fmt: skip
        for item in unit.module.items:
            if item.span.start not in self._strict[unit.name]:
                continue
            name = getattr(item, "name", "")
            member = unit.members.get(name)
            if member is not None and member.item is item and isinstance(item, s.Def | s.CellDef | s.Alias):
                self.member(unit, name)
            elif not isinstance(
                item, s.Meta | s.Pragma | s.Import | s.TypeDef | s.CaseDef | s.Foreign | s.Declare
            ):
                self._within(unit, item.span.start, partial(self._other, item))
        self.solver.give_up()

    def _other(self, item: s.Item) -> None:
        match item:
            case s.Initializer(block=block) | s.Observer(block=block) | s.Test(block=block):
                local = {"appstate": Scheme((), (), Con("appstate"))}
                if isinstance(item, s.Observer) and item.condition is not None:
                    self.infer(item.condition, local)
                self.block(block, local, self.solver.new())
            case s.Def(name="_", body=body) if body is not None and not isinstance(body, s.Block):
                self.infer(body, {})

    def _within(self, unit: Unit, start: int, work: Any) -> bool:
        """Do something for a place of a module, quietly where that is not strict. Whether nothing was wrong."""
        before = self.unit, self.scope, self._quiet, self._failed
        self.unit, self.scope = unit, {}
        self._quiet = start not in self._strict.get(unit.name, ())
        self._failed = False
        try:
            work()
            return not self._failed
        finally:
            self.unit, self.scope, self._quiet, self._failed = before

    def member(self, unit: Unit, name: str) -> Scheme:
        """The type of a member."""
        where = (unit.name, name)
        if where in self._known:
            return self._known[where]
        if where in self._running:
            return Scheme((), (), self._running[where])
        member = unit.members[name]
        self.solver.level += 1
        of: Type = self.solver.new()
        self._running[where] = of
        right = self._within(unit, member.item.span.start, lambda: self._member_type(member, of))
        self.solver.level -= 1
        del self._running[where]
        scheme = self.solver.generalized(of) if member.kind == "def" else Scheme((), (), of)
        if not right and member.item.span.start not in self._strict.get(unit.name, ()):
            scheme = Scheme((), (), ANY)
        self._known[where] = scheme
        return scheme

    def _member_type(self, member: Member, of: Type) -> None:
        item = member.item
        declared = (
            member.declared.type if member.declared is not None and not isinstance(item, s.Param) else None
        )
        if declared is not None and member.declared is not None and member.declared.params is None:
            self.solver.unify(of, self.hinted(declared))
        match item:
            case s.Param(type=hint):
                self.solver.unify(of, self.hinted(hint) if hint is not None else ANY)
            case s.Foreign(type=hint):
                self.solver.unify(of, self.hinted(hint))
            case s.CaseDef(name=name, arg=arg):
                part = None if arg is None else self.hinted(arg)
                made = Variant({name: part})
                self.solver.unify(of, made if part is None else arrow([part], made))
            case s.Alias(target=target):
                self._alias(of, target)
            case s.Def() | s.CellDef():
                self._definition(item, of, declared is not None)
            case _:
                self.solver.unify(of, ANY)

    def _alias(self, of: Type, target: s.Expr) -> None:
        found = prune(self.infer(target, {}))
        self.solver.unify(of, found.args[0] if getattr(found, "name", "") == "link" else found)  # type: ignore[union-attr]

    def _definition(self, item: s.Def | s.CellDef, of: Type, declared: bool) -> None:
        body = item.body
        if item.params is None:
            if item.type is not None:
                self.solver.unify(of, self.hinted(item.type))
            if body is None:
                return
            why = f"'{item.name}' is declared as {text(of)}" if declared or item.type is not None else ""
            if isinstance(body, s.Block):
                self.block(body, {}, of)
            elif declared or item.type is not None:
                self.check(body, of, {}, why)
            else:
                self.relate(
                    body.span, self.infer(body, {}), of, f"'{item.name}' is used so in itself", unify=True
                )
            return
        params: list[Type] = [
            self.solver.new() if p.type is None else self.hinted(p.type) for p in item.params
        ]
        result: Type = self.solver.new() if item.type is None else self.hinted(item.type)
        self.relate(item.span, arrow(params, result), of, f"'{item.name}' is declared so", unify=True)
        local = {p.name: Scheme((), (), t) for p, t in zip(item.params, params, strict=True)}
        if isinstance(body, s.Block):
            self.block(body, local, result)
        elif body is not None:
            why = f"the result of '{item.name}' is {text(result)}"
            if type(prune(result)) is Var:
                self.relate(body.span, self.infer(body, local), result, why, unify=True)
            else:
                self.check(body, result, local, why)
