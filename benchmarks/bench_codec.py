"""The u32 codec and tagged JSON beside msgpack, ormsgpack and json, with 1,000 records of 12 fields.

    python benchmarks/bench_codec.py [--json] [--repeats N]

All of one table comes from one run; the contenders take turns, so that a noisy moment hits all of them.
`ratio` is the median over that of msgpack (binary) or json (text): below 1 is faster.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import ormsgpack

from mixkit import _codec, _codec_py, tagged_json
from mixkit.value import Ref, ok


def record(number: int) -> dict[str, Any]:
    """Twelve fields of the kinds that records have; only kinds that MessagePack has as well."""
    return {
        "id": f"rec-{number:08d}",
        "name": f"Customer number {number}",
        "city": "Zürich" if number % 4 == 0 else "Berlin",
        "note": "a longer remark that somebody typed in " * (number % 3 + 1),
        "amount": number * 1.25,
        "quantity": number % 100,
        "created": 1_700_000_000_000 + number,
        "active": number % 2 == 0,
        "parent": None,
        "tags": ["red", "green", f"tag{number % 7}"],
        "blob": bytes(range(number % 20)),
        "address": {"street": f"{number} Main Street", "zip": 10_000 + number % 90_000},
    }


def linked(value: Any) -> Any:
    """The same with what tagged JSON is for: refs, and a case around the whole."""
    rows = [{**row, "id": Ref(row["id"]), "blob": None} for row in value]
    return ok(rows)


def plain(value: Any) -> Any:
    return [{**row, "blob": None} for row in value]


def measure(contenders: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, the contenders taking turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    for _ in range(repeats):
        for name, call in contenders.items():
            gc.collect()
            start = time.perf_counter()
            result = call()
            times[name].append(time.perf_counter() - start)
            del result
    return times


def tables(repeats: int) -> dict[str, dict[str, list[float]]]:
    records = [record(number) for number in range(1_000)]
    # Decoded values have their keys in canonical order; encoding those again is the usual case.
    ordered = _codec.decode(_codec.encode(records))
    words, packed = _codec.encode(records), msgpack.packb(records)
    assert _codec.decode(words) == msgpack.unpackb(packed) == ormsgpack.unpackb(packed) == records
    rows, links = plain(records), linked(records)
    text, tagged = tagged_json.dumps(rows), tagged_json.dumps(links)
    return {
        "encode": measure(
            {
                "msgpack": lambda: msgpack.packb(records),
                "ormsgpack": lambda: ormsgpack.packb(records),
                "u32 C": lambda: _codec.encode(records),
                "u32 C, keys in order": lambda: _codec.encode(ordered),
                "u32 Python": lambda: _codec_py.encode(records),
            },
            repeats,
        ),
        "decode": measure(
            {
                "msgpack": lambda: msgpack.unpackb(packed),
                "ormsgpack": lambda: ormsgpack.unpackb(packed),
                "u32 C": lambda: _codec.decode(words),
                "u32 Python": lambda: _codec_py.decode(words),
            },
            repeats,
        ),
        "write JSON": measure(
            {
                "json": lambda: json.dumps(rows, ensure_ascii=False),
                "tagged, nothing special": lambda: tagged_json.dumps(rows),
                "tagged, refs and a case": lambda: tagged_json.dumps(links),
                "tagged, binaries": lambda: tagged_json.dumps(records),
            },
            repeats,
        ),
        "read JSON": measure(
            {
                "json": lambda: json.loads(text),
                "tagged, nothing special": lambda: tagged_json.loads(text),
                "tagged, refs and a case": lambda: tagged_json.loads(tagged),
            },
            repeats,
        ),
    }


def summary(times: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Milliseconds, and the ratio to the first contender of each table."""
    report: dict[str, Any] = {}
    for title, contenders in times.items():
        peer = statistics.median(next(iter(contenders.values())))
        report[title] = {
            name: {
                "min_ms": round(min(samples) * 1e3, 3),
                "median_ms": round(statistics.median(samples) * 1e3, 3),
                "ratio": round(statistics.median(samples) / peer, 2),
            }
            for name, samples in contenders.items()
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark of the codecs of values.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeats", type=int, default=25, help="calls of each contender (default 25)")
    options = parser.parse_args()
    report = summary(tables(options.repeats))
    if options.json:
        json.dump(
            {"python": platform.python_version(), "repeats": options.repeats, "tables": report}, sys.stdout
        )
        print()
        return
    print(f"Python {platform.python_version()}, 1,000 records of 12 fields, {options.repeats} repeats")
    for title, contenders in report.items():
        print(f"\n{title:26} {'min ms':>9} {'median ms':>10} {'ratio':>7}")
        for name, row in contenders.items():
            print(f"  {name:24} {row['min_ms']:9.3f} {row['median_ms']:10.3f} {row['ratio']:7.2f}")


if __name__ == "__main__":
    main()
