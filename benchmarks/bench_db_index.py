"""The index of mixquery alone: what a record costs on its way into it, and what questions cost.

    python benchmarks/bench_db_index.py [--json] [--records N]

Records have 12 mixed fields and the engine's own. A record is added once, written once by a flush, and written
about 1.6 times more by merges until there are 500,000 in flushes of 10,000.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from mix_db.index import memory, write
from mix_db.index import merge as merging
from mix_db.index.memory import MemoryPart, add_python
from mix_db.index.merge import merge
from mix_db.index.native import native
from mix_db.index.pack import pack_python, unite_python
from mix_db.index.part import Kind, text_key
from mix_db.index.segment import Segment
from mix_db.index.write import write_segment

from mixkit.value import Ref

FLUSH = 10_000
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def record(row: int, choice: random.Random) -> dict[str, Any]:
    return {
        "entity": choice.choice(["person", "place", "thing"]),
        "name": f"Customer number {row}",
        "city": f"city{choice.randrange(1000)}",
        "age": choice.randrange(100),
        "score": choice.random() * 1000,
        "active": choice.random() < 0.5,
        "created": 1_700_000_000_000 + row * 1_000,
        "tags": choice.sample(["red", "green", "blue", "new", "old"], 2),
        "address": {"street": f"{row} Main Street", "zip": choice.randrange(90_000)},
        "note": None,
        "level": choice.randrange(10),
        "boss": Ref(f"{choice.randrange(1_000):032}"),
        "_rmx_id": Ref("".join(choice.choices(LETTERS, k=32))),
        "_rmx_rev": f"{row // 1_000:016}",
        "_rmx_last_modified_at": 1_700_000_000_000 + row,
    }


def best(call: Callable[[], Any], repeats: int) -> float:
    """Median of microseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


class Load:
    """All records on their way: parts in memory, a segment for each, one of all."""

    def __init__(self, records: int) -> None:
        choice = random.Random(3)
        self.ids: list[str] = []
        self.segments: list[Segment] = []
        seconds = {"add": 0.0, "write": 0.0, "merge": 0.0}
        for start in range(0, records, FLUSH):
            batch = [record(row, choice) for row in range(start, min(start + FLUSH, records))]
            self.ids += [row["_rmx_id"].id for row in batch]
            gc.collect()
            gc.disable()
            began = time.perf_counter()
            part = MemoryPart(start)
            for row, fields in enumerate(batch, start):
                part.add(row, fields)
            added = time.perf_counter()
            data = b"".join(write_segment(part))
            seconds["write"] += time.perf_counter() - added
            seconds["add"] += added - began
            gc.enable()
            self.segments.append(Segment("flush", memoryview(data)))
        began = time.perf_counter()
        data = b"".join(merge(self.segments))
        seconds["merge"] += time.perf_counter() - began
        self.segment = Segment("merged", memoryview(data))
        self.size = len(data) / records
        self.costs = {name: total / records * 1e6 for name, total in seconds.items()}


def questions(load: Load) -> dict[str, float]:
    segment, choice = load.segment, random.Random(5)
    keys = [text_key(choice.choice(load.ids)) for _ in range(1_000)]
    city = text_key("city77")

    def find(path: str, kind: Kind, key: bytes) -> Any:
        column = segment.column((path,), kind)
        assert column is not None
        place = column.find(key)
        return column.bitmap(place, place + 1)

    scores = segment.column(("score",), Kind.FLOAT)
    assert scores is not None
    return {
        "open": best(lambda: Segment("merged", segment.data), 200),
        "find an id": best(lambda: [find("_rmx_id", Kind.REF, key) for key in keys], 20) / len(keys),
        "equality": best(lambda: find("city", Kind.STRING, city), 1_000),
        "range of 10,000 unique keys": best(lambda: scores.bitmap(1_000, 11_000), 100),
        "half of all unique keys": best(lambda: scores.bitmap(1, len(scores) // 2), 20),
        "count of a range": best(lambda: scores.counts(1_000, 11_000), 1_000),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--records", type=int, default=100_000)
    arguments = parser.parse_args()
    load = Load(arguments.records)
    costs, asked = load.costs, questions(load)
    total = costs["add"] + costs["write"] + 1.6 * costs["merge"]
    python = {}
    if native is not None:
        memory.add, write.pack, merging.unite = add_python, pack_python, unite_python
        python = Load(3 * FLUSH).costs
    result: dict[str, Any] = {
        "records": arguments.records,
        "native": native is not None,
        "us_per_record": costs | {"add + write + 1.6 merges": total},
        "us_per_record_in_python": python,
        "bytes_per_record": load.size,
        "us": asked,
    }
    if arguments.json:
        json.dump(result, sys.stdout, indent=2)
        print()
        return 0
    loops = "C" if native else "Python"
    print(f"{arguments.records:,} records, {load.size:.0f} bytes of index each, the loops in {loops}")
    for name, cost in result["us_per_record"].items():
        print(f"  {name:28} {cost:8.2f} µs a record")
    for name, cost in python.items():
        print(f"  {name + ' in Python':28} {cost:8.2f} µs a record")
    for name, cost in asked.items():
        print(f"  {name:28} {cost:8.2f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
