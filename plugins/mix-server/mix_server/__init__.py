"""The agent server of mixkit, on Falcon ASGI: agents over HTTP. See docs/server.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit import hookimpl

if TYPE_CHECKING:
    import pluggy

    from mixkit.cli.group import Group
    from mixkit.contracts import Check
    from mixkit.state import State
    from mixkit.value import Token

__version__ = "0.1.0"


@hookimpl
def mix_settings() -> str:
    return "mix_server.settings:ServerSettings"


@hookimpl
def mix_belongings() -> dict[str, str]:
    return {"grant": "mix_server.access.moved:grants"}


@hookimpl
def mix_commands(group: Group) -> None:
    group.lazy("serve", "mix_server.cli:serve", "Serve agents over HTTP.")
    group.lazy("perms", "mix_server.perms:perms", "List, give, take back and explain grants.")
    group.lazy(
        "auth", "mix_server.providers:auth", "Configure third-party sign-in, and make tokens of users."
    )
    group.lazy("openapi", "mix_server.api:openapi", "Print what the server can do, as OpenAPI.")


@hookimpl
async def mix_account_token(state: State, name: str) -> Token | None:
    if state.place is None or not state.place.workspace:
        return None
    from mix_server.sign_in.refresh import token_for

    return await token_for(state, name)


@hookimpl
def mix_add_hookspecs(manager: pluggy.PluginManager) -> None:
    from mix_server import hookspecs

    manager.add_hookspecs(hookspecs)


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_server import doctor
    from mix_server.sign_in import doctor as sign_in

    return [*doctor.checks(kernel), *sign_in.checks(kernel)]
