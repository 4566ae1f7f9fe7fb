"""What may be said of a file besides its bytes: one rule for all file systems."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mixkit.errors import FileError
from mixkit.filesystem import MAX_METADATA, MAX_NAMES

if TYPE_CHECKING:
    from mimetypes import MimeTypes

__all__ = ["check_fields", "guessed"]

_TOKEN: Final = r"[A-Za-z0-9!#$&^_.+-]{1,100}"
_TYPE: Final = re.compile(
    rf'{_TOKEN}/{_TOKEN}(?: *; *{_TOKEN}=(?:{_TOKEN}|"[A-Za-z0-9 !#$&^_.+:/=,()-]{{0,100}}"))*', re.ASCII
)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_LONGEST: Final = 255
_BYTES: Final = "application/octet-stream"


def check_fields(content_type: str, metadata: Mapping[str, str]) -> None:
    """Raise `FileError` for a content type or metadata that no file has.

    A content type is one as HTTP has it, of at most 255 characters. Names of metadata have 1 to 64 small letters,
    digits, `_` and `-`; texts are printable. There are
    `MAX_NAMES` at most, and all together have at most `MAX_METADATA` bytes.
    """
    if len(content_type) > _LONGEST or not _TYPE.fullmatch(content_type):
        raise FileError(f"expected a content type, as text/plain; charset=utf-8, found {content_type!r:.80}")
    if len(metadata) > MAX_NAMES:
        raise FileError(f"expected metadata of at most {MAX_NAMES} names, found {len(metadata)}")
    size = 0
    for name, text in metadata.items():
        if type(name) is not str or not _NAME.fullmatch(name):
            raise FileError(
                f"expected names of metadata of 1 to 64 small letters, digits, _ and -, found {name!r:.80}"
            )
        if type(text) is not str or not text.isprintable():
            raise FileError(f"expected a printable text as the metadata {name!r}, found {text!r:.80}")
        size += len(name) + len(text.encode())
    if size > MAX_METADATA:
        raise FileError(f"expected at most {MAX_METADATA} bytes of metadata, found {size}")


def guessed(path: str, *, text: bool) -> str:
    """The content type of a file that nobody has said: by its name, else by whether it is text."""
    found = _types().guess_type(posixpath.basename(path), strict=False)
    # What is compressed is not what is in it.
    kind = found[0] if found[1] is None else None
    if kind is None:
        kind = "text/plain" if text else _BYTES
    return f"{kind}; charset=utf-8" if text and kind.startswith("text/") else kind


@functools.lru_cache(maxsize=1)
def _types() -> MimeTypes:
    import mimetypes

    # Without the files of the system, which are others on each machine.
    return mimetypes.MimeTypes()
