"""A folder that the operator serves: its files and nothing else, whatever the path and whatever lies in it."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from mix_server.app import create_app
from mix_server.folder import Folder
from mix_server.server import Server

from mixkit.errors import ProfileError
from mixkit.filesystem import PIECE
from mixkit.testing.descriptors import descriptors

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    (made / "docs").mkdir(parents=True)
    (made / "docs" / "index.html").write_text("<p>hello")
    (made / "a b.txt").write_text("text")
    (made / ".env").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    (made / "link.txt").symlink_to(tmp_path / "outside.txt")
    (made / "inner.txt").symlink_to(made / "a b.txt")
    (made / "out").symlink_to(tmp_path)
    os.mkfifo(made / "pipe")
    return made


def test_a_folder_shows_nothing_private(
    make_server: Make, folder: Path, tmp_path: Path, ws_dir: Path
) -> None:
    """Neither the workspaces, nor what has them in it, nor a part of them, by whatever name; nor a key."""
    make_server()
    (tmp_path / "other").symlink_to(ws_dir)
    for served in (ws_dir, tmp_path, ws_dir / "w", tmp_path / "other", Path("/")):
        with pytest.raises(ProfileError, match=r"which settings\.server\.ws_dir names"):
            create_app(make_server(serve_files_from=str(served)))
    with pytest.raises(ProfileError, match="everybody could read"):
        Folder(str(folder), {"settings.server.tls_key": str(folder / "docs" / "tls.key")})
    # What is hidden is not served, and a name that only begins like it is another one.
    Folder(str(folder), {"settings.server.tls_key": str(folder / ".keys" / "tls.key")})
    beside = tmp_path / "workspaces-site"
    beside.mkdir()
    create_app(make_server(serve_files_from=str(beside)))


@pytest.fixture
async def stranger(make_server: Make, connect: Connect, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(make_server(serve_files_from=str(folder)), None) as client:
        yield client


async def test_files_with_types_conditions_and_parts(stranger: httpx.AsyncClient, folder: Path) -> None:
    page = await stranger.get("/docs/")
    assert (page.status_code, page.text) == (200, "<p>hello")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert (await stranger.get("/docs/index.html")).headers["etag"] == page.headers["etag"]
    known = await stranger.get("/docs/", headers={"If-None-Match": page.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    part = await stranger.get("/a%20b.txt", headers={"Range": "bytes=1-2"})
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "ex", "bytes 1-2/4")
    assert (await stranger.get("/a%20b.txt", headers={"Range": "bytes=9-"})).status_code == 416
    head = await stranger.head("/a%20b.txt")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "4")
    before = page.headers["etag"]
    (folder / "docs" / "index.html").write_text("<p>other")
    assert (await stranger.get("/docs/")).headers["etag"] != before


async def test_a_long_file(make_server: Make, served: Connect, folder: Path) -> None:
    long = random.Random(3).randbytes(3 * PIECE + 7)
    (folder / "long").write_bytes(long)
    async with served(make_server(serve_files_from=str(folder))) as client:
        assert (await client.get("/long")).content == long
        part = await client.get("/long", headers={"Range": f"bytes={PIECE - 3}-{2 * PIECE + 3}"})
        assert part.content == long[PIECE - 3 : 2 * PIECE + 4]


@pytest.mark.parametrize(
    "path",
    ["/none", "/link.txt", "/inner.txt", "/out/outside.txt", "/out/", "/.env", "/docs", "/pipe",
     "/%2e%2e/outside.txt", "/docs/%2e%2e/%2e%2e/outside.txt", "//etc/passwd", "/docs//index.html", "/a%20b.txt/",
     "/docs%2findex.html%00", "/a%5cb"],
)  # fmt: skip
async def test_nothing_else_is_there(stranger: httpx.AsyncClient, path: str) -> None:
    missing = await stranger.get("/none")
    answer = await stranger.get(httpx.URL("http://127.0.0.1:8000").copy_with(raw_path=path.encode()))
    assert (answer.status_code, answer.content) == (404, missing.content)


async def test_it_is_read_alone_and_takes_no_path_of_the_server(stranger: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await stranger.request(method, "/a%20b.txt", content=b"x")).status_code in (401, 405)
    assert (await stranger.get("/")).json()["name"] == "mixkit"
    assert (await stranger.get("/v1/ws")).status_code == 401
    assert (await stranger.get("/v1/nothing")).status_code == 404


async def test_nothing_stays_open(stranger: httpx.AsyncClient) -> None:
    await stranger.get("/docs/")
    before = descriptors("site")
    for _ in range(20):
        for path in ("/docs/", "/link.txt", "/pipe", "/docs", "/none/x/y", "/out/outside.txt"):
            await stranger.get(path)
            await stranger.head(path)
    assert descriptors("site") == before == []


def test_what_is_no_folder_is_refused(make_server: Make, folder: Path) -> None:
    with pytest.raises(ProfileError, match="expected a folder"):
        create_app(make_server(serve_files_from=str(folder / "a b.txt")))
