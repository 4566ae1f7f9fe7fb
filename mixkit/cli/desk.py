"""What commands do with workspaces, be they in a directory on this machine or behind a server's URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from mixkit.cli.progress import Progress
    from mixkit.moving.arriving import Export

__all__ = ["CHUNK", "MOST", "Desk", "counted", "described", "opened", "watched"]

MOST: Final = 1 << 40
"""Bytes of an export: a person at a terminal knows the disk."""
CHUNK: Final = 1 << 20


class Desk(Protocol):
    """What is done with workspaces. Errors are `MixError`, which say what was expected."""

    def workspaces(self) -> list[tuple[str, list[str]]]:
        """Names of the workspaces with those of their apps."""
        ...

    def create(self, ws: str) -> dict[str, Any]:
        """Make an empty workspace; answers what there is to say."""
        ...

    def apps(self, ws: str) -> list[str]:
        """Names of the apps of a workspace."""
        ...

    def installed(self, ws: str) -> list[dict[str, Any]]:
        """The apps of a workspace: `app`, `package`, `version`, `signer` and `agents` as far as they are known."""
        ...

    def shown(self, ws: str, app: str) -> dict[str, Any]:
        """What there is of an app: `app`, `package`, `version`, `signer`, `database`, `limits`, `granted` (`ffis` and
        `options`, of which a call needs each) and `agents` (`agent`, `params`, `result`, `description`); None for what
        is not known."""
        ...

    def remove(self, ws: str) -> None:
        """Remove a workspace and all that is in it."""
        ...

    def create_app(self, ws: str, app: str) -> dict[str, Any]:
        """Make an app without code; answers what there is to say."""
        ...

    def remove_app(self, ws: str, app: str) -> None:
        """Remove an app and its data."""
        ...

    def powers(self, ws: str, app: str) -> dict[str, Any]:
        """What an app may do: `allowed` and `withheld`."""
        ...

    def agree(self, ws: str, app: str, powers: list[str] | None) -> dict[str, Any]:
        """Agree to powers that are withheld, or to all; answers as `powers`."""
        ...

    def export(
        self, ws: str, app: str | None, file: IO[bytes], history: bool, grants: bool, progress: Progress
    ) -> None:
        """Write the export of a workspace or an app."""
        ...

    def look(self, file: IO[bytes]) -> dict[str, Any]:
        """What an export holds, after all of it was read and found whole."""
        ...

    def bring(
        self, file: IO[bytes], ws: str | None, into: bool, grants: bool, progress: Progress
    ) -> dict[str, Any]:
        """Import an export: as the workspace of that name or of its own, or into one that is there."""
        ...


def described(file: IO[bytes]) -> dict[str, Any]:
    """What an export holds, once all of it was read. `PackageError` if something is wrong with it."""
    found = opened(file)
    found.check()
    return found.described()


def opened(file: IO[bytes]) -> Export:
    """The export in a file. `PackageError` if it is none."""
    from mixkit.moving.arriving import Export

    return Export(file, MOST)


def watched(progress: Progress) -> Callable[[int, int], object]:
    """What is told of records and bytes."""
    records = size = 0

    def watch(more: int, bytes: int) -> None:
        nonlocal records, size
        records, size = records + more, size + bytes
        progress.update(records, size)

    return watch


def counted(progress: Progress) -> Callable[[int], object]:
    """What is told of bytes."""
    size = 0

    def watch(more: int) -> None:
        nonlocal size
        size += more
        progress.update(0, size)

    return watch
