"""Patterns against each other: what one covers of another, and what a list of them leaves out of a type.

The second is the usual walk over a matrix: rows are alternatives, columns what is still to be matched. For each way in
which a value of the first column's type can be made, the rows that fit it are looked at further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mix_lang import syntax as s
from mix_lang.program import Program

__all__ = ["covers", "missing"]

Row: TypeAlias = tuple[s.Pattern, ...]
_MOST: Final = 200_000
"""Alternatives that are looked at; then it is given up: types of very many cases, within each other or not."""


def covers(first: s.Pattern, second: s.Pattern) -> bool:
    """Whether `first` surely matches all that `second` matches."""
    match first, second:
        case ((s.PAny() | s.PVar()), _):
            return True
        case s.PAt(pattern=inner), _:
            return covers(inner, second)
        case s.PAll(op="or", parts=parts), _ if not isinstance(second, s.PAll):
            return any(covers(part, second) for part in parts)
        case s.PAll(op="and", parts=parts), _:
            return all(covers(part, second) for part in parts)
        case _, s.PAt(pattern=inner):
            return covers(first, inner)
        case _, s.PAll(op="or", parts=parts):
            return all(covers(first, part) for part in parts)
        case _, s.PAll(op="and", parts=parts):
            return any(covers(first, part) for part in parts)
        case s.PConst(value=a), s.PConst(value=b):
            return type(a) is type(b) and bool(a == b)
        case s.PCase(name=a, arg=x), s.PCase(name=b, arg=y):
            return a == b and (x is None) == (y is None) and (x is None or y is None or covers(x, y))
        case s.PArray(slots=a), s.PArray(slots=b):
            return len(a) == len(b) and all(
                x.mode == y.mode and covers(x.pattern, y.pattern) for x, y in zip(a, b, strict=True)
            )
        case s.PMap(fields=a), s.PMap(fields=b):
            known = {key: (inner, optional) for key, inner, optional in b}
            return all(
                key in known and optional >= known[key][1] and covers(inner, known[key][0])
                for key, inner, optional in a
            )
    return False


@dataclass(frozen=True, slots=True)
class _Made:
    """A way in which values of a type are made: how it is written, and the types of its parts."""

    kind: str
    name: Any
    parts: tuple[s.Type, ...]


class _Search:
    def __init__(self, program: Program, module: str) -> None:
        self._program, self._module = program, module
        self._left = _MOST

    def witness(self, rows: Sequence[Row], types: tuple[s.Type, ...]) -> list[str] | None:
        """Examples for the columns that no row matches; None if there are none, or it takes too long."""
        self._left -= 1 + len(rows)
        if self._left < 0:
            return None
        if not types:
            return None if rows else []
        rows = [expanded for row in rows for expanded in _expanded(row)]
        ways = self._ways(types[0])
        if ways is None or all(_is_any(row[0]) for row in rows):
            # Nothing is told apart here; types of cases may go on within themselves for ever.
            rest = self.witness([row[1:] for row in rows if _is_any(row[0])], types[1:])
            return None if rest is None else [self._example(ways), *rest]
        for way in ways:
            fitting = [(*parts, *row[1:]) for row in rows if (parts := _parts(row[0], way)) is not None]
            found = self.witness(fitting, (*way.parts, *types[1:]))
            if found is not None:
                count = len(way.parts)
                return [self._text(way, found[:count]), *found[count:]]
        return None

    def _example(self, ways: list[_Made] | None) -> str:
        """A pattern for some values of a type, from the ways in which they are made."""
        return "_" if not ways else self._text(ways[0], ["_"] * len(ways[0].parts))

    def _ways(self, of: s.Type) -> list[_Made] | None:
        """All ways in which values of a type are made; None if they cannot be told."""
        match of:
            case s.TUnion(options=options):
                found: list[_Made] = []
                for option in options:
                    ways = self._ways(option)
                    if ways is None:
                        return None
                    found += ways
                return found
            case s.TName(qualifier="", name="bool"):
                return [_Made("const", True, ()), _Made("const", False, ())]
            case s.TName(qualifier="", name="null"):
                return [_Made("const", None, ())]
            case s.TApply(qualifier="", name="option", args=(item,)):
                return [_Made("case", ("global", "some"), (item,)), _Made("const", None, ())]
            case s.TApply(qualifier="", name="result", args=(good, bad)):
                return [_Made("case", ("global", "ok"), (good,)), _Made("case", ("global", "error"), (bad,))]
            case s.TTuple(items=items):
                return [_Made("tuple", len(items), items)]
            case s.TLabels(fields=labels):
                names = tuple((name, False) for name, _ in labels)
                return [_Made("record", names, tuple(part for _, part in labels))]
            case s.TRecord(fields=fields):
                names = tuple((name, optional) for name, _, optional in fields)
                return [_Made("record", names, tuple(part for _, part, _ in fields))]
            case s.TName(qualifier=qualifier, name=name):
                return self._named(qualifier, name)
        return None

    def _named(self, qualifier: str, name: str) -> list[_Made] | None:
        of = self._program.type_of(self._module, qualifier, name)
        if of is not None:
            return self._ways(of) if qualifier in ("", "self") else None
        unit = self._program.units[self._module]
        if qualifier not in ("", "self"):
            imported = unit.members.get(qualifier)
            if imported is None or not isinstance(imported.item, s.Import):
                return None
            unit = self._program.units.get(imported.item.module) or unit
        member = unit.members.get(name)
        if member is None or not isinstance(member.item, s.CaseDef):
            return None
        arg = member.item.arg
        return [_Made("case", (qualifier or "self", name), () if arg is None else (arg,))]

    @staticmethod
    def _text(way: _Made, parts: list[str]) -> str:
        if way.kind == "const":
            return {None: "null", True: "true", False: "false"}[way.name]
        if way.kind == "tuple":
            return f"[{', '.join(parts)}]"
        if way.kind == "record":
            # Fields that may be anything are left out, as they may be in a pattern.
            told = [f"{name}: {part}" for (name, _), part in zip(way.name, parts, strict=True) if part != "_"]
            return "{" + ", ".join(told) + "}" if told else "_"
        return ".".join(way.name) + (f"({parts[0]})" if parts else "")


def _expanded(row: Row) -> list[Row]:
    """A row without alternatives and names in its first column; none if the pattern can be told nothing about."""
    first, rest = row[0], row[1:]
    match first:
        case s.PAt(pattern=inner):
            return _expanded((inner, *rest))
        case s.PAll(op="or", parts=parts):
            return [found for part in parts for found in _expanded((part, *rest))]
        case s.PAll(parts=parts):
            tight = [part for part in parts if not _is_any(part)]
            return [row] if not tight else _expanded((tight[0], *rest)) if len(tight) == 1 else []
        case s.PCompare() | s.PType():
            return []
    return [row]


def _is_any(pattern: s.Pattern) -> bool:
    return isinstance(pattern, s.PAny | s.PVar)


def _parts(pattern: s.Pattern, way: _Made) -> tuple[s.Pattern, ...] | None:
    """The patterns of the parts, if the pattern fits values that are made that way."""
    if _is_any(pattern):
        return tuple(s.PAny(pattern.span) for _ in way.parts)
    match pattern:
        case s.PConst(value=value) if way.kind == "const":
            return () if value is way.name else None
        case s.PCase(name=name, arg=arg) if way.kind == "case" and name == way.name[1]:
            return () if arg is None else (arg,)
        case s.PArray(slots=slots) if way.kind == "tuple" and all(slot.mode == "one" for slot in slots):
            return tuple(slot.pattern for slot in slots) if len(slots) == way.name else None
        case s.PMap(fields=fields) if way.kind == "record":
            return _fields(pattern, fields, dict(way.name))
    return None


def _fields(
    pattern: s.Pattern, fields: tuple[tuple[str, s.Pattern, bool], ...], known: dict[str, bool]
) -> tuple[s.Pattern, ...] | None:
    """The patterns of a record's fields, if the pattern fits all records as far as what it asks to be there."""
    asked = {name: (inner, optional) for name, inner, optional in fields}
    if any(not optional and known.get(name, True) for name, (_, optional) in asked.items()):
        return None
    if any(known.get(name, True) and not _is_any(inner) for name, (inner, _) in asked.items()):
        # What is absent binds undefined, which a pattern other than a name may not match.
        return None
    return tuple(asked[name][0] if name in asked else s.PAny(pattern.span) for name in known)


def missing(program: Program, module: str, types: tuple[s.Type, ...], rows: Sequence[Row]) -> str | None:
    """An example, as a pattern, of what values of these types none of the rows matches; None if there is none."""
    search = _Search(program, module)
    if all(search._ways(of) is None for of in types):
        return None
    found = search.witness(rows, types)
    return None if found is None else found[0] if len(found) == 1 else f"({', '.join(found)})"
