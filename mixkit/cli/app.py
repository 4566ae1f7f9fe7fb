"""The main group: global options, our commands, and those of the profile's plugins."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from mixkit import __version__
from mixkit.cli.failure import run_guarded
from mixkit.cli.group import Group, Lazy
from mixkit.cli.session import DEFAULT_PROFILE, PROFILE_VARIABLE, Session, parse_overrides
from mixkit.errors import InternalError, MixError

__all__ = ["cli", "main"]


class Main(Group):
    """The group `mixkit`, which adds the commands of the profile's plugins when someone asks for them.

    Our own commands never wait for the profile: `doctor` and `profile` must work when it is broken.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.obj is None:
            ctx.obj = Session()
        return super().parse_args(ctx, args)

    def lazy_commands(self, ctx: click.Context) -> Mapping[str, Lazy]:
        plugins, _ = self.plugin_commands(ctx)
        return {**self.lazies, **plugins.lazies}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        return own if own is not None else self.plugin_commands(ctx)[0].get_command(ctx, cmd_name)

    def suggestions(self, ctx: click.Context) -> set[str]:
        from mixkit.offers import COMMANDS

        return super().suggestions(ctx) | {*COMMANDS}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as exc:
            from mixkit.cli.plugin_commands import where_it_is

            _, trouble = self.plugin_commands(ctx)
            text = where_it_is(exc.command_name, ctx.find_object(Session) or Session(), trouble)
            if text is not None:
                raise click.UsageError(text, ctx) from None
            if trouble is None or exc.possibilities:
                raise
            # It may be a command that the broken profile would give: say what is broken.
            raise trouble from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SystemExit as exc:
            # A command of a plugin may end so; within one of ours it can only be a plugin that leaves, maybe with 0.
            if ctx.invoked_subcommand not in self.lazies:
                raise
            raise InternalError(f"a plugin has ended the command by sys.exit({exc.code!r})") from exc

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _, trouble = self.plugin_commands(ctx)
        if trouble:
            with formatter.section("Commands of plugins are missing"):
                formatter.write_text(str(trouble))

    def plugin_commands(self, ctx: click.Context) -> tuple[Group, MixError | None]:
        """The commands of the profile's plugins, and what kept some of them away."""
        found: tuple[Group, MixError | None] | None = ctx.meta.get("mixkit.plugin_commands")
        if found is None:
            from mixkit.cli.plugin_commands import collect

            found = ctx.meta["mixkit.plugin_commands"] = collect(
                ctx.find_object(Session) or Session(), self.lazies
            )
        return found


def _set_profile(ctx: click.Context, param: click.Parameter, value: str) -> None:
    if ctx.get_parameter_source("profile") is not ParameterSource.DEFAULT:
        ctx.obj.profile = value


def _profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from mixkit.cli.completing import complete_profile

    return complete_profile(ctx, param, incomplete)


def _set_overrides(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> None:
    ctx.obj.overrides = parse_overrides(texts)


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--profile",
    "-p",
    default=DEFAULT_PROFILE,
    envvar=PROFILE_VARIABLE,
    show_default=True,
    show_envvar=True,
    is_eager=True,
    expose_value=False,
    callback=_set_profile,
    shell_complete=_profiles,
    metavar="NAME",
    help="Name or path of the profile: which plugins, settings and limits there are.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_set_overrides,
    metavar="KEY=VALUE",
    help="Override a value of the profile, as limits.wall_time=3. Repeatable.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    envvar="MIXKIT_LOG_LEVEL",
    show_default=True,
    show_envvar=True,
    help="Drop log lines below this level.",
)
@click.option(
    "--log-format",
    type=click.Choice(["pretty", "json"]),
    default="pretty",
    envvar="MIXKIT_LOG_FORMAT",
    show_default=True,
    show_envvar=True,
    help="Lines for people, or a JSON object a line.",
)
@click.version_option(__version__, prog_name="mixkit", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, log_level: str, log_format: str) -> None:
    """Run untrusted agents with exactly the powers that are plugged in."""
    from mixkit.cli import logs

    ctx.obj.log_level, ctx.obj.log_format = log_level, log_format
    if ctx.get_parameter_source("log_level") is not ParameterSource.DEFAULT:
        ctx.obj.guest_level = log_level
    logs.configure(log_level, log_format)


assert isinstance(cli, Main)
cli.lazy("app", "mixkit.cli.apps:app", "List, make, show, move and remove apps of workspaces.")
cli.lazy("codec", "mixkit.cli.codec:codec", "Encode, decode and check values.")
cli.lazy(
    "completion", "mixkit.cli.completion:completion", "Print the script that completes commands in a shell."
)
cli.lazy("doctor", "mixkit.cli.doctor:doctor", "Check this installation and say what is in force.")
cli.lazy(
    "error-decode", "mixkit.cli.error_decode:error_decode", "Make an error that an agent reported readable."
)
cli.lazy("ffi", "mixkit.cli.ffi:ffi", "List, show and call the functions that agents may use.")
cli.lazy("list", "mixkit.cli.listing:list_", "List workspaces, apps and agents.")
cli.lazy("logs", "mixkit.cli.activities:logs", "Show what is done and what guests write, and follow it.")
cli.lazy("plugin", "mixkit.cli.plugin:plugin", "Make a plugin.")
cli.lazy(
    "plugins", "mixkit.cli.plugins:plugins", "List the plugins that are installed, and which are loaded."
)
cli.lazy("profile", "mixkit.cli.profile:profile", "List and show profiles.")
cli.lazy("remix", "mixkit.cli.remix:remix", "Build, inspect, verify and install .remix packages.")
cli.lazy("run", "mixkit.cli.run:run", "Run an agent of a module, a package or a folder.")
cli.lazy("ws", "mixkit.cli.ws:ws", "List, make, show, move and remove workspaces.")


def main(args: Sequence[str] | None = None) -> int:
    """See `mixkit.cli.main`."""
    return run_guarded(cli, args, Session(profile=os.environ.get(PROFILE_VARIABLE) or None))
