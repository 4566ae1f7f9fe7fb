"""The answer, and the two forms in which it holds a Value: tagged JSON, and MessagePack where asked for."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import falcon
import falcon.asgi

from mix_server.errors import NotAcceptable
from mixkit import msgpack_values, tagged_json
from mixkit.errors import TaggedJSONError, ValueKindError
from mixkit.forms import JSONText
from mixkit.value import is_large

__all__ = ["NDJSON", "Response", "is_json", "wants_msgpack", "wants_ndjson", "write_any", "write_value"]

Response: TypeAlias = falcon.asgi.Response

NDJSON: Final = "application/x-ndjson"
_X_MSGPACK: Final = "application/x-msgpack"
_WHOLE: Final = [falcon.MEDIA_JSON, falcon.MEDIA_MSGPACK, _X_MSGPACK]


def write_value(accept: str, resp: Response, value: Any) -> None:
    """Make `value` the answer: tagged JSON, or MessagePack where `accept` prefers it. A `JSONText` is one already.

    Raises:
        NotAcceptable: the form asked for cannot hold the value.
    """
    if type(value) is JSONText:
        resp.content_type = falcon.MEDIA_JSON
        resp.data = value
        return
    try:
        if not is_json(accept):
            resp.content_type = falcon.MEDIA_MSGPACK
            resp.data = msgpack_values.pack(value)
        else:
            resp.content_type = falcon.MEDIA_JSON
            resp.data = tagged_json.dumps(value).encode()
    except (TaggedJSONError, ValueKindError) as exc:
        raise NotAcceptable(f"the result cannot be written: {exc}") from None


async def write_any(accept: str, resp: Response, value: Any) -> None:
    """The same for a value of any size: a large one is written in a thread."""
    if type(value) is JSONText or not is_large(value):
        write_value(accept, resp, value)
        return
    import asyncio

    await asyncio.to_thread(write_value, accept, resp, value)


def is_json(accept: str) -> bool:
    """Whether an `Accept` header is answered by JSON as `write_value` does."""
    return accept == "*/*" or not wants_msgpack(accept)


def wants_msgpack(accept: str) -> bool:
    """Whether an `Accept` header prefers MessagePack to JSON."""
    if "msgpack" not in accept:
        return False
    best = falcon.mediatypes.best_match(_WHOLE, accept)
    return best in (falcon.MEDIA_MSGPACK, _X_MSGPACK)


def wants_ndjson(accept: str) -> bool:
    """Whether an `Accept` header prefers NDJSON to what is made whole."""
    return "ndjson" in accept and falcon.mediatypes.best_match([*_WHOLE, NDJSON], accept) == NDJSON
