"""This server as the client of a provider: what it asks the token endpoint."""

from __future__ import annotations

from typing import Any

from mix_server.sign_in.metadata import Endpoints
from mix_server.sign_in.store import Configured
from mix_server.sign_in.web import Web

__all__ = ["ask_tokens"]


async def ask_tokens(
    web: Web, known: Configured, endpoints: Endpoints, form: dict[str, str]
) -> dict[str, Any]:
    """What the token endpoint of a provider answers to a grant.

    Args:
        form: the grant, as `{"grant_type": "refresh_token", …}`.

    Raises:
        ProviderRefused, ProviderFailed, EgressDenied, Unanswered: see `Web.post`.
    """
    provider = known.provider
    form = {**provider.token_parameters, **form}
    if known.secret is None:
        return await web.post(endpoints.token, {**form, "client_id": provider.client_id}, None)
    in_header = endpoints.in_header if provider.client_auth is None else provider.client_auth == "basic"
    if in_header:
        return await web.post(endpoints.token, form, (provider.client_id, known.secret))
    more = {"client_id": provider.client_id, "client_secret": known.secret}
    return await web.post(endpoints.token, {**form, **more}, None)
