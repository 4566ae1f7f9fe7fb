"""The text of a query cut into tokens."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mix_db.query.errors import QuerySyntaxError
from mixkit.value import INT64_MAX

__all__ = ["MAX_TEXT", "RESERVED", "Kind", "Token", "is_bare", "syntax_error", "tokenize"]

MAX_TEXT: Final = 65_536
"""Longest text of a query, in characters."""

RESERVED: Final = frozenset(
    ["after", "all", "and", "contains", "exists", "false", "in", "like", "not", "null", "or", "true"]
)
"""Words of the language. A field of such a name is written in backquotes."""

Kind: TypeAlias = Literal["name", "quoted", "string", "param", "int", "float", "symbol", "end"]

_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<float>[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))
  | (?P<int>[0-9]+)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | \$(?P<param>[A-Za-z_][A-Za-z0-9_]*)
  | "(?P<string>(?:[^"\\\x00-\x1f]|\\.)*)"
  | `(?P<quoted>(?:[^`\\\x00-\x1f]|\\.)*)`
  | (?P<symbol>&&|\|\||==|!=|<=|>=|\?\?|\*\*|[-+*/%<>()\[\]{},:.|!])
    """,
    re.VERBOSE,
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNJSON: Final = re.compile(r'\\`|\\.|"')


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text. `value` is what it stands for; `start` its place in the text, from 0."""

    kind: Kind
    value: str | int | float
    start: int
    end: int


def is_bare(name: str) -> bool:
    """Whether a name can be written without backquotes."""
    return _NAME.fullmatch(name) is not None and name not in RESERVED


def tokenize(text: str) -> list[Token]:
    """All tokens, the last of kind `"end"`.

    Raises:
        QuerySyntaxError: a character that begins no token, a bad escape, a number that is too large, or a text
            longer than `MAX_TEXT`.
    """
    if len(text) > MAX_TEXT:
        raise QuerySyntaxError(
            f"at most {MAX_TEXT} characters; give long values as parameters", f"{len(text)}", 1, 1
        )
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _fault(text, at)
        kind = match.lastgroup
        if kind != "space":
            value = _value(text, at, kind, match[kind])  # type: ignore[arg-type, index]
            tokens.append(Token(kind, value, at, match.end()))  # type: ignore[arg-type]
        at = match.end()
    tokens.append(Token("end", "", at, at))
    return tokens


def syntax_error(text: str, at: int, expected: str, found: str) -> QuerySyntaxError:
    """The error for a place in the text, counted from 0."""
    line = text.count("\n", 0, at) + 1
    return QuerySyntaxError(expected, found, line, at - text.rfind("\n", 0, at))


def _fault(text: str, at: int) -> QuerySyntaxError:
    match text[at]:
        case '"' | "`" as quote:
            return syntax_error(text, at, f"a closing {quote} on the same line", "none")
        case "$":
            return syntax_error(text, at, "the name of a parameter after $", repr(text[at + 1 : at + 2]))
        case "&" | "=" | "?" as char:
            return syntax_error(text, at, f"{char}{char}", char)
        case "'":
            return syntax_error(text, at, 'a string in double quotes, "…"', "'")
        case char:
            return syntax_error(text, at, "a key, a value or an operator", repr(char))


def _value(text: str, at: int, kind: Kind, piece: str) -> str | int | float:
    match kind:
        case "int":
            # Counted before converted: digits cost quadratic time. One more than the largest is INT64_MIN's.
            digits = piece.lstrip("0") or "0"
            if len(digits) > 19 or int(digits) > INT64_MAX + 1:
                raise syntax_error(text, at, "an integer of 64 bits", f"{piece[:24]}…")
            return int(digits)
        case "float":
            number = float(piece)
            if number == float("inf"):
                raise syntax_error(text, at, "a number that fits in 64 bits", f"{piece[:24]}…")
            return number
        case "string":
            return _unescape(text, at, piece)
        case "quoted":
            # The escapes are those of JSON and one for the backquote.
            inner = {"\\`": "`", '"': '\\"'}
            return _unescape(text, at, _UNJSON.sub(lambda found: inner.get(found[0], found[0]), piece))
        case _:
            return piece


def _unescape(text: str, at: int, piece: str) -> str:
    try:
        value: str = json.loads(f'"{piece}"')
        value.encode()
    except ValueError:
        raise syntax_error(
            text, at, "escapes as in JSON, no half of a surrogate pair", f"{text[at : at + 24]}"
        ) from None
    return value
