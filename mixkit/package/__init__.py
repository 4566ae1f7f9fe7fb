"""`.remix` packages, and the workspaces that they are installed into. See docs/packages.md."""

from __future__ import annotations

from mixkit.package.app import Agent, InstalledApp
from mixkit.package.archive import ArchiveLimits
from mixkit.package.errors import BadName, Busy, Exists
from mixkit.package.install import Installed
from mixkit.package.manifest import Manifest
from mixkit.package.package import Package
from mixkit.package.past import Event
from mixkit.package.release import Release
from mixkit.package.store import Workspace, WorkspaceStore

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
