"""A release: what one package brings for one app. The unit that is installed, compared and recorded."""

from __future__ import annotations

from typing import Any

import msgspec

from mixkit.package.manifest import AgentSpec, GrantsSpec
from mixkit.package.widgets import WidgetSpec

__all__ = ["Release"]


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one package brings for one app.

    Attributes:
        entries: path in the package to the SHA-256, in hex, of every entry of the app: code, records, files.
        records: how many records it brings (lines of `records/<app>.ndjson`).
        settings: the app's part of `runtime.json`.
        setup: agent to run once after the install.
        signer: public key that signed the package.
    """

    app: str
    package: str
    version: str
    signer: str | None = None
    agents: dict[str, AgentSpec]
    widgets: dict[str, WidgetSpec] = {}
    grants: GrantsSpec
    limits: dict[str, int | float] = {}
    settings: dict[str, Any] = {}
    save_options: dict[str, Any] = {}
    setup: str | None = None
    entries: dict[str, str]
    records: int = 0

    def code(self) -> dict[str, str]:
        """Path to SHA-256 of the entries that stay with the app; records and files go to its storage."""
        return {path: digest for path, digest in self.entries.items() if path.startswith("code/")}

    def files(self) -> list[str]:
        """Paths of the entries that go to the app's file storage."""
        return [path for path in self.entries if path.startswith("files/")]
