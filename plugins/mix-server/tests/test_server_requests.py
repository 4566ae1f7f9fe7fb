"""What holds for every request: identity, refusals, limits, clients that go away."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from mix_db.storages import Memory
from mix_server.app import create_app
from mix_server.errors import NOT_FOUND
from mix_server.server import Server

from mixkit import Kernel
from mixkit.databases import Databases
from mixkit.environment import Env
from mixkit.errors import ProfileError

DEMO = "/v1/ws/w/app/demo/agent/"
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
Events = Callable[[], Awaitable[dict[str, Any]]]


async def call(
    server: Server, path: str, receive: Events, headers: dict[str, str] | None = None, query: bytes = b""
) -> list[dict[str, Any]]:
    """POST as an HTTP server would, with any events; answers what the application sent."""
    from_test = {"authorization": "Bearer a-token-for-tests-0123456789", "host": "127.0.0.1"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(k.encode(), v.encode()) for k, v in (from_test | (headers or {})).items()],
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 9),
        "scheme": "http",
        "root_path": "",
    }
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await create_app(server)(scope, receive, send)
    return sent


def events(*items: dict[str, Any], then: float | None = None) -> Events:
    """A `receive` that gives these events, and after them, maybe after a pause, a disconnect."""
    left = list(items)

    async def receive() -> dict[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.sleep(3600 if then is None else then)
        return {"type": "http.disconnect"}

    return receive


def chunk(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_ids_tell_nothing_of_how_many_there_are(client: httpx.AsyncClient) -> None:
    made = [(await client.get("/healthz")).headers["X-Request-Id"] for _ in range(20)]
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in made)
    # Neither half is the same again, nor one more.
    for part in (slice(0, 8), slice(8, 16)):
        numbers = [int(each[part], 16) for each in made]
        steps = {abs(one - other) for one, other in pairwise(numbers)}
        assert len(steps) == len(numbers) - 1 and max(steps) > 1 << 20


async def test_a_request_id_is_made_or_taken_if_it_is_sane(client: httpx.AsyncClient) -> None:
    made = [(await client.post(f"{DEMO}echo")).headers["x-request-id"] for _ in range(3)]
    assert len(set(made)) == 3
    assert all(len(item) == 16 for item in made)
    for sane in ("abc-1.2:3", "x" * 100):
        answer = await client.get("/v1/nothing", headers={"X-Request-Id": sane})
        assert answer.headers["x-request-id"] == sane
    for strange in ("a b", "x" * 101, "<script>", "ü", "", "-a", 'a"b'):
        answer = await client.get("/healthz", headers={b"X-Request-Id": strange.encode("latin-1")})
        assert answer.headers["x-request-id"] != strange


async def test_the_request_id_is_that_of_the_run(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "mix-vm"):
        await client.post(f"{DEMO}chatter", headers={"X-Request-Id": "mine"})
    assert {getattr(record, "run_id", None) for record in caplog.records if record.name == "mix-vm"} == {
        "mine"
    }


async def test_what_does_not_exist_looks_alike(client: httpx.AsyncClient) -> None:
    paths = (
        "/nothing", "/v1", "/v1/ws/x", "/v1/ws/w/app/x", "/v1/ws/w/app/demo/agent/x", "/v1/ws/x/app/demo/agent/x",
        "/v1/ws/%2e%2e", "/v1/ws/%2e", "/v1/ws/w%00", "/v1/ws/w%2fapp", "/v1/ws/-w", "/v1/ws/" + "w" * 500,
        "/v1/ws/w/app/%2e%2e", "/v1/ws/w/app/.lock", "/v1/ws/w/app/workspace.db", "/v1/ws/ü",
        "/v1/ws/w/app/workspace.db/documents", "/v1/ws/w/app/workspace.db%2fv2/documents", "/v1/ws/w/app/%20/documents",
        "/v1/ws/w/app//documents", "/v1/ws/w/app/demo%2f..%2fworkspace.db/save", "/v1/ws/w/app/workspace.db/query",
        "/v1/ws/w/app/workspace.db/query/x", "/v1/ws/w/app/workspace.db/live?query=true", "/ws/w/workspace.db",
        "/v1/ws/w/app/demo/agent/..%5c",
    )  # fmt: skip
    for path in paths:
        for method in ("GET", "POST", "DELETE"):
            answer = await client.request(method, path)
            if answer.status_code != 405:
                assert answer.status_code == 404, path
                assert answer.json() == {"ok": False, "kind": "message", "message": NOT_FOUND}
    assert (await client.get("/v1/ws/w")).status_code == 200


async def test_methods(client: httpx.AsyncClient) -> None:
    answer = await client.patch("/v1/ws/w")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")
    assert answer.json()["kind"] == "message"
    answer = await client.options(f"{DEMO}echo")
    assert (answer.status_code, answer.headers["allow"]) == (200, "GET, HEAD, POST")
    assert (await client.request("BREW", "/v1/ws")).status_code == 400
    for path in ("/", "/healthz", "/readyz", "/metrics", "/v1/ws", "/v1/ws/w", "/v1/ws/w/app/demo"):
        head = await client.head(path)
        assert (head.status_code, head.content) == (200, b"")


async def test_nothing_without_the_token_but_what_is_public(
    make_server: Make, connect: Connect, token: str
) -> None:
    async with connect(make_server(), None) as client:
        for header in (
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            f"Basic {token}",
            token,
            f"Bearer {token}x",
        ):
            headers = {} if header is None else {"Authorization": header}
            for path in ("/v1/ws", "/v1/ws/nothing", "/metrics", f"{DEMO}echo", "/run-agent/w/demo/echo"):
                answer = await client.get(path, headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
                assert token not in answer.text
        answer = await client.get("/v1/ws", headers={b"Authorization": b"Bearer \xff\xfe"})
        assert answer.status_code == 401
        assert (await client.get("/v1/ws", headers={"Authorization": f"bearer {token}"})).status_code == 200
        for path in ("/", "/healthz", "/readyz"):
            assert (await client.get(path)).status_code == 200
        # No more than the first of them.
        first = (await client.get("/")).json()
        release = (await client.get("/v1/ext/remix-app/release-info")).json()
        assert release == {"name": first["name"], "version": first["version"]}


async def test_a_declared_length_over_the_limit_is_refused_unread(make_server: Make) -> None:
    receive = events(chunk(b"", more=True))
    sent = await call(make_server(params_limit=1000), f"{DEMO}echo", receive, {"content-length": "100000"})
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_a_growing_body_is_refused_at_the_limit(make_server: Make) -> None:
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return chunk(b"x" * 100, more=True)

    sent = await call(make_server(params_limit=1000), f"{DEMO}echo", receive)
    assert sent[0]["status"] == 413
    assert taken == 11
    assert b"1000" in sent[1]["body"]


async def test_a_body_at_the_limit_is_taken(make_server: Make) -> None:
    server = make_server(params_limit=1000)
    body = b'"' + b"x" * 998 + b'"'
    sent = await call(server, f"{DEMO}echo", events(chunk(body[:500], more=True), chunk(body[500:])))
    assert (sent[0]["status"], sent[1]["body"]) == (200, body)
    sent = await call(server, f"{DEMO}echo", events(chunk(body + b" ")))
    assert sent[0]["status"] == 413


async def test_an_agent_sees_a_body_in_chunks_as_one(make_server: Make) -> None:
    receive = events(chunk(b"[1,", more=True), chunk(b"", more=True), chunk(b"2]"))
    sent = await call(make_server(), f"{DEMO}env", receive)
    seen = msgspec.json.decode(sent[1]["body"])
    assert seen["requestBody"]["_rmx_value"] == base64.b64encode(b"[1,2]").decode()


async def test_a_body_that_does_not_come_is_408(make_server: Make) -> None:
    sent = await call(make_server(body_timeout=0.1), f"{DEMO}echo", events(chunk(b"{", more=True)))
    assert sent[0]["status"] == 408


async def test_half_a_body_is_no_body(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_server()
    receive = events(chunk(b"n=1", more=True), then=0)
    form = {"content-type": "application/x-www-form-urlencoded"}
    sent = await call(server, f"{DEMO}typed", receive, form)
    assert sent[0]["status"] == 499


async def test_a_client_that_goes_away_stops_its_run(make_server: Make) -> None:
    server = make_server(limits_wall_time=30)
    started = time.monotonic()
    sent = await call(server, f"{DEMO}spin", events(chunk(b"{}"), then=0.1))
    assert sent[0]["status"] == 499
    assert time.monotonic() - started < 10
    assert server.admission.active == 0
    # The task that served it can serve on.
    sent = await call(server, f"{DEMO}echo", events(chunk(b"[1]")))
    assert sent[1]["body"] == b"[1]"


async def test_a_client_that_goes_away_while_it_waits_never_runs(make_server: Make) -> None:
    server = make_server(max_runs=1, limits_wall_time=1.0)
    first = asyncio.create_task(call(server, f"{DEMO}spin", events(chunk(b"{}"))))
    await asyncio.sleep(0.3)
    sent = await call(server, f"{DEMO}spin", events(chunk(b"{}"), then=0.1))
    assert sent[0]["status"] == 499
    assert (server.admission.active, server.admission.waiting) == (1, 0)
    assert (await first)[0]["status"] == 504
    assert server.admission.active == 0


async def test_an_agent_is_loaded_once_for_all_who_ask_first(
    make_server: Make, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()
    loaded = []
    load = server.kernel.load

    def counted(code: Any, name: str = "") -> Any:
        if isinstance(code, bytes):
            loaded.append(name)
        return load(code, name)

    monkeypatch.setattr(server.kernel, "load", counted)
    async with connect(server) as client:
        answers = await asyncio.gather(*(client.post(f"{DEMO}echo", json=n) for n in range(10)))
    assert [answer.json() for answer in answers] == list(range(10))
    assert loaded == ["demo/echo"]


async def test_bodies_that_cannot_be_read(client: httpx.AsyncClient) -> None:
    for body, says in (
        (b"{", ""),
        (b'{"a": 1, "a": 2}', "a"),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (b"1e999", ""),
        (b'{"x": [9223372036854775808]}', "$.x[0]"),
        (b'{"_rmx_type": "{tag}nonsense"}', "nonsense"),
    ):
        answer = await client.post(f"{DEMO}echo", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), body[:20]
        assert says in answer.json()["message"]
        assert len(answer.content) < 500
    for content_type in ("text/plain", "multipart/form-data", "application/xml", "x" * 1000):
        answer = await client.post(f"{DEMO}echo", content=b"1", headers={"Content-Type": content_type})
        assert answer.status_code == 415
        assert "application/json" in answer.json()["message"]


async def test_a_body_of_another_type_says_which_is_wanted(client: httpx.AsyncClient) -> None:
    """And what a command that says nothing of it has sent, as curl does with -d."""
    of = "/v1/ws/w/app/demo"
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Upload-Metadata": "path L2E="}
    begun = (await client.post(f"{of}/file-manager/uploads", headers=tus)).headers["location"]
    for method, path, wanted in (
        ("POST", f"{of}/documents", "application/json"),
        ("POST", f"{of}/save", "application/json"),
        ("POST", "/v1/ws/w/install", "application/octet-stream"),
        ("POST", "/v1/ws-import", "application/octet-stream"),
        ("POST", f"{of}/file-manager/content", "multipart/form-data"),
        ("PATCH", begun, "application/offset+octet-stream"),
    ):
        for content_type, says in (
            ("application/x-www-form-urlencoded", "curl sends that unless --json or -H"),
            ("text/plain; charset=utf-8", "found text/plain"),
        ):
            headers = {"Content-Type": content_type, **tus, "Upload-Offset": "0"}
            answer = await client.request(method, path, content=b"a=1", headers=headers)
            message = answer.json()["message"]
            assert (answer.status_code, wanted in message, says in message) == (415, True, True), message


async def test_query_strings_that_cannot_be_read(make_server: Make, client: httpx.AsyncClient) -> None:
    for query in ("a=%ff", "&".join(f"a{n}=1" for n in range(1001))):
        assert (await client.get(f"{DEMO}echo?{query}")).status_code == 400
    sent = await call(make_server(), f"{DEMO}echo", events(chunk(b"1")), query=b"\xff\xfe=\xff")
    assert sent[0]["status"] == 400
    assert b"expected percent-encoded UTF-8" in sent[1]["body"]


async def test_a_fault_of_the_server_tells_nothing_but_the_id(
    make_server: Make, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server()

    def broken(*args: Any) -> Any:
        raise ValueError("a secret of /the/inside")

    async with connect(server) as client:
        monkeypatch.setattr(server.store, "list", broken)
        answer = await client.get("/v1/ws", headers={"X-Request-Id": "find-me"})
    assert answer.status_code == 500
    assert answer.json()["kind"] == "message"
    assert "find-me" in answer.json()["message"]
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    (record,) = [record for record in caplog.records if getattr(record, "request_id", "") == "find-me"]
    assert record.exc_info is not None


async def test_a_fault_inside_a_run_is_the_servers(
    make_server: Make, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server()

    def broken(*args: Any) -> Any:
        raise ValueError("a secret of /the/inside")

    async with connect(server) as client:
        monkeypatch.setattr(Env, "static_words", broken)
        answer = await client.post(f"{DEMO}echo")
    assert (answer.status_code, answer.json()["kind"]) == (500, "message")
    assert "secret" not in answer.text


async def test_the_access_log_is_off_unless_wanted(
    make_server: Make, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mixkit.server.access"):
        for wanted in (False, True):
            caplog.clear()
            async with connect(make_server(access_log=wanted)) as client:
                await client.post(f"{DEMO}echo", headers={"X-Request-Id": "one"})
                await client.get("/v1/ws/%0a%1b[31mforged")
            lines = [record for record in caplog.records if record.name == "mixkit.server.access"]
            assert len(lines) == (2 if wanted else 0)
        assert lines[0].request_id == "one"  # type: ignore[attr-defined]
        assert f"POST {DEMO}echo 200" in lines[0].getMessage()


async def test_readiness(make_server: Make, connect: Connect) -> None:
    server = make_server()
    async with connect(server) as client:
        assert (await client.get("/readyz")).json() == {"ok": True}
        about = (await client.get("/")).json()
        assert about.keys() == {"name", "version", "build"}
        await server.admission.stop(0)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["message"]) == (503, "stopping")
        answer = await client.post(f"{DEMO}echo")
        assert answer.status_code == 503


async def test_metrics(make_server: Make, connect: Connect) -> None:
    async with connect(make_server()) as client:
        for n in range(3):
            await client.post(f"{DEMO}echo", json=n)
            await client.get(f"/v1/made-up-{n}")
        page = (await client.get("/metrics")).text
    route = "/v1/ws/{ws}/app/{app}/agent/{agent}"
    assert f'mixkit_http_requests_total{{method="POST",route="{route}",status="200"}} 3.0' in page
    assert 'mixkit_http_requests_total{method="GET",route="none",status="404"} 3.0' in page
    assert "made-up" not in page
    assert f'mixkit_http_request_seconds_count{{route="{route}"}} 3.0' in page


@pytest.mark.parametrize("databases", [None, Databases(Memory)])
def test_a_server_needs_a_storage_that_keeps_what_it_is_given(
    ws_dir: Path, token: str, databases: Databases | None
) -> None:
    overrides = {"settings.server.ws_dir": str(ws_dir), "settings.server.token": token}
    with Kernel("agent_server", overrides=overrides, environ={}) as kernel:
        kernel._databases = databases
        with pytest.raises(ProfileError, match=r"storage.*storage = ") as caught:
            Server(kernel)
        assert caught.value.where == "storage"
    assert not ws_dir.exists()


async def test_all_who_serve_the_same_workspaces_share_messages(make_server: Make) -> None:
    one, other = make_server().kernel.bus, make_server().kernel.bus
    subscription = await one.subscribe("a")
    await other.publish("a", b"x")
    assert (await subscription.next(15)).payload == b"x"
    await one.close()
    await other.close()


@pytest.mark.parametrize("path", ["/v1/ws", "/nothing", DEMO])
async def test_a_websocket_handshake_is_refused(make_server: Make, path: str) -> None:
    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": [], "subprotocols": []}
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await create_app(make_server())(scope, events({"type": "websocket.connect"}), send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_a_body_that_arrives_while_the_server_stops_is_not_waited_for(make_server: Make) -> None:
    server = make_server(body_timeout=3600.0)
    asking = [asyncio.create_task(call(server, f"{DEMO}echo", events(chunk(b"{", True)))) for _ in range(3)]
    await asyncio.sleep(0.1)
    server.begin_to_stop()
    asking.append(asyncio.create_task(call(server, f"{DEMO}echo", events(chunk(b"{", True)))))
    done, waiting = await asyncio.wait(asking, timeout=30)
    assert not waiting
    for task in done:
        sent = task.result()
        assert sent[0]["status"] == 503
        assert b"stopping" in sent[1]["body"]


async def test_a_request_that_is_cancelled_is_answered_with_503(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()

    async def forever(*args: Any) -> Any:
        await asyncio.sleep(3600)

    monkeypatch.setattr(server.catalog, "target", forever)
    task = asyncio.create_task(call(server, f"{DEMO}echo", events(chunk(b"{}"))))
    await asyncio.sleep(0.1)
    task.cancel()
    sent = await asyncio.wait_for(task, 30)
    assert sent[0]["status"] == 503
    assert (b"content-type", b"application/json") in sent[0]["headers"]
    assert b'"kind":"message"' in sent[1]["body"]


@pytest.mark.parametrize(
    ("method", "path", "wrong", "right"),
    [
        ("GET", f"/v1/ws/w/app/demo/documents/{'B' * 32}", "as_off", "as_of"),
        ("GET", f"/v1/ws/w/app/demo/documents/{'B' * 32}/history", "asof", "as_of"),
        ("POST", "/v1/ws/w/app/demo/save", "retrun", "return"),
        ("POST", "/v1/ws/w/install", "forse", "force"),
        ("GET", "/v1/ws/w/app/demo/documents", "limits", "limit"),
        ("POST", "/v1/ws/w/install", "y" * 5000, "force"),
    ],
)
async def test_an_option_that_is_misspelt_is_refused(
    client: httpx.AsyncClient, method: str, path: str, wrong: str, right: str
) -> None:
    answer = await client.request(method, path, params={wrong: "1"})
    assert answer.status_code == 400
    assert right in answer.json()["message"]
    assert len(answer.text) < 500


NO_TEXT = [
    b'{"\xff": 1}',
    *(b'{"%b": "\xff"}' % name for name in (b"ws", b"name", b"url", b"query", b"path", b"sources")),
    b'{"sources": {"a.mix": "\xff"}}',
    b"[" * 20_000,
    b'{"ws": ' + b"[" * 20_000,
    b'{"url": ' + b'{"a":' * 20_000,
]


async def test_what_is_no_text_or_has_no_end_is_refused_everywhere(server: Server, connect: Connect) -> None:
    paths: dict[str, dict[str, Any]] = msgspec.to_builtins(create_app(server).api.document()["paths"])
    filled = {"ws": "w", "app": "demo", "agent": "echo", "name": "q", "id": "A" * 32}
    asked = [
        (method.upper(), re.sub(r"\{(\w+)\}", lambda found: filled.get(found[1], "x"), path))
        for path, methods in paths.items()
        for method, about in methods.items()
        if method in ("post", "put", "patch") and "requestBody" in about
    ]
    assert len(asked) > 30
    async with connect(server) as client:
        for method, path in asked:
            for body in NO_TEXT:
                answer = await client.request(
                    method, path, content=body, headers={"Content-Type": "application/json"}
                )
                # What is stored as it is, or not done at all, is no fault.
                assert answer.status_code < 500 or answer.status_code in (501, 502), (method, path, body[:40])


def part(disposition: bytes, *headers: bytes) -> bytes:
    lines = (b"--x", b"Content-Disposition: form-data; " + disposition, *headers, b"", b"text")
    return b"\r\n".join(lines)


FILE = b'name="a"; filename="a.txt"'


@pytest.mark.parametrize(
    "form",
    [
        part(b'name="\xff"'),
        part(b'name="a"; filename="\xff"'),
        part(FILE, b"Content-Type: \xff"),
        part(FILE) + b"\r\n" + part(b'name="b"; filename="\xff"'),
        part(b"name=\"a\"; filename*=no-charset''a"),
    ],
)
async def test_forms_whose_names_are_no_text(client: httpx.AsyncClient, form: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    stored = "/v1/ws/w/app/demo/file-manager/content"
    for path in ("/v1/ws/w/install", "/install-remix-file/w", f"{stored}?path=/"):
        answer = await client.post(path, content=form + b"\r\n--x--\r\n", headers=headers)
        assert answer.status_code == 400, (path, answer.text)
    assert (await client.get(stored, params={"path": "/a.txt"})).status_code == 404


async def test_cookies_are_taken_as_they_stand_and_have_an_end(server: Server, connect: Connect) -> None:
    seen: list[tuple[Any, Any]] = []

    class Looks:
        async def process_request(self, req: Any, resp: Any) -> None:
            seen.append((req.get_cookie_values("a"), req.cookies))

    app = create_app(server)
    app.add_middleware(Looks())
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    server.start()
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for cookie, values, all in (
            ('a=1; b="2\\101"; a = "3"; c; =d;', ["1", '"3"'], {"a": "1", "b": '"2\\101"'}),
            ("b=1", None, {"b": "1"}),
            ("", None, {}),
        ):
            answer = await client.get("/healthz", headers={"Cookie": cookie})
            assert (answer.status_code, seen.pop()) == (200, (values, all))
        for size, status in ((16_000, 200), (17_000, 431)):
            answer = await client.get("/healthz", headers={"Cookie": f"a={'x' * size}"})
            assert answer.status_code == status
    await server.stop()
