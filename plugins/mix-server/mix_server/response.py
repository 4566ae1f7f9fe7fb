"""The answer, and the two forms in which it holds a Value: tagged JSON, and MessagePack where asked for."""

from __future__ import annotations

from typing import Any, TypeAlias

import falcon
import falcon.asgi
import msgspec

from mix_server.errors import NotAcceptable
from mixkit import tagged_json
from mixkit.errors import TaggedJSONError
from mixkit.value import UNDEF, Case, Ref, kind_of

__all__ = ["Response", "pack", "write_value"]

Response: TypeAlias = falcon.asgi.Response

REF_EXTENSION = 1
CASE_EXTENSION = 2


def write_value(accept: str, resp: Response, value: Any) -> None:
    """Make `value` the answer: tagged JSON, or MessagePack where `accept` prefers it.

    Raises:
        NotAcceptable: the form asked for cannot hold the value.
    """
    try:
        if accept != "*/*" and wants_msgpack(accept):
            resp.content_type = falcon.MEDIA_MSGPACK
            resp.data = pack(value)
        else:
            resp.content_type = falcon.MEDIA_JSON
            resp.data = tagged_json.dumps(value).encode()
    except (TaggedJSONError, TypeError) as exc:
        raise NotAcceptable(f"the result cannot be written: {exc}") from None


def wants_msgpack(accept: str) -> bool:
    """Whether an `Accept` header prefers MessagePack to JSON."""
    if "msgpack" not in accept:
        return False
    best = falcon.mediatypes.best_match([falcon.MEDIA_JSON, falcon.MEDIA_MSGPACK, _X_MSGPACK], accept)
    return best in (falcon.MEDIA_MSGPACK, _X_MSGPACK)


_X_MSGPACK = "application/x-msgpack"


def pack(value: Any) -> bytes:
    """MessagePack as the database has it: a Ref is extension 1 (its id), a Case extension 2 (`[name, arg]`).

    Raises:
        TypeError: undefined and Tokens have no MessagePack.
    """
    return msgspec.msgpack.encode(value, enc_hook=_extension)


def _extension(value: Any) -> msgspec.msgpack.Ext:
    if type(value) is Ref:
        return msgspec.msgpack.Ext(REF_EXTENSION, value.id.encode())
    if type(value) is Case:
        parts = [value.name] if value.arg is UNDEF else [value.name, value.arg]
        return msgspec.msgpack.Ext(CASE_EXTENSION, pack(parts))
    raise TypeError(f"MessagePack has no {kind_of(value)}")
