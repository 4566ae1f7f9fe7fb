"""`kill -9` at random moments while two processes write, flush, merge and compact; and many who share a database.

A few rounds run with all tests. The long run, which takes an hour or so:

    MIXKIT_KILL_ROUNDS=1000 pytest plugins/mix-db/tests/test_db_kill.py -k killed --timeout 0
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crc32c import crc32c
from mix_db.files.check import check
from mix_db.files.layer import DiskFolder
from mix_db.files.store import Store

ROUNDS = int(os.environ.get("MIXKIT_KILL_ROUNDS", "15"))
# After so many rounds a new database begins, so that looking at all of it stays quick.
LIVES = 25

COMMON = """
import os, sys, threading, time
from pathlib import Path
from crc32c import crc32c
from mix_db.files import write_log
from mix_db.files.compaction import Plan
from mix_db.files.guard import GuardedFolder
from mix_db.files.layer import DiskFolder
from mix_db.files.store import Store

def index(start, records):
    yield b"%d:" % start
    for record in records:
        yield b"%d," % crc32c(record)

path, name, threads, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
# Every second process makes little room in the log: commits end in it, at its end and behind it.
if name[-1] in "bd":
    write_log._LEAST_ROOM, write_log._MOST_ROOM = 64, 512
store = Store(GuardedFolder(DiskFolder(Path(path))), timeout=60, index=index)

def save(thread, number):
    record = f"{name}.{thread}.{number}".encode()
    # Zeros, too: to a log they look like room.
    store.commit(lambda draft: [record, record + b" at %d" % (draft.row + 1) + bytes(number % 90)])
    os.write(1, record + b"\\n")

def tend(number):
    if number % 5 == 4:
        store.flush()
    view = store.view
    if number % 7 == 6 and len(view.segments) > 1:
        stop = view.segments[-1].stop
        store.merge(view.segments, lambda: index(0, map(view.read, range(stop))))
    if number % 23 == 22:
        store.compact(lambda view: Plan(lambda view, start: map(view.read, range(start, view.rows))))

def run(work):
    pool = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    [t.start() for t in pool]
    [t.join() for t in pool]
"""

WRITER = (
    COMMON
    + """
def work(thread):
    end = time.monotonic() + limit
    number = 0
    while time.monotonic() < end:
        save(thread, number)
        tend(number)
        number += 1

run(work)
"""
)

# Prints besides what it has saved what it has seen: a number of rows and the checksum of them all.
SHARER = (
    COMMON
    + """
def work(thread):
    end = time.monotonic() + limit
    number = seen = total = 0
    while time.monotonic() < end:
        if thread % 2:
            save(thread, number)
            tend(number)
        before = store.view
        view = store.refresh()
        assert view.rows >= before.rows >= seen
        for row in range(seen, view.rows):
            total = crc32c(view.read(row), total)
        seen = view.rows
        os.write(1, b"=%d=%d\\n" % (seen, total))
        number += 1

run(work)
"""
)

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(code, *args)`: a Python process with a pipe for what it prints, ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str, *args: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, *map(str, args)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        # Unbuffered: `communicate` would not see what a buffer has taken.
        started.append(subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, env=environ))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def index(start: int, records: Iterator[bytes]) -> Iterator[bytes]:
    yield b"%d:" % start
    for record in records:
        yield b"%d," % crc32c(record)


def names(path: Path) -> list[str]:
    """Open for writing, as the next process would; the names of the commits, each whole and at its place."""
    folder = DiskFolder(path)
    store = Store(folder, timeout=5, index=index)  # type: ignore[arg-type]
    view = store.view
    records = view.read_many(range(view.rows))
    for segment in view.segments:
        expected = b"".join(index(segment.start, iter(records[segment.start : segment.stop])))
        assert bytes(segment.data) == expected
    assert (view.segments[-1].stop if view.segments else 0) == view.extent_rows
    seconds = [record.rstrip(b"\0") for record in records[1::2]]
    assert seconds == [b"%s at %d" % (name, 2 * n + 1) for n, name in enumerate(records[::2])]
    assert list(check(folder)) == []
    store.close()
    return [record.decode() for record in records[::2]]


def lines(data: bytes) -> list[str]:
    """The whole lines."""
    return data[: data.rfind(b"\n") + 1].decode().splitlines()


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path, start: Start) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    acknowledged: list[str] = []
    for life in range(ROUNDS):
        path = tmp_path / str(life // LIVES)
        if life % LIVES == 0:
            acknowledged = []
            shutil.rmtree(tmp_path / str(life // LIVES - 1), ignore_errors=True)
            Store(DiskFolder(path, create=True), index=index).close()  # type: ignore[arg-type]
        pair = [start(WRITER, path, f"{life}{name}", 2, 60) for name in "ab"]
        begun = []
        for process in pair:
            assert process.stdout is not None
            begun.append(process.stdout.readline())
        for process, first in zip(pair, begun, strict=True):
            time.sleep(chance.uniform(0, 0.15))
            process.kill()
            acknowledged += lines(first + process.communicate(timeout=60)[0])
            assert process.returncode == -signal.SIGKILL, "it failed by itself"
        found = names(path)
        assert len(found) == len(set(found)), seed
        assert set(acknowledged) <= set(found), (seed, "lost")
        # At most one commit of each thread and life was under way.
        assert len(found) <= len(acknowledged) + 4 * (life % LIVES + 1), seed


@pytest.mark.slow
def test_four_processes_of_four_threads_see_prefixes(tmp_path: Path, start: Start) -> None:
    Store(DiskFolder(tmp_path), index=index).close()  # type: ignore[arg-type]
    processes = [start(SHARER, tmp_path, name, 4, 2) for name in "abcd"]
    output = [line for process in processes for line in lines(process.communicate(timeout=120)[0])]
    assert [process.returncode for process in processes] == [0] * 4
    acknowledged = [line for line in output if not line.startswith("=")]
    found = names(tmp_path)
    assert sorted(found) == sorted(acknowledged)
    for name in "abcd":
        for thread in (1, 3):
            own = [n for n in found if n.startswith(f"{name}.{thread}.")]
            assert own == [f"{name}.{thread}.{number}" for number in range(len(own))], "in the order of calls"
    totals = [0]
    store = Store(DiskFolder(tmp_path), read_only=True)
    for row in range(store.rows):
        totals.append(crc32c(store.read(row), totals[-1]))
    seen = [line for line in output if line.startswith("=")]
    assert seen
    for line in seen:
        _, count, total = line.split("=")
        assert totals[int(count)] == int(total), "a prefix of the order of commits"
        assert int(count) % 2 == 0, "whole commits"
