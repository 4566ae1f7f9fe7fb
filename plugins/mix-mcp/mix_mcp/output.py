"""Standard output of a server of MCP, on which is nothing but messages, whatever a plugin or a library prints: its
descriptor is taken, and what is written there goes to standard error.
"""

from __future__ import annotations

import os
import sys

__all__ = ["take_output"]


def take_output() -> int:
    """A descriptor of what standard output was; from now on that is standard error."""
    sys.stdout.flush()
    taken = os.dup(1)
    os.dup2(2, 1)
    return taken
