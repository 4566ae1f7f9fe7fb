"""What an agent in Mix costs its host: a warm run of a small one, a call of the host, an update in a large array.

    python benchmarks/bench_mix.py [--json]

Times are of the processor, in microseconds, the best of several rounds. What a loop takes without the call or the
update is taken off.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from mixkit import Kernel

ROUNDS = 7
CALLS, LENGTH, UPDATES = 20_000, 1_000_000, 100_000
TEXT = "x" * 100
AGENTS = {
    "greet": """module greet(p: data)
  import string
  cell output = { text: "Good day, " + string.capitalize(p.name) }
module end
""",
    "calls": """module calls(p: data)
  foreign def digest : string -> data = "$crypto_sha256"
  def many(n, call) {
    var last : data = ""
    for (var i = 0; i < n; i = i + 1) { last = if (call) digest(p.text) else p.text }
    return last
  }
  cell output = many(p.n, p.call)
module end
""",
    "updates": """module updates(p: data)
  import array
  def many(n, change) {
    var a = array.initialize(p.length, i -> i)
    for (var i = 0; i < n; i = i + 1) { if (change) { a[i] = 1 } }
    return a[n]
  }
  cell output = many(p.n, p.change)
module end
""",
}


def best(call: Callable[[], Any]) -> float:
    """Microseconds of processor time, the best of several."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, Kernel("all", environ={}) as kernel:
        programs = {}
        for name, text in AGENTS.items():
            path = Path(folder, f"{name}.mix")
            path.write_text(text)
            programs[name] = kernel.load(path)

        def run(agent: str, **params: Any) -> Any:
            return kernel.run_sync(programs[agent], agent, params).value

        assert run("greet", name="ada") == {"text": "Good day, Ada"}
        figures["a warm run of greet, us"] = (
            best(lambda: [run("greet", name="ada") for _ in range(1000)]) / 1000
        )
        spent = [best(lambda c=call: run("calls", n=CALLS, call=c, text=TEXT)) for call in (True, False)]  # type: ignore[misc]
        figures["a call of $crypto_sha256 with 100 bytes, us"] = (spent[0] - spent[1]) / CALLS
        spent = [
            best(lambda c=change: run("updates", n=UPDATES, change=c, length=LENGTH))  # type: ignore[misc]
            for change in (True, False)
        ]
        figures["an update in an array of 1,000,000, us"] = (spent[0] - spent[1]) / UPDATES
    figures["mixrt.wasm, KiB"] = len(resources.files("mix_rt").joinpath("mixrt.wasm").read_bytes()) / 1024
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:45} {value:10.2f}")


if __name__ == "__main__":
    main()
