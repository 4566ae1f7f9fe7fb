"""The OpenAPI 3.1 document of a server, from its routes, and of a workspace, from its agents.

All that it says is what the resources say of themselves: `permissions`, `options`, `heeds_conditions` and `methods`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from mix_server.access.cookie import PLAIN
from mix_server.auth import permission_of
from mix_server.caller import EVERYBODY
from mix_server.described import JSON, RUN, Method
from mix_server.errors import ErrorMessage, RunErrorMessage
from mix_server.listing import Agent
from mix_server.match import CONDITIONS
from mix_server.options import ITS_OWN, options_of
from mix_server.response import NDJSON
from mixkit import __version__
from mixkit.schema import json_schema

__all__ = ["Api", "Route", "agents_document", "statuses"]

_ALIASES: Final = {"HEAD": "GET"}
_UNDESCRIBED: Final = Method("")
_REF: Final = "#/components/schemas/{name}"
_SECURITY: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "the operator's token, or one of a user or machine",
    },
    "session": {"type": "apiKey", "in": "cookie", "name": PLAIN},
}

_EVERY: Final = frozenset({400, 431, 500, 503, 505})
_ASKED: Final = frozenset({401, 403, 404})
_BODY: Final = frozenset({408, 413, 415})
_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Route(NamedTuple):
    """A path of the server, with what answers there and which methods it knows."""

    template: str
    resource: Any
    methods: Sequence[str]


def statuses(resource: Any, method: str) -> set[int]:
    """All that a method of a resource may be answered with, good and bad."""
    described = _described(resource, method)
    found = {*_EVERY, *described.answers, *described.errors}
    if permission_of(resource, method) is not EVERYBODY:
        found |= _ASKED
    if not hasattr(resource, "never_limited"):
        found.add(429)
    if described.takes is not None:
        found |= _BODY
    if method in _CHANGES:
        found.add(412)
    return found


class Api:
    """The routes of an application, which makes them known by `add`; `document` says what they are."""

    def __init__(self, deprecated: Iterable[str] = ()) -> None:
        self._deprecated = frozenset(deprecated)
        self._routes: dict[str, Route] = {}
        self._document: dict[str, Any] | None = None

    def add(self, route: Route) -> None:
        """Another route, or another resource for one."""
        self._routes[route.template] = route
        self._document = None

    def methods(self, template: str) -> Sequence[str]:
        """The methods of the route of a template."""
        return self._routes[template].methods

    def document(self) -> dict[str, Any]:
        """The document, made once. Nobody may change it."""
        if self._document is None:
            self._document = self._make()
        return self._document

    def _make(self) -> dict[str, Any]:
        schemas = _Schemas(self._routes.values())
        paths = {
            _path(route.template): {
                method.lower(): _operation(
                    route, method, schemas, deprecated=route.template in self._deprecated
                )
                for method in sorted(route.methods)
            }
            for route in self._routes.values()
        }
        return _document(
            "mixkit", "Agents, their data and who may do what with them, over HTTP.", paths, schemas.named
        )


def agents_document(workspace: str, agents: Iterable[Agent]) -> dict[str, Any]:
    """The document of the agents of a workspace."""
    paths: dict[str, Any] = {}
    for agent in agents:
        app, name = quote(agent.app, safe=""), quote(agent.name, safe="")
        operation: dict[str, Any] = {
            "operationId": f"{app}.{name}",
            "tags": [agent.app],
            "summary": agent.description or f"Run {agent.name}",
            "requestBody": {"content": {JSON: {"schema": json_schema(agent.params)}}},
            "responses": {
                "200": {
                    "description": "the result",
                    "content": {JSON: {"schema": json_schema(agent.result)}},
                },
                **_errors(_EVERY | _ASKED | _BODY | RUN | {412, 429}),
            },
        }
        if agent.problem:
            operation["description"] = f"Its code cannot be used: {agent.problem}"
        path = f"/v1/ws/{quote(workspace, safe='')}/app/{app}/agent/{name}"
        paths[path] = {"post": operation}
    return _document(workspace, f"The agents of the workspace {workspace}.", paths, {})


def _document(title: str, description: str, paths: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    _, named = msgspec.json.schema_components([ErrorMessage, RunErrorMessage], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": description, "version": __version__},
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in _SECURITY],
        "paths": paths,
        "components": {
            "schemas": named | schemas,
            "responses": {str(status.value): _error(status) for status in HTTPStatus if status >= 400},
            "securitySchemes": _SECURITY,
        },
    }


class _Schemas:
    """The JSON Schema of all types of some routes, those with a name as references."""

    def __init__(self, routes: Iterable[Route]) -> None:
        found: dict[int, Any] = {}
        for route in routes:
            for described in getattr(route.resource, "methods", {}).values():
                for each in (described.takes, described.query, *described.answers.values()):
                    found[id(each)] = each
        made, self.named = msgspec.json.schema_components(tuple(found.values()), ref_template=_REF)
        self._made = dict(zip(found, made, strict=True))

    def of(self, type: Any) -> dict[str, Any]:
        """The schema of one of the types."""
        return self._made[id(type)]

    def fields(self, type: Any) -> Mapping[str, dict[str, Any]]:
        """The schemas of its fields."""
        if type is None:
            return {}
        schema = self.of(type)
        if "$ref" in schema:
            schema = self.named[schema["$ref"].rpartition("/")[2]]
        fields: dict[str, dict[str, Any]] = schema["properties"]
        return fields


def _described(resource: Any, method: str) -> Method:
    methods: dict[str, Method] = getattr(resource, "methods", {})
    return methods.get(_ALIASES.get(method, method), _UNDESCRIBED)


def _path(template: str) -> str:
    """A template of Falcon's as one of OpenAPI: without the names of converters."""
    return "/".join(
        f"{{{part[1:-1].partition(':')[0]}}}" if part.startswith("{") else part
        for part in template.split("/")
    )


def _operation(route: Route, method: str, schemas: _Schemas, *, deprecated: bool) -> dict[str, Any]:
    resource = route.resource
    described = _described(resource, method)
    path = _path(route.template)
    permission = permission_of(resource, method)
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}{path.replace('{', '').replace('}', '').replace('/', '.')}",
        "tags": [type(resource).__module__.rpartition(".")[2]],
        "summary": described.summary,
        "description": inspect.getdoc(type(resource)) or "",
        "parameters": [
            *_places(path),
            *_options(resource, method, described, schemas),
            *_conditions(resource, method),
        ],
        "responses": _answers(described, schemas, empty=method == "HEAD")
        | _errors(statuses(resource, method) - set(described.answers)),
        "x-permission": permission,
    }
    if permission is EVERYBODY:
        operation["security"] = []
    if deprecated:
        operation["deprecated"] = True
    if described is _UNDESCRIBED or described.others:
        operation["responses"]["default"] = {
            "description": "what the plugin answers, which it does not describe"
        }
    if described.takes is not None and method != "HEAD":
        schema = schemas.of(described.takes)
        operation["requestBody"] = {
            "content": {each: _media(described.takes, each, schema) for each in described.taken_as}
        }
    return operation


def _places(path: str) -> list[dict[str, Any]]:
    return [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in path.split("/")
        if part.startswith("{")
    ]


def _options(resource: Any, method: str, described: Method, schemas: _Schemas) -> list[dict[str, Any]]:
    known = options_of(resource, method)
    if known is ITS_OWN:
        schema = {"type": "object", "additionalProperties": True}
        return [{"name": "params", "in": "query", "style": "form", "explode": True, "schema": schema}]
    fields = schemas.fields(described.query)
    return [_option(name, fields.get(name, {"type": "string"})) for name in sorted(known)]


def _option(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    # A null is there for bodies; in a query string the option is left away.
    kinds = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    schema = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if any(each.get("type") in ("array", "object") for each in kinds):
        return {"name": name, "in": "query", "content": {JSON: {"schema": schema}}}
    return {"name": name, "in": "query", "schema": schema}


def _conditions(resource: Any, method: str) -> list[dict[str, Any]]:
    if method not in getattr(resource, "heeds_conditions", ()):
        return []
    return [{"name": name, "in": "header", "schema": {"type": "string"}} for name in CONDITIONS]


def _answers(described: Method, schemas: _Schemas, *, empty: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, kind in described.answers.items():
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if kind is not None and not empty:
            answer["content"] = {each: _media(kind, each, schemas.of(kind)) for each in described.answered_as}
        found[str(status)] = answer
    return found


def _media(kind: Any, media: str, schema: dict[str, Any]) -> dict[str, Any]:
    # Bytes are what their media type says; of lines that are one JSON each, OpenAPI 3.1 cannot say what one is.
    return {} if kind is bytes or media == NDJSON else {"schema": schema}


def _errors(wanted: Iterable[int]) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(wanted)}


def _error(status: HTTPStatus) -> dict[str, Any]:
    schema = _REF.format(name="ErrorMessage")
    found: dict[str, Any] = {"$ref": schema}
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        found = {"anyOf": [found, {"$ref": _REF.format(name="RunErrorMessage")}]}
    return {"description": status.phrase, "content": {JSON: {"schema": found}}}
