"""Guests in C: how large the examples are, how long they take to build, and what textstats makes of a text.

    python benchmarks/bench_guest.py [--json]

The peer of textstats is Python's own way to the same counts, from the same run.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mix_wasm.build import build

from mixkit import Kernel

EXAMPLES = Path(__file__).parents[1] / "examples"
MEGABYTES = 4
REPEATS = 7
NOTHING = 'static mix_value nothing(mix_value v) { return v; }\nMIX_ENTRY("nothing", nothing)\n'


def text_of(megabytes: int) -> str:
    """Made-up prose: 20,000 words, the frequent ones far more often, as in a natural text."""
    rng = random.Random(7)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 11))) for _ in range(20_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    lines, size = [], 0
    while size < megabytes * 1_000_000:
        lines.append(" ".join(rng.choices(words, weights, k=12)).capitalize() + ".")
        size += len(lines[-1]) + 1
    return "\n".join(lines)


def python_stats(text: str) -> tuple[int, int, int, list[tuple[str, int]]]:
    """Lines, words, distinct words and the most frequent, with the tools that Python has in C."""
    counts = Counter(re.findall(r"\w+", text.lower()))
    return text.count("\n") + 1, counts.total(), len(counts), counts.most_common(10)


def seconds(function: Callable[[], Any]) -> tuple[float, float]:
    """Least and median time of several calls."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times), statistics.median(times)


def measure() -> dict[str, Any]:
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch, Kernel("test") as kernel:
        folder = Path(scratch)
        (folder / "nothing.c").write_text('#include "mix.h"\n' + NOTHING)
        for path in (folder / "nothing.c", EXAMPLES / "linkcheck", EXAMPLES / "textstats"):
            out = build(path, folder / f"{path.stem}.wasm")
            results[f"{path.stem} size, bytes"] = out.stat().st_size
        results["rebuild without changes, s"] = seconds(
            lambda: build(EXAMPLES / "textstats", folder / "again")
        )[0]

        text = text_of(MEGABYTES)
        program = kernel.load(folder / "textstats.wasm")
        ours = kernel.run_sync(program, "stats", {"text": text}).value
        lines, words, distinct, top = python_stats(text)
        assert (ours["lines"], ours["words"], ours["distinctWords"]) == (lines, words, distinct)
        assert [item["count"] for item in ours["top"]] == [count for _, count in top]
        size = len(text.encode()) / 1e6
        for name, (least, median) in (
            ("textstats", seconds(lambda: kernel.run_sync(program, "stats", {"text": text}))),
            ("Python", seconds(lambda: python_stats(text))),
        ):
            results[f"{name} over {size:.1f} MB, best, MB/s"] = size / least
            results[f"{name} over {size:.1f} MB, median, MB/s"] = size / median
        small = {"text": text[:1000]}
        results["textstats over 1 KB, a whole run, µs"] = (
            1e6 * seconds(lambda: [kernel.run_sync(program, "stats", small) for _ in range(20)])[0] / 20
        )
    return results


def main() -> None:
    results = measure()
    if "--json" in sys.argv:
        print(json.dumps(results, indent=2))
        return
    for name, value in results.items():
        print(f"{name:45} {value:12,.3f}" if isinstance(value, float) else f"{name:45} {value:12,}")


if __name__ == "__main__":
    main()
