"""Types as they are written, to types that are found out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mix_lang import syntax as s
from mix_lang.infer.types import ANY, DATA, Con, Record, Type, Var, Variant, arrow, free
from mix_lang.program import Program, Unit

__all__ = ["Hints"]

_APPLIED: Final = frozenset(("array", "map", "stream", "link"))
_DEEPEST: Final = 50
_MOST: Final = 5_000
"""Parts of one type that are read; what is beyond may be anything."""


class Hints:
    """Reads the types of a module. The same name of a variable is the same variable within one `scope`."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known: dict[tuple[str, str, int], Type] = {}
        self._left = _MOST

    def read(self, of: s.Type, unit: Unit, scope: dict[str, Type], level: int, depth: int = 0) -> Type:
        """A type. `level`: that of its variables."""

        def part(inner: s.Type) -> Type:
            return self.read(inner, unit, scope, level, depth + 1)

        if depth == 0:
            self._left = _MOST
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            return ANY
        match of:
            case s.TVar(name=name):
                return scope.setdefault(name, Var(level))
            case s.TArrow(param=s.TName(qualifier="", name="null"), result=result):
                return arrow([], part(result))
            case s.TArrow(param=param, result=result):
                return Con("->", (part(param), part(result)))
            case s.TTuple(items=items):
                return Con("tuple", tuple(map(part, items)))
            case s.TLabels(fields=labels):
                return Record({name: (part(inner), False) for name, inner in labels})
            case s.TRecord(fields=fields):
                return Record({name: (part(inner), absent) for name, inner, absent in fields})
            case s.TUnion(options=options):
                return self._union([part(option) for option in options if not _is_null(option)])
            case s.TName() | s.TApply():
                return self._named(
                    of, unit, [part(arg) for arg in of.args] if isinstance(of, s.TApply) else [], level, depth
                )
        raise AssertionError(of)

    @staticmethod
    def _union(parts: list[Type]) -> Type:
        cases: dict[str, Type | None] = {}
        for found in parts:
            if not isinstance(found, Variant):
                return parts[0] if len(parts) == 1 else DATA
            cases |= found.cases
        return Variant(cases)

    def _named(self, of: s.TName | s.TApply, unit: Unit, args: list[Type], level: int, depth: int) -> Type:
        owner, own = self._owner(of.qualifier, unit)
        if (
            own
            and of.name in ("null", "bool", "number", "string", "word", "data", "any", "appstate")
            and not args
        ):
            return Con(of.name)
        if own and of.name in _APPLIED and len(args) == 1:
            return Con(of.name, tuple(args))
        if own and of.name == "option" and len(args) == 1:
            return Variant({"some": args[0]})
        if own and of.name == "result" and len(args) == 2:
            return Variant({"ok": args[0], "error": args[1]})
        if owner is None:
            return ANY
        found = owner.types.get(of.name)
        if found is not None and not found.params:
            return self._once(owner, of.name, depth, lambda: self.read(found.type, owner, {}, 0, depth + 1))
        if found is not None:
            given: dict[str, Type] = dict(zip(found.params, args, strict=False))
            return self.read(found.type, owner, given, 0, depth + 1)
        if args:
            return Variant({of.name: args[0]})
        if of.name in ("some", "ok", "error"):
            return Variant({of.name: ANY})
        case = owner.members.get(of.name)
        arg = case.item.arg if case is not None and isinstance(case.item, s.CaseDef) else None
        if arg is None:
            return Variant({of.name: None})
        return self._once(
            owner, of.name, depth, lambda: Variant({of.name: self.read(arg, owner, {}, level, depth + 1)})
        )

    def _once(self, owner: Unit, name: str, depth: int, read: Callable[[], Type]) -> Type:
        """What a name stands for. Without variables it is the same each time, and is shared: a type of cases that hold
        two of itself is of a size that doubles with each level, when it is written out."""
        key = (owner.name, name, depth)
        found = self._known.get(key)
        if found is None:
            found = read()
            if not free(found):
                self._known[key] = found
        return found

    def _owner(self, qualifier: str, unit: Unit) -> tuple[Unit | None, bool]:
        if qualifier in ("", "self", "global"):
            return unit, True
        member = unit.members.get(qualifier)
        if member is None or not isinstance(member.item, s.Import):
            return None, False
        return self._program.units.get(member.item.module), False


def _is_null(of: s.Type) -> bool:
    return isinstance(of, s.TName) and of.qualifier == "" and of.name == "null"
