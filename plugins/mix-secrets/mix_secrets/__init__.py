"""Secrets of users, which agents use and cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.cli.group import Group
    from mixkit.contracts import Check
    from mixkit.ffi import Registry

__all__: list[str] = []


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_secrets.ffis import group

    registry.add(group)


@hookimpl
def mix_settings() -> str:
    return "mix_secrets.settings:SecretsSettings"


@hookimpl
def mix_vaults() -> dict[str, str]:
    return {"secrets": "mix_secrets.shared:SharedVaults"}


@hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("secrets", "mix_secrets.cli:secrets", "Keep secrets for apps, and seal them anew.")


@hookimpl(optionalhook=True)
def mix_routes(app: Any, server: Any) -> None:
    """Where there is a server, it lists the names of secrets."""
    from mix_secrets.page import Secrets

    app.add_route("/v1/ws/{ws}/app/{app}/secrets", Secrets(server))


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_secrets.doctor import checks

    return checks(kernel)
