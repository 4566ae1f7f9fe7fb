"""HEAD wherever GET is."""

from __future__ import annotations

import asyncio
from typing import Any

import falcon
import httpx
from mix_server.app import create_app

APP = "/v1/ws/w/app/demo"
ID = "B" * 32
QUERY = "?query=n == 1"

PATHS = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/swagger/",
    "/swagger/swagger.css",
    "/swagger/swagger.js",
    "/v1/ws",
    "/v1/ws/w",
    "/v1/ws/w/openapi.json",
    APP,
    f"{APP}/agent/echo",
    f"{APP}/documents",
    f"{APP}/documents{QUERY}",
    f"{APP}/documents/{ID}",
    f"{APP}/documents/{ID}/history",
    f"{APP}/query",
    f"{APP}/query{QUERY}",
    f"{APP}/query/parse{QUERY}",
    f"{APP}/query/q",
    f"{APP}/query/q?limit=1",
    f"{APP}/live",
    f"{APP}/files/public/a",
    f"{APP}/file-manager",
    f"{APP}/file-manager/content?path=/public/a",
    f"{APP}/file-manager/props?path=/public/a",
    f"{APP}/file-manager/uploads/{ID}",
    *(
        f"{of}/permissions{rest}"
        for of in ("/v1/ws/w", APP, f"{APP}/agent/echo")
        for rest in ("", f"/{ID}", "?explain=run&subject=all-users")
    ),
    *(f"{of}/may" for of in ("/v1/ws/w", APP, f"{APP}/agent/echo")),
    "/v1/ws/w/powers",
    "/v1/ws/w/powers/q",
    "/v1/ws/w/powers/demo",
    "/v1/ws/w/export",
    f"{APP}/export",
    "/ws-export/w",
    "/v1/ws/w/tokens",
    f"/v1/ws/w/tokens/{ID}",
    "/v1/auth/keys",
    "/v1/ws/w/auth-configs",
    "/v1/ws/w/auth-configs/q",
    "/v1/ws/w/accounts",
    "/v1/auth/w/q/start",
    "/v1/auth/w/q/callback",
    "/v1/activities",
    "/v1/ws/w/activities",
    "/v1/ws/w/activities?count=true",
    "/v1/ws/w/output",
    "/v1/auth/session",
    f"{APP}/secrets",
    "/v1/ext/remix-app/release-info",
    "/admin",
    "/admin/",
    "/admin/public/a",
    "/ws",
    "/ws/",
    "/ws/w",
    "/run-agent/w/demo/echo",
    "/v1/subscribe/$app/room",
    f"/v1/signals/{ID}",
    "/subscribe/$app/room",
    "/nothing",
    "/v1/ws/nothing",
    f"{APP}/documents/nothing",
    f"{APP}/query?query=((",
]

OTHER_BODY = ("/metrics", "/run-agent/w/demo/echo")
"""Numbers that change; a run, where HEAD describes."""


async def fill(client: httpx.AsyncClient) -> None:
    assert (await client.put(f"{APP}/documents/{ID}", json={"n": 1})).status_code == 201
    assert (await client.put(f"{APP}/query/q", json={"query": "n == 1"})).status_code == 201
    assert (await client.put(f"{APP}/files/public/a", content=b"a")).status_code == 201


def test_every_route_with_get_has_head_and_is_walked(make_server: Any) -> None:
    def routes(nodes: Any) -> Any:
        for node in nodes:
            if node.method_map:
                yield node
            yield from routes(node.children)

    walked = {path.partition("?")[0] for path in PATHS}
    for route in routes(create_app(make_server())._router._roots):
        done = {
            name for name, responder in route.method_map.items() if "responder" not in responder.__qualname__
        }
        assert ("GET" in done) == ("HEAD" in done), route.uri_template
        if "GET" in done:
            path = route.uri_template.replace(":path}", "}")
            assert (
                path.format(
                    ws="w", app="demo", agent="echo", id=ID, name="q", path="public/a", topic="$app/room"
                )
                in walked
            )


async def test_head_is_answered_as_get(client: httpx.AsyncClient) -> None:
    await fill(client)
    for path in PATHS:
        get, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        ignored = {"x-request-id"} | ({"content-length"} if path in OTHER_BODY else set())
        same = [
            {name: text for name, text in found.headers.items() if name not in ignored}
            for found in (get, head)
        ]
        assert same[0] == same[1], path


async def test_head_of_a_stream_leaves_nothing_open(make_server: Any, served: Any) -> None:
    server = make_server()
    async with served(server) as client:
        await fill(client)
        for _ in range(3):
            for path, accept in (
                (f"{APP}/query{QUERY}", "application/x-ndjson"),
                (f"{APP}/live{QUERY}", "*/*"),
                ("/v1/subscribe/$app/room?ws=w&app=demo", "*/*"),
            ):
                answer = await asyncio.wait_for(client.head(path, headers={"Accept": accept}), 30)
                assert (answer.status_code, answer.content) == (200, b"")
                assert "content-length" not in answer.headers
        assert len(server.streams) == 0


async def test_a_route_of_a_plugin_has_head_too(make_server: Any) -> None:
    class Weather:
        async def on_get(self, req: Any, resp: Any) -> None:
            resp.media = {"sun": True}

    server = make_server()
    app = create_app(server)
    app.add_route("/weather", Weather())
    server.start()
    headers = {"Authorization": "Bearer a-token-for-tests-0123456789"}
    transport: Any = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8000", headers=headers
    ) as client:
        head = await client.head("/weather")
        assert (head.status_code, head.headers["content-type"]) == (200, falcon.MEDIA_JSON)
        assert "HEAD" in (await client.post("/weather")).headers["Allow"]
    await server.stop()
