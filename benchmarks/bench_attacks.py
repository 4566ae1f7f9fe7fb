"""What guests that use all of their limits cost the server and everybody else.

    python benchmarks/bench_attacks.py [--json] [NAME ...]

Each is an agent of one `mixkit serve`, asked for over HTTP, while `/healthz` is asked every few milliseconds. A row
says how long after `wall_time` the answer came, how much memory the server had at most beyond what it had before, as a
multiple of the limit `memory`, and the longest that `/healthz` took. They harm nothing but our own limits.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_server import TOKEN, process

WALL_TIME = 2.0
MEMORY = 64 << 20
PAUSE = 0.005
URL = "https://host.invalid/"
SETTLE = 0.3

GUEST = """
(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (import "mix" "take" (func $take (param i32)))
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 196608))
  (func $alloc (export "mix_alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
      (then (if (i32.eq (i32.const -1)
          (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16)))))
        (then (unreachable)))))
    (local.get $at))
  (func $answer (result i64) (i64.const 0x2000000004))
  (data (i32.const 32) "\\01\\00\\00\\00")
  {text})"""

LOOP = """(func (export "mix_entry_{name}") (param i32 i32) (result i64)
  (loop $again (br $again)) (unreachable))"""

FILL = """(func (export "mix_entry_{name}") (param i32 i32) (result i64)
  (loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))
  (loop $again
    (memory.fill (i32.const 196608) (i32.const 1) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 196608)))
    (br $again)) (unreachable))"""

# Quick as long as the parameter is false.
TURN = """(func (export "mix_entry_{name}") (param $p i32) (param $n i32) (result i64)
  (if (i32.eqz (i32.load8_u offset=1 (local.get $p))) (then (return (call $answer))))
  (loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))
  (memory.fill (i32.const 196608) (i32.const 1) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 196608)))
  (call $answer))"""

# Takes memory, writes it, and calls the next with what it was called with.
CHAIN = """(func (export "mix_entry_{name}") (param $p i32) (param $n i32) (result i64)
  (local $at i32)
  (local.set $at (call $alloc (i32.const 12582912)))
  (memory.fill (local.get $at) (i32.const 1) (i32.const 12582912))
  (drop (call $ffi (i32.const 64) (i32.const 16) (local.get $p) (local.get $n)))
  (call $answer))
  (data (i32.const 64) "$core_agent_call")"""

# Arguments made of a beginning, many times the same words, and an end; called again and again.
CALL = """(func (export "mix_entry_{name}") (param i32 i32) (result i64)
  (local $args i32) (local $end i32) (local $left i32)
  (local.set $args (call $alloc (i32.const {size})))
  (memory.copy (local.get $args) (i32.const 1024) (i32.const {head}))
  (local.set $end (i32.add (local.get $args) (i32.const {head})))
  (local.set $left (i32.const {count}))
  (loop $more
    (memory.copy (local.get $end) (i32.const {unit_at}) (i32.const {unit}))
    (local.set $end (i32.add (local.get $end) (i32.const {unit})))
    (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (memory.copy (local.get $end) (i32.const {tail_at}) (i32.const {tail}))
  (loop $again
    (drop (call $ffi (i32.const 64) (i32.const {length}) (local.get $args) (i32.const {size})))
    (br $again)) (unreachable))
  (data (i32.const 64) "{ffi}") (data (i32.const 1024) "{head_words}") (data (i32.const {unit_at}) "{unit_words}")
  (data (i32.const {tail_at}) "{tail_words}")"""

WAITS = """(func (export "_initialize") (local $at i32)
    (local.set $at (call $alloc (i32.const 41943040)))
    (memory.fill (local.get $at) (i32.const 1) (i32.const 41943040)))
  (func (export "mix_entry_{name}") (param i32 i32) (result i64) (call $answer)) (global i32 (i32.const {number}))"""


def calls(name: str, ffi: str, args: list[Any], many: list[Any]) -> str:
    """The text of an agent that calls an FFI with `args`, in which the list `many` has one item repeated."""
    from mixkit import codec

    whole, one = codec.encode(args), codec.encode(many[0])
    head, tail = whole.split(one * len(many))
    unit_at = 1024 + (len(head) + 7) // 8 * 8
    tail_at = unit_at + (len(one) + 7) // 8 * 8
    parts = {"head": head, "unit": one, "tail": tail}
    return CALL.format(
        name=name,
        ffi=ffi,
        length=len(ffi),
        size=len(whole),
        count=len(many),
        unit_at=unit_at,
        tail_at=tail_at,
        **{part: len(words) for part, words in parts.items()},
        **{f"{part}_words": escaped(words) for part, words in parts.items()},
    )


def escaped(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)


@dataclass(frozen=True)
class Attack:
    """What is asked of an agent; `first` parameters are sent a few times before."""

    name: str
    text: str
    params: Any = None
    first: Any = None
    ffis: tuple[str, ...] = ()
    code: str = ""


def attacks() -> list[Attack]:
    lists: list[Any] = [[]] * 90_000
    records: list[Any] = [{}] * 9_900
    fields: list[Any] = [True] * 90_000
    actions = [{"_rmx_type": "msg_view_invoke", "env": "x" * 1000, "name": "x"}] * 900
    found = [
        Attack("loop", LOOP.format(name="loop")),
        Attack("fill", FILL.format(name="fill")),
        Attack("turn", TURN.format(name="turn"), params=True, first=False),
        Attack("chain", CHAIN.format(name="chain"), params=nested("chain", 13)),
        Attack("actions", calls("actions", "$core_push_actions", [actions], actions)),
        Attack("values", calls("values", "$crypto_sha256_generic", [lists], lists)),
        Attack("records", calls("records", "$db_save_ar", [None, records], records)),
        Attack("form", calls("form", "$http_do", [{"form": {"x": fields}, "url": URL}], fields)),
        Attack("json", calls("json", "$http_do", [{"json": lists, "url": URL}], lists)),
        Attack("log", calls("log", "$core_log", ["info", "\n" * 4000], ["\n" * 4000])),
    ]
    big = {"text": "x" * 40_000}
    found.append(Attack("disk", calls("disk", "$db_save_ar", [None, [big] * 100], [big] * 100)))
    return found


def nested(name: str, depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [name, value]
    return value


class Health:
    """Asks `/healthz` again and again, and remembers the longest answer."""

    def __init__(self, port: int) -> None:
        self.worst = 0.0
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Health:
        self._thread.start()
        time.sleep(SETTLE)
        self.worst = 0.0
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.is_set():
            began = time.monotonic()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            self.worst = max(self.worst, time.monotonic() - began)
            time.sleep(PAUSE)
        connection.close()


def ask(port: int, name: str, params: Any) -> tuple[int, str, float]:
    """Status and start of the answer, and the seconds that it took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    began = time.monotonic()
    connection.request("POST", f"/v1/ws/w/app/attacks/agent/{name}", json.dumps(params), headers)
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    took = time.monotonic() - began
    connection.close()
    return answer.status, text, took


def said(text: str) -> str:
    """The message of an error."""
    answer = json.loads(text)
    message: str = answer["run_error"]["message"] if answer["kind"] == "run_error" else answer["message"]
    return message


def memory_of(pid: int, key: str) -> int:
    """`VmRSS` now, or `VmHWM`, the most since `forget_peak`; in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"expected {key} in /proc/{pid}/status, found none")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def served(found: list[Attack]) -> Iterator[tuple[int, int]]:
    """`mixkit serve` with all of them installed."""
    from wasmtime import wat2wasm

    from mixkit import Kernel
    from mixkit.package import Package, WorkspaceStore
    from mixkit.package.build import pack

    agents = {attack.name: {"code": f"code/attacks/{attack.name}.wasm"} for attack in found}
    manifest = {
        "format": 3, "name": "attacks", "version": "1", "kind": "app", "apps": {"attacks": {"agents": agents}},
        "grants": {"ffis": ["$*"]},
    }  # fmt: skip
    entries: dict[str, Any] = {"manifest.json": lambda: json.dumps(manifest).encode()}
    for attack in found:
        code = bytes(wat2wasm(GUEST.replace("{text}", attack.text)))
        entries[f"code/attacks/{attack.name}.wasm"] = lambda code=code: code
    with tempfile.TemporaryDirectory() as directory:
        with Kernel("agent_server") as kernel:
            store = WorkspaceStore(Path(directory), kernel.databases)
            store.create("w").install(Package.open(pack(entries)))
        environment = {
            "MIXKIT_SERVER_TOKEN": TOKEN,
            "MIXKIT_LIMITS_WALL_TIME": str(WALL_TIME),
            "MIXKIT_LIMITS_MEMORY": str(MEMORY),
        }
        command = (sys.executable, "-m", "mixkit", "serve", "--port", "0", "--ws-dir", directory)
        with process(*command, env=environment) as running:
            yield running


def measure(pid: int, port: int, attack: Attack) -> dict[str, Any]:
    if attack.first is not None:
        for _ in range(6):
            ask(port, attack.name, attack.first)
    forget_peak(pid)
    before = memory_of(pid, "VmRSS")
    with Health(port) as health:
        status, text, took = ask(port, attack.name, attack.params)
        time.sleep(SETTLE)
    return {
        "attack": attack.name,
        "status": status,
        "took": took,
        "late": max(0.0, took - WALL_TIME),
        "memory": max(0, memory_of(pid, "VmHWM") - before) / MEMORY,
        "healthz": health.worst,
        "answer": said(text) if status >= 400 else text,
    }


def waiting() -> dict[str, Any]:
    """Twelve agents with 40 MiB each that have all run and wait: what the server holds for them."""
    found = [Attack(f"wait{n}", WAITS.format(name=f"wait{n}", number=n)) for n in range(12)]
    with served(found) as (pid, port):
        ask(port, found[0].name, None)
        before = memory_of(pid, "VmRSS")
        with Health(port) as health:
            for _ in range(3):
                for attack in found:
                    ask(port, attack.name, None)
        held = memory_of(pid, "VmRSS") - before
    return {"attack": "waiting", "status": 200, "took": 0.0, "late": 0.0, "memory": held / MEMORY,
            "healthz": health.worst, "answer": f"{held >> 20} MiB held"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = [attack for attack in attacks() if not args.names or attack.name in args.names]
    rows = []
    if found:
        with served(found) as (pid, port):
            rows = [measure(pid, port, attack) for attack in found]
    if not args.names or "waiting" in args.names:
        rows.append(waiting())
    if args.json:
        print(json.dumps(rows))
        return
    print(
        f"wall_time {WALL_TIME:g} s, memory {MEMORY >> 20} MiB; late: beyond wall_time; memory: multiples of the limit"
    )
    print(f"{'attack':10}{'status':>7}{'took s':>9}{'late ms':>9}{'memory':>8}{'healthz ms':>12}  answer")
    for row in rows:
        print(
            f"{row['attack']:10}{row['status']:>7}{row['took']:>9.2f}{1000 * row['late']:>9.0f}"
            f"{row['memory']:>8.2f}{1000 * row['healthz']:>12.0f}  {row['answer'][:60]}"
        )


if __name__ == "__main__":
    main()
