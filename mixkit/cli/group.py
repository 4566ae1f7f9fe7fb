"""A click group whose subcommands are imported only when they are invoked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mixkit.errors import MixError, PluginError
from mixkit.importing import load_object

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

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
        owner = self.plugin or "mixkit"
        try:
            command = load_object(self.target)
        except MixError as exc:
            raise PluginError(f"the command {name!r} does not load: {exc}", owner) from exc
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

    def lazy(self, name: str, target: str, help: str) -> None:
        """Add a subcommand.

        Args:
            name: what the user types.
            target: import string of a click command, `"package.cli:command"`.
            help: one line, shown in the list of commands.

        Raises:
            ValueError: the group has a command of that name, or the target is no import string.
        """
        if name in self.lazies or name in self.commands:
            other = self.lazies[name].plugin if name in self.lazies else ""
            raise ValueError(f"the command {name!r} exists already, from {other or 'mixkit'}")
        module, colon, attribute = target.partition(":")
        if not (
            colon and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))
        ):
            raise ValueError(
                f'the command {name!r} takes an import string, "package.cli:command"; found {target!r}'
            )
        self.lazies[name] = Lazy(target, help)

    def lazy_commands(self, ctx: click.Context) -> Mapping[str, Lazy]:
        """All subcommands that are not imported yet."""
        return self.lazies

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self.lazy_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = self.lazies.get(cmd_name)
        return lazy.load(cmd_name) if lazy else super().get_command(ctx, cmd_name)

    def suggestions(self, ctx: click.Context) -> set[str]:
        """What may be meant by a command that there is not. click knows only those that are imported."""
        return {*self.list_commands(ctx)}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as exc:
            raise click.exceptions.NoSuchCommand(
                exc.command_name, possibilities=sorted(self.suggestions(ctx)), ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = self._helps(ctx)
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=help) for name, help in self._helps(ctx) if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def _helps(self, ctx: click.Context) -> list[tuple[str, str]]:
        helps = {name: lazy.help for name, lazy in self.lazy_commands(ctx).items()}
        for name, command in self.commands.items():
            if not command.hidden:
                helps[name] = command.get_short_help_str(100)
        return sorted(helps.items())
