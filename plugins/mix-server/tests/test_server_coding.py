"""Bodies that are compressed: read wherever a body is read, under its limit, or refused."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from mix_server.coding import Decoder
from mix_server.errors import BadRequest, BodyTooLarge

APP = "/v1/ws/w/app/demo"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

BODIES = [
    ("POST", "/v1/ws", JSON, b'{"name": "other"}'),
    ("POST", f"{APP}/agent/echo", JSON, b'{"a": 1}'),
    ("POST", f"{APP}/agent/echo", FORM, b"a=1"),
    ("POST", f"{APP}/documents", JSON, b'{"a": 1}'),
    ("PUT", f"{APP}/documents/{'B' * 32}", JSON, b'{"a": 1}'),
    ("PATCH", f"{APP}/documents/{'B' * 32}", JSON, b'{"b": 1}'),
    ("POST", f"{APP}/save", JSON, b'[{"a": 1}]'),
    ("POST", f"{APP}/query", JSON, b'{"query": "a == 1"}'),
    ("PUT", f"{APP}/query/q", JSON, b'{"query": "a == 1"}'),
    ("POST", f"{APP}/query/q", JSON, b"{}"),
]

CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "identity, gzip": gzip.compress,
    "": bytes,
}


def send(client: httpx.AsyncClient, request: Any, coding: str, body: bytes) -> Any:
    method, path, content_type, _ = request
    headers = {"Content-Type": content_type, "Content-Encoding": coding}
    return client.request(method, path, content=body, headers=headers)


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_body_means_the_same(client: httpx.AsyncClient, coding: str) -> None:
    for request in BODIES:
        answer = await send(client, request, coding, CODINGS[coding](request[3]))
        assert answer.status_code < 300, (request, answer.text)
    assert (await client.get(f"{APP}/documents?query=a == 1")).json()


async def test_a_package_may_be_compressed(
    client: httpx.AsyncClient, make_package: Callable[..., bytes]
) -> None:
    binary = ("POST", "/v1/ws/w/install", "application/octet-stream", b"")
    assert (await send(client, binary, "gzip", gzip.compress(make_package()))).status_code == 200
    part = (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="p"\r\n\r\n'
        + make_package()
        + b"\r\n--x--\r\n"
    )
    form = ("POST", "/v1/ws/w/install", "multipart/form-data; boundary=x", b"")
    assert (await send(client, form, "gzip", gzip.compress(part))).status_code == 200


@pytest.mark.parametrize("coding", ["zstd", "br", "compress", "gzip, gzip", "deflate, gzip", "x", "gzip;q=1"])
async def test_another_coding_is_refused(client: httpx.AsyncClient, coding: str) -> None:
    assert (await client.put(f"{APP}/query/q", json={"query": "a == 1"})).status_code == 201
    for request in BODIES:
        answer = await send(client, request, coding, request[3])
        assert answer.status_code == 415, request
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"
        assert "Content-Encoding" in answer.json()["message"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_what_is_not_in_its_coding_is_refused(client: httpx.AsyncClient, coding: str) -> None:
    assert (await client.put(f"{APP}/query/q", json={"query": "a == 1"})).status_code == 201
    for request in BODIES:
        whole = CODINGS[coding](request[3])
        for body in (request[3], whole[:-1], whole[:5], whole + b"x"):
            answer = await send(client, request, coding, body)
            assert answer.status_code == 400, (request, body)
            assert coding in answer.json()["message"]


async def test_an_agent_sees_the_body_that_it_is_run_with(client: httpx.AsyncClient) -> None:
    request = ("POST", f"{APP}/agent/env", JSON, b'{"a": 1}')
    seen = (await send(client, request, "gzip", gzip.compress(request[3]))).json()
    assert not {"content-encoding", "content-length"} & set(seen["requestHeaders"])
    assert {"content-length", "content-type"} <= set(
        (await send(client, request, "", request[3])).json()["requestHeaders"]
    )


async def test_the_limit_counts_what_a_body_becomes(make_server: Any, connect: Any) -> None:
    async with connect(make_server(body_limit=100_000, params_limit=100_000)) as client:
        for coding in ("gzip", "deflate"):
            for size, statuses in ((99_000, (200, 201)), (101_000, (413,)), (3_000_000, (413,))):
                body = CODINGS[coding](json.dumps({"a": "x" * size}).encode())
                for path in ("agent/echo", "documents"):
                    answer = await send(client, ("POST", f"{APP}/{path}", JSON, b""), coding, body)
                    assert answer.status_code in statuses, (size, path, answer.text[:200])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_decoder_takes_a_body_in_any_chunks(coding: str) -> None:
    rng = random.Random(1)
    for body in (b"", b"a", b"ab" * 500_000, rng.randbytes(300_000), bytes(262_144), bytes(524_288)):
        packed = CODINGS[coding](body)
        if coding == "gzip":
            packed, body = packed + packed, body + body
        for size in (17_000, 65_536, len(packed)):
            decoder = Decoder(coding, len(body))
            chunks = [packed[at : at + size] for at in range(0, len(packed), size)]
            pieces = [piece for chunk in chunks for piece in decoder.decode(chunk)]
            decoder.finish()
            assert b"".join(pieces) == body
            assert all(len(piece) <= 262_144 for piece in pieces)


def test_a_decoder_makes_no_more_than_it_may() -> None:
    made = 0
    with pytest.raises(BodyTooLarge):
        for piece in Decoder("gzip", 1_000_000).decode(gzip.compress(bytes(20_000_000))):
            made += len(piece)
    assert made <= 1_000_000


def test_a_body_of_very_many_parts_is_refused() -> None:
    with pytest.raises(BadRequest, match="parts"):
        list(Decoder("gzip", 1_000).decode(gzip.compress(b"") * 2_000))
