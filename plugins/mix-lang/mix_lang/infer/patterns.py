"""What patterns say of the value that they are matched with, and what they bind."""

from __future__ import annotations

from mix_lang import syntax as s
from mix_lang.infer.relations import Locals, Relations
from mix_lang.infer.solver import accessed
from mix_lang.infer.types import ANY, Con, Record, Scheme, Type, Var, Variant, array, prune, text

__all__ = ["alternatives", "bind", "narrowed"]


def alternatives(relations: Relations, patterns: list[s.Pattern], of: Type) -> None:
    """Alternatives together say what a value is of which nothing is known yet.

    Where all look at cases, it is one of these; with one that takes anything, or that may fail for another reason, it
    may be others too. Where all are arrays of one length, it is a tuple. Where a type is asked for, it may be anything.
    """
    choices = [choice for pattern in patterns for choice in _choices(pattern)]
    cases: dict[str, Type | None] = {}
    for part in choices:
        if isinstance(part, s.PCase):
            cases[part.name] = None if part.arg is None else cases.get(part.name) or relations.solver.new()
    known = prune(of)
    span = patterns[0].span
    if type(known) is Var and any(isinstance(part, s.PType) for part in choices):
        relations.solver.unify(known, ANY)
    elif cases:
        nulls = (s.PConst,)
        is_open = any(
            not isinstance(part, s.PCase) and not (isinstance(part, nulls) and part.value is None)
            for part in choices
        )
        if type(known) is Variant:
            # Which of its cases are left out is another matter.
            for name in cases.keys() - known.cases.keys():
                if not known.open:
                    relations.error(
                        "M0405", span, f"there is no case '{name}' in {text(known)}", "", name=name
                    )
            cases, is_open = {name: arg for name, arg in cases.items() if name in known.cases}, True
        relations.relate(span, of, Variant(cases, is_open), "the alternatives take cases")
    elif type(known) is Var:
        lengths = {_length(part) for part in choices if not isinstance(part, s.PAny | s.PVar)}
        if len(lengths) == 1 and (length := lengths.pop()) > 0:
            relations.solver.unify(known, Con("tuple", tuple(relations.solver.new() for _ in range(length))))


def _length(pattern: s.Pattern) -> int:
    """Of an array of so many elements how many; else 0."""
    fixed = isinstance(pattern, s.PArray) and all(slot.mode == "one" for slot in pattern.slots)
    return len(pattern.slots) if isinstance(pattern, s.PArray) and fixed else 0


def narrowed(of: Type, before: tuple[s.Clause, ...], index: int) -> Type:
    """What a value may still be behind some alternatives: not the cases that these took whatever was in them."""
    known = prune(of)
    if type(known) is not Variant:
        return of
    taken = {
        choice.name
        for clause in before
        if clause.guard is None
        for choice in _choices(clause.patterns[index])
        if isinstance(choice, s.PCase) and isinstance(choice.arg, s.PVar | s.PAny | None)
    }
    if not taken:
        return of
    return Variant({name: arg for name, arg in known.cases.items() if name not in taken}, known.open)


def _choices(pattern: s.Pattern) -> list[s.Pattern]:
    match pattern:
        case s.PAll(op="or", parts=parts):
            return [choice for part in parts for choice in _choices(part)]
        case s.PAt(pattern=inner):
            return _choices(inner)
    return [pattern]


def bind(relations: Relations, pattern: s.Pattern, of: Type, local: Locals) -> None:
    """Match a pattern with a type; its names are added to `local`."""
    match pattern:
        case s.PVar(name=name):
            local[name] = Scheme((), (), of)
        case s.PAt(name=name, pattern=inner):
            asked = relations.hinted(inner.type) if isinstance(inner, s.PType) else of
            local[name] = Scheme((), (), asked)
            bind(relations, inner, of, local)
        case s.PConst(value=value):
            if value is not None:
                relations.same(pattern.span, of, relations.constant(value), "it is compared with a constant")
        case s.PArray(slots=slots):
            _array(relations, pattern, slots, of, local)
        case s.PMap(fields=fields):
            for name, inner, _ in fields:
                part = relations.solver.new()
                known = prune(of)
                if not (type(known) is Record and name not in known.fields):
                    relations.defer(
                        pattern.span, accessed(name), (of, part), f"the pattern has the key '{name}'"
                    )
                bind(relations, inner, part, local)
        case s.PCase(name=name, arg=arg):
            known = prune(of)
            if type(known) is not Variant:
                relations.relate(
                    pattern.span,
                    of,
                    Variant({name: None if arg is None else relations.solver.new()}, True),
                    "the pattern is a case",
                    unify=True,
                )
                known = prune(of)
            if arg is not None:
                found = known.cases.get(name) if type(known) is Variant else None
                bind(relations, arg, found if found is not None else relations.solver.new(), local)
        case s.PType():
            pass
        case s.PCompare(name=name, right=right):
            if name != "_":
                local[name] = Scheme((), (), of)
            relations.same(pattern.span, of, relations.infer(right, local), "it is compared")
        case s.PAll(parts=parts):
            for each in parts:
                bind(relations, each, of, local)


def _array(
    relations: Relations, pattern: s.PArray, slots: tuple[s.Slot, ...], of: Type, local: Locals
) -> None:
    known = prune(of)
    if type(known) is Con and known.name == "tuple" and len(known.args) == len(slots):
        for slot, part in zip(slots, known.args, strict=True):
            bind(relations, slot.pattern, part, local)
        return
    if type(known) is Con and known.name in ("data", "any"):
        element: Type = known
    else:
        element = relations.solver.new()
        relations.relate(pattern.span, of, array(element), "the pattern is an array", unify=True)
    for slot in slots:
        bind(relations, slot.pattern, array(element) if slot.mode == "multiple" else element, local)
