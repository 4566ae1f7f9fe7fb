"""What benchmarks over loopback share: contenders that take turns, and a TLS server in a process of its own."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trustme

__all__ = ["medians", "serving"]


async def medians(contenders: Mapping[str, Callable[[], Awaitable[Any]]], repeats: int) -> dict[str, float]:
    """Median seconds of each, after one turn that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        await call()
    for _ in range(repeats):
        for name, call in contenders.items():
            started = time.perf_counter()
            await call()
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


@contextmanager
def serving(server: Callable[[str, Connection], None]) -> Iterator[tuple[str, int]]:
    """A folder with `ca.pem` and the `server.pem` of 127.0.0.1, and the port that the server tells.

    Args:
        server: run in a process with the folder, and a connection: it sends its port, and ends when it gets anything.
    """
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{folder}/ca.pem")
        Path(f"{folder}/server.pem").write_bytes(
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()
        )
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=server, args=(folder, theirs), daemon=True
        )
        process.start()
        try:
            yield folder, ours.recv()
        finally:
            ours.send(None)
            process.join(timeout=10)
