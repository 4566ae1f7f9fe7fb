"""What `mixkit doctor` says about WebSockets."""

from __future__ import annotations

from mix_ws.settings import WsSettings
from mixkit import outgoing
from mixkit.contracts import Check

__all__ = ["checks"]


def checks(settings: WsSettings) -> list[Check]:
    """The findings: what the egress check lets through, and whether certificates can be verified."""
    return [
        outgoing.reach("ws", settings.dangerous_ws_mode, settings.allow_private),
        outgoing.authorities("ws", settings.ca_file),
    ]
