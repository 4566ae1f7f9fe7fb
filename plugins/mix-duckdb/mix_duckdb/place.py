"""Where the owner of a database file is found, and who is at the other end of a socket."""

from __future__ import annotations

import socket
import struct

__all__ = ["peer", "socket_path"]


def socket_path(folder: int, name: str) -> str:
    """Of the owner's socket, by the descriptor of the folder."""
    return f"/proc/self/fd/{folder}/{name}.sock"


def peer(sock: socket.socket) -> tuple[int, int]:
    """Process and user at the other end of a Unix socket."""
    pid, user, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, user
