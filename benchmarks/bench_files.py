"""Files of apps in both file systems beside Python's own `open`: 1 MB written for good, 1 MB read, 10,000 listed.

    python benchmarks/bench_files.py [--json] [--repeats N] [--folder DIR]

Both sides have the bytes and the folder on disk (fsync) before a write counts, and replace a file atomically. The
contenders take turns, all of one table comes from one run. `ratio` is the peer's time over ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from loopback import medians
from mix_files.backends import AsyncFileSystem, StdFileSystem

from mixkit.filesystem import Files, pieces
from mixkit.storage import Place

DATA = os.urandom(1_000_000)
MANY = 10_000
ROUNDS = 10


def plain_write(folder: Path) -> None:
    """What a careful program does."""
    with open(folder / "new", "wb") as file:  # noqa: PTH123
        file.write(DATA)
        file.flush()
        os.fsync(file.fileno())
    os.rename(folder / "new", folder / "data")  # noqa: PTH104
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def plain_read(folder: Path) -> None:
    with open(folder / "data", "rb") as file:  # noqa: PTH123
        assert len(file.read()) == len(DATA)


def plain_list(folder: Path) -> None:
    """Thrice, as the figure has it."""
    for _ in range(3):
        with os.scandir(folder) as found:
            assert sum(entry.stat().st_size for entry in found) >= MANY


async def write(files: Files) -> None:
    await files.put("/data", DATA)


async def read(files: Files) -> None:
    size = 0
    async for piece in pieces(await files.read("/data")):
        size += len(piece)
    assert size == len(DATA)


async def listed(files: Files) -> None:
    page = await files.list("/many", most=MANY)
    assert len(page.files) == MANY


def often(call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def rounds() -> None:
        for _ in range(ROUNDS):
            await call()

    return rounds


async def measure(folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds by what is done and who does it."""
    std = StdFileSystem().open(Place("w", "std", folder / "std"))
    threads = AsyncFileSystem().open(Place("w", "async", folder / "async"))
    plain = folder / "plain"
    (plain / "many").mkdir(parents=True)
    for number in range(MANY):
        (plain / "many" / f"{number:05}.txt").write_bytes(b"x")
    for files in (std, threads):
        # As `put` would make them, and without waiting 10,000 times for the disk.
        await files.put("/many/first", b"x")
        names = folder / ("std" if files is std else "async") / "files" / "names" / "many.d"
        block = (names / "first.f").read_bytes()
        (names / "first.f").unlink()
        for number in range(MANY):
            (names / f"{number:05}.txt.f").write_bytes(block)

    async def asynchronously(call: Callable[[Path], None], where: Path) -> None:
        call(where)

    table = {
        "write 1 MB": (plain_write, write, plain),
        "read 1 MB": (plain_read, read, plain),
        "list 10,000 (plain: 3 times)": (plain_list, listed, plain / "many"),
    }
    found = {}
    for name, (theirs, ours, where) in table.items():
        contenders = {
            "plain": often(lambda theirs=theirs, where=where: asynchronously(theirs, where)),  # type: ignore[misc]
            "std": often(lambda ours=ours: ours(std)),  # type: ignore[misc]
            "async": often(lambda ours=ours: ours(threads)),  # type: ignore[misc]
        }
        found[name] = {who: seconds / ROUNDS for who, seconds in (await medians(contenders, repeats)).items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--folder", help="where the disk is that is to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = asyncio.run(measure(Path(folder), options.repeats))
    if options.json:
        print(json.dumps(result))
        return
    for name, row in result.items():
        print(name)
        for who, seconds in row.items():
            print(f"  {who:6} {seconds * 1_000:8.3f} ms   ratio {row['plain'] / seconds:.2f}")


if __name__ == "__main__":
    main()
