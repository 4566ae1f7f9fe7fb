"""`mixkit secrets`: what is kept for users of apps, from the command line. No value is ever an argument, or printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixkit.activities import Kind
from mixkit.cli.choices import ws_dir_option
from mixkit.cli.group import Group
from mixkit.cli.noted import noted
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import find_workspace, open_store, split_app

if TYPE_CHECKING:
    from mix_secrets.names import Name
    from mix_secrets.vault import Vault
    from mixkit.kernel import Kernel
    from mixkit.package import Workspace, WorkspaceStore

__all__ = ["secrets"]

user_option = click.option(
    "--user",
    metavar="USER",
    default="",
    help="Whose it is; by default that of runs for nobody in particular.",
)
token_option = click.option("--token", is_flag=True, help="A token, for $secrets_getToken; not a secret.")


@click.group(cls=Group)
def secrets() -> None:
    """Keep secrets for apps, which use them and cannot read them; and seal them anew.

    They are sealed with the master keys of the directory of workspaces. Values are read from stdin, or asked for at a
    terminal.
    """


def _command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Decorator: the command `name` gets `session` and `ws_dir` beside its own arguments."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return secrets.command(name)(json_option(ws_dir_option(pass_session(function))))

    return decorate


@_command("set")
@click.argument("app", metavar="WS/APP")
@click.argument("name")
@user_option
@token_option
@click.option("--extra", metavar="JSON", help="What is kept with a token, an object; agents can read it.")
def set_(
    session: Session, app: str, name: str, user: str, token: bool, extra: str | None, ws_dir: Path | None
) -> None:
    """Store the secret NAME for WS/APP in place of what is there. One line break at the end of stdin is not part of
    it."""
    if extra is not None and not token:
        raise click.UsageError("--extra goes with --token: secrets have nothing beside them")
    more = _extra(extra)
    with session.kernel() as kernel:
        store = open_store(kernel, ws_dir)
        vault, called = _named(kernel, store, app, user, token, name)
        settings = kernel.settings("secrets")
        value = _value(settings.max_bytes)
        if len(value) > settings.max_bytes:
            raise click.UsageError(
                f"expected a secret of at most {settings.max_bytes} bytes, found more; the setting "
                "secrets.max_bytes raises it"
            )
        with noted(store, Kind.CONFIGURE, *split_app(app)) as about:
            version = vault.put(called, value, more, most=settings.most)
            about |= {called.kind: name, "user": user, "version": version}
    Output(session.as_json).record(
        {"app": app, "user": user, "kind": called.kind, "name": name, "version": version}
    )


@_command("list")
@click.argument("where", metavar="WS[/APP]")
@click.option("--user", metavar="USER", help="Only of that user.")
def list_(session: Session, where: str, user: str | None, ws_dir: Path | None) -> None:
    """List the secrets of an app, or of all apps of a workspace; never their values."""
    out = Output(session.as_json)
    with session.kernel() as kernel:
        ws, app = split_app(where) if "/" in where else (where, None)
        workspace = find_workspace(open_store(kernel, ws_dir), ws)
        apps = {_folder(workspace, name): name for name in ([app] if app else workspace.apps())}
        found = [
            (apps[entry.name.app], entry)
            for entry in _vault(kernel, workspace).entries(None, user)
            if entry.name.app in apps
        ]
    rows = [
        (name, e.name.user, e.name.kind, e.name.name, e.version, e.changed if out.as_json else _time(e.changed))
        for name, e in sorted(found, key=lambda pair: (pair[0], pair[1].name))
    ]  # fmt: skip
    out.table(("app", "user", "kind", "name", "version", "changed"), rows)
    if not rows:
        out.note("none yet; `mixkit secrets set WS/APP NAME` stores one")


@_command("rm")
@click.argument("app", metavar="WS/APP")
@click.argument("name")
@user_option
@token_option
def rm(session: Session, app: str, name: str, user: str, token: bool, ws_dir: Path | None) -> None:
    """Delete the secret NAME of WS/APP. Exit status 1 if there is none."""
    from mixkit.errors import NotFound
    from mixkit.near import meant

    with session.kernel() as kernel:
        store = open_store(kernel, ws_dir)
        vault, called = _named(kernel, store, app, user, token, name)
        with noted(store, Kind.CONFIGURE, *split_app(app)) as about:
            if not vault.delete(called):
                raise NotFound(
                    f"no {called.kind} {name!r} of user {user!r} in {app}; `mixkit secrets list` has all"
                    f"{meant(name, (each.name.name for each in vault.entries(None, user)))}"
                )
            about |= {called.kind: name, "user": user, "removed": True}
    Output(session.as_json).record({"removed": name, "app": app, "user": user, "kind": called.kind})


@_command("rotate")
def rotate(session: Session, ws_dir: Path | None) -> None:
    """Seal everything anew that was not sealed with the first master key.

    First put a new key before the others and start the servers again; then rotate; then the old key may go. What was
    killed in the middle goes on when it is called again, and calling it once more changes nothing.
    """
    out = Output(session.as_json)
    with session.kernel() as kernel:
        store = open_store(kernel, ws_dir)
        rows = []
        with out.working("sealing anew"):
            for name in store.list():
                rows.append((name, _rotated(kernel, store, name)))
            # Only now: until here the old key is needed.
            kernel.keys.renew()
        key = kernel.keyring.id
    if out.as_json:
        out.document({"key": key, "workspaces": [{"workspace": ws, "sealed": count} for ws, count in rows]})
        return
    out.table(("workspace", "sealed anew"), rows)
    out.note(f"everything is sealed with the key {key}, the first in {kernel.keyring.source}")


def _rotated(kernel: Kernel, store: WorkspaceStore, name: str) -> int:
    """Seal anew what a workspace has; how much that was."""
    vault = _vault(kernel, store.workspace(name))
    count = vault.rotate()
    if count:
        with noted(store, Kind.CONFIGURE, name) as about:
            about |= {"sealed": count}
    return count


def _vault(kernel: Kernel, workspace: Workspace) -> Vault:
    from mix_secrets.vaults import FOLDER, found_in

    return found_in(workspace.root / FOLDER, workspace.name, kernel.keyring)


def _folder(workspace: Workspace, app: str) -> str:
    from mix_secrets.vaults import app_of

    return app_of(workspace.place(app))


def _named(
    kernel: Kernel, store: WorkspaceStore, where: str, user: str, token: bool, name: str
) -> tuple[Vault, Name]:
    from mix_secrets.names import Name, check_name

    ws, app = split_app(where)
    workspace = find_workspace(store, ws)
    called = Name(_folder(workspace, app), user, "token" if token else "secret", check_name(name))
    return _vault(kernel, workspace), called


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _value(most: int) -> bytes:
    if sys.stdin.isatty():
        text: str = click.prompt("value", hide_input=True, err=True)
        return text.encode()
    value = sys.stdin.buffer.read(most + 3)
    return value.removesuffix(b"\n").removesuffix(b"\r")


def _extra(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise click.BadParameter(f"expected a JSON object: {exc}", param_hint="--extra") from None
    if not isinstance(found, dict):
        raise click.BadParameter("expected a JSON object", param_hint="--extra")
    return found
