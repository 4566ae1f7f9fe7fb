"""TLS whose certificate may be renewed while the server runs: the next connection has the new one, and those that are
open go on."""

from __future__ import annotations

import logging
import os
import ssl
import stat
import time
from collections.abc import Callable
from typing import Any, Final

from mixkit.errors import ProfileError

__all__ = ["Renewal", "check_pair", "renewing"]

_log = logging.getLogger("mixkit.server")

_LOOK: Final = 1.0
"""Seconds after which the files are looked at again, by whoever connects then."""


def check_pair(certs: str | None, key: str | None) -> None:
    """Raise `ProfileError` unless both are files in PEM that belong together, or there are none."""
    if certs is None and key is None:
        return
    if certs is None or key is None:
        name = "tls_certs" if certs is None else "tls_key"
        raise ProfileError("expected tls_certs and tls_key, found one of them", f"settings.server.{name}")
    try:
        _load(certs, key)
    except (OSError, ssl.SSLError, _Locked) as exc:
        raise ProfileError(
            f"expected a chain of certificates in {certs!r} and their key, without a password, in {key!r}, both PEM: "
            f"{exc}",
            "settings.server.tls_certs",
        ) from None


def _load(certs: str, key: str | None, password: Any = None) -> None:
    """Raise an error unless a context can be made of these files, without waiting for anybody."""
    for path in (certs, key or certs):
        # A named pipe would be waited for.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - in a handshake
            raise OSError(f"{path!r} is no plain file")
    # A password that nobody has given would be asked for on the terminal; nobody may sit there.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certs, key, password=password or _no_password)


class _Locked(Exception):
    pass


def _no_password() -> str:
    raise _Locked("the key has a password")


def renewing(config: Any, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """A factory of contexts for uvicorn, of which each hands connections to the newest of its kind.

    Args:
        config: uvicorn's, which has the paths of the files.
        make: makes one from the files as they are.
    """
    context = make()
    paths = [str(path) for path in (config.ssl_certfile, config.ssl_keyfile) if path]

    def checked() -> ssl.SSLContext:
        _load(paths[0], paths[1] if len(paths) > 1 else None, config.ssl_keyfile_password)
        return make()

    context.sni_callback = Renewal(context, checked, paths).choose
    return context


class Renewal:
    """The context of the certificate that the files hold.

    A pair that does not fit together, as while one of both has been written, changes nothing: the one before goes on.
    """

    def __init__(self, context: ssl.SSLContext, make: Callable[[], ssl.SSLContext], paths: list[str]) -> None:
        self._context = context
        self._make = make
        self._paths = paths
        self._seen = self._stamp()
        self._due = time.monotonic() + _LOOK

    def choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: Any) -> None:
        """Called in each handshake, also of a client that names no server."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _LOOK
            self._look()
        connection.context = self._context

    def _look(self) -> None:
        found = self._stamp()
        if found == self._seen:
            return
        self._seen = found
        try:
            self._context = self._make()
        except (OSError, ssl.SSLError, _Locked) as exc:
            _log.warning("the renewed certificate cannot be used, the one before goes on: %s", exc)
            return
        _log.info("the certificate was renewed")

    def _stamp(self) -> list[tuple[int, int, int] | None]:
        return [_stamp_of(path) for path in self._paths]


def _stamp_of(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - in a handshake
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
