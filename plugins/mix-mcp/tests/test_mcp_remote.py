"""`mixkit mcp --server`: a workspace of a server, for a client that speaks over pipes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from mix_mcp.headers import plain, written

if TYPE_CHECKING:
    from conftest import Site, Stdio

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mcp")]

TOKEN = "a-token-for-tests-0123456789"
FORM = {"elicitation": {}}
SAID = [{"type": "text", "text": "This is a simple text response for testing."}]


@pytest.fixture
def remote(site: Site, client: Callable[..., Stdio], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stdio]:
    monkeypatch.setenv("MIXKIT_SERVER_TOKEN", TOKEN)
    yield client(None, "--server", site.url)


def test_a_client_of_today(remote: Stdio) -> None:
    assert "2026-07-28" in remote.ask("server/discover")["result"]["supportedVersions"]
    names = [tool["name"] for tool in remote.ask("tools/list")["result"]["tools"]]
    assert "test_simple_text" in names
    assert remote.ask("tools/call", {"name": "test_simple_text"})["result"]["content"] == SAID
    id = remote.send("tools/call", {"name": "test_tool_with_progress"}, progressToken=7)
    told = [remote.read() for _ in range(4)]
    assert [each.get("params", {}).get("progress") for each in told] == [0, 50, 100, None]
    assert told[3]["id"] == id
    assert remote.ask("tools/call", {"name": "nöne"})["error"]["code"] == -32602
    assert remote.ask("no/such")["error"]["code"] == -32601
    remote.write(b"{")
    assert remote.read()["error"]["code"] == -32700
    assert remote.close() == 0


def test_arguments_stand_in_headers_too(remote: Stdio) -> None:
    # Whether the client has asked for the list or not, and whether it is told how far its call is or not.
    for about in ({}, {"progressToken": 1}, {}):
        arguments = {"region": " eu-é", "size": 42, "dry": True}
        done = remote.ask("tools/call", {"name": "test_mirrored", "arguments": arguments}, **about)
        assert done["result"]["content"][0]["text"] == " eu-é"
    assert remote.ask("tools/call", {"name": "test_mirrored", "arguments": {}})["result"]["isError"]


def test_a_client_with_a_session(remote: Stdio) -> None:
    opened = remote.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": FORM}, modern=False)
    assert opened["result"]["protocolVersion"] == "2025-11-25"
    remote.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')
    assert remote.ask("ping", modern=False)["result"] == {}
    name = "test_input_required_result_elicitation"
    id = remote.send("tools/call", {"name": name}, modern=False)
    question = remote.read()
    assert question["method"] == "elicitation/create"
    given: dict[str, Any] = {"action": "accept", "content": {"name": "Ada"}}
    remote.write(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": given}).encode())
    done = remote.read()
    assert done["id"] == id and "Ada" in done["result"]["content"][0]["text"]
    assert remote.close() == 0


def test_a_call_is_cancelled_and_listening_ends_with_the_input(remote: Stdio) -> None:
    remote.send("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    assert remote.read()["method"] == "notifications/subscriptions/acknowledged"
    id = remote.send("tools/call", {"name": "test_tool_with_progress"}, progressToken=1)
    assert remote.read()["params"]["progress"] == 0
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}
    remote.write(json.dumps(cancelled).encode())
    while (found := remote.ask("server/discover"))["id"] != id + 1:
        assert found["id"] != id
    assert remote.close() == 0


def test_listening_ends_with_the_input_of_a_directory_too(stdio: Stdio) -> None:
    stdio.send("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    assert stdio.read()["method"] == "notifications/subscriptions/acknowledged"
    assert stdio.close() == 0


def test_a_server_that_refuses_or_is_not_there(site: Site, client: Callable[..., Stdio]) -> None:
    found = client(None, "--server", site.url, "--token", "wrong-token-0123456789").ask("tools/list")
    assert "401" in found["error"]["message"]
    nobody = client(None, "--server", "http://127.0.0.1:9", "--token", TOKEN).ask("tools/list")
    assert "cannot be asked" in nobody["error"]["message"]
    done = subprocess.run(
        [sys.executable, "-m", "mixkit", "mcp", "-w", "w", "--server", "ftp://x"],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 1 and "expected the URL" in done.stderr


JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
TOLD = b'data: {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}\n\n'


def document(text: bytes, length: int = 0) -> bytes:
    return JSON % (length or len(text), text)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 307 Away\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n", "http://other.example/"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\n<p>", "502: Bad Gateway"),
        (b"SSH-2.0-x\r\n", "no server of HTTP"),
        (b"", "before it answered"),
        (document(b"{", 100), "before it answered"),
        (EVENTS + TOLD, "before it answered"),
        (EVENTS + TOLD + b'data: {"jsonrpc": "2.0", "id": 1, "res', "before it answered"),
        (EVENTS + TOLD + b"data: {\n\n", "no message of MCP"),
        (EVENTS + b"data: printed\n\n", "no message of MCP"),
        (document(b"{}"), "no message of MCP"),
        (document(b'{"jsonrpc": "2.0", "id": 7, "result": {}}'), "something else"),
        (document(b'{"jsonrpc": "2.0", "id": null, "error": {"code": 1, "message": "broken"}}'), "broken"),
    ],
)  # fmt: skip
def test_a_request_is_answered_once_whatever_the_server_does(
    client: Callable[..., Stdio], answer: bytes, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bridge = client(None, "--server", f"http://127.0.0.1:{listener.getsockname()[1]}", "--token", TOKEN)
        id = bridge.send("tools/call", {"name": "x"})
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)
        told = []
        while (found := bridge.read()).get("id") is None:
            told.append(found["method"])
    assert found["id"] == id and said in found["error"]["message"]
    assert told == ["notifications/progress"] * answer.count(b"progress")
    # Nothing else was printed, and nobody was asked twice.
    rest, _ = bridge.process.communicate(timeout=60)
    assert rest == b"" and bridge.process.returncode == 0


def test_what_does_no_harm_is_asked_once_more_when_the_server_has_gone(client: Callable[..., Stdio]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bridge = client(None, "--server", f"http://127.0.0.1:{listener.getsockname()[1]}", "--token", TOKEN)
        for answers in ([b"", b"", document(b'{"jsonrpc": "2.0", "id": 1, "result": {}}')], [b"", b"", b""]):
            id = bridge.send("tools/list")
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    assert b"tools/list" in connection.recv(1 << 16)
                    connection.sendall(answer)
            found = bridge.read()
            assert found["id"] == id and ("result" in found) == any(answers)


def test_a_call_that_is_cancelled_before_its_turn_is_not_asked(client: Callable[..., Stdio]) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
        listener.settimeout(60)
        bridge = client(None, "--server", f"http://127.0.0.1:{listener.getsockname()[1]}", "--token", TOKEN)
        # As many as are under way at once.
        under_way = [bridge.send("tools/call", {"name": "x"}) for _ in range(100)]
        late = bridge.send("tools/call", {"name": "late"})
        told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": late}}
        bridge.write(json.dumps(told).encode())
        last = bridge.send("tools/call", {"name": "last"})
        connections = [stack.enter_context(listener.accept()[0]) for _ in under_way]
        for connection in connections:
            connection.settimeout(60)
            asked = json.loads(connection.recv(1 << 16).partition(b"\r\n\r\n")[2])
            connection.sendall(
                document(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": {}}).encode())
            )
        assert {bridge.read()["id"] for _ in under_way} == set(under_way)
        # The next one comes over a connection that is there, or over a new one; which one is the bridge's affair.
        data = b""
        while not data:
            found = select.select([listener, *connections], [], [], 60)[0][0]
            if found is listener:
                connections.append(stack.enter_context(listener.accept()[0]))
            elif not (data := found.recv(1 << 16)):
                connections.remove(found)
        asked = json.loads(data.partition(b"\r\n\r\n")[2])
        assert (asked["id"], asked["params"]["name"]) == (last, "last")
        found.sendall(document(json.dumps({"jsonrpc": "2.0", "id": last, "result": {}}).encode()))
        assert bridge.read()["id"] == last
        assert bridge.close() == 0


def test_a_refusal_of_headers_that_a_session_does_not_have_is_its_answer(
    client: Callable[..., Stdio],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bridge = client(None, "--server", f"http://127.0.0.1:{listener.getsockname()[1]}", "--token", TOKEN)
        id = bridge.send("tools/call", {"name": "x"}, modern=False)
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            refusal = {"jsonrpc": "2.0", "id": id, "error": {"code": -32020, "message": "no such header"}}
            connection.sendall(
                document(json.dumps(refusal).encode()).replace(b"200 OK", b"400 Bad Request", 1)
            )
        assert bridge.read() == refusal


def test_what_keeps_a_bridge_from_tls_is_said(
    client: Callable[..., Stdio], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://localhost:{listener.getsockname()[1]}"

        def asked(answer: Callable[[socket.socket], object]) -> str:
            bridge = client(None, "--server", url, "--token", TOKEN)
            bridge.send("tools/list")
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                answer(connection)
            message: str = bridge.read()["error"]["message"]
            return message

        untrusted = asked(lambda connection: context.wrap_socket(connection, server_side=True))
        assert "not trusted" in untrusted and "SSL_CERT_FILE" in untrusted
        plain = asked(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        assert "no TLS" in plain and "http://" in plain
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert "HTTPS_PROXY is not used" in asked_once(client, url)


def asked_once(client: Callable[..., Stdio], url: str) -> str:
    found: str = client(None, "--server", url, "--token", TOKEN).ask("tools/list")["error"]["message"]
    return found


@pytest.mark.parametrize("text", ["plain", "nöne", " edge ", "=?base64?x?=", "", "tab\t", "a\r\nb"])
def test_what_a_header_says_comes_back(text: str) -> None:
    header = written(text)
    assert header.isascii() and header.isprintable() and plain(header) == text
