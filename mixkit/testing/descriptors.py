"""What this process holds open, by what it is: a bare count moves with what other tests leave to the collector."""

import os
from collections.abc import Iterator


def descriptors(of: str) -> list[str]:
    """Targets of the open file descriptors that name `of`: a folder of the test, or the name of a memfd."""
    return [target for target in _targets() if of in target]


def _targets() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 (a Path for each would be slower than the test)
        try:
            yield os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
        except FileNotFoundError:
            continue  # that of the listing itself is gone by now
