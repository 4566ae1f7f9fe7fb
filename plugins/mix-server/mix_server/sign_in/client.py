"""This server as the client of a provider: what it asks the token endpoint, and tells of tokens that it lets go."""

from __future__ import annotations

from typing import Any

from mix_server.sign_in.metadata import Endpoints
from mix_server.sign_in.store import Configured
from mix_server.sign_in.web import Web

__all__ = ["ask_tokens", "revoke"]


async def ask_tokens(
    web: Web, known: Configured, endpoints: Endpoints, form: dict[str, str]
) -> dict[str, Any]:
    """What the token endpoint of a provider answers to a grant.

    Args:
        form: the grant, as `{"grant_type": "refresh_token", …}`.

    Raises:
        ProviderRefused, ProviderFailed, EgressDenied, Unanswered: see `Web.post`.
    """
    return await web.post(
        endpoints.token, *_as_client(known, endpoints, {**known.provider.token_parameters, **form})
    )


async def revoke(web: Web, known: Configured, endpoints: Endpoints, refresh: str | None, access: str) -> None:
    """Tell a provider that tokens are not used any more (RFC 7009): with the one to refresh by go all of its grant.

    Raises:
        ProviderFailed, EgressDenied, Unanswered: see `Web.tell`.
    """
    assert endpoints.revocation is not None
    if refresh is None:
        form = {"token": access, "token_type_hint": "access_token"}
    else:
        form = {"token": refresh, "token_type_hint": "refresh_token"}
    await web.tell(endpoints.revocation, *_as_client(known, endpoints, form))


def _as_client(
    known: Configured, endpoints: Endpoints, form: dict[str, str]
) -> tuple[dict[str, str], tuple[str, str] | None]:
    """A form and the pair for a header, one of which says who asks."""
    provider = known.provider
    if known.secret is None:
        return {**form, "client_id": provider.client_id}, None
    in_header = endpoints.in_header if provider.client_auth is None else provider.client_auth == "basic"
    if in_header:
        return form, (provider.client_id, known.secret)
    return {**form, "client_id": provider.client_id, "client_secret": known.secret}, None
