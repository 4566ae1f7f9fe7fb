"""A bus that the processes of one machine share: one of them carries the messages, the others reach it by a socket.

    server = SharedBus(Path("workspaces/.bus"))  # In each process; nothing happens before it is used.

Who carries is decided by a lock in the directory (`meeting`), so there is always one while there are processes; when
it ends, however it ends, the next one takes over at once. What is retained lies in the directory (`kept`).
"""

from __future__ import annotations

from mixkit.shared_bus.bus import SharedBus

__all__ = ["SharedBus"]
