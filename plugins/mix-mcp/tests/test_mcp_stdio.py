"""`mixkit mcp` over pipes, as a client has it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Stdio

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mcp")]

SAID = [{"type": "text", "text": "This is a simple text response for testing."}]
FORM = {"elicitation": {}}
QUESTION = "test_input_required_result_elicitation"


def test_a_client_of_today_finds_and_calls_tools(stdio: Stdio) -> None:
    found = stdio.ask("server/discover")["result"]
    assert found["resultType"] == "complete" and "2026-07-28" in found["supportedVersions"]
    tools = stdio.ask("tools/list")["result"]
    names = [tool["name"] for tool in tools["tools"]]
    assert names == sorted(names) and "test_simple_text" in names
    assert tools["cacheScope"] == "private" and tools["ttlMs"] > 0
    assert all(tool["inputSchema"]["type"] == "object" for tool in tools["tools"])
    called = stdio.ask("tools/call", {"name": "test_simple_text", "arguments": {}})["result"]
    assert called["content"] == SAID and "isError" not in called
    assert called["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "mixkit"
    assert stdio.close() == 0


def test_a_list_takes_no_more_than_it_needs(ws_dir: Path) -> None:
    params = {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    }
    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params})
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mixkit", "mcp", "--workspace", "conf", "--ws-dir", str(ws_dir)],
        input=asked, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert len(json.loads(done.stdout)["result"]["tools"]) > 10
    # No server over HTTP, and no engine while nothing runs.
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "mix_mcp.bridge" in loaded
    assert not loaded & {"falcon", "gunicorn", "uvicorn", "prometheus_client", "wasmtime", "aiohttp"}


def test_a_client_with_a_session_does_too(stdio: Stdio) -> None:
    opened = stdio.ask(
        "initialize",
        {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
        modern=False,
    )["result"]  # fmt: skip
    assert opened["protocolVersion"] == "2025-11-25" and opened["capabilities"]["tools"] == {
        "listChanged": True
    }
    stdio.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')
    assert stdio.ask("ping", modern=False)["result"] == {}
    called = stdio.ask("tools/call", {"name": "test_simple_text"}, modern=False)["result"]
    assert called == {"content": SAID}
    # A connection is of the revision that it began with.
    assert stdio.ask("tools/list")["error"]["code"] == -32600
    assert stdio.close() == 0


def test_what_is_no_message_is_answered_and_does_no_harm(stdio: Stdio) -> None:
    for line, code, id in (
        (b"{", -32700, None),
        (b"\xff", -32700, None),
        (b"[]", -32600, None),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600, None),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600, None),
        (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', -32600, None),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600, None),
        (b'{"jsonrpc": "2.0", "id": "' + b"x" * 65 + b'", "method": "ping"}', -32600, None),
        # Who has sent one with an id waits for an answer with that id.
        (b'{"jsonrpc": "1.0", "id": 0, "method": "ping"}', -32600, 0),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 2}', -32600, 1),
        (b'{"jsonrpc": "2.0", "id": "1", "method": "ping", "params": []}', -32602, "1"),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', -32600, 1),
        (b'"' + b"x" * (5 << 20) + b'"', -32700, None),
    ):
        stdio.write(line)
        found = stdio.read()
        assert (found["error"]["code"], found["id"]) == (code, id), line[:60]
    # What is told is not answered, whatever it holds.
    for params in ({}, {"requestId": [1]}, {"requestId": {}}, {"requestId": None}, {"requestId": True}):
        told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        stdio.write(json.dumps(told).encode())
    stdio.write(b'{"jsonrpc": "2.0", "id": "of nobody", "result": {}}')
    assert stdio.ask("tools/unknown")["error"]["code"] == -32601
    assert stdio.ask("tools/call", {"name": "no_such"})["error"]["code"] == -32602
    assert stdio.ask("tools/call", {"name": 1})["error"]["code"] == -32602
    assert stdio.ask("tools/list", {"cursor": "?"})["error"]["code"] == -32602
    refused = stdio.ask("tools/call", {"name": "test_sampling", "arguments": {"text": "x"}})["result"]
    assert refused["isError"] and "prompt" in refused["content"][0]["text"]
    # Null is none of the values of an argument that may be left out: it was, and of one that may not it is a mistake.
    region, nothing = {"region": "north"}, {"size": None, "dry": None}
    for arguments, says in ((region | nothing, "north"), (region, "north"), ({"region": None}, "region")):
        given = {"name": "test_mirrored", "arguments": arguments}
        assert says in stdio.ask("tools/call", given)["result"]["content"][0]["text"]
    wrong = stdio.ask(
        "tools/call", {"name": "test_mirrored", "arguments": region | nothing | {"size": "big"}}
    )
    assert wrong["result"]["isError"] and "size" in wrong["result"]["content"][0]["text"]
    assert stdio.close() == 0


def test_what_an_agent_says_meanwhile(stdio: Stdio) -> None:
    about = {"progressToken": "p", "io.modelcontextprotocol/logLevel": "info"}
    id = stdio.send("tools/call", {"name": "test_tool_with_progress"}, **about)
    told = [stdio.read() for _ in range(4)]
    assert [each.get("params", {}).get("progress") for each in told] == [0, 50, 100, None]
    assert told[0]["params"]["progressToken"] == "p" and told[3]["id"] == id
    stdio.send("tools/call", {"name": "test_tool_with_logging"}, **about)
    lines = [stdio.read() for _ in range(4)]
    assert [each["params"]["data"] for each in lines[:3]] == [
        "Tool execution started", "Tool processing data", "Tool execution completed",
    ]  # fmt: skip
    # Who does not ask for it is told nothing.
    assert "result" in stdio.ask("tools/call", {"name": "test_tool_with_logging"})


def test_who_is_told_too_much_hears_the_latest(stdio: Stdio) -> None:
    id = stdio.send("tools/call", {"name": "test_flood"}, progressToken=1)
    told = []
    while (found := stdio.read()).get("id") != id:
        told.append(found["params"]["progress"])
    # Of 50,000 steps the last is told, in its place, and few before it.
    assert told == sorted(set(told)) and told[-1] == 50_000 and len(told) < 5_000
    # What is cancelled tells nothing more, behind what was on its way.
    id = stdio.send("tools/call", {"name": "test_flood"}, progressToken=2)
    stdio.read()
    stdio.write(json.dumps(
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}
    ).encode())  # fmt: skip
    asked = stdio.send("server/discover")
    while stdio.read().get("id") != asked:
        pass
    asked = stdio.send("server/discover")
    assert stdio.read()["id"] == asked


def test_nobody_waits_for_answers_when_no_more_can_come(stdio: Stdio) -> None:
    stdio.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": FORM}, modern=False)
    first = stdio.send("tools/call", {"name": QUESTION}, modern=False)
    question = stdio.read()["id"]
    stdio.write(json.dumps(
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": first}}
    ).encode())  # fmt: skip
    # Who is asked for a call that is cancelled hears of that.
    assert stdio.read()["params"] == {"requestId": question}
    second = stdio.send("tools/call", {"name": QUESTION}, modern=False)
    assert stdio.read()["method"] == "elicitation/create"
    assert stdio.process.stdin is not None
    stdio.process.stdin.close()
    done = stdio.read()
    assert done["id"] == second and done["result"]["isError"]
    assert stdio.process.wait(30) == 0


def test_what_is_typed_is_completed(stdio: Stdio) -> None:
    def complete(ref: Any, name: Any, value: Any) -> Any:
        params = {"ref": ref, "argument": {"name": name, "value": value}}
        found = stdio.ask("completion/complete", params)
        return found["result"]["completion"] if "result" in found else found["error"]["code"]

    prompt = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}
    template = {"type": "ref/resource", "uri": "test://template/{id}/data"}
    assert complete(prompt, "arg1", "pa") == {"values": ["Paris", "park"], "total": 2, "hasMore": False}
    assert complete(prompt, "arg2", "") == {"values": [], "total": 0, "hasMore": False}
    found = complete(template, "id", "")
    assert (len(found["values"]), found["total"], found["hasMore"]) == (100, 200, True)
    for ref in ({**prompt, "name": "no"}, {**template, "uri": "no://such"}, {"type": "ref/other"}, {}, [], 1):
        assert complete(ref, "id", "") == -32602
    assert complete(prompt, 1, "") == complete(prompt, "arg1", None) == -32602
    # The values are no part of what is listed.
    listed = stdio.ask("prompts/list")["result"]["prompts"]
    assert all("values" not in argument for each in listed for argument in each.get("arguments", ()))


def test_a_session_says_what_is_good_from_then_on(stdio: Stdio, ws_dir: Path) -> None:
    stdio.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}, modern=False)
    logging = {"name": "test_tool_with_logging"}
    stdio.send("tools/call", logging, modern=False)
    assert [stdio.read().get("method") for _ in range(4)] == ["notifications/message"] * 3 + [None]
    assert "result" in stdio.ask("logging/setLevel", {"level": "error"}, modern=False)
    id = stdio.send("tools/call", logging, modern=False)
    assert stdio.read()["id"] == id
    for wrong in ({}, {"level": "loud"}, {"level": []}):
        assert stdio.ask("logging/setLevel", wrong, modern=False)["error"]["code"] == -32602
    assert stdio.ask("resources/subscribe", modern=False)["error"]["code"] == -32602
    watched = {"uri": "test://watched-resource"}
    assert "result" in stdio.ask("resources/subscribe", watched, modern=False)

    def change(uri: str) -> None:
        database = [sys.executable, "-m", "mixkit", "db", "%s", "--app", "conf/test", "--ws-dir", str(ws_dir)]
        query, put = ([word.replace("%s", command) for word in database] for command in ("query", "put"))
        found = subprocess.run([*query, f'uri == "{uri}"'], check=True, capture_output=True, text=True).stdout
        subprocess.run([*put, "--upsert"], input=found, check=True, capture_output=True, text=True)

    change("test://static-text")
    change(watched["uri"])
    told = stdio.read()
    assert (told["method"], told["params"]) == ("notifications/resources/updated", watched)


def test_a_question_is_an_answer_and_comes_back(stdio: Stdio) -> None:
    asked = stdio.ask("tools/call", {"name": QUESTION}, capabilities=FORM)["result"]
    assert asked["resultType"] == "input_required"
    assert asked["inputRequests"]["user_name"]["method"] == "elicitation/create"
    state = asked["requestState"]
    given = {"user_name": {"action": "accept", "content": {"name": "Ada"}}}
    back: dict[str, Any] = {"name": QUESTION, "requestState": state}
    done = stdio.ask("tools/call", back | {"inputResponses": given}, capabilities=FORM)["result"]
    assert "Ada" in done["content"][0]["text"]
    # What does not fit is asked for again.
    wrong = {"user_name": {"action": "accept", "content": {"name": 1}}}
    again = stdio.ask("tools/call", back | {"inputResponses": wrong}, capabilities=FORM)["result"]
    assert again["inputRequests"].keys() == {"user_name"}
    # A state is good for one call of one caller, and as it was sent.
    for params in (
        back | {"requestState": state[:-1] + ("0" if state[-1] != "0" else "1")},
        back | {"requestState": "x"},
        back | {"requestState": 1},
        back | {"arguments": {"more": 1}},
        {"name": "test_input_required_result_sampling", "requestState": state},
    ):
        assert stdio.ask("tools/call", params, capabilities=FORM)["error"]["code"] == -32602
    # A client that cannot be asked is told what it lacks.
    url: dict[str, Any] = {"elicitation": {"url": {}}}
    for can, tool, lacking in (
        ({}, QUESTION, {"elicitation": {}}),
        ({"elicitation": True}, QUESTION, {"elicitation": {}}),
        (url, QUESTION, {"elicitation": {"form": {}}}),
        (FORM, "test_ask_elsewhere", url),
        ({"elicitation": {"form": {}}}, "test_ask_elsewhere", url),
        ({"sampling": {}}, "test_ask_with_tools", {"sampling": {"tools": {}}}),
    ):
        error = stdio.ask("tools/call", {"name": tool}, capabilities=can)["error"]
        assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": lacking})
    both = {"sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}}
    for tool in (QUESTION, "test_ask_elsewhere", "test_ask_with_tools"):
        asked = stdio.ask("tools/call", {"name": tool}, capabilities=both)["result"]
        assert asked["resultType"] == "input_required"


def test_a_client_with_a_session_is_asked_while_it_waits(stdio: Stdio) -> None:
    stdio.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": FORM}, modern=False)
    id = stdio.send("tools/call", {"name": QUESTION}, modern=False)
    question = stdio.read()
    assert question["method"] == "elicitation/create"
    given = {
        "jsonrpc": "2.0",
        "id": question["id"],
        "result": {"action": "accept", "content": {"name": "Ada"}},
    }
    stdio.write(json.dumps(given).encode())
    done = stdio.read()
    assert done["id"] == id and "Ada" in done["result"]["content"][0]["text"]


def test_a_call_is_cancelled(stdio: Stdio) -> None:
    id = stdio.send("tools/call", {"name": "test_tool_with_progress"}, progressToken=1)
    assert stdio.read()["params"]["progress"] == 0
    stdio.write(json.dumps(
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}
    ).encode())  # fmt: skip
    # Nothing comes of it any more.
    assert stdio.ask("server/discover")["id"] == id + 1
    assert stdio.close() == 0


def test_no_input_at_all_is_the_end(ws_dir: Path) -> None:
    """`/dev/null`, as what starts servers in the background gives them: no event loop could wait for it."""
    command = [sys.executable, "-m", "mixkit", "mcp", "--ws", "conf", "--ws-dir", str(ws_dir)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, b"")
