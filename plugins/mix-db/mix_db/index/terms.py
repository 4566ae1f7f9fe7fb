"""What the index keeps of a record: each value in it, by where it stands and what sorts like it.

`terms` says it in one page. `mix_db.index.memory` does the same straight into its columns, without making a path
for every value: names may be long and nesting deep, and then the paths of a record are far longer than itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mix_db.index.part import Key, Kind, Path, number_key, text_key
from mixkit.value import Case, Ref

__all__ = ["INDEXED", "KINDS", "PREFIX", "key_of", "terms"]

PREFIX: Final = "_rmx_"
"""How the engine's own fields begin; below the top of a record the names are the client's."""

INDEXED: Final = frozenset({"_rmx_id", "_rmx_type"})
"""The engine's fields that are columns like the client's."""

KINDS: Final[Mapping[type, Kind]] = {
    type(None): Kind.NULL,
    bool: Kind.BOOL,
    int: Kind.INT,
    float: Kind.FLOAT,
    str: Kind.STRING,
    Ref: Kind.REF,
    bytes: Kind.BINARY,
    list: Kind.ARRAY,
    dict: Kind.MAP,
    Case: Kind.CASE,
}


def terms(record: Mapping[str, Any]) -> Iterator[tuple[Path, Kind, Key]]:
    """Every (path, kind, key) of a record; one that occurs twice comes twice and counts once.

    Nothing inside a Case is indexed. The record must have been checked: its kinds, its integers and its text.
    """
    pending: list[tuple[Path, Any]] = [
        ((name,), value) for name, value in record.items() if not name.startswith(PREFIX) or name in INDEXED
    ]
    while pending:
        path, value = pending.pop()
        kind = KINDS[type(value)]
        yield path, kind, key_of(kind, value)
        if kind is Kind.MAP:
            pending += [((*path, name), item) for name, item in value.items()]
        elif kind is Kind.ARRAY:
            inside = (*path, None)
            pending += [(inside, item) for item in value]


def key_of(kind: Kind, value: Any) -> Key:
    """The key of a value of that kind."""
    match kind:
        case Kind.INT | Kind.FLOAT:
            return number_key(value)
        case Kind.STRING:
            return text_key(value)
        case Kind.REF:
            return text_key(value.id)
        case Kind.BOOL:
            return int(value)
        case _:
            return 0
