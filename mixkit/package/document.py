"""JSON documents written by strangers: read strictly, or refused with the entry and the path in it."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from mixkit import value
from mixkit.errors import PackageError, ValueKindError

__all__ = ["MAX_DOCUMENT", "MAX_OWN", "convert", "dump", "parse"]

MAX_DOCUMENT: Final = 1024 * 1024
"""Bytes that a manifest, `runtime.json` or `SIGNATURE` may have."""

MAX_OWN: Final = 64 * MAX_DOCUMENT
"""Bytes that the store's own documents may have, which list what is in packages."""

T = TypeVar("T")


def parse(data: bytes, entry: str, most: int = MAX_DOCUMENT) -> Any:
    """The JSON value in `data`, which has at most so many bytes.

    Raises:
        PackageError: no UTF-8, no JSON, a key that stands twice, a number or text that is no Value.
    """
    if len(data) > most:
        raise PackageError(f"expected at most {most} bytes, found {len(data)}", entry)
    try:
        parsed = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        value.check(parsed)
    except UnicodeDecodeError as exc:
        raise PackageError(
            f"expected UTF-8, found byte {data[exc.start]:#04x} at {exc.start}", entry
        ) from None
    except ValueKindError as exc:
        raise PackageError(str(exc), entry) from None
    except RecursionError:
        raise PackageError(f"nested more than {value.MAX_DEPTH} deep", entry) from None
    except ValueError as exc:
        raise PackageError(f"expected JSON: {exc}", entry) from None
    return parsed


def convert(document: Any, type: type[T], entry: str, path: str = "$") -> T:
    """The document as that type; `path` is where in the entry it stands.

    Raises:
        PackageError: another type, an unknown key, a value out of range; with the path of the key.
    """
    try:
        return msgspec.convert(document, type)
    except msgspec.ValidationError as exc:
        message, at, inner = str(exc).partition(" - at `$")
        raise PackageError(f"{message} at {path}{inner.removesuffix('`') if at else ''}", entry) from None


def dump(document: Any) -> bytes:
    """JSON of a document or a struct, the same bytes for equal content, readable by people."""
    ordered = msgspec.to_builtins(document)
    return json.dumps(ordered, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.80} stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
