"""The OpenAPI documents: whole, true, and without what the caller may not see."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from mix_server.api import openapi
from mix_server.app import create_app
from mix_server.caller import Caller, Permission, Resource
from mix_server.openapi import statuses
from mix_server.options import options_of
from openapi_spec_validator import OpenAPIV31SpecValidator

from mixkit import hookimpl
from mixkit.cli.session import Session

MIXKIT = str(Path(sys.executable).with_name("mixkit"))
SERVER = "/openapi.json"
WORKSPACE = "/v1/ws/w/openapi.json"
AGENT = "/v1/ws/w/app/demo/agent/"
ERRORS = "#/components/responses/"


def check(document: dict[str, Any]) -> dict[str, Any]:
    """The document, which is one of OpenAPI 3.1 (also that each path declares its places)."""
    OpenAPIV31SpecValidator(document).validate()
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def routes(app: Any) -> dict[tuple[str, str], Any]:
    """Resource by path and method, of all that Falcon would route."""
    found = {}

    def walk(nodes: Any) -> None:
        for node in nodes:
            for method, responder in (node.method_map or {}).items():
                if "responder" not in responder.__qualname__:
                    found[node.uri_template.replace(":path}", "}"), method] = node.resource
            walk(node.children)

    walk(app._router._roots)
    return found


def test_every_route_and_method_is_in_it_and_nothing_else(make_server: Any) -> None:
    app = create_app(make_server())
    document = app.api.document()
    expected = routes(app)
    assert {(path, method) for path, method, _ in operations(document)} == set(expected)
    for path, method, operation in operations(document):
        resource = expected[path, method]
        assert operation["summary"], (path, method)
        assert set(operation["responses"]) == {str(each) for each in statuses(resource, method)}
        options = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
        assert options in ({"params"}, set(options_of(resource, method))), (path, method)
        assert (method in ("POST", "PUT", "PATCH", "DELETE")) or "requestBody" not in operation


def test_what_stands_in_it(make_server: Any) -> None:
    document = create_app(make_server()).api.document()
    paths = document["paths"]
    token = paths["/v1/ws/{ws}/tokens"]["post"]
    assert token["x-permission"] == "admin"
    assert token["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/NewToken")
    assert document["components"]["schemas"]["NewToken"]["required"] == ["name", "rights"]
    assert paths["/healthz"]["get"]["security"] == []
    assert "security" not in token
    assert paths["/run-agent/{ws}/{app}/{agent}"]["post"]["deprecated"] is True
    record = paths["/v1/ws/{ws}/app/{app}/documents/{id}"]["put"]
    assert {each["name"] for each in record["parameters"]} >= {"ws", "app", "id", "If-Match"}
    assert record["responses"]["404"] == {"$ref": f"{ERRORS}404"}
    limit = next(
        each for each in paths["/v1/ws/{ws}/app/{app}/query"]["get"]["parameters"] if each["name"] == "limit"
    )
    assert limit["schema"]["type"] == "integer"


async def test_errors_are_as_documented(client: httpx.AsyncClient) -> None:
    from jsonschema import Draft202012Validator

    document = (await client.get(SERVER)).json()

    def follows(answer: httpx.Response, status: int) -> None:
        assert answer.status_code == status
        schema = document["components"]["responses"][str(status)]["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json())

    follows(await client.get("/v1/ws/nothing"), 404)
    follows(await client.post("/v1/ws", content="["), 400)
    follows(await client.get("/v1/ws/w/app/demo/query?query=(("), 400)
    follows(await client.post(f"{AGENT}panic", json={}), 422)
    follows(await client.post(f"{AGENT}trap", json={}), 422)


class Weather:
    """`GET /v1/ext/weather/{city}`: says nothing of its methods."""

    async def on_get(self, req: Any, resp: Any, city: str) -> None:
        resp.media = {}


class Plugin:
    @hookimpl
    def mix_routes(self, app: Any, server: Any) -> None:
        app.add_route("/v1/ext/weather/{city}", Weather())


def test_the_document_of_the_server_is_valid_with_a_route_of_a_plugin(make_server: Any) -> None:
    server = make_server()
    server.kernel.manager.register(Plugin(), "weather")
    # Checked here, with all routes of the server.
    document = check(create_app(server).api.document())
    found = document["paths"]["/v1/ext/weather/{city}"]["get"]
    assert found["x-permission"] == "admin"
    assert "default" in found["responses"]
    assert "says nothing" in found["description"]


async def test_each_agent_has_its_own_parameters(client: httpx.AsyncClient) -> None:
    document = check((await client.get(WORKSPACE)).json())
    described = (await client.get(f"{AGENT}typed")).json()
    operation = document["paths"][f"{AGENT}typed"]["post"]
    assert operation["summary"] == described["description"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == described["inParams"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"] == described["outParams"]
    assert f"{AGENT}echo" in document["paths"]


class ByHeader:
    """Who asks stands in a header; what each may run stands here."""

    runs = {"anna": {"echo", "typed"}, "ben": {"env"}, "operator": None}  # noqa: RUF012

    async def authorize(self, request: Any) -> Caller:
        return Caller(request.get_header("X-User"))

    async def ready(self, subject: Caller, workspace: str) -> None:
        pass

    def may(self, subject: Caller, permission: Permission, resource: Resource) -> bool:
        allowed = self.runs[str(subject.user)]
        return permission is Permission.SEE or allowed is None or resource.agent in allowed


async def test_two_users_see_different_agents(make_server: Any, connect: Any) -> None:
    server = make_server()
    server.authorizer = ByHeader()
    async with connect(server, None) as client:
        texts = {}
        for user, agents in ByHeader.runs.items():
            answer = await client.get(WORKSPACE, headers={"X-User": user})
            texts[user] = answer.text
            names = {path.removeprefix(AGENT) for path in answer.json()["paths"]}
            assert names == agents or (agents is None and len(names) > 10)
        # Not the name of one that may not be run, anywhere.
        assert "typed" not in texts["ben"] and "delegate" not in texts["anna"]


async def test_an_agent_whose_code_cannot_be_used_hides_no_other(
    make_server: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()
    of_installed = server.catalog.of_installed

    async def broken(app: Any, agent: str) -> Any:
        from mixkit.errors import EngineError, NotFound

        if agent == "echo":
            raise EngineError("no such engine")
        if agent == "env":
            raise NotFound("gone meanwhile")
        return await of_installed(app, agent)

    monkeypatch.setattr(server.catalog, "of_installed", broken)
    async with connect(server) as client:
        paths = check((await client.get(WORKSPACE)).json())["paths"]
    assert "no such engine" in paths[f"{AGENT}echo"]["post"]["description"]
    assert f"{AGENT}env" not in paths
    assert f"{AGENT}typed" in paths


async def test_the_command_prints_what_the_server_answers(
    make_server: Any, connect: Any, make_package: Any, tmp_path: Path
) -> None:
    async with connect(make_server()) as client:
        served = [(await client.get(path)).json() for path in (SERVER, WORKSPACE)]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [MIXKIT, "--profile", "agent_server", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    # The server of the tests has a storage that forgets.
    where = ("--ws", "w", "--ws-dir", str(tmp_path / "kept"))
    package = tmp_path / "demo.remix"
    package.write_bytes(make_package())
    done = run("remix", "install", str(package), "--yes", *where)
    assert done.returncode == 0, done.stderr
    for words, expected in ([], served[0]), (where, served[1]):
        printed = run("openapi", *words)
        assert printed.returncode == 0, printed.stderr
        assert json.loads(printed.stdout) == expected
    ignored = CliRunner().invoke(openapi, where[2:], obj=Session("agent_server"))
    assert ignored.exit_code == 2 and "--ws beside --ws-dir" in ignored.output
