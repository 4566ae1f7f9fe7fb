"""Signals: those of a process, and those in databases of workspaces."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel
from mixkit.kept_signals import KeptSignals
from mixkit.local_signals import LocalSignals
from mixkit.package import WorkspaceStore
from mixkit.signals import DEFAULT_LIMITS, Owner
from mixkit.testing.signals_suite import ME, Make, SignalsSuite
from mixkit.value import ok


class TestLocalSignals(SignalsSuite):
    @pytest.fixture
    def make(self) -> Make:
        return LocalSignals


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WorkspaceStore]:
    with Kernel("agent_server", environ={}) as kernel:
        store = WorkspaceStore(tmp_path / "workspaces", kernel.databases)
        store.create("w")
        yield store


def kept(store: WorkspaceStore, *args: Any) -> KeptSignals:
    return KeptSignals(lambda name, make: store.workspace(name).signals(make=make), LocalSignals(), *args)


class TestKeptSignals(SignalsSuite):
    @pytest.fixture
    def make(self, store: WorkspaceStore) -> Make:
        return lambda *args: kept(store, *args)


async def test_those_of_no_workspace_stay_in_the_process(store: WorkspaceStore) -> None:
    signals, nobody = kept(store), Owner(user="ada")
    id = await signals.create(nobody)
    await signals.settle(id, ok(1))
    assert await signals.wait([id], nobody, 0) == (id, ok(1))
    assert (await signals.find(id)).owner == nobody
    assert "." not in id and not (store.root / "w" / "signals.db").exists()


async def test_they_go_with_their_workspace(store: WorkspaceStore) -> None:
    signals = kept(store)
    id = await signals.create(ME)
    store.delete("w")
    for _ in range(2):
        with pytest.raises(Exception, match="no such signal"):
            await signals.find(id)
        store.root.joinpath("w").exists() or store.create("w")


async def test_what_is_forgotten_leaves_no_versions(
    store: WorkspaceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixkit.kept_signals._STALE", 10)
    moved = 0.0
    signals = kept(store, DEFAULT_LIMITS, lambda: time.time() + moved)
    for _ in range(12):
        await signals.settle(await signals.create(ME), ok(1))
    moved = 90_000.0
    await signals.create(ME)
    stats = store.workspace("w").signals().stats()
    assert stats["versions"] - stats["records"] <= 10


_CHILD = """
import asyncio, sys
from mixkit import Kernel
from mixkit.kept_signals import KeptSignals
from mixkit.local_signals import LocalSignals
from mixkit.package import WorkspaceStore
from mixkit.testing.signals_suite import ME
from mixkit.value import ok

async def work(signals):
    id = await signals.create(ME)
    other = await signals.create(ME)
    await signals.settle(other, ok("kept"))
    print(id, other, flush=True)
    print(await signals.wait([id], ME, 60), flush=True)
    await asyncio.sleep(60)

with Kernel("agent_server", environ={}) as kernel:
    store = WorkspaceStore(sys.argv[1], kernel.databases)
    asyncio.run(work(KeptSignals(lambda name, make: store.workspace(name).signals(make=make), LocalSignals())))
"""


async def test_another_process_is_woken_and_what_it_acknowledged_outlives_it(store: WorkspaceStore) -> None:
    signals = kept(store)
    command = (sys.executable, "-c", _CHILD, str(store.root))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: ASYNC220
        try:
            assert child.stdout is not None
            id, other = (await asyncio.to_thread(child.stdout.readline)).split()
            await signals.settle(id, ok("from here"))
            assert "from here" in await asyncio.to_thread(child.stdout.readline)
        finally:
            os.kill(child.pid, signal.SIGKILL)
    assert await signals.wait([other], ME, 0) == (other, ok("kept"))
    assert await kept(store).wait([id], ME, 0) == (id, ok("from here"))
