"""Who an account is of: what the ID token says, and the userinfo endpoint."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Mapping
from typing import Any, Final

from mix_server.access.tokens import Claims, Expected, NoSuchKey, header_of, verified
from mix_server.errors import Unauthorized
from mix_server.sign_in.errors import ProviderFailed
from mix_server.sign_in.metadata import Endpoints, Metadata
from mix_server.sign_in.provider import Provider
from mix_server.sign_in.web import Web
from mixkit.errors import FFIError

__all__ = ["identity"]

_log = logging.getLogger("mixkit.server.sign_in")

_HASHES: Final = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
_LONGEST: Final = 320


async def identity(
    web: Web,
    metadata: Metadata,
    provider: Provider,
    endpoints: Endpoints,
    answer: Mapping[str, Any],
    nonce: str,
) -> dict[str, Any]:
    """What is known of an account's owner: `{subject, email, name, scopes}`, as far as the provider says it.

    Args:
        answer: of the token endpoint, its access token checked.
        nonce: that the ID token must have.

    Raises:
        ProviderFailed: it is not shown who it is, or it is somebody else.
        EgressDenied, Unanswered: see `exchange`.
    """
    scope = answer.get("scope")
    # What was asked for was given if nothing else is said (RFC 6749, 5.1).
    scopes = scope.split() if isinstance(scope, str) else list(provider.scopes)
    found: dict[str, Any] = {"scopes": scopes}
    claims: Claims | None = None
    if provider.kind == "oidc":
        claims = await _claims(metadata, provider, endpoints, answer, nonce)
        found["subject"] = claims.subject
        found |= _named(claims.all, provider, ("email", "name"))
    if endpoints.userinfo is not None:
        try:
            said = await web.get(endpoints.userinfo, str(answer["access_token"]))
        except FFIError as exc:
            # What it would say is for people to read; of an oidc the ID token has said who it is.
            _log.warning("the userinfo of %s cannot be had: %s", endpoints.userinfo, exc)
        else:
            # NOTE: it may be of somebody else, and must not be used then (OpenID Connect Core, 5.3.2).
            if claims is not None and said.get("sub") != claims.subject:
                raise ProviderFailed("the userinfo is of somebody else than the ID token")
            found |= _named(said, provider, ("email", "name") if claims else ("subject", "email", "name"))
    return found


async def _claims(
    metadata: Metadata, provider: Provider, endpoints: Endpoints, answer: Mapping[str, Any], nonce: str
) -> Claims:
    """What the ID token says (OpenID Connect Core, 3.1.3.7)."""
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise ProviderFailed("expected an id_token in the provider's answer, found none")
    assert endpoints.keys is not None
    expected = Expected(provider.client_id, endpoints.issuer)
    try:
        _, algorithm = header_of(token)
        try:
            claims = verified(token, await metadata.keys(endpoints.keys), expected)
        except NoSuchKey:
            claims = verified(token, await metadata.keys(endpoints.keys, newer=True), expected)
    except Unauthorized as exc:
        raise ProviderFailed(f"the ID token is refused: {exc}") from None
    all = claims.all
    if not isinstance(all.get("nonce"), str) or not hmac.compare_digest(
        all["nonce"].encode(), nonce.encode()
    ):
        raise ProviderFailed("the ID token is refused: it is not of this sign-in, by its nonce")
    party = all.get("azp")
    if party != provider.client_id and (party is not None or len(_listed(all.get("aud"))) > 1):
        raise ProviderFailed("the ID token is refused: it was given to another client, by its azp")
    digest = all.get("at_hash")
    if digest is not None and digest != _half_hash(str(answer["access_token"]), algorithm):
        raise ProviderFailed("the ID token is refused: it is of another access token, by its at_hash")
    return claims


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _half_hash(text: str, algorithm: str) -> str:
    """The left half of its hash by that of a signature algorithm (OpenID Connect Core, 3.1.3.6)."""
    digest = _HASHES.get(algorithm[-3:], hashlib.sha512)(text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")


def _named(said: Mapping[str, Any], provider: Provider, keys: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for key in keys:
        value: Any = said
        for part in getattr(provider.userinfo, key).split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and value and value.isprintable():
            found[key] = value[:_LONGEST]
    return found
