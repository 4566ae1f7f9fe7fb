"""Files over HTTP: who may read them, which part, and that they cannot act as pages of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from mix_server.app import create_app
from mix_server.server import Server

from mixkit.file_urls import signed_query
from mixkit.filesystem import PIECE, Files
from mixkit.testing.filesystem_suite import content

FILES = "/v1/ws/w/app/demo/files"
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
async def stranger(server: Server, connect: Connect) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(server, token=None) as client:
        yield client


async def test_a_file_as_it_was_stored(client: httpx.AsyncClient, files: Files) -> None:
    info = await files.put("/a/å b.txt", b"hello", content_type="text/plain; charset=utf-8")
    answer = await client.get(f"{FILES}/a/%C3%A5%20b.txt")
    assert (answer.status_code, answer.content) == (200, b"hello")
    headers = answer.headers
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["content-length"] == "5"
    assert headers["etag"] == f'"{info.etag}"'
    assert headers["accept-ranges"] == "bytes"
    assert headers["cache-control"] == "private, no-cache"
    assert headers["content-disposition"] == "inline; filename*=UTF-8''%C3%A5%20b.txt"
    head = await client.head(f"{FILES}/a/%C3%A5%20b.txt")
    assert (head.status_code, head.content) == (200, b"")
    same = (
        "content-type",
        "content-length",
        "etag",
        "content-disposition",
        "last-modified",
        "content-security-policy",
    )
    assert [head.headers[name] for name in same] == [headers[name] for name in same]


async def _asked(server: Server, path: str) -> tuple[int, bytes]:
    """What a stranger gets at a path as it is, since a client would resolve what the server is to refuse."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "root_path": "",
        "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "headers": [], "client": None,
        "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await create_app(server)(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def test_who_may_read(stranger: httpx.AsyncClient, server: Server, files: Files) -> None:
    for path in ("/public/a", "/a", "/publicity", "/ephemeral/a", "/Public/a"):
        await files.put(path, b"x")
    answer = await stranger.get(f"{FILES}/public/a")
    assert (answer.status_code, answer.content) == (200, b"x")
    assert answer.headers["cache-control"] == "public, no-cache"
    for path in (
        "/a", "/publicity", "/ephemeral/a", "/Public/a", "/none", "/public/../a", "/public/%2e%2e/a",
        "/public%2f..%2fa", "//public/a",
        "/public//../a", "/./public/a", "/public/./../a", "/x/../public/a", "/%70ublic/../a",
    ):  # fmt: skip
        status, body = await _asked(server, FILES + path)
        assert status in (400, 401), path
        assert body != b"x"
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        for path in ("/public/a", "/a"):
            answer = await stranger.request(method, FILES + path, content=b"y")
            assert answer.status_code in (401, 405), (method, path)
    assert (await files.stat("/a")).size == 1


async def test_what_is_not_there(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, files: Files
) -> None:
    await files.put("/a", b"x")
    bodies = set()
    for url in (f"{FILES}/b", f"{FILES}/a/b", "/v1/ws/w/app/none/files/a", "/v1/ws/none/app/demo/files/a"):
        answer = await client.get(url)
        assert answer.status_code == 404
        bodies.add(answer.text)
    for url in (
        f"{FILES}/public/b",
        "/v1/ws/w/app/none/files/public/b",
        "/v1/ws/none/app/demo/files/public/b",
    ):
        answer = await stranger.get(url)
        assert answer.status_code == 404
        bodies.add(answer.text)
    assert len(bodies) == 1
    for path in ("/a/", "/a%00", "/a%5Cb", "/a.", "/a//b", "/" + "a" * 300):
        answer = await client.get(FILES + path)
        assert answer.status_code == 400, path
        assert "path" in answer.json()["message"]


@pytest.mark.parametrize(
    "kind",
    [
        "text/html", "text/html; charset=utf-8", "TEXT/HTML", "image/svg+xml", "application/xhtml+xml", "text/xml",
        "application/pdf",
        "application/javascript", "text/css", "application/octet-stream", "text/x-html", "multipart/related",
        "message/rfc822",
    ],
)  # fmt: skip
async def test_what_could_hold_a_program_is_not_shown(
    stranger: httpx.AsyncClient, files: Files, kind: str
) -> None:
    await files.put('/public/a".html', b"<script>alert(1)</script>", content_type=kind)
    answer = await stranger.get(f"{FILES}/public/a%22.html")
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a%22.html"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "sandbox;" in policy
    assert "allow" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    ("header", "status", "expected", "part"),
    [
        ("bytes=0-3", 206, b"0123", "0-3/10"), ("bytes=4-", 206, b"456789", "4-9/10"),
        ("bytes=-3", 206, b"789", "7-9/10"),
        ("bytes=-99", 206, b"0123456789", "0-9/10"), ("bytes=8-99", 206, b"89", "8-9/10"),
        ("BYTES=9-9", 206, b"9", "9-9/10"),
        ("bytes=10-", 416, None, "*/10"), ("bytes=99-100", 416, None, "*/10"), ("bytes=-0", 416, None, "*/10"),
        ("bytes=3-1", 200, b"0123456789", None), ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
        ("bytes=", 200, b"0123456789", None), ("bytes=-", 200, b"0123456789", None),
        ("bytes=a-b", 200, b"0123456789", None),
        ("bytes=" + "9" * 40 + "-", 200, b"0123456789", None),
    ],
)  # fmt: skip
async def test_parts(
    client: httpx.AsyncClient,
    files: Files,
    header: str,
    status: int,
    expected: bytes | None,
    part: str | None,
) -> None:
    await files.put("/a", b"0123456789")
    answer = await client.get(f"{FILES}/a", headers={"Range": header})
    assert answer.status_code == status
    if expected is not None:
        assert answer.content == expected
        assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers.get("content-range") == (part and f"bytes {part}")
    head = await client.head(f"{FILES}/a", headers={"Range": header})
    assert (head.status_code, head.headers["content-length"]) == (200, "10")


async def test_conditions(client: httpx.AsyncClient, files: Files) -> None:
    await files.put("/a", b"0123456789")
    tag = (await client.get(f"{FILES}/a")).headers["etag"]
    when = (await client.get(f"{FILES}/a")).headers["last-modified"]
    old, later = "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    for headers, status in (
        ({"If-None-Match": tag}, 304), ({"If-None-Match": f"W/{tag}"}, 304), ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": f'"x", {tag}'}, 304), ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": "x"}, 412),
        ({"If-Match": tag}, 200), ({"If-Match": "*"}, 200), ({"If-Match": '"x"'}, 412), ({"If-Match": f"W/{tag}"}, 412),
        ({"If-Modified-Since": when}, 304), ({"If-Modified-Since": old}, 200), ({"If-Modified-Since": "x"}, 200),
        ({"If-Modified-Since": when, "If-None-Match": '"x"'}, 200), ({"If-Unmodified-Since": old}, 412),
        ({"If-Unmodified-Since": later}, 200), ({"If-Unmodified-Since": old, "If-Match": tag}, 200),
        ({"If-Range": tag, "Range": "bytes=0-1"}, 206), ({"If-Range": '"x"', "Range": "bytes=0-1"}, 200),
        ({"If-Range": f"W/{tag}", "Range": "bytes=0-1"}, 200), ({"If-Range": old, "Range": "bytes=0-1"}, 200),
        ({"If-Range": "x", "Range": "bytes=0-1"}, 200), ({"If-None-Match": tag, "Range": "bytes=0-1"}, 304),
    ):  # fmt: skip
        answer = await client.get(f"{FILES}/a", headers=headers)
        assert answer.status_code == status, headers
        if status == 304:
            assert answer.content == b""
            assert answer.headers["etag"] == tag
            assert "content-type" not in answer.headers
    await files.put("/a", b"other")
    assert (await client.get(f"{FILES}/a", headers={"If-None-Match": tag})).content == b"other"


async def test_long_files_come_in_pieces(client: httpx.AsyncClient, server: Server, files: Files) -> None:
    data = bytes(range(256)) * (5 * PIECE // 256) + b"end"
    await files.put("/a", data)
    answer = await client.get(f"{FILES}/a")
    assert answer.content == data
    assert answer.headers["content-length"] == str(len(data))
    answer = await client.get(f"{FILES}/a", headers={"Range": f"bytes=7-{4 * PIECE}"})
    assert answer.status_code == 206
    assert answer.content == data[7 : 4 * PIECE + 1]
    head = await client.head(f"{FILES}/a")
    assert head.headers["content-length"] == str(len(data))
    assert len(server.streams) == 0


async def test_a_file_that_stands_for_a_url_leads_nowhere(stranger: httpx.AsyncClient, files: Files) -> None:
    await files.put("/public/a", b"", metadata={"mixkit-url": "https://elsewhere.example.com/"})
    answer = await stranger.get(f"{FILES}/public/a")
    assert answer.status_code == 409
    assert "location" not in answer.headers
    assert (
        answer.json()["message"]
        == "the bytes of this file are not here; they are at https://elsewhere.example.com/"
    )


async def test_files_go_with_their_app(client: httpx.AsyncClient, files: Files) -> None:
    await files.put("/a", b"x")
    assert (await client.delete("/v1/ws/w/app/demo")).status_code == 204
    assert (await client.get(f"{FILES}/a")).status_code == 404
    assert (await client.put("/v1/ws/w/app/demo")).status_code == 201
    assert (await client.get(f"{FILES}/a")).status_code == 404


async def test_a_query_string_is_refused(client: httpx.AsyncClient, files: Files) -> None:
    await files.put("/a", b"x")
    answer = await client.get(f"{FILES}/a?download=1")
    assert answer.status_code == 400
    assert "'download'" in answer.json()["message"]


async def test_signed_urls(
    server: Server, stranger: httpx.AsyncClient, files: Files, monkeypatch: Any
) -> None:
    await files.put("/a", b"mine")
    await files.put("/b", b"other")
    workspace = server.store.workspace("w")
    server.kernel.keep_keys(server.store.root)
    query = signed_query(server.kernel.keyring, workspace.place("demo"), "/a", 60)
    url = f"{FILES}/a?{query}"
    answer = await stranger.get(url)
    assert (answer.status_code, answer.content) == (200, b"mine")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert (await stranger.get(url, headers={"Range": "bytes=1-2"})).content == b"in"
    assert (await stranger.head(url)).status_code == 200
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    workspace.create_app("other")
    await server.kernel.files.open(workspace.place("other")).put("/a", b"another's")
    for other in (
        url.replace("/a?", "/b?"), url.replace("/a?", "/none?"), url.replace("demo", "other"),
        url.replace("demo", "none"),
        url.replace("/w/", "/none/"), f"{FILES}/a?expires={int(expires) + 1}&signature={signature}",
        f"{FILES}/a?expires={expires}&signature={signature[:-3]}", f"{FILES}/a?expires={expires}&signature=",
        f"{FILES}/a?expires={expires}&signature=%C3%A5%C3%A5", f"{FILES}/a?expires=0&signature={signature}",
    ):  # fmt: skip
        answer = await stranger.get(other)
        assert answer.status_code == 403, other
        assert "ask for a new one" in answer.json()["message"]
    for other in (
        f"{FILES}/a?expires={expires}", f"{FILES}/a?signature={signature}",
        f"{FILES}/a?expires=x&signature={signature}",
        f"{FILES}/a?expires=-1&signature=x", f"{url}&more=1", f"{FILES}/a?expires={'9' * 400}&signature=x",
    ):  # fmt: skip
        assert (await stranger.get(other)).status_code == 400, other
    assert (await stranger.put(url, content=b"x")).status_code == 400
    # An app made anew under the name is another one.
    await asyncio.to_thread(workspace.delete_app, "demo")
    await asyncio.to_thread(workspace.create_app, "demo")
    await server.kernel.files.open(workspace.place("demo")).put("/a", b"new")
    assert (await stranger.get(url)).status_code == 403
    fresh = f"{FILES}/a?{signed_query(server.kernel.keyring, workspace.place('demo'), '/a', 60)}"
    assert (await stranger.get(fresh)).content == b"new"
    monkeypatch.setattr("mixkit.file_urls.time.time", lambda: float(expires) + 100)
    assert (await stranger.get(fresh)).status_code == 403


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 8 * 86_400])
def test_urls_are_not_signed_for_ever(server: Server, seconds: float) -> None:
    server.kernel.keep_keys(server.store.root)
    with pytest.raises(ValueError, match="at most 604800 seconds"):
        signed_query(server.kernel.keyring, server.store.workspace("w").place("demo"), "/a", seconds)


async def test_files_that_fail(client: httpx.AsyncClient, server: Server, files: Files, caplog: Any) -> None:
    await files.put("/a", b"x")
    home = server.store.workspace("w").place("demo").home
    await asyncio.to_thread((home / "files" / "names" / "a.f").write_bytes, b"nobody's")
    answer = await client.get(f"{FILES}/a")
    assert answer.status_code == 503
    assert "request id" in answer.json()["message"]
    assert str(home) not in answer.text
    assert any("expected a file of mixkit's" in record.message for record in caplog.records)


async def test_a_profile_without_files(make_server: Make, connect: Connect) -> None:
    server = make_server()
    server.kernel.filesystem = None
    async with connect(server) as client:
        assert (await client.get(f"{FILES}/a")).status_code == 404


async def test_a_package_brings_files(
    client: httpx.AsyncClient, make_package: Callable[..., bytes], files: Files
) -> None:
    await files.put("/public/b.txt", b"ours")
    for version, text in (("1.1.0", b"first"), ("1.2.0", b"newer")):
        package = make_package(version=version, files={"public/a.txt": text})
        answer = await client.post(
            "/v1/ws/w/install", content=package, headers={"Content-Type": "application/octet-stream"}
        )
        assert answer.status_code == 200, answer.text
        answer = await client.get(f"{FILES}/public/a.txt")
        assert (answer.content, answer.headers["content-type"]) == (text, "text/plain")
    assert [info.path for info in (await files.list()).files] == ["/public/a.txt", "/public/b.txt"]
    package = make_package(version="1.3.0", files={"public/a.txt": b"x", "public/b.": b"x"})
    answer = await client.post(
        "/v1/ws/w/install", content=package, headers={"Content-Type": "application/octet-stream"}
    )
    assert answer.status_code == 400
    assert "ends neither with a dot" in answer.json()["message"]
    assert await content(files, "/public/a.txt") == b"newer"
