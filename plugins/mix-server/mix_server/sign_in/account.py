"""An account that a user has connected: the tokens, and what is known of who it is."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mix_server.sign_in.errors import ProviderFailed

__all__ = ["ACCOUNT", "GRACE", "Account", "Previous", "account_of", "refreshed"]

ACCOUNT: Final = "account"
"""The kind of an account in a vault; mix-secrets knows it too, by that name."""
GRACE: Final = 600.0
"""Seconds that the refresh token before is kept."""

_MARGIN: Final = 60.0
"""Seconds before its end at which an access token is refreshed."""
_LONGEST: Final = 10 * 365 * 86_400.0
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
"""What can stand in a header."""


class Previous(msgspec.Struct, frozen=True):
    """The refresh token that was used for the one that is there, and the Unix second until which it is kept."""

    refresh: str
    until: float


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of an account, as they are sealed.

    Attributes:
        mark: of the configuration that they are of (`Provider.mark`).
        access, refresh: the tokens; not every provider gives one to refresh with.
        expires: Unix second at which `access` ends; None if the provider does not say it.
        margin: seconds before that at which it is refreshed.
        previous: what was there before.
    """

    mark: str
    access: str
    refresh: str | None = None
    expires: float | None = None
    margin: float = _MARGIN
    previous: Previous | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the access token can be given away."""
        return self.expires is None or time.time() < self.expires - self.margin

    @property
    def is_good(self) -> bool:
        """Whether the access token has not ended yet, as far as that is known."""
        return self.expires is None or time.time() < self.expires

    def encode(self) -> bytes:
        """As it is sealed."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Account:
        """What `encode` made."""
        return msgspec.json.decode(data, type=cls)


def account_of(answer: Mapping[str, Any], mark: str) -> Account:
    """The tokens of an answer of a token endpoint.

    Raises:
        ProviderFailed: there are none that can be used.
    """
    kind = answer.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ProviderFailed(f"expected a token of type Bearer, found {kind!r:.40}")
    access, refresh = answer.get("access_token"), answer.get("refresh_token")
    if not _is_token(access) or not (refresh is None or refresh == "" or _is_token(refresh)):
        raise ProviderFailed(
            "expected an access_token in the provider's answer, as text that a header can hold"
        )
    lifetime = _seconds(answer.get("expires_in"))
    now = time.time()
    return Account(
        mark=mark,
        access=str(access),
        refresh=refresh or None,
        expires=None if lifetime is None else now + lifetime,
        margin=_MARGIN if lifetime is None else min(_MARGIN, lifetime / 4),
    )


def refreshed(account: Account, answer: Mapping[str, Any]) -> Account:
    """An account with the tokens of an answer; a provider that rotates nothing sends no new refresh token.

    Raises:
        ProviderFailed: as `account_of`.
    """
    new = account_of(answer, account.mark)
    if new.refresh is None or new.refresh == account.refresh:
        return msgspec.structs.replace(new, refresh=account.refresh, previous=account.previous)
    assert account.refresh is not None
    return msgspec.structs.replace(new, previous=Previous(account.refresh, time.time() + GRACE))


def _is_token(text: object) -> bool:
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def _seconds(value: object) -> float | None:
    """A lifetime, which some providers send as text; None if it is not said."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return min(float(value), _LONGEST)
