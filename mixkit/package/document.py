"""JSON documents written by strangers: read strictly, or refused with the entry and the path in it."""

from __future__ import annotations

import codecs
import json
import math
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from mixkit import value
from mixkit.errors import PackageError, ValueKindError

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
    # Editors of Windows write one.
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        parsed = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
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
    """JSON of a document or a struct, readable by people, keys in the order that they have."""
    plain = msgspec.to_builtins(document)
    return json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False).encode() + b"\n"


def load(data: bytes, type: type[T], entry: str) -> T:
    """What `dump` made of a struct of that type. `PackageError` if somebody else has changed it."""
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise PackageError(f"this file of the store is damaged: {exc}", entry) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.80} stands twice in one object")
    return found


def _finite(text: str) -> float:
    # JSON has no way to write the infinity that Python makes of 1e999, so it could not be written back.
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text:.40} is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
