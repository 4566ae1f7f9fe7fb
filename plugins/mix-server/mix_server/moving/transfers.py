"""Files that are too large for memory, on their way: a few at once in each process, each bounded in size and time."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from mix_server.errors import BadRequest, Overloaded, Stopping
from mix_server.rates import bucket_of
from mix_server.shares import Shares
from mix_server.threads import to_end
from mixkit import outgoing
from mixkit.egress import EgressPolicy
from mixkit.errors import NotFound
from mixkit.moving.errors import RemoteError
from mixkit.moving.remote import Remote
from mixkit.target import EgressDenied, parse_url

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.server import Server

__all__ = ["Transfers", "check_url", "digest_of"]

T = TypeVar("T")

_AT_ONCE: Final = 4
_WRITE: Final = 1 << 20
"""Bytes that are written to the disk at once, in a thread."""


class Transfers:
    """All transfers of a process.

    Args:
        server: whose they are.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._running = 0
        self._of = Shares(_AT_ONCE, server.settings.caller_share)

    @asynccontextmanager
    async def place(self, req: Request) -> AsyncIterator[None]:
        """A place for one, for who asks. `Overloaded` if all are taken, or all that one caller may have by this one."""
        whose = bucket_of(req, req.caller)
        if self._running >= _AT_ONCE:
            raise Overloaded(f"{_AT_ONCE} transfers are under way already")
        # A transfer may take an hour.
        if self._of.full(whose):
            raise Overloaded(f"{self._of.each} transfers of yours are under way already")
        self._running += 1
        self._of.take(whose)
        try:
            yield
        finally:
            self._running -= 1
            self._of.give(whose)

    @asynccontextmanager
    async def file(self) -> AsyncIterator[IO[bytes]]:
        """A file beside the workspaces, without a name, so that nothing of it outlives the process."""
        root = self._server.store.root
        file = await asyncio.to_thread(lambda: tempfile.TemporaryFile(dir=root))  # noqa: SIM115 - closed below
        try:
            yield file
        finally:
            await asyncio.to_thread(file.close)

    async def receive(self, req: Request, file: IO[bytes]) -> None:
        """Write the body of a request into a file.

        Raises:
            BodyTooLarge, BodyTimeout, Disconnected, Stopping: it has not come as it should.
        """
        settings = self._server.settings
        waiting: list[bytes] = []
        size = 0
        async for chunk in req.chunks(settings.transfer_limit, settings.transfer_timeout):
            waiting.append(chunk)
            size += len(chunk)
            if size >= _WRITE:
                await to_end(partial(file.writelines, waiting))
                waiting, size = [], 0
        await to_end(partial(file.writelines, waiting))

    async def run(self, work: Callable[[Callable[..., None]], T]) -> T:
        """Call `work` in a thread. It gets a function to call now and then, which raises when nobody waits any more:
        the client has gone, or the server stops. The task leaves when `work` has ended."""
        left = False

        def watch(*_: Any) -> None:
            if left or self._server.streams.stopping:
                raise Stopping

        def leave() -> None:
            nonlocal left
            left = True

        return await to_end(lambda: work(watch), leave)

    async def pull(
        self, file: IO[bytes], url: str, token: str | None, most: int, sha256: str | None = None
    ) -> None:
        """Write what is at a URL into a file.

        Args:
            most: bytes.
            sha256: that it must have, in hex: what is at a URL may be another file than what was agreed to.

        Raises:
            BadRequest: it is no URL, or another file.
            MixError: as `Remote.fetch`.
        """
        check_url(url)
        remote = self.remote()
        await self.run(lambda watch: remote.fetch(url, file, most, token=token, watch=watch))
        if sha256 is not None and (found := await digest_of(file)) != sha256.lower():
            raise BadRequest(f"expected the SHA-256 {sha256:.80}, found {found}; nothing was changed")

    def remote(self) -> Remote:
        """How other servers are reached: as agents reach them, by the settings of mix-http where that is on.

        Raises:
            RemoteError: these have a proxy, which an operator sets so that nothing goes past it, and there is no way
                through it here.
        """
        try:
            found = self._server.kernel.settings("http")
        except NotFound:
            found = None
        if found is None:
            policy, ca_file = EgressPolicy(), ""
        else:
            if found.proxy:
                raise RemoteError(
                    "other servers are not reached from here, since all is to go through the proxy of "
                    "settings.http.proxy; fetch the file, and send it as the body"
                )
            policy = outgoing.policy("http", found.dangerous_http_mode, tuple(found.allow_private))
            ca_file = found.ca_file

        def context() -> ssl.SSLContext:
            return outgoing.trusting("http", ca_file)

        return Remote(policy, self._server.settings.transfer_timeout, context)


async def digest_of(file: IO[bytes]) -> str:
    """SHA-256 of a file, in hex."""

    def digest() -> str:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    return await asyncio.to_thread(digest)


def check_url(url: str) -> None:
    """Raise `BadRequest` unless that is a URL."""
    try:
        parse_url(url)
    except EgressDenied as exc:
        raise BadRequest(exc.reason) from None
