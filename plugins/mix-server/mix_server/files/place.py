"""Where the files of an app are."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mixkit.errors import NotFound
from mixkit.storage import Place

if TYPE_CHECKING:
    from mix_server.server import Server
    from mixkit.filesystem import Files

__all__ = ["files_of", "nowhere", "place_of"]


async def place_of(server: Server, ws: str, app: str) -> Place:
    """The place of an app. `NotFound` if there is none."""
    workspace = server.store.workspace(ws)
    place = workspace.place_at_hand(app)
    return await asyncio.to_thread(workspace.place, app) if place is None else place


def nowhere(server: Server) -> Place:
    """The place of an app that no workspace has, nor can have. At hand, as that of an app that was asked for before."""
    return _nowhere_in(server.store.root)


@lru_cache(1)
def _nowhere_in(root: Path) -> Place:
    return Place("", "", root / ".nowhere" / "data")


def files_of(server: Server, place: Place) -> Files:
    """The files of the app of that place. `NotFound` if the profile has no file system."""
    if server.kernel.filesystem is None:
        raise NotFound("the profile has no file system")
    return server.kernel.files.open(place)
