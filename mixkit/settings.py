"""Settings of plugins: one typed class each, filled from the profile, the environment and the command line.

A settings class is a frozen `msgspec.Struct` that forbids unknown fields; each field has a default and a
description. Every value knows where it came from.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mixkit.errors import ProfileError
from mixkit.near import meant
from mixkit.outside import foreign
from mixkit.setting_values import bare, extra_of, is_secret, refuse_other, refuse_senseless

__all__ = ["Found", "Origin", "Setting", "describe", "fill", "is_service_link", "variable"]

Origin = str
"""Where a value comes from, for people: `"default"`, a file's name, `"env MIXKIT_…"`, `"command line"`."""


class Found(str):
    """The origin of values of a file that nobody has named: it lay in the folder, which may be a stranger's.

    It sets limits, and of a plugin's settings those that its class names in `of_project`: none by which a stranger
    would reach, read, run or keep anything.
    """

    __slots__ = ()


_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")
_WORD = re.compile(r"\w+")
# PERF: searched for in a word, since what may stand before and behind it would be tried at each place.
_LINK_NAME = re.compile(
    r"(?<=\w)_(?:SERVICE_HOST\Z|SERVICE_PORT(?:_\w|\Z)|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?\Z)"
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a settings class, as listings show it."""

    key: str
    type: str
    default: Any
    doc: str
    variable: str


def variable(section: str, key: str) -> str:
    """Name of the environment variable of a setting: `MIXKIT_HTTP_TIMEOUT`."""
    return f"MIXKIT_{section}_{key}".upper().replace("-", "_")


def is_service_link(name: str, value: str, *, known: bool) -> bool:
    """Whether a variable is the address of a Service that Kubernetes (or a link of Docker) tells all containers.

    A Service called `mixkit-server` brings `MIXKIT_SERVER_PORT=tcp://…`, `MIXKIT_SERVER_SERVICE_HOST` and others.

    Args:
        known: a setting has this variable; then only the value can tell.
    """
    if name.endswith("_PORT") and _ADDRESS.match(value):
        return True
    return not known and _WORD.fullmatch(name) is not None and _LINK_NAME.search(name) is not None


def describe(section: str, cls: type) -> list[Setting]:
    """The fields of a settings class, in order."""
    import msgspec

    hints = typing.get_type_hints(cls, include_extras=True)
    settings = []
    for field in msgspec.structs.fields(cls):
        hint = hints[field.name]
        metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
        doc = next((meta.description for meta in metas if meta.description), "")
        default = (
            field.default
            if field.default is not msgspec.NODEFAULT
            else (field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None)
        )
        settings.append(Setting(field.name, _type_name(hint), default, doc, variable(section, field.name)))
    return settings


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return (
        hint.__name__
        if isinstance(hint, type) and not typing.get_args(hint)
        else str(hint).replace("typing.", "")
    )


def fill(
    section: str,
    cls: type[Any],
    layers: list[tuple[Origin, Mapping[str, Any]]],
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
) -> tuple[Any, dict[str, Origin]]:
    """An instance of a settings class, and the origin of each of its keys.

    Args:
        section: the plugin's name, or `limits`.
        layers: from the profile's files, the weakest first.
        environ: the process's environment; texts are converted to the field's type.
        overrides: from the command line or the caller, the strongest; texts are converted too.

    Raises:
        ProfileError: an unknown key or a wrong value, with where it stands.
    """
    import msgspec

    if not (isinstance(cls, type) and issubclass(cls, msgspec.Struct)):
        raise TypeError(f"expected a class of settings, a msgspec.Struct, found {cls!r}")
    known = cls.__struct_fields__
    # PERF: evaluated when there is a value to convert; most settings are their defaults.
    hints: dict[str, Any] = {}
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = dict.fromkeys(known, "default")
    table = section if section == "limits" else f"settings.{section}"

    def take(key: str, value: Any, origin: Origin, where: str) -> None:
        if key not in known:
            there = f"known are {', '.join(sorted(known)) or 'none'}{meant(key, known)}"
            raise ProfileError(f"unknown key {key!r}; {there}", where)
        if isinstance(origin, Found) and section != "limits" and key not in getattr(cls, "of_project", ()):
            raise ProfileError(
                "a mixkit.toml that was found may not set this, since the folder may be a stranger's; give it as "
                f"{variable(section, key)}, with --set, or name the file in MIXKIT_PROJECT",
                where,
            )
        if not hints:
            hints.update(typing.get_type_hints(cls, include_extras=True))
        near = ""
        try:
            if typing.get_origin(hint := bare(hints[key])) is typing.Literal:
                words = typing.get_args(hint)
                near = "" if value in words else meant(str(value), words)
                refuse_other(value, words)
            values[key] = msgspec.convert(_from_text(value, hints[key]), hints[key])
            refuse_senseless(values[key], extra_of(hints[key]))
        except (msgspec.ValidationError, ValueError) as exc:
            found = "it" if is_secret(key) else f"{value!r}"
            raise ProfileError(f"{exc}, found {found:.200}{near}", where) from None
        origins[key] = origin

    for origin, layer in layers:
        for key, value in layer.items():
            take(key, value, origin, f"{origin}: {table}.{key}")
    for key in known:
        name = variable(section, key)
        if name in environ and not is_service_link(name, environ[name], known=True):
            take(key, environ[name], f"env {name}", f"environment variable {name}")
    for key, value in overrides.items():
        take(key, value, "command line", f"command line: {table}.{key}")
    try:
        with foreign(lambda reason: ProfileError(f"{cls.__name__} failed: {reason}", table)):
            return cls(**values), origins
    except ProfileError as exc:
        if isinstance(exc.__cause__, ValueError):
            # Settings that do not go together: the class's own check.
            raise ProfileError(str(exc.__cause__), table) from exc.__cause__
        raise


def _from_text(value: Any, type_: Any) -> Any:
    """A text from the environment or the command line as the field's type wants it; anything else unchanged."""
    if not isinstance(value, str):
        return value
    if typing.get_origin(type_) is typing.Annotated:
        return _from_text(value, typing.get_args(type_)[0])
    if type_ is str:
        return value
    if typing.get_origin(type_) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(type_) if option is not type(None)]
        if value == "" and len(options) < len(typing.get_args(type_)):
            return None
        return value if str in options else _from_text(value, options[0])
    if type_ is bool:
        lowered = value.lower()
        return True if lowered in _TRUE else False if lowered in _FALSE else value
    if type_ in (int, float):
        try:
            return type_(value.replace("_", ""))
        except ValueError:
            return value
    if typing.get_origin(type_) in (list, tuple):
        if value.lstrip().startswith("["):
            return _json(value)
        return [part.strip() for part in value.split(",") if part.strip()]
    return _json(value) if typing.get_origin(type_) is dict or type_ in (dict, list) else value


def _json(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text
