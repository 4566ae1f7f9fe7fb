"""What failed, was killed, was replaced or was deleted: found and removed. There is no other clean-up.

Whoever calls holds the lock of the directory, so that nothing here is work in progress.
"""

from __future__ import annotations

from pathlib import Path

from mixkit.package import disk
from mixkit.package.switch import Switch

__all__ = ["sweep_store", "sweep_workspace"]


def sweep_workspace(switch: Switch) -> None:
    """Remove what the switch does not name, except versions that somebody still reads."""
    current = switch.read().apps
    for path in list(switch.root.iterdir()):
        if path.name.startswith(disk.STAGING):
            disk.remove(path)
        elif path.name.startswith(disk.TRASH):
            _remove_app(path)
        elif _is_app(path) and path.name not in current:
            _remove_app(disk.to_trash(path))
        elif _is_app(path):
            _sweep_versions(path / "versions", current[path.name])


def sweep_store(root: Path) -> None:
    """Remove workspaces that were deleted or not wholly made, except versions that somebody still reads."""
    for path in list(root.iterdir()):
        if path.name.startswith(disk.STAGING):
            disk.remove(path)
        elif path.name.startswith(disk.TRASH):
            remains = [app for app in list(path.iterdir()) if _is_app(app) and not _remove_app(app)]
            if not remains:
                disk.remove(path)


def _is_app(path: Path) -> bool:
    """A directory without `versions` is not ours: others may keep their own things in a workspace."""
    return (path / "versions").is_dir()


def _remove_app(path: Path) -> bool:
    """Remove the directory of an app unless a version of it is still read."""
    if _is_app(path) and not _sweep_versions(path / "versions", ""):
        return False
    disk.remove(path)
    return True


def _sweep_versions(versions: Path, current: str) -> bool:
    """Remove all versions but the current one; whether none but that is left."""
    clean = True
    for version in list(versions.iterdir()):
        if version.name == current:
            continue
        if version.name.startswith(disk.TRASH):
            disk.remove(version)
            continue
        with disk.exclusive(version) as free:
            if free:
                disk.remove(disk.to_trash(version))
        clean = clean and free
    return clean
