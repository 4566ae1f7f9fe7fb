"""Which statements a guest may execute: a list of kinds, checked for all of a text before the first is executed."""

from __future__ import annotations

import re
from typing import Any, Final

from mixkit.errors import FFIError

__all__ = ["GROWING", "admit"]

GROWING: Final = frozenset({"INSERT", "UPDATE", "MERGE_INTO", "CREATE", "ALTER"})
"""What may make a file larger."""

_ADMITTED: Final = frozenset(
    {
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE_INTO",
        "CREATE",
        "ALTER",
        "DROP",
        "TRANSACTION",
        "VACUUM",
        "EXPLAIN",
        "MULTI",  # PIVOT
    }
)
_INSTEAD: Final = {
    "ATTACH": "$duckdb_attach gives a session the records of an app, and each call names its database file",
    "COPY": "rows are read with $duckdb_query and written with parameters",
    "EXPORT": "rows are read with $duckdb_query",
    "PRAGMA": "DESCRIBE, SUMMARIZE and SHOW tell of tables",
    "CALL": "a table function stands in FROM",
    "SET": "settings are the operator's",
    "VARIABLE_SET": "parameters take the place of variables",
    "PREPARE": "each call takes parameters",
    "EXECUTE": "each call takes parameters",
    "LOAD": "extensions are not loaded",
}
_EXPLAIN: Final = re.compile(r"\s*explain\s+(?:analyze\b\s*)?(?:\([^()]*\)\s*)?", re.IGNORECASE)
_PATHS: Final = re.compile(
    r"""duckdb_databases|database_list|(?:duckdb|pg)_settings|current_setting|\bquery(?:_table)?"?(?=\s*(?:\(|/\*|--))""",
    re.IGNORECASE,
)


def admit(connection: Any, text: str, *, file: bool) -> list[Any]:
    """The statements of a text, parsed.

    Args:
        connection: DuckDB's, to parse with.
        file: whether it has a database file, whose path must not be shown, nor opened a second time: closing it again
            would drop the lock that the process has on it.

    Raises:
        FFIError: one of them is of a kind that agents may not execute, or there is none.
        duckdb.Error: the text cannot be parsed.
    """
    if file and (found := _PATHS.search(text)):
        raise FFIError(
            f"{found[0].strip(chr(34))} is not available in a database file, found at {found.start()}; "
            "SHOW TABLES and DESCRIBE tell of tables; a text that only contains the name goes into the parameters"
        )
    try:
        statements: list[Any] = connection.extract_statements(text)
        for statement in statements:
            _check(connection, statement, statement.type.name)
    except ValueError:  # One of a kind that DuckDB's own binding does not know yet.
        raise FFIError(f"expected {_expected()}, found a statement of another kind") from None
    if not statements:
        raise FFIError(f"expected {_expected()}, found no statement")
    return statements


def _check(connection: Any, statement: Any, kind: str) -> None:
    if kind == "EXPLAIN":
        # With ANALYZE, what it explains is executed.
        match = _EXPLAIN.match(statement.query)
        inner = connection.extract_statements(statement.query[match.end() :]) if match else []
        if len(inner) != 1 or (kind := inner[0].type.name) == "EXPLAIN":
            raise FFIError(
                "expected EXPLAIN and one statement behind it, without a comment between them, found "
                f"{statement.query.strip()[:80]!r}"
            )
    if kind not in _ADMITTED:
        instead = f"; {_INSTEAD[kind]}" if kind in _INSTEAD else ""
        raise FFIError(f"expected {_expected()}, found {kind}: {statement.query.strip()[:80]!r}{instead}")


def _expected() -> str:
    return "a query, or a statement that changes tables"
