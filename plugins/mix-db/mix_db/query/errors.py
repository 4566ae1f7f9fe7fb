"""What can be wrong with a query."""

from __future__ import annotations

from mixkit.errors import QueryError, printable

__all__ = ["QueryError", "QueryFormError", "QuerySyntaxError"]


class QuerySyntaxError(QueryError):
    """The text of a query does not follow the grammar.

    `line` and `column` count from 1, in characters; `expected` says what could have stood there.
    """

    code = "query_syntax"

    def __init__(self, expected: str, found: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: expected {expected}, found {printable(found)}")
        self.line = line
        self.column = column
        self.expected = expected


class QueryFormError(QueryError):
    """The JSON form of a query is wrong. `path` names the offending place, as `$[1][2]`."""

    code = "query_form"

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(f"{printable(message)} at {printable(path)}")
        self.path = path
