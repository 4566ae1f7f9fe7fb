"""What one invocation of `mixkit` was told. Commands find it as `ctx.obj`, or with `@pass_session`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from mixkit.errors import ProfileError, printable

if TYPE_CHECKING:
    from mixkit.assembly import Assembly
    from mixkit.cli.project import Project
    from mixkit.kernel import Kernel
    from mixkit.profile import Profile

__all__ = ["DEFAULT_PROFILE", "PROFILE_VARIABLE", "Session", "json_option", "parse_overrides", "pass_session"]

PROFILE_VARIABLE = "MIXKIT_PROFILE"
DEFAULT_PROFILE = "agent_server"

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Session:
    """One invocation of the command line.

    Args:
        profile: name or path of the profile, of the command line or of the environment; None: neither names one.

    Attributes:
        overrides: values of `--set`, by dotted key, as `Kernel` takes them.
        as_json: the command was given `--json`.
        log_level, log_format: as `mixkit.cli.logs.configure` was told, for processes that a command starts.
        guest_level: from which level on a command shows what guests write that it runs in the foreground.
    """

    def __init__(self, profile: str | None = None) -> None:
        self._profile = profile
        self._project: Project | None = None
        self._used: set[str] = set()
        self.overrides: Mapping[str, Any] = {}
        self.as_json = False
        self.log_level = "warning"
        self.log_format = "pretty"
        self.guest_level = "info"

    @property
    def profile(self) -> str:
        """Name or path of the profile that commands load."""
        return self._profile or self.project.profile or DEFAULT_PROFILE

    @profile.setter
    def profile(self, name: str) -> None:
        self._profile = name

    @property
    def project(self) -> Project:
        """What the `mixkit.toml` says that counts here. `ProfileError` if it is wrong."""
        if self._project is None:
            self.work_in(None)
        assert self._project is not None
        return self._project

    def work_in(self, folder: str | Path | None) -> None:
        """Go by the `mixkit.toml` of a folder that the command is about; None: of the current one."""
        from mixkit.cli.project import find_project

        self._project = find_project(folder)
        for line in self._project.passed_over:
            click.echo(f"mixkit: note: {printable(line)}", err=True)

    def of_project(self, key: str) -> str | None:
        """The value of a key of `mixkit.toml`, by which the command goes then; None if it has none."""
        value: str | None = getattr(self.project, key)
        if value is not None:
            self._used.add(key)
        return value

    def said_of(self, message: str) -> str:
        """See `Project.said_of`; nothing if no command has asked for the file."""
        if self._project is None:
            return ""
        # The directory is in the settings, whatever is asked.
        used = {*self._used, "ws_dir"} | ({"profile"} if self._profile is None else set())
        return self._project.said_of(message, used)

    def kernel(self) -> Kernel:
        """A kernel with the profile of this invocation, loaded. Use it as a context manager."""
        import gc

        from mixkit.kernel import Kernel

        kernel = Kernel(self.loaded_profile())
        if not gc.isenabled():
            # Commands that come so far may go on for long; what there is now stays, and is not looked through.
            gc.freeze()
            gc.enable()
        return kernel

    def assembly(self) -> Assembly:
        """The profile of this invocation with what its plugins give, for commands that run nothing."""
        from mixkit.assembly import Assembly

        return Assembly(self.loaded_profile())

    def loaded_profile(self) -> Profile:
        """The profile of this invocation, with what `mixkit.toml` and `--set` say."""
        from mixkit.profile import load_profile

        of_project = self._profile is None and self.project.profile is not None
        try:
            return load_profile(
                self.profile,
                overrides=self.overrides,
                overlays=self.project.overlays(optional=self._profile is not None),
                found=of_project and self.project.found,
            )
        except ProfileError as exc:
            if of_project and exc.where == "profile":
                where = self.project.origin("profile")
                raise ProfileError(str(exc).removeprefix("profile: "), where) from None
            raise

    @property
    def profile_anywhere(self) -> str:
        """The profile as it is named in whatever folder: a path is absolute."""
        from mixkit.profile import is_path

        return str(Path(self.profile).absolute()) if is_path(self.profile) else self.profile

    @property
    def has_found_profile(self) -> bool:
        """Whether the profile is a file that only a `mixkit.toml` names which was found."""
        from mixkit.profile import is_path

        named = self.project.profile
        return self._profile is None and self.project.found and named is not None and is_path(named)

    def again(self) -> tuple[list[str], dict[str, str]]:
        """How a process is started, wherever, that has the same profile and settings: the words before its command, and
        the environment.

        Raises:
            ProfileError: a file that was found sets what it may not, or the profile does not load.
        """
        import json
        import sys

        from mixkit.cli.project import VARIABLE
        from mixkit.settings import variable

        if self.project.found and (self.project.sets or self.has_found_profile):
            # SAFETY: these words are the user's own, which may do more than a file that was merely found.
            plugins = self.assembly().profile.plugins
        else:
            plugins = self.loaded_profile().plugins
        # NOTE: -P, or Python would import what lies in the current folder, which may be a stranger's.
        words = [sys.executable, "-P", "-m", "mixkit", "-p", self.profile_anywhere]
        given: dict[str, Any] = {}
        for over in self.project.overlays(optional=True):
            for key, value in over.values.items():
                section, _, name = key.removeprefix("settings.").rpartition(".")
                # What it sets of plugins that the profile lacks is passed over there too.
                is_there = not key.startswith("settings.") or section in (*plugins, "kernel")
                # What the environment says goes before it.
                if is_there and variable(section, name) not in os.environ:
                    given[key] = value
        for key, value in {**given, **self.overrides}.items():
            if isinstance(value, list) and "." not in key:
                # Names, as plugins and engines: those have no commas.
                value = ",".join(value)
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
        return words, {**os.environ, VARIABLE: ""}

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
