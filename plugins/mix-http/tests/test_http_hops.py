"""Redirects, retries and connections: every hop is checked again, and credentials stay at home."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

import pytest
from mix_http.session import checked_socket

from mixkit.grants import Grants
from mixkit.target import EgressDenied
from mixkit.value import Token

SECRET = "s3cr3t"


# -- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "POST", "GET", b""),
        (303, "POST", "GET", b""),
        (303, "PUT", "GET", b""),
        (303, "HEAD", "HEAD", b"{}"),
        (301, "PUT", "PUT", b"{}"),
        (302, "DELETE", "DELETE", b"{}"),
        (307, "POST", "POST", b"{}"),
        (308, "POST", "POST", b"{}"),
    ],
)
async def test_methods_and_bodies_follow_as_in_browsers(
    server: Any, world: Any, status: int, method: str, then: str, body: bytes
) -> None:
    server.redirect("/a", "../b?x#y", status)
    server.reply("/b", "there" if method != "HEAD" else "")
    answer = await world.do({"url": server.url("/a"), "method": method, "json": {}})
    assert (answer["status"], answer["requested_url"]) == (200, server.url("/b?x"))
    seen = server.seen[1]
    assert (seen.method, seen.path, seen.body) == (then, "/b?x", body)
    assert ("content-type" in seen.headers) is bool(body)


@pytest.mark.parametrize("status", [300, 304, 305, 306])
async def test_other_statuses_are_answers(server: Any, world: Any, status: int) -> None:
    server.redirect("/a", "/b", status)
    assert (await world.do({"url": server.url("/a")}))["status"] == status


async def test_redirects_are_answers_when_not_followed_or_without_location(server: Any, world: Any) -> None:
    server.redirect("/a", "https://10.0.0.1/")
    answer = await world.do({"url": server.url("/a"), "followRedirects": False})
    assert (answer["status"], answer["headers"]["Location"]) == (302, "https://10.0.0.1/")
    server.reply("/a", "x", status=302)
    assert (await world.do({"url": server.url("/a")}))["body"] == "x"


@pytest.mark.parametrize("most", [0, 1, 3])
async def test_a_loop_ends(server: Any, world: Any, most: int) -> None:
    world.change(max_redirects=most)
    server.redirect("/a", "/a")
    assert f"more than {most} redirects" in await world.error({"url": server.url("/a")})
    assert len(server.seen) == most + 1


async def test_exactly_as_many_redirects_as_allowed(server: Any, world: Any) -> None:
    world.change(max_redirects=2)
    server.redirect("/a", "/b")
    server.redirect("/b", "/c")
    server.reply("/c", "there")
    assert (await world.do({"url": server.url("/a")}))["body"] == "there"


CREDENTIALS: list[dict[str, Any]] = [
    {"oauthToken": SECRET},
    {"oauthToken": Token(SECRET)},
    {"basicAuth": {"username": "me", "password": SECRET}},
    {"headers": {"authorization": SECRET}},
    {"headers": {"Cookie": SECRET}},
    {"headers": {"X-Api-Key": SECRET}},
    {"headers": {"X-Api-Key": Token(SECRET)}},
]


def leaks(seen: Any) -> bool:
    return any(name in seen.headers for name in ("authorization", "cookie", "x-api-key"))


@pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda c: next(iter(c)))
async def test_credentials_do_not_leave_their_origin(
    server: Any, world: Any, credential: dict[str, Any]
) -> None:
    server.redirect("/a", "/b", 307)
    server.redirect("/b", server.url("/c", "other.test"), 307)
    server.redirect("/c", server.url("/d", "server.test"), 307)
    server.reply("/d", "there")
    request = {"url": server.url("/a"), **credential}
    request["headers"] = {**request.get("headers", {}), "Accept-Language": "de"}
    assert (await world.do(request))["body"] == "there"
    assert [(seen.path, leaks(seen)) for seen in server.seen] == [
        ("/a", True),
        ("/b", True),
        ("/c", False),
        ("/d", False),  # back at home, but the way there was somebody else's choice
    ]
    assert all(seen.headers["accept-language"] == "de" for seen in server.seen)


async def test_another_port_is_another_origin(server: Any, world: Any) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    world.authority.issue_cert("server.test").configure_cert(context)
    other = type(server)()
    listener = await other.start(context)
    try:
        world.change(allow_private=("127.0.0.1",))
        server.redirect("/a", other.url("/b"))
        other.reply("/b", "there")
        assert (await world.do({"url": server.url("/a"), "oauthToken": SECRET}))["body"] == "there"
        assert leaks(server.seen[0]) and not leaks(other.seen[0])
    finally:
        await other.stop(listener)


async def test_a_client_certificate_stays_at_home(server: Any, world: Any) -> None:
    server.redirect("/a", "/b")
    server.redirect("/b", server.url("/c", "other.test"))
    server.reply("/c")
    leaf = world.authority.issue_cert("me.test")
    identity = {
        "key": leaf.private_key_pem.bytes().decode(),
        "certificate": leaf.cert_chain_pems[0].bytes().decode(),
    }
    await world.do({"url": server.url("/a"), "clientTLS": identity})
    assert [seen.certificate is not None for seen in server.seen] == [True, True, False]


async def test_a_redirect_is_held_to_the_grants(server: Any, world: Any) -> None:
    server.redirect("/a", server.url("/b", "other.test"))
    grants = Grants(("*",), {"http.hosts": ["server.test"]})
    assert "granted hosts" in await world.error({"url": server.url("/a")}, grants=grants)
    assert len(server.seen) == 1


async def test_an_interceptor_sees_each_hop(server: Any, world: Any) -> None:
    server.redirect("/a", "https://inside.test/agent")
    world.intercept = lambda request: (
        request.answer(200, body=b"inside") if request.target.host == "inside.test" else None
    )
    answer = await world.do({"url": server.url("/a")})
    assert (answer["body"], answer["requested_url"]) == ("inside", "https://inside.test/agent")


async def test_an_unreadable_location_does_not_crash(server: Any, world: Any) -> None:
    server.replies["/a"] = b"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: /b\xff\xe4 c\r\n\r\n"
    server.reply("/b%C3%BF%C3%A4%20c", "there")
    assert (await world.do({"url": server.url("/a")}))["body"] == "there"


# -- pinning --------------------------------------------------------------------------------------


async def test_the_checked_address_is_the_one_connected_to(server: Any, world: Any, monkeypatch: Any) -> None:
    """A name that lies at the second question: there is no second question."""
    world.names["rebind.test"] = [["127.0.0.1"], ["10.0.0.1"]]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *a, **k: pytest.fail("resolved behind the check's back")
    )
    server.replies["/a"] = b"HTTP/1.1 200 OK\r\n\r\nx"
    assert (await world.do({"url": server.url("/a", "rebind.test")}))["body"] == "x"
    assert world.asked == ["rebind.test"]
    assert "private" in await world.error({"url": server.url("/a", "rebind.test")})
    assert world.asked == ["rebind.test", "rebind.test"] and len(server.seen) == 1


async def test_a_redirect_to_a_name_that_was_public_before(server: Any, world: Any) -> None:
    world.names["rebind.test"] = [["127.0.0.1"], ["169.254.169.254"]]
    server.replies["/a"] = (
        f"HTTP/1.1 302 X\r\nLocation: {server.url('/b', 'rebind.test')}\r\nConnection: close\r\n\r\n".encode()
    )
    assert "metadata" in await world.error({"url": server.url("/a", "rebind.test")})
    assert len(server.seen) == 1


def test_the_last_gate_refuses_whatever_got_so_far(world: Any) -> None:
    policy = world.settings.policy()
    for address, family in (("127.0.0.1", socket.AF_INET), ("::ffff:127.0.0.1", socket.AF_INET6)):
        with pytest.raises(EgressDenied):
            checked_socket(policy, (family, socket.SOCK_STREAM, 0, "", (address, 1)))
    [allowed] = policy.allow
    assert allowed.covers(ipaddress.ip_address("127.0.0.1"), allowed.port or 0)
    checked_socket(policy, (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", allowed.port))).close()


async def test_dangerous_mode_speaks_plain_http_inside_but_never_after_https(server: Any, world: Any) -> None:
    world.change(dangerous_http_mode=True, allow_private=())
    plain = type(server)()
    listener = await plain.start(None)
    try:
        plain.reply("/a", "plain")
        url = f"http://127.0.0.1:{plain.port}/a"
        assert (await world.do({"url": url}))["body"] == "plain"
        server.redirect("/a", url)
        assert "from https to http" in await world.error({"url": server.url("/a")})
        plain.redirect("/b", server.url("/c"))
        server.reply("/c", "safe")
        assert (await world.do({"url": f"http://127.0.0.1:{plain.port}/b"}))["body"] == "safe"
    finally:
        await plain.stop(listener)


async def test_nothing_in_the_environment_changes_the_way(
    server: Any, world: Any, monkeypatch: Any, tmp_path: Any
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine server.test login me password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.reply("/a", "direct")
    assert (await world.do({"url": server.url("/a")}))["body"] == "direct"
    assert "authorization" not in server.seen[0].headers


# -- proxy ----------------------------------------------------------------------------------------


class Proxy:
    """A small CONNECT proxy that notes what it is asked, and leads everything to one port."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.asked: list[tuple[str, str]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        auth = next((line for line in head.split("\r\n") if line.startswith("Proxy-Authorization")), "")
        self.asked.append((head.split("\r\n")[0], auth))
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.target)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        self.tasks += [
            asyncio.create_task(self.pump(reader, inner_writer)),
            asyncio.create_task(self.pump(inner_reader, writer)),
        ]

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.transport.abort()


async def test_a_proxy_gets_checked_targets_only(server: Any, world: Any) -> None:
    proxy = Proxy(server.port)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        world.names |= {"proxy.test": [["127.0.0.1"]], "private.test": [["10.0.0.1"]]}
        world.change(proxy=f"http://me:{SECRET}@proxy.test:{port}")
        server.reply("/a", "through")
        assert (await world.do({"url": server.url("/a")}))["body"] == "through"
        [(line, auth)] = proxy.asked
        assert line == f"CONNECT server.test:{server.port} HTTP/1.1"
        assert auth.startswith("Proxy-Authorization: Basic ")
        for url in (
            "https://private.test/",
            "https://10.0.0.1/",
            "https://127.1/",
            "https://169.254.169.254/",
        ):
            assert "refused" in await world.error({"url": url})
        server.redirect("/a", "https://private.test/")
        assert "refused" in await world.error({"url": server.url("/a")})
        assert len(proxy.asked) == 1
        world.change(proxy=f"http://me:{SECRET}@proxy.test:1")
        error = await world.error({"url": server.url("/a")})
        assert "the proxy gave no connection" in error and SECRET not in error
    finally:
        listener.close()
        for task in proxy.tasks:
            task.cancel()
        await asyncio.gather(*proxy.tasks, return_exceptions=True)


# -- retries --------------------------------------------------------------------------------------


def failing(server: Any, times: int, *, hang_up: bool) -> None:
    """The first `times` requests to /a fail, by a dropped connection or a 503."""
    count = 0

    async def reply(seen: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count <= times and hang_up:
            return
        status = b"503 Busy" if count <= times else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
        await writer.drain()

    server.replies["/a"] = reply


@pytest.mark.parametrize("hang_up", [True, False])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_one_call_is_one_request_unless_asked(
    server: Any, world: Any, method: str, hang_up: bool
) -> None:
    failing(server, 1, hang_up=hang_up)
    answer = await world.do({"url": server.url("/a"), "method": method})
    assert answer.get("status") == (None if hang_up else 503)
    assert len(server.seen) == 1
    failing(server, 1, hang_up=hang_up)
    answer = await world.do({"url": server.url("/a"), "method": method, "retry": 1, "body": "x"})
    assert answer["status"] == 200
    assert [seen.body for seen in server.seen[1:]] == [b"x", b"x"]


async def test_retries_end(server: Any, world: Any) -> None:
    failing(server, 9, hang_up=True)
    assert "closed the connection" in await world.error({"url": server.url("/a"), "retry": 2})
    assert len(server.seen) == 3


async def test_a_stale_connection_is_left_for_a_new_one(server: Any, world: Any) -> None:
    """A server that hangs up after an answer without saying so."""

    async def reply(seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        await writer.drain()

    server.replies["/a"] = reply
    for _ in range(5):
        assert (await world.do({"url": server.url("/a")}))["body"] == "x"
    assert len(server.seen) == 5
