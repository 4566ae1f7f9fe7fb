"""What differs between two packages, or between a package and what is installed: first of all, in powers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mixkit.package import powers
from mixkit.package.manifest import AgentSpec, GrantsSpec
from mixkit.package.release import Release

__all__ = ["AppDiff", "diff"]


class Pair(msgspec.Struct, frozen=True):
    """A value before and after; None where there is none."""

    old: Any
    new: Any


class Names(msgspec.Struct, frozen=True):
    """What came, went, and stayed with another content."""

    added: list[str] = []
    removed: list[str] = []
    changed: list[str] = []


class AppDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What differs for one app. `None` and empty lists where nothing does.

    Attributes:
        widened, narrowed: powers that the new one asks for and the old one did not, and the other way round.
        signer: public keys that signed.
        limits: limits that differ, by name.
        agents: agents whose code, entry, types or description differ count as changed.
        records: how many there are.
    """

    app: str
    widened: list[str]
    narrowed: list[str]
    signer: Pair | None
    package: Pair | None
    version: Pair | None
    limits: dict[str, Pair]
    agents: Names
    widgets: Names
    settings: Names
    setup: Pair | None
    records: Pair | None
    files: Names

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        lists = (self.widened, self.narrowed, self.limits)
        names = (self.agents, self.widgets, self.settings, self.files)
        pairs = (self.signer, self.package, self.version, self.setup, self.records)
        return not any(lists) and all(n == Names() for n in names) and all(pair is None for pair in pairs)


def diff(old: Mapping[str, Release], new: Mapping[str, Release]) -> list[AppDiff]:
    """App by app, what differs between the old releases and the new ones; only apps that do differ."""
    found = [_app(name, old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())]
    return [app for app in found if not app.same]


def _app(name: str, old: Release | None, new: Release | None) -> AppDiff:
    before = old or _nothing(name)
    after = new or _nothing(name)
    change = powers.compare(before.grants, after.grants)
    return AppDiff(
        app=name,
        widened=list(change.widened),
        narrowed=list(change.narrowed),
        signer=_pair(before.signer, after.signer),
        package=_pair(before.package or None, after.package or None),
        version=_pair(before.version or None, after.version or None),
        limits={
            key: Pair(before.limits.get(key), after.limits.get(key))
            for key in sorted(before.limits.keys() | after.limits.keys())
            if before.limits.get(key) != after.limits.get(key)
        },
        agents=_names(_agents(before), _agents(after)),
        widgets=_names(before.widgets, after.widgets),
        settings=_names(before.settings, after.settings),
        setup=_pair(before.setup, after.setup),
        records=_pair(before.records, after.records),
        files=_names(before.entries, after.entries),
    )


def _nothing(app: str) -> Release:
    return Release(app=app, package="", version="", agents={}, grants=GrantsSpec(), entries={})


def _agents(release: Release) -> dict[str, tuple[AgentSpec, str | None]]:
    """An agent differs when its description in the manifest or the code itself does."""
    return {name: (spec, release.entries.get(spec.code)) for name, spec in release.agents.items()}


def _pair(old: Any, new: Any) -> Pair | None:
    return None if old == new else Pair(old, new)


def _names(old: Mapping[str, Any], new: Mapping[str, Any]) -> Names:
    return Names(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=sorted(key for key in old.keys() & new.keys() if old[key] != new[key]),
    )
