"""Compiling elsewhere: what a compile server takes and answers, and asking one.

POST /v1/compile  {"sources": {"main.mix": "…", "other.mix": "…"}, "first": "main.mix"}
200               {"ok": true, "name": "main.mixexe", "code": "BASE64"}
200               {"ok": false, "message": "…", "diagnostics": […]}
"""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO, Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from mixkit.errors import MixError
from mixkit.fields import read_json

__all__ = ["PATH", "Compilation", "RemoteCompileError", "Task", "ask", "check_server"]

PATH: Final = "/v1/compile"
_MOST: Final = 64 << 20


class Task(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be compiled: names of files to their text, and which of them is the program; the first if unset."""

    sources: Annotated[dict[str, str], Meta(min_length=1, max_length=256)]
    first: str | None = None


class Compilation(msgspec.Struct, omit_defaults=True):
    """What came of it: the code and the name of a file with it, or what is wrong, for people and for programs."""

    ok: bool
    name: str | None = None
    code: bytes | None = None
    message: str = ""
    diagnostics: list[dict[str, Any]] = []


class RemoteCompileError(MixError):
    """The compile server did not do it; `status` is what it answered, None if it was not reached."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def check_server(url: str) -> str:
    """The base URL of a compile server without a slash at its end.

    Raises:
        ValueError: it is none; or sources and code would travel where anybody can change them.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        plain = parts.scheme == "http" and _is_loopback(host)
        fits = bool(host) and (parts.scheme == "https" or plain) and parts.username is None
        fits = fits and not parts.query and not parts.fragment and url.isascii() and url.isprintable()
        _ = parts.port
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"expected the URL of a server, https://…, or http:// on this machine, found {url!r:.200}"
        )
    return url.rstrip("/")


def ask(url: str, token: str | None, task: Task, seconds: float) -> Compilation:
    """Have a server compile something. Blocks.

    Args:
        url: as `check_server` answers it.
        token: for its `Authorization`.
        seconds: without a sign of it.

    Raises:
        RemoteCompileError: it cannot be reached, or refuses.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url + PATH, msgspec.json.encode(task), headers, method="POST")
    try:
        with _opener().open(request, timeout=seconds) as answer:
            body = answer.read(_MOST + 1)
    except urllib.error.HTTPError as exc:
        with exc:
            said = exc.read(4_096).decode("utf-8", "replace")
        raise RemoteCompileError(f"the compile server answered {exc.code}: {said:.500}", exc.code) from None
    except (OSError, HTTPException) as exc:
        raise RemoteCompileError(f"the compile server cannot be reached: {exc}") from None
    if len(body) > _MOST:
        raise RemoteCompileError(f"the compile server answered more than {_MOST} bytes")
    try:
        return read_json(body, Compilation)
    except msgspec.MsgspecError as exc:
        raise RemoteCompileError(f"the compile server answered something else: {exc}") from None


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows nowhere: the sources and the token are for the server that was named."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    # Without those for proxies and other schemes.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(), _Stays(),
        urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
