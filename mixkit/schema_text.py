"""Type texts of the Mix language, as manifests have them: `"{urls: array(string), timeout?: number}"`."""

from __future__ import annotations

import json
import re
from typing import Any

from mixkit.errors import MixError
from mixkit.schema import (
    ANY,
    REST,
    ArrayType,
    Field,
    LiteralType,
    MapType,
    RecordType,
    ScalarType,
    Type,
    UnionType,
)

__all__ = ["TypeTextError", "parse", "parse_params"]

_TOKEN = re.compile(r'\s*(?:([A-Za-z_][A-Za-z0-9_]*)|("(?:[^"\\]|\\.)*")|(\.\.\.|[(){}:,?|]))')
_NAMES: dict[str, Type] = {
    name: ScalarType(name)
    for name in ("null", "bool", "int", "number", "string", "binary", "ref", "token", "case")
}
_NAMES |= {"data": ANY, "any": ANY, "word": ScalarType("int"), "array": ArrayType(ANY), "map": MapType(ANY)}
_MAX_DEPTH = 32
_MAX_LENGTH = 10_000


class TypeTextError(MixError, ValueError):
    """A type text is malformed. `column` counts characters from 1."""

    code = "type_text"

    def __init__(self, message: str, text: str, column: int) -> None:
        super().__init__(f"{message} at column {column} of the type {text[:80]!r}")
        self.column = column


def parse(text: str) -> Type:
    """The type that a text describes.

    Grammar: `type = single {"|" single}`; `single = NAME | "array(" type ")" | "map(" type ")" |
    "option(" type ")" | STRING | "{" [field {"," field}] "}"`; `field = NAME ["?"] ":" type | "..."`. The last stands
    at the end of a record that may have more fields.
    """
    if len(text) > _MAX_LENGTH:
        raise TypeTextError(f"a type text has at most {_MAX_LENGTH} characters", text, _MAX_LENGTH)
    parser = _Parser(text)
    result = parser.type(0)
    if parser.peek():
        raise parser.error("expected the end of the text")
    return result


def parse_params(params: Any) -> RecordType:
    """The record type of a manifest's `inParams`: a map of names (`"timeout?"` if optional) to type texts.

    `"...": "data"` in it says that there may be more.
    """
    if isinstance(params, str):
        result = parse(params)
        if not isinstance(result, RecordType):
            raise TypeTextError("parameters are a record {name: type}", params, 1)
        return result
    if not isinstance(params, dict):
        raise TypeTextError("parameters are a map of names to type texts", str(params), 1)
    fields = {}
    for name, text in params.items():
        if not isinstance(text, str):
            raise TypeTextError(f"the type of {name!r} is a text", str(text), 1)
        if name == REST:
            if parse(text) != ANY:
                raise TypeTextError(
                    f'parameters that are not named ("{REST}") are "data", nothing else', text, 1
                )
            continue
        key = name.removesuffix("?")
        if key in fields:
            raise TypeTextError(f"parameter {key!r} stands twice", name, 1)
        fields[key] = Field(parse(text), optional=name.endswith("?"))
    return RecordType(fields, open=REST in params)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def peek(self) -> str:
        match = _TOKEN.match(self.text, self.position)
        if match:
            return match[1] or match[2] or match[3]
        return self.text[self.position :].strip()[:1]

    def take(self, expected: str | None = None) -> str:
        match = _TOKEN.match(self.text, self.position)
        token = (match[1] or match[2] or match[3]) if match else ""
        if not match or (expected is not None and token != expected):
            raise self.error(f"expected {expected or 'a type'}, found {self.peek() or 'the end'}")
        self.position = match.end()
        return token

    def string(self, token: str) -> str:
        try:
            value = json.loads(token)
            value.encode()  # A lone surrogate can be escaped, but is no text.
        except ValueError:
            raise self.error(f"expected a string as JSON writes it, found {token[:80]}") from None
        return str(value)

    def error(self, message: str) -> TypeTextError:
        return TypeTextError(message, self.text, self.position + 1)

    def type(self, depth: int) -> Type:
        if depth > _MAX_DEPTH:
            raise self.error(f"nesting above {_MAX_DEPTH}")
        options = [self.single(depth)]
        while self.peek() == "|":
            self.take()
            options.append(self.single(depth))
        if len(options) == 1:
            return options[0]
        literals = [option for option in options if isinstance(option, LiteralType)]
        if len(literals) == len(options):
            return LiteralType(tuple(value for option in literals for value in option.values))
        return UnionType(tuple(options))

    def single(self, depth: int) -> Type:
        token = self.take()
        if token == "{":
            return self.record(depth)
        if token.startswith('"'):
            return LiteralType((self.string(token),))
        if token in ("array", "map", "option") and self.peek() == "(":
            self.take("(")
            item = self.type(depth + 1)
            self.take(")")
            if token == "option":
                return UnionType((item, ScalarType("null")))
            return ArrayType(item) if token == "array" else MapType(item)
        known = _NAMES.get(token)
        if known is None:
            raise self.error(f"unknown type {token!r}; known are {', '.join(_NAMES)}, option(T), {{f: T}}")
        return known

    def record(self, depth: int) -> RecordType:
        fields: dict[str, Field] = {}
        is_open = False
        while self.peek() != "}":
            name = self.take()
            if name == REST:
                is_open = True
                break
            if name.startswith('"'):
                name = self.string(name)
            elif not name.isidentifier():
                raise self.error(f"expected a field name, found {name!r}")
            optional = self.peek() == "?"
            if optional:
                self.take()
            self.take(":")
            if name in fields:
                raise self.error(f"field {name!r} stands twice")
            fields[name] = Field(self.type(depth + 1), optional)
            if self.peek() != "}":
                self.take(",")
        self.take("}")
        return RecordType(fields, is_open)
