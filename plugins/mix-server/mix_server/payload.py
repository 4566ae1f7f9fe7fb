"""Bodies that hold records: tagged JSON or MessagePack, read under a limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from mix_server.errors import BadRequest, UnsupportedBody
from mixkit import msgpack_values, tagged_json

if TYPE_CHECKING:
    from mix_server.request import Request

__all__ = ["read_record", "read_value"]

_JSON: Final = ("application/json", "text/json", "")
_MSGPACK: Final = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")
_QUICK: Final = 65_536
"""Bytes that are read where they arrive; more are read in a thread."""


async def read_value(req: Request, limit: int, seconds: float, *, empty: Any = None) -> Any:
    """The value in the body of a request.

    Args:
        limit: bytes of the body.
        seconds: time in which it must have arrived.
        empty: what no body stands for; None if there must be one.

    Raises:
        BodyTooLarge, BodyTimeout, Disconnected: the body did not come as it should.
        UnsupportedBody, TaggedJSONError, MessagePackError, BadRequest: it cannot be read.
    """
    content_type = (req.content_type or "").partition(";")[0].strip().lower()
    if content_type not in _JSON and content_type not in _MSGPACK:
        raise UnsupportedBody(f"expected application/json or {_MSGPACK[0]}, found {content_type:.80}")
    body = await req.body(limit, seconds)
    if not body:
        if empty is not None:
            return empty
        raise BadRequest("expected a body, found none")
    read = msgpack_values.unpack if content_type in _MSGPACK else tagged_json.loads
    return read(body) if len(body) <= _QUICK else await asyncio.to_thread(read, body)


async def read_record(req: Request, limit: int, seconds: float) -> dict[str, Any]:
    """The record in the body. Errors as those of `read_value`."""
    value = await read_value(req, limit, seconds)
    if type(value) is not dict:
        raise BadRequest(
            f"expected a record, an object, found {'an array' if type(value) is list else 'none'}"
        )
    return value
