"""What `mixkit doctor` says about HTTP."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from mix_http.settings import HttpSettings
from mixkit.contracts import Check

__all__ = ["checks"]


def checks(settings: HttpSettings) -> list[Check]:
    """The findings: what the egress check lets through, and whether certificates can be verified."""
    return [_egress(settings), _authorities(settings), *_proxy(settings)]


def _egress(settings: HttpSettings) -> Check:
    if settings.dangerous_http_mode:
        return Check(
            "http egress",
            "warning",
            "dangerous_http_mode: agents reach plain http and every address, loopback and cloud metadata too",
            "unset settings.http.dangerous_http_mode unless this machine is for development",
        )
    if settings.allow_private:
        return Check(
            "http egress",
            "warning",
            f"agents reach, besides public addresses: {', '.join(settings.allow_private)}",
            "keep settings.http.allow_private as short as it can be",
        )
    return Check("http egress", "ok", "https to public addresses only")


def _authorities(settings: HttpSettings) -> Check:
    if settings.ca_file:
        try:
            ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as exc:
            state = "unreadable" if Path(settings.ca_file).exists() else "missing"
            return Check(
                "http certificates",
                "error",
                f"ca_file {settings.ca_file} is {state}: {exc}",
                "let settings.http.ca_file name a PEM file of certificate authorities",
            )
    if not settings.ca_file and not ssl.create_default_context().cert_store_stats()["x509_ca"]:
        return Check(
            "http certificates",
            "error",
            "the system has no certificate authorities: every https request will fail",
            "install the system's ca-certificates package or set settings.http.ca_file",
        )
    return Check("http certificates", "ok", "certificates are verified")


def _proxy(settings: HttpSettings) -> Iterator[Check]:
    if settings.proxy:
        yield Check(
            "http proxy",
            "ok",
            f"requests go through {settings.proxy.rpartition('@')[2]}, which resolves names for itself",
        )
