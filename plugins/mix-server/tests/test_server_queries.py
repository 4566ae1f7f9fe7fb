"""Queries over HTTP, stored ones, and answers row by row."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from mix_db.testing.plain import PlainCursor, PlainDatabase
from mix_server.server import Server
from mix_server.streams import Stream

from mixkit import Ref, msgpack_values
from mixkit.errors import StorageError

DB = "/v1/ws/w/app/demo"
QUERY = f"{DB}/query"
NDJSON = {"Accept": "application/x-ndjson"}
PLAIN, MIXQUERY = "mix_db.testing.plain:PlainStorage", "mix_db.storages:Mixquery"
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(params=[PLAIN, MIXQUERY], ids=["plain", "mixquery"])
def storage(request: pytest.FixtureRequest) -> str:
    """Each test runs on the slow plain database and on the real one."""
    path: str = request.param
    return path


async def save(client: httpx.AsyncClient, *records: dict[str, Any]) -> Any:
    answer = await client.post(f"{DB}/save", json=records)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def people(client: httpx.AsyncClient) -> None:
    await save(client, *({"name": name, "age": age} for name, age in (("Zoe", 40), ("Abe", 17), ("Ian", 18))))


async def ask(client: httpx.AsyncClient, query: str, **more: Any) -> Any:
    answer = await client.post(QUERY, json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_query_as_text_as_json_and_in_the_query_string(client: httpx.AsyncClient) -> None:
    await people(client)
    text = "age >= $age | { name } | orderAsc(name)"
    ast = ["query", ["comparison", ">=", ["token", "age"], ["param", "age"]],
           [["object", [["assignMember", "name", ["token", "name"]]]], ["orderAsc", ["token", "name"]]]]  # fmt: skip
    expected = [{"name": "Ian"}, {"name": "Zoe"}]
    assert await ask(client, text, params={"age": 18}) == expected
    answer = await client.post(QUERY, json={"ast": ast, "params": {"age": 18}})
    assert answer.json() == expected
    for params in (
        {"query": text, "params": '{"age": 18}'},
        {"ast": json.dumps(ast), "params": '{"age": 18}'},
    ):
        assert (await client.get(QUERY, params=params)).json() == expected
    answer = await client.post("/query/w/demo", json={"query": text, "params": {"age": 18}})
    assert answer.json() == expected
    assert "deprecation" in answer.headers


async def test_a_byte_order_mark_is_not_part_of_a_body(client: httpx.AsyncClient) -> None:
    await people(client)
    for path, body, status in (
        (QUERY, b'{"query": "age > 20 | { name }"}', 200),
        (f"{DB}/save", b'[{"name": "Eve"}]', 200),
        (f"{DB}/agent/echo", b'{"a": 1}', 200),
        ("/v1/ws", b'{"name": "marked"}', 201),
    ):
        answer = await client.post(
            path, content=b"\xef\xbb\xbf" + body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == status, answer.text
    bad = await client.post(QUERY, content=b'{"query": "\xe9"}', headers={"Content-Type": "application/json"})
    assert (bad.status_code, "UTF-8" in bad.text) == (400, True)


async def test_a_header_says_what_no_record_has(client: httpx.AsyncClient, storage: str) -> None:
    await people(client)
    said = "no record has a field 'agge'; did you mean 'age'? | no record has a field 'h\\xf6he'"
    for headers in ({}, NDJSON):
        odd = await client.post(QUERY, json={"query": "agge > 3 or `h\u00f6he` == 1"}, headers=headers)
        assert odd.status_code == 200
        assert odd.headers.get("mix-warning") == (said if storage == MIXQUERY else None)
        fine = await client.post(QUERY, json={"query": "age > 3"}, headers=headers)
        assert "mix-warning" not in fine.headers


async def test_refs_and_bytes_as_parameters_and_in_the_json_form(client: httpx.AsyncClient) -> None:
    tagged = {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "ann"}
    await save(client, {"owner": tagged, "n": 1}, {"owner": "ann", "n": 2})
    ast = [
        "query",
        ["comparison", "==", "owner", tagged],
        [["object", [["assignMember", "n", ["token", "n"]]]]],
    ]
    assert (await client.post(QUERY, json={"ast": ast})).json() == [{"n": 1}]
    assert await ask(client, "owner == $o | { n }", params={"o": tagged}) == [{"n": 1}]
    body = msgpack_values.pack({"query": "owner == $o | { n }", "params": {"o": Ref("ann")}})
    headers = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
    answer = await client.post(QUERY, content=body, headers=headers)
    assert msgpack_values.unpack(answer.content) == [{"n": 1}]


async def test_which_rows_are_wanted(client: httpx.AsyncClient) -> None:
    await save(client, *({"n": n} for n in range(250)))
    assert [row["n"] for row in await ask(client, "true", skip=120, limit=110)] == list(range(120, 230))
    assert await ask(client, "true | { n }", skip=249) == [{"n": 249}]
    assert await ask(client, "true", skip=250) == []
    assert await ask(client, "true", limit=0) == []
    assert len(await ask(client, "true", limit=2**63 - 1, skip=2**63 - 1)) == 0
    assert await ask(client, "true | limit(3) | count()", limit=10) == [{"count": 3}]


async def test_other_versions_and_other_times(client: httpx.AsyncClient) -> None:
    saved = await save(client, {"n": 1})
    id = saved["records"][0]["_rmx_id"]
    await save(client, {"_rmx_id": id, "n": 2})
    await client.delete(f"{DB}/documents/{id['_rmx_value']}")
    assert await ask(client, "true") == []
    assert [row["_rmx_deleted"] for row in await ask(client, "true", include_deleted=True)] == [True]
    assert [row["n"] for row in await ask(client, "true", include_superseded=True)] == [1, 2]
    assert [row["n"] for row in await ask(client, "true", as_of=saved["watermark"])] == [1]
    assert await ask(client, "true", as_of=0) == []
    params = {"query": "true", "include_superseded": "true", "as_of": "2999-01-01T00:00:00+01:00"}
    answer = await client.get(QUERY, params=params)
    assert [row["n"] for row in answer.json()] == [1, 2]
    assert answer.headers["mix-watermark"] > saved["watermark"]


async def test_explain_says_how_it_would_be_run(client: httpx.AsyncClient) -> None:
    await people(client)
    plan = await ask(client, "age > 17", explain=True)
    assert plan["rows"] is None
    assert (await ask(client, "age > 17", explain="run"))["rows"] == 2
    answer = await client.post(
        QUERY,
        json={"query": "age > 17", "explain": "run"},
        headers={"Accept": "application/msgpack"},
    )
    assert msgpack_values.unpack(answer.content)["rows"] == 2  # type: ignore[index,call-overload]
    answer = await client.get(QUERY, params={"query": "true", "explain": "true"})
    assert answer.json().keys() >= {"step", "rows", "estimate", "parts"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": "true", "ast": ["nullFilter"]},
        {"query": 1},
        {"query": "true", "surprise": 1},
        {"query": "true", "params": [1]},
        {"query": "true", "params": {"unknown": 1}},
        {"query": "a == $x"},
        {"query": "true", "skip": -1},
        {"query": "true", "limit": "5"},
        {"query": "true", "limit": True},
        {"query": "true", "timeout": 0},
        {"query": "true", "include_deleted": 1},
        {"query": "true", "explain": "please"},
        {"query": "true", "as_of": "yesterday"},
        {"query": "true", "as_of": "2026-01-01T00:00:00"},
        {"query": "true", "as_of": 1.5},
        {"query": "true " * 100_000},
        {"query": "(" * 10_000},
        {"query": "not " * 10_000 + "true"},
        {"query": "a == \ud800".encode("utf-8", "replace").decode()},
        {"ast": "true"},
        {"ast": []},
        {"ast": ["surprise"]},
        {"ast": ["query", ["nullFilter"], [["limit", -1]]]},
        {"ast": ["query", ["nullFilter"], [["skip", "0) | count("]]]},
        [],
        "true",
        None,
    ],
)
async def test_a_malformed_question_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    for path in (QUERY, "/query/w/demo"):
        answer = await client.post(path, json=body)
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), answer.text
        assert answer.json()["ok"] is False


async def test_a_mistake_in_a_query_has_its_place(client: httpx.AsyncClient) -> None:
    answer = await client.post(QUERY, json={"query": "a == 1 and\n  b = 2"})
    assert (answer.status_code, answer.json()["line"], answer.json()["column"]) == (400, 2, 5)
    answer = await client.post(QUERY, json={"ast": ["and", [["nullFilter"], ["surprise"]]]})
    assert (answer.status_code, answer.json()["path"]) == (400, "$[1][1]")


async def test_what_a_user_typed_never_becomes_part_of_a_query(client: httpx.AsyncClient) -> None:
    await save(client, {"name": "Ada", "secret": 1}, {"name": '" or true | { * }'})
    for typed in ('" or true', '" or true | { * }', "$name", 'x") or ("1" == "1', '["nullFilter"]', "Ada\0"):
        found = await ask(client, "name == $name | { name }", params={"name": typed})
        assert found == ([{"name": typed}] if typed == '" or true | { * }' else [])
        answer = await client.get(
            QUERY, params={"query": "name == $name", "params": json.dumps({"name": typed})}
        )
        assert all(row["name"] == typed for row in answer.json())
    # A parameter may name a field, and is nothing but the name of one.
    assert await ask(client, "exists $key", params={"key": "secret | count()"}) == []
    # Lists and nodes of the JSON form are values when they are parameters.
    for node in (["nullFilter"], ["param", "name"], ["token", "name"]):
        assert await ask(client, "name == $name", params={"name": node}) == []
    answer = await client.post(
        QUERY, json={"query": "name in $names", "params": {"names": ["list", ["Ada"]]}}
    )
    assert answer.json() == []
    for bad in ('include "/etc/passwd"', "true; true", "true | include(x)", "a == ${name}"):
        assert (await client.post(QUERY, json={"query": bad})).status_code == 400
    # What is beside the query stays beside it.
    for key in ("skip", "limit", "as_of"):
        answer = await client.get(QUERY, params={"query": 'name == "Ada" | { name }', key: "0) | reverse("})
        assert answer.status_code == 400
    answer = await client.post(QUERY, json={"query": "true", "params": {"a b": 1, "include": 2}})
    assert answer.status_code == 400


async def test_a_query_that_takes_too_long_is_504(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(query_timeout=0.000001)) as client:
        await people(client)
        answer = await client.post(QUERY, json={"query": "true", "timeout": 300})
        assert (answer.status_code, answer.json()["kind"]) == (504, "message")
        answer = await client.post(QUERY, json={"query": "true"}, headers=NDJSON)
        assert answer.status_code == 504
    async with connect(make_server()) as client:
        await people(client)
        answer = await client.post(QUERY, json={"query": "true", "timeout": 0.000001})
        assert answer.status_code == 504
        assert len(await ask(client, "true", limit=3)) == 3


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_a_storage_that_fails_is_503_and_says_nothing_of_the_inside(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await people(client)

    def fail(*_: Any, **__: Any) -> Any:
        raise StorageError("/srv/secret/db.dat is damaged at 17")

    for name in ("query", "get", "save", "delete"):
        monkeypatch.setattr(PlainDatabase, name, fail)
    for method, path in (("POST", QUERY), ("GET", f"{DB}/documents/x"), ("POST", f"{DB}/documents"),
                         ("DELETE", f"{DB}/documents/x")):  # fmt: skip
        answer = await client.request(method, path, json={"query": "true"}, headers={"X-Request-Id": "r1"})
        assert answer.status_code == 503
        assert "secret" not in answer.text
        assert "r1" in answer.json()["message"]
    assert "/srv/secret/db.dat" in caplog.text


# Row by row


async def test_rows_are_streamed_where_ndjson_is_asked_for(client: httpx.AsyncClient) -> None:
    await save(client, *({"n": n, "text": "ä\n\u2028"} for n in range(350)))
    for accept in ("application/x-ndjson", "application/json;q=0.5, application/x-ndjson"):
        answer = await client.post(QUERY, json={"query": "true", "skip": 5}, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert "content-length" not in answer.headers
        assert answer.headers["mix-watermark"]
        rows = [json.loads(line) for line in answer.text.split("\n")[:-1]]
        assert [row["n"] for row in rows] == list(range(5, 350))
    answer = await client.post(QUERY, json={"query": "n < 0"}, headers=NDJSON)
    assert (answer.status_code, answer.content) == (200, b"")
    answer = await client.get(f"{DB}/documents", headers=NDJSON)
    assert answer.text.count("\n") == 100
    for accept in ("*/*", "application/json, application/x-ndjson;q=0.5", "text/html"):
        answer = await client.post(QUERY, json={"query": "n == 3"}, headers={"Accept": accept})
        assert [row["n"] for row in answer.json()] == [3]
    answer = await client.post(QUERY, json={"query": "n == "}, headers=NDJSON)
    assert (answer.status_code, answer.json()["line"]) == (400, 1)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What streams send, part by part."""
    found: list[bytes] = []
    original = Stream.__init__

    def noted(self: Stream, streams: Any, req: Any, parts: AsyncIterator[bytes], close: Any) -> None:
        async def seen() -> AsyncGenerator[bytes, None]:
            async for part in parts:
                found.append(part)
                yield part

        original(self, streams, req, seen(), close)

    monkeypatch.setattr(Stream, "__init__", noted)
    return found


async def test_the_first_rows_of_a_stream_do_not_wait_for_the_others(
    client: httpx.AsyncClient, sent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mix_server.answer._SOON", 60.0)
    await save(client, *({"n": n} for n in range(350)))
    answer = await client.post(QUERY, json={"query": "true"}, headers=NDJSON)
    assert [json.loads(line)["n"] for line in answer.text.splitlines()] == list(range(350))
    assert [part.count(b"\n") for part in sent] == [100, 250]


async def test_large_rows_are_streamed_a_few_at_a_time(
    client: httpx.AsyncClient, sent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for keeper in (
        "mix_db.versions.state.BATCH_BYTES",
        "mix_db.testing.plain.BATCH_BYTES",
        "mix_server.answer._PART",
    ):
        monkeypatch.setattr(keeper, 10_000)
    await save(client, *({"n": n, "text": "x" * (20_000 if n == 7 else 3_000)} for n in range(20)))
    answer = await client.post(QUERY, json={"query": "true"}, headers=NDJSON)
    assert [json.loads(line)["n"] for line in answer.text.splitlines()] == list(range(20))
    assert len(sent) == 5
    assert max(map(len, sent)) < 35_000


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_an_error_in_mid_stream_is_the_last_line_and_the_connection_breaks(
    make_server: Make, served: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()
    calls = 0
    original = PlainCursor.next

    def fail(cursor: PlainCursor) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise StorageError("/srv/secret is damaged")
        return original(cursor)

    monkeypatch.setattr(PlainCursor, "next", fail)
    async with served(server) as client:
        await save(client, *({"n": n} for n in range(1000)))
        received = ""
        # NOTE: the body has no end: what came is a part, and whoever reads it is told so twice.
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.stream("POST", QUERY, json={"query": "true"}, headers=NDJSON) as answer:
                assert answer.status_code == 200
                async for text in answer.aiter_text():
                    received += text
        lines = [json.loads(line) for line in received.splitlines()]
        assert [line.get("n") for line in lines[:-1]] == list(range(200))
        assert (lines[-1]["ok"], lines[-1]["kind"]) == (False, "message")
        assert "secret" not in received
        assert len(await ask(client, "true", limit=5)) == 5


class Watched:
    """Counts batches that were read, and cursors that were closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches = 0
        self.closed = threading.Event()
        read, close = PlainCursor.next, PlainCursor.close

        def watched_next(cursor: PlainCursor) -> Any:
            self.batches += 1
            return read(cursor)

        def watched_close(cursor: PlainCursor) -> None:
            close(cursor)
            self.closed.set()

        monkeypatch.setattr(PlainCursor, "next", watched_next)
        monkeypatch.setattr(PlainCursor, "close", watched_close)

    async def until_closed(self) -> None:
        assert await asyncio.to_thread(self.closed.wait, 30), "the cursor was not closed"


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_a_client_that_reads_slowly_holds_back_the_query_and_one_that_goes_ends_it(
    make_server: Make, served: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(body_limit=100 << 20)
    async with served(server) as client:
        for _ in range(10):
            await save(client, *({"text": "x" * 20_000} for _ in range(300)))
        watched = Watched(monkeypatch)
        async with client.stream("POST", QUERY, json={"query": "true"}, headers=NDJSON) as answer:
            parts = answer.aiter_bytes()
            await anext(parts)
            seen = -1
            while seen != watched.batches:
                seen = watched.batches
                await asyncio.sleep(0.3)
            # 30 batches of 2 MB: the kernel's buffers take a few of them, the rest is not even read.
            assert seen < 20
            assert len(server.streams) == 1
        await watched.until_closed()
        assert watched.batches < 25
        assert len(server.streams) == 0


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_a_client_that_takes_nothing_is_cut_off(
    make_server: Make, served: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(stream_stall=0.2)
    async with served(server) as client:
        for _ in range(10):
            await save(client, *({"text": "x" * 20_000} for _ in range(300)))
        watched = Watched(monkeypatch)
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.stream("POST", QUERY, json={"query": "true"}, headers=NDJSON) as answer:
                parts = answer.aiter_bytes()
                await anext(parts)
                await watched.until_closed()
                assert len(server.streams) == 0
                async for _ in parts:
                    pass


@pytest.mark.parametrize("storage", [PLAIN], ids=["plain"])
async def test_streams_are_bounded(make_server: Make, served: Connect) -> None:
    async with served(make_server(max_streams=1)) as client:
        for _ in range(3):
            await save(client, *({"text": "x" * 20_000} for _ in range(300)))
        async with client.stream("POST", QUERY, json={"query": "true"}, headers=NDJSON) as answer:
            parts = answer.aiter_bytes()
            await anext(parts)
            second = await client.post(QUERY, json={"query": "true"}, headers=NDJSON)
            assert second.status_code == 429
            assert second.headers["retry-after"]
            third = await client.get(f"{DB}/live", params={"query": "true"})
            assert third.status_code == 429
            assert len(await ask(client, "true", limit=3)) == 3


async def test_an_answer_that_is_being_streamed_is_finished_by_a_server_that_stops(
    make_server: Make, served: Connect
) -> None:
    server = make_server()
    async with served(server) as client:
        for _ in range(3):
            await save(client, *({"text": "x" * 20_000} for _ in range(300)))
        async with client.stream("POST", QUERY, json={"query": "true"}, headers=NDJSON) as answer:
            parts = answer.aiter_bytes()
            lines = (await anext(parts)).count(b"\n")
            server.streams.stop()
            async for part in parts:
                lines += part.count(b"\n")
        assert lines == 900
        refused = await client.post(QUERY, json={"query": "true"}, headers=NDJSON)
        assert refused.status_code == 503


# Stored queries


async def test_a_stored_query_is_registered_read_run_and_removed(client: httpx.AsyncClient) -> None:
    await people(client)
    path = f"{QUERY}/older_than"
    definition = {
        "query": "age > $age | { name } | orderAsc(name)",
        "params": {"age": {"type": "int", "description": "years"}},
        "description": "who is older",
    }
    answer = await client.put(path, json=definition)
    assert (answer.status_code, answer.json()) == (201, {"name": "older_than", **definition})
    assert (await client.get(path)).json() == answer.json()
    assert (await client.post(path, json={"params": {"age": 17}})).json() == [
        {"name": "Ian"},
        {"name": "Zoe"},
    ]
    assert (await client.post(path, json={"params": {"age": 17}, "limit": 1})).json() == [{"name": "Ian"}]
    assert (await client.get(path, params={"age": 17, "skip": 1})).json() == [{"name": "Zoe"}]
    listed = (await client.get(QUERY)).json()
    assert listed == {"queries": [{"name": "older_than", "description": "who is older"}]}
    changed = await client.put(path, json=answer.json() | {"query": "age == $age | { name }"})
    assert changed.status_code == 200
    assert (await client.post(path, json={"params": {"age": 17}})).json() == [{"name": "Abe"}]
    assert (await client.delete("/query/w/demo/older_than")).status_code == 204
    for answer in (await client.get(path), await client.post(path), await client.delete(path)):
        assert answer.status_code == 404
    assert (await client.get(QUERY)).json() == {"queries": []}


async def test_a_stored_query_in_its_json_form_with_refs_and_defaults(client: httpx.AsyncClient) -> None:
    tagged = {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "ann"}
    await save(client, {"owner": tagged, "n": 1}, {"owner": "ann", "n": 2})
    condition = ["and", [["comparison", "==", "owner", tagged], ["comparison", ">=", "n", ["param", "n"]]]]
    definition = {"ast": ["query", condition, [["object", [["assignMember", "n", ["token", "n"]]]]]]}
    path = f"{QUERY}/anns"
    answer = await client.put(path, json=definition | {"params": {"n": {"type": "int", "default": 0}}})
    assert answer.status_code == 201
    assert (await client.get(path)).json()["ast"] == definition["ast"]
    assert (await client.post(path)).json() == [{"n": 1}]
    assert (await client.post(path, json={"params": {"n": 2}})).json() == []
    # A form's field that was left empty.
    assert (await client.get(path, params="n=")).json() == [{"n": 1}]
    answer = await client.post(path, headers=NDJSON)
    assert answer.text == '{"n":1}\n'


async def test_parameters_are_of_their_types(client: httpx.AsyncClient) -> None:
    await people(client)
    path = f"{QUERY}/named"
    definition = {"query": "name in $names and age > $limit | { name }",
                  "params": {"names": "array(string)", "limit": "int"}}  # fmt: skip
    assert (await client.put(path, json=definition)).status_code == 201
    # The parameter is meant by its name, not the option.
    assert (await client.get(path, params="names=Abe&names=Zoe&limit=17")).json() == [{"name": "Zoe"}]
    for params in ({"names": "Abe", "limit": 1}, {"names": ["Abe"], "limit": "1"}, {"names": ["Abe"]},
                   {"names": ["Abe"], "limit": 1, "more": 1}, {}):  # fmt: skip
        answer = await client.post(path, json={"params": params})
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), params
    for bad in ("names=Abe&limit=x", "names=Abe&limit=1&limit=2", "names=Abe&limit=1&more=1"):
        assert (await client.get(path, params=bad)).status_code == 400
    for body in ({"query": "true"}, {"ast": ["nullFilter"]}, [], {"limit": -1}):
        assert (await client.post(path, json=body)).status_code == 400


async def test_a_malformed_definition_is_refused(client: httpx.AsyncClient) -> None:
    for body in (
        {}, {"query": "a =="}, {"ast": ["surprise"]}, {"query": "true", "ast": ["nullFilter"]}, {"query": 1},
        {"query": "true", "surprise": 1}, {"query": "a == $a", "params": {"a": "nonsense("}},
        {"query": "a == $a", "params": {"a": {"type": "int", "default": "x"}}},
        {"query": "true", "name": "other"}, {"query": "true", "params": {f"p{n}": "int" for n in range(200)}},
    ):  # fmt: skip
        answer = await client.put(f"{QUERY}/bad", json=body)
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), body
    for name in ("1a", "a b", "ü", "a" * 101, "%00", "-x", "a%0a"):
        assert (await client.put(f"{QUERY}/{name}", json={"query": "true"})).status_code == 400, name
        assert (await client.get(f"{QUERY}/{name}")).status_code == 404
    assert (await client.get(QUERY)).json() == {"queries": []}


async def test_a_record_that_looks_like_a_stored_query_has_no_power(client: httpx.AsyncClient) -> None:
    await client.put(f"{QUERY}/good", json={"query": "true | count()"})
    # Another record of that type and name is not the stored query.
    forged = {"_rmx_type": "mixkit.query", "name": "good", "query": "true | { * }", "params": {}}
    await save(client, forged, forged | {"name": "mine"})
    assert (await client.get(f"{QUERY}/good")).json()["query"] == "true | count()"
    assert (await client.get(f"{QUERY}/mine")).status_code == 404
    # One in its very place that is no definition is refused whole, and can be removed.
    [record] = await ask(client, 'name == "good" and query == "true | count()"')
    for change in (
        {"query": 7},
        {"params": {"a": {"type": "("}}},
        {"params": 1},
        {"ast": "x", "query": None},
    ):
        await save(client, record | change)
        for answer in (await client.get(f"{QUERY}/good"), await client.post(f"{QUERY}/good")):
            assert answer.status_code == 400
            assert "register it anew" in answer.json()["message"]
    await save(client, record | {"name": "other"})
    assert (await client.get(f"{QUERY}/good")).status_code == 404
    await save(client, record | {"query": 7})
    assert (await client.delete(f"{QUERY}/good")).status_code == 204


async def test_a_query_is_parsed_and_not_run(client: httpx.AsyncClient) -> None:
    text, parse = "age>=$age|limit( 2 )", f"{QUERY}/parse"
    found = (await client.post(parse, json={"query": text})).json()
    assert found["text"] == "age >= $age | limit(2)"
    assert found["ast"][1] == ["comparison", ">=", ["token", "age"], ["param", "age"]]
    assert (await client.get(parse, params={"query": text})).json() == found
    assert (await client.post(parse, json={"ast": found["ast"]})).json() == found
    assert (await client.get(parse, params={"ast": json.dumps(found["ast"])})).json() == found

    wrong = await client.post(parse, json={"query": "age >=\n  | limit(2)"})
    assert (wrong.status_code, wrong.json()["line"], wrong.json()["column"]) == (400, 2, 3)
    wrong = await client.post(parse, json={"ast": ["not", ["no", "such"]]})
    assert (wrong.status_code, wrong.json()["path"]) == (400, "$[1]")
    for body in ({}, {"query": "true", "ast": []}, {"query": "true", "limit": 1}, []):
        assert (await client.post(parse, json=body)).status_code == 400
    assert (await client.post("/v1/ws/w/app/none/query/parse", json={"query": "true"})).status_code == 404


async def test_no_stored_query_has_the_name_of_another_path(client: httpx.AsyncClient) -> None:
    # `PUT …/query/parse` is not done at all, and what the first interface removes may be from elsewhere.
    assert (await client.put(f"{QUERY}/parse", json={"query": "true"})).status_code == 405
    assert (await client.delete("/query/w/demo/parse")).status_code == 404
