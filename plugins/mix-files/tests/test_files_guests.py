"""A guest with files, whole: C, the kernel, the engine, the disk; and processes that were forked."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mix_wasm.build import build

from mixkit import Kernel
from mixkit.errors import RunError
from mixkit.grants import ALL, Grants
from mixkit.limits import Limits
from mixkit.storage import Place
from mixkit.testing.filesystem_suite import content

pytest.importorskip("ziglang")

MIB = 1 << 20


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("keeper") / "keeper.wasm"
    return build(Path(__file__).parent / "guests" / "keeper.c", out).read_bytes()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with Kernel("agent_server", environ={}) as kernel:
        yield kernel


def test_a_guest_keeps_more_than_its_memory(kernel: Kernel, keeper: bytes, place: Place) -> None:
    params = {"path": "/big", "piece": b"x" * MIB, "pieces": 48}
    limits = Limits(memory=24 * MIB, call_size=2 * MIB)
    done = kernel.run_sync(keeper, "keep", params, grants=ALL, place=place, limits=limits).value
    assert done["size"] == done["made"]["metadata"]["size"] == 48 * MIB
    assert asyncio.run(kernel.files.open(place).stat("/big")).sha256 == done["made"]["metadata"]["sha256"]


def test_a_guest_has_what_it_was_granted(kernel: Kernel, keeper: bytes, place: Place) -> None:
    params = {"path": "/a", "piece": b"x", "pieces": 2}
    for grants, reason in (
        (Grants(["$core_*"]), r"\$file_create is not granted"),
        (Grants(["$file_*"], {"files.write": ["/b"]}), "outside of the folders that files.write grants"),
    ):
        with pytest.raises(RunError, match=reason):
            kernel.run_sync(keeper, "keep", params, grants=grants, place=place)
    with pytest.raises(RunError, match="belongs to no app"):
        kernel.run_sync(keeper, "keep", params, grants=ALL)
    assert asyncio.run(kernel.files.open(place).list()).files == []


def test_processes_that_were_forked_share_the_files(kernel: Kernel, place: Place) -> None:
    assert kernel.files.filesystem.name == "async"
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:

                async def store(number: int = number) -> None:
                    files = kernel.files.open(place)
                    await asyncio.gather(*(files.put(f"/{number}/{n}", b"%d" % number) for n in range(8)))

                asyncio.run(store())
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    files = kernel.files.open(place)
    usage = asyncio.run(files.usage())
    assert (usage.files, usage.bytes) == (32, 32)
    assert asyncio.run(content(files, "/3/7")) == b"3"
