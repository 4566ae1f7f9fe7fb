"""Kinds of values: which ones a type allows, and which ones an expression surely has.

A set of names, or None where anything may be. Only what has no kind in common is a contradiction; null is left out of
it, because it belongs to all data, and undefined to everything.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from mix_lang import syntax as s
from mix_lang.program import Program
from mixkit.value import UNDEF, Case, Ref

__all__ = ["Kinds", "clash", "kinds_of_type", "kinds_of_value", "shown"]

Kinds: TypeAlias = "frozenset[str] | None"

_SIMPLE: Final[dict[str, Kinds]] = {
    "null": frozenset(("null",)), "bool": frozenset(("bool",)), "number": frozenset(("number",)),
    "string": frozenset(("string",)), "word": frozenset(("number", "string")), "any": None, "appstate": None,
    "array": frozenset(("array",)), "map": frozenset(("map",)), "stream": frozenset(("stream",)), "link": None,
    "option": frozenset(("null", "case some")), "result": frozenset(("case ok", "case error")),
}  # fmt: skip
_NO_DATA: Final = frozenset(("function", "stream"))


def kinds_of_type(of: s.Type, program: Program, module: str, depth: int = 0) -> Kinds:
    """The kinds that values of a type have."""
    match of:
        case s.TVar():
            return None
        case s.TName(qualifier="", name="data"):
            return None
        case s.TName(qualifier="", name=name) | s.TApply(qualifier="", name=name) if name in _SIMPLE:
            return _SIMPLE[name]
        case s.TName(qualifier=qualifier, name=name) | s.TApply(qualifier=qualifier, name=name):
            named = program.type_of(module, qualifier, name)
            if named is not None:
                # Names in it are those of its own module: looked up here only where that is this one.
                if qualifier not in ("", "self") or depth > 20:
                    return None
                return kinds_of_type(named, program, module, depth + 1)
            return frozenset((f"case {name}",)) if _is_case(qualifier, name, program, module) else None
        case s.TTuple():
            return frozenset(("array",))
        case s.TLabels() | s.TRecord():
            return frozenset(("map",))
        case s.TArrow():
            return frozenset(("function",))
        case s.TUnion(options=options):
            found: set[str] = set()
            for option in options:
                kinds = kinds_of_type(option, program, module, depth + 1)
                if kinds is None:
                    return None
                found |= kinds
            return frozenset(found)


def _is_case(qualifier: str, name: str, program: Program, module: str) -> bool:
    if qualifier not in ("", "self"):
        return False
    member = program.units[module].members.get(name)
    return member is not None and member.kind == "case"


def kinds_of_value(value: object) -> Kinds:
    """The kind of a constant."""
    if value is UNDEF:
        return None
    if type(value) is Case:
        return frozenset((f"case {value.name}",))
    if type(value) is Ref or type(value) is bytes:
        return None
    names: dict[type, str] = {
        type(None): "null", bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "map",
    }  # fmt: skip
    return frozenset((names[type(value)],))


def clash(expected: Kinds, found: Kinds) -> bool:
    """Whether no value has both."""
    if expected is None or found is None or "null" in found:
        return False
    return not expected & found


def shown(kinds: Kinds) -> str:
    """Kinds in a message."""
    names = sorted(name.replace("case ", "the case ") for name in kinds or ())
    return " or ".join(names)
