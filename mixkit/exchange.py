"""One HTTP request of the server itself and its answer, behind the egress check: for what speaks with services that
people configure, as identity providers. Agents send theirs by mix-http.

Nothing is followed, kept, repeated or sent by a proxy: who asks knows the endpoint, and a redirect is an answer like
others. The thread that waits for the peer is ended when the time is over, whatever the peer does.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from mixkit import egress
from mixkit.egress import EgressPolicy, PinnedAddress, Resolver
from mixkit.errors import FFIError
from mixkit.target import Target, parse_url

if TYPE_CHECKING:
    import asyncio
    import ssl

__all__ = ["Exchanged", "Unanswered", "exchange"]

_PIECE: Final = 64 << 10


class Unanswered(FFIError):
    """There is no answer now, and there may be one later: no connection, one that broke, or no time left."""

    code = "unanswered"


class Exchanged(NamedTuple):
    """An answer. Names of headers are in lower case; of several of one name it is the last."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def exchange(
    method: str,
    url: str,
    policy: EgressPolicy,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    seconds: float = 10.0,
    most: int = 1 << 20,
    tls: ssl.SSLContext | None = None,
    resolver: Resolver | None = None,
) -> Exchanged:
    """Send a request, and wait for all of its answer.

    Args:
        policy: what may be connected to.
        seconds: for all of it, from the look-up of the name on.
        most: bytes of the body of the answer.
        tls: whom to trust; the system's authorities if None.
        resolver: see `egress.check`.

    Raises:
        EgressDenied: the policy refuses it.
        Unanswered: there is no answer, or a longer one.
    """
    import asyncio

    target = parse_url(url)
    deadline = time.monotonic() + seconds
    try:
        async with asyncio.timeout(seconds):
            pinned = await egress.check(target, policy, resolver)
    except TimeoutError:
        raise Unanswered(f"{target.netloc}: the name was not found within {seconds:g} s") from None
    if target.scheme != "https":
        tls = None
    elif tls is None:
        import ssl

        tls = await asyncio.to_thread(ssl.create_default_context)
    sent = _Sent(method, target, dict(headers or {}), body, deadline, most, tls)
    answer = sent.begin(pinned)
    try:
        return await asyncio.wait_for(asyncio.shield(answer), deadline - time.monotonic())
    except TimeoutError:
        raise Unanswered(f"{target.netloc}: no complete answer within {seconds:g} s") from None
    finally:
        sent.end()


class _Sent:
    """A request on its way, in a thread of its own: a peer that goes on and on holds up nothing else."""

    def __init__(
        self,
        method: str,
        target: Target,
        headers: dict[str, str],
        body: bytes,
        deadline: float,
        most: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._method = method
        self._target = target
        self._headers = {"Host": target.netloc, "Connection": "close", **headers}
        self._body = body
        self._deadline = deadline
        self._most = most
        self._tls = tls
        self._socket: socket.socket | None = None
        self._over = False

    def begin(self, addresses: Sequence[PinnedAddress]) -> asyncio.Future[Exchanged]:
        """What it becomes."""
        import asyncio
        from concurrent.futures import Future

        found: Future[Exchanged] = Future()

        def run() -> None:
            try:
                found.set_result(self._answer(addresses))
            except Unanswered as exc:
                found.set_exception(exc)
            except BaseException as exc:
                # The frames would have what is open for as long as the future has them.
                found.set_exception(exc.with_traceback(None))

        threading.Thread(target=run, name="mixkit-exchange", daemon=True).start()
        answer = asyncio.wrap_future(found)
        # It may be that nobody asks any more.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return answer

    def end(self) -> None:
        """Nobody waits any more."""
        self._over = True
        opened = self._socket
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _answer(self, addresses: Sequence[PinnedAddress]) -> Exchanged:
        where = self._target.netloc
        try:
            with self._connected(addresses) as opened:
                self._socket = opened
                if self._over:
                    raise Unanswered(f"{where}: nobody waits for it")
                connection = http.client.HTTPConnection(where)
                connection.sock = opened
                connection.request(self._method, self._target.path, self._body or None, self._headers)
                with connection.getresponse() as response:
                    headers = {name.lower(): value for name, value in response.getheaders()}
                    return Exchanged(response.status, headers, self._read(response))
        except (OSError, http.client.HTTPException) as exc:
            raise Unanswered(f"{where}: {_fault(exc)}") from None
        finally:
            self._socket = None

    def _connected(self, addresses: Sequence[PinnedAddress]) -> socket.socket:
        failed: OSError | None = None
        for pinned in addresses:
            try:
                # NOTE: the address that was checked; no name is resolved here.
                opened = socket.create_connection((pinned.address, pinned.port), self._left())
            except OSError as exc:
                failed = exc
                continue
            if self._tls is None:
                return opened
            self._socket = opened
            return self._tls.wrap_socket(opened, server_hostname=self._target.host)
        raise failed or OSError("no address")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        parts = []
        size = 0
        while piece := response.read1(_PIECE):
            size += len(piece)
            if size > self._most:
                raise Unanswered(f"{self._target.netloc}: the answer has more than {self._most} bytes")
            parts.append(piece)
            self._left()
        if response.length:
            raise http.client.IncompleteRead(b"")
        return b"".join(parts)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _fault(exc: Exception) -> str:
    """In words without addresses: the message may be shown to who configured the URL."""
    import ssl

    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the TLS certificate is not valid: {exc.verify_message}"
    if isinstance(exc, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(exc, TimeoutError):
        return "no complete answer in time"
    if isinstance(exc, http.client.HTTPException):
        return "the answer is not valid HTTP, or ends too early"
    reason = exc.strerror if isinstance(exc, OSError) else None
    return f"cannot connect, or the connection broke ({reason or type(exc).__name__})"
