"""What can go wrong between this server and a provider."""

from __future__ import annotations

from mix_server.errors import Refusal
from mixkit.errors import FFIError

__all__ = ["BadProvider", "Denied", "ProviderFailed", "ProviderRefused", "SignInFailed"]


class SignInFailed(Refusal):
    """A callback that is not what was begun here; it does not say more to who has forged one."""

    status = 400


class Denied(Refusal):
    """The user, or the provider, did not want it."""

    status = 403


class BadProvider(Refusal):
    """The provider does not do what is needed; says what."""

    status = 502


class ProviderFailed(FFIError):
    """The provider cannot be reached, or answers nothing that is understood; another try may do."""

    code = "provider"


class ProviderRefused(FFIError):
    """The provider understood, and said no. `error` is its code (RFC 6749, 5.2), as `invalid_grant`."""

    code = "provider"

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message)
        self.error = error
