"""One request of a call: made from what an agent writes, or from the hop before by a redirect."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from mix_http.body import encode_body
from mix_http.message import ClientTLS, HttpRequest, urlencoded
from mix_http.settings import HttpSettings
from mixkit import header_fields as fields
from mixkit.errors import FFIError
from mixkit.header_fields import Fields
from mixkit.target import MAX_URL, Target, parse_url

__all__ = ["Hop", "first_hop", "media_patterns"]

_MAX_METHOD: Final = 33
_METHOD: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}")
_MAX_PATTERNS: Final = 100
_MEDIA_PATTERN: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+*-]+|\*/\*")


@dataclass(frozen=True, slots=True)
class Hop:
    """A request that is ready to go out, by whatever way."""

    method: str
    target: Target
    headers: Fields
    body: bytes
    identity: ClientTLS | None

    def redirected(self, status: int, location: str) -> Hop:
        """The hop that a redirect leads to, by the rules of the Fetch standard.

        Raises:
            EgressDenied: the location is no URL that may be parsed.
            FFIError: it leads from https to anything else.
        """
        target = self.target.referred(location)
        if self.target.scheme == "https" and target.scheme != "https":
            raise FFIError(f"refused a redirect from https to {target.scheme}, at {self.target.host}")
        hop = replace(self, target=target)
        if (status in (301, 302) and self.method == "POST") or (
            status == 303 and self.method not in ("GET", "HEAD")
        ):
            kept = [field for field in self.headers if not field[0].lower().startswith("content-")]
            hop = replace(hop, method="GET", body=b"", headers=kept)
        if target.origin != self.target.origin:
            hop = replace(hop, headers=fields.across_origins(hop.headers), identity=None)
        return hop


def first_hop(request: HttpRequest, settings: HttpSettings, media_types: list[str]) -> Hop:
    """The hop that an agent asks for. FFIError if any part of it may not be sent; EgressDenied for the URL."""
    method = request.method[:_MAX_METHOD].upper()
    if len(request.method) >= _MAX_METHOD or not _METHOD.fullmatch(method) or method in ("CONNECT", "TRACE"):
        raise FFIError(
            f"method: expected an HTTP method but CONNECT and TRACE, found {request.method[:32]!r}"
        )
    target = parse_url(request.url)
    if request.params:
        query = urlencoded(request.params, "params", MAX_URL)
        separator = "&" if "?" in target.path else "?"
        target = msgspec.structs.replace(target, path=f"{target.path}{separator}{query}")
        if len(target.path) > MAX_URL:
            raise FFIError(f"params: expected a URL of at most {MAX_URL} characters")
    body, content_type = encode_body(request)
    if len(body) > settings.max_request_bytes:
        raise FFIError(
            f"the body has {len(body)} bytes; http.max_request_bytes is {settings.max_request_bytes}"
        )
    headers = fields.checked(request.headers or {})
    fields.authorize(headers, request.basicAuth, request.oauthToken)
    given = {name.lower() for name, _ in headers}
    for key, name, value in (
        ("content-type", "Content-Type", content_type),
        ("user-agent", "User-Agent", settings.user_agent),
        ("accept", "Accept", ", ".join(media_types) or "*/*"),
        ("accept-encoding", "Accept-Encoding", "gzip, deflate"),
    ):
        if value and key not in given:
            headers.append((name, value))
    return Hop(method, target, headers, body, request.clientTLS)


def media_patterns(patterns: list[str]) -> list[str]:
    """An agent's `mediaTypes` in lower case. FFIError for what is no media type."""
    if len(patterns) > _MAX_PATTERNS:
        raise FFIError(f"mediaTypes: expected at most {_MAX_PATTERNS} media types, found {len(patterns)}")
    result = [pattern.strip().lower() for pattern in patterns]
    for pattern in result:
        if not _MEDIA_PATTERN.fullmatch(pattern):
            raise FFIError(
                f"mediaTypes: expected media types as text/html or image/*, found {pattern[:100]!r}"
            )
    return result
