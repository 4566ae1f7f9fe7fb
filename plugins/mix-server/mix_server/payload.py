"""Bodies that hold records: tagged JSON or MessagePack, read under a limit."""

from __future__ import annotations

import asyncio
import codecs
from typing import TYPE_CHECKING, Any, Final

from mix_server.errors import BadRequest, OtherType
from mix_server.richness import check_json, check_msgpack
from mixkit import forms, msgpack_values, tagged_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from mix_server.request import Request

__all__ = ["parse", "parse_json", "parse_params", "read_record", "read_value"]

_JSON: Final = ("application/json", "text/json", "")
_MSGPACK: Final = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")
_QUICK: Final = 65_536
"""Bytes that are read where they arrive; more are read in a thread."""


async def read_value(req: Request, limit: int, seconds: float, most: int, *, empty: Any = None) -> Any:
    """The value in the body of a request.

    Args:
        limit: bytes of the body.
        seconds: time in which it must have arrived.
        most: values in it, keys included.
        empty: what no body stands for; None if there must be one.

    Raises:
        BodyTooLarge, BodyTooRich, BodyTimeout, Disconnected: the body did not come as it should.
        UnsupportedBody, TaggedJSONError, MessagePackError, BadRequest: it cannot be read.
    """
    content_type = (req.content_type or "").partition(";")[0].strip().lower()
    if content_type not in _JSON and content_type not in _MSGPACK:
        raise OtherType(f"application/json or {_MSGPACK[0]}", content_type)
    body = await req.body(limit, seconds)
    if not body:
        if empty is not None:
            return empty
        raise BadRequest("expected a body, found none")
    return await parse(_unpack if content_type in _MSGPACK else parse_json, body, most)


def parse_json(body: bytes, most: int) -> Any:
    """The value of tagged JSON with at most so many values in it; a byte order mark before it is not part of it."""
    check_json(body, most)
    return tagged_json.loads(body.removeprefix(codecs.BOM_UTF8))


def parse_params(body: bytes, most: int) -> Any:
    """The same of what an agent gets: packed, where nothing needs to look at the value."""
    check_json(body, most)
    body = body.removeprefix(codecs.BOM_UTF8)
    found = forms.packed(body)
    return tagged_json.loads(body) if found is None else found


def _unpack(body: bytes, most: int) -> Any:
    check_msgpack(body, most)
    return msgpack_values.unpack(body)


async def parse(read: Callable[[bytes, int], Any], body: bytes, most: int) -> Any:
    """Read a body where it is, or in a thread if it is long enough to hold up others."""
    return read(body, most) if len(body) <= _QUICK else await asyncio.to_thread(read, body, most)


async def read_record(req: Request, limit: int, seconds: float, most: int) -> dict[str, Any]:
    """The record in the body. Errors as those of `read_value`."""
    value = await read_value(req, limit, seconds, most)
    if type(value) is not dict:
        raise BadRequest(
            f"expected a record, an object, found {'an array' if type(value) is list else 'none'}"
        )
    return value
