"""Uploads in parts, by a client of tus that others have written; and what is left of them when the server is killed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mix_server import uploads as kept
from mix_server.server import Server
from tusclient.client import TusClient

from mixkit.errors import NotFound
from mixkit.filesystem import PIECE, Files

MIXKIT = str(Path(sys.executable).with_name("mixkit"))
APP = "/v1/ws/w/app/demo"
UPLOADS = f"{APP}/file-manager/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
PART = {**TUS, "Content-Type": "application/offset+octet-stream"}
LONG = random.Random(11).randbytes(2 * PIECE + 77)
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


def said(**texts: str) -> str:
    return ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in texts.items())


async def begin(client: httpx.AsyncClient, length: int, **texts: str) -> str:
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": said(**texts)}
    answer = await client.post(UPLOADS, headers=headers)
    assert answer.status_code == 201, answer.text
    location: str = answer.headers["location"]
    return location


async def part(client: httpx.AsyncClient, url: str, offset: int, data: Any) -> httpx.Response:
    return await client.patch(url, content=data, headers={**PART, "Upload-Offset": str(offset)})


async def offset(client: httpx.AsyncClient, url: str) -> int:
    answer = await client.head(url, headers=TUS)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    return int(answer.headers["upload-offset"])


async def test_a_client_may_ask_what_is_spoken(client: httpx.AsyncClient) -> None:
    begun = await client.post(UPLOADS, headers={**TUS, "Upload-Length": "3", "Upload-Metadata": "path L2E="})
    for url, allowed in (
        (UPLOADS, "POST, OPTIONS"),
        (begun.headers["location"], "DELETE, GET, HEAD, PATCH, OPTIONS"),
    ):
        # No version is sent: it is what is asked for.
        answer = await client.options(url)
        assert (answer.status_code, answer.headers["allow"]) == (204, allowed)
        assert answer.headers["tus-version"] == "1.0.0"
        assert answer.headers["tus-extension"] == "creation,termination,expiration"
        assert answer.headers["tus-max-size"] == begun.headers["tus-max-size"]


async def test_a_client_of_tus(server: Server, served: Connect, token: str, files: Files) -> None:
    def upload(url: str, **more: Any) -> None:
        tus = TusClient(url + UPLOADS, headers={"Authorization": f"Bearer {token}"})
        tus.uploader(file_stream=io.BytesIO(LONG), chunk_size=1_000_000, **more).upload()

    async with served(server) as client:
        url = str(client.base_url)
        await asyncio.to_thread(upload, url, metadata={"path": "/a.bin", "filetype": "text/x-odd"})
        read = await client.get(f"{APP}/files/a.bin")
        assert (read.content, read.headers["content-type"]) == (LONG, "text/x-odd")
        await asyncio.to_thread(upload, url, metadata={"path": "/in/", "filename": "b.bin"})
        assert (await files.stat("/in/b.bin")).size == len(LONG)


async def test_parts_in_their_order_and_nobody_sees_half_of_it(
    client: httpx.AsyncClient, files: Files
) -> None:
    url = await begin(client, 6, path="/a")
    assert await offset(client, url) == 0
    for wrong in (1, 6):
        refused = await part(client, url, wrong, b"x")
        assert (refused.status_code, refused.headers["upload-offset"]) == (409, "0")
    assert (await part(client, url, 0, b"abc")).headers["upload-offset"] == "3"
    assert (await client.get(f"{APP}/files/a")).status_code == 404
    assert (await part(client, url, 3, b"defg")).status_code == 413
    assert await offset(client, url) == 3
    assert (await part(client, url, 3, b"def")).headers["upload-offset"] == "6"
    assert (await client.get(f"{APP}/files/a")).content == b"abcdef"
    assert (await part(client, url, 6, b"")).status_code == 409
    assert (await client.delete(url, headers=TUS)).status_code == 204
    assert (await client.head(url, headers=TUS)).status_code == 404
    assert (await files.stat("/a")).size == 6


async def test_an_empty_file_and_one_that_is_given_up(client: httpx.AsyncClient, files: Files) -> None:
    await begin(client, 0, path="/empty")
    assert (await files.stat("/empty")).size == 0
    url = await begin(client, 5, path="/b")
    await part(client, url, 0, b"abc")
    assert (await client.delete(url, headers=TUS)).status_code == 204
    assert (await part(client, url, 3, b"de")).status_code == 404


async def test_what_is_there_is_replaced_only_with_force(client: httpx.AsyncClient, files: Files) -> None:
    url = await begin(client, 3, path="/a")
    await files.put("/a", b"other")
    assert (await part(client, url, 0, b"new")).status_code == 409
    assert (await client.head(url, headers=TUS)).status_code == 409
    headers = {**TUS, "Upload-Length": "3", "Upload-Metadata": said(path="/a")}
    assert (await client.post(UPLOADS, headers=headers)).status_code == 409
    url = await begin(client, 3, path="/a", force="true")
    assert (await part(client, url, 0, b"new")).status_code == 204
    assert (await files.stat("/a")).size == 3


async def test_a_file_is_what_was_announced(client: httpx.AsyncClient, files: Files) -> None:
    right = hashlib.sha256(b"one two").hexdigest()
    url = await begin(client, 7, path="/a", sha256=right.upper())
    assert (await part(client, url, 0, b"one ")).status_code == 204
    assert (await part(client, url, 4, b"two")).status_code == 204
    assert (await files.stat("/a")).size == 7
    # A client that went on with another file than it had begun with.
    url = await begin(client, 7, path="/b", sha256=right)
    await part(client, url, 0, b"one ")
    refused = await part(client, url, 4, b"six")
    assert refused.status_code == 422
    assert right in refused.text
    assert (await client.head(url, headers=TUS)).status_code == 404
    with pytest.raises(NotFound):
        await files.stat("/b")


async def test_a_part_that_breaks_off_is_kept(server: Server, served: Connect, files: Files) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield LONG[: PIECE + 5]
        await asyncio.sleep(0.3)
        raise ConnectionError

    async with served(server) as client:
        url = await begin(client, len(LONG), path="/a")
        with pytest.raises(ConnectionError):
            await part(client, url, 0, broken())
        while (found := await offset(client, url)) == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        # As far as the network had brought it.
        assert 0 < found <= PIECE + 5
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline
            # As long as the other part is coming it is refused at once, which may cut off what is still being sent.
            with contextlib.suppress(httpx.TransportError):
                answer = await part(client, url, found, LONG[found:])
                if answer.status_code not in (409, 423):
                    break
            found = await offset(client, url)
        assert answer.status_code == 204
        assert (await client.get(f"{APP}/files/a")).content == LONG


async def test_one_request_at_a_time(client: httpx.AsyncClient, server: Server) -> None:
    url = await begin(client, 3, path="/a")
    started = server.uploads.find(server.store.workspace("w").place("demo"), url.rpartition("/")[2])
    with server.uploads.locked(started):
        assert (await part(client, url, 0, b"abc")).status_code == 423
        assert (await client.delete(url, headers=TUS)).status_code == 423
    assert (await part(client, url, 0, b"abc")).status_code == 204


async def test_an_upload_passes_and_is_of_one_app(
    client: httpx.AsyncClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await begin(client, 3, path="/a")
    await client.put("/v1/ws/w/app/other")
    other = url.replace("/demo/", "/other/")
    assert (await client.head(other, headers=TUS)).status_code == 404
    assert (await part(client, other, 0, b"abc")).status_code == 404
    await client.delete(APP)
    await client.put(APP)
    assert (await client.head(url, headers=TUS)).status_code == 404

    monkeypatch.setattr(kept, "LIFETIME", -1.0)
    url = await begin(client, 3, path="/a")
    assert (await client.head(url, headers=TUS)).status_code == 404
    # The one of the app that was deleted passes with its time.
    assert server.uploads._sweep() == {"w": (1, 3)}
    assert len(list(server.uploads._folder.iterdir())) == 2


async def test_all_together_have_a_limit(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(uploads_limit=10)) as client:
        url = await begin(client, 6, path="/a")
        headers = {**TUS, "Upload-Length": "5", "Upload-Metadata": said(path="/b")}
        assert (await client.post(UPLOADS, headers=headers)).status_code == 507
        await begin(client, 4, path="/b")
        assert (await part(client, url, 0, b"abcdef")).status_code == 204
        # One that is a file is none of them any more.
        assert (
            await client.post(UPLOADS, headers={**headers, "Upload-Metadata": said(path="/c")})
        ).status_code == 201


async def test_one_workspace_leaves_the_others_their_share(
    make_server: Make, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_MOST", 8)
    server = make_server(uploads_limit=100, file_limit=30)
    server.store.create("other").create_app("demo")

    async def start(client: httpx.AsyncClient, ws: str, length: int, path: str) -> int:
        headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": said(path=path)}
        return (await client.post(UPLOADS.replace("/w/", f"/{ws}/"), headers=headers)).status_code

    async with connect(server) as client:
        # Of bytes: one of the largest fits in, beside a quarter of all.
        assert [await start(client, "w", 30, "/a"), await start(client, "w", 1, "/b")] == [201, 507]
        assert await start(client, "other", 30, "/a") == 201
    for path in server.uploads._folder.iterdir():
        path.unlink()
    async with connect(server) as client:
        # And of their number.
        assert [await start(client, "w", 1, f"/{n}") for n in range(3)] == [201, 201, 429]
        assert await start(client, "other", 1, "/a") == 201


async def test_what_is_told_of_uploads_that_are_files_is_bounded(
    client: httpx.AsyncClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_MOST", 8)
    # Empty ones are files at once.
    urls = [await begin(client, 0, path=f"/{number}") for number in range(6)]
    assert len(list(server.uploads._folder.iterdir())) == 3
    assert [(await client.head(url, headers=TUS)).status_code for url in urls] == [404] * 3 + [200] * 3


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "1"}, 412),
        ({"Tus-Resumable": "0.2.0", "Upload-Length": "1"}, 412),
        ({**TUS}, 400),
        ({**TUS, "Upload-Length": "-1"}, 400),
        ({**TUS, "Upload-Defer-Length": "1"}, 400),
        ({**TUS, "Upload-Length": "9999999999999"}, 413),
        ({**TUS, "Upload-Length": "1", "Upload-Metadata": said(path="a")}, 400),
        ({**TUS, "Upload-Length": "1", "Upload-Metadata": said(path="/a", colour="red")}, 400),
        ({**TUS, "Upload-Length": "1", "Upload-Metadata": "path !"}, 400),
        ({**TUS, "Upload-Length": "1", "Upload-Metadata": said(path="/a", sha256="12")}, 400),
        ({**TUS, "Upload-Length": "1"}, 400),
    ],
)
async def test_what_is_wrong_is_refused(
    client: httpx.AsyncClient, server: Server, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(UPLOADS, headers=headers)
    assert (answer.status_code, answer.headers["tus-resumable"]) == (status, "1.0.0")
    assert not server.uploads._folder.exists() or list(server.uploads._folder.iterdir()) == []


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    token = "a-token-for-tests-0123456789"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}

    def start() -> tuple[subprocess.Popen[bytes], httpx.Client]:
        log = tmp_path / f"{time.monotonic_ns()}.log"
        with log.open("wb") as lines:
            child = subprocess.Popen(
                [MIXKIT, "serve", "--port", "0", "--ws-dir", str(tmp_path / "ws")],
                stderr=lines, env={**environ, "MIXKIT_SERVER_TOKEN": token},
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while (found := re.search(r"listening on (\S+)\n", log.read_text())) is None:
            assert time.monotonic() < deadline and child.poll() is None, log.read_text()
            time.sleep(0.02)
        return child, httpx.Client(
            base_url=found[1], headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    child, client = start()
    try:
        assert client.post("/v1/ws", json={"name": "w"}).is_success
        assert client.put(APP).is_success
        headers = {**TUS, "Upload-Length": str(len(LONG)), "Upload-Metadata": said(path="/a")}
        url = client.post(UPLOADS, headers=headers).headers["location"]
        done = 0
        for _ in range(2):
            more = LONG[done : done + 700_001]
            sent = client.patch(url, content=more, headers={**PART, "Upload-Offset": str(done)})
            done = int(sent.headers["upload-offset"])
            child.kill()
            assert child.wait(60) == -signal.SIGKILL
            client.close()
            child, client = start()
            assert int(client.head(url, headers=TUS).headers["upload-offset"]) == done
        # All has come, and the process ends before it is a file: the next look makes it one.
        [path] = (tmp_path / "ws" / ".uploads").glob("*.bytes")
        child.kill()
        child.wait(60)
        client.close()
        with path.open("ab") as file:
            file.write(LONG[done:])
        child, client = start()
        assert int(client.head(url, headers=TUS).headers["upload-offset"]) == len(LONG)
        assert client.get(f"{APP}/files/a").content == LONG
    finally:
        client.close()
        child.terminate()
        child.wait(60)
