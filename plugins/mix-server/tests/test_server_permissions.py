"""What each method of each route needs, and that nothing is done for who may not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import product
from typing import Any

import httpx
import pytest
from falcon.routing import map_http_methods
from mix_server.app import App, Router, create_app
from mix_server.caller import EVERYBODY, Caller, Permission, Resource
from mix_server.errors import Unauthorized
from mix_server.server import Server

from mixkit import hookimpl

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

SEE, RUN, READ, WRITE = Permission.SEE, Permission.RUN, Permission.READ, Permission.WRITE
CREATE, DELETE, INSTALL, ADMIN = Permission.CREATE, Permission.DELETE, Permission.INSTALL, Permission.ADMIN

TABLE: dict[str, dict[str, Permission | None]] = {
    "/": {"GET": EVERYBODY},
    "/healthz": {"GET": EVERYBODY},
    "/readyz": {"GET": EVERYBODY},
    "/metrics": {"GET": ADMIN},
    "/openapi.json": {"GET": SEE},
    "/swagger/": {"GET": EVERYBODY},
    "/swagger/swagger.css": {"GET": EVERYBODY},
    "/swagger/swagger.js": {"GET": EVERYBODY},
    "/v1/ws": {"GET": SEE, "POST": CREATE},
    "/v1/ws/{ws}": {"GET": SEE, "DELETE": DELETE},
    "/v1/ws/{ws}/install": {"POST": INSTALL},
    "/v1/ws/{ws}/openapi.json": {"GET": SEE},
    "/v1/ws/{ws}/powers": {"GET": INSTALL},
    "/v1/ws/{ws}/powers/{name}": {"GET": INSTALL, "POST": INSTALL},
    "/v1/ws/{ws}/export": {"GET": READ, "POST": READ},
    "/v1/ws/{ws}/app/{app}/export": {"GET": READ, "POST": READ},
    "/v1/ws/{ws}/import": {"POST": INSTALL},
    "/v1/ws/{ws}/app/{app}/remixgen": {"POST": READ},
    "/v1/ws-import": {"POST": CREATE},
    "/v1/ws/{ws}/app/{app}": {"GET": SEE, "PUT": CREATE, "DELETE": DELETE},
    "/v1/ws/{ws}/app/{app}/agent/{agent}": {"GET": RUN, "POST": RUN},
    "/v1/ws/{ws}/permissions": {"GET": ADMIN, "POST": ADMIN},
    "/v1/ws/{ws}/permissions/{id}": {"GET": ADMIN, "DELETE": ADMIN},
    "/v1/ws/{ws}/app/{app}/permissions": {"GET": ADMIN, "POST": ADMIN},
    "/v1/ws/{ws}/app/{app}/permissions/{id}": {"GET": ADMIN, "DELETE": ADMIN},
    "/v1/ws/{ws}/app/{app}/agent/{agent}/permissions": {"GET": ADMIN, "POST": ADMIN},
    "/v1/ws/{ws}/app/{app}/agent/{agent}/permissions/{id}": {"GET": ADMIN, "DELETE": ADMIN},
    "/v1/ws/{ws}/may": {"GET": SEE},
    "/v1/ws/{ws}/app/{app}/may": {"GET": SEE},
    "/v1/ws/{ws}/app/{app}/agent/{agent}/may": {"GET": SEE},
    "/v1/ws/{ws}/tokens": {"GET": ADMIN, "POST": ADMIN},
    "/v1/ws/{ws}/tokens/{id}": {"GET": ADMIN, "DELETE": ADMIN},
    "/v1/activities": {"GET": ADMIN},
    "/v1/ws/{ws}/activities": {"GET": SEE},
    "/v1/ws/{ws}/output": {"GET": SEE},
    "/v1/auth/token": {"POST": SEE},
    "/v1/auth/spcs": {"POST": EVERYBODY},
    "/v1/compile": {"POST": SEE},
    "/v1/auth/session": {"GET": SEE, "POST": SEE, "DELETE": EVERYBODY},
    "/v1/auth/keys": {"GET": EVERYBODY},
    "/v1/ws/{ws}/auth-configs": {"GET": ADMIN},
    "/v1/ws/{ws}/auth-configs/{name}": {"GET": ADMIN, "PUT": ADMIN, "DELETE": ADMIN},
    "/v1/ws/{ws}/accounts": {"GET": SEE},
    "/v1/ws/{ws}/accounts/{name}": {"DELETE": SEE},
    "/v1/auth/{ws}/{name}/start": {"GET": SEE},
    "/v1/auth/{ws}/{name}/callback": {"GET": EVERYBODY},
    "/v1/ws/{ws}/app/{app}/documents": {"GET": READ, "POST": WRITE},
    "/v1/ws/{ws}/app/{app}/documents/{id}": {"GET": READ, "PUT": WRITE, "PATCH": WRITE, "DELETE": WRITE},
    "/v1/ws/{ws}/app/{app}/documents/{id}/history": {"GET": READ},
    "/v1/ws/{ws}/app/{app}/save": {"POST": WRITE},
    "/v1/ws/{ws}/app/{app}/query": {"GET": READ, "POST": READ},
    "/v1/ws/{ws}/app/{app}/query/parse": {"GET": READ, "POST": READ},
    "/v1/ws/{ws}/app/{app}/query/{name}": {"GET": READ, "POST": READ, "PUT": WRITE, "DELETE": WRITE},
    "/v1/ws/{ws}/app/{app}/live": {"GET": READ},
    "/v1/ws/{ws}/app/{app}/sql": {"POST": READ},
    "/v1/subscribe/{topic:path}": {"GET": READ},
    "/v1/signals": {"POST": EVERYBODY},
    "/v1/signals/{id}": {"GET": EVERYBODY, "POST": EVERYBODY, "DELETE": EVERYBODY},
    "/v1/ws/{ws}/app/{app}/files/{path:path}": {"GET": READ, "PUT": WRITE},
    "/v1/ws/{ws}/app/{app}/file-manager": {"GET": READ},
    "/v1/ws/{ws}/app/{app}/file-manager/content": {"GET": READ, "PUT": WRITE, "POST": WRITE, "DELETE": WRITE},
    "/v1/ws/{ws}/app/{app}/file-manager/props": {"GET": READ, "PATCH": WRITE},
    "/v1/ws/{ws}/app/{app}/file-manager/copy": {"POST": WRITE},
    "/v1/ws/{ws}/app/{app}/file-manager/register": {"POST": WRITE},
    "/v1/ws/{ws}/app/{app}/file-manager/sign": {"POST": WRITE},
    "/v1/ws/{ws}/app/{app}/file-manager/uploads": {"POST": WRITE, "OPTIONS": SEE},
    "/v1/ws/{ws}/app/{app}/file-manager/uploads/{id}": {
        "GET": WRITE,
        "PATCH": WRITE,
        "DELETE": WRITE,
        "OPTIONS": SEE,
    },
    "/ws": {"GET": SEE, "POST": CREATE},
    "/ws/": {"GET": SEE, "POST": CREATE},
    "/ws/{ws}": {"GET": SEE, "DELETE": DELETE},
    "/ws/{ws}/{app}": {"DELETE": DELETE},
    "/run-agent/{ws}/{app}/{agent}": {"GET": RUN, "POST": RUN},
    "/install-remix-file/{ws}": {"POST": INSTALL},
    "/grant-permission/{ws}": {"POST": ADMIN},
    "/query/{ws}/{app}": {"POST": READ},
    "/query/{ws}/{app}/{name}": {"DELETE": WRITE},
    "/count-activities/{ws}": {"POST": SEE},
    "/subscribe/{topic:path}": {"GET": READ},
    "/ws-export/{ws}": {"GET": READ},
    "/ws-import": {"POST": CREATE},
    "/remixgen/{ws}/{app}": {"POST": READ},
    "/ws-clone/{name}": {"POST": CREATE},
    "/v1/plugin/{ws}": {"GET": ADMIN},
    "/v1/ws/{ws}/app/{app}/secrets": {"GET": ADMIN},
    "/mcp/{ws}": {"POST": SEE},
    "/v1/ext/remix-app/release-info": {"GET": EVERYBODY},
    "/admin": {"GET": EVERYBODY},
    "/admin/": {"GET": EVERYBODY},
    "/admin/{path:path}": {"GET": EVERYBODY},
}
"""All routes, with those of plugins, and of one of these tests that says nothing of itself."""

NAMES = {
    "ws": "w",
    "app": "demo",
    "agent": "echo",
    "id": "0" * 32,
    "name": "q",
}
ROLES: dict[str, frozenset[Permission]] = {
    "stranger": frozenset(),
    "nobody": frozenset(),
    "guest": frozenset({SEE}),
    "runner": frozenset({SEE, RUN}),
    "editor": frozenset({SEE, RUN, READ, WRITE}),
    "creator": frozenset({SEE, CREATE}),
    "owner": frozenset(Permission),
}


class Roles:
    """Knows callers by the role that they send, and notes what is asked of them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, Permission, Resource]] = []

    async def authorize(self, request: Any) -> Caller:
        role = request.get_header("X-Role")
        if role == "stranger":
            raise Unauthorized("who?")
        return Caller(role)

    async def ready(self, subject: Caller, workspace: str) -> None:
        pass

    def may(self, subject: Caller, permission: Permission, resource: Resource) -> bool:
        self.asked.append((subject.user, permission, resource))
        return permission in ROLES[str(subject.user)]


class Silent:
    """A resource that says nothing of permissions."""

    async def on_get(self, req: Any, resp: Any, ws: str) -> None:
        resp.media = {}


class Plugin:
    @hookimpl
    def mix_routes(self, app: Any, server: Server) -> None:
        app.add_route("/v1/plugin/{ws}", Silent())


@pytest.fixture
def roles() -> Roles:
    return Roles()


@pytest.fixture
def server(make_server: Make, roles: Roles) -> Server:
    made = make_server()
    made.authorizer = roles
    made.kernel.manager.register(Plugin(), "silent")
    return made


def path_of(template: str) -> str:
    """A path of that route, to what is there."""
    for name, value in NAMES.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def named_in(template: str) -> Resource:
    """What a path of that route names."""
    return Resource(*(NAMES[name] if f"{{{name}}}" in template else None for name in ("ws", "app", "agent")))


def test_the_table_has_all_routes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, set[str]] = {}
    add_route = App.add_route

    def note(app: App, template: str, resource: object, *, suffix: str | None = None, **options: Any) -> None:
        found[template] = set(map_http_methods(resource, suffix=suffix)) - {"HEAD"}
        add_route(app, template, resource, suffix=suffix, **options)

    monkeypatch.setattr(App, "add_route", note)
    create_app(server)
    assert found == {template: set(methods) for template, methods in TABLE.items()}


async def test_who_may_do_what(
    server: Server, connect: Connect, roles: Roles, monkeypatch: pytest.MonkeyPatch, undocumented: Any
) -> None:
    done = False

    async def do(*args: Any, **names: Any) -> None:
        nonlocal done
        done = True

    mapped = Router.map_http_methods

    def instead(router: Any, resource: object, **options: Any) -> dict[str, Any]:
        # Who may have it done is what is asked here, and not what is done.
        return dict.fromkeys(mapped(router, resource, **options), do)

    monkeypatch.setattr(Router, "map_http_methods", instead)
    cases = [
        (template, method, permission)
        for template, methods in TABLE.items()
        for method, permission in (methods | ({"HEAD": methods["GET"]} if "GET" in methods else {})).items()
        if ":path}" not in template
    ]
    async with connect(server, None) as client:
        for (template, method, permission), role in product(cases, ROLES):
            done = False
            roles.asked.clear()
            answer = await client.request(method, path_of(template), headers={"X-Role": role})
            where = f"{role}: {method} {template}"
            if permission is EVERYBODY:
                assert (answer.status_code, done, roles.asked) == (200, True, []), where
            elif role == "stranger":
                assert (answer.status_code, done, roles.asked) == (401, False, []), where
            else:
                refused = 403 if SEE in ROLES[role] else 404
                expected = (200, True) if permission in ROLES[role] else (refused, False)
                assert (answer.status_code, done) == expected, where
                assert roles.asked[0] == (role, permission, named_in(template)), where
    # What was put in the place of every method answers 200.
    undocumented.found = {each for each in undocumented.found if each[2] != 200}


async def test_files_ask_by_themselves(server: Server, connect: Connect, roles: Roles) -> None:
    path = "/v1/ws/w/app/demo/files/{}"
    statuses = {"stranger": 401, "nobody": 404, "guest": 403, "runner": 403, "creator": 403}
    async with connect(server, None) as client:
        for role in ROLES:
            client.headers["X-Role"] = role
            roles.asked.clear()
            # There is no file system here, which only they learn who may read.
            found = await client.get(path.format("private.txt"))
            assert found.status_code == statuses.get(role, 404)
            asked = list(roles.asked)
            assert asked[:1] == ([] if role == "stranger" else [(role, READ, Resource("w", "demo"))])
            assert (await client.get(path.format("public/a.txt"))).status_code == 404
            assert roles.asked == asked


async def test_a_list_has_what_may_be_seen(
    server: Server, connect: Connect, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.store.create("other")

    def may(subject: Caller, permission: Permission, resource: Resource) -> bool:
        return resource.workspace != "other" or subject.user == "owner"

    monkeypatch.setattr(roles, "may", may)
    async with connect(server, None) as client:
        for role, seen, status in (("owner", ["other", "w"], 200), ("guest", ["w"], 404)):
            client.headers["X-Role"] = role
            assert (await client.get("/v1/ws")).json() == {"workspaces": seen}
            hidden, missing = await client.get("/v1/ws/other"), await client.get("/v1/ws/missing")
            assert (hidden.status_code, missing.status_code) == (status, 404)
            assert (hidden.content == missing.content) is (status == 404)


async def test_a_message_says_what_is_missing(server: Server, connect: Connect) -> None:
    async with connect(server, None) as client:
        client.headers["X-Role"] = "runner"
        refused = await client.post("/v1/ws/w/app/demo/documents", json={})
        assert refused.json()["message"] == "expected the permission write here, which you do not have"
