"""Calls that go on while nobody waits for them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mcp")]

Call = Callable[..., httpx.Response]
ABLE = {"extensions": {"io.modelcontextprotocol/tasks": {}}, "elicitation": {}}


@pytest.fixture
def ask(call: Call) -> Callable[..., Any]:
    """The result of a request of a client that knows tasks, or its error."""

    def send(client: httpx.Client, method: str, **params: Any) -> Any:
        name = {"Mcp-Name": params["taskId"]} if "taskId" in params else {}
        found = call(client, method, params, name, capabilities=ABLE).json()
        return found.get("result", found.get("error"))

    return send


def until(ask: Callable[..., Any], client: httpx.Client, id: str, *status: str) -> Any:
    """The task as soon as it is so."""
    end = time.monotonic() + 60
    while (found := ask(client, "tasks/get", taskId=id))["status"] not in status:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_a_task_is_begun_and_ends(site: Site, ask: Callable[..., Any]) -> None:
    with site.client() as client:
        begun = ask(client, "tools/call", name="slow_compute", arguments={"seconds": 0.2})
        assert (begun["resultType"], begun["status"]) == ("task", "working") and "requestState" not in begun
        done = until(ask, client, begun["taskId"], "completed")
        assert done["result"]["content"][0]["text"] == "done" and done["resultType"] == "complete"
        # What is over stays as it is.
        assert "code" not in ask(client, "tasks/cancel", taskId=begun["taskId"])
        assert ask(client, "tasks/get", taskId=begun["taskId"])["status"] == "completed"
        # What answers at once is none.
        assert ask(client, "tools/call", name="greet", arguments={"name": "Ada"})["resultType"] == "complete"


def test_a_failure_of_the_tool_is_a_result(site: Site, ask: Callable[..., Any]) -> None:
    with site.client() as client:
        failed = ask(client, "tools/call", name="failing_job")
        assert until(ask, client, failed["taskId"], "completed")["result"]["isError"] is True
        wrong = ask(client, "tools/call", name="protocol_error_job")
        found = until(ask, client, wrong["taskId"], "failed")
        assert found["error"]["code"] == -32021 and "result" not in found


def test_a_task_asks(site: Site, ask: Callable[..., Any]) -> None:
    answer = {"action": "accept", "content": {"name": "Ada"}}
    with site.client() as client:
        id = ask(client, "tools/call", name="multi_input")["taskId"]
        asked = until(ask, client, id, "input_required")["inputRequests"]
        one, two = asked
        assert (
            ask(client, "tasks/update", taskId=id, inputResponses={one: answer, "other": answer}) is not None
        )
        left = ask(client, "tasks/get", taskId=id)
        assert left["status"] == "input_required" and left["inputRequests"].keys() == {two}
        wrong = {"action": "accept", "content": {}}
        ask(client, "tasks/update", taskId=id, inputResponses={two: wrong})
        assert ask(client, "tasks/get", taskId=id)["inputRequests"].keys() == {two}
        ask(client, "tasks/update", taskId=id, inputResponses={two: answer})
        assert "Ada" in until(ask, client, id, "completed")["result"]["content"][0]["text"]


def test_a_task_is_cancelled(site: Site, ask: Callable[..., Any]) -> None:
    with site.client() as client:
        for tool, arguments in (("slow_compute", {"seconds": 50}), ("confirm_delete", {})):
            id = ask(client, "tools/call", name=tool, arguments=arguments)["taskId"]
            ask(client, "tasks/cancel", taskId=id)
            assert ask(client, "tasks/get", taskId=id)["status"] == "cancelled"


def test_a_task_is_its_owners(site: Site, ask: Callable[..., Any], call: Call) -> None:
    with site.client() as operator:
        id = ask(operator, "tools/call", name="slow_compute", arguments={"seconds": 50})["taskId"]
        made = operator.post(
            "/v1/ws/conf/tokens", json={"name": "t", "rights": [{"role": "admin", "resource": "workspace"}]}
        ).json()
        with site.client(made["token"]) as other:
            for method in ("tasks/get", "tasks/cancel", "tasks/update"):
                refused = ask(other, method, taskId=id)
                assert refused == ask(other, method, taskId="0" * 32) and refused["code"] == -32602
        assert ask(operator, "tasks/get", taskId=id)["status"] == "working"
        ask(operator, "tasks/cancel", taskId=id)
        # Who does not know tasks gets no task.
        lacking = call(operator, "tasks/get", {"taskId": id}, {"Mcp-Name": id}).json()["error"]
        assert lacking["code"] == -32021
        refused = call(operator, "tools/call", {"name": "failing_job"}).json()["error"]
        assert refused["data"] == {
            "requiredCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}
        }


def test_a_task_is_there_as_long_as_its_agent_may_be_run(
    site: Site, ask: Callable[..., Any], call: Call, ws_dir: Path
) -> None:
    made = [sys.executable, "-m", "mixkit", "auth", "token", "ada@example.org", "--ws-dir", str(ws_dir)]
    token = subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
    with site.client() as operator, site.client(token) as ada:
        grant = {"subject": "user/ada@example.org", "role": "runner", "resource": "agent/test/confirm_delete"}
        kept = {**grant, "resource": "agent/test/simple_text"}
        path = "/v1/ws/conf/permissions"
        id = operator.post(path, json=grant).json()["id"]
        assert operator.post(path, json=kept).status_code in (200, 201)
        task = ask(ada, "tools/call", name="confirm_delete")["taskId"]
        asked = until(ask, ada, task, "input_required")["inputRequests"]
        assert operator.delete(f"{path}/{id}").status_code in (200, 204)
        # From the next request on, whatever has begun before.
        listed = call(ada, "tools/list").json()["result"]["tools"]
        assert [tool["name"] for tool in listed] == ["test_simple_text"]
        answers = {key: {"action": "accept", "content": {"confirm": True}} for key in asked}
        missing = ask(ada, "tasks/get", taskId="0" * 32)
        assert missing["code"] == -32602
        assert ask(ada, "tools/call", name="confirm_delete")["code"] == -32602
        assert ask(ada, "tasks/get", taskId=task) == missing
        assert ask(ada, "tasks/update", taskId=task, inputResponses=answers) == missing


def test_what_is_over_leaves_no_signal_open(site: Site, ask: Callable[..., Any], ws_dir: Path) -> None:
    command = [sys.executable, "-m", "mixkit", "db", "query", "--db", str(ws_dir / "conf/signals.db")]
    query = '"_rmx_type" == "signal" && "open" == true | count()'

    def count() -> int:
        done = subprocess.run([*command, query], check=True, capture_output=True, text=True)
        return int(json.loads(done.stdout)["count"])

    answer = {"action": "accept", "content": {"confirm": True}}
    with site.client() as client:
        before = count()
        ids = [
            ask(client, "tools/call", name="slow_compute", arguments={"seconds": 0})["taskId"],
            ask(client, "tools/call", name="slow_compute", arguments={"seconds": 50})["taskId"],
            ask(client, "tools/call", name="confirm_delete")["taskId"],
        ]
        assert count() > before
        ask(client, "tasks/cancel", taskId=ids[1])
        asked = until(ask, client, ids[2], "input_required")["inputRequests"]
        ask(client, "tasks/update", taskId=ids[2], inputResponses=dict.fromkeys(asked, answer))
        for id in ids:
            until(ask, client, id, "completed", "cancelled")
        end = time.monotonic() + 60
        # Those of the tests before may end meanwhile.
        while count() > before:
            assert time.monotonic() < end, count()
            time.sleep(0.2)
