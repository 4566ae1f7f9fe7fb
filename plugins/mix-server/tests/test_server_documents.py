"""Records over HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import msgpack  # type: ignore[import-untyped]
import pytest
from mix_server.server import Server

from mixkit import Ref, msgpack_values, tagged_json
from mixkit.errors import StorageError

DB = "/v1/ws/w/app/demo"
DOCUMENTS = f"{DB}/documents"
ID = "0123456789abcdefghijklmnopqrstuv"
OTHER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
MSGPACK = "application/msgpack"
PLAIN, MIXQUERY = "mix_db.testing.plain:PlainStorage", "mix_db.storages:Mixquery"
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(params=[PLAIN, MIXQUERY], ids=["plain", "mixquery"])
def storage(request: pytest.FixtureRequest) -> str:
    """Each test runs on the slow plain database and on the real one."""
    path: str = request.param
    return path


def ref(id: str) -> dict[str, str]:
    """A Ref as tagged JSON."""
    return {"_rmx_type": "{tag}case:db.ref", "_rmx_value": id}


def fields(record: dict[str, Any]) -> dict[str, Any]:
    """The client's own fields."""
    return {name: value for name, value in record.items() if not name.startswith("_rmx_")}


async def save(client: httpx.AsyncClient, *records: dict[str, Any], **body: Any) -> Any:
    answer = await client.post(f"{DB}/save", json={"records": records, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_post_saves_a_record_and_says_where_it_is(client: httpx.AsyncClient) -> None:
    answer = await client.post(DOCUMENTS, json={"name": "Ada", "boss": ref("x")})
    assert answer.status_code == 201
    record = answer.json()
    assert fields(record) == {"name": "Ada", "boss": ref("x")}
    assert answer.headers["location"] == f"{DOCUMENTS}/{record['_rmx_id']['_rmx_value']}"
    assert answer.headers["etag"] == f'"{record["_rmx_rev"]}-0"'
    found = await client.get(answer.headers["location"])
    assert (found.status_code, found.json()) == (200, record)
    again = await client.post(DOCUMENTS, json=record | {"name": "Eve"})
    assert again.status_code == 200
    assert again.json()["_rmx_id"] == record["_rmx_id"]
    assert again.headers["etag"] != answer.headers["etag"]


async def test_put_replaces_and_patch_changes(client: httpx.AsyncClient) -> None:
    path = f"{DOCUMENTS}/{ID}"
    answer = await client.put(path, json={"a": 1, "b": 2})
    assert (answer.status_code, fields(answer.json())) == (201, {"a": 1, "b": 2})
    assert answer.json()["_rmx_id"] == ref(ID)
    answer = await client.patch(path, json={"b": 3, "_rmx_id": ref(ID)})
    assert (answer.status_code, fields(answer.json())) == (200, {"a": 1, "b": 3})
    answer = await client.put(path, json={"c": 4, "_rmx_id": ID})
    assert (answer.status_code, fields(answer.json())) == (200, {"c": 4})
    assert fields((await client.get(path)).json()) == {"c": 4}
    answer = await client.patch(f"{DOCUMENTS}/{OTHER}", json={"new": True})
    assert (answer.status_code, answer.json()["_rmx_id"]) == (201, ref(OTHER))


async def test_an_id_that_is_not_well_formed_is_only_kept_where_it_is_known(
    client: httpx.AsyncClient,
) -> None:
    for id in ("short", ID + "0", "%C3%BC" * 32, ".", "%2e%2e", "a%20b", "0" * 31 + "_"):
        answer = await client.put(f"{DOCUMENTS}/{id}", json={})
        assert answer.status_code == 400 or id in (".", "%2e%2e"), id
    assert (await client.get(DOCUMENTS)).json() == []
    await save(client, {"_rmx_id": "short", "a": 1}, options={"OriginalIdAlways": True})
    assert fields((await client.get(f"{DOCUMENTS}/short")).json()) == {"a": 1}
    answer = await client.patch(f"{DOCUMENTS}/short", json={"b": 2})
    assert (answer.status_code, fields(answer.json())) == (200, {"a": 1, "b": 2})
    answer = await client.put(f"{DOCUMENTS}/{ID}", json={"_rmx_id": OTHER})
    assert (answer.status_code, OTHER in answer.json()["message"]) == (400, True)


async def test_a_record_with_an_own_id_is_changed_by_read_change_save(client: httpx.AsyncClient) -> None:
    await save(client, {"_rmx_id": "C1", "n": 1}, options={"OriginalIdAlways": True})
    read = (await client.get(f"{DOCUMENTS}/C1")).json()
    answer = await client.post(DOCUMENTS, json=read | {"n": 2})
    assert (answer.status_code, answer.headers["location"]) == (200, f"{DOCUMENTS}/C1")
    [saved] = (await save(client, answer.json() | {"n": 3}, upsert=True))["records"]
    assert saved["_rmx_id"] == ref("C1")
    assert len((await client.get(DOCUMENTS)).json()) == 1


async def test_delete_answers_the_tombstone_and_an_unknown_id_is_no_error(client: httpx.AsyncClient) -> None:
    await client.put(f"{DOCUMENTS}/{ID}", json={"a": 1})
    answer = await client.delete(f"{DOCUMENTS}/{ID}")
    assert (answer.status_code, answer.json()["_rmx_deleted"]) == (200, True)
    for id in (ID, OTHER, "short"):
        answer = await client.delete(f"{DOCUMENTS}/{id}")
        assert (answer.status_code, answer.json()) == (200, {})
        answer = await client.get(f"{DOCUMENTS}/{id}")
        assert (answer.status_code, answer.json()["kind"]) == (404, "message")
    assert (await client.get(f"{DOCUMENTS}/{OTHER}/history")).status_code == 404
    versions = (await client.get(f"{DOCUMENTS}/{ID}/history")).json()
    assert [version.get("a", version.get("_rmx_deleted")) for version in versions] == [1, True]


async def test_a_record_can_be_read_as_it_was(client: httpx.AsyncClient) -> None:
    path = f"{DOCUMENTS}/{ID}"
    first = (await client.put(path, json={"a": 1})).json()
    await client.put(path, json={"a": 2})
    await client.delete(path)
    watermark, moment = first["_rmx_rev"], first["_rmx_last_modified_at"]
    assert fields((await client.get(path, params={"as_of": watermark})).json()) == {"a": 1}
    assert (await client.get(path, params={"as_of": moment - 1})).status_code == 404
    assert (await client.get(path, params={"as_of": "1970-01-01T00:00:00Z"})).status_code == 404
    history = (await client.get(f"{path}/history", params={"as_of": watermark})).json()
    assert [fields(version) for version in history] == [{"a": 1}]
    assert len((await client.get(DOCUMENTS, params={"as_of": watermark})).json()) == 1
    assert (await client.get(DOCUMENTS)).json() == []
    for bad in ("yesterday", "2026-01-01T00:00:00", "-1x", "", "9" * 40, "x" * 5000):
        answer = await client.get(path, params={"as_of": bad})
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), bad


async def test_an_etag_saves_sending_a_record_again(client: httpx.AsyncClient) -> None:
    path = f"{DOCUMENTS}/{ID}"
    etag = (await client.put(path, json={"a": 1})).headers["etag"]
    for sent in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = await client.get(path, headers={"If-None-Match": sent})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert (await client.get(path, headers={"If-None-Match": '"x"'})).status_code == 200
    await save(client, {"_rmx_id": ID, "a": 2}, {"_rmx_id": ID, "a": 3})
    versions = (await client.get(f"{path}/history")).json()
    assert versions[1]["_rmx_rev"] == versions[2]["_rmx_rev"]
    assert (await client.get(path, headers={"If-None-Match": etag})).status_code == 200
    head = await client.head(path)
    assert (head.status_code, head.content, bool(head.headers["etag"])) == (200, b"", True)


async def test_a_record_is_changed_only_as_the_client_knows_it(client: httpx.AsyncClient) -> None:
    path = f"{DOCUMENTS}/{ID}"
    old = (await client.put(path, json={"a": 1})).headers["etag"]
    answer = await client.put(path, json={"a": 2, "b": 1}, headers={"If-Match": old})
    assert (answer.status_code, fields(answer.json())) == (200, {"a": 2, "b": 1})
    new = answer.headers["etag"]
    refused = (
        old,
        f"W/{new}",
        '"x"',
        "",
        "x",
        new.strip('"'),
        '"',
        f"{new}x",
        f"{old}, W/{new}",
        '"' * 9_000,
    )
    for sent in refused:
        for method in ("PUT", "PATCH", "DELETE"):
            answer = await client.request(method, path, json={"a": 3}, headers={"If-Match": sent})
            assert (answer.status_code, answer.json()["kind"]) == (412, "message"), (method, sent)
            assert len(answer.text) < 500
    assert (await client.get(path)).headers["etag"] == new
    answer = await client.patch(path, json={"b": 2}, headers={"If-Match": f'"x", {new}'})
    assert (answer.status_code, fields(answer.json())) == (200, {"a": 2, "b": 2})
    answer = await client.patch(path, json={"b": 3}, headers={"If-Match": "*"})
    assert (answer.status_code, fields(answer.json())) == (200, {"a": 2, "b": 3})
    last = answer.headers["etag"]
    assert (await client.delete(path, headers={"If-Match": new})).status_code == 412
    assert (await client.delete(path, headers={"If-Match": last})).json()["_rmx_deleted"] is True
    for sent in (last, "*"):
        for method in ("PUT", "PATCH", "DELETE"):
            answer = await client.request(method, path, json={"a": 4}, headers={"If-Match": sent})
            assert answer.status_code == 412, (method, sent)
    assert (await client.get(path)).status_code == 404


async def test_a_record_is_made_only_if_there_is_none(client: httpx.AsyncClient) -> None:
    path, absent = f"{DOCUMENTS}/{ID}", {"If-None-Match": "*"}
    for _ in range(2):
        answer = await client.put(path, json={"a": 1}, headers=absent)
        # The second time there is a tombstone, which is a version before.
        assert answer.status_code in (200, 201)
        for method in ("PUT", "PATCH", "DELETE"):
            assert (await client.request(method, path, json={"a": 2}, headers=absent)).status_code == 412
        assert fields((await client.get(path)).json()) == {"a": 1}
        await client.delete(path)
    assert (await client.delete(path, headers=absent)).json() == {}
    etag = (await client.put(path, json={"a": 1})).headers["etag"]
    assert (await client.put(path, json={"a": 2}, headers={"If-None-Match": etag})).status_code == 412
    assert (await client.put(path, json={"a": 2}, headers={"If-None-Match": '"x"'})).status_code == 200


async def test_a_condition_that_is_not_kept_here_is_refused_and_nothing_is_done(
    client: httpx.AsyncClient,
) -> None:
    path, date = f"{DOCUMENTS}/{ID}", {"If-Unmodified-Since": "Sat, 01 Jan 2050 00:00:00 GMT"}
    etag = (await client.put(path, json={"a": 1})).headers["etag"]
    for method in ("PUT", "PATCH", "DELETE"):
        assert (await client.request(method, path, json={"a": 2}, headers=date)).status_code == 412
    assert fields((await client.get(path)).json()) == {"a": 1}
    # Whoever sends both is to be answered by the ETag.
    answer = await client.put(path, json={"a": 2}, headers=date | {"If-Match": etag})
    assert answer.status_code == 200


@pytest.mark.parametrize("match", ["etag", "*"])
async def test_clients_that_count_together_lose_nothing(client: httpx.AsyncClient, match: str) -> None:
    path = f"{DOCUMENTS}/{ID}"
    await client.put(path, json={"n": 0})

    async def count() -> int:
        done = 0
        while done < 10:
            found = await client.get(path)
            etag = found.headers["etag"] if match == "etag" else "*"
            answer = await client.put(path, json={"n": found.json()["n"] + 1}, headers={"If-Match": etag})
            assert answer.status_code == 200 or (match == "etag" and answer.status_code == 412)
            done += answer.status_code == 200
        return done

    assert sum(await asyncio.gather(*(count() for _ in range(4)))) == 40
    versions = (await client.get(f"{path}/history")).json()
    assert len(versions) == 41
    if match == "etag":
        assert [version["n"] for version in versions] == list(range(41))


async def test_a_compaction_changes_no_record(make_server: Make, connect: Connect) -> None:
    server = make_server()
    async with connect(server) as client:
        await client.put(f"{DOCUMENTS}/{OTHER}", json={})
        await client.delete(f"{DOCUMENTS}/{OTHER}")
        path = f"{DOCUMENTS}/{ID}"
        etag = (await client.put(path, json={"a": 1})).headers["etag"]
        (await server.databases.of("w", "demo")).compact(drop_history=True)
        assert (await client.get(path)).headers["etag"] != etag
        assert (await client.put(path, json={"a": 2}, headers={"If-Match": etag})).status_code == 200
        assert (await client.put(path, json={"a": 3}, headers={"If-Match": etag})).status_code == 412


async def test_a_batch_that_meets_another_is_a_conflict(client: httpx.AsyncClient) -> None:
    saved = (await save(client, {"n": 1}, {"n": 2}))["records"]
    [newest] = (await save(client, saved[1] | {"n": 3}, options={"Unchanged": True}))["records"]
    body = {"records": [saved[0] | {"n": 9}, saved[1] | {"n": 9}], "options": {"Unchanged": True}}
    answer = await client.post(f"{DB}/save", json=body)
    assert answer.status_code == 409
    told = answer.json()
    assert (told.pop("ok"), told.pop("kind"), "read it again" in told.pop("message")) == (
        False,
        "message",
        True,
    )
    assert told == {
        "id": saved[1]["_rmx_id"]["_rmx_value"],
        "expected": saved[1]["_rmx_rev"],
        "found": newest["_rmx_rev"],
        "path": "$[1]",
    }
    assert [row["n"] for row in (await client.get(DOCUMENTS)).json()] == [1, 3]


async def test_many_records_are_saved_in_one_commit(client: httpx.AsyncClient) -> None:
    saved = await save(client, {"_rmx_id": "boss", "n": 1}, {"n": 2, "boss": ref("boss")})
    one, two = saved["records"]
    assert one["_rmx_rev"] == two["_rmx_rev"] == saved["watermark"]
    assert two["boss"] == one["_rmx_id"] != ref("boss")
    id = one["_rmx_id"]["_rmx_value"]
    answer = await client.post(f"{DB}/save", params="return=ids", json=[{"_rmx_id": id, "n": 3}])
    assert answer.json().keys() == {"watermark", "ids"}
    assert answer.json()["ids"] == [id]
    saved = await save(client, {"_rmx_id": id, "m": 4}, upsert=True)
    assert fields(saved["records"][0]) == {"n": 3, "m": 4}
    saved = await save(client, {"_rmx_id": id, "n": 5}, options={"KeepOriginal": True})
    assert fields(saved["records"][0]) == {"n": 3, "m": 4}
    assert (await save(client))["records"] == []


async def test_all_or_nothing_and_the_place_of_what_is_wrong(client: httpx.AsyncClient) -> None:
    for bad in ({"_rmx_id": 7}, {"_rmx_id": None}, {"k" * 100_000: 1}):
        answer = await client.post(f"{DB}/save", json=[{"good": 1}, bad])
        assert answer.status_code == 400, bad
        assert answer.json()["path"].startswith("$[1]")
    assert (await client.get(DOCUMENTS)).json() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b'"text"',
        b'{"records": [{"a": 1e999}]}',
        b'{"records": [{"a": 99999999999999999999}]}',
        b'{"records": [{"a": NaN}]}',
        b'{"records": [{"a": 1, "a": 2}]}',
        b'{"records": [{"a": "\xff"}]}',
        b'{"records": [{"a": "\\ud800"}]}',
        b"[" * 10_000 + b"]" * 10_000,
        b'[{"a":' * 5_000 + b"1" + b"}]" * 5_000,
        b'[{"a": {"_rmx_type": "{tag}nonsense"}}]',
    ],
)
async def test_malformed_bodies_are_refused_and_nothing_is_saved(
    client: httpx.AsyncClient, body: bytes
) -> None:
    for method, path in (("POST", f"{DB}/save"), ("POST", DOCUMENTS), ("PUT", f"{DOCUMENTS}/{ID}")):
        answer = await client.request(method, path, content=body)
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), (method, path)
    assert (await client.get(DOCUMENTS)).json() == []


async def test_a_save_of_another_shape_is_refused(client: httpx.AsyncClient) -> None:
    for body in (
        {},
        {"records": 1},
        {"records": [1]},
        {"records": [], "surprise": 1},
        {"records": [], "options": {"Surprise": True}},
        {"records": [], "options": {"Upsert": "yes"}},
        {"records": [], "upsert": 1},
        [1],
        [[]],
    ):
        answer = await client.post(f"{DB}/save", json=body)
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), body
    answer = await client.post(f"{DB}/save", params="return=all", json=[])
    assert answer.status_code == 400
    for body in ([], [{}], 1, "x", None):
        assert (await client.post(DOCUMENTS, json=body)).status_code == 400


async def test_message_pack_in_and_out(client: httpx.AsyncClient) -> None:
    record = {"a": 1, "r": Ref("x"), "b": b"\0\xff"}
    headers = {"Content-Type": MSGPACK, "Accept": MSGPACK}
    answer = await client.post(DOCUMENTS, content=msgpack_values.pack(record), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (201, MSGPACK)
    assert fields(msgpack_values.unpack(answer.content)) == record  # type: ignore[arg-type]
    answer = await client.get(DOCUMENTS, headers={"Accept": MSGPACK})
    assert answer.headers["content-type"] == MSGPACK
    assert [fields(row) for row in msgpack_values.unpack(answer.content)] == [record]  # type: ignore[union-attr,arg-type]
    assert [fields(row) for row in tagged_json.loads((await client.get(DOCUMENTS)).content)] == [record]  # type: ignore[union-attr,arg-type]
    for bad in (b"\xc1", b"\x91", msgpack.packb({"a": 2**63}), b"\xdd\xff\xff\xff\xff", b"\x81\xa1a" * 5000):
        answer = await client.post(DOCUMENTS, content=bad, headers=headers)
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), bad
    answer = await client.post(DOCUMENTS, content=b"a=1", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


async def test_the_list_is_in_the_order_of_commits_and_bounded(client: httpx.AsyncClient) -> None:
    await save(client, *({"n": n} for n in range(150)))
    await save(client, *({"n": n} for n in range(150, 1100)))
    answer = await client.get(DOCUMENTS)
    assert [row["n"] for row in answer.json()] == list(range(100))
    assert answer.headers["mix-watermark"] == answer.json()[-1]["_rmx_rev"][:-1] + "2"
    answer = await client.get(DOCUMENTS, params={"skip": 140, "limit": 20})
    assert [row["n"] for row in answer.json()] == list(range(140, 160))
    assert (await client.get(DOCUMENTS, params={"limit": 0})).json() == []
    assert (await client.get(DOCUMENTS, params={"skip": 2**62})).json() == []
    assert len((await client.get(DOCUMENTS, params={"limit": 1000})).json()) == 1000
    answer = await client.get(DOCUMENTS, params={"query": "n < $n", "params": '{"n": 2}'})
    assert [row["n"] for row in answer.json()] == [0, 1]
    for bad in ("limit=1001", "limit=-1", "skip=-1", "limit=x", "limit=1&limit=2", "limit=1.5", "surprise=1",
                f"skip={2**64}", "include_deleted=yes", "timeout=0", "timeout=-1", "params=[]"):  # fmt: skip
        answer = await client.get(DOCUMENTS, params=bad)
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), bad


async def test_an_answer_that_would_be_too_large_is_refused(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(answer_limit=10_000)) as client:
        await save(client, *({"text": "x" * 1000} for _ in range(20)))
        answer = await client.get(DOCUMENTS)
        assert (answer.status_code, "10000 bytes" in answer.json()["message"]) == (400, True)
        assert len((await client.get(DOCUMENTS, params={"limit": 5})).json()) == 5
        await save(client, *({"_rmx_id": ID, "text": "x" * 1000} for _ in range(20)))
        assert (await client.get(f"{DOCUMENTS}/{ID}/history")).status_code == 400


async def test_a_body_over_the_limit_is_413(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(body_limit=2048)) as client:
        for path in (DOCUMENTS, f"{DB}/save"):
            assert (await client.post(path, json={"a": "x" * 3000})).status_code == 413
        assert (await client.put(f"{DOCUMENTS}/{ID}", json={"a": "x" * 3000})).status_code == 413


async def test_names_of_what_is_not_there_are_404(client: httpx.AsyncClient) -> None:
    for ws, app in (("w", "none"), ("none", "demo"), ("w", ".."), ("%2e%2e", "demo"), ("w", "demo%2f..%2fdemo"),
                    ("W", "demo"), ("w", "Demo"), ("w", "demo ")):  # fmt: skip
        for path in ("documents", f"documents/{ID}", f"documents/{ID}/history", "query?query=true", "query/x",
                     "live?query=true"):  # fmt: skip
            answer = await client.get(f"/v1/ws/{ws}/app/{app}/{path}")
            assert answer.status_code == 404, (ws, app, path)


async def test_apps_do_not_see_each_other(client: httpx.AsyncClient) -> None:
    await client.put("/v1/ws/w/app/second")
    await client.put(f"{DOCUMENTS}/{ID}", json={"a": 1})
    assert (await client.get(f"/v1/ws/w/app/second/documents/{ID}")).status_code == 404
    assert (await client.get("/v1/ws/w/app/second/documents")).json() == []


async def test_without_a_token_nothing_is_read_or_written(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(), token=None) as client:
        for method, path in (("GET", DOCUMENTS), ("POST", DOCUMENTS), ("PUT", f"{DOCUMENTS}/{ID}"),
                             ("POST", f"{DB}/save"), ("POST", f"{DB}/query"), ("GET", f"{DB}/live?query=true"),
                             ("PUT", f"{DB}/query/x"), ("POST", "/query/w/demo")):  # fmt: skip
            assert (await client.request(method, path, json={})).status_code == 401, path


@pytest.mark.parametrize("storage", [MIXQUERY])
async def test_a_full_database_says_what_is_taken_and_lets_delete(
    make_server: Make, connect: Connect
) -> None:
    server = make_server()
    async with connect(server) as client:
        record = (await client.post(DOCUMENTS, json={"text": "x" * 5_000})).json()
        database: Any = await server.databases.of("w", "demo")
        database._engine._quota.most = 10_000
        answer = await client.post(f"{DB}/save", json={"records": [{"text": "x" * 9_000}]})
        assert answer.status_code == 507
        assert "at most 10000 bytes" in answer.json()["message"]
        path = f"{DOCUMENTS}/{record['_rmx_id']['_rmx_value']}"
        assert (await client.delete(path)).status_code < 300


@pytest.mark.parametrize("storage", [MIXQUERY])
async def test_a_deleted_app_takes_its_database_with_it(make_server: Make, connect: Connect) -> None:
    server = make_server()
    async with connect(server) as client:
        for delete in ("/v1/ws/x/app/a", "/v1/ws/x"):
            await client.post("/v1/ws", json={"name": "x"})
            await client.put("/v1/ws/x/app/a")
            path = f"/v1/ws/x/app/a/documents/{ID}"
            assert (await client.put(path, json={"a": 1})).status_code == 201
            database = await server.databases.of("x", "a")
            assert (await client.delete(delete)).status_code == 204
            with pytest.raises(StorageError):
                database.get(ID)
            assert (await client.get(path)).status_code == 404
            await client.post("/v1/ws", json={"name": "x"})
            await client.put("/v1/ws/x/app/a")
            assert (await client.get("/v1/ws/x/app/a/documents")).json() == []
            await client.delete("/v1/ws/x")


@pytest.mark.parametrize("storage", [MIXQUERY])
async def test_an_app_that_another_process_made_anew_has_a_new_database(
    make_server: Make, connect: Connect
) -> None:
    server = make_server()
    async with connect(server) as client:
        await client.put("/v1/ws/w/app/short")
        path = f"/v1/ws/w/app/short/documents/{ID}"
        await client.put(path, json={"a": 1})
        # The other process knows nothing of what is open in this one.
        other = server.store.workspace("w")
        for _ in range(3):
            other.delete_app("short")
            other.create_app("short")
            assert (await client.get(path)).status_code == 404
            assert (await client.put(path, json={"a": 1})).status_code == 201


async def test_saves_at_once_are_all_there(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post(DOCUMENTS, json={"n": n}) for n in range(40)))
    assert {answer.status_code for answer in answers} == {201}
    found = (await client.get(DOCUMENTS)).json()
    assert sorted(row["n"] for row in found) == list(range(40))


async def test_look_ups_that_take_long_do_not_hold_up_the_next_ones(
    make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()
    monkeypatch.setattr("mix_server.databases._LONG", 0.2)
    monkeypatch.setattr("mix_server.databases._MOMENT", 600.0)

    def look(seconds: float) -> bool:
        """Whether it was done in a thread."""
        time.sleep(seconds)
        return threading.current_thread() is not threading.main_thread()

    assert not await server.databases.look_up(lambda: look(0))
    assert not await server.databases.look_up(lambda: look(0.3))
    assert await server.databases.look_up(lambda: look(0))
    # The moment is over.
    monkeypatch.setattr(server.databases, "_in_threads_until", 0.0)
    assert not await server.databases.look_up(lambda: look(0))
    server.databases.close()
