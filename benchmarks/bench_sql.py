"""SQL over the records of a database, beside ways to hand the same records to DuckDB: one run, the same answers.

    python benchmarks/bench_sql.py [--records N] [--rounds N] [--json]

The question is `select kind, count(*), sum(n) … group by kind` over N records of 12 fields, in files. `first` is
`Database.sql` on a database that was just opened: rows read and checked, columns made, a process taken in which they
are asked; `first, nothing started` is the same with the start of the process that those are forked from, once in the
life of a server. `second` is the same statement again, `another` one that reads other columns, `after a
save` the first again after one more record.

The peers run DuckDB in this process, without a sandbox: `NDJSON` is the rows of the database written as `mixkit db
export` does, and `read_json`; `NDJSON of dicts` has them as dicts in memory already, which is not counted;
`executemany` is measured with 2,000 rows of them, and multiplied. They take turns, and figures are medians.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from mix_db import Database
from mix_db.transfer.exporter import export
from mix_db.transfer.formats import writing
from mix_duckdb import processes

ASKED = "select kind, count(*) as c, sum(n) as s from {} group by kind order by kind"
INSERTED = 2_000
FIELDS = "kind n price title paid tags city customer qty note address moment".split()  # noqa: SIM905


def make(path: Path, count: int) -> None:
    """A database with so many records."""
    chosen = random.Random(1)
    with Database(path) as database:
        for start in range(0, count, 10_000):
            database.save([record(chosen, n) for n in range(start, min(start + 10_000, count))])
        database.flush()


def record(chosen: random.Random, n: int) -> dict[str, Any]:
    """One of them."""
    values = (
        chosen.choice("abcdefgh"), n, round(chosen.random() * 100, 2), f"order number {n}", n % 3 == 0,
        ["new", "gift"][: n % 3], chosen.choice(["Bern", "Basel", "Zug"]), f"customer {n % 1000}", n % 7,
        "as agreed on the telephone", {"street": "Main Street", "no": n % 100}, 1_700_000_000_000 + n,
    )  # fmt: skip
    return dict(zip(FIELDS, values, strict=True))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that it took, and what it answered."""
    began = time.perf_counter()
    answer = work()
    return time.perf_counter() - began, answer


def ours(path: Path) -> tuple[dict[str, float], list[Any]]:
    """Our figures of one round, and the answer."""
    with Database(path) as database:
        database.stats()
        first, answer = timed(lambda: database.sql(ASKED.format("records")).all())
        second, again = timed(lambda: database.sql(ASKED.format("records")).all())
        assert again == answer
        other, _ = timed(lambda: database.sql("select city, avg(price) from records group by city").all())
        saved = database.save({"kind": "a", "n": 0})
        after, _ = timed(lambda: database.sql(ASKED.format("records")).all())
        database.delete(saved["_rmx_id"])
    return {"first": first, "second": second, "another": other, "after a save": after}, answer


def read_json(file: Path) -> list[Any]:
    """What DuckDB answers of a file of NDJSON."""
    with duckdb.connect() as connection:
        asked = ASKED.format(f"read_json('{file}', format = 'newline_delimited')")
        return as_dicts(connection.execute(asked))


def as_dicts(found: Any) -> list[Any]:
    """The rows of an answer of DuckDB's as ours are."""
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def exported(path: Path, folder: Path) -> list[Any]:
    """The rows of the database as NDJSON, and then read_json."""
    file = folder / "rows.ndjson"
    with Database(path) as database, file.open("wb") as stream, writing("ndjson", stream) as writer:
        export(database.contract, writer)
    return read_json(file)


def encoded(rows: list[dict[str, Any]], folder: Path) -> list[Any]:
    """Dicts that are there as NDJSON, and then read_json."""
    file = folder / "dicts.ndjson"
    file.write_bytes(msgspec.json.Encoder().encode_lines(rows))
    return read_json(file)


def executemany(rows: list[dict[str, Any]]) -> list[Any]:
    """Some of the dicts, one by one."""
    with duckdb.connect() as connection:
        connection.execute(
            "create table t (kind varchar, n bigint, price double, title varchar, paid boolean, tags varchar[], "
            "city varchar, customer varchar, qty bigint, note varchar, address struct(street varchar, no bigint), "
            "moment bigint)"
        )
        places = ", ".join("?" * len(FIELDS))
        values = [[row[name] for name in FIELDS] for row in rows[:INSERTED]]
        connection.executemany(f"insert into t values ({places})", values)
        return as_dicts(connection.execute(ASKED.format("t")))


def measure(path: Path, folder: Path, rounds: int) -> dict[str, float]:
    """Medians of all figures, in seconds."""
    import pyarrow  # noqa: F401 - imported once in a process

    with Database(path) as database:
        rows = [{name: row[name] for name in FIELDS} for row in database.query()]
    cold: list[float] = []
    for _ in range(2):
        processes.forget()
        with Database(path) as database:
            database.stats()
            cold.append(timed(lambda: database.sql(ASKED.format("records")).all())[0])
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        figures, answer = ours(path)
        for name, work in (
            ("NDJSON", lambda: exported(path, folder)),
            ("NDJSON of dicts", lambda: encoded(rows, folder)),
        ):
            figures[name], other = timed(work)
            assert other == answer, name
        seconds, _ = timed(lambda: executemany(rows))
        figures["executemany"] = seconds * len(rows) / min(INSERTED, len(rows))
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    return {"first, nothing started": min(cold)} | {n: statistics.median(v) for n, v in found.items()}


GOALS = (("NDJSON", "first", 3.0), ("NDJSON of dicts", "first", None), ("executemany", "first", 10.0),
         ("first", "second", 20.0), ("first", "after a save", None))  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mixkit-bench-") as scratch:
        folder = Path(scratch)
        make(folder / "db", options.records)
        figures = measure(folder / "db", folder, options.rounds)
    processes.forget()
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{options.records} records of {len(FIELDS)} fields, select count(*), sum(n) group by kind")
    for name, seconds in figures.items():
        print(f"  {name:24} {seconds * 1000:10.1f} ms")
    for slow, quick, goal in GOALS:
        ratio = figures[slow] / figures[quick]
        wanted = "" if goal is None else f"   wanted ≥ {goal:g}: {'reached' if ratio >= goal else 'MISSED'}"
        print(f"  {slow} / {quick:24} {ratio:8.1f} ×{wanted}")


if __name__ == "__main__":
    main()
