"""Managing files over HTTP: stored whole or not at all, replaced only where that is meant, and by whom."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import msgspec
import pytest
from mix_server.server import Server

from mixkit.filesystem import PIECE, Files

APP = "/v1/ws/w/app/demo"
FILES = f"{APP}/file-manager"
CONTENT = f"{FILES}/content"
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


def of(path: str, **more: str) -> dict[str, str]:
    return {"path": path, **more}


async def test_a_file_from_its_beginning_to_its_end(client: httpx.AsyncClient, files: Files) -> None:
    text = {"Content-Type": "text/plain; charset=utf-8"}
    made = await client.put(CONTENT, params=of("/a/b.txt"), content=b"one", headers=text)
    assert (made.status_code, made.headers["location"]) == (201, f"{APP}/files/a/b.txt")
    value = made.json()
    assert (value["app"], value["path"], value["metadata"]["size"]) == ("demo", "/a/b.txt", 3)
    read = await client.get(CONTENT, params=of("/a/b.txt"))
    assert (read.content, read.headers["content-type"]) == (b"one", text["Content-Type"])
    part = await client.get(CONTENT, params=of("/a/b.txt"), headers={"Range": "bytes=1-"})
    assert (part.status_code, part.content) == (206, b"ne")

    said = {"properties": {"who": "Ann", "why": "so"}, "contentType": "text/csv"}
    changed = (await client.patch(f"{FILES}/props", params=of("/a/b.txt"), json=said)).json()
    assert changed["metadata"]["properties"] == {"who": "Ann", "why": "so"}
    gone = {"properties": {"why": None}}
    changed = (await client.patch(f"{FILES}/props", params=of("/a/b.txt"), json=gone)).json()
    assert (await client.get(f"{FILES}/props", params=of("/a/b.txt"))).json() == changed
    assert changed["metadata"]["properties"] == {"who": "Ann"}
    assert changed["metadata"]["contentType"] == "text/csv"

    copied = await client.post(f"{FILES}/copy", json={"source": "/a/b.txt", "target": "/c.csv"})
    assert (copied.status_code, copied.json()["metadata"]["properties"]) == (201, {"who": "Ann"})
    moved = await client.patch(f"{FILES}/props", params=of("/c.csv"), json={"path": "/d.csv"})
    assert (moved.status_code, moved.json()["path"]) == (200, "/d.csv")
    assert [each["path"] for each in (await client.get(FILES)).json()["files"]] == ["/a/b.txt", "/d.csv"]
    page = (await client.get(FILES, params={"limit": "1"})).json()
    assert [each["path"] for each in page["files"]] == ["/a/b.txt"]
    page = (await client.get(FILES, params={"after": page["after"]})).json()
    assert ([each["path"] for each in page["files"]], page["after"]) == (["/d.csv"], None)
    assert [each["path"] for each in (await client.get(f"{FILES}?folder=/a")).json()["files"]] == ["/a/b.txt"]

    for path in ("/a/b.txt", "/d.csv"):
        assert (await client.delete(CONTENT, params=of(path))).status_code == 204
        assert (await client.delete(CONTENT, params=of(path))).status_code == 404
    assert (await files.usage()).files == 0


async def test_a_file_is_replaced_only_where_that_is_meant(client: httpx.AsyncClient, files: Files) -> None:
    for path in ("/a", "/b"):
        assert (await client.put(CONTENT, params=of(path), content=b"old")).status_code == 201
    refused = [
        await client.put(CONTENT, params=of("/a"), content=b"new"),
        await client.put(f"{APP}/files/a", content=b"new"),
        await client.post(CONTENT, params=of("/a"), files={"file": ("x", b"new")}),
        await client.post(f"{FILES}/copy", json={"source": "/b", "target": "/a"}),
        await client.patch(f"{FILES}/props", params=of("/b"), json={"path": "/a"}),
        await client.post(f"{FILES}/register", json={"path": "/a", "url": "https://192.0.2.1/"}),
    ]
    assert [answer.status_code for answer in refused[:5]] == [409] * 5, [answer.text for answer in refused]
    old = await files.stat("/a")
    assert old.size == 3 and (await files.stat("/b")).size == 3

    answer = await client.put(CONTENT, params=of("/a", force="true"), content=b"newer")
    assert (answer.status_code, (await files.stat("/a")).size) == (200, 5)
    stale = {"If-Match": f'"{old.etag}"'}
    for method, body in (("PUT", b"x"), ("DELETE", None)):
        answer = await client.request(method, CONTENT, params=of("/a"), content=body, headers=stale)
        assert answer.status_code == 412, method
    answer = await client.patch(f"{FILES}/props", params=of("/a"), json={"properties": {}}, headers=stale)
    assert answer.status_code == 412
    now = {"If-Match": f'"{(await files.stat("/a")).etag}"'}
    assert (await client.put(CONTENT, params=of("/a"), content=b"x", headers=now)).status_code == 200
    assert (await client.put(CONTENT, params=of("/a"), content=b"y", headers=now)).status_code == 412
    both = await client.put(CONTENT, params=of("/a", force="true"), content=b"y", headers={"If-Match": "*"})
    assert both.status_code == 400
    assert (
        await client.post(f"{FILES}/copy", json={"source": "/b", "target": "/a", "force": True})
    ).status_code == 201
    assert (
        await client.patch(f"{FILES}/props", params=of("/b"), json={"path": "/a", "force": True})
    ).status_code == 200


async def test_of_many_who_make_one_file_one_does(client: httpx.AsyncClient, files: Files) -> None:
    answers = await asyncio.gather(
        *(client.put(CONTENT, params=of("/a"), content=b"%d" % number) for number in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


async def test_a_long_file_comes_whole_or_not_at_all(server: Server, served: Connect, files: Files) -> None:
    long = random.Random(7).randbytes(3 * PIECE + 5)

    async def broken() -> AsyncIterator[bytes]:
        yield long[:PIECE]
        yield long[: PIECE + 1]
        raise ConnectionError

    async with served(server) as client:
        with pytest.raises(ConnectionError):
            await client.put(CONTENT, params=of("/long"), content=broken())
        assert (await client.get(FILES)).json()["files"] == []
        assert (await client.put(CONTENT, params=of("/long"), content=long)).status_code == 201
        assert (await client.get(CONTENT, params=of("/long"))).content == long
        form = await client.post(CONTENT, params=of("/folder/"), files={"file": ("long.bin", long)})
        assert (form.status_code, form.json()["path"]) == (201, "/folder/long.bin")
        assert (await client.get(CONTENT, params=of("/folder/long.bin"))).content == long
        two = {"a": ("a.bin", long), "b": ("b.bin", b"")}
        answer = await client.post(CONTENT, params=of("/two/"), files=two)
        assert (answer.status_code, "nothing was stored" in answer.text) == (400, True)
        assert (await client.get(f"{FILES}?folder=/two")).json()["files"] == []


async def test_a_file_has_a_limit(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(file_limit=1_000)) as client:
        assert (await client.put(CONTENT, params=of("/a"), content=b"x" * 1_000)).status_code == 201
        assert (await client.put(CONTENT, params=of("/b"), content=b"x" * 1_001)).status_code == 413
        form = await client.post(CONTENT, params=of("/b"), files={"file": ("b", b"x" * 1_001)})
        assert form.status_code == 413
        assert [each["path"] for each in (await client.get(FILES)).json()["files"]] == ["/a"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "content", b"x"),
        ("PUT", "content?path=a", b"x"),
        ("PUT", "content?path=/../a", b"x"),
        ("PUT", "content?path=/a&force=yes", b"x"),
        ("POST", "content?path=/a/../b/", None),
        ("GET", "content", None),
        ("DELETE", "content", None),
        ("PATCH", "props?path=/a", {"properties": {"mixkit-url": "https://192.0.2.1/"}}),
        ("PATCH", "props?path=/a", {"properties": {"Not a name": "x"}}),
        ("PATCH", "props?path=/a", {"contentType": "no type"}),
        ("PATCH", "props?path=/a", {"path": "/b", "properties": {}}),
        ("PATCH", "props?path=/a", {"path": "/a"}),
        ("PATCH", "props?path=/a", {"force": True}),
        ("PATCH", "props?path=/a", {"other": 1}),
        ("POST", "copy", {"source": "/a", "target": "/a"}),
        ("POST", "copy", {"source": "/a", "target": "b"}),
        ("POST", "register", {"path": "/b", "url": "ftp://192.0.2.1/"}),
        ("POST", "register", {"path": "/b", "url": "http://192.0.2.1/"}),
        ("POST", "register", {"path": "/b", "url": "https://127.0.0.1/"}),
        ("POST", "register", {"path": "/b", "url": "https://localhost/"}),
        ("POST", "register", {"path": "/b", "url": "https://user@192.0.2.1/"}),
        ("POST", "register", {"path": "/b", "url": "https://1.1.1.1/", "properties": {"mixkit-url": "x"}}),
        ("POST", "sign", {"path": "/b", "seconds": 0}),
        ("POST", "sign", {"path": "/b", "seconds": 1e9}),
        ("GET", "?limit=0", None),
        ("GET", "?folder=a", None),
        ("GET", "props?path=/a&signed_for=0", None),
    ],
)
async def test_what_is_wrong_is_refused(
    client: httpx.AsyncClient, files: Files, method: str, path: str, body: Any
) -> None:
    before = await files.put("/a", b"old")
    more: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
    if path.startswith("content") and method == "POST":
        more = {"files": {"file": ("x", b"x")}}
    answer = await client.request(method, f"{FILES}/{path}".replace("/?", "?"), **more)
    assert answer.status_code == 400, answer.text
    assert (await files.stat("/a")).etag == before.etag
    assert (await files.usage()).files == 1


async def test_a_file_stands_for_a_url(client: httpx.AsyncClient) -> None:
    url = "https://1.1.1.1/logo.svg"
    made = await client.post(f"{FILES}/register", json={"path": "/logo.svg", "url": url})
    assert (made.status_code, made.json()["url"]) == (201, url)
    read = await client.get(CONTENT, params=of("/logo.svg"))
    assert (read.status_code, url in read.text, "location" in read.headers) == (409, True, False)
    props = (await client.get(f"{FILES}/props", params=of("/logo.svg", signed_for="60"))).json()
    assert (props["url"], props["metadata"]["properties"]) == (url, {})


async def test_what_agents_may_reach_may_be_registered(make_server: Make, connect: Connect) -> None:
    server = make_server()
    url = {"path": "/inside", "url": "http://127.0.0.1:8080/x"}
    async with connect(server) as client:
        assert (await client.post(f"{FILES}/register", json=url)).status_code == 400
        settings = server.kernel.assembly._settings
        settings["http"] = msgspec.structs.replace(settings["http"], dangerous_http_mode=True)
        assert (await client.post(f"{FILES}/register", json=url)).status_code == 201


async def test_who_has_a_signed_url_stores_that_file_and_no_other(
    client: httpx.AsyncClient, server: Server, connect: Connect, files: Files
) -> None:
    made = await client.post(f"{FILES}/sign", json={"path": "/in/a", "seconds": 60, "most": 5})
    assert made.status_code == 201
    url = made.json()["url"]
    replacing = (
        await client.post(f"{FILES}/sign", json={"path": "/in/a", "seconds": 60, "force": True})
    ).json()["url"]
    read = (await client.get(f"{FILES}/props", params=of("/in/a"))).status_code
    async with connect(server, None) as stranger:
        assert (await stranger.put(url, content=b"123456")).status_code == 413
        for wrong in (
            url.replace("/in/a", "/in/b"), url.replace("most=5", "most=6"), url.replace("expires=", "expires=9"),
            url.replace("force=false", "force=true"), replacing.replace("demo", "none"), url[:-1],
        ):  # fmt: skip
            assert (await stranger.put(wrong, content=b"1")).status_code == 403, wrong
        assert (await stranger.put(f"{APP}/files/in/a", content=b"1")).status_code == 401
        assert (await stranger.put(f"{APP}/files/public/a", content=b"1")).status_code == 401
        stored = await stranger.put(url, content=b"12345", headers={"Content-Type": "text/plain"})
        assert (stored.status_code, stored.content, read) == (204, b"", 404)
        assert (await stranger.put(url, content=b"other")).status_code == 409
        assert (await stranger.get(url)).status_code == 400
        assert (await stranger.put(replacing, content=b"67890")).status_code == 204
        signed = (await client.get(f"{FILES}/props", params=of("/in/a", signed_for="60"))).json()["url"]
        assert (await stranger.get(signed)).content == b"67890"
        assert (await stranger.put(signed, content=b"x")).status_code == 400
    assert (await files.usage()).files == 1
