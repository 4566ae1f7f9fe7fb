"""Which columns a table has, and of which types, by what was seen in its records.

    seen                                  column
    bool, int, float                      BOOLEAN, BIGINT, DOUBLE
    int and float                         DOUBLE, if each int is the same as one; else JSON
    string; ref                           VARCHAR, of a ref its id
    binary                                BLOB
    array                                 LIST of what its items are
    map                                   STRUCT of what its fields are, unless they are none or more than `MAX_INNER`
    anything else, or nothing but null    JSON: the value as tagged JSON

SQL does not tell letters by their case, and takes no name that is empty. `names_in_sql` is the rule.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from mix_db.columns.walk import Code, Plan, Seen, SeenAt

__all__ = [
    "MAX_DEPTH",
    "MAX_FIELDS",
    "MAX_INNER",
    "MAX_PLACES",
    "OWN",
    "REST",
    "ROW",
    "Shape",
    "merged",
    "shape_of",
]

MAX_FIELDS: Final = 1_000
"""Columns that a table has for fields; the fields beyond are in the column `REST`, together."""

MAX_INNER: Final = 200
"""Fields of a struct; a map with more is JSON."""

MAX_PLACES: Final = 5_000
"""Columns, those inside of others counted."""

MAX_DEPTH: Final = 16
"""Levels of lists and structs; what is deeper is JSON."""

REST: Final = "_rmx_rest"
ROW: Final = "_rmx_row"
OWN: Final = {"_rmx_id": Code.ID, "_rmx_rev": Code.REV, "_rmx_last_modified_at": Code.TIME}


@dataclass(frozen=True, slots=True)
class Shape:
    """A column.

    Attributes:
        name: in SQL.
        field: in the records.
        code: what it holds.
        children: the item of a list, the fields of a struct.
    """

    name: str
    field: str
    code: Code
    children: tuple[Shape, ...] = ()

    def plan(self) -> Plan:
        return int(self.code), self.field.encode(), tuple(child.plan() for child in self.children)

    def part(self, names: Collection[str]) -> Shape:
        """A table with these columns only, as far as there are such."""
        known = {name.casefold() for name in names}
        if REST in known:
            # What it has depends on which columns there are.
            return self
        return replace(
            self, children=tuple(child for child in self.children if child.name.casefold() in known)
        )


def merged(one: SeenAt | None, other: SeenAt | None) -> SeenAt | None:
    """What was seen in two sets of rows, in the order of the first."""
    if one is None or other is None:
        return one or other
    kinds = one[0] | other[0]
    fields = dict(one[1])
    for name, field in other[1].items():
        if name in fields:
            fields[name] = merged(fields[name], field)
        elif len(fields) < MAX_FIELDS:
            fields[name] = field
        else:
            kinds |= Seen.WIDE
    return kinds, fields, merged(one[2], other[2])


def shape_of(seen: SeenAt) -> Shape:
    """The columns of a table whose records were seen."""
    kinds, fields, _ = seen
    own = [Shape(REST, REST, Code.REST)] if kinds & Seen.WIDE else []
    own += [Shape(name, name, code) for name, code in OWN.items()]
    names = names_in_sql(fields, taken=(REST, ROW, *OWN))
    columns = (_shape(names[name], name, field) for name, field in fields.items())
    return Shape("", "", Code.STRUCT, (*columns, *own))


def names_in_sql(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """What each name is called in SQL.

    A NUL becomes `_`, and an empty name `unnamed`. Of names that are then the same but for the case of letters, the
    first by code points is kept; the others get `_2`, `_3`, … in that order, or the next number that is free.

    Args:
        names: different ones.
        taken: names that none of them may get.
    """
    used = {name.casefold() for name in taken}
    made = {}
    # Those that need no change come first, so that nobody takes theirs.
    for name in sorted(names):
        base = name.replace("\0", "_") or "unnamed"
        made[name], number = base, 1
        while made[name].casefold() in used:
            number += 1
            made[name] = f"{base}_{number}"
        used.add(made[name].casefold())
    return made


def _shape(name: str, field: str, seen: SeenAt) -> Shape:
    code, (_, fields, item) = _code(seen), seen
    match code:
        case Code.LIST:
            return Shape(name, field, code, (_shape("item", "item", item),))
        case Code.STRUCT:
            names = names_in_sql(fields)
            inner = (_shape(names[inside], inside, at) for inside, at in fields.items())
            return Shape(name, field, code, tuple(inner))
        case _:
            return Shape(name, field, code)


_CODES: Final = {
    Seen.BOOL: Code.BOOL,
    Seen.INT: Code.INT,
    Seen.INT | Seen.BIG: Code.INT,
    Seen.FLOAT: Code.FLOAT,
    Seen.INT | Seen.FLOAT: Code.FLOAT,
    Seen.STRING: Code.TEXT,
    Seen.REF: Code.TEXT,
    Seen.BINARY: Code.BINARY,
}


def _code(seen: SeenAt) -> Code:
    kinds = Seen(seen[0]) & ~Seen.NULL
    if kinds == Seen.ARRAY and seen[2] is not None:
        return Code.LIST
    if kinds == Seen.MAP and 0 < len(seen[1]) <= MAX_INNER:
        return Code.STRUCT
    return _CODES.get(kinds, Code.RAW)
