"""One call of an agent: its hops over interceptors and the network, retried and bounded."""

from __future__ import annotations

import asyncio
import fnmatch
import io
import random
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import aiohttp
from yarl import URL

from mix_http.body import Decompressor
from mix_http.cookies import Cookies
from mix_http.hop import Hop, first_hop, media_patterns
from mix_http.message import Answer, HttpRequest, OutgoingRequest
from mix_http.session import ConnectionDropped, Sent, client_context, sent, session_for
from mix_http.settings import HttpSettings
from mix_http.text import decode_text, media_type
from mixkit import egress
from mixkit import header_fields as fields
from mixkit.egress import EgressPolicy
from mixkit.errors import FFIError
from mixkit.header_fields import Fields
from mixkit.octets import joined
from mixkit.state import State
from mixkit.target import Target
from mixkit.value import UNDEF, is_large

__all__ = ["call"]

T = TypeVar("T")

IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
TRY_LATER: Final = frozenset((429, 502, 503, 504))
CHUNK: Final = 64 * 1024


class Unreachable(FFIError):
    """No connection could be made: nothing was sent, so that trying again is safe."""


async def call(state: State, request: HttpRequest) -> dict[str, Any]:
    """Do what the request says and answer the map that the agent gets.

    Raises:
        FFIError: there is no answer, for a reason that the agent may know.
        LimitExceeded: the run's `outgoing_bytes` or `wall_time` are used up.
    """
    settings: HttpSettings = state.services.settings("http")
    seconds = settings.timeout
    if request.timeout is not None:
        if not request.timeout > 0:
            raise FFIError(f"timeout: expected seconds above 0, found {request.timeout}")
        seconds = min(seconds, request.timeout)
    seconds_left = min(seconds, state.budget.remaining())
    deadline = asyncio.get_running_loop().time() + seconds_left
    try:
        async with asyncio.timeout(seconds_left):
            if _is_long(request):
                call = await asyncio.to_thread(_Call, state, request, settings, deadline)
            else:
                call = _Call(state, request, settings, deadline)
            target, answer = await call.follow()
            if len(answer.body) > CHUNK:
                return await asyncio.to_thread(_result, request, target, answer)
            return _result(request, target, answer)
    except TimeoutError:
        state.budget.check_time()
        raise FFIError(f"no complete answer within {seconds:g} s") from None


def _is_long(request: HttpRequest) -> bool:
    """Whether to check and encode its body takes longer than the loop should be held."""
    body, json = request.body, request.json
    return (body is not None and len(body) > CHUNK) or (json is not UNDEF and is_large(json))


def _result(request: HttpRequest, target: Target, answer: Answer) -> dict[str, Any]:
    """The map that the agent gets."""
    result: dict[str, Any] = {
        "status": answer.status,
        "body": answer.body,
        "headers": fields.joined(answer.headers),
        "requested_url": target.url,
    }
    if not request.returnBinaryResponseBody:
        result["body"], damaged = decode_text(answer.body, answer.header("content-type"))
        if damaged:
            result["body_damaged"] = True
    return result


class _Call:
    """The checked request, and what its hops share."""

    def __init__(self, state: State, request: HttpRequest, settings: HttpSettings, deadline: float) -> None:
        self.state = state
        self.deadline = deadline
        self.cookies = Cookies()
        self.settings = settings
        self.policy: EgressPolicy = settings.policy().restricted(
            "http.hosts", state.grants.option("http.hosts"), state.budget.look_up
        )
        self.follows = request.followRedirects is not False
        self.redirects = settings.max_redirects if self.follows else 0
        self.media_types = media_patterns(request.mediaTypes or [])
        self.first = first_hop(request, settings, self.media_types)
        self.retries = request.retry or 0
        if self.retries and self.first.method not in IDEMPOTENT:
            raise FFIError(
                f"retry: expected one of the methods {', '.join(sorted(IDEMPOTENT))}, which may be repeated"
            )
        if not 0 <= self.retries <= settings.max_retries:
            raise FFIError(
                f"retry: expected 0 to {settings.max_retries} (http.max_retries), found {self.retries}"
            )

    async def follow(self) -> tuple[Target, Answer]:
        """The last answer after all redirects, and where it came from."""
        hop = self.first
        for count in range(self.redirects + 1):
            answer = await self.attempt(hop)
            location = answer.header("location") if self.follows and answer.status in REDIRECTS else ""
            if not location:
                if count:
                    answer = replace(answer, headers=(*self.cookies.shown(hop.target), *answer.headers))
                return hop.target, answer
            self.cookies.take(hop.target, answer)
            if count < self.redirects:
                hop = hop.redirected(answer.status, location)
        raise FFIError(f"more than {self.redirects} redirects; the setting http.max_redirects raises it")

    async def attempt(self, hop: Hop) -> Answer:
        """One hop, repeated as often as the agent allows."""
        if hop is not self.first:
            hop = replace(hop, headers=self.cookies.give(hop.target, hop.headers))
        for count in range(self.retries):
            # Full jitter, so that the agents of one server do not come back together.
            pause = random.uniform(0.05, 0.2) * 2**count
            try:
                answer = await self.send(hop)
            except (Unreachable, ConnectionDropped):
                pass
            else:
                if answer.status not in TRY_LATER:
                    return answer
                wanted = retry_after(answer.header("retry-after"))
                pause += wanted
                if wanted and asyncio.get_running_loop().time() + pause >= self.deadline:
                    # Whoever is told to come back later than it may stay gets the answer that says so.
                    return answer
            await asyncio.sleep(pause)
        return await self.send(hop)

    async def send(self, hop: Hop) -> Answer:
        """Grants, interceptors, egress check, network: in this order, for every hop."""
        self.policy.check_granted(hop.target)
        outgoing = OutgoingRequest(hop.method, hop.target, tuple(hop.headers), hop.body, self.state)
        answer = await self.state.services.intercept(outgoing)
        if answer is not None:
            if len(answer.body) > self.settings.max_response_bytes:
                raise self.too_large()
            self.check_media_type(answer.status, answer.header("content-type"))
            return Answer(answer.status, tuple(answer.headers), bytes(answer.body))
        self.policy.check_target(hop.target)
        if self.settings.proxy:
            await egress.check(hop.target, self.policy)
        return await self.exchange(hop)

    async def exchange(self, hop: Hop) -> Answer:
        """One request and its response over the network."""
        while True:
            way = Sent()
            sent.set(way)
            try:
                return await self.transmit(hop)
            except ConnectionDropped:
                # The server may close an idle connection at the moment we use it again: RFC 9112, 9.3.1 lets
                # an idempotent request go on to the next one. The last one is new, and its end is final.
                if not way.reused or hop.method not in IDEMPOTENT:
                    raise

    async def transmit(self, hop: Hop) -> Answer:
        spend = self.state.budget.spend
        spend("outgoing_bytes", len(hop.target.url) + _size(hop.headers) + len(hop.body))
        private = hop.identity is not None or _binds_connection(hop.headers)
        session = await session_for(self.settings, private=private)
        context = await client_context(self.settings, hop.identity) if hop.identity else True
        try:
            async with session.request(
                hop.method,
                URL(hop.target.url, encoded=True),
                headers=hop.headers,
                # A file is sent in pieces, between which the event loop goes on.
                data=(io.BytesIO(hop.body) if len(hop.body) > CHUNK else hop.body) or None,
                allow_redirects=False,
                ssl=context,
            ) as response:
                raw = response.raw_headers
                spend("outgoing_bytes", _size(raw))
                received = tuple([(name.decode("latin-1"), _text(value)) for name, value in raw])
                answer = Answer(response.status, received, b"")
                if self.follows and answer.status in REDIRECTS and answer.header("location"):
                    return answer
                return Answer(response.status, received, await self.read(response, answer))
        except (aiohttp.ClientError, OSError) as exc:
            raise _failure(hop.target, exc) from exc

    async def read(self, response: aiohttp.ClientResponse, answer: Answer) -> bytes:
        """The body, decompressed. Stops reading at the first byte too many."""
        self.check_media_type(answer.status, answer.header("content-type"))
        limit = self.settings.max_response_bytes
        has_body = response.method != "HEAD" and answer.status not in (204, 304)
        coding = ", ".join([value for name, value in answer.headers if name.lower() == "content-encoding"])
        decompressor = Decompressor(coding if has_body else "", limit)
        if has_body and (response.content_length or 0) > limit:
            raise self.too_large()
        parts = []
        received = 0
        content = response.content
        while not content.at_eof():
            chunk = await content.read(CHUNK)
            self.state.budget.spend("outgoing_bytes", len(chunk))
            parts.append(decompressor.feed(chunk))
            received += len(chunk)
            # What arrives is bounded too: compressed data can be endless and come to nothing.
            if decompressor.left < 0 or received > limit:
                raise self.too_large()
        decompressor.finish()
        return joined(parts)

    def check_media_type(self, status: int, content_type: str) -> None:
        found = media_type(content_type)
        if self.media_types and not any(fnmatch.fnmatchcase(found, pattern) for pattern in self.media_types):
            raise FFIError(
                f"mediaTypes: expected {' or '.join(self.media_types)}, found {found or 'none'} "
                f"in an answer of status {status}"
            )

    def too_large(self) -> FFIError:
        return FFIError(
            f"the answer has more than {self.settings.max_response_bytes} bytes; "
            "the setting http.max_response_bytes raises it"
        )


def retry_after(value: str) -> float:
    """Seconds that a `Retry-After` asks to wait, which is a number of them or a date; 0 for anything else."""
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) <= 10:
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, when.timestamp() - time.time())


def _size(headers: Any) -> int:
    """Bytes of a message's head, nearly: fields with their separators."""
    return sum([len(name) + len(value) + 4 for name, value in headers])


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _binds_connection(headers: Fields) -> bool:
    """Whether the server will take the connection itself as signed in, which another run must not inherit."""
    return any(
        name.lower() == "authorization" and value.lower().startswith(("ntlm", "negotiate"))
        for name, value in headers
    )


def _failure(target: Target, exc: Exception) -> FFIError:
    """A message in our own words: those of aiohttp may hold addresses, or the password of the proxy."""
    host = target.netloc
    match exc:
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return Unreachable(f"the proxy gave no connection to {host}")
        case aiohttp.ClientConnectorCertificateError():
            return FFIError(f"{host}: the TLS certificate is not valid: {_certificate_fault(exc)}")
        case aiohttp.ClientSSLError():
            return FFIError(f"{host}: the TLS handshake failed")
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Unreachable(f"{host}: cannot connect")
        case aiohttp.ClientPayloadError():
            return FFIError(f"{host}: the answer ends too early or is damaged")
        case aiohttp.ClientResponseError():
            return FFIError(f"{host}: the answer is not valid HTTP, or its headers are too large or too many")
        case _:
            return FFIError(f"{host}: the connection failed")


def _certificate_fault(exc: Any) -> str:
    return str(getattr(exc.certificate_error, "verify_message", "") or "it does not match")
