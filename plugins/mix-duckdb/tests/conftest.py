"""Sessions of real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mix_duckdb import processes
from mix_duckdb.session import Session, open_session
from mix_duckdb.settings import DuckdbSettings

DEFAULT = DuckdbSettings(idle=1.0, process_memory=512 << 20)


@pytest.fixture(scope="session", autouse=True)
def zygote() -> Iterator[None]:
    yield
    processes.forget()


class Opener:
    """Opens sessions, and closes them when the test ends."""

    def __init__(self) -> None:
        self.open: list[Session] = []

    async def __call__(
        self, file: Path | None = None, *, seconds: float = 60.0, tables: Any = None, **changes: Any
    ) -> Session:
        settings = msgspec.structs.replace(DEFAULT, **changes)
        session = await open_session(settings, deadline=time.monotonic() + seconds, file=file, tables=tables)
        self.open.append(session)
        return session


@pytest.fixture
async def connect() -> AsyncIterator[Opener]:
    opener = Opener()
    yield opener
    for session in opener.open:
        session.close()
    # A zygote and its spare for each that changed the settings would fill the machine.
    for settings, zygote in list(processes._zygotes.items()):
        if settings != DEFAULT:
            del processes._zygotes[settings]
            zygote.forget()


@pytest.fixture
def ended() -> Callable[[int], Awaitable[None]]:
    """Waits until a process has ended."""

    def alive(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state not in "ZX"

    async def wait(pid: int) -> None:
        for _ in range(1000):
            if not alive(pid):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"process {pid} did not end")

    return wait


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "main.duckdb"
