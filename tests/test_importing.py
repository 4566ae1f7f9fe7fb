"""Modules that are imported late."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from mixkit.importing import imported

SLOW = """import threading, time
thread = threading.current_thread().name
time.sleep(0.5)
done = True
"""


async def test_a_module_is_imported_once_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    gaps = []

    async def beat() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - began)

    heart = asyncio.create_task(beat())
    first = asyncio.create_task(imported("slow_to_import"))
    await asyncio.sleep(0.1)
    # It is in sys.modules by now, half done.
    await imported("slow_to_import")
    found = sys.modules["slow_to_import"]
    assert found.done and found.thread != "MainThread"
    await first
    await imported("slow_to_import")
    assert sys.modules.pop("slow_to_import") is found
    heart.cancel()
    assert len(gaps) > 5 and max(gaps) < 0.4


async def test_what_cannot_be_imported_says_so() -> None:
    with pytest.raises(ModuleNotFoundError):
        await imported("there_is_no_such_module")
