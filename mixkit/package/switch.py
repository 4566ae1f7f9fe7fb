"""`workspace.json`: the switch that says which version of which app is current.

    <workspace>/
      workspace.json                 {"format": 1, "apps": {"<app>": "<generation>"}}; "" without code
      <app>/versions/<generation>/   app.json, code/…: never changed once it is there
      <app>/data/                    the app's own
      .lock  .staging-*  .trash-*    in use while something is changed; whatever remains is swept away

One rename of `workspace.json` switches all apps of a package at once. What it does not name is a leftover of
something that failed, was killed, or was replaced; `mixkit.package.leftovers` removes it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import msgspec

from mixkit.errors import NotFound
from mixkit.package import disk
from mixkit.package.document import dump, load

__all__ = ["Switch", "SwitchState"]

WORKSPACE_FILE = "workspace.json"
_CLOCK_GRAIN = 50_000_000


class SwitchState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Content of `workspace.json`: apps by name, each with the generation of its code."""

    format: Literal[1] = 1
    apps: dict[str, str] = {}


class Switch:
    """The switch of one workspace. Reading it again costs one `stat` as long as nobody wrote it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._path = root / WORKSPACE_FILE
        self._name = str(self._path)
        self._seen: tuple[tuple[int, int, int], SwitchState] | None = None

    def read(self) -> SwitchState:
        """What is current now, whichever process made it so. `NotFound` if there is no such workspace."""
        try:
            # PERF: this is asked before every run; going through `Path` doubles the price.
            found = os.stat(self._name)  # noqa: PTH116
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            seen = self._seen
            if seen is not None and seen[0] == stamp:
                return seen[1]
            with self._path.open("rb") as file:
                opened = os.fstat(file.fileno())
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"no workspace {self.root.name!r}") from None
        entry = f"{self.root.name}/{WORKSPACE_FILE}"
        state = load(data, SwitchState, entry)
        stamp = (opened.st_ino, opened.st_mtime_ns, opened.st_size)
        # A file that is this young may be replaced by one with the same stamp: clocks of file systems are
        # coarse.
        young = abs(time.time_ns() - opened.st_mtime_ns) < _CLOCK_GRAIN
        self._seen = None if young else (stamp, state)
        return state

    def write(self, state: SwitchState) -> None:
        """Make it current. The caller holds the lock, and everything that the state names is on the disk."""
        disk.replace_file(self._path, dump(state))

    def home(self, app: str) -> Path:
        """Directory of an app."""
        return self.root / app
