"""A profile assembled: its plugins loaded, their settings filled, their FFIs and whatever else they offer collected.

Nothing of it runs code, opens a file of data or starts a thread: that is the kernel's, which is made of one.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from mixkit import core_ffis, offers
from mixkit.distributions import installed
from mixkit.engines import Choice, choose
from mixkit.errors import MixError, NotFound, PluginError, ProfileError
from mixkit.ffi import FFIGroup, FFITable, Registry
from mixkit.importing import load_object
from mixkit.kernel_settings import KernelSettings
from mixkit.limits import Limits
from mixkit.near import meant
from mixkit.outside import foreign, is_ours
from mixkit.plugins import call_each, each, load_plugins
from mixkit.profile import Profile, load_profile, remedy
from mixkit.setting_values import refuse_absent
from mixkit.settings import Found, Origin, fill
from mixkit.variables import refuse_unknown

__all__ = ["Assembly"]


class Assembly:
    """What the plugins of a profile give.

    Args:
        profile: name or path of a profile, or a loaded one.
        config: TOML file laid over it.
        overrides: dotted keys laid over all: `{"settings.http.timeout": 5, "limits.wall_time": 3}`.
        environ: environment variables (the process's own by default).

    Raises:
        ProfileError, PluginError: nothing is left behind then.

    Attributes:
        manager: the plugin manager, for hooks that plugins define themselves.
        origins: for each setting and limit, where its value came from.
        own: the kernel's own settings.
        limits: what every run is bounded by.
        ffis: all FFIs.
        engines: the Wasm engines of the profile that are there, by preference.
        storage, filesystem: import strings of what the profile names; None where it names none.
        compilers, sql_engines, vaults: import strings of what is offered, by name.
    """

    def __init__(
        self,
        profile: str | Path | Profile = "agent_server",
        *,
        config: str | Path | None = None,
        overrides: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        if not isinstance(profile, Profile):
            profile = load_profile(profile, config=config, environ=environ, overrides=overrides)
        self.profile = profile
        self._refuse_strange_plugins()
        self.manager: pluggy.PluginManager = load_plugins(profile.plugins, [("core", core_ffis)])
        self.origins: dict[str, Origin] = {}
        self._settings = self._fill_settings(environ)
        self.own: KernelSettings = self._settings["kernel"]
        self.limits: Limits = self._fill("limits", Limits, profile.limits, environ)
        sections = {name: settings.__struct_fields__ for name, settings in self._settings.items()}
        refuse_unknown(environ, {**sections, "limits": Limits.__struct_fields__}, installed)
        self.ffis = self._collect_ffis()
        self._offered_by: dict[str, str] = {}
        self.compilers = self._collect("mix_compilers")
        self.interpreters = self._collect("mix_interpreters")
        engines = self._collect("mix_engines")
        self.engines: tuple[Choice, ...] = ()
        if profile.engines:
            self.engines = choose(profile.engines, engines, self._how(offers.ENGINES))
        self.storage = self._declared(
            "storage", profile.storage, self._collect("mix_storages"), offers.STORAGES
        )
        filesystems = self._collect("mix_filesystems")
        if profile.filesystem not in filesystems and profile.left_behind("filesystem"):
            self.profile = dataclasses.replace(profile, filesystem=None)
        self.filesystem = self._declared(
            "filesystem", self.profile.filesystem, filesystems, offers.FILESYSTEMS
        )
        self.sql_engines = self._collect("mix_sql")
        self.vaults = self._collect("mix_vaults")
        self.belongings = self._collect("mix_belongings")

    def settings(self, plugin: str) -> Any:
        """The settings object of a plugin of the profile."""
        try:
            return self._settings[plugin]
        except KeyError:
            raise NotFound(f"no settings of plugin {plugin!r} in profile {self.profile.name!r}") from None

    def make(self, path: str) -> Any:
        """An instance of what a plugin offers, made from the plugin's settings if it has some.

        Raises:
            BaseException: whatever its class raises; `failed` names the plugin.
        """
        cls = load_object(path)
        settings = self._settings.get(self._offered_by[path])
        return cls(settings) if settings is not None else cls()

    def compilers_made_of(self) -> list[tuple[str, Any]]:
        """Import string and settings of each compiler: `make` in another process makes it of these."""
        return [(path, self._settings.get(self._offered_by[path])) for path in self.compilers.values()]

    def failed(self, what: str, path: str) -> Callable[[str], MixError]:
        """Makes the error that names the plugin that offers what has that import string, for `foreign`."""
        return _failed(what, self._offered_by[path])

    def _refuse_strange_plugins(self) -> None:
        """Refuse a plugin that nobody knows and only a found file names: else we would say how it is installed."""
        origin = self.profile.origins.get("plugins")
        for name in self.profile.plugins if isinstance(origin, Found) else ():
            known = {*installed(), *offers.PLUGINS}
            if name not in known:
                raise ProfileError(
                    f"no plugin {name!r} is installed{meant(name, known)}", f"{origin}: plugins"
                )

    # -- settings -----------------------------------------------------------------------------

    def refuse_absent(self) -> None:
        """Refuse settings that name a file, a folder or a program that is not there.

        Raises:
            ProfileError: says which, and why.
        """
        for plugin, filled in self._settings.items():
            refuse_absent(filled, f"settings.{plugin}")

    def _fill_settings(self, environ: Mapping[str, str]) -> dict[str, Any]:
        classes: dict[str, type] = {"kernel": KernelSettings}
        for plugin, path in call_each(self.manager, "mix_settings"):
            try:
                classes[plugin] = load_object(path)
            except MixError as exc:
                raise PluginError(f"mix_settings: {exc}", plugin) from exc
        filled = {}
        for plugin in ("kernel", *self.profile.plugins):
            layers = self.profile.settings.get(plugin, [])
            if plugin in classes:
                with foreign(_failed("mix_settings: its class cannot be used", plugin)):
                    filled[plugin] = self._fill(plugin, classes[plugin], layers, environ, "settings.")
            elif layers or self.profile.overrides.get(plugin):
                where = f"{layers[-1][0] if layers else 'command line'}: settings.{plugin}"
                raise ProfileError("this plugin has no settings", where)
        return filled

    def _fill(self, section: str, cls: type, layers: Any, environ: Mapping[str, str], above: str = "") -> Any:
        """An object of the class from all layers of its section; remembers where each of its values came from."""
        given = self.profile.overrides.get(section, {})
        filled, origins = fill(section, cls, layers, environ, given)
        self.origins |= {f"{above}{section}.{key}": origin for key, origin in origins.items()}
        return filled

    # -- what is offered ----------------------------------------------------------------------

    def _collect_ffis(self) -> FFITable:
        groups: list[FFIGroup] = []
        owner: dict[str, str] = {}
        for plugin, register in each(self.manager, "mix_ffis"):
            registry = Registry()
            try:
                register(registry=registry)
            except BaseException as exc:
                if is_ours(exc):
                    raise
                raise PluginError(f"mix_ffis failed: {type(exc).__name__}: {exc}", plugin) from exc
            for ffi in (ffi for group in registry.groups for ffi in group):
                if ffi.name in owner:
                    raise PluginError(f"registers {ffi.name}, which plugin {owner[ffi.name]!r} has", plugin)
                owner[ffi.name] = plugin
            groups += registry.groups
        return FFITable(groups, remedy)

    def _collect(self, hook: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for plugin, offered in call_each(self.manager, hook):
            if offered is None:
                continue
            if not isinstance(offered, dict):
                raise PluginError(
                    f"{hook} answers a dict of names to import strings, found {offered!r}", plugin
                )
            for name, path in offered.items():
                if name in found:
                    raise PluginError(f"{hook}: {name!r} is offered by another plugin too", plugin)
                found[name] = path
                self._offered_by[path] = plugin
        return found

    def _how(self, brings: Mapping[str, str]) -> Callable[[str], str]:
        """What to do about a name that is not offered and that a plugin of ours brings; `""` for any other."""

        def how(name: str) -> str:
            plugin = brings.get(name)
            return f"; {remedy(plugin)}" if plugin is not None and plugin not in self.profile.plugins else ""

        return how

    def _declared(
        self, key: str, wanted: str | None, offered: Mapping[str, str], brings: Mapping[str, str]
    ) -> str | None:
        """The import string of the layer that the profile names; a start must not go on without it."""
        if wanted is None:
            return None
        if wanted not in offered:
            raise ProfileError(
                f"no plugin of the profile offers {wanted!r}; offered: {', '.join(sorted(offered)) or 'none'}"
                f"{self._how(brings)(wanted) or meant(wanted, offered)}",
                f"{self.profile.origins[key]}: {key}",
            )
        return offered[wanted]


def _failed(what: str, plugin: str) -> Callable[[str], MixError]:
    return lambda reason: PluginError(f"{what}: {reason}", plugin)
