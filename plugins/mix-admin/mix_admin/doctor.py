"""What `mixkit doctor` says about the page."""

from __future__ import annotations

from mix_admin import PATH
from mix_admin.page import INDEX, files
from mixkit.contracts import Check

__all__ = ["checks"]


def checks() -> list[Check]:
    """Whether the page is there."""
    found = files()
    if INDEX not in found:
        return [Check("admin page", "error", f"there is no {INDEX}", "install mix-admin again")]
    size = sum(len(asset.data) for asset in found.values())
    return [Check("admin page", "ok", f"{PATH}: {len(found)} files, {size // 1024} KiB")]
