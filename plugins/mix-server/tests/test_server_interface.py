"""The interface that the server has: every path and method of both versions, and every option."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mix_server.app import _DEPRECATED, create_app
from mix_server.cli import serve

from mixkit import hookimpl

APP, AGENT = "/v1/ws/{ws}/app/{app}", "/v1/ws/{ws}/app/{app}/agent/{agent}"
FILES = f"{APP}/file-manager"
PATHS = {
    "/": "GET",
    "/healthz": "GET",
    "/readyz": "GET",
    "/metrics": "GET",
    "/swagger/": "GET",
    "/openapi.json": "GET",
    "/v1/ws": "GET POST",
    "/v1/ws/{ws}": "GET DELETE",
    APP: "GET PUT DELETE",
    "/v1/ws/{ws}/install": "POST",
    AGENT: "GET POST",
    f"{APP}/documents": "GET POST",
    f"{APP}/documents/{{id}}": "GET PUT PATCH DELETE",
    f"{APP}/documents/{{id}}/history": "GET",
    f"{APP}/save": "POST",
    f"{APP}/query": "GET POST",
    f"{APP}/query/parse": "GET POST",
    f"{APP}/query/{{name}}": "GET PUT POST DELETE",
    "/v1/ws/{ws}/permissions": "GET POST",
    "/v1/ws/{ws}/permissions/{id}": "GET DELETE",
    f"{APP}/permissions": "GET POST",
    f"{APP}/permissions/{{id}}": "GET DELETE",
    f"{AGENT}/permissions": "GET POST",
    f"{AGENT}/permissions/{{id}}": "GET DELETE",
    "/v1/ws/{ws}/auth-configs": "GET",
    "/v1/ws/{ws}/auth-configs/{name}": "GET PUT DELETE",
    "/v1/auth/{ws}/{name}/start": "GET",
    "/v1/auth/{ws}/{name}/callback": "GET",
    "/v1/auth/token": "POST",
    "/v1/auth/spcs": "POST",
    f"{APP}/files/{{path}}": "GET",
    f"{FILES}/content": "GET PUT POST DELETE",
    f"{FILES}/props": "GET PATCH",
    f"{FILES}/copy": "POST",
    f"{FILES}/register": "POST",
    "/v1/signals": "POST",
    "/v1/signals/{id}": "GET POST DELETE",
    "/v1/subscribe/{topic}": "GET",
    f"{APP}/live": "GET",
    "/v1/ws/{ws}/export": "GET POST",
    "/v1/ws-import": "POST",
    f"{APP}/remixgen": "POST",
    "/v1/ws/{ws}/activities": "GET",
    "/v1/compile": "POST",
    "/v1/ext/remix-app/release-info": "GET",
    "/v1/ext/{ext}/{path}": "GET POST PUT PATCH DELETE",
}
FIRST = {
    "/ws/": "GET",
    "/ws/{ws}": "GET DELETE",
    "/ws": "POST",
    "/ws/{ws}/{app}": "DELETE",
    "/run-agent/{ws}/{app}/{agent}": "POST GET",
    "/install-remix-file/{ws}": "POST",
    "/grant-permission/{ws}": "POST",
    "/query/{ws}/{app}": "POST",
    "/query/{ws}/{app}/{name}": "DELETE",
    "/ws-export/{ws}": "GET",
    "/ws-import": "POST",
    "/ws-clone/{ws}": "POST",
    "/count-activities/{ws}": "POST",
    "/subscribe/{topic}": "GET",
    "/remixgen/{ws}/{app}": "POST",
}
OPTIONS = """
--ws-dir --host --port --workers --base-url --jwks-url --jwt-audience --jwt-issuer --server-key --workspace-creator
--agent-cache-size --agent-timeout --postpone-timeout --body-limit --params-limit --memory-limit --tls-certs --tls-key
--cors-origin --serve-files-from --env --dangerous-http-mode --remote-compile-server --log-format --access-log
"""


class Plugin:
    class Nothing:
        async def on_request(self, req: Any, resp: Any, path: str) -> None:
            raise NotImplementedError

    @hookimpl
    def mix_extensions(self, server: Any) -> dict[str, Any]:
        return {"nothing": self.Nothing()}


@pytest.fixture
def routes(make_server: Any) -> dict[str, set[str]]:
    """Methods by path, without the names in places: one may be called otherwise."""
    server = make_server()
    server.kernel.manager.register(Plugin(), "nothing")
    found: dict[str, set[str]] = {}
    for template, route in create_app(server).api._routes.items():
        found.setdefault(unnamed(template), set()).update(route.methods)
    return found


def unnamed(template: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", template)


def test_every_path_is_there(routes: dict[str, set[str]]) -> None:
    missing = {
        f"{method} {path}"
        for path, methods in {**PATHS, **FIRST}.items()
        for method in methods.split()
        if method not in routes.get(unnamed(path), ())
    }
    assert missing == set()


def test_the_first_interface_says_what_took_its_place(routes: dict[str, set[str]]) -> None:
    known = {unnamed(path): unnamed(successor) for path, successor in _DEPRECATED.items()}
    for path in map(unnamed, FIRST):
        if path in routes:
            assert known[path] in routes, path


def test_every_option_is_there() -> None:
    known = {name for param in serve.params for name in param.opts}
    assert set(OPTIONS.split()) - known == set()
