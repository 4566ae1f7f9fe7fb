"""The library of Mix beside the same written by hand in Lua: records that are grouped, sorted and joined, numbers that
are formatted, texts that are like a pattern.

    python benchmarks/bench_mix_library.py [--repeats N] [--json]

Each task takes 10,000 records, which are there before it begins. The contenders take turns, and the best of N counts.
Time is that of the processor; `ratio` is the time over Lua's (pip install lupa), and without it there is none.
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

from bench_rt import BUDGET, engines, run, shown
from mix_lang.codegen.generator import generate
from mix_lang.compile import check
from mix_rt.instance import virtual, wasm
from mix_rt.vm import Gave

from mixkit import codec
from mixkit.limits import Limits

COUNT = 10_000

MIX = {
    "group": "map.length(array.groupBy(.city, people))",
    "sort": "array.first(array.sortBy((x, y) -> x.age > y.age, people)).age",
    "join": "array.length(array.innerJoin(.id, people, .owner, orders, (p, o) -> {name: p.name, price: o.price}))",
    "format": """array.reduce(
      (o, n) -> n + string.length(number.format({format: "#,##0.00"}, o.price * 12.5)), 0, orders
    )""",
    "like": """array.length(array.filter(p -> string.like(p.name, "n%e 1%"), people))""",
}

LUA = {
    "group": """local groups, count = {}, 0
        for _, r in ipairs(people) do
            local g = groups[r.city]
            if g then g[#g + 1] = r else groups[r.city] = {r}; count = count + 1 end
        end
        return count""",
    "sort": """local sorted = table.move(people, 1, #people, 1, {})
        table.sort(sorted, function(x, y) return x.age < y.age end)
        return sorted[1].age""",
    "join": """local known, found = {}, {}
        for _, o in ipairs(orders) do
            local k = known[o.owner]
            if k then k[#k + 1] = o else known[o.owner] = {o} end
        end
        for _, p in ipairs(people) do
            local k = known[p.id]
            if k then for _, o in ipairs(k) do found[#found + 1] = {name = p.name, price = o.price} end end
        end
        return #found""",
    "format": """local size = 0
        for _, o in ipairs(orders) do
            local whole, rest = string.format("%.2f", o.price * 12.5):match("^(%d+)(.*)$")
            local first = #whole % 3
            local text = whole:sub(1, first) .. whole:sub(first + 1):gsub("(%d%d%d)", ",%1")
            if first == 0 then text = text:sub(2) end
            size = size + #text + #rest
        end
        return size""",
    "like": """local count = 0
        for _, p in ipairs(people) do if p.name:find("^n.*e 1.*$") then count = count + 1 end end
        return count""",
}

MIX_PROGRAM = """module bench(p: data)
  import array
  import map
  import number
  import string
  def people = array.initialize(%(count)d, i ->
    {id: "p" + i, name: "name " + i, city: "city " + number.remInt(i * 7919, 100), age: number.remInt(i * 7919, 10007)})
  def orders = array.initialize(%(count)d, i -> {owner: "p" + number.remInt(i * 7919, %(count)d), price: i})
  def task(p) = %(task)s
  cell output = task(p)
module end
"""

LUA_PROGRAM = """local people, orders = {}, {}
    for i = 0, %(count)d - 1 do
        local n = i * 7919
        people[#people + 1] = {id = "p" .. i, name = "name " .. i, city = "city " .. (n %% 100), age = n %% 10007}
        orders[#orders + 1] = {owner = "p" .. (n %% %(count)d), price = i}
    end
    return function() %(task)s end"""


def prepared(engine: Any, task: str) -> Callable[[], Any]:
    """What does a task once, in an instance that has the records."""
    checked = check({"bench.mix": MIX_PROGRAM % {"count": COUNT, "task": MIX[task]}})
    assert not checked.failed, checked.diagnostics
    code = generate(checked.program, "bench")
    machine = virtual(engine.instantiate(engine.compile(wasm()), Limits(), {}))
    machine.limits(250 << 20, 100_000)
    machine.load(code.to_bytes())
    event = machine.init(BUDGET)
    while isinstance(event, Gave):
        event = machine.step(BUDGET)
    return partial(run, machine, code, codec.encode([None]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {
        f"Mix, {name}": {task: prepared(engine, task) for task in MIX} for name, engine in engines().items()
    }
    try:
        lua = importlib.import_module("lupa.lua54").LuaRuntime()
        found["Lua 5.4"] = {
            task: lua.execute(LUA_PROGRAM % {"count": COUNT, "task": text}) for task, text in LUA.items()
        }
    except ImportError:
        pass
    best = {name: dict.fromkeys(MIX, math.inf) for name in found}
    for task in MIX:
        for _ in range(arguments.repeats):
            for name, tasks in found.items():
                start = time.process_time()
                tasks[task]()
                best[name][task] = min(best[name][task], time.process_time() - start)
    if arguments.json:
        print(json.dumps({"seconds": best}))
        return
    base = best.get("Lua 5.4", dict.fromkeys(MIX, math.inf))
    print(f"{'ms (ratio)':12}" + "".join(f"{name:>22}" for name in best))
    for task in MIX:
        print(f"{task:12}" + "".join(shown(times[task], base[task]) for times in best.values()))


if __name__ == "__main__":
    main()
