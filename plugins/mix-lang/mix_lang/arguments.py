"""Functions of the library look at the kinds of their arguments, as their heads say what these are.

`def map(f: A -> B, a: array(A)): array(B)` raises `array.map: expected an array as a, found int`. In some modules an
argument that is undefined makes the result undefined. Kinds are looked at, and not what is in an array or a map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mix_lang import syntax as s
from mix_lang.library import TWINS
from mix_lang.record import changed
from mix_lang.source import Span
from mixkit.value import UNDEF

__all__ = ["with_arguments_checked"]

_RAISING: Final = {
    *("array", "map", "stream", "option", "result"),
    *("set", "gset", "uniqArray", "bitset", "container", "memo", "registry"),
    *TWINS,
}
_PASSING: Final = {"string", "number"}
"""Modules of which an undefined argument gives undefined."""
_EXPECT: Final = "$expect"
_COUNTS: Final = {"array": "n", "stream": "n", "number": "minLen"}
"""The argument of a module's functions that says how many: a number without a fraction."""
_KINDS: Final = {
    "array": "array",
    "map": "map",
    "stream": "stream",
    "number": "number",
    "string": "string",
    "bool": "bool",
    "option": "option",
    "result": "result",
}


def with_arguments_checked(module: s.Module) -> s.Module:
    """A module of the library whose public functions look at their arguments; others stay as they are."""
    if module.name not in _RAISING | _PASSING:
        return module
    types = {item.name: item.type for item in module.items if isinstance(item, s.TypeDef)}
    items = [_checked(module.name, item, types) if isinstance(item, s.Def) else item for item in module.items]
    if items == list(module.items):
        return module
    text = s.TName(module.span, "", "string")
    kind: s.Type = s.TName(module.span, "", "null")
    for param in (s.TVar(module.span, "A"), text, text, text):
        kind = s.TArrow(module.span, param, kind)
    at = Span(module.span.start, module.span.start)
    expect = s.Foreign(at, _EXPECT, at, True, kind, "%expect", at, (), None)
    return changed(module, items=(expect, *items))


def _checked(module: str, item: s.Def, types: Mapping[str, s.Type]) -> s.Def:
    kinds = [(param.name, _kind(param.type, types)) for param in item.params or ()]
    count = _COUNTS.get(TWINS.get(module, module))
    named = [(name, "whole number" if name == count else kind) for name, kind in kinds if kind]
    if item.private or item.body is None or not named:
        return item
    at = item.name_span

    def expect(name: str, kind: str) -> s.Expr:
        texts = [s.Const(at, text) for text in (f"{module}.{item.name}", kind, name)]
        return s.Call(at, s.Name(at, _EXPECT), (*texts, s.Name(at, name)))

    checks = [expect(*each) for each in named]
    given: s.Expr = s.Present(at, s.Name(at, named[0][0]))
    if len(named) > 1:
        parts = (s.Part("&&", False, at, s.Present(at, s.Name(at, name))) for name, _ in named[1:])
        given = s.Chain(at, given, tuple(parts))
    passing = module in _PASSING
    if isinstance(item.body, s.Block):
        first: list[s.Stmt] = [s.ExprStmt(at, check) for check in checks]
        if passing:
            leave = s.Block(at, (s.Return(at, s.Const(at, UNDEF)),))
            first = [s.IfStmt(at, (s.Branch(at, s.Not(at, given), leave),), None), *first]
        return changed(item, body=changed(item.body, statements=(*first, *item.body.statements)))
    bindings = tuple(s.LetStmt(at, s.PAny(at), None, check) for check in checks)
    body: s.Expr = s.Let(item.body.span, bindings, item.body)
    if passing:
        body = s.If(item.body.span, ((given, body),), s.Const(at, UNDEF))
    return changed(item, body=body)


def _kind(hint: s.Type | None, types: Mapping[str, s.Type]) -> str:
    """The kind of value that a type of the head asks for; empty if it may be of several."""
    if isinstance(hint, s.TArrow):
        return "function"
    if isinstance(hint, s.TRecord | s.TLabels):
        return "map"
    if isinstance(hint, s.TName | s.TApply) and not hint.qualifier:
        # An abbreviation of the module is no part of itself.
        return _kind(types[hint.name], types) if hint.name in types else _KINDS.get(hint.name, "")
    return ""
