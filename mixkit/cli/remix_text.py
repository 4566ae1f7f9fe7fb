"""How packages, and what differs between them, are shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.cli.output import Output

if TYPE_CHECKING:
    from mixkit.package import Package
    from mixkit.package.diff import AppDiff, Names

__all__ = ["agents", "powers", "print_diff", "shown", "widgets"]


def powers(package: Package) -> list[tuple[str, Any]]:
    """The powers that a package asks for: FFIs, then options with their values."""
    grants = package.manifest.grants
    return [*((pattern, None) for pattern in grants.ffis), *grants.options.items()]


def agents(package: Package) -> list[tuple[str, str, str, str, str]]:
    """Agents with types of parameters and result, code, and description."""
    from mixkit.package.manifest import param_types

    rows = []
    for app, spec in package.manifest.apps.items():
        for name, agent in spec.agents.items():
            params, result = param_types(agent)
            rows.append((f"{app}/{name}", str(params), str(result), agent.code, agent.description))
    return rows


def widgets(package: Package) -> list[tuple[str, str, str, str, str, str]]:
    """Widgets with agent, sizes, database, tags, and description."""
    return [
        (
            f"{app}/{name}",
            widget.agent or name,
            ", ".join(widget.sizes),
            widget.database or app,
            ", ".join(widget.tags),
            widget.description,
        )
        for app, spec in package.manifest.apps.items()
        for name, widget in spec.widgets.items()
    ]


def print_diff(changes: list[AppDiff], out: Output, *, stderr: bool = False) -> None:
    """App by app what differs, powers first."""
    tell = out.note if stderr else out.line
    for change in changes:
        tell(f"app {change.app}", "title")
        for power in change.widened:
            tell(f"  + may   {power}", "warning")
        for power in change.narrowed:
            tell(f"  - may   {power}", "ok")
        for what in ("signer", "package", "version", "setup", "records"):
            pair = getattr(change, what)
            if pair is not None:
                tell(f"  {what}: {shown(pair.old) or 'none'} -> {shown(pair.new) or 'none'}", None)
        for limit, pair in change.limits.items():
            tell(f"  limit {limit}: {shown(pair.old) or 'default'} -> {shown(pair.new) or 'default'}", None)
        _print_names("agent", change.agents, tell)
        _print_names("widget", change.widgets, tell)
        _print_names("setting", change.settings, tell)
        _print_names("entry", change.files, tell)


def _print_names(what: str, names: Names, tell: Any) -> None:
    for sign_, found in (("+", names.added), ("-", names.removed), ("~", names.changed)):
        for name in found:
            tell(f"  {sign_} {what} {name}", None)


def shown(value: Any) -> str:
    """A value on one line; nothing for None."""
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
