"""What comes over a connection, however the server was started: what is no request, or could be two, is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from mix_server.app import create_app

from mixkit import Kernel
from mixkit.package import Package, WorkspaceStore

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-tests-0123456789"
DEADLINE = 60.0
ECHO = "/v1/ws/w/app/demo/agent/echo"
LIVE = "/v1/ws/w/app/demo/live?query=true"
AUTHORIZED = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
POST = f"POST {ECHO} HTTP/1.1\r\n{AUTHORIZED}"
GET = "GET /healthz HTTP/1.1\r\n"
HIDDEN = f"{GET}Host: x\r\n\r\n"

WAYS = {
    "one process": ["mixkit", "serve", "--port", "0"],
    "workers": ["mixkit", "serve", "--port", "0", "--workers", "2"],
    "our gunicorn": ["gunicorn", "-w", "1", "-c", "python:mix_server.gunicorn_conf"],
    "gunicorn": ["gunicorn", "-w", "1", "-k", "uvicorn_worker.UvicornWorker", "--no-control-socket"],
    "uvicorn": ["uvicorn"],
}
OURS = ("one process", "workers", "our gunicorn")


class Running:
    """A server in a process of its own, started in one of the ways that there are.

    Attributes:
        ours: whether it keeps connections as we want them kept.
        home: the home of its user.
    """

    def __init__(self, way: str, ws_dir: Path) -> None:
        self.ours = way in OURS
        self.home = ws_dir.parent / way.replace(" ", "-")
        self.home.mkdir()
        command = [sys.executable, "-m", *WAYS[way]]
        self.port = 0
        if "mixkit" not in command:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = int(probe.getsockname()[1])
            at = ("--port", str(self.port)) if way == "uvicorn" else ("--bind", f"127.0.0.1:{self.port}")
            command += [*at, "mix_server.asgi:app"]
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("MIXKIT_", "XDG_"))
        }
        env = {
            "HOME": str(self.home),
            "MIXKIT_SERVER_WS_DIR": str(ws_dir),
            "MIXKIT_SERVER_TOKEN": TOKEN,
            "MIXKIT_LOG_LEVEL": "info",
        }
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**clean, **env})
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stderr is not None
        with self.child.stderr as stream:
            self.lines.extend(iter(stream.readline, ""))

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def until_ready(self) -> None:
        deadline = time.monotonic() + DEADLINE
        while True:
            found = re.search(r"listening on http://127.0.0.1:(\d+)", self.said)
            self.port = int(found[1]) if found and not self.port else self.port
            try:
                if self.port and httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline and self.child.poll() is None, self.said
            time.sleep(0.05)

    def send(self, raw: str) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        connection.sendall(raw.encode("latin-1"))
        return connection

    def ask(self, raw: str) -> str:
        """All that comes back until the server closes the connection."""
        answer = b""
        with self.send(raw) as connection:
            try:
                while part := connection.recv(65536):
                    answer += part
            except TimeoutError:
                raise AssertionError(f"the connection stays open: {raw!r}, {answer!r}") from None
        return answer.decode("latin-1")

    def end(self) -> int:
        self.child.terminate()
        try:
            return self.child.wait(DEADLINE)
        finally:
            self.child.kill()
            self._reader.join(DEADLINE)


@pytest.fixture(scope="module")
def all_ways(
    tmp_path_factory: pytest.TempPathFactory, make_package: Callable[..., bytes]
) -> Iterator[dict[str, Running]]:
    """A server for each way, all with the same workspaces."""
    ws_dir = tmp_path_factory.mktemp("wire") / "workspaces"
    with Kernel("agent_server", environ={}) as kernel:
        WorkspaceStore(ws_dir, kernel.databases).create("w").install(Package.open(make_package()))
    with ExitStack() as ends:
        started = {way: Running(way, ws_dir) for way in WAYS}
        for one in started.values():
            ends.callback(one.end)
        for one in started.values():
            one.until_ready()
        yield started


@pytest.fixture(params=WAYS)
def running(all_ways: dict[str, Running], request: pytest.FixtureRequest) -> Running:
    """Each of them."""
    return all_ways[request.param]


def posted(*lines: str, body: str = "") -> str:
    """A request that would run an agent, with those lines in its head."""
    return POST + "".join(f"{line}\r\n" for line in lines) + f"\r\n{body}"


def asked(target: str) -> str:
    """A request for that target."""
    return f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"


def length(body: str) -> str:
    return f"Content-Length: {len(body)}"


TWO_WAYS_TO_READ = {
    "a length and chunks": posted("Transfer-Encoding: chunked", length(HIDDEN), body=f"0\r\n\r\n{HIDDEN}"),
    "chunks and a length": posted(
        "Content-Length: 5", "Transfer-Encoding: chunked", body=f"0\r\n\r\n{HIDDEN}"
    ),
    "two lengths": posted("Content-Length: 0", length(HIDDEN), body=HIDDEN),
    "one length twice": posted("Content-Length: 2", "Content-Length: 2", body="[]"),
    "lengths in a list": posted("Content-Length: 2, 2", body="[]"),
    "a length with a sign": posted("Content-Length: +2", body="[]"),
    "a length in hexadecimal": posted("Content-Length: 0x2", body="[]"),
    "an empty length": posted("Content-Length:", body="[]"),
    "a space before the colon": posted("Content-Length : 2", body="[]"),
    "chunked twice": posted("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
    "chunked not at the end": posted("Transfer-Encoding: chunked, identity", body=HIDDEN),
    "another coding": posted("Transfer-Encoding: xchunked", body=HIDDEN),
    "a folded line": posted("X-Other: a", " b", "Content-Length: 2", body="[]"),
    "a folded coding": posted("Transfer-Encoding:", " chunked", body="0\r\n\r\n"),
    "only line feeds": f"GET /healthz HTTP/1.1\nHost: x\n\n{HIDDEN}",
    "a line feed in a line": posted("X-Other: a\nContent-Length: 2", body="[]"),
    "a carriage return in a line": posted("X-Other: a\rContent-Length: 2", body="[]"),
    "a zero byte in a line": posted("X-Other: a\0", "Content-Length: 2", body="[]"),
    "a chunk that ends in a line feed": posted("Transfer-Encoding: chunked", body="2\n[]\n0\n\n"),
    "a chunk that is longer than numbers are": posted("Transfer-Encoding: chunked", body="f" * 17 + "\r\n[]"),
    "a chunk with a sign": posted("Transfer-Encoding: chunked", body="-2\r\n[]\r\n0\r\n\r\n"),
    "a body behind an offer": posted("Connection: Upgrade", "Upgrade: h2c", length(HIDDEN), body=HIDDEN),
    "chunks behind an offer": posted(
        "Connection: keep-alive, upgrade", "Upgrade: other", "Transfer-Encoding: chunked", body="0\r\n\r\n"
    ),
    "no host": f"{GET}\r\n",
    "two hosts": f"{GET}Host: a\r\nHost: b\r\n\r\n",
    "a host that is none": f"{GET}Host: a/b\r\n\r\n",
    "hosts in a list": f"{GET}Host: a,b\r\n\r\n",
    "two tokens": posted("Authorization: Bearer other", "Content-Length: 2", body="[]"),
    "two types": posted("Content-Type: text/plain", "Content-Length: 2", body="[]"),
    "a coding that stays on the body": posted(
        "Transfer-Encoding: gzip, chunked", body="2\r\n[]\r\n0\r\n\r\n"
    ),
    "chunks in HTTP/1.0": posted("Transfer-Encoding: chunked", body="2\r\n[]\r\n0\r\n\r\n").replace(
        "HTTP/1.1", "HTTP/1.0"
    ),
    "a name that is no UTF-8": asked("/v1/ws/%ff"),
    "a percent sign alone": asked("/v1/ws/w%2"),
    "a slash that is encoded": asked("/v1/ws%2Fw"),
    "a slash in front of the rest of a path": asked("/v1/ws/w/app/demo/files%2fpublic/a"),
    "all slashes encoded": asked("/v1%2fws%2fw%2fapp%2fdemo%2ffiles%2fpublic%2fa"),
}

ANOTHER_TARGET = {
    "two slashes": asked("//v1/ws"),
    "a host in front": asked("//x/v1/ws"),
    "another host": asked("http://other.example/v1/ws"),
    "somebody in front of the host": asked("http://a@x/v1/ws"),
    "a fragment": asked("/v1/ws#a"),
    "neither path nor URL": asked("*"),
}
"""Targets of which uvicorn makes another one before it hands a request on."""


def test_what_could_be_read_in_two_ways_is_refused(running: Running) -> None:
    for name, raw in TWO_WAYS_TO_READ.items():
        answer = running.ask(raw)
        assert answer.startswith("HTTP/1.1 400 "), (name, answer)
        head, _, body = answer.partition("\r\n\r\n")
        # Once, and nothing of what was behind it.
        assert answer.count("HTTP/1.1 400 ") == 1 and "HTTP/1.1 200 " not in answer, (name, answer)
        assert "connection: close" in head.lower(), name
        if running.ours:
            said = json.loads(body.partition("{")[1] + body.partition("{")[2].partition("}")[0] + "}")
            assert said["kind"] == "message" and said["message"].startswith("expected "), name
    assert "Traceback" not in running.said


def test_a_target_is_what_was_sent(all_ways: dict[str, Running]) -> None:
    for running in all_ways.values():
        if running.ours:
            for name, raw in ANOTHER_TARGET.items():
                assert running.ask(raw).startswith("HTTP/1.1 400 "), name
        for target in ("/v1/ws", "http://x/v1/ws", "/v1/%77s", "/v1/ws/w/app/demo/files/public%2Fnone"):
            status = running.ask(asked(target)).split(" ")[1]
            assert status == ("404" if "none" in target else "200"), target


def test_what_stands_behind_the_body_is_no_header(all_ways: dict[str, Running]) -> None:
    chunks = "2\r\n[]\r\n0\r\nX-Request-Id: behind\r\n\r\n"
    raw = posted("Transfer-Encoding: chunked", "Connection: close", body=chunks)
    for running in all_ways.values():
        if running.ours:
            answer = running.ask(raw)
            assert answer.startswith("HTTP/1.1 200 ") and answer.endswith("[]"), answer
            assert "behind" not in answer


def test_a_body_that_comes_behind_an_offer_is_no_request(running: Running) -> None:
    # In another packet: the parser would begin anew with it.
    with running.send(posted("Connection: Upgrade", "Upgrade: h2c", length(HIDDEN))) as connection:
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 400 ")
        try:
            connection.sendall(HIDDEN.encode())
            rest = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            rest = b""
        assert b"HTTP/1.1" not in rest


def test_an_offer_without_a_body_is_passed_over(running: Running) -> None:
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    with running.send(f"{GET}Host: x\r\n{offer}\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    without = posted("Upgrade: h2c", "Content-Length: 3", "Connection: close", body="[7]")
    assert running.ask(without).endswith("[7]")


def test_heads_are_counted_and_bounded(running: Running) -> None:
    many = "".join(f"X-{n}: a\r\n" for n in range(300))
    long = "".join(f"X-{n}: {'a' * 10_000}\r\n" for n in range(100))
    for name, headers in (("many", many), ("long", long)):
        with running.send(f"{GET}Host: x\r\n") as connection:
            answer = b""
            try:
                connection.sendall(f"{headers}\r\n".encode())
                answer = connection.recv(65536)
            except ConnectionError:
                # It was closed before all had been sent, and the answer is lost with what was not read.
                assert running.ours and name == "long"
            assert not answer or answer.startswith(b"HTTP/1.1 431 "), (name, answer)
    enough = "".join(f"X-{n}: {'a' * 1_000}\r\n" for n in range(200))
    assert running.ask(f"{GET}Host: x\r\n{enough}Connection: close\r\n\r\n").startswith("HTTP/1.1 200 ")


def test_an_answer_that_is_being_sent_has_no_other_one_in_it(running: Running) -> None:
    with running.send(f"GET {LIVE} HTTP/1.1\r\n{AUTHORIZED}\r\n") as connection:
        begun = connection.recv(65536)
        assert begun.startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"this is no request\r\n\r\n")
        rest = b"".join(iter(lambda: connection.recv(65536), b""))
        if running.ours:
            assert b"HTTP/1.1 400" not in rest


def test_no_name_is_no_name(make_server: Callable[..., object]) -> None:
    app = create_app(make_server())  # type: ignore[arg-type]
    templates = [route for route in app.api._routes if "{" in route]
    assert len(templates) > 20
    for template in templates:
        for place in re.findall(r"\{[^}]*\}", template):
            path = template.replace(place, "")
            found = app._router.find(re.sub(r"\{[^}]*\}", "x", path))
            assert found is None or "" not in found[2].values(), (template, path)


def test_no_directory_is_served_as_it_is(make_server: Callable[..., object]) -> None:
    # Falcon's own responder for these takes any method, and follows links out of the directory.
    assert not create_app(make_server())._static_routes  # type: ignore[arg-type]


def test_the_end_comes_to_the_application_though_a_stream_is_open(
    all_ways: dict[str, Running],
) -> None:
    """The last of these tests, since it ends the servers."""
    streams = []
    for one in all_ways.values():
        connection = one.send(f"GET {LIVE} HTTP/1.1\r\n{AUTHORIZED}\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        streams.append(connection)
    statuses = {way: one.end() for way, one in all_ways.items()}
    # uvicorn by itself raises the signal again when it has stopped.
    assert statuses == {way: -signal.SIGTERM if way == "uvicorn" else 0 for way in WAYS}
    for way, one in all_ways.items():
        assert one.said.count("mixkit.server: stopped") == (2 if way == "workers" else 1), (way, one.said)
        assert "Traceback" not in one.said, (way, one.said)
        # No socket by which another master of this user could be steered.
        assert not list(one.home.rglob("*.ctl")), way
    for connection in streams:
        connection.close()
