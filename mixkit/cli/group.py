"""A click group whose subcommands are imported only when they are invoked."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from mixkit.errors import MixError, PluginError

__all__ = ["Group", "Lazy"]


@dataclass(frozen=True, slots=True)
class Lazy:
    """A subcommand that is not imported yet. `plugin` is the plugin that gives it, `""` for our own."""

    target: str
    help: str
    plugin: str = ""

    def load(self, name: str) -> click.Command:
        """Import the command.

        Raises:
            PluginError: the module does not import, or what it holds is no click command.
        """
        module, _, attribute = self.target.partition(":")
        owner = self.plugin or "mixkit"
        try:
            command = getattr(importlib.import_module(module), attribute)
        except MixError:
            raise
        except Exception as exc:
            raise PluginError(
                f"the command {name!r} cannot be imported from {self.target}: {type(exc).__name__}: {exc}",
                owner,
            ) from exc
        if not isinstance(command, click.Command):
            raise PluginError(
                f"the command {name!r} is a click command, found {type(command).__name__} at {self.target}",
                owner,
            )
        return command


class Group(click.Group):
    """A group that lists its subcommands from what `lazy` was told, so that `--help` imports none of them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazies: dict[str, Lazy] = {}

    def lazy(self, name: str, target: str, help: str, *, plugin: str = "") -> None:
        """Add a subcommand.

        Args:
            name: what the user types.
            target: import string of a click command, `"package.cli:command"`.
            help: one line, shown in the list of commands.
            plugin: the plugin that gives the command; the kernel fills it in.

        Raises:
            PluginError: the group has a command of that name, or the target is no import string.
        """
        if name in self.lazies or name in self.commands:
            other = self.lazies[name].plugin if name in self.lazies else ""
            raise PluginError(
                f"the command {name!r} exists already, from {other or 'mixkit'}", plugin or "mixkit"
            )
        module, colon, attribute = target.partition(":")
        if not (
            colon and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))
        ):
            raise PluginError(
                f'the command {name!r} is given by an import string, "package.cli:command"; found {target!r}',
                plugin or "mixkit",
            )
        self.lazies[name] = Lazy(target, help, plugin)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self.lazies})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = self.lazies.get(cmd_name)
        return lazy.load(cmd_name) if lazy else super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as exc:
            # click knows only the commands that are imported; suggest from all.
            raise click.exceptions.NoSuchCommand(
                exc.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        rows = [(name, self._help(name)) for name in names if not self._hidden(name)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [
            CompletionItem(name, help=self._help(name))
            for name in self.list_commands(ctx)
            if name.startswith(incomplete) and not self._hidden(name)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def _help(self, name: str) -> str:
        lazy = self.lazies.get(name)
        return lazy.help if lazy else self.commands[name].get_short_help_str(100)

    def _hidden(self, name: str) -> bool:
        return name in self.commands and self.commands[name].hidden
