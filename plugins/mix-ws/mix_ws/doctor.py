"""What `mixkit doctor` says about WebSockets."""

from __future__ import annotations

import ssl
from pathlib import Path

from mix_ws.settings import WsSettings
from mixkit.contracts import Check

__all__ = ["checks"]


def checks(settings: WsSettings) -> list[Check]:
    """The findings: what the egress check lets through, and whether certificates can be verified."""
    return [_egress(settings), _authorities(settings)]


def _egress(settings: WsSettings) -> Check:
    if settings.dangerous_ws_mode:
        return Check(
            "ws egress",
            "warning",
            "dangerous_ws_mode: agents reach plain ws and every address, loopback and cloud metadata too",
            "unset settings.ws.dangerous_ws_mode unless this machine is for development",
        )
    if settings.allow_private:
        return Check(
            "ws egress",
            "warning",
            f"agents reach, besides public addresses: {', '.join(settings.allow_private)}",
            "keep settings.ws.allow_private as short as it can be",
        )
    return Check("ws egress", "ok", "wss to public addresses only")


def _authorities(settings: WsSettings) -> Check:
    if settings.ca_file:
        try:
            ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as exc:
            state = "unreadable" if Path(settings.ca_file).exists() else "missing"
            return Check(
                "ws certificates",
                "error",
                f"ca_file {settings.ca_file} is {state}: {exc}",
                "let settings.ws.ca_file name a PEM file of certificate authorities",
            )
    return Check("ws certificates", "ok", "certificates are verified")
