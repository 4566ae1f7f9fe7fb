"""Lines, however they come, and who does not read what is answered."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest
from mix_mcp.lines import Lines, read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Stdio

SENT = [b"a", b"", b"x" * 9, b"y" * 10, b"z" * 11, b"w" * 40, b"end"]
TAKEN = [line if len(line) <= 10 else None for line in SENT]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 11, 50, 1000])
def test_lines_are_cut_the_same_in_whatever_pieces_they_come(size: int) -> None:
    data, lines = b"\n".join(SENT), Lines(10)
    found = [line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size])]
    assert [*found, lines.end()] == TAKEN


def test_no_more_is_read_while_there_is_no_room() -> None:
    async def run() -> None:
        source, target = os.pipe()
        taken: list[bytes | None] = []
        came, free = asyncio.Event(), asyncio.Event()

        def take(line: bytes | None) -> None:
            taken.append(line)
            came.set()

        reading = asyncio.ensure_future(
            read_lines(source, Lines(10), take, lambda: not free.is_set(), lambda: _wait(free))
        )
        os.write(target, b"one\n")
        await came.wait()
        os.write(target, b"two\nthree")
        os.close(target)
        await asyncio.sleep(0.05)
        assert taken == [b"one"]
        free.set()
        await reading
        assert taken == [b"one", b"two", b"three"]
        os.close(source)

    asyncio.run(run())


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    lines = [bytes(random.Random(1).choices(b"abc", k=length)) for length in range(2_000)]
    path = tmp_path / "in"
    path.write_bytes(b"\n".join(lines))
    taken: list[bytes | None] = []

    async def run() -> None:
        source = os.open(path, os.O_RDONLY)
        await read_lines(source, Lines(5_000), taken.append, lambda: False, lambda: asyncio.sleep(0))
        os.close(source)

    asyncio.run(run())
    assert taken == lines


@pytest.mark.slow
@pytest.mark.xdist_group("mcp")
def test_a_client_that_writes_and_does_not_read_gets_all_in_the_end(stdio: Stdio) -> None:
    count = 3_000
    writer = threading.Thread(target=lambda: [stdio.send("no/such") for _ in range(count)])
    writer.start()
    # What is answered fills the pipe meanwhile.
    writer.join(1)
    found = {stdio.read()["id"] for _ in range(count)}
    writer.join()
    assert len(found) == count and stdio.close() == 0
