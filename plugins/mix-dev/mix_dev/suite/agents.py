"""Agents that tests call: those of the package that the tests are of, whatever they are written in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

from mixkit.cli.runnable import MANIFEST, Runnable, find_all, pick
from mixkit.errors import NotFound
from mixkit.job import Agents, Target
from mixkit.kernel import Kernel
from mixkit.shape import declared
from mixkit.state import State
from mixkit.storage import Place

__all__ = ["TestedAgents"]


class TestedAgents:
    """Packages by their folders.

    Args:
        kernel: that builds and runs them.
    """

    __test__ = False

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._known: dict[Path, Mapping[str, Runnable]] = {}
        self._lock = threading.Lock()

    def build(self, file: Path) -> None:
        """Build the package of a file, before its agents are called: that takes its time, and may fail.

        Raises:
            MixError: with everything that is wrong.
        """
        folder = _folder_of(file)
        if folder is not None:
            self._package(folder)

    def know(self, folder: Path, agents: Mapping[str, Runnable]) -> None:
        """The agents of a package that was built already."""
        self._known[folder] = agents

    def of(self, file: Path, data: Path) -> Agents | None:
        """What a test in a file calls by name: agents of the package of the file, with what they ask for, and a
        database for each app. None if it is of none.

        Args:
            data: folder for the databases.
        """
        folder = _folder_of(file)
        if folder is None:
            return None

        async def resolve(state: State, name: str) -> Target:
            return await asyncio.to_thread(self._target, folder, name, data)

        return Agents(resolve)

    def _target(self, folder: Path, name: str, data: Path) -> Target:
        found = self._package(folder)
        agent = pick(found, str(folder / MANIFEST), name)
        if agent.app is None:
            raise NotFound(f"no app has the agent {name!r}")
        return Target(
            self._kernel.load(agent.code, agent.name),
            agent.entry,
            agent.grants,
            place=Place("test", agent.app, data / agent.app),
            apps=agent.apps,
            check=declared(agent.params),
            answer=declared(agent.result),
        )

    def _package(self, folder: Path) -> Mapping[str, Runnable]:
        with self._lock:
            if folder not in self._known:
                self._known[folder] = find_all(self._kernel, folder)
            return self._known[folder]


def _folder_of(file: Path) -> Path | None:
    """The nearest folder at or above a file that makes a package."""
    return next((folder for folder in file.resolve().parents if (folder / MANIFEST).is_file()), None)
