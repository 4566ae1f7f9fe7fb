"""Values that no setting means, whatever it is; and what settings name outside of them, which must be there.

A field says by `Meta(extra={"names": …})` that its text names a `file`, a file of `authorities` (certificates in PEM),
a `folder` that is there or can be made, or a `program`; and by `Meta(extra={"lines": True})` that it may have lines.
"""

from __future__ import annotations

import math
import os
import shutil
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mixkit.errors import ProfileError

if typing.TYPE_CHECKING:
    import msgspec

__all__ = ["bare", "extra_of", "is_secret", "refuse_absent", "refuse_other", "refuse_senseless"]

_MOST_SECONDS: Final = 1e9
"""The largest number with a fraction: they are seconds, and more of them than this no clock can wait."""
_LARGEST: Final = 2**63 - 1
_SHOWN: Final = 200

_OFF: Final = frozenset(("", "off"))
"""Texts that name no folder: that by default, or none."""


def bare(hint: Any) -> Any:
    """The type of a field without what is said of it."""
    while typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return hint


def extra_of(hint: Any) -> dict[str, Any]:
    """What the `Meta`s of a field say beside what msgspec checks."""
    # PERF: profiles are loaded for `--help`, which needs none of it.
    from msgspec import Meta

    metas = (meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta))
    return {name: value for meta in metas for name, value in (meta.extra or {}).items()}


def is_secret(key: str) -> bool:
    """Whether a setting is one that nobody is shown, by its name."""
    return key.rpartition("_")[2] in {"key", "password", "secret", "token"}


def refuse_senseless(value: Any, extra: Mapping[str, Any]) -> None:
    """Refuse what has the type of a setting and cannot be meant.

    Raises:
        ValueError: says what was expected; what was found is the caller's to say.
    """
    match value:
        case bool():
            return
        case int():
            if abs(value) > _LARGEST:
                raise ValueError(f"expected a number of at most {_LARGEST}")
        case float():
            if not math.isfinite(value) or abs(value) > _MOST_SECONDS:
                raise ValueError(f"expected a finite number of at most {_MOST_SECONDS:,.0f}")
        case str():
            if value and not value.strip():
                raise ValueError("expected a text, or nothing at all, and no spaces alone")
            allowed = "\n\r\t" if extra.get("lines") else ""
            if any(not char.isprintable() and char not in allowed for char in value if char.isascii()):
                raise ValueError("expected a text without control characters")
        case list() | tuple():
            for item in value:
                refuse_senseless(item, extra)
                if item == "":
                    raise ValueError("expected no empty text in the list")


def refuse_other(value: Any, known: Collection[str]) -> None:
    """Refuse what is none of a setting's words. Raises `ValueError`."""
    if value not in known:
        raise ValueError(f"expected {' or '.join(map(repr, known))}")


def refuse_absent(filled: msgspec.Struct, table: str) -> None:
    """Refuse settings that name what is not there.

    Args:
        filled: settings.
        table: where they stand, for the message.

    Raises:
        ProfileError: says which, and why.
    """
    for key, names, text in _names(type(filled), filled):
        wrong = _what_is_wrong(names, text)
        if wrong:
            raise ProfileError(f"{wrong}, found {text[:_SHOWN]!r}", f"{table}.{key}")


def _names(cls: type, filled: msgspec.Struct) -> Iterator[tuple[str, str, str]]:
    hints: dict[str, Any] = {}
    for key in cls.__struct_fields__:  # type: ignore[attr-defined]
        text = getattr(filled, key)
        if not isinstance(text, str) or text in _OFF:
            continue
        hints = hints or typing.get_type_hints(cls, include_extras=True)
        names = extra_of(hints[key]).get("names")
        if names:
            yield key, names, text


def _what_is_wrong(names: str, text: str) -> str | None:
    path = Path(text)
    match names:
        case "program":
            return None if shutil.which(text) else "expected a program that can be run"
        case "folder":
            nearest = next(
                parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists()
            )
            if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
                return None
            return "expected a folder that can be written, or where one can be made"
        case "file" | "authorities":
            try:
                with path.open("rb") as file:
                    file.read(1)
                if names == "authorities":
                    _read_authorities(text)
            except OSError as exc:
                # An error of ssl is one as well.
                return (
                    f"expected a file with {'certificates in PEM' if names == 'authorities' else 'something'} "
                    + (f"that can be read ({exc.strerror or exc})")
                )
            return None
    raise AssertionError(f"no setting names a {names}")


def _read_authorities(path: str) -> None:
    import ssl

    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
