"""The commands that the profile's plugins add, collected so that a broken plugin takes away only its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mixkit.cli.group import Group, Lazy
from mixkit.errors import MixError, PluginError
from mixkit.offers import COMMANDS
from mixkit.outside import is_ours

if TYPE_CHECKING:
    import pluggy

    from mixkit.cli.session import Session

__all__ = ["collect", "load_working", "where_it_is"]


def where_it_is(command: str, session: Session, trouble: MixError | None) -> str | None:
    """What to say to somebody who asks for a command that the profile lacks; None if we know of none of that name.

    Raises:
        MixError: the profile would have it, but for this trouble.
    """
    from mixkit.profile import remedy

    plugin = COMMANDS.get(command)
    if plugin is None:
        return None
    if trouble is not None and (
        not isinstance(trouble, PluginError) or plugin in session.loaded_profile().plugins
    ):
        raise trouble
    return f"No such command {command!r} in profile {session.profile!r}: {remedy(plugin)}"


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

    found = Group()
    with _silent():
        try:
            names = session.loaded_profile().plugins
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
