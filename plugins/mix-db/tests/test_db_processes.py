"""Real processes on real files: killed in the middle, and writing at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mix_db.files.check import check
from mix_db.files.errors import LockTimeout
from mix_db.files.layer import DiskFolder
from mix_db.files.store import Store

# Each commit is two records; a line says which one returned. Every eighth commit of a thread flushes.
WRITER = """
import sys, threading
from pathlib import Path
from mix_db.files.layer import DiskFolder
from mix_db.files.store import Store

path, name, threads, commits = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = Store(DiskFolder(Path(path)), timeout=60)

def write(thread):
    for number in range(commits):
        record = f"{name}.{thread}.{number}".encode()
        store.commit(lambda draft: [record, record + b" at %d" % (draft.row + 1)])
        sys.stdout.write(record.decode() + "\\n")
        sys.stdout.flush()
        if number % 8 == 7:
            store.flush()

pool = [threading.Thread(target=write, args=(i,)) for i in range(threads)]
[t.start() for t in pool]
[t.join() for t in pool]
"""

HOLDER = """
import sys, time
from pathlib import Path
from mix_db.files.layer import DiskFolder

with DiskFolder(Path(sys.argv[1])).lock(5):
    print("held", flush=True)
    time.sleep(60)
"""


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(code, *args)`: a Python process with a pipe for what it prints, ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *map(str, args)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def kill(process: subprocess.Popen[str]) -> list[str]:
    """End it by SIGKILL; the whole lines that it had written."""
    process.kill()
    assert process.stdout is not None
    # `communicate` would not see what the buffer has taken beside a line that was read.
    text = process.stdout.read()
    process.wait(60)
    assert process.returncode == -signal.SIGKILL
    return text[: text.rfind("\n") + 1].splitlines()


def pairs(store: Store) -> Iterator[str]:
    """The names of the commits in row order; each must be whole and at its own place."""
    assert store.rows % 2 == 0
    for row in range(0, store.rows, 2):
        name = store.read(row)
        assert store.read(row + 1) == name + b" at %d" % (row + 1)
        yield name.decode()


@pytest.mark.slow
def test_two_processes_of_four_threads_write(tmp_path: Path, start: Start) -> None:
    writers = [start(WRITER, tmp_path, name, 4, 24) for name in "ab"]
    acknowledged = [line for writer in writers for line in writer.communicate(timeout=120)[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0]
    folder = DiskFolder(tmp_path)
    names = list(pairs(Store(folder)))
    assert len(acknowledged) == 2 * 4 * 24
    assert sorted(names) == sorted(acknowledged)
    for writer in "ab":
        for thread in range(4):
            own = [name for name in names if name.startswith(f"{writer}.{thread}.")]
            assert own == [f"{writer}.{thread}.{number}" for number in range(24)], "in the order of the calls"
    assert list(check(folder)) == []


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path, start: Start) -> None:
    acknowledged: list[str] = []
    for life in range(8):
        writer = start(WRITER, tmp_path, f"life{life}", 3, 10_000)
        assert writer.stdout is not None
        first = writer.stdout.readline().strip()
        time.sleep(0.01 * (life + 1))
        acknowledged += [first, *kill(writer)]
        folder = DiskFolder(tmp_path)
        store = Store(folder, timeout=5)
        names = list(pairs(store))
        assert len(names) == len(set(names))
        assert set(acknowledged) <= set(names)
        # At most one commit of each thread and life was under way.
        assert len(names) <= len(acknowledged) + 3 * (life + 1)
        assert list(check(folder)) == []
        store.close()


@pytest.mark.slow
def test_one_writer_is_killed_and_the_other_goes_on(tmp_path: Path, start: Start) -> None:
    victim = start(WRITER, tmp_path, "victim", 2, 10_000)
    other = start(WRITER, tmp_path, "other", 2, 40)
    assert victim.stdout is not None
    first = victim.stdout.readline().strip()
    acknowledged = [first, *kill(victim)]
    acknowledged += other.communicate(timeout=120)[0].splitlines()
    assert other.returncode == 0
    assert set(acknowledged) <= set(pairs(Store(DiskFolder(tmp_path))))
    assert len([name for name in acknowledged if name.startswith("other")]) == 80


@pytest.mark.slow
def test_a_reader_never_waits_and_sees_what_returned(tmp_path: Path, start: Start) -> None:
    Store(DiskFolder(tmp_path)).close()
    reader = Store(DiskFolder(tmp_path), read_only=True)
    writer = start(WRITER, tmp_path, "w", 1, 60)
    assert writer.stdout is not None
    for seen, line in enumerate(writer.stdout):
        reader.refresh()
        names = list(pairs(reader))
        assert line.strip() in names
        assert len(names) > seen
    assert writer.wait(60) == 0
    holder = start(HOLDER, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    reader.refresh()
    assert len(list(pairs(reader))) == 60
    kill(holder)


def test_a_killed_holder_does_not_block(tmp_path: Path, start: Start) -> None:
    folder = DiskFolder(tmp_path)
    holder = start(HOLDER, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LockTimeout), folder.lock(0.05):
        pass
    kill(holder)
    with folder.lock(5):
        pass


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path)
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with folder.lock(30):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) == 80


FORKER = """
import os, sys, time
from pathlib import Path
from mix_db.files.layer import DiskFolder

with DiskFolder(Path(sys.argv[1])).lock(5):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path, start: Start) -> None:
    """A server forks a worker while it writes, and is killed."""
    folder = DiskFolder(tmp_path)
    holder = start(FORKER, tmp_path)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(LockTimeout), folder.lock(0.05):
            pass
        holder.kill()
        holder.wait(60)
        with folder.lock(5):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
