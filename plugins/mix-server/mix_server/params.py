"""Parameters of a run, from a JSON body, a form, or the query string.

A body is tagged JSON. A form and a query string hold nothing but texts, so there the entry's types say what
each text means, and what browsers send for fields that were left empty and for checkboxes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from mix_server.errors import BadRequest, OtherType
from mix_server.payload import parse, parse_params
from mixkit import tagged_json
from mixkit.errors import TaggedJSONError
from mixkit.schema import ANY, ArrayType, LiteralType, Mismatch, RecordType, ScalarType, Type, UnionType
from mixkit.value import Ref

if TYPE_CHECKING:
    from mix_server.request import Request

__all__ = ["MAX_FIELDS", "TIMEOUT", "from_texts", "parse_pairs", "read_body", "read_query"]

TIMEOUT: Final = "timeout"
"""The key of the query string that is the server's, not the agent's."""

MAX_FIELDS: Final = 1000
"""Fields that a form or a query string may have."""

_BOOL: Final = ScalarType("bool")
_REF: Final = ScalarType("ref")
_STRING: Final = ScalarType("string")

_TICKED: Final = "on"
"""What a browser sends for a checkbox that is ticked and has no value of its own. It sends nothing for others."""

_JSON_TYPES = ("application/json", "text/json", "")
_FORM_TYPE = "application/x-www-form-urlencoded"


async def read_body(req: Request, types: Type, limit: int, seconds: float, most: int) -> tuple[Any, bytes]:
    """The parameters in the body of a request, `Packed` perhaps, and the body itself; no body is no parameters.

    Args:
        types: what the entry takes, to read a form by.
        limit: bytes of the body.
        seconds: time in which it must have arrived.
        most: values in it, keys included.

    Raises:
        BodyTooLarge, BodyTooRich, BodyTimeout, Disconnected: the body did not come as it should.
        UnsupportedBody, TaggedJSONError, BadRequest, Mismatch: it cannot be read.
    """
    content_type = req.content_type or ""
    if content_type not in _JSON_TYPES:
        content_type = content_type.partition(";")[0].strip().lower()
    if content_type not in _JSON_TYPES and content_type != _FORM_TYPE:
        raise OtherType(f"application/json or {_FORM_TYPE}", content_type)
    body = req.body_at_hand(limit)
    if body is None:
        body = await req.body(limit, seconds)
    if content_type == _FORM_TYPE:
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise BadRequest("expected UTF-8 in the form, percent-encoded or not") from None
        return _unticked(types) | from_texts(parse_pairs(text), types), body
    return await parse(parse_params, body, most) if body else {}, body


def read_query(query: str, types: Type) -> dict[str, Any]:
    """The parameters in a query string, without `timeout`, the server's. Errors as in `from_texts`."""
    return from_texts([pair for pair in parse_pairs(query) if pair[0] != TIMEOUT], types)


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """Keys and texts of a form or a query string, in their order. `BadRequest` if it is malformed."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise BadRequest("expected percent-encoded UTF-8 in the form or the query string") from None
    except ValueError:
        raise BadRequest(f"expected at most {MAX_FIELDS} fields in the form or the query string") from None


def from_texts(pairs: Iterable[tuple[str, str]], types: Type) -> dict[str, Any]:
    """Parameters from texts: each becomes what the entry takes there, a text where it takes anything.

    An empty text is a field that was left empty: it is no parameter where there need be none and an empty text is
    nothing that the entry takes.

    Raises:
        Mismatch: a text cannot become what the entry takes.
        BadRequest: a key stands twice that is not an array's.
    """
    texts: dict[str, list[str]] = {}
    for key, text in pairs:
        texts.setdefault(key, []).append(text)
    fields = types.fields if isinstance(types, RecordType) else {}
    params = {}
    for key, values in texts.items():
        field = fields.get(key)
        type = field.type if field else ANY
        left_empty = bool(field and field.optional and values == [""])
        if left_empty and type == _REF:
            continue
        try:
            params[key] = _convert(type, values)
        except (Mismatch, TaggedJSONError) as exc:
            if left_empty:
                continue
            raise exc.under(f".{key}") if isinstance(exc, Mismatch) else exc from None
        except _Repeated:
            raise BadRequest(f"expected one {key[:80]!r}, found {len(values)}") from None
    return params


def _unticked(types: Type) -> dict[str, Any]:
    """What a form says by sending nothing: a checkbox that must be there is not ticked."""
    fields = types.fields if isinstance(types, RecordType) else {}
    return {key: False for key, field in fields.items() if field.type == _BOOL and not field.optional}


class _Repeated(Exception):
    """Several texts where one belongs."""


def _convert(type: Type, texts: list[str]) -> Any:
    match type:
        case ArrayType(item) if len(texts) > 1 or not texts[0].startswith("[") or _takes_text(item):
            return [_convert(item, [text]) for text in texts]
        case UnionType(options):
            return _first_fit(type, options, texts)
        case _ if len(texts) > 1:
            raise _Repeated
        case LiteralType(values):
            return _literal(type, values, texts[0])
        case ScalarType(name):
            return _scalar(name, texts[0])
        case _:
            # Maps, records, and arrays written as JSON: the entry's own check sees whether they fit.
            return tagged_json.loads(texts[0])


def _takes_text(type: Type) -> bool:
    """Whether a text that looks like an array is a text for it."""
    match type:
        case UnionType(options):
            return any(map(_takes_text, options))
        case LiteralType(values):
            return any(str(value).startswith("[") for value in values)
        case _:
            return type == _STRING


def _scalar(name: str, text: str) -> Any:
    match name:
        case "data" | "string":
            return text
        case "ref":
            return Ref(text)
        case "null" if text in ("", "null"):
            return None
        case "bool" if text in ("true", "false", _TICKED):
            return text != "false"
        case "int" | "number":
            return _number(name, text)
        case "binary" | "case":
            return tagged_json.loads(text)
    raise Mismatch(name, f"the text {text[:80]!r}")


def _number(name: str, text: str) -> int | float:
    # As JSON has them: what Python reads beyond that (underscores, spaces, other digits) is no interface.
    try:
        value = tagged_json.loads(text) if text[:1] in "-0123456789" else None
    except ValueError:
        value = None
    if type(value) is int or (type(value) is float and (name == "number" or value.is_integer())):
        return value
    raise Mismatch(name, f"the text {text[:80]!r}")


def _literal(type: Type, values: tuple[str | int | bool, ...], text: str) -> Any:
    for value in values:
        if text == (value if isinstance(value, str) else str(value).lower()):
            return value
    raise Mismatch(str(type), f"the text {text[:80]!r}")


def _first_fit(type: Type, options: tuple[Type, ...], texts: list[str]) -> Any:
    # A string fits every text, so it is the last one to be asked.
    for option in sorted(options, key=lambda option: option in (ANY, _STRING)):
        if option == _BOOL and texts == [_TICKED] and _STRING in options:
            continue
        try:
            return _convert(option, texts)
        except (Mismatch, ValueError, _Repeated):
            continue
    raise Mismatch(str(type), f"the text {texts[0][:80]!r}")
