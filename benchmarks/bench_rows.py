"""Whole rows of the store on their way out: over HTTP as JSON, NDJSON and MessagePack, and to an agent.

    python benchmarks/bench_rows.py [--json] [--rows N] [--rounds N] [--beside FOLDER]

Each figure is milliseconds of processor time of the server for one request that answers so many whole rows of
`database/records.py`; of the rounds the least counts. `--beside` measures another checkout as well, in turn with this
one; its C extensions must have been built in place. `limit` is copying the bytes of the answer once.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench_server import TOKEN, process

ROOT = Path(__file__).resolve().parent.parent
APP = "/v1/ws/w/app/bench"
QUERY = 'status == "open"'
FIELDS = QUERY + " | { _rmx_id, name, owner, amount, tags }"
REQUESTS = 20

# Begins the query of its parameter, takes all rows, and answers how many there were.
GUEST = """(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (import "mix" "take" (func $take (param i32)))
  (memory (export "memory") 16)
  (global $heap (mut i32) (i32.const 524288))
  (func (export "mix_alloc") (param $size i32) (result i32)
    (local $at i32) (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at) (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))
    (local.get $at))
  (data (i32.const 64) "$db_execute") (data (i32.const 96) "$db_execute_next")
  (func (export "mix_entry_rows") (param $p i32) (param $n i32) (result i64)
    (local $size i32) (local $count i32)
    ;; The arguments are [null, parameter], and then [handle].
    (i32.store (i32.const 1024) (i32.const 0x209))
    (i32.store (i32.const 1028) (i32.const 1))
    (memory.copy (i32.const 1032) (local.get $p) (local.get $n))
    (local.set $size
      (call $ffi (i32.const 64) (i32.const 11) (i32.const 1024) (i32.add (local.get $n) (i32.const 8))))
    (i32.store (i32.const 1024) (i32.const 0x109))
    (call $take (i32.const 1028))
    (local.set $size (i32.add (local.get $size) (i32.const 4)))
    (loop $more
      (drop (call $ffi (i32.const 96) (i32.const 16) (i32.const 1024) (local.get $size)))
      (call $take (i32.const 65536))
      (local.set $count (i32.add (local.get $count) (i32.shr_u (i32.load (i32.const 65536)) (i32.const 8))))
      ;; As long as it is not the empty array.
      (br_if $more (i32.ne (i32.load (i32.const 65536)) (i32.const 9))))
    (i32.store (i32.const 128) (i32.or (i32.const 3) (i32.shl (local.get $count) (i32.const 8))))
    (i64.const 0x8000000004))
  (func (export "mix_entry_nothing") (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n)))))
"""

Ask = tuple[str, Any, str]
ASKS: dict[str, Ask] = {
    "HTTP, JSON": ("/query", {"query": QUERY}, "application/json"),
    "HTTP, NDJSON": ("/query", {"query": QUERY}, "application/x-ndjson"),
    "HTTP, MessagePack": ("/query", {"query": QUERY}, "application/msgpack"),
    "HTTP, JSON, five fields": ("/query", {"query": FIELDS}, "application/json"),
    "$db_execute, by an agent": ("/agent/rows", QUERY, "application/json"),
    "$db_execute, five fields": ("/agent/rows", FIELDS, "application/json"),
    "no rows, by an agent": ("/agent/nothing", 0, "application/json"),
    "no rows, JSON": ("/query", {"query": "status == 0"}, "application/json"),
}


def make(directory: Path, rows: int) -> None:
    """A workspace with the agent and the records, of which a quarter and a little more are asked for."""
    from database.records import make_records
    from wasmtime import wat2wasm

    from mixkit import Kernel, Ref
    from mixkit.package import Package, WorkspaceStore
    from mixkit.package.build import pack

    manifest = {
        "format": 3,
        "name": "bench",
        "version": "1",
        "kind": "app",
        "grants": {"ffis": ["$db_*"]},
        "apps": {
            "bench": {"agents": {name: {"code": "code/bench/guest.wasm"} for name in ("rows", "nothing")}}
        },
    }
    entries = {
        "manifest.json": lambda: json.dumps(manifest).encode(),
        "code/bench/guest.wasm": lambda: bytes(wat2wasm(GUEST)),
    }
    with Kernel("agent_server") as kernel:
        store = WorkspaceStore(directory, kernel.databases)
        workspace = store.create("w")
        workspace.install(Package.open(pack(entries)))
        database = kernel.databases.open(workspace.place("bench"))
        records = []
        found = 0
        for record in make_records(100 * rows):
            record["_rmx_id"] = record.pop("id")
            record["parent"] = record["parent"] and Ref(record["parent"])
            records.append(record)
            found += record["status"] == "open"
            if found == rows:
                break
        for start in range(0, len(records), 1000):
            database.save(records[start : start + 1000])
        database.flush()


class Server:
    """`mixkit serve` of a checkout, with the records."""

    def __init__(self, folder: Path, rows: int, stack: ExitStack) -> None:
        parts = (folder, *sorted((folder / "plugins").iterdir()), Path(__file__).parent)
        path = os.pathsep.join(map(str, parts))
        # Nothing of the folder that this was started in goes before it.
        environ = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "MIXKIT_SERVER_TOKEN": TOKEN}
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="mixkit-bench-"))
        command = (sys.executable, __file__, "--make", directory, "--rows", str(rows))
        subprocess.run(command, env=os.environ | environ, check=True)
        command = (sys.executable, "-m", "mixkit", "serve", "--port", "0", "--ws-dir", directory)
        self._pid, port = stack.enter_context(process(*command, env=environ))
        self._client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, ask: Ask) -> bytes:
        path, body, accept = ask
        head = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", "Accept": accept}
        self._client.request("POST", APP + path, json.dumps(body), head)
        answer = self._client.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"expected 200, found {answer.status} {content[:500]!r}")
        return content

    def measure(self, ask: Ask) -> float:
        """Milliseconds of processor for an answer."""
        # The server closes a connection that waited for the others' turns.
        self._client.close()
        before = processor(self._pid)
        for _ in range(REQUESTS):
            self.ask(ask)
        return (processor(self._pid) - before) / REQUESTS * 1e3


def processor(pid: int) -> float:
    """Seconds of processor that the threads of a process have used, in nanoseconds where others count in ticks."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def copied(content: bytes) -> float:
    """Milliseconds of copying the bytes once."""
    best = 1e9
    for _ in range(100):
        start = time.process_time()
        bytearray(content)
        best = min(best, time.process_time() - start)
    return best * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rows", type=int, default=1300)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--beside", type=Path, help="another checkout")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make is not None:
        make(options.make, options.rows)
        return
    folders = {"here": ROOT} | ({"beside": options.beside.resolve()} if options.beside else {})
    figures: dict[str, dict[str, float]] = {name: {} for name in ASKS}
    with ExitStack() as stack:
        servers = {name: Server(folder, options.rows, stack) for name, folder in folders.items()}
        for name, ask in ASKS.items():
            answers = {which: server.ask(ask) for which, server in servers.items()}
            if ask[0] == "/agent/rows" and set(answers.values()) != {b"%d" % options.rows}:
                raise RuntimeError(f"expected {options.rows} rows, found {answers}")
            figures[name] = dict.fromkeys(servers, 1e9) | {"limit": copied(answers["here"])}
        for _ in range(options.rounds):
            for name, ask in ASKS.items():
                for which, server in servers.items():
                    figures[name][which] = min(figures[name][which], server.measure(ask))
    if options.json:
        print(json.dumps(figures))
        return
    columns = [*folders, *(["times"] if options.beside else []), "limit"]
    print(
        f"{'ms of processor, ' + str(options.rows) + ' rows':34}" + "".join(f"{name:>10}" for name in columns)
    )
    for name, row in figures.items():
        if options.beside:
            row["times"] = row["beside"] / row["here"]
        print(f"  {name:32}" + "".join(f"{row[column]:10.3f}" for column in columns))


if __name__ == "__main__":
    main()
