"""`.remix` packages, and the workspaces that they are installed into. See docs/packages.md.

Everything public is here and imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixkit.package.app import Agent as Agent
    from mixkit.package.app import InstalledApp as InstalledApp
    from mixkit.package.archive import ArchiveLimits as ArchiveLimits
    from mixkit.package.errors import BadName as BadName
    from mixkit.package.errors import Busy as Busy
    from mixkit.package.errors import Exists as Exists
    from mixkit.package.install import Installed as Installed
    from mixkit.package.manifest import Manifest as Manifest
    from mixkit.package.package import Package as Package
    from mixkit.package.past import Event as Event
    from mixkit.package.release import Release as Release
    from mixkit.package.store import Workspace as Workspace
    from mixkit.package.store import WorkspaceStore as WorkspaceStore

_HOME = {
    "Agent": "app",
    "ArchiveLimits": "archive",
    "BadName": "errors",
    "Busy": "errors",
    "Event": "past",
    "Exists": "errors",
    "Installed": "install",
    "InstalledApp": "app",
    "Manifest": "manifest",
    "Package": "package",
    "Release": "release",
    "Workspace": "store",
    "WorkspaceStore": "store",
}

__all__ = [
    "Agent",
    "ArchiveLimits",
    "BadName",
    "Busy",
    "Event",
    "Exists",
    "Installed",
    "InstalledApp",
    "Manifest",
    "Package",
    "Release",
    "Workspace",
    "WorkspaceStore",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'mixkit.package' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mixkit.package.{home}"), name)
    globals()[name] = value
    return value
