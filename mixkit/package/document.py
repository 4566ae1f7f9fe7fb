"""JSON documents written by strangers: read strictly, or refused with the entry and the path in it."""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

import msgspec

from mixkit import fields, strict_json
from mixkit.errors import PackageError

__all__ = ["MAX_DOCUMENT", "convert", "dump", "load", "parse"]

MAX_DOCUMENT: Final = 1024 * 1024
"""Bytes that a manifest, `runtime.json` or `SIGNATURE` may have."""

T = TypeVar("T")


def parse(data: bytes, entry: str) -> Any:
    """The JSON value in `data`.

    Raises:
        PackageError: no UTF-8, no JSON, a key that stands twice, a number or text that is no Value.
    """
    if len(data) > MAX_DOCUMENT:
        raise PackageError(f"expected at most {MAX_DOCUMENT} bytes, found {len(data)}", entry)
    try:
        return strict_json.loads(data)
    except ValueError as exc:
        raise PackageError(str(exc), entry) from None


def convert(document: Any, type: type[T], entry: str, path: str = "$") -> T:
    """The document as that type; `path` is where in the entry it stands.

    Raises:
        PackageError: another type, an unknown key, a value out of range; with the path of the key.
    """
    try:
        return msgspec.convert(document, type)
    except msgspec.ValidationError as exc:
        message, inner = fields.split(exc)
        raise PackageError(f"{message}{fields.valid(exc, type)} at {path}{inner}", entry) from None


def dump(document: Any) -> bytes:
    """JSON of a document or a struct, readable by people, keys in the order that they have."""
    plain = msgspec.to_builtins(document)
    return json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False).encode() + b"\n"


def load(data: bytes, type: type[T], entry: str) -> T:
    """What `dump` made of a struct of that type. `PackageError` if somebody else has changed it."""
    try:
        return fields.read_json(data, type)
    except msgspec.DecodeError as exc:
        raise PackageError(f"this file of the store is damaged: {exc}", entry) from None
