"""What a provider says of itself (OpenID Connect Discovery 1.0, RFC 8414), and its keys; both kept for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, Final

import msgspec

from mix_server.access.key_set import KeySet
from mix_server.sign_in.errors import ProviderFailed
from mix_server.sign_in.provider import Provider
from mix_server.sign_in.web import Web
from mixkit.errors import FFIError
from mixkit.target import parse_url

__all__ = ["Endpoints", "Metadata"]

_AGE: Final = 300.0
"""Seconds that metadata and keys are kept."""
_AGAIN: Final = 10.0
"""Seconds after which keys may be fetched anew for a token that names another one."""
_MOST: Final = 256


class Endpoints(msgspec.Struct, frozen=True):
    """Where a provider is asked for what; the configuration goes before its metadata.

    Attributes:
        issuer: what callbacks and ID tokens name; None if it is not known.
        names_itself: whether callbacks must name the issuer (RFC 9207, 3).
        revocation: where it is told of tokens that are not used any more (RFC 7009); None if nowhere.
        in_header: whether the token endpoint takes the client's secret in a header.
    """

    authorization: str
    token: str
    userinfo: str | None
    keys: str | None
    revocation: str | None
    issuer: str | None
    names_itself: bool
    in_header: bool


class Metadata:
    """Fetches, and keeps, what providers say of themselves. One object a process, used on its event loop."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._kept: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    async def endpoints(self, provider: Provider) -> Endpoints:
        """The endpoints of a provider.

        Raises:
            ProviderFailed: its metadata are not such that it can be used.
            EgressDenied, Unanswered: see `exchange`.
        """
        url = provider.metadata_url
        found = {} if url is None else await self._at(url)
        issuer = found.get("issuer")
        # NOTE: else who answers there could name himself as another, and be believed (RFC 8414, 3.3).
        if url is not None and provider.issuer is not None and issuer != provider.issuer:
            raise ProviderFailed(
                f"expected the issuer {provider.issuer} in {url:.200}, found {issuer!r:.200}"
            )
        issuer = provider.issuer or (issuer if isinstance(issuer, str) else None)
        authorization = self._url(provider, found, "authorization_endpoint")
        token = self._url(provider, found, "token_endpoint")
        keys = self._url(provider, found, "jwks_uri")
        if authorization is None or token is None or (provider.kind == "oidc" and keys is None):
            raise ProviderFailed(
                "expected authorization_endpoint, token_endpoint and, of an oidc, jwks_uri in the configuration or "
                f"the metadata at {url!s:.200}"
            )
        ways = found.get("token_endpoint_auth_methods_supported")
        in_header = (
            not isinstance(ways, list) or "client_secret_basic" in ways or "client_secret_post" not in ways
        )
        return Endpoints(
            authorization=authorization,
            token=token,
            userinfo=self._url(provider, found, "userinfo_endpoint"),
            keys=keys,
            # NOTE: not of the configuration: the client's secret goes there, and to whom is what `Provider.mark` holds.
            revocation=self._checked(found.get("revocation_endpoint"), "revocation_endpoint"),
            issuer=issuer,
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
            in_header=in_header,
        )

    async def keys(self, url: str, *, newer: bool = False) -> KeySet:
        """The keys at a URL; with `newer`, fetched unless that was a moment ago."""
        known = self._kept.get(url)
        if newer and known is not None and time.monotonic() > known[0] + _AGAIN:
            del self._kept[url]
        found = await self._at(url)
        entries = found.get("keys")
        if not isinstance(entries, list):
            raise ProviderFailed(f'expected {{"keys": […]}} at {url:.200}, found something else')
        return KeySet(entries)

    async def _at(self, url: str) -> dict[str, Any]:
        kept = self._kept.get(url)
        if kept is None or time.monotonic() > kept[0] + _AGE:
            # Whoever asks at the same time fetches it too: it is seldom.
            kept = time.monotonic(), await self._web.get(url)
            self._kept[url] = kept
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        found: dict[str, Any] = kept[1]
        return found

    def _url(self, provider: Provider, found: dict[str, Any], key: str) -> str | None:
        given: str | None = getattr(provider, key)
        return self._checked(found.get(key) if given is None else given, key)

    def _checked(self, url: object, key: str) -> str | None:
        if url is None:
            return None
        if not isinstance(url, str) or not url.isascii() or "#" in url:
            raise ProviderFailed(f"the metadata of the provider have a {key} that is no URL")
        try:
            # The browser goes to one of them, which is checked here and nowhere else.
            self._web.policy.check_target(parse_url(url))
        except FFIError as exc:
            raise ProviderFailed(f"{key} of the provider's metadata: {exc}") from None
        return url
