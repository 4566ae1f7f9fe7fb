"""mixquery beside SQLite, DuckDB, LMDB and TinyDB: one run, the same records, the same rows answered.

    python benchmarks/bench_db.py [--records N] [--all] [--contenders NAME,NAME] [--best] [--folder DIR] [--json]

`database/records.py` says what the records are, the other files of that folder how each contender keeps them and is
asked. All commits are durable when they return. Before anything is timed the contenders are seen to give the same
answers. They take turns, and figures are medians; with `--best` those of queries are the least, where others use the
machine too. `ratio` is SQLite over mixquery: how many times faster, or smaller, mixquery is; `+ANALYZE` is SQLite with
statistics for its planner. Files are in the system's cache throughout. TinyDB, which reads everything for each answer,
takes part up to 10,000 records, and at 10,000 it is set beside mixquery alone.

`load` is saves and a flush. `longest read` is the longest get in one thread, while another updates records, flushes,
and until what that has set going in the background is done.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from database import measures
from database.contender import Contender, Row, disk_size
from database.opening import CONTENDERS, contender
from database.records import Questions, checksum, make_records, new_records, questions

OURS, PEER, SMALL = "mixquery", "SQLite", "TinyDB"
BATCH = 1000
THREADS = 8
COMMITS = 100
OPENINGS = 5
TINY = 10_000
SECONDS = 0.8
"""Of each query, for each contender."""


@dataclass
class Figure:
    """What was measured. `times` is how many times better than SQLite mixquery is to be, `most` an absolute goal."""

    what: str
    unit: str
    values: dict[str, float]
    times: float | None = None
    most: float | None = None
    rows: int | None = None

    @property
    def ratio(self) -> float | None:
        ours, peer = self.values.get(OURS), self.values.get(PEER)
        return peer / ours if ours and peer else None

    @property
    def reached(self) -> bool | None:
        if self.most is not None and OURS in self.values:
            return self.values[OURS] <= self.most
        if self.times is not None and self.ratio is not None:
            return self.ratio >= self.times
        return None

    @property
    def wanted(self) -> str:
        if self.most is not None:
            return f"≤ {self.most:g}"
        return f"≥ {self.times:g} ×" if self.times is not None else ""


QUERIES: Sequence[tuple[str, float | None, Callable[[Contender, Questions, int], Any]]] = (
    ("equality", 1.3, lambda d, q, i: d.equal(q.owners[i % len(q.owners)])),
    ("and of two fields", 4, lambda d, q, i: d.both(*q.pairs[i % len(q.pairs)])),
    ("count with two conditions", 50, lambda d, q, i: d.count(*q.counts[i % len(q.counts)])),
    ("group and count", 50, lambda d, q, i: d.groups()),
    ("prefix", 1, lambda d, q, i: d.prefix(q.prefixes[i % len(q.prefixes)])),
    ("number range", 1, lambda d, q, i: d.between(*q.ranges[i % len(q.ranges)])),
    ("sort, limit 20", 10, lambda d, q, i: d.latest()),
    ("sort by what SQLite has an index on", None, lambda d, q, i: d.dearest()),
)


def same_answers(databases: Mapping[str, Contender], asked: Questions, ids: Sequence[str]) -> dict[str, int]:
    """Rows of each query.

    Raises:
        SystemExit: two contenders answer differently.
    """
    sizes = {}
    for what, _, ask in (*QUERIES, ("get", None, lambda d, q, i: [d.get(ids[i])])):
        for number in range(3):
            found: dict[str, Any] = {}
            for name, database in databases.items():
                answer = ask(database, asked, number)
                if isinstance(answer, list):
                    sizes[what] = len(answer)
                    rows = [database.plain(row) for row in answer]
                    # Where amounts are equal it is open which row comes first.
                    found[name] = (
                        [row["amount"] for row in rows] if ask is QUERIES[-1][2]
                        else checksum(rows, ordered=what.startswith("sort"))
                    )  # fmt: skip
                else:
                    found[name] = answer
                    sizes[what] = answer if isinstance(answer, int) else len(answer)
            if any(answer != found[next(iter(found))] for answer in found.values()):
                sys.exit(f"{what}: the answers differ: {found}")
    return sizes


def loaded(
    stack: ExitStack, names: Sequence[str], folder: Path, records: Sequence[Row]
) -> tuple[dict[str, Contender], list[Figure]]:
    """All databases with all records in them, settled; what that took, and how large they are."""
    took, worked, sizes, databases = {}, {}, {}, {}
    for name in names:
        place = folder / name
        place.mkdir()
        database = contender(name, place)
        stack.callback(database.close)
        seconds, processor = measures.load(database, records, BATCH)
        took[name], worked[name] = (value / len(records) * 1e6 for value in (seconds, processor))
        database.settle()
        sizes[name] = disk_size(place) / 1e6
        databases[name] = database
    return databases, [
        Figure("load in commits of 1,000", "µs a record", took, times=1),
        Figure("load: processor, all threads", "µs a record", worked),
        Figure("size on disk", "MB", sizes, times=1),
    ]


def asked_for(databases: Mapping[str, Contender], records: Sequence[Row], best: bool) -> list[Figure]:
    asked = questions(records)
    sizes = same_answers(databases, asked, asked.ids)
    figures = []
    for what, times, ask in QUERIES:
        calls = {
            name: lambda i, database=database, ask=ask: ask(database, asked, i)
            for name, database in databases.items()
        }
        taken = {name: value * 1e3 for name, value in measures.turns(calls, SECONDS, best=best).items()}
        figures.append(Figure(what, "ms", taken, times=times, rows=sizes[what]))

    def some(database: Contender) -> Callable[[int], None]:
        def get(number: int) -> None:
            for step in range(100):
                database.get(asked.ids[(100 * number + step) % len(asked.ids)])

        return get

    gets = {name: some(database) for name, database in databases.items() if name != SMALL}
    taken = {name: value / 100 * 1e6 for name, value in measures.turns(gets, SECONDS, best=best).items()}
    figures.append(Figure("get by id", "µs", taken, times=1.5))
    return figures


def opened(names: Sequence[str], folder: Path, ids: Sequence[str]) -> list[Figure]:
    """The databases must not be open here."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(OPENINGS):
        for name in names:
            found[name].append(measures.opening(name, folder / name, ids[number]))

    def middle(key: Callable[[dict[str, float]], float]) -> dict[str, float]:
        return {name: statistics.median(map(key, results)) for name, results in found.items()}

    return [
        Figure("open, until the first get", "ms", middle(lambda one: one["ms"]), most=20),
        Figure("resident memory then", "MB", middle(lambda one: one["after"] / 1024), most=60),
        Figure("of that by opening", "MB", middle(lambda one: (one["after"] - one["before"]) / 1024)),
    ]


def written(databases: Mapping[str, Contender], fresh: Mapping[str, Iterator[Row]]) -> list[Figure]:
    alone = measures.commits(databases, fresh, COMMITS)
    together: dict[str, list[float]] = {name: [] for name in databases}
    for _ in range(3):
        for name, database in databases.items():
            together[name].append(measures.commits_of_threads(database, fresh[name], THREADS, COMMITS // 4))
    return [
        Figure("a durable commit", "ms", {name: value * 1e3 for name, value in alone.items()}, times=1.1),
        Figure(
            f"a commit of {THREADS} threads at once", "ms",
            {name: statistics.median(values) * 1e3 for name, values in together.items()}, times=3,
        ),
    ]  # fmt: skip


def paused(databases: Mapping[str, Contender], records: Sequence[Row]) -> list[Figure]:
    """A tenth of the records, at most 20,000, is updated in commits of 1, 10 and 1,000, and flushed now and then."""
    ids = [record["id"] for record in records[:: max(1, len(records) // 1000)]]
    changed = [
        {**record, "amount": record["amount"] + 1} for record in records[: min(20_000, len(records) // 10)]
    ]
    longest, rare, idle = {}, {}, {}
    for name, database in databases.items():

        def work(database: Contender = database) -> None:
            sizes = itertools.cycle((1,) * 20 + (10,) * 10 + (BATCH,) * 2)
            start = 0
            while start < len(changed):
                size = next(sizes)
                database.save(changed[start : start + size])
                start += size
                if start % 5000 < size:
                    database.flush()
            database.flush()
            database.settle()

        idle[name] = measures.longest_read(database, ids, lambda: time.sleep(0.5))[0] * 1e3
        most, often = measures.longest_read(database, ids, work)
        longest[name], rare[name] = most * 1e3, often * 1e3
    return [
        Figure("longest read beside updates, flush, merge", "ms", longest, most=50),
        Figure("one read of a thousand beside them", "ms", rare),
        Figure("longest read with nothing beside it", "ms", idle),
    ]


def measure(names: Sequence[str], number: int, folder: Path, best: bool = False) -> list[Figure]:
    """All figures at that many records."""
    records = list(make_records(number))
    # Collections would go through all of these again and again, and be taken for pauses of whoever reads then.
    gc.freeze()
    fresh = {name: iter(new_records(COMMITS + THREADS * COMMITS, seed)) for seed, name in enumerate(names, 7)}
    with ExitStack() as stack:
        databases, figures = loaded(stack, names, folder, records)
        figures = asked_for(databases, records, best) + figures
    several = [name for name in names if name != SMALL]
    figures += opened(names, folder, [record["id"] for record in records[:OPENINGS]])
    with ExitStack() as stack:
        databases = {}
        for name in several:
            databases[name] = contender(name, folder / name)
            stack.callback(databases[name].close)
        figures += written(databases, fresh)
        figures += paused(databases, records)
    gc.unfreeze()
    return figures


def table(number: int, names: Sequence[str], figures: Sequence[Figure]) -> str:
    lines = [f"{number:,} records"]
    lines.append(f"{'':44}{'wanted':>8} " + "".join(f"{name:>11}" for name in names) + f"{'ratio':>9}")
    for figure in figures:
        what = figure.what + (f" ({figure.rows:,})" if figure.rows is not None else "") + f", {figure.unit}"
        cells = "".join(
            f"{figure.values[name]:11,.3f}" if name in figure.values and figure.values[name] < 10
            else f"{figure.values[name]:11,.1f}" if name in figure.values
            else f"{'':11}"
            for name in names
        )  # fmt: skip
        ratio = f"{figure.ratio:9.2f}" if figure.ratio is not None else f"{'':9}"
        verdict = {True: "  ok", False: "  MISS", None: ""}[figure.reached]
        lines.append(f"{what:44}{figure.wanted:>8} {cells}{ratio}{verdict}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000, help="how many (default 100,000)")
    parser.add_argument("--all", action="store_true", help="at 100,000 and at 500,000 records")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="only these, separated by commas")
    parser.add_argument(
        "--folder", type=Path, help="where the databases are made (default: where temporary files go)"
    )
    parser.add_argument("--best", action="store_true", help="the least time of each query, not the median")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    chosen = options.contenders.split(",")
    if unknown := [name for name in chosen if name not in CONTENDERS]:
        parser.error(f"unknown contender {unknown[0]}; there are {', '.join(CONTENDERS)}")
    runs = [
        (number, [name for name in chosen if name != SMALL or number <= TINY])
        for number in ((100_000, 500_000) if options.all else (options.records,))
    ]
    if SMALL in chosen and options.records > TINY:
        runs.insert(0, (TINY, [name for name in chosen if name in (OURS, SMALL)]))
    results = {}
    for number, names in runs:
        with tempfile.TemporaryDirectory(prefix="mixkit-bench-", dir=options.folder) as folder:
            figures = measure(names, number, Path(folder), options.best)
        results[number] = [
            {**asdict(figure), "ratio": figure.ratio, "reached": figure.reached} for figure in figures
        ]
        if not options.json:
            print(table(number, names, figures), end="\n\n", flush=True)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
