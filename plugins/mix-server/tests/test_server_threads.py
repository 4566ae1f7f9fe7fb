"""Threads that hold on to what their caller holds."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from mix_server.threads import to_end


async def test_a_task_that_is_cancelled_leaves_after_its_thread(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()
    number = os.open(tmp_path / "part", os.O_CREAT | os.O_WRONLY)
    closed = False

    def work() -> None:
        begun.set()
        go.wait(30)
        os.write(number, b"once")

    async def handle() -> None:
        nonlocal closed
        try:
            await to_end(work)
        finally:
            os.close(number)
            closed = True

    task = asyncio.create_task(handle())
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not closed
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed
    assert (tmp_path / "part").read_bytes() == b"once"


async def test_it_is_told_to_end_soon() -> None:
    ended = threading.Event()
    task = asyncio.create_task(to_end(lambda: ended.wait(30), ended.set))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_an_error_is_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await to_end(fails)
    assert not caplog.records
