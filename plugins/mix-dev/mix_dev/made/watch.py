"""What of a folder has changed. Looks at it now and then: that works on every file system, and costs a millisecond."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mixkit.cli.project import FILE as PROJECT
from mixkit.cli.runnable import MANIFEST
from mixkit.package.build import FOLDERS
from mixkit.package.package import RUNTIME

__all__ = ["INTERVAL", "Watch"]

INTERVAL: Final = 0.03
"""Seconds between two looks."""
_KINDS: Final = (".mix", ".c", ".h", ".wasm", ".mixexe", ".mixlib")
"""How the names of files end that an app is made of, wherever they are."""
_MOST: Final = 20_000
"""Files that are looked at."""


class Watch:
    """A folder.

    Args:
        folder: that is watched.
        without: a folder in it that is not.
    """

    def __init__(self, folder: Path, without: Path) -> None:
        self._folder, self._without = str(folder), str(without)
        self._seen = self._now()

    def changed(self, wait: float) -> list[str]:
        """Names of files that have changed, come or gone since they were asked for last: as soon as there are some and
        nobody goes on writing, or none after so many seconds."""
        end = time.monotonic() + wait
        while True:
            now = self._now()
            if now != self._seen:
                time.sleep(INTERVAL)
                again = self._now()
                while again != now:
                    now = again
                    time.sleep(INTERVAL)
                    again = self._now()
                before, self._seen = self._seen, now
                return sorted(
                    name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
                )
            if time.monotonic() >= end:
                return []
            time.sleep(INTERVAL)

    def _now(self) -> dict[str, tuple[int, int]]:
        """Of each file when it was written, and its bytes."""
        found = {}
        for entry in self._files(self._folder):
            try:
                stat = entry.stat()
            except OSError:
                # Gone meanwhile.
                continue
            found[os.path.relpath(entry.path, self._folder)] = stat.st_mtime_ns, stat.st_size
            if len(found) >= _MOST:
                break
        return found

    def _files(self, folder: str, whole: bool = False) -> Iterator[os.DirEntry[str]]:
        """What an app is made of: not what commands write beside it, as logs and packages."""
        try:
            entries = list(os.scandir(folder))
        except OSError:
            return
        top = folder == self._folder
        for entry in entries:
            if entry.name.startswith(".") or entry.path == self._without:
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in ("node_modules", "__pycache__"):
                    yield from self._files(entry.path, whole or (top and entry.name in FOLDERS))
            elif whole or entry.name.endswith(_KINDS) or (top and entry.name in (MANIFEST, RUNTIME, PROJECT)):
                yield entry
