"""Exports and imports over HTTP: what may be had by whom, streamed and pulled, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tempfile
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from mix_server.caller import Caller
from mix_server.errors import Overloaded
from mix_server.moving.transfers import Transfers
from mix_server.server import Server

from mixkit.egress import EgressPolicy
from mixkit.moving.arriving import Bringing, Export
from mixkit.moving.remote import ANYWHERE, Remote

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

BINARY = {"Content-Type": "application/octet-stream"}
APP = "/v1/ws/w/app/demo"


@pytest.fixture
def server(make_server: Make) -> Server:
    return make_server(workspace_creators=["user/maker@example.org"])


@pytest.fixture
async def client(server: Server, connect: Connect) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(server) as client:
        for number in range(3):
            assert (await client.post(f"{APP}/documents", json={"n": number})).status_code == 201
        grant = {"subject": "user/ada@example.org", "role": "editor"}
        assert (await client.post("/v1/ws/w/permissions", json=grant)).status_code == 201
        yield client


def as_user(server: Server, email: str) -> dict[str, str]:
    token, _ = server.key.token(email, email, 600, use="token")
    return {"Authorization": f"Bearer {token}"}


async def exported(client: httpx.AsyncClient, path: str = "/v1/ws/w/export", **options: Any) -> bytes:
    answer = await client.get(path, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/vnd.mixkit.remix"
    return answer.content


async def brought(
    client: httpx.AsyncClient, data: bytes, path: str = "/v1/ws-import?ws=copy", **options: Any
) -> httpx.Response:
    headers = BINARY | options.pop("headers", {})
    return await client.post(path, content=data, headers=headers, **options)


async def test_a_workspace_goes_and_comes(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/ws/w/export")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="w.remix"'
    done = await brought(client, answer.content)
    assert done.status_code == 201, done.text
    assert done.headers["Location"] == "/v1/ws/copy"
    assert done.json() == {"workspace": "copy", "apps": ["demo"], "records": 3, "files": 0, "left_out": {}}
    assert (await client.post("/v1/ws/copy/app/demo/agent/echo", json={"a": 1})).json() == {"a": 1}
    records = (await client.get("/v1/ws/copy/app/demo/documents")).json()
    assert [record["n"] for record in records] == [0, 1, 2]
    grants = (await client.get("/v1/ws/copy/permissions")).json()
    assert "user/ada@example.org" in json.dumps(grants)
    # The name is taken, by what has apps.
    again = await brought(client, answer.content)
    assert (again.status_code, again.json()["message"]) == (
        409,
        "workspace 'copy' has the apps demo already; nothing was imported",
    )


async def test_an_app_goes_into_another_workspace(client: httpx.AsyncClient) -> None:
    data = await exported(client, f"{APP}/export")
    assert (await client.post("/v1/ws", json={"name": "other"})).status_code == 201
    assert (await brought(client, data, "/v1/ws/other/import")).status_code == 201
    assert (await client.get("/v1/ws/other")).json()["apps"] == ["demo"]
    assert (await brought(client, data, "/v1/ws/missing/import")).status_code == 404
    assert (await client.get("/v1/ws/w/app/missing/export")).status_code == 404


async def test_who_is_no_administrator_gets_no_grants(server: Server, client: httpx.AsyncClient) -> None:
    headers = as_user(server, "ada@example.org")
    data = await exported(client, headers=headers)
    assert "workspace.ndjson" not in zipfile.ZipFile(io.BytesIO(data)).namelist()
    refused = await client.get("/v1/ws/w/export?grants=true", headers=headers)
    assert refused.status_code == 403
    without = await exported(client, "/v1/ws/w/export?grants=false")
    assert "workspace.ndjson" not in zipfile.ZipFile(io.BytesIO(without)).namelist()


async def test_the_history_comes_on_wish(client: httpx.AsyncClient) -> None:
    [first, *_] = (await client.get(f"{APP}/documents")).json()
    id = first["_rmx_id"]["_rmx_value"]
    assert (await client.patch(f"{APP}/documents/{id}", json={"n": 9})).status_code == 200
    for query, versions in (("", 1), ("?history=true", 2)):
        data = await exported(client, f"/v1/ws/w/export{query}")
        name = f"copy{versions}"
        assert (await brought(client, data, f"/v1/ws-import?ws={name}")).status_code == 201
        history = (await client.get(f"/v1/ws/{name}/app/demo/documents/{id}/history")).json()
        assert len(history) == versions


async def test_who_makes_a_workspace_of_an_export_owns_it(server: Server, client: httpx.AsyncClient) -> None:
    data = await exported(client, "/v1/ws/w/export?grants=false")
    maker, other = as_user(server, "maker@example.org"), as_user(server, "ada@example.org")
    assert (await brought(client, data, headers=other)).status_code == 403
    assert (await brought(client, data, headers=maker)).status_code == 201
    assert (await client.get("/v1/ws/copy/permissions", headers=maker)).status_code == 200
    assert (await client.get("/v1/ws/copy", headers=other)).status_code == 404
    # A workspace of somebody else looks to the maker as it does when one is made.
    taken = await brought(client, data, "/v1/ws-import?ws=w", headers=maker)
    made = await client.post("/v1/ws", json={"name": "w"}, headers=maker)
    assert (taken.status_code, taken.json()) == (made.status_code, made.json())
    assert taken.status_code == 409


async def test_a_dry_run_says_what_comes(client: httpx.AsyncClient) -> None:
    data = await exported(client)
    found = await brought(client, data, "/v1/ws-import?ws=copy&dry_run=true")
    assert found.status_code == 200
    described = found.json()
    assert (described["workspace"], described["kind"], described["history"]) == ("w", "workspace", False)
    assert described["apps"] == [
        {"name": "demo", "package": "demo", "version": "1.0.0", "powers": ["$core_*"], "withheld": []}
    ]
    assert described["sha256"] == hashlib.sha256(data).hexdigest()
    assert (await client.get("/v1/ws/copy")).status_code == 404


async def test_what_is_no_export_is_refused_with_where(client: httpx.AsyncClient, make_package: Any) -> None:
    data = await exported(client)
    for bad, expected in (
        (b"nothing of the kind", "starts with 'PK'"),
        (data[:-10], "does not end with its end record"),
        (make_package(), "this is a package and no export"),
    ):
        answer = await brought(client, bad)
        assert answer.status_code == 400
        assert expected in answer.json()["message"]
    refused = await client.post("/v1/ws/w/install", content=data, headers=BINARY)
    assert (refused.status_code, "this is the export" in refused.json()["message"]) == (400, True)
    assert (await client.get("/v1/ws")).json() == {"workspaces": ["w"]}


async def test_an_import_is_bounded(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(transfer_limit=1024)) as client:
        data = await exported(client)
        assert (await brought(client, data)).status_code == 413
        assert (await brought(client, b"")).status_code == 400


async def test_the_first_interface(client: httpx.AsyncClient) -> None:
    data = await client.get("/ws-export/w")
    assert data.headers["Deprecation"]
    done = await brought(client, data.content, "/ws-import?ws=copy")
    assert (done.status_code, bool(done.headers["Deprecation"])) == (201, True)
    assert (await client.post("/ws-clone/copy2")).status_code == 400
    assert (await client.post("/ws-clone/copy2?url=https://127.0.0.1:1")).status_code == 403


async def test_no_other_server_is_reached_that_agents_may_not_reach(client: httpx.AsyncClient) -> None:
    for url in ("https://127.0.0.1:1/x", "http://example.org/x", "https://169.254.169.254/"):
        for path in ("/v1/ws/w/export", "/v1/ws-import"):
            answer = await client.post(path, json={"url": url})
            assert answer.status_code == 403, (url, path, answer.text)
    for body in ({"url": "https://h/", "sw": "x"}, {"url": "file:///etc/passwd"}, {"url": "["}, {}):
        assert (await client.post("/v1/ws-import", json=body)).status_code == 400


async def test_from_server_to_server(
    make_server: Make, served: Connect, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr("mix_server.moving.transfers.Transfers.remote", lambda self: Remote(ANYWHERE))
    async with served(make_server()) as client:
        address = str(client.base_url).rstrip("/")
        for number in range(3):
            await client.post(f"{APP}/documents", json={"n": number})
        source = {"url": f"{address}/v1/ws/w/export", "token": token}
        pulled = await client.post("/v1/ws-import", json=source | {"ws": "pulled"})
        assert (pulled.status_code, pulled.json()["records"]) == (201, 3), pulled.text
        target = {"url": f"{address}/v1/ws-import?ws=pushed", "token": token}
        pushed = await client.post("/v1/ws/w/export", json=target)
        assert (pushed.status_code, pushed.json()["workspace"]) == (200, "pushed"), pushed.text
        cloned = await client.post(f"/ws-clone/cloned?ws=w&url={address}&token={token}")
        assert (cloned.status_code, cloned.json()["records"]) == (201, 3), cloned.text
        assert (await client.get("/v1/ws")).json()["workspaces"] == ["cloned", "pulled", "pushed", "w"]
        # What the other server says is told, and who it is.
        wrong = await client.post(
            "/v1/ws-import", json=source | {"token": "wrong-token-0123456789", "ws": "x"}
        )
        assert (wrong.status_code, f"{address} answers 401" in wrong.json()["message"]) == (424, True)
        taken = await client.post("/v1/ws/w/export", json=target)
        assert (taken.status_code, "has the apps demo already" in taken.json()["message"]) == (424, True)
        gone = await client.post("/v1/ws-import", json={"url": "http://127.0.0.1:1/", "ws": "x"})
        assert (gone.status_code, "cannot reach" in gone.json()["message"]) == (424, True)


async def test_a_token_goes_to_its_own_server_alone(tmp_path: Any) -> None:
    """A redirect to another server, or another port, is followed without it, and checked as the first URL was."""
    asked: list[tuple[int, bytes]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        port = writer.get_extra_info("sockname")[1]
        asked.append((port, head))
        if port == first:
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/b\r\n\r\n" % second)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    one, two = [await asyncio.start_server(answer, "127.0.0.1", 0) for _ in range(2)]
    first, second = (each.sockets[0].getsockname()[1] for each in (one, two))
    async with one, two:
        out = io.BytesIO()
        fetch = Remote(ANYWHERE).fetch
        url = f"http://127.0.0.1:{first}/a"
        await asyncio.to_thread(fetch, url, out, 5, token="secret")
        assert out.getvalue() == b"hello"
        assert [port for port, _ in asked] == [first, second]
        assert b"Bearer secret" in asked[0][1]
        assert b"secret" not in asked[1][1]
        with pytest.raises(Exception, match="expected at most 4 bytes"):
            await asyncio.to_thread(fetch, url, io.BytesIO(), 4)
        with pytest.raises(Exception, match="expected https"):
            await asyncio.to_thread(Remote(EgressPolicy()).fetch, url, io.BytesIO(), 5)


async def test_no_other_tenant_learns_of_a_workspace(server: Server, client: httpx.AsyncClient) -> None:
    """What is not to be seen answers as what is not there, whatever is asked of it."""
    headers = as_user(server, "eve@example.org")
    data = await exported(client)
    for method, path, body in (
        ("GET", "/v1/ws/{}/export", None),
        ("GET", "/v1/ws/{}/export?grants=true", None),
        ("GET", "/v1/ws/{}/app/demo/export", None),
        ("GET", "/ws-export/{}", None),
        ("POST", "/v1/ws/{}/export", b'{"url": "https://example.org/"}'),
        ("POST", "/v1/ws/{}/import", data),
        ("GET", "/v1/ws/{}/powers", None),
        ("GET", "/v1/ws/{}/powers/demo", None),
        ("POST", "/v1/ws/{}/powers/demo", b'{"all": true}'),
        ("POST", "/v1/ws/{}/app/demo/remixgen", b'{"query": "true", "template": "/x"}'),
    ):
        hidden, missing = [
            await client.request(method, path.format(name), content=body, headers=headers | BINARY)
            for name in ("w", "nothing")
        ]
        assert (hidden.status_code, hidden.content) == (missing.status_code, missing.content), path
        assert hidden.status_code == 404, path


async def test_what_is_refused_is_no_activity_of_the_workspace(
    server: Server, client: httpx.AsyncClient
) -> None:
    """Who may make workspaces writes nothing into those of others by trying their names."""
    data = await exported(client)
    before = (await client.get("/v1/ws/w/activities?count=true")).json()
    maker = as_user(server, "maker@example.org")
    for path in ("/v1/ws-import?ws=w", "/v1/ws-import", "/ws-import?ws=w"):
        assert (await client.post(path, content=data, headers=maker | BINARY)).status_code == 409
    assert (await client.post("/v1/ws", json={"name": "w"}, headers=maker)).status_code == 409
    assert (await client.get("/v1/ws/w/activities?count=true")).json() == before
    assert (await client.get("/v1/activities?count=true&kind=import")).json() == {"count": 3}


async def test_what_is_at_a_url_is_what_was_agreed_to(
    make_server: Make, served: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mix_server.moving.transfers.Transfers.remote", lambda self: Remote(ANYWHERE))
    server = make_server()
    async with served(server) as client:
        files = server.kernel.files.open(server.store.workspace("w").place("demo"))
        await files.put("/public/w.remix", await exported(client))
        url = f"{str(client.base_url).rstrip('/')}{APP}/files/public/w.remix"
        looked = await client.post("/v1/ws-import?dry_run=true", json={"url": url, "ws": "copy"})
        assert looked.status_code == 200, looked.text
        agreed = {"url": url, "ws": "copy", "sha256": looked.json()["sha256"]}
        # Another one by then, with other powers as it may be.
        await files.put("/public/w.remix", await exported(client, "/v1/ws/w/export?grants=false"))
        other = await client.post("/v1/ws-import", json=agreed)
        assert (other.status_code, "nothing was changed" in other.text) == (400, True)
        assert (await client.get("/v1/ws")).json()["workspaces"] == ["w"]


async def test_few_transfers_are_under_way_at_once(server: Server) -> None:
    transfers = Transfers(server)
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(transfers.place(asked_by(None)))
        with pytest.raises(Overloaded):
            await stack.enter_async_context(transfers.place(asked_by(None)))
    async with transfers.place(asked_by(None)):
        pass
    # Who does not run the server leaves some to others, whether they come from one machine or not.
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(transfers.place(asked_by("ada@example.org")))
        with pytest.raises(Overloaded, match="of yours"):
            await stack.enter_async_context(transfers.place(asked_by("ada@example.org")))
        await stack.enter_async_context(transfers.place(asked_by("bob@example.org")))
    async with transfers.place(asked_by("ada@example.org")):
        pass


def asked_by(email: str | None) -> Any:
    """A request of a user; None is the operator."""
    caller = Caller(email, () if email is None else (f"user/{email}",), operator=email is None)
    return SimpleNamespace(caller=caller, scope={})


async def test_an_import_that_nobody_waits_for_leaves_nothing(
    server: Server, client: httpx.AsyncClient
) -> None:
    data = await exported(client)
    transfers = Transfers(server)
    begun = threading.Event()

    def work(watch: Callable[..., None]) -> None:
        def look(*sizes: int) -> None:
            begun.set()
            while True:
                watch()
                time.sleep(0.001)

        with tempfile.TemporaryFile() as file:
            file.write(data)
            opened = Export(file, 1 << 20)
            opened.bring(server.kernel, server.store, "copy", Bringing(watch=look))

    task = asyncio.create_task(transfers.run(work))
    assert await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.store.list() == ["w"]
    assert not (server.store.root / "copy").exists()
    assert (await brought(client, data)).status_code == 201


async def test_nothing_goes_past_a_proxy(
    server: Server, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = server.kernel.settings
    behind = msgspec.structs.replace(settings("http"), proxy="http://proxy.example:3128")
    monkeypatch.setattr(server.kernel, "settings", lambda name: behind if name == "http" else settings(name))
    for path in ("/v1/ws-import", "/v1/ws/w/export", "/v1/ws/w/install"):
        answer = await client.post(path, json={"url": "https://example.org/x"})
        assert (answer.status_code, "settings.http.proxy" in answer.json()["message"]) == (424, True)
