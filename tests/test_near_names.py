"""Every argument and option of every command that names something, misspelt: the error says what was meant.

A new command is walked too; what it takes as text must be told here, as a name, or as what names nothing that is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from mixkit.cli.app import cli
from mixkit.cli.session import Session

AGENT = """
module greet exports (hello)
hello(name: string) = "hello {name}"
"""
MANIFEST = {
    "format": 3, "name": "shopping", "version": "1.0", "kind": "app",
    "apps": {"notes": {"agents": {"greeting": {"source": "greet.mix", "entry": "hello"}}}},
    "grants": {"ffis": ["$core_*"]},
}  # fmt: skip

VALUES: Final = {
    "--param", "--env", "--answer", "--database", "--output", "--timeout", "--token", "--server", "--ws-dir", "--since",
    "--as-of", "--limit", "--extra", "--property", "--directory", "--seconds", "--name", "--package-version", "--run",
    "--id-field", "--type", "--delimiter", "--from-token", "-o", "--remote", "--user", "--trust", "--set", "--subject",
    "-k", "--ref",
}  # fmt: skip
"""Options that take values, or names of what is made: there is nothing that they could be near to."""

NEW: Final = {
    "app create": {"name"},
    "ws create": {"name"},
    "ws import": {"ws"},
    "ws clone": {"url", "ws"},
    "auth set": {"name"},
    "auth token": {"email"},
    "plugin new": {"name"},
    "new app": {"name"},
    "wasm new": {"name"},
    "secrets set": {"name"},
    "remix install": {"ws"},
    "dev": {"ws"},
    "db init": {"app"},
}
"""Names of what is made, or that strangers give."""

TEXTS: Final = {
    "run": {"params"},
    "wasm run": {"params"},
    "ffi call": {"args"},
    "codec check": {"source"},
    "codec decode": {"source"},
    "codec encode": {"source"},
    "error-decode": {"error"},
    "db explain": {"query"},
    "db export": {"query"},
    "db query": {"query"},
    "db sql": {"sql"},
    "db delete": {"where"},
    "db put": {"records"},
    "db import": {"types"},
    "fmt": {"paths"},
    "test": {"paths"},
}
"""Arguments that are texts: code, values, queries."""

IN_APP = ("--app", "shop/notes", "--ws-dir", "ws")
W = ("--ws-dir", "ws")
CASES: Final[dict[tuple[str, str], tuple[tuple[str, ...], str]]] = {
    ("app export", "name"): (("app", "export", "shop/{}", *W), "notes"),
    ("app import", "ws"): (("app", "import", "notes.export", "--ws", "{}", *W), "shop"),
    ("app list", "name"): (("app", "list", "{}", *W), "shop"),
    ("app powers", "name"): (("app", "powers", "shop/{}", *W), "notes"),
    ("app powers", "wanted"): (("app", "powers", "shop/notes", "--agree", "{}", *W), "$http_*"),
    ("app rm", "name"): (("app", "rm", "shop/{}", "-y", *W), "notes"),
    ("app show", "name"): (("app", "show", "shop/{}", *W), "notes"),
}


def walk(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        inner = click.Context(command, parent=ctx, info_name=name)
        path = inner.command_path.removeprefix("mixkit ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield path, command
        if isinstance(command, click.Group):
            yield from walk(command, inner)


def named() -> Iterator[tuple[str, click.Parameter]]:
    """Parameters that take a text of their own kind."""
    for path, command in walk(cli, click.Context(cli, info_name="mixkit", obj=Session("all"))):
        for param in command.params:
            if isinstance(param.type, click.types.StringParamType) and not getattr(param, "is_flag", False):
                yield path, param
