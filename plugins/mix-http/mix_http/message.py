"""The request that an agent writes, the request that goes out, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import msgspec

from mixkit.errors import FFIError
from mixkit.header_fields import BasicAuth
from mixkit.value import UNDEF, Token

if TYPE_CHECKING:
    from mixkit.state import State
    from mixkit.target import Target

__all__ = ["MAX_PAIRS", "Answer", "ClientTLS", "HttpRequest", "OutgoingRequest", "urlencoded"]

Scalar = str | int | float | bool


class ClientTLS(msgspec.Struct, frozen=True):
    """A client certificate, both parts in PEM; the key is not encrypted."""

    key: str | Token
    certificate: str


class HttpRequest(msgspec.Struct, frozen=True):
    """What `$http_do` takes: at most one of body, form and json, and one way to authenticate."""

    url: Annotated[str, "absolute URL"]
    method: Annotated[str, "any method but CONNECT and TRACE"] = "GET"
    headers: Annotated[dict[str, str | Token | list[str]] | None, "a list is sent as repeated headers"] = None
    params: Annotated[dict[str, Scalar | list[Scalar]] | None, "appended to the query of the URL"] = None
    body: Annotated[str | bytes | None, "a string is sent in UTF-8"] = None
    form: Annotated[dict[str, Scalar | list[Scalar]] | None, "sent URL-encoded"] = None
    json: Annotated[Any, "sent as JSON; null is sent as null"] = UNDEF
    basicAuth: BasicAuth | None = None
    oauthToken: Annotated[str | Token | None, "sent as Authorization: Bearer"] = None
    clientTLS: ClientTLS | None = None
    timeout: Annotated[float | None, "seconds for the whole call; the setting http.timeout is the cap"] = None
    returnBinaryResponseBody: bool | None = False
    mediaTypes: Annotated[list[str] | None, "the only media types of an answer, as image/*"] = None
    followRedirects: bool | None = True
    retry: Annotated[int | None, "how often to try again; only for methods that are idempotent"] = 0


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """One request about to go out, as interceptors (`mix_http_intercept`) see it.

    `headers` are as sent, credentials included; `state` is of the run that asks, for nested calls.
    """

    method: str
    target: Target
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    state: State = field(repr=False)

    @property
    def url(self) -> str:
        return self.target.url

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """What an interceptor returns to answer in place of the network."""
        return Answer(status, tuple((headers or {}).items()), body)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, its body complete and no longer compressed."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        """The first value of the header, or an empty string."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), "")


MAX_PAIRS: Final = 1_000
"""Fields of a query or a form: servers take no more."""


def urlencoded(fields: Mapping[str, Scalar | list[Scalar]], what: str, most: int) -> str:
    """Fields of a query or form as text: booleans as `true`/`false`, a list as the repeated field.

    Raises:
        FFIError: there are too many, or they have more than `most` characters before they are encoded.
    """
    count = max(len(fields), sum(len(value) if isinstance(value, list) else 1 for value in fields.values()))
    if count > MAX_PAIRS:
        raise FFIError(f"{what}: expected at most {MAX_PAIRS} fields, found {count}")
    pairs = [
        (name, str(item).lower() if isinstance(item, bool) else str(item))
        for name, value in fields.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    size = sum(len(name) + len(text) for name, text in pairs)
    if size > most:
        raise FFIError(f"{what}: expected at most {most} characters, found {size}")
    return urlencode(pairs)
