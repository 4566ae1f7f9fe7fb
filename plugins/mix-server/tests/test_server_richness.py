"""Bodies that are few bytes and many values are refused before the values are made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import httpx
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_server.app import create_app
from mix_server.errors import BodyTooRich
from mix_server.richness import check_json, check_msgpack

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=5),
    max_leaves=20,
)


def parts(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(parts, value))
    if isinstance(value, dict):
        return 1 + sum(1 + parts(item) for item in value.values())
    return 1


@given(JSON)
def test_as_many_as_are_allowed_pass_and_more_do_not(value: Any) -> None:
    count = parts(value)
    check_json(json.dumps(value, ensure_ascii=False).encode(), count)
    check_msgpack(msgpack.packb(value), count)
    more = [value] * (count + 1)
    with pytest.raises(BodyTooRich):
        check_json(json.dumps(more).encode(), parts(more) - 1)
    with pytest.raises(BodyTooRich):
        check_msgpack(msgpack.packb(more), count)


@given(st.binary(max_size=300))
def test_of_anything_else_whoever_reads_it_says_what_is_wrong(body: bytes) -> None:
    check_json(body, 10_000)
    for check in (check_json, check_msgpack):
        with suppress(BodyTooRich):
            check(body, 5)


def test_marks_in_texts_are_no_values() -> None:
    check_json(json.dumps(['a,b:[{\\",' * 1000, "x\\", "\\"]).encode(), 10)


Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.mark.parametrize("packed", [False, True])
async def test_many_small_records(make_server: Callable[..., Any], connect: Connect, packed: bool) -> None:
    server = make_server(values_limit=1_000)
    kind = "application/msgpack" if packed else "application/json"

    def body(count: int) -> bytes:
        records = [{}] * count
        return msgpack.packb(records) if packed else json.dumps(records).encode()

    async with connect(server) as client:
        for path in ("save", "documents", "query"):
            answer = await client.post(
                f"/v1/ws/w/app/demo/{path}", content=body(1_500), headers={"Content-Type": kind}
            )
            assert answer.status_code == 413, path
            assert "values_limit" in answer.json()["message"]
        answer = await client.post(
            "/v1/ws/w/app/demo/save", content=body(400), headers={"Content-Type": kind}
        )
        assert answer.status_code == 200
        if not packed:
            many = json.dumps({"x": [[]] * 1_500}).encode()
            answer = await client.post(
                "/v1/ws/w/app/demo/agent/echo", content=many, headers={"Content-Type": kind}
            )
            assert answer.status_code == 413


@pytest.mark.parametrize("part", [b'\\"', b"\\\\", b"x", b'"', b'"a"', b"[", b" "])
def test_no_text_is_gone_over_twice(part: bytes) -> None:
    """Closed or not: half a million parts are looked at in the time of one pass, which is far below a second."""
    marks = b"[" + b"," * 100
    body = marks + b'"' + part * 500_000
    began = time.process_time()
    with suppress(BodyTooRich):
        check_json(body, 50)
    # A walk that begins again at each part would take many minutes.
    assert time.process_time() - began < 10


@pytest.mark.parametrize("header", ["Accept", "Content-Type"])
async def test_headers_that_are_parsed_are_short(
    make_server: Callable[..., Any], connect: Connect, header: str
) -> None:
    async with connect(make_server()) as client:
        answer = await client.get("/v1/ws", headers={header: "application/json" + " " * 2_000 + "; a=b"})
        assert (answer.status_code, answer.json()["kind"]) == (431, "message")
        assert header.lower() in answer.json()["message"]
        assert (await client.get("/v1/ws", headers={header: "application/json; a=b"})).status_code == 200


async def test_headers_that_come_often_are_few_and_short_together(
    make_server: Callable[..., Any], connect: Connect
) -> None:
    async with connect(make_server()) as client:
        for headers in ([("Accept", "a/b;c=d" * 50)] * 8, [("X-Many", "1")] * 1_000):
            answer = await client.get("/v1/ws", headers=[*client.headers.items(), *headers])
            assert (answer.status_code, answer.json()["kind"]) == (431, "message")
        few = [*client.headers.items(), *[("X-Many", "1")] * 100]
        assert (await client.get("/v1/ws", headers=few)).status_code == 200


async def test_an_old_version_is_refused_without_a_traceback(make_server: Callable[..., Any]) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "0.9", "method": "GET", "path": "/",
        "raw_path": b"/", "query_string": b"", "root_path": "", "scheme": "http", "headers": [],
    }  # fmt: skip
    await create_app(make_server())(scope, receive, send)
    assert sent[0]["status"] == 505
    assert "HTTP/0.9" in json.loads(sent[1]["body"])["message"]
