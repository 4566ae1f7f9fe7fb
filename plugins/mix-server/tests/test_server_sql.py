"""SQL over HTTP: rows in each form, errors, limits, and who may ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_server.server import Server

from mixkit import msgpack_values
from mixkit.errors import NotFound
from mixkit.package import Package

pytest.importorskip("mix_duckdb")
pytestmark = pytest.mark.xdist_group("sql")

DB = "/v1/ws/w/app/demo"
SQL = f"{DB}/sql"
NDJSON = {"Accept": "application/x-ndjson"}
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def storage() -> str:
    return "mix_db.storages:Mixquery"


async def fill(client: httpx.AsyncClient, count: int = 4) -> str:
    records = [{"_rmx_type": "order", "kind": "ab"[n % 2], "n": n} for n in range(count)]
    answer = await client.post(f"{DB}/save", json=records)
    assert answer.status_code == 200, answer.text
    read = await client.post(f"{DB}/query", json={"query": "true | limit(1)"})
    return read.headers["Mix-Watermark"]


async def test_rows_as_json_as_messagepack_and_line_by_line(client: httpx.AsyncClient) -> None:
    watermark = await fill(client)
    asked = {
        "sql": 'select kind, sum(n) as s from "order" where n >= ? group by kind order by kind',
        "params": [1],
    }
    expected = [{"kind": "a", "s": 2}, {"kind": "b", "s": 4}]
    answer = await client.post(SQL, json=asked)
    assert (answer.status_code, answer.json()) == (200, expected)
    assert answer.headers["Mix-Watermark"] == watermark
    answer = await client.post(SQL, json=asked, headers={"Accept": "application/msgpack"})
    assert msgpack_values.unpack(answer.content) == expected
    answer = await client.post(SQL, json=asked, headers=NDJSON)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.text.splitlines()] == expected
    named = {"sql": 'select count(*) as c from "order" where kind = $kind', "params": {"kind": "a"}}
    assert (await client.post(SQL, json=named)).json() == [{"c": 2}]
    assert (await client.post(SQL, json={"sql": "from records where n > 9"})).json() == []


async def test_the_past(client: httpx.AsyncClient) -> None:
    before = await fill(client)
    await fill(client)
    count = {"sql": "select count(*) as c from records"}
    assert (await client.post(SQL, json=count)).json() == [{"c": 8}]
    answer = await client.post(SQL, json=count | {"as_of": before})
    assert answer.json() == [{"c": 4}] and answer.headers["Mix-Watermark"] == before
    assert (await client.post(SQL, json=count | {"as_of": "2020-01-01T00:00:00"})).status_code == 400


@pytest.mark.parametrize(
    "body, told",
    [
        ({"sql": "select knd from records"}, "knd"),
        ({"sql": "selct 1"}, "LINE 1"),
        ({"sql": "from orders"}, "no table orders; there are records, order"),
        ({"sql": "copy records to 'x'"}, "COPY"),
        ({"sql": "select 1", "parms": []}, "parms"),
        ({"sql": 1}, "sql"),
        ([], "no object"),
    ],
)
async def test_mistakes_are_those_of_who_asks(client: httpx.AsyncClient, body: Any, told: str) -> None:
    await fill(client)
    for headers in ({}, NDJSON):
        answer = await client.post(SQL, json=body, headers=headers)
        assert answer.status_code == 400 and told in answer.json()["message"], answer.text


async def test_time_and_size_are_bounded(make_server: Make, connect: Connect) -> None:
    slow = {"sql": "select sum(a.range * b.range) from range(100000000) a, range(1000) b"}
    async with connect(make_server(answer_limit=2_000)) as client:
        await fill(client, 200)
        answer = await client.post(SQL, json=slow | {"timeout": 0.2})
        assert answer.status_code == 504 and "0.2 s" in answer.json()["message"]
        answer = await client.post(SQL, json={"sql": "from records"})
        assert answer.status_code == 400 and "LIMIT" in answer.json()["message"]
        answer = await client.post(SQL, json={"sql": "from records"}, headers=NDJSON)
        assert len(answer.text.splitlines()) == 200


async def test_only_who_may_read_the_app_may_ask(make_server: Make, connect: Connect) -> None:
    server = make_server()
    async with connect(server) as client:
        await fill(client)
        assert (await client.post(SQL, json={"sql": "from records"})).status_code == 200
        unknown = await client.post("/v1/ws/w/app/other/sql", json={"sql": "from records"})
        assert unknown.status_code == 404
        for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
            answer = await client.post(SQL, json={"sql": "from records"}, headers=headers)
            assert answer.status_code == 401


async def test_an_app_sees_its_own_records_and_nothing_of_the_machine(
    make_server: Make, connect: Connect, make_package: Callable[..., bytes]
) -> None:
    server = make_server()
    server.store.create("v").install(Package.open(make_package()))
    async with connect(server) as client:
        await fill(client)
        await client.post("/v1/ws/v/app/demo/save", json=[{"_rmx_type": "order", "secret": 1}])
        asked = {"sql": 'select * exclude (_rmx_id, _rmx_rev, _rmx_row, _rmx_last_modified_at) from "order"'}
        assert (await client.post("/v1/ws/v/app/demo/sql", json=asked)).json() == [
            {"_rmx_type": "order", "secret": 1}
        ]
        assert all("secret" not in row for row in (await client.post(SQL, json=asked)).json())
        for outside in ("from read_csv('/etc/passwd')", "select * from glob('/*')", "attach 'x.db'"):
            answer = await client.post(SQL, json={"sql": outside})
            assert answer.status_code == 400, answer.text


async def test_a_server_without_an_engine_says_so(make_server: Make, connect: Connect) -> None:
    server = make_server()
    server.kernel.assembly.sql_engines = {}
    with pytest.raises(NotFound, match="duckdb"):
        server.kernel.sql  # noqa: B018
    async with connect(server) as client:
        await fill(client)
        answer = await client.post(SQL, json={"sql": "from records"})
        assert answer.status_code == 501 and "duckdb" in answer.json()["message"]
