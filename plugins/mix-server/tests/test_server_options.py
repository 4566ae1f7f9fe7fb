"""Every route refuses what it would pass over: options in the query string, parts of bodies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mix_server.app import create_app
from mix_server.options import ITS_OWN, options_of
from mix_server.resources.agents import Agents

from mixkit.near import meant

ROOT = Path(__file__).parents[3]
PLACES = {
    "ws": "w",
    "app": "demo",
    "agent": "typed",
    "id": "B" * 32,
    "name": "q",
    "path": "a",
    "topic": "$app/a",
}


def routes(app: Any) -> Iterator[tuple[str, str, Any]]:
    """Method, path and resource of all that is done."""

    def walk(nodes: Any) -> Iterator[tuple[str, str, Any]]:
        for node in nodes:
            for method, responder in (node.method_map or {}).items():
                if "responder" not in responder.__qualname__:
                    yield method, node.uri_template.replace(":path}", "}").format(**PLACES), node.resource
            yield from walk(node.children)

    return walk(app._router._roots)


async def state(client: httpx.AsyncClient) -> list[Any]:
    app = "/v1/ws/w/app/demo"
    paths = ("/v1/ws", "/v1/ws/w", app, f"{app}/documents", f"{app}/query")
    return [(await client.get(path)).json() for path in paths]


@pytest.fixture
def walked(make_server: Any) -> list[tuple[str, str, Any]]:
    """All routes of the server."""
    found = list(routes(create_app(make_server())))
    assert len(found) > 40
    return found


async def test_every_route_refuses_an_option_that_it_does_not_know(
    client: httpx.AsyncClient, walked: list[tuple[str, str, Any]]
) -> None:
    assert (await client.put("/v1/ws/w/app/demo/query/q", json={"query": "n == 1"})).status_code == 201
    before = await state(client)
    for method, path, resource in walked:
        known = options_of(resource, method)
        if method == "HEAD" and isinstance(resource, Agents):
            continue  # Runs nothing, so it takes no parameters.
        names = ["surprise", "As_Of", ""] if known is ITS_OWN else ["surprise", "", *(f"{k}x" for k in known)]
        for name in names:
            answer = await client.request(method, f"{path}?{name}=1")
            assert answer.status_code == 400, (method, path, name, answer.text)
            if method == "HEAD" or known is ITS_OWN:
                continue
            message = answer.json()["message"]
            assert all(option in message for option in known), message
            near = meant(name, known)
            assert near in message and (near or name in ("surprise", "")), message
    assert await state(client) == before


async def test_every_option_that_is_known_is_taken(
    client: httpx.AsyncClient, walked: list[tuple[str, str, Any]]
) -> None:
    """None is declared that nobody reads: a value of a wrong kind is refused, or it is that of a query."""
    for method, path, resource in walked:
        for name in options_of(resource, method):
            if name not in ("*", "query", "as_of"):
                answer = await client.request(method, f"{path}?{name}=%5B", json={})
                assert answer.status_code in (400, 415), (method, path, name, answer.text)


async def test_every_option_is_taken_once(
    client: httpx.AsyncClient, walked: list[tuple[str, str, Any]]
) -> None:
    for method, path, resource in walked:
        for name in set(options_of(resource, method)) - ITS_OWN:
            answer = await client.request(method, f"{path}?{name}=1&{name}=2", json={})
            assert answer.status_code == 400, (method, path, name, answer.text)
            assert method == "HEAD" or f"expected {name} once" in answer.text, (
                method,
                path,
                name,
                answer.text,
            )


def test_the_options_are_in_the_document(walked: list[tuple[str, str, Any]]) -> None:
    text = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
    names = {name for method, _, resource in walked for name in options_of(resource, method)} - ITS_OWN
    assert len(names) > 10
    assert {name for name in names if name not in text} == set()


async def test_every_write_refuses_a_part_of_a_body(
    client: httpx.AsyncClient, walked: list[tuple[str, str, Any]]
) -> None:
    before = await state(client)
    for method, path, _ in walked:
        if method not in ("GET", "HEAD", "OPTIONS"):
            headers = {"Content-Range": "bytes 0-1/4", "Content-Type": "application/json"}
            answer = await client.request(method, path, content=b"{}", headers=headers)
            assert (answer.status_code, "Content-Range" in answer.text) == (400, True), (method, path)
    assert await state(client) == before


async def test_a_method_that_is_not_done_is_refused_as_such(client: httpx.AsyncClient) -> None:
    assert (await client.patch("/v1/ws?surprise=1")).status_code == 405
    assert (await client.request("TRACE", "/v1/ws?surprise=1", headers={"If-Match": "*"})).status_code == 405
    # Its resource does it, at the path that took the place of this one.
    assert (await client.post("/query/w/demo/q?surprise=1", json={})).status_code == 405
    assert (await client.options("/v1/ws?surprise=1")).status_code == 200


async def test_a_route_of_a_plugin_says_what_it_takes(make_server: Any, token: str) -> None:
    class Weather:
        options = {"GET": {"unit"}}  # noqa: RUF012

        async def on_get(self, req: Any, resp: Any) -> None:
            resp.media = req.params

        async def on_post(self, req: Any, resp: Any) -> None:
            resp.media = True

    server = make_server()
    app = create_app(server)
    app.add_route("/weather", Weather())
    server.start()
    transport: Any = httpx.ASGITransport(app)  # type: ignore[arg-type]
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        assert (await client.get("/weather?unit=K")).json() == {"unit": "K"}
        assert "did you mean 'unit'" in (await client.get("/weather?units=K")).json()["message"]
        assert (await client.post("/weather")).json() is True
        assert (await client.post("/weather?unit=K")).status_code == 400
    await server.stop()
