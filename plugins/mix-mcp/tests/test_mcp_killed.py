"""A process that is killed: what it worked on has failed, for all others and at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mix_mcp.holder import Holder

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stdio

HOLDS = """
import sys
from pathlib import Path
from mix_mcp.holder import Holder
print(Holder(Path(sys.argv[1])).name, flush=True)
sys.stdin.read()
"""


def test_a_holder_lives_until_it_ends(tmp_path: Path) -> None:
    holder, other = Holder(tmp_path / "held"), Holder(tmp_path / "held")
    assert not other.lives("none") and not other.lives("") and not other.lives("../held")
    name = holder.name
    assert other.lives(name) and holder.lives(name) and holder.name == name
    holder.close()
    assert not other.lives(name)
    holder.close()


def test_one_that_is_killed_does_not(tmp_path: Path) -> None:
    holder = Holder(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert holder.lives(name)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert not holder.lives(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.xdist_group("mcp")
def test_a_task_of_a_process_that_is_killed_has_failed(client: Callable[..., Stdio], ws_dir: Path) -> None:
    able: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    first, second = client(ws_dir), client(ws_dir)
    call = {"name": "slow_compute", "arguments": {"seconds": 600}}
    begun = first.ask("tools/call", call, capabilities=able)["result"]
    assert (begun["resultType"], begun["status"]) == ("task", "working")

    def status() -> dict[str, Any]:
        found: dict[str, Any] = second.ask("tasks/get", {"taskId": begun["taskId"]}, capabilities=able)[
            "result"
        ]
        return found

    assert status()["status"] == "working"
    first.process.kill()
    first.process.wait(30)
    found = status()
    assert found["status"] == "failed" and "stopped" in found["error"]["message"]
