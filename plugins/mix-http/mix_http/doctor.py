"""What `mixkit doctor` says about HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from mix_http.settings import HttpSettings
from mixkit import outgoing
from mixkit.contracts import Check

__all__ = ["checks"]


def checks(settings: HttpSettings) -> list[Check]:
    """The findings: what the egress check lets through, and whether certificates can be verified."""
    return [
        outgoing.reach("http", settings.dangerous_http_mode, settings.allow_private),
        outgoing.authorities("http", settings.ca_file),
        *_proxy(settings),
    ]


def _proxy(settings: HttpSettings) -> Iterator[Check]:
    if settings.proxy:
        yield Check(
            "http proxy",
            "ok",
            f"requests go through {settings.proxy.rpartition('@')[2]}, which resolves names for itself",
        )
