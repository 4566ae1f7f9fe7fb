"""A body that becomes a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mix_server.errors import BadRequest
from mixkit.errors import FileConflict, FileError
from mixkit.file_fields import check_fields, guessed
from mixkit.filesystem import PIECE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from mix_server.files.conditions import Wanted
    from mix_server.request import Request
    from mix_server.settings import ServerSettings
    from mixkit.filesystem import FileInfo, Files, Upload

__all__ = ["arriving", "checked", "store"]

_STALL: Final = PIECE
"""Bytes of a file that must arrive within `body_timeout` each."""


def arriving(req: Request, settings: ServerSettings, most: int | None = None) -> AsyncIterator[bytes]:
    """The body of a request that is a file, as it comes."""
    return req.chunks(most or settings.file_limit, settings.body_timeout, _STALL)


def checked(path: str, content_type: str | None, metadata: Mapping[str, str]) -> str:
    """The content type of a file, guessed from its path unless it is given. `BadRequest` if that, or what else is said
    of it, is none."""
    kind = content_type or guessed(path, text=False)
    try:
        check_fields(kind, metadata)
    except FileError as exc:
        raise BadRequest(str(exc)) from None
    return kind


async def store(
    files: Files,
    path: str,
    pieces: AsyncIterator[bytes],
    wanted: Wanted,
    content_type: str,
    metadata: Mapping[str, str] | None = None,
) -> FileInfo:
    """Store a file whose bytes come in pieces; none of it is there before all are.

    Raises:
        Refusal: what is there is not as wanted.
        FilesFull, FileError: as `Files.put`.
    """
    upload: Upload | None = None
    held = bytearray()
    try:
        async for piece in pieces:
            held += piece
            if len(held) >= PIECE:
                if upload is None:
                    upload = await files.begin(
                        path, content_type=content_type, metadata=metadata, only_if=wanted.only_if
                    )
                await upload.write(bytes(held))
                held.clear()
        if upload is None:
            return await files.put(
                path, bytes(held), content_type=content_type, metadata=metadata, only_if=wanted.only_if
            )
        if held:
            await upload.write(bytes(held))
        return await upload.commit()
    except FileConflict as exc:
        raise wanted.refusal(path, exc) from None
    finally:
        # Nothing, once it has been committed.
        if upload is not None:
            await upload.abort()
