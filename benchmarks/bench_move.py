"""A workspace out and in: MB/s, and how much memory that takes.

    python benchmarks/bench_move.py [--records N] [--bytes N] [--times N] [--json]

The records are those of `database/records.py`, and the same with a text of `--bytes` more each, since what an import
costs is for the most part a price of each field and not of each byte. MB are those of the records as tagged JSON,
a million bytes each. Best of `--times`, wall and processor time of the whole process beside each other. RSS is what the
process has more than before, at most, while it exports or imports: memory of its own, and pages of files that it has
mapped, which the system takes back when it needs them. `flat` compares its own with that of a tenth of the records.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from database.records import make_records

from mixkit import Kernel
from mixkit.moving.arriving import Bringing, Export
from mixkit.moving.leaving import Leaving, export
from mixkit.package import Workspace, WorkspaceStore
from mixkit.storage import SaveOptions

MB = 1_000_000
BATCH = 1_000


@dataclass
class Figure:
    """One direction of one workspace."""

    what: str
    records: int
    megabytes: float
    wall: float
    processor: float
    rss: float
    mapped: float

    def line(self) -> str:
        return (
            f"{self.what:24}{self.records:>9,} records {self.megabytes:8.1f} MB  "
            f"{self.megabytes / self.wall:6.1f} MB/s wall {self.megabytes / self.processor:6.1f} MB/s processor  "
            f"RSS +{self.rss:.1f} MB own, +{self.mapped:.1f} MB mapped"
        )


class Memory:
    """How much more the process has, at most."""

    def __init__(self) -> None:
        self._before = self._now()
        self.own = self.mapped = 0.0

    def look(self, *_: Any) -> None:
        own, mapped = self._now()
        self.own = max(self.own, own - self._before[0])
        self.mapped = max(self.mapped, mapped - self._before[1])

    @staticmethod
    def _now() -> tuple[float, float]:
        _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
        return (resident - shared) * 4_096 / MB, shared * 4_096 / MB


def filled(store: WorkspaceStore, kernel: Kernel, name: str, count: int, more: int) -> Workspace:
    workspace = store.create(name)
    database = kernel.databases.open(workspace.create_app("contacts").place)
    options = SaveOptions(original_id_always=True)

    def batches() -> Iterator[list[dict[str, Any]]]:
        batch: list[dict[str, Any]] = []
        for number, record in enumerate(make_records(count)):
            row = dict(record)
            row["_rmx_id"] = row.pop("id")
            if more:
                row["text"] = (f"{number} lorem ipsum dolor sit amet " * (more // 25 + 1))[:more]
            batch.append(row)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    for batch in batches():
        database.save(batch, options)
    database.flush()
    return workspace


def timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(count: int, more: int, times: int, folder: Path) -> list[Figure]:
    """Out and in, each the best of so many times."""
    with Kernel("agent_server", environ={}) as kernel:
        store = WorkspaceStore(folder / "ws", kernel.databases, kernel.files)
        workspace = filled(store, kernel, "from", count, more)
        path = folder / "export.remix"
        size = 0

        def leave(memory: Memory) -> None:
            async def write() -> None:
                nonlocal size
                size = 0

                def watch(records: int, bytes: int) -> None:
                    nonlocal size
                    size += bytes
                    memory.look()

                with path.open("wb") as file:
                    async for piece in export(kernel, workspace, Leaving(watch=watch)):
                        file.write(piece)

            asyncio.run(write())

        def arrive(memory: Memory) -> None:
            with path.open("rb") as file:
                Export(file, 1 << 40).bring(kernel, store, "to", Bringing(watch=memory.look))

        figures = []
        for what, work in (("export", leave), ("import", arrive)):
            best: Figure | None = None
            for _ in range(times):
                memory = Memory()
                wall, processor = timed(lambda work=work, memory=memory: work(memory))  # type: ignore[misc]
                found = Figure(
                    f"{what}, +{more} bytes" if more else what,
                    count,
                    size / MB,
                    wall,
                    processor,
                    memory.own,
                    memory.mapped,
                )
                if "to" in store.list():
                    store.delete("to")
                if best is None or found.wall < best.wall:
                    best = found
            assert best is not None
            figures.append(best)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000, help="how many (default 100,000)")
    parser.add_argument("--bytes", type=int, default=1_000, help="of a text that is added (default 1,000)")
    parser.add_argument("--times", type=int, default=2, help="of which the best counts (default 2)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: list[Figure] = []
    for count, more in (
        (options.records // 10, 0),
        (options.records, 0),
        (options.records, options.bytes),
    ):
        with tempfile.TemporaryDirectory(prefix="bench-move-") as folder:
            figures += measure(count, more, options.times, Path(folder))
    if options.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return
    for figure in figures:
        print(figure.line())
    for small, large in zip(figures[:2], figures[2:4], strict=True):
        print(f"flat: {small.what} of ten times the records takes {large.rss - small.rss:+.1f} MB of memory")


if __name__ == "__main__":
    main()
