"""Header fields of outgoing requests: which an agent may send, which leave an origin, how an answer shows them."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from mixkit.errors import FFIError
from mixkit.value import Token

__all__ = [
    "BasicAuth",
    "Fields",
    "across_origins",
    "authorize",
    "canonical_name",
    "checked",
    "has",
    "joined",
    "reveal",
]

Fields = list[tuple[str, str]]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
MAX_FIELDS: Final = 100
MAX_BYTES: Final = 32 * 1024
_USUAL: Final = 64
"""Characters of a name of a field, but for strange ones."""

REFUSED: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Framing and hop-by-hop fields: who writes these can make two parties read one byte stream differently."""

KEPT_ACROSS_ORIGINS: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-type",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "range",
        "user-agent",
    )
)
"""What may follow a redirect to another origin. Anything else could be a credential by another name."""


class BasicAuth(msgspec.Struct, frozen=True):
    username: str
    password: str | Token


def reveal(secret: str | Token) -> str:
    """The text of a credential. The value never enters a message."""
    if isinstance(secret, str):
        return secret
    try:
        return secret.reveal().decode()
    except UnicodeDecodeError:
        raise FFIError("a token that is used as a credential must hold text") from None


def checked(headers: Mapping[str, str | Token | list[str]]) -> Fields:
    """An agent's headers as fields to send.

    Raises:
        FFIError: a name that is no token, a value with line breaks or other control characters, a field that
            is the host's to set, too many or too long.
    """
    fields: Fields = []
    size = 0
    count = max(len(headers), sum(len(value) if isinstance(value, list) else 1 for value in headers.values()))
    if count > MAX_FIELDS:
        raise FFIError(f"headers: expected at most {MAX_FIELDS} fields, found {count}")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise FFIError(f"headers: expected letters, digits and hyphens as a name, found {name[:100]!r}")
        if name.lower() in REFUSED:
            raise FFIError(f"headers: {name} is set by the host and may not be given")
        for item in value if isinstance(value, list) else [value]:
            text = reveal(item)
            size += len(name) + len(text)
            if size > MAX_BYTES:
                raise FFIError(f"headers: expected at most {MAX_BYTES} characters in all fields")
            text = text.strip(" \t")
            if _CONTROL.search(text):
                raise FFIError(f"headers: the value of {name} has line breaks or other control characters")
            fields.append((name, text))
    return fields


def authorize(fields: Fields, basic: BasicAuth | None, oauth: str | Token | None) -> None:
    """Add the `Authorization` that an agent asks for, if it does.

    Raises:
        FFIError: it asks in more than one way, one of which is a header of its own; or a part cannot be sent.
    """
    if sum((has(fields, "authorization"), basic is not None, oauth is not None)) > 1:
        raise FFIError("expected at most one of an Authorization header, basicAuth and oauthToken")
    if basic is not None:
        if ":" in basic.username:
            raise FFIError("basicAuth: a username may not contain a colon")
        pair = f"{basic.username}:{reveal(basic.password)}"
        fields.append(("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    if oauth is not None:
        fields.extend(checked({"Authorization": f"Bearer {reveal(oauth)}"}))


def has(fields: Fields, name: str) -> bool:
    """Whether a field of that lower-case name is present."""
    return any(key.lower() == name for key, _ in fields)


def across_origins(fields: Fields) -> Fields:
    """The fields that may follow a redirect to another origin."""
    return [field for field in fields if field[0].lower() in KEPT_ACROSS_ORIGINS]


def canonical_name(name: str) -> str:
    """`content-TYPE` as `Content-Type`."""
    # PERF: most are among a few; no long one is kept.
    return _canonical(name) if len(name) <= _USUAL else _canonical.__wrapped__(name)


@functools.lru_cache(maxsize=512)
def _canonical(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def joined(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Fields as an answer shows them: canonical names, repeated fields joined by `, `.

    `Set-Cookie` is joined by a line feed, which no value contains, because its values contain commas.
    """
    result: dict[str, str] = {}
    for name, value in fields:
        name = canonical_name(name)
        if name in result:
            value = ("\n" if name == "Set-Cookie" else ", ").join((result[name], value))
        result[name] = value
    return result
