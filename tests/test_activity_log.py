"""Lines in a folder that many processes write: their order and numbers, what is dropped, what a kill leaves."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path

import pytest

from mixkit.activities import log as log_module
from mixkit.activities.log import Bounds, Log


def write(log: Log, *lines: str, durable: bool = False) -> None:
    folder = log.open()
    try:
        log.append(folder, "".join(f"{line}\n" for line in lines).encode(), durable=durable)
    finally:
        os.close(folder)


def numbered(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last)]


def many(log: Log, of: str) -> None:
    for number in range(40):
        write(log, f"{of}-{number}")


def newest(log: Log, before: int | None = None) -> list[tuple[int, str]]:
    return [(number, line.decode()) for number, line in log.backwards(before)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few lines."""
    monkeypatch.setattr(log_module, "_SEGMENT", 100)


def test_there_is_nothing_before_the_first_line(folder: Path) -> None:
    log = Log(folder)
    assert newest(log) == [] and log.tail().after == -1 and log.tail().next() == []
    assert not folder.exists()
    with pytest.raises(FileNotFoundError):
        Log(folder / "of" / "nobody").open()


@pytest.mark.usefixtures("small")
def test_numbers_go_on_from_file_to_file(folder: Path) -> None:
    log = Log(folder)
    for number in range(0, 60, 3):
        write(log, *numbered(number, number + 3), durable=number == 30)
    assert len(log.segments()) > 3
    expected = [(number, f"line {number}") for number in range(60)]
    assert newest(log) == expected[::-1]
    for before in (0, 1, 17, 30, 59, 60, 99):
        assert newest(log, before) == expected[:before][::-1]
    for after in (-1, 0, 16, 29, 58, 59, 99):
        tail = log.tail(after)
        found = tail.next(7) + tail.next(4) + tail.next()
        assert found == [(number, line.encode()) for number, line in expected[after + 1 :]]
        assert tail.next() == []


@pytest.mark.usefixtures("small")
def test_a_tail_sees_what_is_written_behind_it(folder: Path) -> None:
    log, other = Log(folder), Log(folder)
    tail, found = log.tail(), []
    for number in range(50):
        write(other, f"line {number}")
        found += tail.next()
    assert found == [(number, f"line {number}".encode()) for number in range(50)]


@pytest.mark.usefixtures("small")
def test_only_so_many_lines_are_kept(folder: Path) -> None:
    log = Log(folder, Bounds(lines=20))
    for number in range(200):
        write(log, f"line {number}")
    assert [number for number, _ in newest(log)] == list(range(199, 179, -1))
    assert [number for number, _ in newest(log, 185)] == list(range(184, 179, -1))
    assert len(list(folder.iterdir())) <= 5
    # Who had read up to one that is gone goes on with the oldest that is there.
    found = log.tail(3).next()
    assert found[-1][0] == 199 and 150 < found[0][0] <= 180


def test_only_so_many_bytes_are_kept(folder: Path) -> None:
    log = Log(folder, Bounds(size=4_000))
    for number in range(500):
        write(log, f"{number:99d}")
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert 2_000 < size <= 4_000 + 4_000 // 8 + 100


def test_what_is_too_old_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(folder, Bounds(seconds=80))
    clock = [1_000_000.0]
    monkeypatch.setattr(time, "time_ns", lambda: int(clock[0] * 1e9))
    for _ in range(30):
        write(log, "line")
        clock[0] += 9
    began = [segment.began / 1000 for segment in log.segments()]
    # A file is over after an eighth of the time, and goes when the next one is too old.
    assert all(later - earlier > 10 for earlier, later in itertools.pairwise(began))
    assert clock[0] - 9 - 80 - 2 * 18 <= began[0] < clock[0] - 80 + 18


@pytest.mark.parametrize("over", [False, True])
def test_a_line_that_somebody_was_killed_over_spoils_no_other(
    folder: Path, over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(folder)
    write(log, "one", "two")
    with (folder / log.segments()[0].name).open("ab") as file:
        file.write(b'{"half')
    assert newest(log) == [(1, "two"), (0, "one")]
    tail = log.tail(0)
    assert tail.next() == [(1, b"two")]
    if over:
        monkeypatch.setattr(log_module, "_SEGMENT", 1)
    log = Log(folder)
    write(log, "three")
    # It keeps its number, whether the file went on or not.
    assert newest(log)[0] == (3, "three") and newest(log)[-2:] == [(1, "two"), (0, "one")]
    assert tail.next()[-1] == (3, b"three")


def test_what_cannot_be_written_leaves_no_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(folder)
    write(log, "one")
    written = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 10:
            raise OSError(28, "no space left")
        return written(fd, data[:-8])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="no space"):
        write(log, "a second line")
    monkeypatch.undo()
    write(log, "three")
    assert newest(log) == [(1, "three"), (0, "one")]


def test_a_folder_of_the_same_name_does_not_get_what_was_for_the_one_before(folder: Path) -> None:
    log = Log(folder)
    held = log.open()
    folder.rename(folder.with_name("gone"))
    write(log, "of the new one")
    log.append(held, b"of the old one\n")
    os.close(held)
    assert newest(log) == [(0, "of the new one")]
    assert newest(Log(folder.with_name("gone"))) == [(0, "of the old one")]


@pytest.mark.usefixtures("small")
def test_many_write_at_once(folder: Path) -> None:
    children = []
    for child in range(3):
        pid = os.fork()
        if not pid:
            log = Log(folder)
            threads = [threading.Thread(target=many, args=(log, f"{child}{of}")) for of in "ab"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            os._exit(0)
        children.append(pid)
    tail, found = Log(folder).tail(-1), []
    while children:
        found += tail.next()
        children = [pid for pid in children if os.waitpid(pid, os.WNOHANG) == (0, 0)]
    found += tail.next()
    assert [number for number, _ in found] == list(range(240))
    lines = [line.decode() for _, line in found]
    for of in ("0a", "0b", "1a", "1b", "2a", "2b"):
        assert [line for line in lines if line.startswith(of)] == [f"{of}-{number}" for number in range(40)]
