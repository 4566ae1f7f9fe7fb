"""`$file_*`: what agents get, and what they are refused."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mix_files.settings import FilesSettings

from mixkit.errors import FFIError, GrantError, LimitExceeded
from mixkit.file_urls import is_signed
from mixkit.filesystem import PIECE
from mixkit.grants import Grants
from mixkit.limits import Limits
from mixkit.value import Token

Start = Callable[..., Any]


def _names(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208 - no loop waits for it


async def test_a_file_is_stored_and_read(agent: Any) -> None:
    made = await agent.ok("create", "/a/b.txt", "hello ☂", {"properties": {"who": "Ann"}})
    metadata = made.pop("metadata")
    assert made == {
        "app": "notes", "path": "/a/b.txt", "kind": "persisted", "url": "/v1/ws/office/app/notes/files/a/b.txt",
    }  # fmt: skip
    assert abs(metadata.pop("modified") - time.time() * 1_000) < 60_000
    assert metadata.pop("etag")
    raw = "hello ☂".encode()
    assert metadata == {
        "size": len(raw), "contentType": "text/plain; charset=utf-8", "properties": {"who": "Ann"},
        "sha256": hashlib.sha256(raw).hexdigest(),
    }  # fmt: skip
    got = await agent.ok("get", "/a/b.txt")
    part = await agent.ok("read", "/a/b.txt")
    assert part == {"data": raw, "start": 0, "next": None, "size": len(raw), "etag": got["metadata"]["etag"]}
    assert (await agent.ok("read", "/a/b.txt", {"text": True}))["data"] == "hello ☂"


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("/a.html", "x", "text/html; charset=utf-8"), ("/a.HTML", b"x", "text/html"), ("/a.png", "x", "image/png"),
        ("/a", "x", "text/plain; charset=utf-8"), ("/a", b"x", "application/octet-stream"),
        ("/a.json", "1", "application/json"),
        ("/a.tar.gz", b"x", "application/octet-stream"), ("/a.none", b"", "application/octet-stream"),
    ],
)  # fmt: skip
async def test_types_are_guessed_from_names(agent: Any, path: str, content: Any, expected: str) -> None:
    assert (await agent.ok("create", path, content))["metadata"]["contentType"] == expected


async def test_urls_are_quoted(agent: Any) -> None:
    made = await agent.ok("create", "/å b/?#%.txt", "")
    assert made["url"] == "/v1/ws/office/app/notes/files/%C3%A5%20b/%3F%23%25.txt"


async def test_what_is_there_is_not_replaced_unasked(agent: Any) -> None:
    first = await agent.ok("create", "/a", "1")
    await agent.ok("create", "/b", "2")
    for call in (
        ("create", "/a", "x"),
        ("copy", "/b", "/a"),
        ("rename", "/b", "/a"),
        ("register", "/a", "https://x.test/"),
    ):
        assert "expected no file '/a'" in await agent.refused(*call)
    second = await agent.ok("create", "/a", "3", {"ifMatch": first["metadata"]["etag"]})
    assert "somebody" not in await agent.refused("create", "/a", "4", {"ifMatch": first["metadata"]["etag"]})
    assert "found both" in await agent.refused("create", "/a", "4", {"ifMatch": "x", "force": True})
    assert "an empty string" in await agent.refused("create", "/a", "4", {"ifMatch": ""})
    await agent.ok("create", "/a", "4", {"force": True})
    assert "read it again" in await agent.refused("delete", "/a", second["metadata"]["etag"])
    await agent.ok("rename", "/b", "/a", {"force": True})
    assert (await agent.ok("read", "/a"))["data"] == b"2"
    await agent.ok("delete", "/a", (await agent.ok("get", "/a"))["metadata"]["etag"])
    assert "no file '/a'" in await agent.refused("get", "/a")


async def test_parts(start: Start) -> None:
    agent = start(settings=FilesSettings(read_bytes=10))
    made = await agent.ok("create", "/a", "å☂😀" * 10)
    etag, size = made["metadata"]["etag"], made["metadata"]["size"]
    for options in ({}, {"length": 4}, {"length": 7}):
        found: list[str] = []
        raw: list[bytes] = []
        part: Any = {"next": 0}
        while (at := part["next"]) is not None:
            part = await agent.ok("read", "/a", {"start": at, "text": True, "ifMatch": etag, **options})
            assert part["start"] == at
            found.append(part["data"])
        part = {"next": 0}
        while (at := part["next"]) is not None:
            part = await agent.ok("read", "/a", {"start": at, **options})
            assert len(part["data"]) <= options.get("length", 10)
            raw.append(part["data"])
        assert "".join(found) == "å☂😀" * 10
        assert b"".join(raw) == ("å☂😀" * 10).encode()
    assert (await agent.ok("read", "/a", {"start": size}))["next"] is None
    assert (await agent.ok("read", "/a", {"start": size + 9}))["data"] == b""
    assert (await agent.ok("read", "/a", {"length": 0}))["data"] == b""
    assert "at least 4 bytes" in await agent.refused("read", "/a", {"length": 1, "text": True})
    assert "not UTF-8 from its byte 1 on" in await agent.refused("read", "/a", {"start": 1, "text": True})
    for options in ({"start": -1}, {"length": -1}):
        assert "from 0 on" in await agent.refused("read", "/a", options)
    assert "read it again" in await agent.refused("read", "/a", {"ifMatch": "other"})


async def test_urls_can_be_signed(agent: Any) -> None:
    await agent.ok("create", "/a b", "x")
    url = (await agent.ok("get", "/a b", {"signedFor": 60}))["url"]
    base, _, query = url.partition("?")
    assert base == (await agent.ok("get", "/a b", {}))["url"] == "/v1/ws/office/app/notes/files/a%20b"
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    assert time.time() + 50 < int(expires) < time.time() + 70
    ring = agent.state.services.keyring
    assert is_signed(ring, agent.place, "/a b", int(expires), signature)
    assert not is_signed(ring, agent.place, "/a", int(expires), signature)
    for seconds in (0, -5, 700_000, float("nan")):
        assert "at most 604800 seconds" in await agent.refused("get", "/a b", {"signedFor": seconds})
    await agent.ok("register", "/r", "https://x.test/")
    assert (await agent.ok("get", "/r", {"signedFor": 60}))["url"] == "https://x.test/"


async def test_lists(agent: Any) -> None:
    for number in range(5):
        await agent.ok("create", f"/a/{number}", str(number))
    await agent.ok("create", "/b", "")
    page = await agent.ok("list", "/a", {"limit": 3})
    assert [file["path"] for file in page["files"]] == ["/a/0", "/a/1", "/a/2"]
    assert sorted(page["files"][0]["metadata"]) == ["etag", "modified", "size"]
    page = await agent.ok("list", "/a", {"limit": 3, "after": page["after"]})
    assert [file["path"] for file in page["files"]] == ["/a/3", "/a/4"]
    assert page["after"] is None
    assert len((await agent.ok("list"))["files"]) == 6
    for limit in (0, 1_001, -1):
        assert "1 to 1000 files" in await agent.refused("list", "/", {"limit": limit})


async def test_properties(agent: Any) -> None:
    await agent.ok("create", "/a", "x", {"properties": {"n": "1", "m": "2"}})
    before = await agent.ok("props", "/a")
    assert before["properties"] == {"n": "1", "m": "2"}
    after = await agent.ok("props", "/a", {"contentType": "text/css", "properties": {"n": None, "o": "3"}})
    assert (after["contentType"], after["properties"]) == ("text/css", {"m": "2", "o": "3"})
    assert after["sha256"] == before["sha256"]
    assert await agent.ok("props", "/a") == after
    assert "read it again" in await agent.refused(
        "props", "/a", {"properties": {}, "ifMatch": before["etag"]}
    )
    for properties in ({"mixkit-url": "x"}, {"mixkit-": "x"}):
        for call in (
            ("create", "/b", "", {"properties": properties}),
            ("props", "/a", {"properties": properties}),
        ):
            assert "mixkit's own" in await agent.refused(*call)
    assert "small letters" in await agent.refused("create", "/b", "", {"properties": {"N": "1"}})


async def test_a_file_that_stands_for_a_url(agent: Any) -> None:
    made = await agent.ok("register", "/x.png", "https://files.example.com/x.png?a=1")
    assert made["url"] == "https://files.example.com/x.png?a=1"
    assert (made["kind"], made["metadata"]["contentType"], made["metadata"]["size"]) == (
        "persisted",
        "image/png",
        0,
    )
    assert await agent.ok("get", "/x.png") == made
    assert "'https://files.example.com/x.png?a=1'" in await agent.refused("read", "/x.png")
    await agent.ok("rename", "/x.png", "/y.png")
    assert (await agent.ok("props", "/y.png", {"properties": {"a": "1"}}))["properties"] == {"a": "1"}
    assert (await agent.ok("get", "/y.png"))["url"] == made["url"]
    for url in (
        "", "x", "/x", "//x.test/", "ftp://x.test/", "javascript:alert(1)", "https://", "https://a:b@x.test/",
        "https://x.test/ a",
        "https://x.test/\n", "https://x.test/å", "https://x.test:x/", "https://x.test/" + "a" * 1_900,
        "data:text/html,x",
    ):  # fmt: skip
        assert "absolute URL" in await agent.refused("register", "/z", url)
    assert "no file" in await agent.refused("get", "/z")


async def test_pieces(agent: Any) -> None:
    handle = await agent.ok("create", "/a.css", "a", {"more": True, "properties": {"n": "1"}})
    assert isinstance(handle, Token)
    assert await agent.ok("create", handle, b"b", {"more": True}) == handle
    assert "no file" in await agent.refused("get", "/a.css")
    assert "with its first piece" in await agent.refused("create", handle, b"c", {"force": True})
    made = await agent.ok("create", handle, "c")
    assert (made["metadata"]["size"], made["metadata"]["contentType"]) == (3, "text/css; charset=utf-8")
    assert (await agent.ok("read", "/a.css"))["data"] == b"abc"
    assert "handle is not an open" in await agent.refused("create", handle, b"d")
    assert agent.state.budget.spent("handles") == 1, "the one that the guest knew it by"


async def test_two_pieces_at_once(agent: Any) -> None:
    handle = await agent.ok("create", "/a", b"", {"more": True})
    found = await asyncio.gather(
        *(agent.call("create", handle, b"x" * 100_000, {"more": True}) for _ in range(2))
    )
    assert sorted(answer.name for answer in found) == ["error", "ok"]
    assert (await agent.ok("create", handle, b""))["metadata"]["size"] == 100_000


async def test_a_run_that_ends_leaves_nothing_half(start: Start, place: Any) -> None:
    agent = start()
    for _ in range(3):
        await agent.ok("create", "/a", b"x" * 10_000, {"more": True})
    assert len(_names(place.home / "files" / "new")) == 3
    assert await asyncio.to_thread(agent.state.close) == []
    for _ in range(100):
        if not _names(place.home / "files" / "new"):
            break
        await asyncio.sleep(0.05)
    assert _names(place.home / "files" / "new") == []
    assert (await start().ok("list"))["files"] == []


async def test_how_many_files_are_sent_at_once(start: Start) -> None:
    agent = start(settings=FilesSettings(uploads=2))
    handles = [await agent.ok("create", f"/{n}", b"", {"more": True}) for n in range(2)]
    assert "sending 2 files" in await agent.refused("create", "/x", b"", {"more": True})
    await agent.ok("create", handles[0], b"")
    await agent.ok("create", "/x", b"", {"more": True})
    agent = start(settings=FilesSettings(uploads=2))
    for _ in range(4):
        assert "expected no file" in await agent.refused("create", "/0", b"", {"more": True})
    agent.state.close()


async def test_a_piece_that_is_too_much_ends_it(start: Start) -> None:
    agent = start(settings=FilesSettings(max_bytes=100_000))
    handle = await agent.ok("create", "/a", b"x" * 60_000, {"more": True})
    message = await agent.refused("create", handle, b"x" * 60_000, {"more": True})
    assert "at most 100000 bytes" in message
    assert "settings.files.max_bytes" in message
    assert "handle is not an open" in await agent.refused("create", handle, b"")
    await agent.ok("create", "/a", b"x" * 100_000)


async def test_grants_say_where(start: Start) -> None:
    agent = start(grants=Grants(["*"], {"files.read": ["/in", "/out/"], "files.write": ["/out"]}))
    for path in ("/in/a", "/x", "/outer"):
        await agent.files.put(path, b"1")
    await agent.ok("create", "/out/a", "1")
    await agent.ok("copy", "/in/a", "/out/b")
    await agent.ok("list", "/in")
    calls: list[tuple[Any, ...]] = [
        ("create", "/in/b", ""), ("create", "/outer", "", {"force": True}), ("delete", "/in/a"),
        ("rename", "/in/a", "/out/c"), ("rename", "/out/a", "/in/c"),
        ("copy", "/out/a", "/in/c"), ("copy", "/x", "/out/x"), ("read", "/x"), ("get", "/outer"),
        ("list", "/"), ("list", "/ou"), ("props", "/in/a", {"properties": {}}), ("props", "/x"),
        ("register", "/in/r", "https://x.test/"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(GrantError, match="is outside of the folders"):
            await agent.call(*call)
    assert await agent.ok("props", "/in/a")
    both = start(grants=Grants(["*"], {"files.read": ["/"]}) & Grants(["*"], {"files.read": ["/in"]}))
    with pytest.raises(GrantError):
        await both.call("get", "/x")
    await both.ok("get", "/in/a")


@pytest.mark.parametrize("value", ["/in", None, ["in"], ["/a/../b"], [1], {"/in": 1}])
def test_grants_that_cannot_be(value: object) -> None:
    from mix_files.ffis import group

    for option in ("files.read", "files.write"):
        with pytest.raises(GrantError, match=f"grant option {option}"):
            group.checks[option](value)


async def test_limits(start: Start) -> None:
    agent = start(limits=Limits(file_bytes=1_000))
    await agent.ok("create", "/a", b"x" * 600)
    with pytest.raises(LimitExceeded, match="file_bytes of 1000 bytes"):
        await agent.call("create", "/b", b"x" * 600)
    await agent.ok("read", "/a", {"length": 300})
    calls: list[tuple[Any, ...]] = [
        ("read", "/a"),
        ("copy", "/a", "/b"),
        ("create", "/b", b"x" * 200, {"more": True}),
        ("props", "/a", {}),
    ]
    for call in calls:
        with pytest.raises(LimitExceeded, match="file_bytes"):
            await agent.call(*call)
    assert "no file" in await agent.refused("get", "/b")
    agent.state.close()


async def test_code_of_no_app_has_no_files(start: Start) -> None:
    agent = start(alone=True)
    for call in (("create", "/a", ""), ("get", "/a"), ("list",), ("delete", "/a")):
        assert "belongs to no app" in await agent.refused(*call)


async def test_paths_are_refused(agent: Any) -> None:
    for path in ("", "a", "/a/../b", "/a/", "/a\x00", "/a\\b", "/a."):
        for call in (
            ("create", path, ""),
            ("get", path),
            ("read", path),
            ("delete", path),
            ("copy", path, "/a"),
            ("props", path),
        ):
            assert "path" in await agent.refused(*call)
    with pytest.raises(FFIError, match=r"path"):
        await agent.call("create", 1, "")


async def test_files_below_ephemeral_pass(start: Start) -> None:
    agent = start(settings=FilesSettings(ephemeral_lifetime=1_000))
    await agent.ok("create", "/ephemerals", "1")
    old = start(settings=FilesSettings(ephemeral_lifetime=0.001))
    for name in ("get", "read", "delete", "props", "copy", "rename", "list"):
        await agent.ok("create", "/ephemeral/a", "1", {"force": True})
        await asyncio.sleep(0.02)
        if name == "list":
            assert [file["path"] for file in (await old.ok(name))["files"]] == ["/ephemerals"]
        else:
            more = ["/b"] if name in ("copy", "rename") else []
            assert "its time below /ephemeral/ is over" in await old.refused(name, "/ephemeral/a", *more)
        # Whoever comes upon it takes it away.
        assert "no file '/ephemeral/a'" in await agent.refused("get", "/ephemeral/a")
    # Whoever stores something there finds the path free, and sweeps.
    await agent.ok("create", "/ephemeral/b", "1")
    await old.ok("create", "/ephemeral/a", "2")
    assert "no file '/ephemeral/b'" in await agent.refused("get", "/ephemeral/b")
    assert (await agent.ok("read", "/ephemeral/a"))["data"] == b"2"


async def test_what_has_passed_makes_room(start: Start) -> None:
    for number in range(3):
        await start().ok("create", f"/ephemeral/{number}", "1")
    await asyncio.sleep(0.02)
    agent = start(settings=FilesSettings(max_files=3, ephemeral_lifetime=0.001))
    await agent.ok("create", "/a", "1")
    handle = await agent.ok("create", "/b", "1", {"more": True})
    await agent.ok("create", handle, "2")
    assert (await agent.files.usage()).files == 2
    await agent.ok("create", "/c", "1")
    assert "at most 3 files" in await agent.refused("create", "/d", "1")
    agent = start(settings=FilesSettings(max_files=3))
    assert "at most 3 files" in await agent.refused("create", "/d", "1")


_STREAM = """
import asyncio, os, resource, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from conftest import Agent, Services
from mix_files.settings import FilesSettings
from mixkit.grants import ALL
from mixkit.limits import Limits
from mixkit.storage import Place

SIZE, STEP = 64 << 20, 1 << 20

async def main():
    agent = Agent(Place("w", "a", Path(sys.argv[2])), Services(FilesSettings(read_bytes=STEP)), ALL, Limits())
    await agent.ok("create", "/warm", b"x" * STEP)
    await agent.ok("read", "/warm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handle = await agent.ok("create", "/big", b"", {"more": True})
    for number in range(SIZE // STEP):
        await agent.ok("create", handle, bytes([number]) * STEP, {"more": True})
    made = await agent.ok("create", handle, b"")
    at, seen = 0, 0
    while at is not None:
        part = await agent.ok("read", "/big", {"start": at, "ifMatch": made["metadata"]["etag"]})
        assert part["data"] == bytes([at // STEP]) * STEP
        at, seen = part["next"], seen + len(part["data"])
    await agent.ok("copy", "/big", "/copy")
    assert seen == SIZE == made["metadata"]["size"]
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)

asyncio.run(main())
"""


def test_a_long_file_goes_through_in_pieces(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STREAM, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 32, f"64 MiB in pieces of {PIECE} bytes took {done.stdout} MiB"
