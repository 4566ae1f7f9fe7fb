"""What `mixkit doctor` says of third-party sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixkit import outgoing
from mixkit.contracts import Check

if TYPE_CHECKING:
    from mix_server.settings import ServerSettings
    from mixkit.kernel import Kernel

__all__ = ["checks"]


def checks(kernel: Kernel) -> list[Check]:
    """The findings: where accounts are kept, whether browsers find back, what of providers is reached and trusted."""
    settings: ServerSettings = kernel.settings("server")
    if not kernel.assembly.vaults:
        return [
            Check(
                "third-party sign-in",
                "warning",
                "no plugin of the profile keeps secrets: nobody can connect an account",
                "name secrets in the plugins of the profile",
            )
        ]
    found = [_reach(settings)]
    if settings.base_url is None:
        found.append(
            Check(
                "third-party sign-in",
                "ok",
                "only for browsers on this machine: settings.server.base_url, to which providers send browsers back, "
                "is not set",
            )
        )
    else:
        found.append(
            Check(
                "third-party sign-in", "ok", f"providers send browsers back to {settings.base_url}/v1/auth/…"
            )
        )
    if settings.provider_ca_file:
        import ssl

        wrong = outgoing.file_finding(
            "server",
            "provider_ca_file",
            settings.provider_ca_file,
            "of certificate authorities",
            lambda path: ssl.create_default_context(cafile=path),
        )
        if wrong is not None:
            found.append(wrong)
    return found


def _reach(settings: ServerSettings) -> Check:
    name = "identity providers"
    if settings.provider_plain:
        return Check(
            name,
            "warning",
            "provider_plain: who configures providers reaches plain http and every address, loopback too",
            "unset settings.server.provider_plain unless this machine is for development",
        )
    if settings.provider_networks:
        return Check(
            name,
            "warning",
            f"who configures providers reaches, besides public addresses: {', '.join(settings.provider_networks)}",
            "keep settings.server.provider_networks as short as it can be",
        )
    return Check(name, "ok", "https to public addresses only")
