"""Compiling a module of 1,000 lines: cold, and after a change of one line; and an agent that imports the whole library,
beside one that imports nothing.

Processor time of this process in milliseconds, the best of several. `warm` compiles with what was remembered of the
compilation before; the line that changes is another one each time. `kept` is a process that finds the program on disk,
`first` one that finds nothing, both without the start of Python; these take turns.

    $ .venv/bin/python benchmarks/bench_compile.py [LINES]
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time

from mix_lang import library
from mix_lang.compiler import build
from mix_lang.memory import Memory

_DEFINITION = """\
  // What is due of an order of size {n}.
  def due{n}(order) = do {{
    let base = order.price * {n} + {before}(order.count)
    var total = 0
    for (let item in order.items[]) {{
      if (item.kind == "tax" && item.value > {n}) {{
        total = total + item.value * 2
      }} else {{
        total = total - base
      }}
    }}
    return {{total, base, name: string.trim("order {n}"), big: total > 1000}}
  }}
  def rate{n}(count: number) : number = if (count > {n}) count * 2 else count + rate(count) |> (x -> x + {n})
  def all{n}(orders) = array.map((order -> due{n}(order).total), array.filter((o -> o.count > {n}), orders))
  def kind{n}(k) = k |> (
    self.small(n) when n > {n} -> "small" |
    self.large(n) -> "large " + n |
    _ -> "none"
  )
  cell sum{n} = array.length(all{n}(p.orders)) + rate{n}(3)
"""


def source(lines: int) -> str:
    """A module of about so many lines."""
    count = lines // _DEFINITION.count("\n")
    parts = [
        _DEFINITION.format(n=n, before="rate" if n == 1 else f"rate{n - 1}") for n in range(1, count + 1)
    ]
    head = (
        "module main(p: data)\n  import array\n  import string\n  case small(number)\n  case large(number)\n"
    )
    head += "  def rate(x) = x * 2\n"
    sums = ", ".join(f"sum{n}" for n in range(1, count + 1))
    kinds = f"[kind{count}(self.small(3)), kind1(self.large(2))]"
    return f"{head}{''.join(parts)}  cell output = {{sums: [{sums}], kinds: {kinds}}}\nmodule end\n"


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    text = source(lines)
    count = text.count("\n")
    build({"main.mix": 'import array\nimport string\ncell output = [array.length([]), string.trim("")]'})
    cold, warm = [], []
    memory = Memory()
    _took(text, memory)
    for turn in range(9):
        cold.append(_took(text, Memory()))
        for number in range(1, 4):
            warm.append(_took(text.replace(f"* {number} + ", f"* {number} + {turn} + ", 1), memory))
    print(f"{count} lines   cold {min(cold):6.1f} ms   after a change {min(warm):6.1f} ms")
    whole_library()


def imports(whole: bool) -> str:
    """An agent that imports all of the library, or nothing."""
    names = sorted(library.sources()) if whole else []
    # What is for tests alone.
    return (
        "".join(f"import {name}\n" for name in names if name not in ("assert", "generated"))
        + "cell output = 1\n"
    )


_PROCESS = """
import sys, time
from mix_lang.kept import MixCompiler
from mix_lang.settings import LangSettings
text = sys.stdin.read()
start = time.process_time()
MixCompiler(LangSettings(cache_dir=sys.argv[1])).compile({"main.mix": text})
print((time.process_time() - start) * 1_000)
"""


def _process(text: str, cache: str) -> float:
    command = [sys.executable, "-c", _PROCESS, cache]
    return float(subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout)


def whole_library() -> None:
    found: dict[tuple[str, bool], list[float]] = {}
    memory = Memory()
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(5):
            for whole in (True, False):
                text = imports(whole)
                _took(text, memory)
                changed = f"{text}def turn = {turn}\n"
                found.setdefault(("warm", whole), []).append(_took(changed, memory))
                found.setdefault(("first", whole), []).append(_process(text, f"{folder}/{turn}"))
                found.setdefault(("kept", whole), []).append(_process(text, f"{folder}/{turn}"))
    for what in ("kept", "warm", "first"):
        print(
            f"whole library   {what:5} {min(found[what, True]):6.1f} ms   without {min(found[what, False]):6.1f} ms"
        )


def _took(text: str, memory: Memory) -> float:
    gc.collect()
    start = time.process_time()
    build({"main.mix": text}, memory=memory)
    return (time.process_time() - start) * 1_000


if __name__ == "__main__":
    main()
