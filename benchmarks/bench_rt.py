"""Mix on both engines beside Lua, QuickJS, Node and CPython: calls, a loop, arrays, maps, strings, closures, cases, a
sort, JSON; and the longest pause of its collector.

    python benchmarks/bench_rt.py [--repeats N] [--json]

All of one table comes from one run; the contenders take turns, and the best of N counts. Time is that of the processor;
Node, which has a compiler, measures its own. `ratio` is the time over Lua 5.4's; over CPython's where there is none.
Those that are there are compared: Lua 5.4 and 5.5 (pip install lupa), QuickJS (pip install quickjs-ng), Node (`node`).
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from mix_lang.codegen.generator import generate
from mix_lang.compile import check
from mix_rt.instance import virtual, wasm
from mix_rt.qcode import Code
from mix_rt.vm import Failed, Gave, Result, Virtual

from mixkit import codec
from mixkit.limits import Limits

BUDGET = 1_000_000

MIX = {
    "fib": """
  def fib : number -> number
  def fib(n) = if (n < 2) n else fib(n - 1) + fib(n - 2)
  def task(n) = fib(n)""",
    "loop": "def task(n) { var t = 0; for (var i = 0; i < n; i = i + 1) { t = t + i } return t }",
    "append": "def task(n) { var a = []; for (var i = 0; i < n; i = i + 1) { a = a + [i] } return a[n - 1] }",
    "update": """
  import number
  def task(n) {
    var a = [];
    for (var i = 0; i < 1000; i = i + 1) { a = a + [i] }
    for (var i = 0; i < n; i = i + 1) { let k = number.remInt(i, 1000); a[k] = a[k] + 1 }
    return a[0]
  }""",
    "table": """
  def task(n) {
    var m = {};
    for (var i = 0; i < n; i = i + 1) { m.("k" + i) = i }
    return m.k1
  }""",
    "text": """
  import string
  def task(n) { var s = ""; for (var i = 0; i < n; i = i + 1) { s = s + "piece" } return string.length(s) }""",
    "closures": """
  def task(n) {
    var t = 0;
    for (var i = 0; i < n; i = i + 1) { let k = i; let f = (x -> x + k); t = f(t) }
    return t
  }""",
    "cases": """
  case first(number)
  case second(number)
  def task(n) {
    var t = 0;
    for (var i = 0; i < n; i = i + 1) {
      let v = second(i);
      switch (v) { case self.first(x): t = t - x  case self.second(x): t = t + x }
    }
    return t
  }""",
    "sort": """
  import array
  def task(a) = array.length(array.sort(a))""",
    "json": """
  foreign def parsed : string -> data = "%json_parse"
  foreign def formatted : data -> string = "%json_format"
  import string
  def task(s) = string.length(formatted(withDefault(null, ok^(parsed(s)))))""",
}


def program(task: str) -> Code:
    """The agent that does what a `task` says with its parameter."""
    source = f"module bench(p: data)\n  {task}\n  cell output = task(p)\nmodule end\n"
    checked = check({"bench.mix": source})
    assert not checked.failed, checked.diagnostics
    return generate(checked.program, "bench")


LUA = {
    "fib": "local function fib(n) if n < 2 then return n end return fib(n-1) + fib(n-2) end return fib",
    "loop": "return function(n) local t = 0 for i = 0, n-1 do t = t + i end return t end",
    "append": "return function(n) local a = {} for i = 0, n-1 do a[#a+1] = i end return a end",
    "update": """return function(n) local a = {} for i = 0, 999 do a[i] = i end
        for i = 0, n-1 do local k = i % 1000 a[k] = a[k] + 1 end return a end""",
    "table": "return function(n) local m = {} for i = 0, n-1 do m['k' .. i] = i end return m end",
    "text": "return function(n) local s = {} for i = 0, n-1 do s[#s+1] = 'piece' end return table.concat(s) end",
    "closures": """return function(n) local t = 0
        for i = 0, n-1 do local f = function(x) return x + i end t = f(t) end return t end""",
    "cases": """return function(n) local t = 0 for i = 0, n-1 do local v = {"second", i}
        if v[1] == "first" then elseif v[1] == "second" then t = t + v[2] else error("no match") end end
        return t end""",
    "sort": "return function(a) local b = {} for i, v in ipairs(a) do b[i] = v end table.sort(b) return #b end",
}

PYTHON = """
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def loop(n):
    t = 0
    for i in range(n): t += i
    return t
def append(n):
    a = []
    for i in range(n): a.append(i)
    return a
def update(n):
    a = list(range(1000))
    for i in range(n):
        k = i % 1000
        a[k] += 1
    return a
def table(n):
    m = {}
    for i in range(n): m["k" + str(i)] = i
    return m
def text(n):
    s = ""
    for i in range(n): s += "piece"
    return s
def closures(n):
    t = 0
    for i in range(n):
        f = lambda x: x + i
        t = f(t)
    return t
def cases(n):
    t = 0
    for i in range(n):
        v = ("second", i)
        match v:
            case ("first", _): pass
            case ("second", x): t += x
    return t
def sort(a): return len(sorted(a))
def json(s):
    import json
    return len(json.dumps(json.loads(s)))
"""

JS = {
    "fib": "function task(n) { return n < 2 ? n : task(n - 1) + task(n - 2) }",
    "loop": "function task(n) { let t = 0; for (let i = 0; i < n; i++) t += i; return t }",
    "append": "function task(n) { const a = []; for (let i = 0; i < n; i++) a.push(i); return a[n - 1] }",
    "update": """function task(n) { const a = []; for (let i = 0; i < 1000; i++) a.push(i);
        for (let i = 0; i < n; i++) { const k = i % 1000; a[k] = a[k] + 1 } return a[0] }""",
    "table": "function task(n) { const m = {}; for (let i = 0; i < n; i++) m['k' + i] = i; return m.k1 }",
    "text": "function task(n) { let s = ''; for (let i = 0; i < n; i++) s += 'piece'; return s.length }",
    "closures": """function task(n) { let t = 0;
        for (let i = 0; i < n; i++) { const f = x => x + i; t = f(t) } return t }""",
    "cases": """function task(n) { let t = 0; for (let i = 0; i < n; i++) { const v = ["second", i];
        switch (v[0]) { case "first": t -= v[1]; break; case "second": t += v[1] } } return t }""",
    "sort": "function task(a) { return a.slice().sort((x, y) => x - y).length }",
    "json": "function task(s) { return JSON.stringify(JSON.parse(s)).length }",
}

UNSORTED = [(number * 7919) % 100_003 for number in range(100_000)]
SIZES: dict[str, Any] = {
    "fib": 30, "loop": 10_000_000, "append": 1_000_000, "update": 1_000_000, "table": 100_000, "text": 1_000_000,
    "closures": 1_000_000, "cases": 1_000_000, "sort": UNSORTED,
    "json": json.dumps([{"id": n, "name": f"name {n}", "v": n / 7, "tags": ["a", "b"]} for n in range(13_000)]),
}  # fmt: skip


def quickjs(task: str, context: Any) -> Callable[[], Any]:
    """What does a task once in QuickJS; its parameter is there already."""
    context.eval(JS[task])
    context.eval(f"const given = {json.dumps(SIZES[task])}")
    return partial(context.eval, "task(given)")


NODE = """
const [source, given, repeats] = JSON.parse(require('fs').readFileSync(0))
const task = (0, eval)('(' + source.replace('function task', 'function self').replaceAll('task(', 'self(') + ')')
let best = Infinity
for (let i = 0; i < repeats; i++) {
    const start = process.cpuUsage()
    task(given)
    const used = process.cpuUsage(start)
    best = Math.min(best, used.user + used.system)
}
console.log(best / 1e6)
"""


def node(task: str, repeats: int) -> float:
    """Seconds that Node takes for a task, the best of its own repeats."""
    given = json.dumps([JS[task], SIZES[task], repeats])
    return float(
        subprocess.run(["node", "-e", NODE], input=given, capture_output=True, text=True, check=True).stdout
    )


PAUSE = """
  def build(n) { var a = []; for (var i = 0; i < n; i = i + 1) { a = a + [{ id: i, s: "k" + i }] } return a }
  def task(n) {
    let kept = build(60000);
    var t = 0;
    for (var i = 0; i < n; i = i + 1) { let m = { id: i }; t = t + m.id }
    return t + kept[5].id
  }"""
STEP = 2_000
"""Units of the budget at a time: some 30 µs without a collection."""


def pause(engine: Any) -> tuple[float, int]:
    """Longest step of a program that makes a million short-lived objects beside 9 MB, in seconds; bytes of memory."""
    code = program(PAUSE)
    instance = engine.instantiate(engine.compile(wasm()), Limits(), {})
    machine = virtual(instance)
    machine.limits(250 << 20, 100_000)
    machine.load(code.to_bytes())
    event = machine.init(BUDGET)
    while isinstance(event, Gave):
        event = machine.step(BUDGET)
    event = machine.enter(code.exports["bench"], codec.encode([1_000_000]), STEP)
    longest = 0.0
    while isinstance(event, Gave):
        start = time.process_time()
        event = machine.step(STEP)
        longest = max(longest, time.process_time() - start)
    assert isinstance(event, Result), event
    return longest, instance.footprint()[0]


def run(machine: Virtual, code: Code, words: bytes) -> None:
    """Run the agent to its end; the result stays where it is."""
    event = machine.enter(code.exports["bench"], words, BUDGET)
    while isinstance(event, Gave):
        event = machine.step(BUDGET)
    assert isinstance(event, Result), codec.decode(event.words) if isinstance(event, Failed) else event


def prepared(engine: Any, task: str) -> Callable[[], None]:
    """What does a task once, in an instance of its own after init."""
    code = program(MIX[task])
    machine = virtual(engine.instantiate(engine.compile(wasm()), Limits(), {}))
    machine.limits(250 << 20, 100_000)
    machine.load(code.to_bytes())
    event = machine.init(BUDGET)
    while isinstance(event, Gave):
        event = machine.step(BUDGET)
    return partial(run, machine, code, codec.encode([SIZES[task]]))


def engines() -> dict[str, Any]:
    """Those that are installed, by name."""
    found = {}
    for name, settings in (("wasmtime", {}), ("wasm2c", {"trust_all": True})):
        try:
            module = importlib.import_module(f"mix_{name}.engine")
        except ImportError:
            continue
        kinds = importlib.import_module(f"mix_{name}.settings")
        own = getattr(kinds, f"{name.capitalize()}Settings")(**settings)
        found[name] = getattr(module, f"{name.capitalize()}Engine")(own)
    return found


def contenders(engines: dict[str, Any]) -> dict[str, dict[str, Callable[[], Any]]]:
    """Name to name of the task to what does it once."""
    found: dict[str, dict[str, Callable[[], Any]]] = {}
    for name, engine in engines.items():
        found[f"Mix, {name}"] = {task: prepared(engine, task) for task in SIZES}
    for version in ("5.4", "5.5"):
        try:
            lua = importlib.import_module(f"lupa.lua{version.replace('.', '')}").LuaRuntime()
        except ImportError:
            continue
        sizes = SIZES | {"sort": lua.table_from(UNSORTED)}
        found[f"Lua {version}"] = {
            task: partial(lua.execute(source), sizes[task]) for task, source in LUA.items()
        }
    try:
        made = importlib.import_module("quickjs").Context
        found["QuickJS"] = {task: quickjs(task, made()) for task in SIZES}
    except ImportError:
        pass
    names: dict[str, Any] = {}
    exec(PYTHON, names)  # noqa: S102
    found["CPython"] = {task: partial(names[task], SIZES[task]) for task in SIZES}
    return found


def shown(seconds: float, base: float) -> str:
    """A cell of the table; nothing for what a contender has not, no ratio to what the base has not."""
    if seconds == math.inf:
        return f"{'':22}"
    return (
        f"{1000 * seconds:13.1f} ({seconds / base:5.2f})"
        if base < math.inf
        else f"{1000 * seconds:13.1f}{'':8}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    there = engines()
    found = contenders(there)
    best: dict[str, dict[str, float]] = {name: dict.fromkeys(SIZES, math.inf) for name in found}
    for task in SIZES:
        for _ in range(arguments.repeats):
            for name, tasks in found.items():
                if task not in tasks:
                    continue
                start = time.process_time()
                tasks[task]()
                best[name][task] = min(best[name][task], time.process_time() - start)
    if shutil.which("node"):
        best["Node"] = {task: node(task, arguments.repeats) for task in SIZES}
    pauses = {name: min(pause(engine) for _ in range(arguments.repeats)) for name, engine in there.items()}
    base = best["Lua 5.4" if "Lua 5.4" in best else "CPython"]
    # Lua has no JSON of its own.
    shared = [task for task in SIZES if base[task] < math.inf]
    means = {
        name: math.exp(sum(math.log(times[task] / base[task]) for task in shared) / len(shared))
        for name, times in best.items()
    }
    if arguments.json:
        print(json.dumps({"seconds": best, "means": means, "pauses": pauses}))
        return
    print(f"{'ms (ratio)':12}" + "".join(f"{name:>22}" for name in best))
    for task in SIZES:
        print(f"{task:12}" + "".join(shown(times[task], base[task]) for times in best.values()))
    print(f"{'mean':12}" + "".join(f"{means[name]:22.2f}" for name in best))
    for name, (longest, memory) in pauses.items():
        print(f"{name}: longest pause {1000 * longest:.1f} ms, with {memory / 1e6:.1f} MB of memory")


if __name__ == "__main__":
    main()
