"""What one invocation of `mixkit` was told. Commands find it as `ctx.obj`, or with `@pass_session`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from mixkit.assembly import Assembly
    from mixkit.kernel import Kernel
    from mixkit.profile import Profile

__all__ = ["DEFAULT_PROFILE", "PROFILE_VARIABLE", "Session", "json_option", "parse_overrides", "pass_session"]

PROFILE_VARIABLE = "MIXKIT_PROFILE"
DEFAULT_PROFILE = "agent_server"

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass
class Session:
    """One invocation of the command line.

    Attributes:
        profile: name or path of the profile that commands load.
        overrides: values of `--set`, by dotted key, as `Kernel` takes them.
        as_json: the command was given `--json`.
        log_level, log_format: as `mixkit.cli.logs.configure` was told, for processes that a command starts.
        guest_level: from which level on a command shows what guests write that it runs in the foreground.
    """

    profile: str = DEFAULT_PROFILE
    overrides: Mapping[str, Any] = field(default_factory=dict)
    as_json: bool = False
    log_level: str = "warning"
    log_format: str = "pretty"
    guest_level: str = "info"

    def kernel(self) -> Kernel:
        """A kernel with the profile of this invocation, loaded. Use it as a context manager."""
        import gc

        from mixkit.kernel import Kernel

        kernel = Kernel(self.profile, overrides=dict(self.overrides))
        if not gc.isenabled():
            # Commands that come so far may go on for long; what there is now stays, and is not looked through.
            gc.freeze()
            gc.enable()
        return kernel

    def assembly(self) -> Assembly:
        """The profile of this invocation with what its plugins give, for commands that run nothing."""
        from mixkit.assembly import Assembly

        return Assembly(self.profile, overrides=dict(self.overrides))

    def loaded_profile(self) -> Profile:
        """The profile of this invocation, with what `--set` says, for what needs no plugin."""
        from mixkit.profile import load_profile

        return load_profile(self.profile, overrides=self.overrides)

    def settings(self, plugin: str, cls: type[T]) -> T:
        """A plugin's settings as this invocation has them, for commands of its own that load no other plugin.

        Raises:
            ProfileError: an unknown key or a wrong value, with where it stands.
        """
        from mixkit.settings import fill

        profile = self.loaded_profile()
        given = profile.overrides.get(plugin, {})
        filled, _ = fill(plugin, cls, profile.settings.get(plugin, []), os.environ, given)
        return cast(T, filled)


pass_session = click.make_pass_decorator(Session)
"""Decorator: the command gets the `Session` as its first argument."""


def json_option(function: F) -> F:
    """Decorator: the option `--json`, which every command has. It sets `Session.as_json`.

    Eager, so that a usage error behind it is already told as JSON.
    """

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        session = ctx.find_object(Session)
        if value and session is not None:
            session.as_json = True

    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=remember,
        help="Print one JSON document on stdout, errors too.",
    )(function)


def parse_overrides(texts: Iterable[str]) -> dict[str, str]:
    """`--set KEY=VALUE`, any number of them. The profile converts a VALUE to the type of its key."""
    overrides: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise click.BadParameter(
                f"expected KEY=VALUE with a dotted key, as limits.wall_time=3; found {text!r}"
            )
        overrides[key] = value
    return overrides
