"""How things are timed: contenders take turns, and what is reported is the median."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from database.contender import Contender, Row

__all__ = ["commits", "commits_of_threads", "load", "longest_read", "opening", "turns"]

_LEAST, _MOST = 5, 200


def turns(calls: Mapping[str, Callable[[int], object]], seconds: float, *, best: bool) -> dict[str, float]:
    """Median seconds of each call, which gets the number of its round; or the least, where others use the machine.

    There are as many rounds as fit into `seconds` for each contender, at least five. One that is much slower than
    the others stops taking part when its time is used up.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(0)
    for number in range(_MOST):
        active = [name for name in calls if len(taken[name]) < _LEAST or sum(taken[name]) < seconds]
        if not active:
            break
        for name in active:
            began = time.perf_counter()
            calls[name](number)
            taken[name].append(time.perf_counter() - began)
    return {name: min(times) if best else statistics.median(times) for name, times in taken.items()}


def load(database: Contender, records: Sequence[Row], batch: int) -> tuple[float, float]:
    """Seconds to store all of them and to flush, and the seconds of processor that this took in all threads."""
    began, worked = time.perf_counter(), time.process_time()
    for start in range(0, len(records), batch):
        database.save(records[start : start + batch])
    database.flush()
    return time.perf_counter() - began, time.process_time() - worked


def commits(
    databases: Mapping[str, Contender], records: Mapping[str, Iterator[Row]], count: int
) -> dict[str, float]:
    """Median seconds of one durable commit of one new record."""
    taken: dict[str, list[float]] = {name: [] for name in databases}
    for _ in range(count):
        for name, database in databases.items():
            one = [next(records[name])]
            began = time.perf_counter()
            database.save(one)
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def commits_of_threads(database: Contender, records: Iterator[Row], threads: int, each: int) -> float:
    """Seconds a commit, of one new record each, when that many threads commit at once."""
    failed: list[BaseException] = []
    start = threading.Barrier(threads + 1)
    shares = [[next(records) for _ in range(each)] for _ in range(threads)]

    def work(share: Sequence[Row]) -> None:
        mine: Contender | None = None
        try:
            mine = database.another()
            start.wait()
            for record in share:
                mine.save([record])
        except BaseException as exc:
            failed.append(exc)
            start.abort()
        finally:
            if mine is not None:
                mine.close()

    workers = [threading.Thread(target=work, args=(share,)) for share in shares]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    taken = time.perf_counter() - began
    if failed:
        raise failed[0]
    return taken / threads / each


def opening(name: str, folder: Path, id: str) -> dict[str, float]:
    """What `database.opening` prints in a process of its own."""
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    # An installed package has its bytecode; a checkout on a machine that writes none would be timed compiling it.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "database.opening", name, str(folder), id]
    done = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def longest_read(database: Contender, ids: Sequence[str], work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the longest get by id, and of the one in a thousand, in a thread beside which `work` is done."""
    times: list[float] = []
    failed: list[BaseException] = []
    ready, over = threading.Event(), threading.Event()

    def read() -> None:
        try:
            mine = database.another()
            try:
                for id in ids:
                    mine.get(id)
                ready.set()
                while not over.is_set():
                    for id in ids:
                        began = time.perf_counter()
                        found = mine.get(id)
                        times.append(time.perf_counter() - began)
                        assert found is not None
                        if over.is_set():
                            break
            finally:
                mine.close()
        except BaseException as exc:
            failed.append(exc)
            ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    ready.wait()
    try:
        work()
    finally:
        over.set()
        reader.join()
    if failed:
        raise failed[0]
    times.sort()
    return times[-1], times[-1 - len(times) // 1000]
