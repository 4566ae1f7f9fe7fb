"""`manifest.json`, format 3: what a package is, which agents it brings, which powers it asks for.

    {
      "format": 3,
      "name": "linkcheck", "version": "1.2.0", "kind": "app", "description": "Finds dead links",
      "apps": {"linkcheck": {"agents": {"check": {
        "code": "code/linkcheck/linkcheck.wasm", "description": "…",
        "inParams": {"urls": "array(string)", "timeout?": "number"}, "outParams": "array(map(data))"}}}},
      "grants": {"ffis": ["$http_do"], "options": {"http.hosts": ["example.com"]}},
      "limits": {"wall_time": 10},
      "setup": "linkcheck/prepare",
      "save_options": {}
    }

Only `format`, `name`, `version`, `kind` and `apps` must be there. A key that is not known is an error: a
manifest that says something nobody enforces would promise a lie.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec

from mixkit._fault import step
from mixkit.errors import GrantError, PackageError
from mixkit.grants import Grants
from mixkit.limits import UNITS, Limits
from mixkit.near import meant
from mixkit.package.document import convert, dump, parse
from mixkit.package.errors import BadName
from mixkit.package.names import check_name
from mixkit.package.widgets import WidgetSpec, faults
from mixkit.schema import ANY, RecordType, ScalarType, Type
from mixkit.schema_text import TypeTextError, parse_params
from mixkit.schema_text import parse as parse_type

__all__ = [
    "ENTRY",
    "AgentSpec",
    "AppSpec",
    "GrantsSpec",
    "Manifest",
    "is_earlier",
    "param_types",
    "version_key",
]

ENTRY: Final = "manifest.json"
"""Name of the manifest inside a package and inside a source folder."""

_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}")
_OPTION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_MAX_NAMED = 1000

TypeText = str | dict[str, str] | None


class AgentSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """An agent. `code` is the path of an entry; `entry` is what the code calls the agent, if not by its name.

    Types are texts of the Mix language; parameters may be a map of names (`"timeout?"` if optional) to texts.
    """

    code: str
    entry: str | None = None
    description: str = ""
    in_params: TypeText = msgspec.field(default=None, name="inParams")
    out_params: TypeText = msgspec.field(default=None, name="outParams")


class AppSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """An app: its agents by name, and the widgets that they draw."""

    agents: dict[str, AgentSpec]
    widgets: dict[str, WidgetSpec] = {}


class GrantsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Powers: FFI names or prefixes with `*`, and options by dotted key. See `mixkit.grants.Grants`."""

    ffis: list[str] = []
    options: dict[str, Any] = {}

    def to_grants(self) -> Grants:
        """The same, to be asked. `GrantError` if a pattern is malformed."""
        return Grants(self.ffis, self.options)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A checked manifest: whoever holds one need not check names, types, grants or limits again."""

    # NOTE: `format` has no default, so that a manifest without it is refused.
    format: Literal[3]
    name: str
    version: str
    kind: Literal["app", "workspace"]
    description: str = ""
    apps: dict[str, AppSpec]
    grants: GrantsSpec = msgspec.field(default_factory=GrantsSpec)
    limits: dict[str, int | float] = {}
    setup: str | None = None
    save_options: dict[str, Any] = {}

    @classmethod
    def decode(cls, data: bytes, *, source: bool = False) -> Manifest:
        """The manifest in these bytes.

        Args:
            source: it stands in a source folder, where `code` is any path that `build` will put in its place.

        Raises:
            PackageError: with the path of the key that is wrong.
        """
        document = parse(data, ENTRY)
        if isinstance(document, dict) and "exported" in document:
            raise PackageError(
                "this is the export of a workspace or an app and no package: it is imported, with `mixkit ws import` "
                "or `mixkit app import`",
                ENTRY,
            )
        if is_earlier(document):
            raise PackageError(
                "this is a package of the earlier format; `mixkit remix convert OLD NEW` makes a new one of it",
                ENTRY,
            )
        found = document.get("format") if isinstance(document, dict) else None
        if found != 3 or type(found) is not int:
            raise _error(f"expected format 3, found {found!r:.40}; build the package anew", "$.format")
        _check_items_first(document.get("apps"))
        manifest = convert(document, cls, ENTRY)
        _check_identity(manifest)
        for app, spec in manifest.apps.items():
            _check_app(app, spec, source)
        _check_setup(manifest)
        _check_grants(manifest.grants)
        _check_limits(manifest.limits)
        return manifest

    def encode(self) -> bytes:
        """The manifest as JSON, the same bytes for equal manifests."""
        return dump(self)

    def setup_agent(self) -> tuple[str, str] | None:
        """App and agent of `setup`."""
        if self.setup is None:
            return None
        app, slash, agent = self.setup.rpartition("/")
        return (app if slash else next(iter(self.apps)), agent)


def is_earlier(document: Any) -> bool:
    """Whether that is the manifest of a package of the original's earlier format, whose apps are names alone."""
    if not isinstance(document, dict) or "format" in document:
        return False
    apps = document.get("apps")
    return isinstance(apps, dict) and not any(isinstance(app, dict) for app in apps.values())


def version_key(version: str) -> tuple[int, ...]:
    """What versions are ordered by: their numbers, `1.2` the same as `1.2.0`."""
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))


def param_types(spec: AgentSpec) -> tuple[RecordType | ScalarType, Type]:
    """The types of parameters and result, `ANY` where the manifest is silent.

    Raises:
        TypeTextError: one is malformed.
    """
    given, answered = spec.in_params, spec.out_params
    params = ANY if given is None else parse_params(given)
    if answered is None:
        return params, ANY
    return params, parse_type(answered) if isinstance(answered, str) else parse_params(answered)


def _error(message: str, path: str) -> PackageError:
    return PackageError(f"{message} at {path}", ENTRY)


def _check_items_first(apps: Any) -> None:
    """One by one, because msgspec's path to a fault inside a map does not name the map's key."""
    for app, spec in apps.items() if isinstance(apps, dict) else ():
        for kind, type in (("agents", AgentSpec), ("widgets", WidgetSpec)):
            items = spec.get(kind) if isinstance(spec, dict) else None
            for name, item in items.items() if isinstance(items, dict) else ():
                convert(item, type, ENTRY, f"$.apps{step(app)}.{kind}{step(name)}")


def _check_identity(manifest: Manifest) -> None:
    _check_name("package", manifest.name, "$.name")
    if not _VERSION.fullmatch(manifest.version):
        raise _error(f"expected one to four numbers, as 1.2.0, found {manifest.version!r:.40}", "$.version")
    if manifest.kind == "app" and len(manifest.apps) != 1:
        raise _error(f'expected one app in a package of kind "app", found {len(manifest.apps)}', "$.apps")
    if len(manifest.apps) > _MAX_NAMED:
        raise _error(f"expected at most {_MAX_NAMED} apps, found {len(manifest.apps)}", "$.apps")


def _check_name(kind: str, name: str, path: str) -> None:
    try:
        check_name(kind, name)
    except BadName as exc:
        raise _error(str(exc), path) from None


def _check_app(app: str, spec: AppSpec, source: bool) -> None:
    _check_name("app", app, "$.apps")
    path = f"$.apps.{app}.agents"
    if len(spec.agents) > _MAX_NAMED:
        raise _error(f"expected at most {_MAX_NAMED} agents, found {len(spec.agents)}", path)
    for name, agent in spec.agents.items():
        _check_name("agent", name, path)
        _check_agent(app, agent, f"{path}.{name}", source)
    path = f"$.apps.{app}.widgets"
    if len(spec.widgets) > _MAX_NAMED:
        raise _error(f"expected at most {_MAX_NAMED} widgets, found {len(spec.widgets)}", path)
    for name, widget in spec.widgets.items():
        _check_name("widget", name, path)
        for key, message in faults(name, widget, spec.agents):
            raise _error(message, f"{path}.{name}{key}")


def _check_agent(app: str, agent: AgentSpec, path: str, source: bool) -> None:
    if not source and not agent.code.startswith(f"code/{app}/"):
        raise _error(f"expected a path in code/{app}/, found {agent.code!r:.80}", f"{path}.code")
    if agent.entry is not None and not (0 < len(agent.entry) <= 255 and agent.entry.isprintable()):
        raise _error(f"expected 1 to 255 printable characters, found {agent.entry!r:.80}", f"{path}.entry")
    for key, spec in (
        ("inParams", AgentSpec(code="", in_params=agent.in_params)),
        ("outParams", AgentSpec(code="", out_params=agent.out_params)),
    ):
        try:
            param_types(spec)
        except TypeTextError as exc:
            raise _error(str(exc), f"{path}.{key}") from None


def _check_setup(manifest: Manifest) -> None:
    found = manifest.setup_agent()
    if found is None:
        return
    app, agent = found
    if "/" not in (manifest.setup or "") and len(manifest.apps) != 1:
        raise _error("expected APP/AGENT, because the package has not exactly one app", "$.setup")
    if app not in manifest.apps or agent not in manifest.apps[app].agents:
        agents = [f"{app}/{agent}" for app, spec in manifest.apps.items() for agent in spec.agents]
        raise _error(
            f"expected AGENT or APP/AGENT of this package, of which there are {', '.join(agents)[:400] or 'none'}; "
            f"found {manifest.setup!r:.80}",
            "$.setup",
        )


def _check_grants(grants: GrantsSpec) -> None:
    for index, pattern in enumerate(grants.ffis):
        try:
            Grants([pattern])
        except GrantError as exc:
            raise _error(str(exc), f"$.grants.ffis[{index}]") from None
    for key in grants.options:
        if not _OPTION.fullmatch(key):
            raise _error(f"expected a dotted key, as http.hosts, found {key!r:.80}", "$.grants.options")


def _check_limits(limits: dict[str, int | float]) -> None:
    for key in limits:
        if key not in UNITS:
            raise _error(
                f"expected one of {', '.join(UNITS)}; found {key!r:.80}{meant(key, UNITS)}", "$.limits"
            )
    convert(limits, Limits, ENTRY, "$.limits")
