"""Servers that are slow, endless, oversized or broken."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_http.body import Decompressor

from mixkit import egress
from mixkit.errors import FFIError, LimitExceeded
from mixkit.limits import Limits

HEAD = b"HTTP/1.1 200 OK\r\n"


def dripping(start: bytes, drop: bytes, pause: float = 0.02) -> Any:
    async def reply(seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(pause)

    return reply


SLOW = {
    "nothing": dripping(b"", b""),
    "status line": dripping(b"HTTP/1.1 200 ", b"O"),
    "headers": dripping(HEAD, b"A: b\r\n", 0.05),
    "interim answers": dripping(b"", b"HTTP/1.1 103 Early\r\n\r\n"),
    "body": dripping(HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    "chunks": dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "redirect": dripping(b"HTTP/1.1 302 Found\r\n", b"L"),
}


@pytest.mark.parametrize("part", SLOW)
async def test_slow_servers_meet_the_timeout(server: Any, world: Any, part: str) -> None:
    server.replies["/a"] = SLOW[part]
    error = await world.error({"url": server.url("/a"), "timeout": 0.3})
    assert error == "no complete answer within 0.3 s"


async def test_the_settings_cap_the_timeout_and_the_budget_ends_the_run(server: Any, world: Any) -> None:
    server.replies["/a"] = SLOW["body"]
    world.change(timeout=0.2)
    assert "within 0.2 s" in await world.error({"url": server.url("/a"), "timeout": 60})
    with pytest.raises(LimitExceeded, match="wall_time"):
        await world.do({"url": server.url("/a")}, limits=Limits(wall_time=0.1))


async def test_the_timeout_covers_redirects_and_retries_together(server: Any, world: Any) -> None:
    async def slow_redirect(seen: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        writer.write(b"HTTP/1.1 307 X\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n")

    server.replies["/a"] = slow_redirect
    assert "within 0.4 s" in await world.error({"url": server.url("/a"), "timeout": 0.4})
    server.replies["/b"] = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
    assert "within 0.05 s" in await world.error({"url": server.url("/b"), "timeout": 0.05, "retry": 3})


async def test_a_slow_resolver_meets_the_timeouts(server: Any, world: Any, monkeypatch: Any) -> None:
    async def never(host: str) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(egress, "system_resolver", never)
    assert "within 0.1 s" in await world.error({"url": server.url("/a"), "timeout": 0.1})
    world.change(connect_timeout=0.1)
    assert "cannot connect" in await world.error({"url": server.url("/a")})


async def test_a_cancelled_call_closes_its_connection(server: Any, world: Any) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(seen: Any, writer: asyncio.StreamWriter) -> None:
        begun.set()
        try:
            await SLOW["body"](seen, writer)
        finally:
            ended.set()

    server.replies["/a"] = endless
    call = asyncio.create_task(world.do({"url": server.url("/a")}))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(ended.wait(), 5)


OVERSIZED = {
    "announced": HEAD + b"Content-Length: 100000000000\r\n\r\n" + b"x" * 10,
    "sent": HEAD + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001,
    "until the end": HEAD + b"\r\n" + b"x" * 1001,
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1f5\r\n" + b"x" * 501 + b"\r\n") * 2,
    "gzip": HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 1001),
    "deflate": HEAD + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(b"x" * 1001),
    "empty members": HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"") * 51,
    "members": HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 501) * 2,
}  # fmt: skip


@pytest.mark.parametrize("kind", OVERSIZED)
async def test_oversized_answers(server: Any, world: Any, kind: str) -> None:
    world.change(max_response_bytes=1000)
    server.replies["/a"] = OVERSIZED[kind]
    assert "more than 1000 bytes" in await world.error({"url": server.url("/a")})


async def test_an_endless_body_stops_at_the_bound(server: Any, world: Any) -> None:
    world.change(max_response_bytes=1_000_000)
    server.replies["/a"] = dripping(HEAD + b"\r\n", b"x" * 65536, 0)
    assert "more than 1000000 bytes" in await world.error({"url": server.url("/a")})
    assert world.state.budget.spent("outgoing_bytes") < 1_200_000


async def test_a_bomb_costs_no_more_than_the_bound(server: Any, world: Any) -> None:
    world.change(max_response_bytes=100_000)
    bomb = gzip.compress(bytes(50_000_000))
    server.replies["/a"] = HEAD + b"Content-Encoding: gzip\r\n\r\n" + bomb
    assert "more than 100000 bytes" in await world.error({"url": server.url("/a")})


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("X-GZIP", gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", zlib.compress(b"hello", wbits=-15)),
        ("identity", b"hello"),
        ("gzip", b""),
    ],
)
async def test_compressed_answers(server: Any, world: Any, coding: str, body: bytes) -> None:
    server.reply("/a", body, Content_Encoding=coding)
    assert (await world.do({"url": server.url("/a")}))["body"] == ("hello" if body else "")


BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "status": b"HTTP/1.1 abc OK\r\n\r\n",
    "header without colon": HEAD + b"nonsense\r\n\r\n",
    "folded header": HEAD + b"A: b\r\n c\r\nTransfer-Encoding : chunked\r\n\r\n",
    "NUL in a header": HEAD + b"A: b\x00c\r\n\r\n",
    "long header": HEAD + b"A: " + b"x" * 300_000 + b"\r\n\r\n",
    "many headers": HEAD + b"".join(b"A%d: x\r\n" % number for number in range(5000)) + b"\r\n",
    "cut body": HEAD + b"Content-Length: 100\r\n\r\nshort",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\nxx",
    "bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n",
    "cut chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "huge chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "no gzip": HEAD + b"Content-Encoding: gzip\r\n\r\nhello",
    "cut gzip": HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello" * 50)[:-9],
    "gzip with a tail": HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello") + b"tail",
    "no deflate": HEAD + b"Content-Encoding: deflate\r\n\r\n\xff\xff\xff",
    "unknown coding": HEAD + b"Content-Encoding: br\r\n\r\nhello",
    "chain of codings": HEAD + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip.compress(gzip.compress(b"x")),
    "two codings": HEAD + b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n"
    + gzip.compress(gzip.compress(b"x")),
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
async def test_broken_answers_are_errors_and_the_next_call_works(server: Any, world: Any, kind: str) -> None:
    async def broken(seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(BROKEN[kind])
        await writer.drain()

    server.replies["/a"] = broken
    server.reply("/b", "fine")
    error = await world.error({"url": server.url("/a"), "timeout": 5})
    assert "within" not in error and "log says why" not in error and "127.0.0.1" not in error, error
    assert (await world.do({"url": server.url("/b")}))["body"] == "fine"


async def test_what_follows_an_answer_is_not_the_next_one(server: Any, world: Any) -> None:
    """Response splitting: a second answer sent in advance must not reach the next run."""

    async def two(seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write((HEAD + b"Content-Length: 1\r\n\r\nx") + (HEAD + b"Content-Length: 4\r\n\r\nevil"))
        await writer.drain()
        await asyncio.sleep(5)

    server.replies["/a"] = two
    server.reply("/b", "fine")
    await world.do({"url": server.url("/a")})
    assert (await world.do({"url": server.url("/b")}))["body"] == "fine"


async def test_nothing_listens(server: Any, world: Any) -> None:
    world.change(allow_private=("127.0.0.1:1",))
    assert await world.error({"url": "https://server.test:1/"}) == "server.test:1: cannot connect"


# -- the decompressor ---------------------------------------------------------------------------------


@given(
    st.binary(max_size=3000),
    st.sampled_from(["gzip", "deflate", "raw", "identity"]),
    st.lists(st.integers(1, 500), min_size=1),
    st.integers(0, 4000),
)
def test_any_cut_of_the_wire_gives_the_same_bytes(
    data: bytes, coding: str, cuts: list[int], limit: int
) -> None:
    wire = {
        "gzip": gzip.compress(data),
        "deflate": zlib.compress(data),
        "raw": zlib.compress(data, wbits=-15),
        "identity": data,
    }[coding]
    decompressor = Decompressor("deflate" if coding == "raw" else coding, limit)
    result, at, index = b"", 0, 0
    while at < len(wire) and decompressor.left >= 0:
        piece = wire[at : at + cuts[index % len(cuts)]]
        result += decompressor.feed(piece)
        at, index = at + len(piece), index + 1
    assert (decompressor.left < 0) is (len(data) > limit)
    if len(data) <= limit:
        decompressor.finish()
        assert result == data
    elif coding != "identity":
        assert len(result) == limit + 1


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_decompress_or_are_an_error(data: bytes, coding: str) -> None:
    decompressor = Decompressor(coding, 1000)
    try:
        assert len(decompressor.feed(data)) <= 1001
        decompressor.finish()
    except FFIError:
        pass


async def test_a_run_looks_up_so_many_names(server: Any, world: Any) -> None:
    """Each of a silent name server's may take seconds, of which others have to wait for some."""
    limits = Limits(lookups=1)
    hosts = [f"n{number}.many.test" for number in range(2)]
    world.names |= {host: [["127.0.0.1"]] for host in hosts}
    server.redirect("/a", f"https://{hosts[1]}:{server.port}/b")
    with pytest.raises(LimitExceeded, match="lookups of 1 names"):
        await world.do({"url": f"https://{hosts[0]}:{server.port}/a"}, limits=limits)
    assert hosts[1] not in world.asked
