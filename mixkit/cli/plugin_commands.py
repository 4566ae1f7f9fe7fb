"""The commands that the profile's plugins add, collected so that a broken plugin takes away only its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mixkit.cli.group import Group, Lazy
from mixkit.errors import MixError, PluginError

if TYPE_CHECKING:
    from mixkit.cli.session import Session

__all__ = ["collect"]


def collect(session: Session, own: Mapping[str, Lazy]) -> tuple[Group, MixError | None]:
    """The plugins' commands, and the first error that kept some away: of the profile, or of a plugin.

    Imports the plugins' thin modules, not their commands.

    Args:
        own: mixkit's commands, which no plugin may replace.
    """
    from mixkit.profile import load_profile

    found = Group()
    trouble: MixError | None = None
    try:
        names = load_profile(session.profile, overrides=session.overrides).plugins
    except MixError as exc:
        return found, exc
    try:
        found.lazies = _commands_of(names, own)
    except PluginError:
        # At least one is broken: ask one after the other, so that the commands of the rest stay.
        for name in names:
            try:
                found.lazies |= _commands_of([name], {**own, **found.lazies})
            except PluginError as exc:
                trouble = trouble or exc
    return found, trouble


def _commands_of(plugins: Sequence[str], taken: Mapping[str, Lazy]) -> dict[str, Lazy]:
    from mixkit.plugins import call_each, load_plugins

    group = Group()
    group.lazies = dict(taken)
    owned: dict[str, Lazy] = {}
    for plugin, _ in call_each(load_plugins(plugins), "mix_commands", group=group):
        if group.commands:
            raise PluginError(
                "mix_commands adds commands with group.lazy alone, so that --help stays fast", plugin
            )
        for name in group.lazies.keys() - taken.keys() - owned.keys():
            group.lazies[name] = owned[name] = dataclasses.replace(group.lazies[name], plugin=plugin)
    return owned
