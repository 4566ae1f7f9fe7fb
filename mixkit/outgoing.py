"""What plugins that open connections have in common: their settings made into a policy and a trust, and what doctor
says of them.

A plugin has the name of its plain scheme: `http`, `ws`, `mqtt`; with an `s` behind, that is the scheme over TLS.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mixkit.addresses import AllowedNetwork
from mixkit.contracts import Check
from mixkit.egress import EgressPolicy
from mixkit.errors import ProfileError
from mixkit.target import EgressDenied, parse_url

if TYPE_CHECKING:
    import ssl

__all__ = ["authorities", "check_proxy", "file_finding", "policy", "reach", "trusting"]


@functools.lru_cache(maxsize=64)
def policy(plugin: str, dangerous: bool, allow: tuple[str, ...]) -> EgressPolicy:
    """What may be connected to: public addresses over TLS, and what the operator opens.

    Args:
        dangerous: plain connections too, and every address.
        allow: addresses that may be reached although they are not public.

    Raises:
        ValueError: one of them is no address.
    """
    secure = f"{plugin}s"
    return EgressPolicy(
        schemes=(secure, plugin) if dangerous else (secure,),
        dangerous=dangerous,
        allow=tuple(AllowedNetwork.parse(text) for text in allow),
    )


def check_proxy(plugin: str, proxy: str) -> None:
    """Raise `ProfileError` unless that is empty or a proxy, `http(s)://[user:password@]host:port`."""
    if not proxy:
        return
    key = f"settings.{plugin}.proxy"
    # NOTE: the operator may write a password here, and the message must not repeat it.
    scheme, separator, rest = proxy.partition("://")
    try:
        target = parse_url(f"{scheme}{separator}{rest.rpartition('@')[2]}")
    except EgressDenied as exc:
        raise ProfileError(exc.reason, key) from None
    if target.scheme not in ("http", "https"):
        raise ProfileError(f"expected http or https, found {target.scheme!r}", key)


def trusting(plugin: str, ca_file: str) -> ssl.SSLContext:
    """A new context that verifies peers by the system's authorities, and those of a PEM file unless it is empty.

    Raises:
        ProfileError: the file cannot be read.
    """
    # Imported here and below: settings are made when a process starts, which may never connect.
    import ssl

    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as exc:
            # The agent sees this message, so it does not have the path; doctor does.
            raise ProfileError(
                "cannot be read; `mixkit doctor` says why", f"settings.{plugin}.ca_file"
            ) from exc
    return context


# -- doctor -----------------------------------------------------------------------------------------


def reach(plugin: str, dangerous: bool, allow: tuple[str, ...]) -> Check:
    """What agents reach, by those settings."""
    name = f"{plugin} egress"
    if dangerous:
        mode = f"dangerous_{plugin}_mode"
        return Check(
            name,
            "warning",
            f"{mode}: agents reach plain {plugin} and every address, loopback and cloud metadata too",
            f"unset settings.{plugin}.{mode} unless this machine is for development",
        )
    if allow:
        return Check(
            name,
            "warning",
            f"agents reach, besides public addresses: {', '.join(allow)}",
            f"keep settings.{plugin}.allow_private as short as it can be",
        )
    return Check(name, "ok", f"{plugin}s to public addresses only")


def authorities(plugin: str, ca_file: str) -> Check:
    """Whether the certificates of peers can be verified."""
    import ssl

    if ca_file:
        found = file_finding(
            plugin,
            "ca_file",
            ca_file,
            "of certificate authorities",
            lambda path: ssl.create_default_context(cafile=path),
        )
        if found is not None:
            return found
    elif not ssl.create_default_context().cert_store_stats()["x509_ca"]:
        return Check(
            f"{plugin} certificates",
            "error",
            f"the system has no certificate authorities: every {plugin}s request will fail",
            f"install the system's ca-certificates package or set settings.{plugin}.ca_file",
        )
    return Check(f"{plugin} certificates", "ok", "certificates are verified")


def file_finding(plugin: str, key: str, path: str, what: str, load: Callable[[str], object]) -> Check | None:
    """What is wrong with a PEM file of the settings, None if nothing is.

    Args:
        what: it holds, as "of certificate authorities".
        load: reads it, as it is read when it is needed.
    """
    import ssl

    try:
        load(path)
    except (OSError, ssl.SSLError) as exc:
        state = "unreadable" if Path(path).exists() else "missing"
        return Check(
            f"{plugin} certificates",
            "error",
            f"{key} {path} is {state}: {exc}",
            f"let settings.{plugin}.{key} name a PEM file {what}",
        )
    return None
