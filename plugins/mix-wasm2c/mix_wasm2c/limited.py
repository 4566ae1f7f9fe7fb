"""A tool in a process of its own, which the system stops when it takes too long, too much memory or too much disk.

A few kilobytes of Wasm can keep a compiler busy for minutes and take gigabytes. The child is this file, run as a
script, which imports nothing else of ours and becomes the tool:

    python -I -S limited.py <seconds> <bytes of memory> <bytes of a file> <tool> <argument>…
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from typing import Any

__all__: list[str] = []


def main(seconds: int, memory: int, file: int, command: list[str]) -> None:
    """Become the command, within those limits, which its own children have too."""
    import ctypes

    # Whoever waits for us may be killed; nobody else would end us.
    library: Any = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):
        library.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    # Python ignores it, and a tool that does not look at what it has written would go on with half a file.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    # The second more is for SIGXCPU, which says why, before SIGKILL.
    for which, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, file, file),
        (resource.RLIMIT_AS, memory, memory),
    ):
        most = resource.getrlimit(which)[1]
        if most == resource.RLIM_INFINITY or hard < most:
            resource.setrlimit(which, (soft, hard))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
