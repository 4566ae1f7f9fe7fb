"""The configuration of a provider: who it is, and what this server is to it."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from mix_server.errors import BadRequest
from mixkit.errors import FFIError
from mixkit.target import parse_url

if TYPE_CHECKING:
    from mixkit.egress import EgressPolicy

__all__ = ["EXAMPLE", "NAME", "Provider", "Userinfo", "check_name", "checked"]

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
"""What a provider may be called: a part of a URL that is registered elsewhere."""

EXAMPLE: Final = (
    '{"kind": "oidc", "issuer": "https://accounts.example.com", "client_id": "…", "client_secret": "…", '
    '"scopes": ["openid", "email"]}'
)

_TEXT: Final = r"^[\x20-\x7e]+$"
Text = Annotated[str, Meta(min_length=1, max_length=1_024, pattern=_TEXT)]
Url = Annotated[str, Meta(min_length=1, max_length=2_048, pattern=r"^[\x21-\x7e]+$")]
Secret = Annotated[str, Meta(min_length=1, max_length=4_096, pattern=_TEXT)]
Scope = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]
"""RFC 6749, 3.3."""
Parameters = Annotated[dict[Text, Annotated[str, Meta(max_length=2_048)]], Meta(max_length=32)]
Path = Annotated[str, Meta(min_length=1, max_length=200)]

_SECRET: Final = re.compile(r"[\x20-\x7e]{1,4096}")
_OURS: Final = frozenset(
    (
        "response_type", "response_mode", "client_id", "client_secret", "redirect_uri", "scope", "state", "nonce",
        "code_challenge", "code_challenge_method", "code", "code_verifier", "grant_type", "refresh_token",
        "request", "request_uri", "client_assertion", "client_assertion_type",
    )
)  # fmt: skip
"""Parameters that this server sends, or that would undo what it sends."""


class Userinfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where in what the provider says of a user things are; a dot leads into an object, as `profile.email`."""

    subject: Path = "sub"
    email: Path = "email"
    name: Path = "name"


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A provider, as an administrator of a workspace configures it.

    Attributes:
        kind: `oidc` says by a signed token who the user is; `oauth2` does not.
        issuer: the provider's own name of itself; it must be what discovery, ID tokens and callbacks say.
        discovery: URL of its metadata; by default what belongs to the issuer of an `oidc`.
        client_auth: how the secret is sent; by default as the metadata say, in the header if they say nothing.
        authorization_parameters, token_parameters: sent beside ours, as `access_type`.
        userinfo: where in the answer of `userinfo_endpoint` things are.
    """

    kind: Literal["oidc", "oauth2"]
    issuer: Url | None = None
    discovery: Url | None = None
    authorization_endpoint: Url | None = None
    token_endpoint: Url | None = None
    userinfo_endpoint: Url | None = None
    jwks_uri: Url | None = None
    client_id: Text
    client_auth: Literal["basic", "post", "none"] | None = None
    scopes: Annotated[list[Scope], Meta(max_length=100)] = []
    authorization_parameters: Parameters = {}
    token_parameters: Parameters = {}
    userinfo: Userinfo = Userinfo()

    @property
    def metadata_url(self) -> str | None:
        """Where its metadata are; None if all that is needed is in the configuration."""
        if self.discovery is not None or self.kind != "oidc" or self.issuer is None:
            return self.discovery
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"

    @property
    def mark(self) -> str:
        """Tells to whom, as whom, tokens are sent: what was got with another mark is not."""
        parts = (self.kind, self.issuer, self.metadata_url, self.token_endpoint, self.client_id)
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]

    def public(self) -> dict[str, Any]:
        """As people see it: there is no secret in it."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def check_name(name: str) -> str:
    """The name, if a provider can be called so. `BadRequest` if not."""
    if not NAME.fullmatch(name):
        raise BadRequest(
            f"expected a name of a provider of at most 63 letters, digits, _ and -, found {name!r:.100}"
        )
    return name


def checked(provider: Provider, secret: str | None, policy: EgressPolicy) -> Provider:
    """The configuration, if it can work.

    Args:
        secret: of the client, if it has one.
        policy: what may be connected to.

    Raises:
        BadRequest: it cannot; says what is wrong.
    """
    for key in ("discovery", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"):
        url = getattr(provider, key)
        if url is not None:
            _check_url(key, url, policy)
    if provider.kind == "oidc":
        if provider.issuer is None:
            raise BadRequest("expected issuer, the URL by which the provider names itself, beside kind oidc")
        _check_url("issuer", provider.issuer, policy)
        if "openid" not in provider.scopes:
            raise BadRequest("expected openid among the scopes of an oidc: without it there is no ID token")
    elif provider.metadata_url is None:
        for key in ("authorization_endpoint", "token_endpoint"):
            if getattr(provider, key) is None:
                raise BadRequest(f"expected {key}, or discovery, beside kind oauth2")
    if provider.client_auth in ("basic", "post") and secret is None:
        raise BadRequest(f"expected client_secret beside client_auth {provider.client_auth}")
    if secret is not None and not _SECRET.fullmatch(secret):
        raise BadRequest("expected client_secret as at most 4096 printable characters of ASCII")
    if provider.client_auth == "none" and secret is not None:
        raise BadRequest("expected no client_secret beside client_auth none")
    for key in ("authorization_parameters", "token_parameters"):
        ours = sorted(_OURS & getattr(provider, key).keys())
        if ours:
            raise BadRequest(f"{key}: {ours[0]} is not for a configuration; this server sends its own")
    return provider


def _check_url(key: str, url: str, policy: EgressPolicy) -> None:
    if "#" in url:
        raise BadRequest(f"{key}: expected a URL without a fragment")
    try:
        policy.check_target(parse_url(url))
    except FFIError as exc:
        raise BadRequest(f"{key}: {exc}") from None
