"""What well-behaved clients do: heed Retry-After, keep cookies within a call, read large headers, take no answer for
another's."""

from __future__ import annotations

import asyncio
import gzip
import time
from email.utils import formatdate
from typing import Any

import pytest
from mix_http.client import retry_after


def reply(body: bytes = b"", status: int = 200, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_damaged_text_says_so(server: Any, world: Any) -> None:
    server.replies["/whole"] = reply("ä".encode())
    server.replies["/damaged"] = reply("ä".encode() + b"\xff")
    assert "body_damaged" not in await world.do({"url": server.url("/whole")})
    answer = await world.do({"url": server.url("/damaged")})
    assert (answer["body"], answer["body_damaged"]) == ("ä\ufffd", True)


async def test_retry_after_is_heeded_as_far_as_there_is_time(server: Any, world: Any) -> None:
    async def later(seen: Any, writer: asyncio.StreamWriter) -> None:
        server.replies["/a"] = reply(b"now")
        writer.write(reply(b"later", 429, "Retry-After: 1", "Connection: close"))

    server.replies["/a"] = later
    began = time.monotonic()
    assert (await world.do({"url": server.url("/a"), "retry": 1}))["body"] == "now"
    assert time.monotonic() - began >= 1
    server.replies["/b"] = reply(b"much later", 503, "Retry-After: 3600")
    answer = await world.do({"url": server.url("/b"), "retry": 3})
    assert (answer["status"], answer["body"]) == (503, "much later")
    assert len([seen for seen in server.seen if seen.path == "/b"]) == 1


def test_retry_after_is_a_number_or_a_date() -> None:
    assert [retry_after(value) for value in ("7", " 0 ", "", "soon", "-5", formatdate(0, usegmt=True))] == [
        7,
        0,
        0,
        0,
        0,
        0,
    ]
    assert 300 <= retry_after(formatdate(time.time() + 600, usegmt=True)) <= 600


async def test_cookies_go_along_within_a_call_and_to_their_origin_only(server: Any, world: Any) -> None:
    server.replies["/login"] = reply(
        b"", 303, "Set-Cookie: sid=42; HttpOnly", "Set-Cookie: wide=1; Domain=test", "Location: /home"
    )
    server.replies["/home"] = reply(
        b"", 307, "Set-Cookie: sid=43", f"Location: {server.url('/x', 'other.test')}"
    )
    server.replies["/x"] = reply(b"", 307, f"Location: {server.url('/end')}")
    server.replies["/end"] = reply(b"end", 200, "Set-Cookie: last=1")
    answer = await world.do({"url": server.url("/login"), "headers": {"Cookie": "own=1"}})
    cookies = [seen.headers.get("cookie") for seen in server.seen]
    assert cookies == ["own=1", "own=1; wide=1; sid=42", None, "wide=1; sid=43"]
    assert answer["headers"]["Set-Cookie"].split("\n")[-1] == "last=1"
    assert "sid=43" in answer["headers"]["Set-Cookie"]
    await world.do({"url": server.url("/end")})
    assert server.seen[-1].headers.get("cookie") is None, "the next call begins without"


async def test_a_cookie_that_no_browser_keeps_goes_along_nowhere(server: Any, world: Any) -> None:
    server.replies["/long"] = reply(
        b"", 303, f"Set-Cookie: long={'x' * 4_096}", f"Set-Cookie: a={'x' * 4_000}", "Location: /next"
    )
    server.replies["/next"] = reply(b"", 200)
    answer = await world.do({"url": server.url("/long")})
    assert server.seen[-1].headers.get("cookie") == f"a={'x' * 4_000}"
    assert "long=" in answer["headers"]["Set-Cookie"], "the agent sees it all the same"


async def test_large_and_many_headers(server: Any, world: Any) -> None:
    server.replies["/a"] = reply(b"ok", 200, "A: " + "x" * 200_000, *(f"X-{n}: v" for n in range(400)))
    answer = await world.do({"url": server.url("/a")})
    assert (answer["body"], len(answer["headers"]["A"])) == ("ok", 200_000)
    server.replies["/b"] = reply(b"ok", 200, "A: " + "x" * 300_000)
    assert "headers are too large" in await world.error({"url": server.url("/b")})


@pytest.mark.parametrize("coding", ["identity", "none", "utf-8", "identity, gzip", "x-gzip"])
async def test_codings_that_are_none_and_padding(server: Any, world: Any, coding: str) -> None:
    body = gzip.compress(b"text") + b"\0" * 100 if "gzip" in coding else b"text"
    server.replies["/a"] = reply(body, 200, f"Content-Encoding: {coding}")
    assert (await world.do({"url": server.url("/a")}))["body"] == "text"


async def test_an_answer_that_nobody_asked_for_is_taken_for_no_other_s(server: Any, world: Any) -> None:
    server.replies["/a"] = reply(b"a") + reply(b"of nobody")
    server.replies["/b"] = reply(b"b")
    for _ in range(20):
        assert (await world.do({"url": server.url("/a")}))["body"] == "a"
        assert (await world.do({"url": server.url("/b")}))["body"] == "b"


async def test_a_late_answer_that_nobody_asked_for_is_taken_for_no_other_s(server: Any, world: Any) -> None:
    late = []

    async def twice(seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"a"))
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(reply(b"of nobody"))
        late.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.3)

    server.replies["/a"], server.replies["/b"] = twice, reply(b"b")
    for _ in range(5):
        assert (await world.do({"url": server.url("/a")}))["body"] == "a"
        await asyncio.sleep(0.05)
        assert (await world.do({"url": server.url("/b")}))["body"] == "b"
    assert len(late) == 5
