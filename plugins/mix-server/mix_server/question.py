"""What a caller asks of a database: a query, its parameters, and which part of the answer is wanted.

It comes as an object in a body or as a query string. A query is never put together from texts: what was sent is
handed on as it is, and the rest are arguments beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from mix_server.errors import BadRequest
from mix_server.params import from_texts, parse_pairs
from mixkit import tagged_json
from mixkit.errors import TaggedJSONError
from mixkit.fields import valid
from mixkit.schema import RecordType
from mixkit.schema_text import parse

if TYPE_CHECKING:
    from mix_server.stored_queries import StoredQuery
    from mixkit.storage import Cursor, Database, Moment, Reader

__all__ = [
    "EVERYTHING",
    "FIELDS",
    "OPTIONS",
    "Question",
    "from_pairs",
    "from_query_string",
    "from_value",
    "parse_moment",
    "question_of",
    "reader_at",
]

EVERYTHING: Final = "true"
"""The query that keeps every record."""

_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A query and how it is to be run.

    Attributes:
        query, ast: the query's text, or its JSON form; one of the two.
        params: the values of its parameters.
        skip, limit: which rows of the answer are wanted.
        include_deleted, include_superseded: whether tombstones, and versions that are not the newest, are seen.
        as_of: a watermark, Unix milliseconds or an ISO 8601 time with a zone; now if None.
        explain: answer how the query would be run; `"run"` also runs it and has actual numbers of rows.
        timeout: seconds of work.
    """

    query: str | None = None
    ast: list[Any] | None = None
    params: dict[str, Any] = {}
    skip: _Count = 0
    limit: _Count | None = None
    include_deleted: bool = False
    include_superseded: bool = False
    as_of: str | int | None = None
    explain: bool | Literal["run"] = False
    timeout: Annotated[float, Meta(gt=0)] | None = None

    @property
    def source(self) -> str | list[Any]:
        """The query, as a storage takes it. `BadRequest` unless there is exactly one."""
        if self.query is not None and self.ast is None:
            return self.query
        if self.ast is not None and self.query is None:
            return self.ast
        found = "none" if self.query is None else "both"
        raise BadRequest(f"expected a query, as text in query or in its JSON form in ast, found {found}")

    def run(self, database: Database, most_seconds: float) -> Cursor:
        """Begin the query. Errors as those of `Reader.query` and `Database.as_of`."""
        return reader_at(database, self.as_of).query(
            self.source,
            self.params,
            deleted=self.include_deleted,
            superseded=self.include_superseded,
            skip=self.skip,
            limit=self.limit,
            timeout=min(most_seconds, self.timeout or most_seconds),
        )

    def explained(self, database: Database) -> Any:
        """How the query would be run."""
        return reader_at(database, self.as_of).explain(
            self.source,
            self.params,
            deleted=self.include_deleted,
            superseded=self.include_superseded,
            run=self.explain == "run",
        )


_TEXTS: Final = parse(
    "{query?: string, ast?: map(data), params?: map(data), skip?: int, limit?: int, include_deleted?: bool, "
    'include_superseded?: bool, as_of?: string, explain?: bool | "run", timeout?: number}'
)
"""What the texts of a query string mean. `ast` is any JSON here, since an array would be one text each."""


FIELDS: Final = frozenset(Question.__struct_fields__)
"""All fields of a question."""

OPTIONS: Final = FIELDS - {"query", "ast", "params"}
"""Fields of a question that say how a query is run, whichever it is."""


def from_query_string(query: str) -> Question:
    """The question in a query string; `params` and `ast` are tagged JSON there.

    Raises:
        BadRequest, Mismatch, TaggedJSONError: it is malformed.
    """
    return from_pairs(parse_pairs(query))


def from_pairs(pairs: Sequence[tuple[str, str]]) -> Question:
    """The question in the keys and texts of a query string. Raises as `from_query_string`."""
    assert isinstance(_TEXTS, RecordType)
    return _convert(from_texts(pairs, _TEXTS))


def from_value(value: Any) -> Question:
    """The question that a body holds, read as tagged JSON or MessagePack. Raises as `from_query_string`."""
    if type(value) is not dict:
        raise BadRequest('expected {"query": "…", "params": {…}}, found no object')
    return _convert(value)


def _convert(given: dict[str, Any]) -> Question:
    if type(given.get("ast")) is list:
        try:
            # A storage reads the JSON form from JSON, where a Ref is a tagged object.
            given = given | {"ast": tagged_json.to_json(given["ast"])}
        except TaggedJSONError as exc:
            raise BadRequest(f"the JSON form of a query is wrong: {exc}") from None
    try:
        return msgspec.convert(given, Question)
    except msgspec.ValidationError as exc:
        raise BadRequest(f"malformed question: {exc}{valid(exc, Question)}") from None


def parse_moment(text: str | int) -> Moment:
    """A moment as callers write one: a number of milliseconds, a time, or else a watermark, taken as it is.

    Raises:
        BadRequest: a time without a zone.
    """
    if isinstance(text, int):
        return text
    if text.isascii() and text.isdigit() and len(text) < _WATERMARK_DIGITS:
        return int(text)
    if "T" not in text.upper() or len(text) > _LONGEST_TIME:
        return text
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    if found.tzinfo is None:
        raise BadRequest(f"expected as_of with a zone, as 2026-01-31T12:00:00Z, found {text!r}")
    return found


_WATERMARK_DIGITS: Final = 16
"""Fewer digits are milliseconds: these many last for 30,000 years."""
_LONGEST_TIME: Final = 40


def reader_at(database: Database, when: str | int | None) -> Reader:
    """The database as it was then; as it is, for None. `QueryError` if that is no moment, or too long ago."""
    return database if when is None else database.as_of(parse_moment(when))


def question_of(stored: StoredQuery, options: Question, params: dict[str, Any]) -> Question:
    """What a stored query asks with those parameters, which have been bound."""
    ast = stored.definition.ast
    return msgspec.structs.replace(
        options,
        query=stored.definition.query,
        ast=None if ast is None else tagged_json.to_json(ast),
        params=params,
    )
