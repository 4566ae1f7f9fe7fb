"""Where configurations of providers are kept: in the vault of the workspace, with the client's secret sealed beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from mix_server.errors import BadRequest
from mix_server.sign_in.account import ACCOUNT, Account
from mix_server.sign_in.provider import Provider, check_name
from mixkit.errors import NotFound, StorageError
from mixkit.vault import Label

if TYPE_CHECKING:
    from mixkit.egress import EgressPolicy
    from mixkit.vault import Vault

__all__ = ["MAX_PROVIDERS", "Configured", "Providers"]

MAX_PROVIDERS: Final = 100
"""Of one workspace."""

_KIND: Final = "provider"


class Configured(NamedTuple):
    """A provider as it is kept. `version` grows with each change."""

    name: str
    provider: Provider
    secret: str | None
    version: int

    def public(self) -> dict[str, Any]:
        """As people see it: whether there is a secret, and not which."""
        return {"name": self.name, **self.provider.public(), "has_secret": self.secret is not None}


class Providers:
    """The providers of one workspace. Blocks while the disk works; thread-safe.

    Args:
        vault: of the workspace.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def get(self, name: str) -> Configured | None:
        """The provider of that name."""
        kept = self._vault.read(_label(name))
        if kept is None:
            return None
        try:
            provider = msgspec.convert(kept.extra, Provider)
        except msgspec.ValidationError as exc:
            raise StorageError(f"the provider {name!r} is not as it is written: {exc}") from None
        return Configured(name, provider, kept.value.decode() or None, kept.version)

    def list(self) -> list[Configured]:
        """All, sorted by name."""
        found = (self.get(label.name) for label, _ in self._vault.labels(_KIND, ""))
        return [each for each in found if each is not None]

    def put(
        self, name: str, provider: Provider, secret: str | None, check: EgressPolicy
    ) -> tuple[Configured, bool]:
        """Keep a provider in place of the one of that name; answers it, and whether it is new.

        Args:
            secret: of the client. None keeps the one that is there, as long as it goes where it went before.
            check: what may be connected to.

        Raises:
            BadRequest: it cannot work, or would need the secret again.
        """
        from mix_server.sign_in.provider import checked

        check_name(name)
        known = self.get(name)
        if known is None and len(self._vault.labels(_KIND, "")) >= MAX_PROVIDERS:
            raise BadRequest(f"expected at most {MAX_PROVIDERS} providers in a workspace")
        if (
            secret is None
            and provider.client_auth != "none"
            and known is not None
            and known.secret is not None
        ):
            # NOTE: a secret that nobody can read must not be sent where somebody can.
            if known.provider.mark != provider.mark:
                raise BadRequest(
                    "expected client_secret: the one that is kept is for another client, or would be sent elsewhere"
                )
            secret = known.secret
        checked(provider, secret, check)
        version = self._vault.write(_label(name), (secret or "").encode(), provider.public())
        return Configured(name, provider, secret, version), known is None

    def remove(self, name: str) -> None:
        """Remove a provider, and the accounts that were connected by it. `NotFound` if there is none."""
        if self._vault.take(_label(name)) is None:
            raise NotFound(f"no provider {name!r:.80}")
        for label, _ in self._vault.labels(ACCOUNT):
            if label.name == name:
                self._vault.take(label)

    def accounts(self, name: str) -> int:
        """How many users have connected an account by it."""
        return sum(label.name == name for label, _ in self._vault.labels(ACCOUNT))

    def account(self, label: Label) -> tuple[Account, dict[str, Any], int] | None:
        """The account under a label, what is known of it, and its version."""
        kept = self._vault.read(label)
        if kept is None:
            return None
        try:
            return Account.decode(kept.value), kept.extra, kept.version
        except msgspec.MsgspecError:
            raise StorageError(
                f"the account {label.name!r} is not as it is written; connect it again"
            ) from None


def _label(name: str) -> Label:
    return Label(_KIND, "", name)
