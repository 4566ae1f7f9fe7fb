"""A workspace in a folder of this machine, over stdio: who has its files may do everything with it."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from mix_server.caller import Caller
from mix_server.server import Server

from mix_mcp.bridge import Bridge
from mix_mcp.stdio import Connection, serve

if TYPE_CHECKING:
    from mixkit.kernel import Kernel

__all__ = ["serve_workspace"]


def serve_workspace(kernel: Kernel, workspace: str, output: int, *, constant: bool = False) -> None:
    """Serve a workspace to the client at standard input and `output`, until it goes.

    Args:
        constant: whether the client gets the two tools that find and call the others.

    Raises:
        NotFound: there is no such workspace.
    """
    server = Server(kernel, secrets.token_urlsafe())
    server.store.workspace(workspace).apps()
    bridge = Bridge(server, workspace)
    server.ending.append(bridge.close)
    who = Caller(None, operator=True)

    async def run() -> None:
        server.start()
        try:
            await serve(0, output, lambda send: Connection(bridge, who, send, constant=constant))
        finally:
            await server.stop()

    asyncio.run(run())
