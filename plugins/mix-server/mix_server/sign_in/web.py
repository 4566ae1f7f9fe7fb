"""What is sent to providers, all of it behind the egress check, and what they answer, as JSON objects."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlencode

import msgspec

from mix_server.sign_in.errors import ProviderFailed, ProviderRefused
from mixkit.addresses import AllowedNetwork
from mixkit.egress import EgressPolicy
from mixkit.exchange import Exchanged, exchange
from mixkit.fields import read_json

if TYPE_CHECKING:
    import ssl

    from mix_server.settings import ServerSettings

__all__ = ["Web", "policy_of"]

_MAX_ANSWER: Final = 1 << 20
_ERROR: Final = 100
"""Characters of an error code."""


def policy_of(settings: ServerSettings) -> EgressPolicy:
    """What of providers may be connected to."""
    allow = tuple(AllowedNetwork.parse(text) for text in settings.provider_networks)
    plain = settings.provider_plain
    return EgressPolicy(("https", "http") if plain else ("https",), dangerous=plain, allow=allow)


@cache
def _trusting(ca_file: str) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


class Web:
    """Speaks with providers.

    Args:
        settings: whom it may reach and trusts.

    Attributes:
        policy: what may be connected to.
        seconds: for one question and its answer.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.policy = policy_of(settings)
        self._ca_file = settings.provider_ca_file
        self.seconds = settings.provider_timeout

    async def get(self, url: str, token: str | None = None) -> dict[str, Any]:
        """The JSON object at a URL.

        Args:
            token: sent as `Authorization: Bearer`.

        Raises:
            ProviderFailed: there is none now.
            EgressDenied, Unanswered: see `exchange`.
        """
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = await self._ask("GET", url, headers)
        if answer.status != 200:
            raise ProviderFailed(f"expected status 200 at {url:.200}, found {answer.status}")
        return _object(answer, url)

    async def post(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> dict[str, Any]:
        """What the token endpoint at a URL answers to a form.

        Args:
            basic: id and secret of the client, sent in a header.

        Raises:
            ProviderRefused: an error of OAuth, whatever its status: some send it with 200.
            ProviderFailed, EgressDenied, Unanswered: as `get`.
        """
        answer = await self._post(url, form, basic)
        if 200 <= answer.status < 500 and answer.status != 429:
            try:
                found = _object(answer, url)
            except ProviderFailed:
                found = {}
            error = found.get("error")
            if isinstance(error, str) and error and error.isprintable():
                raise ProviderRefused(f"the provider answers {error:.100}", error[:_ERROR])
            if answer.status == 200 and found:
                return found
        raise ProviderFailed(
            f"expected tokens, found status {answer.status} at the token endpoint {url:.200}"
        )

    async def tell(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> None:
        """Send a form whose answer has nothing but a status.

        Args:
            basic: as of `post`.

        Raises:
            ProviderFailed: it is none of success.
            EgressDenied, Unanswered: as `get`.
        """
        answer = await self._post(url, form, basic)
        if not 200 <= answer.status < 300:
            raise ProviderFailed(f"expected status 200 at {url:.200}, found {answer.status}")

    async def _post(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> Exchanged:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if basic is not None:
            # Both are encoded as in a form before that (RFC 6749, 2.3.1).
            pair = ":".join(map(quote_plus, basic))
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return await self._ask("POST", url, headers, urlencode(form).encode())

    async def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> Exchanged:
        try:
            tls = await asyncio.to_thread(_trusting, self._ca_file)
        except OSError as exc:
            raise ProviderFailed(
                "the setting provider_ca_file cannot be read; `mixkit doctor` says why"
            ) from exc
        return await exchange(
            method,
            url,
            self.policy,
            headers={"Accept": "application/json", "User-Agent": "mixkit", **headers},
            body=body,
            seconds=self.seconds,
            most=_MAX_ANSWER,
            tls=tls,
        )


def _object(answer: Exchanged, url: str) -> dict[str, Any]:
    try:
        found = read_json(answer.body)
    except msgspec.MsgspecError:
        found = None
    if not isinstance(found, dict):
        raise ProviderFailed(f"expected a JSON object at {url:.200}, found something else")
    return found
