"""`mixkit auth`: the providers of third-party sign-in of a workspace, from the command line. No secret is ever an
argument, or printed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from mix_server.user_tokens import token
from mixkit.activities import Kind
from mixkit.cli.choices import ws_dir_option, ws_option
from mixkit.cli.group import Group
from mixkit.cli.noted import noted
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import find_workspace, open_store

if TYPE_CHECKING:
    from mix_server.sign_in.refresh import Tokens
    from mix_server.sign_in.store import Configured, Providers
    from mixkit.kernel import Kernel
    from mixkit.package import WorkspaceStore

__all__ = ["auth"]

_COLUMNS = ("name", "kind", "client_id", "where", "secret", "accounts")


@click.group(cls=Group)
def auth() -> None:
    """Configure the providers by which users of a workspace connect accounts, and make tokens of users, beside a server
    that runs too.

    Both are done with the master keys of the directory of workspaces.
    """


auth.add_command(token)


def _command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Decorator: the command `name` gets `session`, `ws` and `ws_dir` beside its own arguments."""
    ws = ws_option(required=True)

    def decorate(function: Callable[..., Any]) -> click.Command:
        return auth.command(name)(ws(json_option(ws_dir_option(pass_session(function)))))

    return decorate


@_command("set")
@click.argument("name")
@click.argument("config", type=click.File("rb"))
@click.option("--secret", is_flag=True, help="Ask for the client's secret, or read it from stdin.")
def set_(session: Session, name: str, config: IO[bytes], secret: bool, ws: str, ws_dir: Path | None) -> None:
    """Configure the provider NAME as the JSON file CONFIG says (- is stdin), in place of the one of that name.

    CONFIG is what `PUT /v1/ws/WS/auth-configs/NAME` takes. Without a secret the one that is kept stays, as long as it
    goes where it went before.
    """
    import msgspec

    from mix_server.sign_in.provider import EXAMPLE, Provider
    from mixkit.fields import read_json, valid

    if secret and config is sys.stdin.buffer:
        raise click.UsageError("expected CONFIG as a file beside --secret: both would be read from stdin")
    data = config.read(1 << 20)
    try:
        given = read_json(data)
        hidden = given.pop("client_secret", None) if isinstance(given, dict) else None
        provider = msgspec.convert(given, Provider)
    except msgspec.MsgspecError as exc:
        near = valid(exc, Provider) if isinstance(exc, msgspec.ValidationError) else ""
        raise click.BadParameter(f"expected {EXAMPLE}: {exc}{near}", param_hint="CONFIG") from None
    if not isinstance(hidden, str | None) or hidden == "":
        raise click.BadParameter("expected client_secret as text", param_hint="CONFIG")
    if secret:
        hidden = _secret()
    with session.kernel() as kernel:
        providers, tokens, store = _providers(kernel, ws_dir, ws)
        with noted(store, Kind.CONFIGURE, ws) as about:
            known, is_new = providers.put(name, provider, hidden, tokens.web.policy)
            about["provider"] = name
    Output(session.as_json).record({**known.public(), "new": is_new})


@_command("list")
def list_(session: Session, ws: str, ws_dir: Path | None) -> None:
    """List the providers of a workspace, and how many users have connected an account by each."""
    out = Output(session.as_json)
    with session.kernel() as kernel:
        providers, _, _ = _providers(kernel, ws_dir, ws)
        rows = [
            (
                each.name,
                each.provider.kind,
                each.provider.client_id,
                each.provider.metadata_url or each.provider.token_endpoint,
                "kept" if each.secret is not None else "none",
                providers.accounts(each.name),
            )
            for each in providers.list()
        ]
    out.table(_COLUMNS, rows)
    if not rows:
        out.note("none yet; `mixkit auth set NAME CONFIG.json --ws WS` configures one")


@_command("show")
@click.argument("name")
def show(session: Session, name: str, ws: str, ws_dir: Path | None) -> None:
    """Show how the provider NAME is configured; its secret is never shown."""
    with session.kernel() as kernel:
        providers, _, _ = _providers(kernel, ws_dir, ws)
        Output(session.as_json).record(_found(providers, name, ws).public())


@_command("rm")
@click.argument("name")
def rm(session: Session, name: str, ws: str, ws_dir: Path | None) -> None:
    """Remove the provider NAME, and the accounts that were connected by it. Exit status 1 if there is none."""
    with session.kernel() as kernel:
        providers, _, store = _providers(kernel, ws_dir, ws)
        _found(providers, name, ws)
        accounts = providers.accounts(name)
        with noted(store, Kind.CONFIGURE, ws) as about:
            providers.remove(name)
            about |= {"provider": name, "removed": True}
    Output(session.as_json).record({"removed": name, "ws": ws, "accounts": accounts})


@_command("test")
@click.argument("name")
def test(session: Session, name: str, ws: str, ws_dir: Path | None) -> None:
    """Ask the provider NAME what it says of itself, and for its keys. Exit status 1 if it cannot be used."""
    from mix_server.sign_in.errors import ProviderFailed

    out = Output(session.as_json)
    with session.kernel() as kernel:
        providers, tokens, _ = _providers(kernel, ws_dir, ws)
        found = _found(providers, name, ws)
        with out.working("asking the provider"):
            said = asyncio.run(_asked(tokens, found))
    if said["keys"] == 0:
        raise ProviderFailed(f"the provider {name!r} has no key by which ID tokens could be verified here")
    out.record({"name": name, **said})


async def _asked(tokens: Tokens, found: Configured) -> dict[str, Any]:
    endpoints = await tokens.metadata.endpoints(found.provider)
    keys = None
    if found.provider.kind == "oidc" and endpoints.keys is not None:
        keys = len(await tokens.metadata.keys(endpoints.keys))
    return {
        "issuer": endpoints.issuer,
        "authorization_endpoint": endpoints.authorization,
        "token_endpoint": endpoints.token,
        "userinfo_endpoint": endpoints.userinfo,
        "keys": keys,
    }


def _providers(kernel: Kernel, ws_dir: Path | None, ws: str) -> tuple[Providers, Tokens, WorkspaceStore]:
    from mix_server.sign_in.refresh import tokens_of
    from mix_server.sign_in.store import Providers

    store = open_store(kernel, ws_dir)
    workspace = find_workspace(store, ws)
    tokens = tokens_of(kernel)
    return Providers(tokens.vault(workspace.root, workspace.name)), tokens, store


def _found(providers: Providers, name: str, ws: str) -> Configured:
    from mixkit.errors import NotFound
    from mixkit.near import meant

    found = providers.get(name)
    if found is None:
        known = [each.name for each in providers.list()]
        raise NotFound(f"no provider {name!r:.80} in workspace {ws!r}{meant(name, known)}")
    return found


def _secret() -> str:
    if sys.stdin.isatty():
        text: str = click.prompt("client secret", hide_input=True, err=True)
        return text
    return sys.stdin.read(1 << 16).removesuffix("\n").removesuffix("\r")
