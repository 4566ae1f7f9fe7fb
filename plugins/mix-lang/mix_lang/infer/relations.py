"""How types go together, and what is said where they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from mix_lang import syntax as s
from mix_lang.check.hints import near
from mix_lang.infer.hints import Hints
from mix_lang.infer.solver import Clash, Constraint, Missing, NoSum, Solver, Uncertain, compared
from mix_lang.infer.types import (
    BOOL,
    DATA,
    NULLS,
    NUMBER,
    STRING,
    Scheme,
    Type,
    Variant,
    named,
    prune,
    text,
)
from mix_lang.program import Program, Unit
from mixkit.value import UNDEF, Case

__all__ = ["Locals", "Relations"]

Locals: TypeAlias = "dict[str, Scheme]"


class Relations:
    """Says how types go together. What does not is given to `error`.

    Attributes:
        unit: the module that is looked at.
        scope: what its type variables stand for.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.solver = Solver()
        self.hints = Hints(program)
        self.unit: Unit = next(iter(program.units.values()))
        self.scope: dict[str, Type] = {}

    def error(self, code: str, span: Any, message: str, hint: str, **params: Any) -> None:
        raise NotImplementedError

    def infer(self, node: s.Expr, local: Locals) -> Type:
        """The type of an expression."""
        raise NotImplementedError

    # Relations, with what is said when they do not hold

    def relate(self, span: Any, found: Type, wanted: Type, why: str, *, unify: bool = False) -> None:
        relation = self.solver.unify if unify else self.solver.fits
        self._guarded(span, why, lambda: self.solver.checked(relation, found, wanted), found, wanted)

    def same(self, span: Any, a: Type, b: Type, why: str) -> None:
        """Two values that are compared."""
        self.defer(span, compared, (a, b), why)

    def defer(self, span: Any, solve: Any, types: tuple[Type, ...], what: str) -> None:
        self.solver.add(Constraint(solve, types, self._guard(span, what), f"{what}, at {self.place(span)}"))

    def place(self, span: Any) -> str:
        """Where something stands, for messages about something else."""
        found = self.unit.source.location(span)
        return f"{found.file}:{found.start_line}:{found.start_col}"

    def defined(self, name: str, local: Locals) -> str:
        """Where a name of this module is defined, for messages."""
        member = None if name in local else self.unit.members.get(name)
        return "" if member is None else f", at {self.place(member.item.span)}"

    def _guard(self, span: Any, why: str) -> Callable[[Callable[[], bool]], bool]:
        unit = self.unit

        def guard(work: Callable[[], bool]) -> bool:
            done: list[bool] = []
            before, self.unit = self.unit, unit
            try:
                self._guarded(span, why, lambda: done.append(work()), None, None)
            finally:
                self.unit = before
            return done[0] if done else True

        return guard

    def _guarded(
        self, span: Any, why: str, work: Callable[[], Any], found: Type | None, wanted: Type | None
    ) -> None:
        try:
            work()
        except Missing as exc:
            hint = near(exc.name, exc.of.fields) or why
            self.error(
                "M0405", span, f"there is no field '{exc.name}' in {text(exc.of)}", hint, name=exc.name
            )
        except Uncertain:
            self.error(
                "M0408", span, "what type this is of is not certain", f"give a hint, as (x: number); {why}"
            )
        except NoSum as exc:
            left, right = text(exc.left), text(exc.right)
            if "data" in (left, right):
                checked = next((name for name in (left, right) if name != "data"), "number")
                why = f"{why}; check it as it comes: x |> type({checked})"
            self.error(
                "M0406",
                span,
                f"'+' cannot add {left} and {right}",
                why,
                expected="+",
                found=f"{left} and {right}",
            )
        except Clash as exc:
            names: dict[int, str] = {}
            wanted_text, found_text = text(exc.wanted, names), text(exc.found, names)
            if found is not None and wanted is not None and prune(found) is not prune(exc.found):
                why = f"{why}; in all {text(wanted, names)} and {text(found, names)}"
            if named(exc.found) == "data":
                why = f"{why}; check it as it comes: x |> type({wanted_text})"
            self.error(
                "M0406", span, f"expected {wanted_text}, found {found_text}", why,
                expected=wanted_text, found=found_text,
            )  # fmt: skip

    # Types of what is written

    def hinted(self, of: s.Type) -> Type:
        """A type as it is written here."""
        return self.hints.read(of, self.unit, self.scope, self.solver.level)

    def constant(self, value: Any) -> Type:
        match value:
            case None:
                return NULLS
            case bool():
                return BOOL
            case int() | float():
                return NUMBER
            case str():
                return STRING
            case Case(name=name, arg=arg):
                return Variant({name: None if arg is UNDEF else self.constant(arg)})
        return self.solver.new() if value is UNDEF else DATA
