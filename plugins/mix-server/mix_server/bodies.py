"""Small bodies whose form is known: read as an object of it."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from mix_server.errors import BadRequest
from mixkit.fields import read_json, valid

if TYPE_CHECKING:
    from mix_server.request import Request

__all__ = ["read_form"]

T = TypeVar("T", bound=msgspec.Struct)

_LIMIT: Final = 64 << 10


async def read_form(req: Request, form: type[T], example: str, seconds: float) -> T:
    """The body of a request, JSON, as a `form`; an empty body is `{}`.

    Args:
        example: how it looks, for the message.
        seconds: time in which it must have arrived.

    Raises:
        BadRequest: it is not of that form; says where.
    """
    body = (await req.body(_LIMIT, seconds)).removeprefix(codecs.BOM_UTF8) or b"{}"
    try:
        return read_json(body, form)
    except msgspec.MsgspecError as exc:
        near = valid(exc, form) if isinstance(exc, msgspec.ValidationError) else ""
        raise BadRequest(f"expected {example}: {exc}{near}") from None
