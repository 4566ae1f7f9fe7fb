"""Requests of the server itself: what comes of peers that are slow, broken, large, or not to be reached."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from mixkit.egress import EgressPolicy
from mixkit.exchange import Unanswered, exchange
from mixkit.target import EgressDenied
from mixkit.testing.egress_matrix import NOT_PUBLIC

OPEN = EgressPolicy(("http", "https"), dangerous=True)
Peer = Callable[..., str]


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Answers each connection with those bytes, and keeps it for so long; the URL. `heads` has what came."""
    with contextlib.ExitStack() as stack:

        def make(
            answer: bytes, pause: float = 0.0, tls: ssl.SSLContext | None = None, heads: Any = None
        ) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        opened, _ = listening.accept()
                        threading.Thread(target=one, args=(opened,), daemon=True).start()

            def one(opened: socket.socket) -> None:
                with contextlib.suppress(OSError), opened:
                    if tls is None:
                        speak(opened)
                    else:
                        with tls.wrap_socket(opened, server_side=True) as spoken:
                            speak(spoken)

            def speak(opened: socket.socket) -> None:
                head = opened.recv(65_536)
                if b"Content-Length" in head and head.endswith(b"\r\n\r\n"):
                    head += opened.recv(65_536)
                if heads is not None:
                    heads.append(head)
                size = 1 if pause else 65_536
                for number in range(0, len(answer), size):
                    opened.sendall(answer[number : number + size])
                    time.sleep(pause)

            threading.Thread(target=serve, daemon=True).start()
            return f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}/a?b=c"

        yield make


async def test_a_request_and_its_answer(peer: Peer) -> None:
    heads: list[bytes] = []
    url = peer(b"HTTP/1.1 201 Made\r\nX-One: 1\r\nContent-Length: 2\r\n\r\nok", heads=heads)
    answer = await exchange("POST", url, OPEN, headers={"Accept": "text/plain"}, body=b"hello")
    assert (answer.status, answer.headers["x-one"], answer.body) == (201, "1", b"ok")
    assert heads[0].startswith(b"POST /a?b=c HTTP/1.1\r\n") and heads[0].endswith(b"\r\n\r\nhello")
    assert url.split("/")[2].encode() in heads[0]
    chunked = peer(
        b"HTTP/1.1 302 Found\r\nLocation: /b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    answer = await exchange("GET", chunked, OPEN)
    assert (answer.status, answer.headers["location"], answer.body) == (302, "/b", b"ok")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "not valid HTTP"),
        (b"SMTP 1\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "ends too early"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 3_000, "more than 2000 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "not valid HTTP"),
    ],
)
async def test_answers_that_are_none(peer: Peer, answer: bytes, expected: str) -> None:
    with pytest.raises(Unanswered, match=expected):
        await exchange("GET", peer(answer), OPEN, most=2_000)


async def test_a_peer_that_goes_on_and_on_is_left(peer: Peer) -> None:
    url = peer(b"HTTP/1.1 200 OK\r\n" + b"X-Slow: y\r\n" * 90, pause=0.05)
    before = time.monotonic()
    with pytest.raises(Unanswered, match="no complete answer"):
        await exchange("GET", url, OPEN, seconds=0.3)
    assert time.monotonic() - before < 20
    for _ in range(400):
        if not any(thread.name == "mixkit-exchange" for thread in threading.enumerate()):
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("the thread goes on")


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(Unanswered, match="cannot connect"):
        await exchange("GET", f"http://127.0.0.1:{port}/", OPEN)


async def test_certificates_are_verified(peer: Peer) -> None:
    authority, other = trustme.CA(), trustme.CA()
    served, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.configure_trust(trusting)
    url = peer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", tls=served)
    assert (await exchange("GET", url, OPEN, tls=trusting)).body == b"ok"
    with pytest.raises(Unanswered, match="certificate"):
        await exchange("GET", url, OPEN, tls=None)
    named = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(named)
    other.configure_trust(trusting)
    with pytest.raises(Unanswered, match="certificate"):
        await exchange("GET", peer(b"HTTP/1.1 200 OK\r\n\r\n", tls=named), OPEN, tls=trusting)


async def test_the_egress_check_goes_before() -> None:
    policy = EgressPolicy()
    addresses = [f"[{address}]" if ":" in address else address for address in NOT_PUBLIC]
    for host in addresses:
        with pytest.raises(EgressDenied):
            await exchange("GET", f"https://{host}/", policy)

    async def inside(name: str) -> list[str]:
        return ["1.1.1.1", "10.0.0.1"]

    with pytest.raises(EgressDenied):
        await exchange("GET", "https://rebinding.example/", policy, resolver=inside)
    with pytest.raises(EgressDenied, match="expected https"):
        await exchange("GET", "http://example.com/", policy)


async def test_the_address_that_was_checked_is_connected_to(peer: Peer) -> None:
    heads: list[bytes] = []
    url = peer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", heads=heads)
    port = int(url.split(":")[2].split("/")[0])
    asked: list[str] = []

    async def resolver(name: str) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    answer = await exchange("GET", f"http://idp.example:{port}/", OPEN, resolver=resolver)
    assert answer.status == 200 and asked == ["idp.example"]
    assert f"Host: idp.example:{port}\r\n".encode() in heads[0]
