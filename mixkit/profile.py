"""Profiles: TOML files that say which plugins are on, and how they and the limits are set.

A profile may extend another; single keys may be laid over it by a file, the environment and the command line.
The result is frozen and every value knows where it came from.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixkit import distributions, offers
from mixkit.errors import ProfileError
from mixkit.near import meant
from mixkit.settings import Found, Origin

__all__ = [
    "Overlay",
    "Profile",
    "is_path",
    "load_profile",
    "parsed",
    "profile_names",
    "profile_path",
    "remedy",
]

_TEXTS = ("description", "filesystem", "storage")
_LISTS = ("plugins", "engines")
_TABLES = ("settings", "limits")
_KEYS = ("extends", *_TEXTS, *_LISTS, *_TABLES)
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Overlay:
    """Keys that lie over a profile's files, and below what the environment says.

    Attributes:
        origin: where they stand.
        values: by dotted key, as overrides are.
        optional: settings of plugins that the profile lacks are passed over.
    """

    origin: Origin
    values: Mapping[str, Any]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """A loaded profile.

    Attributes:
        plugins: names of the plugins that are on; only these are imported.
        engines: Wasm engines by preference; what one does not take goes to the next one that is installed.
        settings: for each plugin the layers (origin, values), the weakest first.
        limits: the same for `[limits]`.
        overrides: what the command line or the caller set, by dotted key.
        origins: origin of each of the other keys, in the order in which the layers set them.
    """

    name: str
    description: str = ""
    plugins: tuple[str, ...] = ()
    engines: tuple[str, ...] = ("wasmtime",)
    filesystem: str | None = None
    storage: str | None = None
    settings: Mapping[str, list[tuple[Origin, Mapping[str, Any]]]] = field(default_factory=dict)
    limits: list[tuple[Origin, Mapping[str, Any]]] = field(default_factory=list)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def left_behind(self, key: str) -> bool:
        """Whether what `key` names is only inherited, and a stronger layer has replaced the plugins, of which one
        brings it."""
        order = list(self.origins)
        if key not in order or "plugins" not in order or self.origins[key] == self.origins["plugins"]:
            return False
        return order.index(key) < order.index("plugins")


def _shipped() -> Path:
    """In a wheel the profiles lie inside the package, in a checkout beside it."""
    inside = Path(__file__).parent / "_profiles"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "profiles"


def _folders(environ: Mapping[str, str]) -> list[Path]:
    listed = environ.get("MIXKIT_PROFILE_PATH", "")
    return [_shipped(), *(Path(part) for part in listed.split(os.pathsep) if part)]


def profile_names(environ: Mapping[str, str] | None = None) -> dict[str, Path]:
    """All profiles that can be named, with their files; shipped ones win over later ones of the same name."""
    found: dict[str, Path] = {}
    for folder in _folders(os.environ if environ is None else environ):
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def is_path(name: str) -> bool:
    """Whether a profile is given by the path of its file, and not by name."""
    return os.sep in name or name.endswith(".toml")


def profile_path(name: str, environ: Mapping[str, str] | None = None) -> Path:
    """The file of a profile, given by name or, with a slash or `.toml`, by path."""
    if is_path(name):
        path = Path(name)
        if not path.is_file():
            raise ProfileError(f"no such file {str(path)!r}", "profile")
        return path
    names = profile_names(environ)
    if name not in names:
        folders = ", ".join(str(folder) for folder in _folders(os.environ if environ is None else environ))
        raise ProfileError(
            f"no profile {name!r}; there are {', '.join(sorted(names))} (looked in {folders}){meant(name, names)}",
            "profile",
        )
    return names[name]


def remedy(plugin: str) -> str:
    """What to do where a profile lacks what a plugin brings. Imports no plugin."""
    points = distributions.installed()
    if plugin not in points:
        pip = offers.pip_name(plugin)
        return f"plugin {plugin!r} brings it, which is not installed: `pip install {pip}`, from where mixkit came"
    having = {}
    for name in profile_names():
        try:
            plugins = load_profile(name).plugins
        except ProfileError:
            continue
        if plugin in plugins:
            having[name] = not set(plugins) - points.keys()
    # Those that load, if there are some.
    names = [name for name, loads in having.items() if loads] or [*having]
    others = f", or choose one that has it: {', '.join(f'-p {name}' for name in names)}" if names else ""
    return f"plugin {plugin!r} brings it: name it among the plugins of the profile{others}"


def load_profile(
    name: str | Path,
    *,
    config: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    overlays: Sequence[Overlay] = (),
    found: bool = False,
) -> Profile:
    """Read a profile, what it extends, and what is laid over it.

    Args:
        name: name or path of the profile.
        config: a TOML file with the same keys, laid over the profile (else `MIXKIT_CONFIG`, if set).
        environ: the environment (the process's own by default).
        overrides: dotted keys to values: `{"settings.http.timeout": 5, "limits.wall_time": 3}`.
        overlays: what lies over the files, the weakest first.
        found: nobody has named the profile, but a file that was found: what it sets itself is marked so.

    Raises:
        ProfileError: names the file and the key path.
    """
    environ = os.environ if environ is None else environ
    path = profile_path(str(name), environ)
    layers = _with_parents(path, environ, (), found and is_path(str(name)))
    optional = set()
    for over in overlays:
        flat, tables = _split_overrides(over.values, over.origin)
        limits = tables.pop("limits", {})
        layers.append((over.origin, {**flat, "settings": tables, **({"limits": limits} if limits else {})}))
        optional |= {over.origin} if over.optional else set()
    overlay = config or environ.get("MIXKIT_CONFIG")
    if overlay:
        layer = _read(Path(overlay))
        if "extends" in layer:
            raise ProfileError(
                "a file that is laid over a profile cannot extend another", f"{overlay}: extends"
            )
        layers.append((Path(overlay).name, layer))
    flat, tables = _split_overrides(overrides or {}, "command line")
    if flat:
        layers.append(("command line", flat))
    return _merge(path.stem, layers, tables, optional)


def _with_parents(
    path: Path, environ: Mapping[str, str], seen: tuple[Path, ...], found: bool
) -> list[tuple[Origin, dict[str, Any]]]:
    if path in seen or len(seen) >= _MAX_DEPTH:
        chain = " → ".join(p.name for p in (*seen, path))
        raise ProfileError(f"profiles extend each other in a circle or too deep: {chain}", f"{path}: extends")
    layer = _read(path)
    layers: list[tuple[Origin, dict[str, Any]]] = []
    if "extends" in layer:
        parent = layer["extends"]
        beside = is_path(parent)
        if beside:
            parent = str(path.parent / parent)
        try:
            layers = _with_parents(profile_path(parent, environ), environ, (*seen, path), found and beside)
        except ProfileError as exc:
            if exc.where == "profile":
                raise ProfileError(str(exc).removeprefix("profile: "), f"{path}: extends") from None
            raise
    return [*layers, (Found(path) if found else path.name, layer)]


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ProfileError(f"cannot be read: {exc.strerror}", str(path)) from None
    raw = parsed(data, str(path))
    for key, value in raw.items():
        _check_key(key, value, str(path))
    return raw


def parsed(data: bytes, where: str) -> dict[str, Any]:
    """What a TOML file says.

    Args:
        where: its path, for the message.

    Raises:
        ProfileError: it is no TOML; says in which line and column.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as exc:
        raise ProfileError(f"not TOML: expected UTF-8 ({_place(data, exc.start)})", where) from None
    except tomllib.TOMLDecodeError as exc:
        text = str(exc).replace("at end of document", _place(data, len(data)))
        raise ProfileError(f"not TOML: {text}", where) from None


def _place(data: bytes, at: int) -> str:
    begin = data.rfind(b"\n", 0, at) + 1
    line, column = data[:at].count(b"\n") + 1, len(data[begin:at].decode(errors="replace")) + 1
    return f"at line {line}, column {column}"


def _check_key(key: str, value: Any, where: str) -> None:
    place = f"{where}: {key}"
    if key not in _KEYS:
        raise ProfileError(f"unknown key; known are {', '.join(_KEYS)}{meant(key, _KEYS)}", place)
    if key in _LISTS and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ProfileError(f"expected a list of names, found {value!r}", place)
    if key in (*_TEXTS, "extends") and not isinstance(value, str):
        raise ProfileError(f"expected a text, found {value!r}", place)
    if key in _TABLES and not isinstance(value, dict):
        raise ProfileError(f"expected a table, found {value!r}", place)
    if key == "settings":
        for plugin, table in value.items():
            if not isinstance(table, dict):
                raise ProfileError(
                    f"expected a table [settings.{plugin}], found {table!r}", f"{place}.{plugin}"
                )


def _split_overrides(
    overrides: Mapping[str, Any], origin: Origin
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Simple keys, and tables by section (`limits`, or a plugin's name)."""
    flat: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    for dotted, value in overrides.items():
        parts = dotted.split(".")
        match parts:
            case ["settings", plugin, key]:
                tables.setdefault(plugin, {})[key] = value
            case ["limits", key]:
                tables.setdefault("limits", {})[key] = value
            case [key] if key in _LISTS:
                flat[key] = (
                    [p.strip() for p in value.split(",") if p.strip()] if isinstance(value, str) else value
                )
                _check_key(key, flat[key], origin)
            case [key] if key in _TEXTS:
                flat[key] = value
                _check_key(key, value, origin)
            case _:
                near = "" if parts[0] in _KEYS else meant(parts[0], _KEYS)
                raise ProfileError(
                    "expected settings.<plugin>.<key>, limits.<key>, plugins, engines, filesystem or storage"
                    f"{near}",
                    f"{origin}: {dotted}",
                )
    return flat, tables


def _merge(
    name: str,
    layers: list[tuple[Origin, dict[str, Any]]],
    tables: Mapping[str, Mapping[str, Any]],
    optional: Collection[Origin],
) -> Profile:
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    settings: dict[str, list[tuple[Origin, Mapping[str, Any]]]] = {}
    limits: list[tuple[Origin, Mapping[str, Any]]] = []
    for origin, layer in layers:
        for key in (*_TEXTS, *_LISTS):
            if key in layer:
                values[key] = tuple(layer[key]) if key in _LISTS else layer[key]
                # Behind those that were set before: their order is that of the layers.
                origins.pop(key, None)
                origins[key] = origin
        for plugin, table in layer.get("settings", {}).items():
            settings.setdefault(plugin, []).append((origin, table))
        if "limits" in layer:
            limits.append((origin, layer["limits"]))
    plugins = values.get("plugins", ())
    for plugin in settings.keys() - {*plugins, "kernel"}:
        settings[plugin] = [layer for layer in settings[plugin] if layer[0] not in optional]
    settings = {plugin: found for plugin, found in settings.items() if found}
    for plugin in [*settings, *(section for section in tables if section != "limits")]:
        if plugin not in (*plugins, "kernel"):
            origin = settings[plugin][-1][0] if plugin in settings else "command line"
            known = plugin in offers.PLUGINS or plugin in distributions.installed()
            how = f"; {remedy(plugin)}" if known else f"; it has {', '.join(plugins)}{meant(plugin, plugins)}"
            raise ProfileError(
                f"the profile has no plugin {plugin!r}{how}",
                f"{origin}: settings.{plugin}",
            )
    return Profile(name, **values, settings=settings, limits=limits, overrides=tables, origins=origins)
