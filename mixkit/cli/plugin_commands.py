"""The commands that the profile's plugins add, collected so that a broken plugin takes away only its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mixkit.cli.group import Group, Lazy
from mixkit.errors import MixError, PluginError
from mixkit.outside import is_ours

if TYPE_CHECKING:
    import pluggy

    from mixkit.cli.session import Session

__all__ = ["OURS", "collect", "load_working", "where_it_is"]

OURS: Final = {
    "auth": "server",
    "code": "rt",
    "compile": "lang",
    "db": "db",
    "doc": "lang",
    "dev": "dev",
    "explain": "lang",
    "files": "files",
    "lsp": "dev",
    "mcp": "mcp",
    "fmt": "lang",
    "new": "dev",
    "openapi": "server",
    "perms": "server",
    "repl": "dev",
    "secrets": "secrets",
    "serve": "server",
    "test": "dev",
    "wasm": "wasm",
}
"""Commands to the plugins of ours that bring them, so that one that the profile lacks is named without an import."""


def where_it_is(command: str, profile: str) -> str | None:
    """What to say to somebody who asks for a command that the profile lacks; None if we know of none of that name."""
    from mixkit.profile import load_profile, profile_names

    plugin = OURS.get(command)
    if plugin is None:
        return None
    having = []
    for name in profile_names():
        try:
            if plugin in load_profile(name).plugins:
                having.append(name)
        except MixError:
            continue
    them = ", ".join(having)
    return (
        f"No such command {command!r} in profile {profile!r}: plugin {plugin!r} brings it, which is on in the profiles "
        f"{them}. Try: mixkit -p {having[0]} {command}"
        if having
        else f"No such command {command!r} in profile {profile!r}: plugin {plugin!r} brings it, which is not on there."
    )


def load_working(names: Sequence[str]) -> tuple[pluggy.PluginManager, dict[str, PluginError]]:
    """A manager with those of the plugins that load, and what is wrong with each of the others."""
    from mixkit.plugins import load_plugins

    broken: dict[str, PluginError] = {}
    while True:
        try:
            return load_plugins([name for name in names if name not in broken]), broken
        except PluginError as exc:
            if exc.plugin in broken or exc.plugin not in names:
                raise
            broken[exc.plugin] = exc


def collect(session: Session, own: Mapping[str, Lazy]) -> tuple[Group, MixError | None]:
    """The plugins' commands, and the first error that kept some away: of the profile, or of a plugin.

    Imports the plugins' thin modules, not their commands.

    Args:
        own: mixkit's commands, which no plugin may replace.
    """
    from mixkit.plugins import each
    from mixkit.profile import load_profile

    found = Group()
    with _silent():
        try:
            names = load_profile(session.profile, overrides=session.overrides).plugins
            manager, broken = load_working(names)
        except MixError as exc:
            return found, exc
        for plugin, add_commands in each(manager, "mix_commands"):
            try:
                found.lazies |= _commands_of(plugin, add_commands, {**own, **found.lazies})
            except PluginError as exc:
                broken[plugin] = exc
    return found, next(iter(broken.values()), None)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What plugins print meanwhile, or their libraries and children, goes to standard error: what is on standard output
    is a command's, for programs too."""
    try:
        output = os.dup(1)
    except OSError:
        # There is no standard output.
        yield
        return
    try:
        sys.stdout.flush()
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(output, 1)
        os.close(output)


def _commands_of(plugin: str, add_commands: Callable[..., Any], taken: Mapping[str, Lazy]) -> dict[str, Lazy]:
    group = Group()
    group.lazies = dict(taken)
    try:
        add_commands(group=group)
    except BaseException as exc:
        if is_ours(exc):
            raise
        raise PluginError(f"mix_commands failed: {exc}", plugin) from exc
    if group.commands:
        raise PluginError(
            "mix_commands adds commands with group.lazy alone, so that --help stays fast", plugin
        )
    added = group.lazies.keys() - taken.keys()
    return {name: dataclasses.replace(group.lazies[name], plugin=plugin) for name in added}
