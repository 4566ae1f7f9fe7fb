"""Who may ask: the token, and without one only what is surely from this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from mix_server import auth
from mix_server.app import create_app
from mix_server.server import Server

from mixkit.errors import ProfileError

Make = Callable[..., Server]


def at(server: Server, address: str, headers: dict[str, str]) -> httpx.AsyncClient:
    """A client that reaches the server at that address of its machine."""
    transport = httpx.ASGITransport(create_app(server))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=f"http://{address}", headers=headers)


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1:8000", {}, 200),
        ("localhost:8000", {}, 200),
        ("[::1]:8000", {}, 200),
        ("127.0.0.1:8000", {"Host": "LOCALHOST:8000"}, 200),
        ("127.0.0.1:8000", {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ("192.0.2.1:8000", {}, 403),
        ("192.0.2.1:8000", {"Host": "localhost"}, 403),
        ("127.0.0.1:8000", {"Host": "rebound.example:8000"}, 403),
        ("127.0.0.1:8000", {"Host": "localhost.example"}, 403),
        ("127.0.0.1:8000", {"Host": "127.0.0.1.example"}, 403),
        ("127.0.0.1:8000", {"Host": ""}, 403),
        ("127.0.0.1:8000", {"Origin": "http://example.com"}, 403),
        ("127.0.0.1:8000", {"Origin": "http://127.0.0.1:9999"}, 403),
        ("127.0.0.1:8000", {"Origin": "null"}, 403),
        ("127.0.0.1:8000", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("127.0.0.1:8000", {"Sec-Fetch-Site": "same-site"}, 403),
        ("127.0.0.1:8000", {"X-Forwarded-For": "203.0.113.1"}, 403),
        ("127.0.0.1:8000", {"Forwarded": "for=203.0.113.1"}, 403),
        ("127.0.0.1:8000", {"X-Forwarded-Host": "x"}, 403),
        ("127.0.0.1:8000", {"x-forwarded-anything": ""}, 403),
        ("127.0.0.1:8000", {"Via": "1.1 proxy"}, 403),
        ("127.0.0.1:8000", {"X-Real-IP": "127.0.0.1"}, 403),
        ("127.0.0.1:8000", {"Host": "[::1]:8000"}, 200),
        ("127.0.0.1:8000", {"Host": "[::1].example"}, 400),
        ("127.0.0.1:8000", {"Host": "[::1]example:80"}, 400),
        ("127.0.0.1:8000", {"Host": "[::1"}, 400),
        ("127.0.0.1:8000", {"Host": "localhost:80:80"}, 400),
        ("127.0.0.1:8000", {"Host": "localhost:x.example"}, 400),
        ("127.0.0.1:8000", {"Host": "127.0.0.1 .example"}, 400),
        ("127.0.0.1:8000", {"Host": "user@localhost"}, 400),
    ],
)
async def test_without_authentication_only_this_machine(
    make_server: Make, address: str, headers: dict[str, str], status: int
) -> None:
    server = make_server(token=None, no_auth=True)
    async with at(server, address, headers) as client:
        answer = await client.get("/v1/ws")
        assert answer.status_code == status
        if status != 200:
            assert answer.json()["kind"] == "message"
            assert (await client.post("/v1/ws/w/app/demo/agent/echo", content=b"1")).status_code == status


async def test_without_authentication_agents_see_no_user(
    make_server: Make, connect: Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
) -> None:
    async with connect(make_server(token=None, no_auth=True), None) as client:
        assert "user" not in (await client.post("/v1/ws/w/app/demo/agent/env")).json()


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 15, "with a space 0123456789", "ünïcödé-0123456789", "a\n" * 20]
)
def test_weak_tokens_are_refused(token: str) -> None:
    with pytest.raises(ProfileError, match="characters") as caught:
        auth.OperatorToken(token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
        ("", False), ("example.com", False), ("127.0.0.1.example", False), ("0", False), ("2130706433", False),
    ],
)  # fmt: skip
def test_loopback(host: str, is_it: bool) -> None:
    assert auth.is_loopback(host) is is_it
