"""The key set of an identity provider, fetched and kept: `--jwks-url`.

It is fetched when it is first needed, again when it is old, and at once when a token names a key that is not in it,
though not more often than every `_AGAIN` seconds. What cannot be fetched is tried again later and later, and the keys
that are known are good for `_STALE` seconds more: a provider that is away for an hour locks nobody out, and one that
took a key back is heard within `_OLDEST`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final, TypeVar
from urllib.parse import urlsplit

from mix_server.access.key_set import KeySet
from mix_server.auth import is_loopback
from mix_server.errors import Refusal
from mixkit.errors import ProfileError

__all__ = ["KeySource", "Unreachable"]

T = TypeVar("T")

_log = logging.getLogger("mixkit.server.keys")

_MAX_SET: Final = 1 << 20
"""Bytes of a key set."""
_TIMEOUT: Final = 10.0
"""Seconds for all of a fetch."""
_PIECE: Final = 64 << 10
_AGAIN: Final = 10.0
_YOUNGEST: Final = 60.0
_AGE: Final = 300.0
_OLDEST: Final = 3_600.0
_STALE: Final = 24 * 3_600.0
_MAX_BACK_OFF: Final = 300.0
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", re.IGNORECASE)


class Unreachable(Refusal):
    """Who asks cannot be told, since the identity provider's keys cannot be had."""

    status = 503
    headers = {"Retry-After": "5"}  # noqa: RUF012 - as the class above it


class KeySource:
    """The keys behind a URL. One object a process, used on its event loop.

    Args:
        url: of the JWK set; https, or http of this machine.

    Raises:
        ProfileError: it is no such URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        plain = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or plain) or parts.username is not None:
            raise ProfileError(
                f"expected an https URL, found {url!r:.200}; keys that came over http would be anybody's",
                "settings.server.jwks_url",
            )
        self._url = url
        self._keys: KeySet | None = None
        self._fetched = self._until = self._next = 0.0
        self._back_off = 1.0
        self._task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[tuple[KeySet, float]] | None = None

    def at_hand(self) -> KeySet | None:
        """The keys, if they are known and not old. Never waits."""
        return self._keys if time.monotonic() < self._until else None

    async def keys(self, *, newer: bool = False) -> KeySet:
        """The keys, fetched if they are old, or, with `newer`, unless that was a moment ago.

        Raises:
            Unreachable: there are none, and none can be had now.
        """
        now = time.monotonic()
        wanted = now >= self._until or (newer and now >= self._fetched + _AGAIN)
        if self._task is not None or (wanted and now >= self._next):
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._fetch())
            # One fetches for all who wait, even if the one who asked first goes away.
            await asyncio.shield(self._task)
        if self._keys is None or time.monotonic() >= self._fetched + _STALE:
            raise Unreachable("the keys of the identity provider cannot be fetched; try again in a while")
        return self._keys

    async def _fetch(self) -> None:
        try:
            keys, age = await self._read()
            if not len(keys):
                raise ValueError(f"it has no key that is used here; {'; '.join(keys.passed_over[:3])}")
        except (OSError, HTTPException, ValueError) as exc:
            _log.warning("cannot fetch the keys at %s: %s; next try in %g s", self._url, exc, self._back_off)
            self._next = time.monotonic() + self._back_off
            self._back_off = min(self._back_off * 2, _MAX_BACK_OFF)
        else:
            for reason in keys.passed_over[:10]:
                _log.info("keys at %s: passed over %s", self._url, reason)
            self._keys, self._fetched = keys, time.monotonic()
            self._until = self._fetched + min(max(age, _YOUNGEST), _OLDEST)
            self._next, self._back_off = 0.0, 1.0
        finally:
            self._task = None

    async def _read(self) -> tuple[KeySet, float]:
        """What `_fetched` answers. `TimeoutError` if it takes longer than all who wait should."""
        # A provider that goes on and on has one thread of its own, so that it holds up neither others nor the end.
        if self._answer is None:
            self._answer = _in_thread(_fetched, self._url)
            # It may be that nobody asks any more.
            self._answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        done, _ = await asyncio.wait({self._answer}, timeout=_TIMEOUT)
        if not done:
            raise TimeoutError(f"the answer has not come in {_TIMEOUT:g} s")
        answer, self._answer = self._answer, None
        return answer.result()


def _in_thread(function: Callable[[str], T], argument: str) -> asyncio.Future[T]:
    """What a function answers in a thread that ends with the process."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(function(argument))
        except urllib.error.HTTPError as exc:
            # It is the answer, too, and has the connection.
            exc.close()
            found.set_exception(exc)
        except BaseException as exc:
            # The frames would have the future, and what they have open, for as long as it has them.
            found.set_exception(exc.with_traceback(None))

    threading.Thread(target=run, name="mixkit-keys", daemon=True).start()
    return asyncio.wrap_future(found)


class _NoWeaker(urllib.request.HTTPRedirectHandler):
    """Follows to https only, wherever from: keys are not to come over a connection that anybody can change."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise urllib.error.URLError(f"it redirects to {newurl[:200]!r}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetched(url: str) -> tuple[KeySet, float]:
    """The keys at a URL, and for how many seconds they are good. Blocks."""
    # No file:, ftp: or data: behind a redirect, and no proxy that the environment names for others' requests.
    opener = urllib.request.OpenerDirector()
    handlers: list[Any] = [
        urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(), _NoWeaker(),
        urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler(),
    ]  # fmt: skip
    for handler in handlers:
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})
    deadline = time.monotonic() + _TIMEOUT
    with opener.open(request, timeout=_TIMEOUT) as answer:
        data = b""
        # The socket's own time is one for each piece.
        while piece := answer.read1(_PIECE):
            data += piece
            if len(data) > _MAX_SET:
                raise ValueError(f"expected at most {_MAX_SET} bytes")
            if time.monotonic() >= deadline:
                raise TimeoutError(f"the answer has not come in {_TIMEOUT:g} s")
        found = _MAX_AGE.search(answer.headers.get("Cache-Control") or "")
        return KeySet.decode(data), float(found[1]) if found else _AGE
