"""MixRT on both engines beside Lua and CPython: calls, a loop, arrays, maps, strings, closures, cases, a sort.

    python benchmarks/bench_rt.py [--repeats N] [--json]

All of one table comes from one run; the contenders take turns, and the best of N counts. Time is that of the processor.
`ratio` is the time over Lua's, of lupa's newest Lua, where it is installed (pip install lupa); else over CPython's.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from mix_rt.instance import virtual, wasm
from mix_rt.qcode import Assembly, FunctionBuilder
from mix_rt.vm import Failed, Gave, Result, Virtual

from mixkit import codec
from mixkit.limits import Limits

BUDGET = 1_000_000


def fib(assembly: Assembly) -> None:
    f = assembly.function("fib", params=1)
    small = f.label()
    f.emit("jump_lt_int", 0, 2, small)
    one, two = f.register(), f.register()
    window = f.window(1)
    f.emit("add_int", window + 2, 0, -1)
    f.emit("call_func", one, window, "fib")
    f.emit("add_int", window + 2, 0, -2)
    f.emit("call_func", two, window, "fib")
    f.emit("add", one, one, two)
    f.emit("return", one)
    f.place(small)
    f.emit("return", 0)


def counted(assembly: Assembly, name: str, start: Callable[[FunctionBuilder], Any]) -> None:
    """A function of n that does something n times: `start` emits what comes before, and answers what emits a step."""
    f = assembly.function(name, params=1)
    index, again = f.register(), f.label()
    result, step = start(f)
    f.emit("int", index, 0)
    f.place(again)
    step(index)
    f.emit("add_int", index, index, 1)
    f.emit("jump_lt", index, 0, again)
    f.emit("return", result)


def loop(f: FunctionBuilder) -> Any:
    total = f.register()
    f.emit("int", total, 0)
    return total, lambda index: f.emit("add", total, total, index)


def append(f: FunctionBuilder) -> Any:
    array = f.register()
    f.emit("load", array, [])
    return array, lambda index: f.emit("push", array, index)


def update(f: FunctionBuilder) -> Any:
    array, at, size, value = (f.register() for _ in range(4))
    f.emit("load", array, list(range(1000)))
    f.emit("int", size, 1000)

    def step(index: int) -> None:
        window = f.register(2)
        f.emit("move", window, index)
        f.emit("move", window + 1, size)
        f.emit("builtin", at, window, "number_rem_int")
        f.emit("get", value, array, at)
        f.emit("add_int", value, value, 1)
        f.emit("set", array, at, value)

    return array, step


def table(f: FunctionBuilder) -> Any:
    map_, key = f.register(), f.register()
    f.emit("load", map_, {})

    def step(index: int) -> None:
        f.emit("load", key, "k")
        f.emit("add", key, key, index)
        f.emit("set", map_, key, index)

    return map_, step


def text(f: FunctionBuilder) -> Any:
    string, piece = f.register(), f.register()
    f.emit("load", string, "")
    f.emit("load", piece, "piece")
    return string, lambda index: f.emit("add", string, string, piece)


def closures(f: FunctionBuilder) -> Any:
    total = f.register()
    f.emit("int", total, 0)

    def step(index: int) -> None:
        window = f.window(1)
        f.emit("closure", window, index, "plus")
        f.emit("move", window + 2, total)
        f.emit("call", total, window, 1)
        f.release(window)

    return total, step


def cases(f: FunctionBuilder) -> Any:
    total, value, one = f.register(), f.register(), f.register()
    f.emit("int", total, 0)

    def step(index: int) -> None:
        b, end = f.label(), f.label()
        f.emit("case", value, "second", index)
        f.emit("jump_case", value, "first", end)
        f.emit("jump_case", value, "second", b)
        f.emit("no_match", value)
        f.place(b)
        f.emit("argument", one, value)
        f.emit("add", total, total, one)
        f.place(end)

    return total, step


def sort(assembly: Assembly) -> None:
    f = assembly.function("sort", params=1)
    f.emit("builtin", 0, 0, "array_sort")
    f.emit("length", 0, 0)
    f.emit("return", 0)


def program() -> Assembly:
    assembly = Assembly()
    fib(assembly)
    plus = assembly.function("plus", params=1, captures=1)
    captured = plus.register()
    plus.emit("capture", captured, 0)
    plus.emit("add", 0, 0, captured)
    plus.emit("return", 0)
    for start in (loop, append, update, table, text, closures, cases):
        counted(assembly, start.__name__, start)
    sort(assembly)
    for name in ("fib", "loop", "append", "update", "table", "text", "closures", "cases", "sort"):
        assembly.exports[name] = name
    return assembly


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
"""

UNSORTED = [(number * 7919) % 100_003 for number in range(100_000)]
SIZES: dict[str, Any] = {
    "fib": 30, "loop": 10_000_000, "append": 1_000_000, "update": 1_000_000, "table": 100_000, "text": 1_000_000,
    "closures": 1_000_000, "cases": 1_000_000, "sort": UNSORTED,
}  # fmt: skip


def run(machine: Virtual, function: int, words: bytes) -> None:
    """Enter a function and step it to its end; the result stays where it is."""
    event = machine.enter(function, words, BUDGET)
    while isinstance(event, Gave):
        event = machine.step(BUDGET)
    assert isinstance(event, Result), codec.decode(event.words) if isinstance(event, Failed) else event


def contenders() -> dict[str, dict[str, Callable[[], Any]]]:
    """Name to name of the task to what does it once."""
    code = program().code()
    found: dict[str, dict[str, Callable[[], Any]]] = {}
    for name, settings in (("wasmtime", {}), ("wasm2c", {"trust_all": True})):
        try:
            module = importlib.import_module(f"mix_{name}.engine")
        except ImportError:
            continue
        kinds = importlib.import_module(f"mix_{name}.settings")
        engine = getattr(module, f"{name.capitalize()}Engine")(
            getattr(kinds, f"{name.capitalize()}Settings")(**settings)
        )
        limits = Limits(result_size=64 << 20)
        machine = virtual(engine.instantiate(engine.compile(wasm()), limits, {}, max_result=64 << 20))
        machine.limits(200 << 20, 100_000)
        machine.load(code.to_bytes())
        found[f"MixRT, {name}"] = {
            task: (lambda m=machine, t=task: run(m, code.exports[t], codec.encode([SIZES[t]])))
            for task in SIZES
        }
    try:
        lua = importlib.import_module("lupa.lua54").LuaRuntime()
        sizes = SIZES | {"sort": lua.table_from(UNSORTED)}
        found["Lua 5.4"] = {task: partial(lua.execute(source), sizes[task]) for task, source in LUA.items()}
    except ImportError:
        pass
    names: dict[str, Any] = {}
    exec(PYTHON, names)  # noqa: S102
    found["CPython"] = {task: (lambda t=task: names[t](SIZES[t])) for task in SIZES}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = contenders()
    best: dict[str, dict[str, float]] = {name: dict.fromkeys(SIZES, math.inf) for name in found}
    for task in SIZES:
        for _ in range(arguments.repeats):
            for name, tasks in found.items():
                start = time.process_time()
                tasks[task]()
                best[name][task] = min(best[name][task], time.process_time() - start)
    base = best["Lua 5.4" if "Lua 5.4" in best else "CPython"]
    means = {
        name: math.exp(sum(math.log(times[t] / base[t]) for t in SIZES) / len(SIZES))
        for name, times in best.items()
    }
    if arguments.json:
        print(json.dumps({"seconds": best, "means": means}))
        return
    print(f"{'ms (ratio)':12}" + "".join(f"{name:>22}" for name in best))
    for task in SIZES:
        print(
            f"{task:12}"
            + "".join(f"{1000 * t[task]:13.1f} ({t[task] / base[task]:5.2f})" for t in best.values())
        )
    print(f"{'mean':12}" + "".join(f"{means[name]:22.2f}" for name in best))


if __name__ == "__main__":
    main()
