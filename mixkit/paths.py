"""The paths of an app's files: one rule for all, whatever holds the files.

A path is absolute, as `/public/logo.svg`, and names a file; folders are no things of their own, only the beginnings of
paths. What one backend, or a tool that looks at it, would take for something else than another does is refused here:
nothing is normalised, decoded or folded, so that two paths are of one file if and only if they are equal.
"""

from __future__ import annotations

import re
from typing import Final

from mixkit.errors import PathError

__all__ = ["MAX_DEPTH", "MAX_NAME", "MAX_PATH", "check_folder", "check_path"]

MAX_PATH: Final = 768
"""Bytes of a path as UTF-8: object stores take 1,024 for a key, and a backend has a beginning of its own."""
MAX_NAME: Final = 240
"""Bytes of one of its names: file systems take 255."""
MAX_DEPTH: Final = 16
"""Names of a path. Each may be a folder on a disk, which no quota counts."""

# PERF: nearly all paths are such, and are looked at letter by letter only if they are not.
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_-](?:[A-Za-z0-9_. -]{0,62}[A-Za-z0-9_-])?){1,10}", re.ASCII)

# Backslashes, controls, line separators, surrogates, and noncharacters, which no listing in XML could hold.
_FORBIDDEN: Final = re.compile(
    "[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000))
    + "]"
)


def check_path(path: str) -> str:
    """The path itself, if a file may have it.

    It is `/` and names, with `/` between them. A name has no backslash, no control character, no surrogate and no
    noncharacter; it neither begins nor ends with white space, and does not end with a dot, so it is neither `.` nor
    `..`. A percent sign is a percent sign.

    Raises:
        PathError: it may not.
    """
    if type(path) is not str:
        raise PathError(f"expected a path, a string, found {type(path).__name__}")
    if _PLAIN.fullmatch(path):
        return path
    if not path.startswith("/"):
        raise PathError(f"expected an absolute path, as '/notes/today.txt', found {path!r:.80}")
    if found := _FORBIDDEN.search(path):
        raise PathError(f"path {path!r:.80}: no file's name has the character U+{ord(found[0]):04X}")
    if (size := len(path.encode())) > MAX_PATH:
        raise PathError(f"path {path!r:.80}: expected at most {MAX_PATH} bytes, found {size}")
    names = path[1:].split("/")
    if len(names) > MAX_DEPTH:
        raise PathError(f"path {path!r:.80}: expected at most {MAX_DEPTH} names, found {len(names)}")
    for name in names:
        _check_name(path, name)
    return path


def check_folder(folder: str) -> str:
    """What all paths in a folder begin with: `/` for `"/"`, `/a/` for `"/a"` and `"/a/"`.

    Raises:
        PathError: no path can begin so.
    """
    if folder == "/":
        return folder
    return check_path(folder.removesuffix("/") if type(folder) is str else folder) + "/"


def _check_name(path: str, name: str) -> None:
    if not name:
        raise PathError(
            f"path {path!r:.80}: expected a name behind each '/', found none; a file's path ends with its name"
        )
    if name in (".", ".."):
        raise PathError(f"path {path!r:.80}: {name!r} is not followed; write the path without it")
    if name.endswith(".") or name != name.strip():
        raise PathError(
            f"path {path!r:.80}: a name ends neither with a dot nor with white space, and does not begin with it"
        )
    if (size := len(name.encode())) > MAX_NAME:
        raise PathError(f"path {path!r:.80}: expected names of at most {MAX_NAME} bytes, found one of {size}")
