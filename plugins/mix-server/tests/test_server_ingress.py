"""Behind the ingress of Snowflake's container services: whom it says, and nobody else."""

from __future__ import annotations

import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mix_server.access.ingress import SessionToken, account_of, user_of
from mix_server.doctor import checks
from mix_server.errors import Unauthorized
from mix_server.server import Server

from mixkit import Kernel
from mixkit.errors import ProfileError
from mixkit.package import Package, WorkspaceStore

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

USER = "Sf-Context-Current-User"
ENV = "/v1/ws/w/app/demo/agent/env"
ADA = "ada@xy12345.snowflakecomputing.com"
DEADLINE = 60.0


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The surroundings of a container of a service; the file with its token."""
    monkeypatch.setenv("SNOWFLAKE_ACCOUNT", "XY12345")
    monkeypatch.setenv("SNOWFLAKE_SERVICE_NAME", "MIXKIT")
    token = tmp_path / "session-token"
    token.write_text("first\n")
    return token


@pytest.fixture
def behind(make_server: Make, container: Path) -> Callable[..., Server]:
    """Makes a server that is behind the ingress."""

    def make(**settings: Any) -> Server:
        return make_server(**{"auth": "spcs", "spcs_token_file": str(container), **settings})

    return make


# -- who it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("ADA", ADA),
        ("ADA_2", "ada_2@xy12345.snowflakecomputing.com"),
        ("ADA@EXAMPLE.ORG", "ada@example.org"),
        # Another user than ADA, whom an address could not tell from her.
        ("Ada", "sub/Ada"),
        ("ada@example.org", "sub/ada@example.org"),
        ("ADA LOVELACE", "sub/ADA LOVELACE"),
        ("ADA,EVE", "sub/ADA,EVE"),
        ("ADA@B@C.D", "sub/ADA@B@C.D"),
    ],
)
async def test_the_user_is_whom_the_ingress_says(
    behind: Make, connect: Connect, name: str, user: str
) -> None:
    server = behind()
    server.grants.add("w", "all-users", "runner", "workspace", None)
    async with connect(server, None) as client:
        answer = await client.post(ENV, headers={USER: name, "Authorization": 'Snowflake Token="x"'})
        assert answer.json()["user"] == user
        made = await client.post("/v1/auth/spcs", headers={USER: name})
        assert made.status_code == (403 if user.startswith("sub/") else 200)
        if made.status_code == 200:
            # It is good without the ingress too: for another service of the account.
            own = {"Authorization": f"Bearer {made.json()['token']}"}
            assert (await client.post(ENV, headers=own)).json()["user"] == user


async def test_grants_are_by_name_and_by_account(behind: Make, connect: Connect) -> None:
    server = behind(workspace_creators=["domain/xy12345.snowflakecomputing.com"])
    server.grants.add("w", f"user/{ADA}", "runner", "workspace", None)
    async with connect(server, None) as client:
        assert (await client.post(ENV, headers={USER: "ADA"})).status_code == 200
        assert (await client.post(ENV, headers={USER: "EVE"})).status_code == 404
        assert (await client.post("/v1/ws", headers={USER: "EVE"}, json={"name": "e"})).status_code == 201
        assert (await client.post("/v1/ws", headers={USER: "Eve"}, json={"name": "f"})).status_code == 403


REFUSED: list[tuple[str, list[tuple[str, str]]]] = [
    ("nobody", []),
    ("empty", [(USER, "")]),
    ("twice", [(USER, "ADA"), (USER, "ADA")]),
    ("two", [(USER, "ADA"), (USER.lower(), "EVE")]),
    ("underscores alone", [("Sf_Context_Current_User", "ADA")]),
    ("underscores beside it", [(USER, "EVE"), ("Sf_Context_Current_User", "ADA")]),
    ("one underscore", [(USER, "EVE"), ("Sf-Context-Current_User", "ADA")]),
    ("dots", [(USER, "EVE"), ("Sf.Context.Current.User", "ADA")]),
    ("the address twice", [(USER, "EVE"), (f"{USER}-Email", "a@b.c"), (f"{USER}-Email", "a@b.c")]),
    ("the address alone", [(f"{USER}-Email", "ada@example.org")]),
    ("the token alone", [(f"{USER}-Token", "x")]),
    ("too long", [(USER, "A" * 256)]),
    ("a tab", [(USER, "ADA\tEVE")]),
    ("other letters", [(USER, "ÄDA")]),
]


@pytest.mark.parametrize("headers", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_what_is_not_said_as_the_ingress_says_it_is_refused(
    behind: Make, connect: Connect, headers: list[tuple[str, str]]
) -> None:
    server = behind()
    server.grants.add("w", "anonymous", "runner", "workspace", None)
    raw = [(name.encode(), text.encode("latin-1")) for name, text in headers]
    async with connect(server, None) as client:
        for path in (ENV, "/v1/auth/spcs", "/v1/auth/token"):
            answer = await client.post(path, headers=raw)
            assert answer.status_code == 401, path
            assert answer.json()["message"].startswith("expected ")


async def test_a_token_of_the_server_counts_before_the_ingress(
    behind: Make, connect: Connect, token: str
) -> None:
    async with connect(behind(), None) as client:
        headers = {"Authorization": f"Bearer {token}", USER: "EVE"}
        assert (await client.post(ENV, headers=headers)).json()["user"] == "local"
        wrong = {"Authorization": "Bearer wrong", USER: "ADA"}
        assert (await client.post(ENV, headers=wrong)).status_code == 401


async def test_other_web_sites_use_nobodys_sign_in(behind: Make, connect: Connect) -> None:
    for base_url, origin, host, status in (
        (None, "https://agents.example", "agents.example", 200),
        (None, "https://evil.example", "agents.example", 403),
        ("https://agents.example", "https://agents.example", "10.0.0.1:8000", 200),
        ("https://agents.example", "https://10.0.0.1:8000", "10.0.0.1:8000", 403),
        ("https://agents.example", "https://evil.example", "evil.example", 403),
        ("https://agents.example", "null", "agents.example", 403),
    ):
        server = behind(base_url=base_url)
        server.grants.add("w", "all-users", "runner", "workspace", None)
        async with connect(server, None) as client:
            headers = {USER: "ADA", "Origin": origin, "Host": host}
            assert (await client.post(ENV, headers=headers)).status_code == status, origin
            for site in ("cross-site", "same-site"):
                headers = {USER: "ADA", "Sec-Fetch-Site": site}
                assert (await client.get(f"{ENV}?a=1", headers=headers)).status_code == 403
                assert (await client.post("/v1/auth/spcs", headers=headers)).status_code == 403


async def test_agents_do_not_get_what_is_between_ingress_and_server(behind: Make, connect: Connect) -> None:
    server = behind()
    server.grants.add("w", "all-users", "runner", "workspace", None)
    async with connect(server, None) as client:
        headers = {USER: "ADA", f"{USER}-Token": "a-secret-of-ada", f"{USER}-Email": "eve@example.org"}
        answer = await client.post(ENV, headers=headers)
        assert answer.json()["user"] == ADA
        assert "a-secret-of-ada" not in answer.text
        # Nor what users say of themselves.
        assert "sf-context" not in answer.text


# -- where it is believed ------------------------------------------------------------------------


async def test_nobody_is_believed_by_a_header_elsewhere(make_server: Make, connect: Connect) -> None:
    server = make_server()
    server.grants.add("w", f"user/{ADA}", "runner", "workspace", None)
    server.grants.add("w", "all-users", "runner", "workspace", None)
    async with connect(server, None) as client:
        assert (await client.post(ENV, headers={USER: "ADA"})).status_code == 401
        assert (await client.post("/v1/auth/spcs", headers={USER: "ADA"})).status_code == 404
    (check,) = [check for check in checks(server.kernel) if check.name == "server authentication"]
    assert "no header of an ingress is believed" in check.message


@pytest.mark.parametrize("missing", ["SNOWFLAKE_ACCOUNT", "SNOWFLAKE_SERVICE_NAME"])
def test_it_does_not_start_outside_of_a_service(
    behind: Make, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(missing)
    with pytest.raises(ProfileError, match=missing):
        behind()


@pytest.mark.parametrize("content", [None, b"", b"two words", "ünsäuberlich".encode(), b"x" * 70_000])
def test_it_does_not_start_without_the_token_of_the_service(
    behind: Make, container: Path, content: bytes | None
) -> None:
    container.unlink()
    if content is not None:
        container.write_bytes(content)
    with pytest.raises(ProfileError, match="spcs_token_file") as caught:
        behind()
    assert content is None or not content or content.decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jwks_url": "https://id.example/keys", "jwt_audience": "x"}, "jwks_url"),
        ({"no_auth": True, "token": None}, "no_auth"),
        ({"auth": "headers"}, "auth"),
        ({"base_url": "agents.example"}, "base_url"),
        ({"base_url": "https://agents.example/path"}, "base_url"),
        ({"base_url": "https://ada@agents.example"}, "base_url"),
        ({"heartbeat": 31}, "heartbeat"),
    ],
)
def test_settings_that_do_not_go_with_it(behind: Make, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        behind(**settings)


def test_the_token_of_the_service_is_read_anew_each_time(container: Path) -> None:
    token = SessionToken(str(container))
    assert token.read() == "first"
    # As Snowflake does it: another file in its place.
    fresh = container.with_name("fresh")
    fresh.write_text("second")
    fresh.replace(container)
    assert token.read() == "second"


def test_an_account_is_a_name() -> None:
    named = {"SNOWFLAKE_SERVICE_NAME": "S"}
    assert account_of({**named, "SNOWFLAKE_ACCOUNT": "My_Org-1"}) == "my_org-1"
    for wrong in ("", "a b", "a.b", "-a", "a@b", "a" * 64):
        with pytest.raises(ProfileError, match="SNOWFLAKE_ACCOUNT"):
            account_of({**named, "SNOWFLAKE_ACCOUNT": wrong})


def test_other_headers_say_nothing() -> None:
    assert user_of([(b"host", b"x"), (b"x-sf-context-current-user", b"EVE"), (b"sf-context", b"EVE")]) is None
    with pytest.raises(Unauthorized):
        user_of([(b"sf_context_anything", b"x")])


def test_the_profile(container: Path) -> None:
    with Kernel("snowflake", environ={}) as kernel:
        settings = kernel.settings("server")
        assert (settings.auth, settings.host, settings.no_auth) == ("spcs", "0.0.0.0", False)
        assert 0 < settings.heartbeat < 90
        assert kernel.limits.wall_time < 90
        (check,) = [check for check in checks(kernel) if check.name == "server authentication"]
        assert check.level == "error"
        assert settings.spcs_token_file in check.message


# -- a real server behind an ingress of ours -----------------------------------------------------


class Ingress(socketserver.ThreadingTCPServer):
    """Signs everybody in as EVE: takes away lines of a head that begin as its own header does, and adds its own.

    It is simple-minded on purpose, and passes on all that it does not know, as it came.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.behind = port
        super().__init__(("127.0.0.1", 0), Passing)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def ask(self, *lines: str, method: str = "POST", path: str = ENV, body: str = "") -> str:
        """All that comes back for a request with those lines in its head."""
        head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: agents.example", *lines, "", ""))
        with socket.create_connection(self.server_address, timeout=DEADLINE) as connection:  # type: ignore[arg-type]
            connection.sendall((head + body).encode("latin-1"))
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")


class Passing(socketserver.BaseRequestHandler):
    server: Ingress

    def handle(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.request.recv(65536)
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(b"sf-context-current-user:")]
        added = [USER.encode() + b": EVE", b"Connection: close"]
        with socket.create_connection(("127.0.0.1", self.server.behind), timeout=DEADLINE) as behind:
            behind.sendall(b"\r\n".join([first, *kept, *added, b"", rest]))
            while part := behind.recv(65536):
                self.request.sendall(part)


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, make_package: Callable[..., bytes]
) -> Iterator[tuple[int, Ingress, Path]]:
    """A server with the profile `snowflake` in a process of its own: its port, its ingress, the file with its token."""
    folder = tmp_path_factory.mktemp("service")
    with Kernel("agent_server", environ={}) as kernel:
        made = WorkspaceStore(folder / "workspaces", kernel.databases).create("w")
        made.install(Package.open(make_package()))
    token = folder / "token"
    token.write_text("first")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
    env = {
        **clean,
        "SNOWFLAKE_ACCOUNT": "XY12345",
        "SNOWFLAKE_SERVICE_NAME": "MIXKIT",
        "MIXKIT_SERVER_WS_DIR": str(folder / "workspaces"),
        "MIXKIT_SERVER_SPCS_TOKEN_FILE": str(token),
        "MIXKIT_SERVER_BASE_URL": "https://agents.example",
        "MIXKIT_SERVER_WORKSPACE_CREATORS": "all-users",
    }
    command = [sys.executable, "-m", "mixkit", "-p", "snowflake"]
    granted = ["perms", "grant", "all-users", "runner", "workspace", "--ws", "w"]
    subprocess.run([*command, *granted], env=env, check=True, capture_output=True)
    child = subprocess.Popen([*command, "serve", "--port", "0"], env=env, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    with child.stderr as stderr:
        try:
            said = stderr.readline()
            found = re.search(r"http://0\.0\.0\.0:(\d+)", said)
            assert found, said
            with Ingress(int(found[1])) as ingress:
                yield int(found[1]), ingress, token
                ingress.shutdown()
        finally:
            child.terminate()
            rest = stderr.read()
            assert child.wait(DEADLINE) == 0
    # No token of an operator is made where the ingress says who asks.
    assert "token" not in said + rest


@pytest.mark.slow
def test_the_ingress_says_who_asks(running: tuple[int, Ingress, Path]) -> None:
    port, ingress, _ = running
    answer = ingress.ask("Content-Length: 0")
    assert answer.startswith("HTTP/1.1 200 ")
    assert '"user":"eve@xy12345.snowflakecomputing.com"' in answer
    assert ingress.ask(path="/v1/auth/spcs").startswith("HTTP/1.1 200 ")
    assert ingress.ask("Origin: https://agents.example").startswith("HTTP/1.1 200 ")
    assert ingress.ask("Origin: https://evil.example").startswith("HTTP/1.1 403 ")
    # The probe of the service comes round the ingress.
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    assert httpx.post(f"http://127.0.0.1:{port}{ENV}").status_code == 401


ATTACKS = {
    "plainly": ["Sf-Context-Current-User: ADA"],
    "in other letters": ["sF-cOnTeXt-CuRrEnT-uSeR: ADA"],
    "with underscores": ["Sf_Context_Current_User: ADA"],
    "with one underscore": ["Sf-Context-Current_User: ADA"],
    "with a space before the colon": ["Sf-Context-Current-User : ADA"],
    "with a tab before the colon": ["Sf-Context-Current-User\t: ADA"],
    "in a line that is folded": ["X-Other: a", " Sf-Context-Current-User: ADA"],
    "folded itself": ["Sf-Context-Current-User:", " ADA"],
    "behind a line feed": ["X-Other: a\nSf-Context-Current-User: ADA"],
    "behind a carriage return": ["X-Other: a\rSf-Context-Current-User: ADA"],
    "behind a zero byte": ["X-Other: a\0Sf-Context-Current-User: ADA"],
    "as an address": ["Sf-Context-Current-User-Email: ada@example.org"],
    "in a cookie": ["Cookie: sf-context-current-user=ADA"],
    "in a connection option": ["Connection: Sf-Context-Current-User"],
}


@pytest.mark.slow
@pytest.mark.parametrize("lines", ATTACKS.values(), ids=ATTACKS)
def test_nobody_is_somebody_else(running: tuple[int, Ingress, Path], lines: list[str]) -> None:
    _, ingress, _ = running
    answer = ingress.ask(*lines)
    assert answer.startswith(("HTTP/1.1 200 ", "HTTP/1.1 400 ", "HTTP/1.1 401 ")), answer
    assert answer.count("HTTP/1.1 ") == 1
    assert "ada@" not in answer.lower()
    if answer.startswith("HTTP/1.1 200 "):
        assert '"user":"eve@xy12345.snowflakecomputing.com"' in answer


@pytest.mark.slow
def test_no_request_is_hidden_in_another(running: tuple[int, Ingress, Path]) -> None:
    _, ingress, _ = running
    hidden = f"POST {ENV} HTTP/1.1\r\nHost: agents.example\r\n{USER}: ADA\r\nContent-Length: 0\r\n\r\n"
    for lines, body in (
        ([f"Content-Length: {len(hidden) + 5}", "Transfer-Encoding: chunked"], f"0\r\n\r\n{hidden}"),
        ([f"Content-Length: {len(hidden)}", "Content-Length: 0"], hidden),
        (["Content-Length: 0", f"Content-Length: {len(hidden)}"], hidden),
        (["Transfer-Encoding: chunked, identity"], hidden),
    ):
        answer = ingress.ask(*lines, body=body)
        assert answer.startswith("HTTP/1.1 400 "), (lines, answer)
        assert answer.count("HTTP/1.1 ") == 1, (lines, answer)
