"""The query language of mixquery: three spellings of one AST, and the evaluator that says what it means."""

from mix_db.query.ast import Query
from mix_db.query.errors import QueryError, QueryFormError, QuerySyntaxError
from mix_db.query.evaluate import evaluate
from mix_db.query.json_form import from_json, to_json
from mix_db.query.parser import parse
from mix_db.query.printer import format_query

__all__ = [
    "Query",
    "QueryError",
    "QueryFormError",
    "QuerySyntaxError",
    "evaluate",
    "format_query",
    "from_json",
    "parse",
    "to_json",
]
