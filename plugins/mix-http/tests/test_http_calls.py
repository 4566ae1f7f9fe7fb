"""What an agent sends and what it gets, over real TLS."""

from __future__ import annotations

import base64
import datetime
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from mixkit.errors import FFIError, GrantError, LimitExceeded
from mixkit.grants import Grants
from mixkit.limits import Limits
from mixkit.value import Case, Ref, Token

SECRET = "s3cr3t"
FORM = "application/x-www-form-urlencoded"


async def test_an_answer(server: Any, world: Any) -> None:
    server.reply("/a", "hällo", Content_Type="text/plain; charset=utf-8", x_one_TWO="3")
    assert await world.do({"url": server.url("/a?b=c#d")}) == {
        "status": 200,
        "body": "hällo",
        "headers": {
            "Content-Length": "6",
            "Content-Type": "text/plain; charset=utf-8",
            "X-One-Two": "3",
        },
        "requested_url": server.url("/a?b=c"),
    }
    [seen] = server.seen
    assert (seen.method, seen.path, seen.body, seen.host) == (
        "GET",
        "/a?b=c",
        b"",
        f"server.test:{server.port}",
    )
    assert seen.headers["user-agent"] == "mixkit"
    assert seen.headers["accept-encoding"] == "gzip, deflate"
    assert "content-type" not in seen.headers


async def test_an_error_of_the_server_is_an_answer(server: Any, world: Any) -> None:
    server.reply("/a", "no", status=500)
    answer = await world.do({"url": server.url("/a")})
    assert (answer["status"], answer["body"]) == (500, "no")


async def test_do_server_answers_a_result(server: Any, world: Any) -> None:
    server.reply("/a", "x")
    answer = await world.do({"url": server.url("/a")}, name="$http_do_server")
    assert answer.name == "ok" and answer.arg["status"] == 200
    answer = await world.do({"url": "http://server.test/"}, name="$http_do_server")
    assert answer.name == "error" and "expected https" in answer.arg


@pytest.mark.parametrize(
    ("fields", "body", "content_type"),
    [
        ({"body": "ä"}, "ä".encode(), "text/plain; charset=utf-8"),
        ({"body": b"\x00\xff"}, b"\x00\xff", "application/octet-stream"),
        ({"body": "<a/>", "headers": {"content-type": "text/xml"}}, b"<a/>", "text/xml"),
        ({"form": {"a": "1&2", "b": [True, 3], "c": 1.5}}, b"a=1%262&b=true&b=3&c=1.5", FORM),
        ({"json": {"a": [1, None, "ä"]}}, '{"a": [1, null, "ä"]}'.encode(), "application/json"),
        ({"json": None}, b"null", "application/json"),
        ({"body": b"ab" * 1_000_000}, b"ab" * 1_000_000, "application/octet-stream"),
    ],
)  # fmt: skip
async def test_bodies(
    server: Any, world: Any, fields: dict[str, Any], body: bytes, content_type: str
) -> None:
    server.reply("/a")
    assert (await world.do({"url": server.url("/a"), "method": "post", **fields}))["status"] == 200
    [seen] = server.seen
    assert (seen.method, seen.body, seen.headers["content-type"]) == ("POST", body, content_type)
    assert seen.headers["content-length"] == str(len(body))


async def test_params_join_the_query(server: Any, world: Any) -> None:
    server.reply("/a")
    await world.do({"url": server.url("/a?x=%2f"), "params": {"n": [1, 2], "on": True, "q": "a b&c"}})
    assert server.seen[0].path == "/a?x=%2f&n=1&n=2&on=true&q=a+b%26c"


@pytest.mark.parametrize("secret", [SECRET, Token(SECRET)], ids=["string", "token"])
async def test_credentials(server: Any, world: Any, secret: Any) -> None:
    server.reply("/a")
    basic = base64.b64encode(f"me:{SECRET}".encode()).decode()
    for fields, header, sent in (
        ({"basicAuth": {"username": "me", "password": secret}}, "authorization", f"Basic {basic}"),
        ({"oauthToken": secret}, "authorization", f"Bearer {SECRET}"),
        ({"headers": {"X-Api-Key": secret}}, "x-api-key", SECRET),
    ):
        await world.do({"url": server.url("/a"), **fields})
        assert server.seen[-1].headers[header] == sent


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"body": "a", "json": 1}, "at most one of body"),
        ({"form": {}, "json": None}, "at most one of body"),
        ({"json": {"a": b"x"}}, "JSON has no binary"),
        ({"json": [Ref("x")]}, "JSON has no ref"),
        ({"json": Case("some", 1)}, "JSON has no case"),
        ({"json": Token(SECRET)}, "JSON has no token"),
        ({"json": float("nan")}, "NaN"),
        ({"method": "CONNECT"}, "but CONNECT"),
        ({"method": "trace"}, "but CONNECT"),
        ({"method": "GET / HTTP/1.1\r\nX: y"}, "expected an HTTP method"),
        ({"method": ""}, "expected an HTTP method"),
        (
            {"oauthToken": "a", "basicAuth": {"username": "a", "password": "b"}},
            "at most one of an Authorization",
        ),
        ({"oauthToken": "a", "headers": {"AUTHORIZATION": "b"}}, "at most one of an Authorization"),
        ({"oauthToken": f"{SECRET}\r\nX: y"}, "line breaks"),
        ({"oauthToken": Token(b"\xff" + SECRET.encode())}, "must hold text"),
        ({"basicAuth": {"username": "a:b", "password": SECRET}}, "colon"),
        ({"timeout": 0}, "seconds above 0"),
        ({"timeout": float("nan")}, "seconds above 0"),
        ({"retry": 1, "method": "POST"}, "may be repeated"),
        ({"retry": 99}, "0 to 3"),
        ({"retry": -1}, "0 to 3"),
        ({"mediaTypes": ["image"]}, "expected media types"),
        ({"clientTLS": {"key": SECRET, "certificate": "y"}}, "unencrypted PEM"),
        ({"params": {"a": "x" * 40_000}}, "characters"),
        ({"body": b"x" * 2000}, "http.max_request_bytes"),
    ],
)
async def test_requests_that_are_refused(
    server: Any, world: Any, fields: dict[str, Any], message: str
) -> None:
    world.change(max_request_bytes=1000)
    error = await world.error({"url": server.url("/a"), **fields})
    assert message in error and SECRET not in error
    assert server.seen == []


@pytest.mark.parametrize(
    "request_map", [{}, {"url": 1}, {"url": "https://a.test/", "uri": 1}, {"url": "x", "headers": {"a": 1}}]
)
async def test_a_request_of_another_shape_names_the_argument(world: Any, request_map: dict[str, Any]) -> None:
    with pytest.raises(FFIError, match=r"\$http_do: argument 1 \(request\)"):
        await world.do(request_map)


@pytest.mark.parametrize(
    "name",
    ["Host", "Content-Length", "transfer-encoding", "CONNECTION", "Keep-Alive", "Upgrade", "TE", "Trailer",
     "Proxy-Authorization", "Proxy-Connection", "Expect", "X Y", "X:", "X\r\nHost", "", "Hö", "X\x00"],
)  # fmt: skip
async def test_headers_that_an_agent_may_not_set(server: Any, world: Any, name: str) -> None:
    assert "headers: " in await world.error({"url": server.url("/a"), "headers": {name: "x"}})
    assert server.seen == []


@pytest.mark.parametrize(
    "value", ["a\r\nHost: evil", "a\nb", "a\rb", "a\x00b", "a\x0bb", "\x7f", ["ok", "a\r\n\r\nGET /"]]
)
async def test_header_injection(server: Any, world: Any, value: Any) -> None:
    assert "control characters" in await world.error({"url": server.url("/a"), "headers": {"X-A": value}})
    assert server.seen == []


async def test_too_many_headers(server: Any, world: Any) -> None:
    headers = {f"x-{number}": "v" for number in range(101)}
    assert "at most 100 fields" in await world.error({"url": server.url("/a"), "headers": headers})
    assert "at most 100 fields" in await world.error({"url": server.url("/a"), "headers": {"x": ["v"] * 101}})
    assert "at most 32768 characters" in await world.error(
        {"url": server.url("/a"), "headers": {"x": "v" * 40_000}}
    )


@pytest.mark.parametrize("part", ["form", "params"])
async def test_too_many_or_too_long_fields(server: Any, world: Any, part: str) -> None:
    many = {f"x{number}": "v" for number in range(1_001)}
    for fields in (many, {"x": [True] * 1_001}, {f"x{number}": [] for number in range(1_001)}):
        error = await world.error({"url": server.url("/a"), "method": "POST", part: fields})
        assert f"{part}: expected at most 1000 fields, found 1001" in error
    long = {"x": "v" * 1_050_000}
    assert "characters, found 1050001" in await world.error(
        {"url": server.url("/a"), "method": "POST", part: long}
    )
    assert server.seen == []


async def test_repeated_headers_both_ways(server: Any, world: Any) -> None:
    server.replies["/a"] = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Expires=Wed, 1 Jan\r\nx-b: 1\r\nset-cookie: c=2\r\nX-B: 2\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    answer = await world.do({"url": server.url("/a"), "headers": {"X-Many": ["1", "2"]}})
    assert answer["headers"]["Set-Cookie"] == "a=1; Expires=Wed, 1 Jan\nc=2"
    assert answer["headers"]["X-B"] == "1, 2"
    assert server.seen[0].headers["x-many"] == "2"


async def test_cookies_are_not_kept_between_calls(server: Any, world: Any) -> None:
    server.reply("/a", Set_Cookie="session=1")
    for _ in range(2):
        await world.do({"url": server.url("/a")})
    assert "cookie" not in server.seen[1].headers


async def test_connections_are_shared_between_runs(server: Any, world: Any) -> None:
    server.reply("/a", "x")
    for _ in range(3):
        await world.do({"url": server.url("/a")})
    assert [seen.connection for seen in server.seen] == [1, 1, 1]
    assert world.asked == ["server.test"]


@pytest.mark.parametrize("scheme", ["NTLM", "negotiate"])
async def test_a_connection_that_signs_in_is_not_shared(server: Any, world: Any, scheme: str) -> None:
    server.reply("/a")
    await world.do({"url": server.url("/a"), "headers": {"Authorization": f"{scheme} abc"}})
    await world.do({"url": server.url("/a")})
    assert [seen.connection for seen in server.seen] == [1, 2]


async def test_kept_connections_are_bounded(server: Any, world: Any) -> None:
    """An agent that visits a new host with each call must not use up the file descriptors of the process."""
    server.stubborn = True
    server.reply("/a", "x")
    world.change(connections=3)
    for number in range(8):
        host = f"h{number}.many.test"
        world.names[host] = [["127.0.0.1"]]
        assert (await world.do({"url": server.url("/a", host)}))["body"] == "x"
    assert server.connections == 8
    assert await server.open() == 3


async def test_private_connections_are_closed_by_us(server: Any, world: Any) -> None:
    """A server that keeps them open must not make an agent's calls pile up connections and contexts."""
    server.stubborn = True
    server.reply("/a")
    for _ in range(3):
        await world.do({"url": server.url("/a"), "headers": {"Authorization": "NTLM abc"}})
    assert server.connections == 3
    assert await server.open() == 0


async def test_a_client_certificate_is_shown_once_and_not_shared(server: Any, world: Any) -> None:
    server.reply("/a")
    leaf = world.authority.issue_cert("me.test")
    pem = leaf.private_key_pem.bytes().decode()
    certificate = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
    for key in (pem, Token(pem)):
        request = {"url": server.url("/a"), "clientTLS": {"key": key, "certificate": certificate}}
        assert (await world.do(request))["status"] == 200
        assert ("DNS", "me.test") in server.seen[-1].certificate["subjectAltName"]
    await world.do({"url": server.url("/a")})
    assert server.seen[-1].certificate is None
    assert [seen.connection for seen in server.seen] == [1, 2, 3]


async def test_an_encrypted_key_asks_nobody_for_its_password(server: Any, world: Any) -> None:
    from cryptography.hazmat.primitives import serialization

    leaf = world.authority.issue_cert("me.test")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    identity = {"key": key.decode(), "certificate": leaf.cert_chain_pems[0].bytes().decode()}
    assert "unencrypted PEM" in await world.error({"url": server.url("/a"), "clientTLS": identity})


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain; charset=utf-8", "ä€".encode(), "ä€"),
        ("text/plain", "ä€".encode(), "ä€"),
        ("", b"\xef\xbb\xbfx", "x"),
        ("text/plain", b"a\xe4b", "a\ufffdb"),
        ("text/plain; charset=latin1", b"\x80\xe4", "€ä"),
        ("text/plain; charset=gb2312", "朱镕基".encode("gbk"), "朱镕基"),
        ("text/plain; charset=gb2312", "𠀀".encode("gb18030"), "𠀀"),
        ("text/plain; charset=utf-16", b"\xef\xbb\xbf\xc3\xa4", "ä"),
        ("text/plain; charset=iso-2022-kr", "ä".encode(), "ä"),
        ('text/html; a=b; Charset="windows-1252"', b"\x80", "€"),
        ("text/plain; charset=shift_jis", "日本".encode("shift_jis"), "日本"),
        ("text/plain; charset=utf-16", "日本".encode("utf-16"), "日本"),
        ("text/plain; charset=gb18030", "日本".encode("gb18030"), "日本"),
        ("text/plain; charset=utf-8", "Füße".encode() + b"\xff" + "ü".encode(), "Füße\ufffdü"),
        ("text/plain; charset=ascii", b"\xe4", "ä"),
        ("text/plain; charset=nonsense", "ä".encode(), "ä"),
        ("text/plain; charset=idna", b"xn--mnchen-3ya", "xn--mnchen-3ya"),
        ("text/plain; charset=unicode_escape", b"\\u0041", "\\u0041"),
        ("text/plain; charset=rot13", b"abc", "abc"),
        ("text/plain; charset=utf-7", b"+AGE-", "+AGE-"),
        ("text/plain; charset=../x", b"abc", "abc"),
    ],
)
async def test_text(server: Any, world: Any, content_type: str, body: bytes, text: str) -> None:
    server.reply("/a", body, Content_Type=content_type)
    assert (await world.do({"url": server.url("/a")}))["body"] == text
    answer = await world.do({"url": server.url("/a"), "returnBinaryResponseBody": True})
    assert answer["body"] == body


@pytest.mark.parametrize(
    ("allowed", "found", "passes"),
    [
        (["image/*"], "image/png", True),
        (["text/html", "Image/PNG"], "IMAGE/png; q=1", True),
        (["*/*"], "image/png", True),
        (["image/*"], "text/html", False),
        (["image/png"], "image/pngx", False),
        (["image/*"], "", False),
    ],
)
async def test_media_types(server: Any, world: Any, allowed: list[str], found: str, passes: bool) -> None:
    server.reply("/a", "x", Content_Type=found)
    answer = await world.do({"url": server.url("/a"), "mediaTypes": allowed})
    assert ("status" in answer) is passes
    if not passes:
        assert "mediaTypes: expected" in answer["error"] and "status 200" in answer["error"]
    assert server.seen[0].headers["accept"] == ", ".join(allowed).lower()


async def test_head_and_empty_answers(server: Any, world: Any) -> None:
    server.replies["/a"] = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Encoding: gzip\r\n\r\n"
    server.replies["/b"] = b"HTTP/1.1 204 No Content\r\nX: content-length\r\n\r\n"
    assert (await world.do({"url": server.url("/a"), "method": "HEAD"}))["body"] == ""
    assert (await world.do({"url": server.url("/b")}))["body"] == ""


# -- interceptors ---------------------------------------------------------------------------------


async def test_an_interceptor_answers_before_anything_leaves_the_process(server: Any, world: Any) -> None:
    asked = []

    def intercept(request: Any) -> Any:
        asked.append(request)
        return (
            request.answer(201, {"content-type": "text/plain"}, b"inside")
            if request.target.port == 1
            else None
        )

    world.intercept = intercept
    answer = await world.do(
        {"url": "http://127.0.0.1:1/agents/x", "method": "PUT", "json": 1, "oauthToken": SECRET}
    )
    assert answer == {
        "status": 201,
        "body": "inside",
        "headers": {"Content-Type": "text/plain"},
        "requested_url": "http://127.0.0.1:1/agents/x",
    }
    [request] = asked
    assert (request.method, request.url, request.body) == ("PUT", "http://127.0.0.1:1/agents/x", b"1")
    assert ("Authorization", f"Bearer {SECRET}") in request.headers
    assert SECRET not in repr(request)
    assert request.state is world.state
    server.reply("/a", "outside")
    assert (await world.do({"url": server.url("/a")}))["body"] == "outside"
    assert world.asked == ["server.test"]


async def test_interceptors_see_only_what_grants_allow_and_answer_within_bounds(world: Any) -> None:
    world.change(max_response_bytes=10)
    world.intercept = lambda request: request.answer(200, body=b"x" * 11)
    assert "max_response_bytes" in await world.error({"url": "https://inside.test/"})
    world.intercept = lambda request: request.answer(200, {"Content-Type": "text/html"})
    assert "mediaTypes" in await world.error({"url": "https://inside.test/", "mediaTypes": ["image/*"]})
    world.intercept = lambda request: pytest.fail("asked for a host that is not granted")
    grants = Grants(("*",), {"http.hosts": ["other.test"]})
    assert "granted hosts" in await world.error({"url": "https://inside.test/"}, grants=grants)


# -- grants, limits --------------------------------------------------------------------------------


async def test_every_layer_of_hosts_is_enforced(server: Any, world: Any) -> None:
    server.reply("/a")
    grants = Grants(("*",), {"http.hosts": ["*.test"]}) & Grants(("*",), {"http.hosts": ["server.test"]})
    assert (await world.do({"url": server.url("/a")}, grants=grants))["status"] == 200
    assert "granted hosts" in await world.error({"url": server.url("/a", "other.test")}, grants=grants)
    assert world.asked == ["server.test"]


async def test_a_grant_that_cannot_be_enforced_ends_the_run(world: Any) -> None:
    with pytest.raises(GrantError, match=r"http\.hosts"):
        await world.do({"url": "https://server.test/"}, grants=Grants(("*",), {"http.hosts": "server.test"}))
    with pytest.raises(GrantError, match="not granted"):
        await world.do({"url": "https://server.test/"}, grants=Grants(("$core_*",)))


async def test_bytes_both_ways_count(server: Any, world: Any) -> None:
    server.reply("/a", b"y" * 5000)
    await world.do({"url": server.url("/a"), "method": "POST", "body": "x" * 3000})
    assert 8000 < world.state.budget.spent("outgoing_bytes") < 9000
    for limits in (Limits(outgoing_bytes=2000), Limits(outgoing_bytes=6000)):
        with pytest.raises(LimitExceeded, match="outgoing_bytes"):
            await world.do({"url": server.url("/a"), "method": "POST", "body": "x" * 3000}, limits=limits)
    assert len(server.seen) == 2, "a request that the budget does not cover is not sent"


# -- trust ------------------------------------------------------------------------------------------


@pytest.fixture
async def strange(server: Any, request: pytest.FixtureRequest, authority: trustme.CA) -> AsyncIterator[Any]:
    """A server whose certificate is of another authority, for another name, or expired."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    match request.param:
        case "stranger":
            trustme.CA().issue_cert("server.test").configure_cert(context)
        case "name":
            authority.issue_cert("somebody.test").configure_cert(context)
        case "expired":
            authority.issue_cert("server.test", not_after=past, not_before=past).configure_cert(context)
        case _:
            authority.issue_cert("server.test").configure_cert(context)
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    other = type(server)()
    listener = await other.start(None if request.param == "plain" else context)
    yield other
    await other.stop(listener)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize("strange", ["stranger", "name", "expired", "old", "plain"], indirect=True)
async def test_only_a_trusted_server_gets_the_request(strange: Any, world: Any) -> None:
    world.change(allow_private=("127.0.0.1",), connect_timeout=1)
    strange.reply("/a", "x")
    error = await world.error({"url": strange.url("/a"), "oauthToken": SECRET})
    assert "TLS" in error or "cannot connect" in error
    assert strange.seen == []
