"""The Falcon application: which resource answers at which path, and what is around them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from typing import Any

import falcon.asgi
from falcon.routing import CompiledRouter

from mix_server.error_answer import install_handlers
from mix_server.errors import Failed, Refusal, Stopping, UnknownVersion, message_body
from mix_server.first_event import at_once
from mix_server.folder import Folder, private_of
from mix_server.middleware import ANSWERED, Around
from mix_server.moving.transfers import Transfers
from mix_server.openapi import Api, Route
from mix_server.request import Request
from mix_server.resources.activities import Activities, CountActivities, GuestOutput, ServerActivities
from mix_server.resources.agents import Agents
from mix_server.resources.apps import Apps
from mix_server.resources.auth_configs import AuthConfig, AuthConfigs
from mix_server.resources.compile import Compile
from mix_server.resources.documents import Document, Documents, History, Save
from mix_server.resources.ext import Extensions
from mix_server.resources.file_links import Registered, SignedUpload
from mix_server.resources.file_manager import Content, Copies, FileList, Props
from mix_server.resources.files import File
from mix_server.resources.folder import FolderFile
from mix_server.resources.health import About, Health, Readiness
from mix_server.resources.install import Install
from mix_server.resources.live import Live
from mix_server.resources.may import May
from mix_server.resources.metrics import MetricsPage
from mix_server.resources.moving import Clone, Exports, Imports
from mix_server.resources.openapi import ServerApi, WorkspaceApi
from mix_server.resources.pages import Page
from mix_server.resources.parse import Parse
from mix_server.resources.permissions import OneGrant, Permissions
from mix_server.resources.powers import AllPowers, Powers
from mix_server.resources.query import Query
from mix_server.resources.remixgen import RemixGen
from mix_server.resources.sign_in import (
    ConnectedAccount,
    ConnectedAccounts,
    SignInCallback,
    SignInStart,
)
from mix_server.resources.signals import Signal, Signals
from mix_server.resources.sql import Sql
from mix_server.resources.stored_queries import StoredQueries
from mix_server.resources.subscribe import Subscribe
from mix_server.resources.tokens import (
    IngressToken,
    KeySetPage,
    MachineToken,
    MachineTokens,
    Session,
    Token,
)
from mix_server.resources.uploads import OneUpload, UploadsOfApp
from mix_server.resources.workspaces import Workspace, Workspaces
from mix_server.response import Response
from mix_server.server import Server
from mix_server.streams import CutOff
from mixkit.errors import PluginError
from mixkit.outside import is_ours
from mixkit.plugins import call_each

__all__ = ["App", "Router", "create_app"]

_log = logging.getLogger("mixkit.server")

_VERSIONS = frozenset({"1.0", "1.1", "2", "3"})
_MOST_KNOWN = 1_024
_LONGEST_KNOWN = 256

_EXTENSION = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)

_DEPRECATED = {
    "/ws": "/v1/ws",
    "/ws/": "/v1/ws",
    "/ws/{ws}": "/v1/ws/{ws}",
    "/ws/{ws}/{app}": "/v1/ws/{ws}/app/{app}",
    "/run-agent/{ws}/{app}/{agent}": "/v1/ws/{ws}/app/{app}/agent/{agent}",
    "/install-remix-file/{ws}": "/v1/ws/{ws}/install",
    "/grant-permission/{ws}": "/v1/ws/{ws}/permissions",
    "/query/{ws}/{app}": "/v1/ws/{ws}/app/{app}/query",
    "/query/{ws}/{app}/{name}": "/v1/ws/{ws}/app/{app}/query/{name}",
    "/count-activities/{ws}": "/v1/ws/{ws}/activities",
    "/subscribe/{topic:path}": "/v1/subscribe/{topic}",
    "/remixgen/{ws}/{app}": "/v1/ws/{ws}/app/{app}/remixgen",
    "/ws-export/{ws}": "/v1/ws/{ws}/export",
    "/ws-import": "/v1/ws-import",
    "/ws-clone/{name}": "/v1/ws-import",
}
"""The first interface, kept for its clients: each route and the one that took its place."""


class App(falcon.asgi.App[Request, Response]):
    """Falcon's application, and what it leaves to the HTTP server: handshakes, requests that are cancelled,
    and those that it cannot read. `api` knows its routes."""

    api: Api

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # type: ignore[override]
        if scope["type"] == "websocket":
            # None is spoken here, and middleware that says who asks is for requests.
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        if scope["type"] == "http":
            if scope["http_version"] not in _VERSIONS:
                await _send_refusal(send, UnknownVersion(scope["http_version"]))
                return
            if type(scope["headers"]) is not list:
                # ASGI promises iterables, which may be such as can be gone through once.
                scope["headers"] = [(name, value) for name, value in scope["headers"]]
            receive = at_once(scope["headers"], receive)
        try:
            await super().__call__(scope, receive, send)
        except Refusal as exc:
            # Its head is such that no request could be made of it, which would be handled.
            if ANSWERED in scope:
                raise
            await _send_refusal(send, exc)
        except asyncio.CancelledError as exc:
            if not is_ours(exc):
                await _failed(scope, send, exc)
                return
            if scope["type"] != "http" or ANSWERED in scope:
                raise
            # The grace period is over, and what was being done has been stopped.
            await _send_refusal(send, Stopping())
        except CutOff:
            # Meant so, and its cause is judged; the HTTP server breaks the connection off.
            raise
        except BaseException as exc:
            # Falcon answers every Exception. Whatever else comes out of a plugin must not end the event loop.
            if is_ours(exc) or scope["type"] != "http":
                raise
            await _failed(scope, send, exc)


async def _failed(scope: Any, send: Any, exc: BaseException) -> None:
    """What came out of a plugin is logged; the client, if it still waits, is told that it was a fault."""
    _log.error("a request failed inside: %s %.200s", scope.get("method"), scope["path"], exc_info=exc)
    if ANSWERED not in scope:
        await _send_refusal(send, Failed())


async def _send_refusal(send: Any, refusal: Refusal) -> None:
    headers = {"content-type": falcon.MEDIA_JSON, "connection": "close"} | refusal.headers
    encoded = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": encoded})
    await send({"type": "http.response.body", "body": message_body(str(refusal))})


class Router(CompiledRouter):
    """Falcon's, with HEAD wherever GET is (RFC 9110, section 9.1): Falcon sends no body then. `api` is told of each
    route."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api = api
        self._known: dict[str, Any] = {}

    def add_route(self, uri_template: str, resource: object, **options: Any) -> None:
        self._known.clear()
        super().add_route(uri_template, resource, **options)
        methods = self.map_http_methods(resource, suffix=options.get("suffix"))
        self._api.add(Route(uri_template, resource, tuple(methods)))

    def find(self, uri: str, req: Any = None) -> Any:
        """The route of a path, with what stands in its places."""
        # PERF: most requests are for few paths.
        known = self._known.get(uri)
        if known is None:
            known = super().find(uri, req)
            if known is not None and "" in known[2].values():
                # Falcon takes nothing at all for a name too.
                known = None
            if known is not None and len(uri) <= _LONGEST_KNOWN:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[uri] = known
        if known is None:
            return None
        resource, methods, places, template = known
        return resource, methods, places.copy(), template

    def map_http_methods(self, resource: object, **kwargs: Any) -> dict[str, Any]:
        methods: dict[str, Any] = dict(super().map_http_methods(resource, **kwargs))
        if "GET" in methods:
            methods.setdefault("HEAD", methods["GET"])
        return methods


def create_app(server: Server) -> App:
    """The ASGI application of a server. Starts nothing: it may be made before a fork."""
    deprecated = {route: f'<{new}>; rel="successor-version"' for route, new in _DEPRECATED.items()}
    api = Api(_DEPRECATED)
    # What the first request would wait for is there before a fork.
    server.kernel.prepare()
    server.metrics.expose()
    middleware: list[Any] = [Around(server, deprecated, api.methods)]
    for _, found in call_each(server.kernel.manager, "mix_middleware"):
        middleware.extend(found if isinstance(found, Iterable) else [found])
    app = App(request_type=Request, middleware=middleware, router=Router(api))
    app.api = api
    install_handlers(app)
    _add_routes(app, server)
    for _ in call_each(server.kernel.manager, "mix_routes", app=app, server=server):
        pass
    if server.settings.serve_files_from is not None:
        private = private_of(server.settings, server.kernel.settings("kernel"))
        folder = Folder(server.settings.serve_files_from, private)
        app.add_route("/{path:path}", FolderFile(server, folder))
    return app


def _extensions(server: Server) -> dict[str, Any]:
    """What plugins have registered below `/v1/ext`. `PluginError` if two have the same name, or one is no name."""
    found: dict[str, Any] = {}
    for plugin, named in call_each(server.kernel.manager, "mix_extensions", server=server):
        for name, extension in named.items():
            if not _EXTENSION.fullmatch(name):
                raise PluginError(f"mix_extensions: expected names as weather, found {name!r:.100}", plugin)
            if not callable(getattr(extension, "on_request", None)):
                raise PluginError(
                    f"mix_extensions: {name!r} has no method on_request(req, resp, path)", plugin
                )
            if name in found:
                raise PluginError(f"mix_extensions: another plugin has registered {name!r} already", plugin)
            found[name] = extension
    return found


def _add_routes(app: App, server: Server) -> None:
    app.add_route("/", About())
    app.add_route("/healthz", Health())
    app.add_route("/readyz", Readiness(server))
    app.add_route("/metrics", MetricsPage(server))
    app.add_route("/openapi.json", ServerApi(app.api))
    app.add_route("/swagger/", Page("swagger.html"))
    for name in ("swagger.css", "swagger.js"):
        app.add_route(f"/swagger/{name}", Page(name))

    workspaces, workspace, apps = Workspaces(server), Workspace(server), Apps(server)
    transfers = Transfers(server)
    agents, install = Agents(server), Install(server, transfers)
    app.add_route("/v1/ws", workspaces)
    app.add_route("/v1/ws/{ws}", workspace)
    app.add_route("/v1/ws/{ws}/install", install)
    app.add_route("/v1/ws/{ws}/powers", AllPowers(server))
    app.add_route("/v1/ws/{ws}/powers/{name}", Powers(server))
    app.add_route("/v1/ws/{ws}/openapi.json", WorkspaceApi(server))
    app.add_route("/v1/ws/{ws}/app/{app}", apps)
    app.add_route("/v1/ws/{ws}/app/{app}/agent/{agent}", agents)

    grants, grant, may = Permissions(server), OneGrant(server), May(server)
    for of in ("/v1/ws/{ws}", "/v1/ws/{ws}/app/{app}", "/v1/ws/{ws}/app/{app}/agent/{agent}"):
        app.add_route(f"{of}/permissions", grants)
        app.add_route(f"{of}/permissions/{{id}}", grant)
        app.add_route(f"{of}/may", may)
    app.add_route("/v1/ws/{ws}/tokens", MachineTokens(server))
    app.add_route("/v1/ws/{ws}/tokens/{id}", MachineToken(server))
    app.add_route("/v1/auth/token", Token(server))
    app.add_route("/v1/auth/spcs", IngressToken(server))
    app.add_route("/v1/auth/session", Session(server))
    app.add_route("/v1/auth/keys", KeySetPage(server))

    app.add_route("/v1/ws/{ws}/auth-configs", AuthConfigs(server))
    app.add_route("/v1/ws/{ws}/auth-configs/{name}", AuthConfig(server))
    app.add_route("/v1/ws/{ws}/accounts", ConnectedAccounts(server))
    app.add_route("/v1/ws/{ws}/accounts/{name}", ConnectedAccount(server))
    app.add_route("/v1/auth/{ws}/{name}/start", SignInStart(server))
    app.add_route("/v1/auth/{ws}/{name}/callback", SignInCallback(server))
    app.add_route("/v1/activities", ServerActivities(server))
    app.add_route("/v1/ws/{ws}/activities", Activities(server))
    app.add_route("/v1/ws/{ws}/output", GuestOutput(server))
    app.add_route("/v1/compile", Compile(server))
    if extensions := _extensions(server):
        app.add_route("/v1/ext/{ext}/{path:path}", Extensions(server, extensions))

    stored = StoredQueries(server)
    query = Query(server, stored)
    app.add_route("/v1/ws/{ws}/app/{app}/documents", Documents(server))
    app.add_route("/v1/ws/{ws}/app/{app}/documents/{id}", Document(server))
    app.add_route("/v1/ws/{ws}/app/{app}/documents/{id}/history", History(server))
    app.add_route("/v1/ws/{ws}/app/{app}/save", Save(server))
    app.add_route("/v1/ws/{ws}/app/{app}/query", query)
    app.add_route("/v1/ws/{ws}/app/{app}/query/parse", Parse(server))
    app.add_route("/v1/ws/{ws}/app/{app}/query/{name}", stored)
    app.add_route("/v1/ws/{ws}/app/{app}/live", Live(server))
    app.add_route("/v1/ws/{ws}/app/{app}/sql", Sql(server))

    app.add_route("/v1/ws/{ws}/app/{app}/files/{path:path}", File(server))
    managing = "/v1/ws/{ws}/app/{app}/file-manager"
    app.add_route(managing, FileList(server))
    app.add_route(f"{managing}/content", Content(server))
    app.add_route(f"{managing}/props", Props(server))
    app.add_route(f"{managing}/copy", Copies(server))
    app.add_route(f"{managing}/register", Registered(server))
    app.add_route(f"{managing}/sign", SignedUpload(server))
    app.add_route(f"{managing}/uploads", UploadsOfApp(server))
    app.add_route(f"{managing}/uploads/{{id}}", OneUpload(server))

    subscribe = Subscribe(server)
    app.add_route("/v1/subscribe/{topic:path}", subscribe)
    app.add_route("/v1/signals", Signals(server))
    app.add_route("/v1/signals/{id}", Signal(server))

    exports, imports = Exports(server, transfers), Imports(server, transfers, into=False)
    app.add_route("/v1/ws/{ws}/export", exports)
    app.add_route("/v1/ws/{ws}/app/{app}/export", exports)
    generated = RemixGen(server)
    app.add_route("/v1/ws/{ws}/app/{app}/remixgen", generated)
    app.add_route("/v1/ws/{ws}/import", Imports(server, transfers, into=True))
    app.add_route("/v1/ws-import", imports)

    app.add_route("/ws", workspaces)
    app.add_route("/ws/", workspaces)
    app.add_route("/ws/{ws}", workspace)
    app.add_route("/ws/{ws}/{app}", apps, suffix="v0")
    app.add_route("/run-agent/{ws}/{app}/{agent}", agents, suffix="v0")
    app.add_route("/install-remix-file/{ws}", install)
    app.add_route("/grant-permission/{ws}", grants, suffix="v0")
    app.add_route("/query/{ws}/{app}", query, suffix="v0")
    app.add_route("/query/{ws}/{app}/{name}", stored, suffix="v0")
    app.add_route("/count-activities/{ws}", CountActivities(server))
    app.add_route("/subscribe/{topic:path}", subscribe)

    app.add_route("/ws-export/{ws}", exports, suffix="v0")
    app.add_route("/ws-import", imports)
    app.add_route("/remixgen/{ws}/{app}", generated, suffix="v0")
    app.add_route("/ws-clone/{name}", Clone(server, transfers))
