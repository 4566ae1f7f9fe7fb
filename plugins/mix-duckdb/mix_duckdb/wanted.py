"""Which columns a query can read, by its syntax: so that of a table only these are handed over.

DuckDB's own parser is asked, not the text. Where it is not certain that the columns are named, a star being the
simplest case, all are wanted; columns too many do no harm.
"""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["wanted_columns"]

_LONGEST: Final = 20_000
_MOST: Final = 500
_TABLES: Final = frozenset({"BASE_TABLE", "JOIN", "SUBQUERY", "TABLE_FUNCTION", "EMPTY"})
_JOINS: Final = frozenset({"REGULAR", "CROSS"})
_WHOLE: Final = frozenset({"STAR", "POSITIONAL_REFERENCE"})


def wanted_columns(connection: Any, query: str) -> frozenset[str] | None:
    """The names of all columns that a query may read, without regard to case; None if it may be any.

    Args:
        connection: DuckDB's, which may fail.
    """
    import duckdb

    if len(query) > _LONGEST:
        return None
    try:
        [[text]] = connection.execute("select json_serialize_sql(?::varchar)", [query]).fetchall()
        tree = json.loads(text)
    except (duckdb.Error, ValueError, RecursionError):
        return None
    return None if tree["error"] else _named(tree)


def _named(tree: Any) -> frozenset[str] | None:
    names: set[str] = set()
    last: set[str] = set()
    tables: set[str] = set()
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict):
            if node.get("class") in _WHOLE or not _plain(node):
                return None
            if node.get("class") == "COLUMN_REF":
                path = [name.casefold() for name in node["column_names"]]
                names.update(path)
                last.add(path[-1])
            if _is_source(node):
                tables.update(str(node.get(key) or "").casefold() for key in ("alias", "table_name"))
                names.update(name.casefold() for name in node.get("using_columns", ()))
            left += node.values()
    # A table's name in the place of a column's stands for all of its columns.
    return None if last & tables or len(names) > _MOST else frozenset(names)


def _plain(node: dict[str, Any]) -> bool:
    """Whether what is read from is a table, subquery or join in which columns have their own names."""
    if not _is_source(node):
        return True
    if node.get("type") not in _TABLES or node.get("column_name_alias"):
        return False
    return node["type"] != "JOIN" or node.get("ref_type") in _JOINS


def _is_source(node: dict[str, Any]) -> bool:
    """Whether it is something that is read from."""
    return "sample" in node and "alias" in node
