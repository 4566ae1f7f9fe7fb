"""Calls of a tool that says its argument again, and what it takes to begin.

    python benchmarks/bench_mcp.py             standard input and output, HTTP, starting, listing 1,000 tools
    python benchmarks/bench_mcp.py --http      HTTP alone
    python benchmarks/bench_mcp.py --soak      resident memory of a server before and after requests that come and go

Beside it a loop that reads lines and writes them again, which no server can be faster than, and, where the official SDK
is installed in another environment (`MCP_PYTHON=/path/to/python`), its server: over HTTP under uvicorn, with one worker
and without sessions. The servers take turns, and of each the median round counts. All have their bytecode on disk, as
what is installed has.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from load import measure, processor_time

ROUNDS = 5
CALLS = 400
"""Of a round."""
HTTP_CALLS, HTTP_SECONDS = 20_000, 1.5
"""Of a round over HTTP, at most."""
CONNECTIONS = 4
TOOLS = 1_000
STARTS = 5
COMES_AND_GOES, CANCELLED = 10_000, 1_000
TOGETHER = 20
"""Calls that wait at once to be cancelled."""
TOKEN = "a-token-of-the-benchmark"
AGENT = """module echo(p: data)
  _meta_ { description: "Says it again", inParams: {text: "string"}, outParams: {text: "string"} }
  var cell m_p = p
  cell output = { text: m_p.text }
module end
"""
SLEEPER = """module sleeper(p: data)
  _meta_ { description: "Sleeps", inParams: {}, outParams: "data" }
  foreign def sleep : number -> data = "$core_sleep"
  cell output = do { let _ = sleep(60000); return 1 }
module end
"""
LOOP = (
    "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(line); sys.stdout.buffer.flush()"
)
OFFICIAL = """
import sys
from mcp.server import MCPServer
server = MCPServer("echo")
@server.tool(name="demo_echo")
def echo(text: str) -> dict[str, str]:
    return {"text": text}
if len(sys.argv) == 1:
    server.run("stdio")
else:
    import socket, uvicorn
    # Of that protocol by its number, for asyncio to switch off delays as it does for a server that it binds itself.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    uvicorn.Server(uvicorn.Config(app, access_log=False, log_config=None)).run([listener])
"""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
MIXKIT = [sys.executable, "-m", "mixkit"]


def message(number: int, method: str, **params: Any) -> bytes:
    whole = {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": META}}
    return json.dumps(whole).encode()


def call(number: int) -> bytes:
    return message(number, "tools/call", name="demo_echo", arguments={"text": "hello"})


def install(folder: Path, workspace: str, agents: dict[str, str]) -> None:
    """Install an app `demo` of agents, by their names, of which each is a source."""
    sources = folder / workspace
    sources.mkdir()
    files = {source: f"{number}.mix" for number, source in enumerate(dict.fromkeys(agents.values()))}
    for source, file in files.items():
        (sources / file).write_text(source)
    manifest = {
        "format": 3, "name": workspace, "version": "1.0", "kind": "app",
        "apps": {"demo": {"agents": {name: {"code": files[source]} for name, source in agents.items()}}},
        "grants": {"ffis": ["$core_sleep"]},
    }  # fmt: skip
    (sources / "manifest.json").write_text(json.dumps(manifest))
    package = f"{folder}/{workspace}.remix"
    for command in (
        ["build", str(sources), "-o", package],
        ["install", package, "--ws", workspace, "--ws-dir", f"{folder}/ws", "--yes"],
    ):
        subprocess.run([*MIXKIT, "remix", *command], check=True, capture_output=True)


# -- standard input and output ----------------------------------------------------------------


@contextmanager
def piped(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def ask(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(line + b"\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "the server has gone"
    return answer


def one_by_one(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """By a client that does no more than write and read: all of its time is the servers' loss."""
    assert process.stdin is not None and process.stdout is not None
    source, target = process.stdout.fileno(), process.stdin.fileno()
    lines = [call(number) + b"\n" for number in range(CALLS)]
    read, write = os.read, os.write
    before = processor_time(process.pid)
    began = time.perf_counter()
    for line in lines:
        write(target, line)
        while not read(source, 65_536).endswith(b"\n"):
            pass
    taken = time.perf_counter() - began
    return CALLS / taken, (processor_time(process.pid) - before) / CALLS


def at_once(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    assert process.stdin is not None and process.stdout is not None
    into, lines = process.stdin, b"".join(call(number) + b"\n" for number in range(CALLS))

    def write() -> None:
        into.write(lines)
        into.flush()

    writer = threading.Thread(target=write)
    before = processor_time(process.pid)
    began = time.perf_counter()
    writer.start()
    for _ in range(CALLS):
        process.stdout.readline()
    taken = time.perf_counter() - began
    writer.join()
    return CALLS / taken, (processor_time(process.pid) - before) / CALLS


# -- HTTP -------------------------------------------------------------------------------------


@contextmanager
def serving(*command: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its pid and port."""
    env = {**os.environ, "MIXKIT_SERVER_TOKEN": TOKEN}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=env) as process:
        assert process.stderr is not None
        found = None
        while not found and (line := process.stderr.readline()):
            found = re.search(rb"http://127\.0\.0\.1:(\d+)", line)
        assert found, "the server did not say its address"
        # What it says besides is read, so that it never waits for that.
        reader = threading.Thread(target=process.stderr.read, daemon=True)
        reader.start()
        try:
            yield process.pid, int(found[1])
        finally:
            process.terminate()
            process.wait(30)
            reader.join()


def request(port: int, path: str, body: bytes, name: str = "demo_echo") -> bytes:
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Authorization": f"Bearer {TOKEN}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": name,
        "Content-Type": "application/json",
        "Content-Length": len(body),
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def connect(port: int) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", port), 30)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def post(connection: socket.socket, data: bytes) -> None:
    """Send a request, and read its answer."""
    connection.sendall(data)
    answer = b""
    while True:
        head, end, body = answer.partition(b"\r\n\r\n")
        if end:
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            assert head.startswith(b"HTTP/1.1 200") and length, answer[:300]
            if len(body) >= int(length[1]):
                return
        piece = connection.recv(65_536)
        assert piece, "the server closed the connection"
        answer += piece


def over_http(pid: int, port: int, path: str) -> tuple[float, float]:
    """Calls a second on connections that are kept, and seconds of processor that the server takes for one."""
    before = processor_time(pid)
    rate, times = measure(port, request(port, path, call(1)), HTTP_CALLS, HTTP_SECONDS, CONNECTIONS)
    return rate, (processor_time(pid) - before) / len(times)


# -- what is measured -------------------------------------------------------------------------


def take_turns(what: str, contenders: dict[str, Callable[[], tuple[float, float]]]) -> None:
    """Contenders, each of which answers a rate, and the seconds of processor that its server takes a call."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(ROUNDS + 1):
        for name, take in contenders.items():
            taken = take()
            if turn:
                found[name].append(taken)
    for name, of in found.items():
        rates, seconds = zip(*of, strict=True)
        print(
            f"{what:24} {name:10} {statistics.median(rates):7.0f}/s   best {max(rates):7.0f}/s   "
            f"{statistics.median(seconds) * 1e6:5.0f} µs of processor a call"
        )


def calls(folder: Path, python: str | None) -> None:
    commands = {
        "loop": [sys.executable, "-c", LOOP],
        "mixkit": [*MIXKIT, "mcp", "-w", "few", "--ws-dir", f"{folder}/ws"],
        **({"official": [python, "-c", OFFICIAL]} if python else {}),
    }
    with ExitStack() as stack:
        found = {name: stack.enter_context(piped(command)) for name, command in commands.items()}
        take_turns("stdio, one by one", {n: lambda p=p: one_by_one(p) for n, p in found.items()})
        take_turns("stdio, all at once", {n: lambda p=p: at_once(p) for n, p in found.items()})


def http_calls(folder: Path, python: str | None) -> None:
    with ExitStack() as stack:
        ours = [*MIXKIT, "serve", "--port", "0", "--ws-dir", f"{folder}/ws"]
        pid, port = stack.enter_context(serving(*ours))
        servers = {"mixkit": lambda: over_http(pid, port, "/mcp/few")}
        if python:
            its, other = stack.enter_context(serving(python, "-c", OFFICIAL, "http"))
            servers["official"] = lambda: over_http(its, other, "/mcp")
        take_turns(f"HTTP, {CONNECTIONS} connections", servers)


def starts(folder: Path) -> None:
    for workspace in ("few", "many"):
        first, again = [], []
        for _ in range(STARTS):
            began = time.perf_counter()
            with piped([*MIXKIT, "mcp", "-w", workspace, "--ws-dir", f"{folder}/ws"]) as process:
                ask(process, message(1, "tools/list"))
                first.append(time.perf_counter() - began)
                began = time.perf_counter()
                listed = json.loads(ask(process, message(2, "tools/list")))
                again.append(time.perf_counter() - began)
        print(
            f"{len(listed['result']['tools']):5} tools listed: {min(first) * 1000:6.0f} ms from the start "
            f"(median {statistics.median(first) * 1000:.0f}), then {min(again) * 1000:6.1f} ms"
        )


def soak(folder: Path) -> None:
    with serving(*MIXKIT, "serve", "--port", "0", "--ws-dir", f"{folder}/ws") as (pid, port):
        data = request(port, "/mcp/few", call(1))
        asleep = message(1, "tools/call", name="demo_sleeper", arguments={})
        asleep = asleep.replace(b'"_meta": {', b'"_meta": {"progressToken": 1, ')

        def comes_and_goes() -> None:
            with connect(port) as connection:
                post(connection, data)

        def cancelled() -> None:
            with ExitStack() as stack:
                connections = [stack.enter_context(connect(port)) for _ in range(TOGETHER)]
                for connection in connections:
                    connection.sendall(request(port, "/mcp/few", asleep, "demo_sleeper"))
                # Their streams have begun, which takes a second where nothing is told.
                for connection in connections:
                    assert connection.recv(100).startswith(b"HTTP/1.1 200")

        for name, do, count, each in (
            ("requests, each its own connection", comes_and_goes, COMES_AND_GOES, 1),
            ("calls that are cancelled", cancelled, CANCELLED, TOGETHER),
        ):
            for _ in range(count // each // 4):
                do()
            before = resident(pid)
            for _ in range(count // each):
                do()
            time.sleep(1)
            after = resident(pid)
            print(f"{count} {name}: {before} MiB resident before, {after} MiB after")


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--soak", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/bytecode"
        install(folder, "few", {"echo": AGENT, "sleeper": SLEEPER})
        if arguments.soak:
            soak(folder)
            return
        python = os.environ.get("MCP_PYTHON")
        if arguments.http:
            http_calls(folder, python)
            return
        many = {
            f"tool_{number}": AGENT.replace("module echo", f"module tool_{number}") for number in range(TOOLS)
        }
        install(folder, "many", many)
        starts(folder)
        calls(folder, python)
        http_calls(folder, python)


if __name__ == "__main__":
    main()
