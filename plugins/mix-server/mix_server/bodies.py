"""Small bodies whose form is known, read as an object of it; and files in forms of web pages."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from falcon.media import MultipartFormHandler

from mix_server.errors import BadRequest
from mixkit.fields import read_json, valid

if TYPE_CHECKING:
    from falcon.asgi.multipart import BodyPart

    from mix_server.request import Request

__all__ = ["MULTIPART", "file_in", "read_form"]

MULTIPART: Final = "multipart/form-data"

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


async def file_in(
    req: Request, chunks: AsyncIterator[bytes], most: int | None = None
) -> tuple[BodyPart, AsyncIterator[BodyPart]]:
    """The first file in a form, and the parts behind it, which come when the file was read.

    Args:
        chunks: the body.
        most: bytes of a part that is read as a whole.

    Raises:
        BadRequest: there is none, or its name or type is no text.
    """
    handler = MultipartFormHandler()
    if most is not None:
        handler.parse_options.max_body_part_buffer_size = most
    form = await handler.deserialize_async(chunks, req.content_type, None)  # type: ignore[arg-type]
    parts = _parts(form)
    async for part in parts:
        if part.filename is not None:
            return part, parts
    raise BadRequest("expected a file in the form, found none")


async def _parts(form: Any) -> AsyncIterator[BodyPart]:
    part: BodyPart
    async for part in form:
        try:
            # NOTE: Falcon lets it out where somebody asks for one of them.
            _ = part.name, part.filename, part.content_type
        except UnicodeDecodeError:
            raise BadRequest(
                "expected the names and types of the parts of the form as text, found what is none"
            ) from None
        yield part
